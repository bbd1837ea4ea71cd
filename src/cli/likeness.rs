//! What must be as before when a mount is made again under programs that go on: each array, its levels and where they lie.
//! A program that has one open would take a level that is not shown for missing chunks, and another origin for its own.

use std::collections::HashSet;

use serde_json::Value;

use crate::vfs::{Contents, InstanceFiles, ViewFiles};

use super::failure::Failure;

/// What programs that have an array open go by.
const KEYS: [&str; 10] =
    ["source", "shape", "dtype", "num_channels", "voxel_size", "offset", "box", "block_shape", "levels", "layouts"];

/// A word for each array that is shown, by which it is known again.
pub(super) fn arrays(shown: &Contents) -> Vec<String> {
    let instances = shown.instances.iter().chain(&shown.boxes);
    instances
        .flat_map(views)
        .filter(|(_, view)| view.array.is_some())
        .map(|(name, view)| word(name, &view.attrs))
        .collect()
}

fn views(of: &InstanceFiles) -> impl Iterator<Item = (&str, &ViewFiles)> {
    [Some(&of.view), of.supervoxels.as_ref()].into_iter().flatten().map(|view| (of.name.as_str(), view))
}

fn word(name: &str, attrs: &Value) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(name.as_bytes());
    for key in KEYS {
        hasher.update(&[0]).update(attrs[key].to_string().as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

/// # Errors
/// If an array that was shown before is not, or is another one.
pub(super) fn check(before: &[String], now: &[String]) -> Result<(), Failure> {
    let now: HashSet<_> = now.iter().collect();
    let n_other = before.iter().filter(|word| !now.contains(word)).count();
    if n_other == 0 {
        return Ok(());
    }
    Err(Failure::mount(format!(
        "{n_other} of {} arrays would not be as they were before the crash: it is tried again, or unmount and mount anew",
        before.len()
    )))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_array_is_known_again_by_what_programs_go_by() {
        let attrs = json!({"shape": [1, 2, 3], "offset": [0, 0, 0], "levels": ["s0", "s1"], "immutable": false});
        let of = |key: &str, value: Value| {
            let mut attrs = attrs.clone();
            attrs[key] = value;
            word("gray", &attrs)
        };
        let before = [word("gray", &attrs)];
        assert!(check(&before, &[of("immutable", json!(true)), of("notes", json!(["x"]))]).is_ok());
        assert!(check(&before, &[word("new", &attrs), before[0].clone()]).is_ok(), "one more is no matter");
        for other in [
            of("shape", json!([1, 2, 4])),
            of("offset", json!([0, 0, 8])),
            of("levels", json!(["s0"])),
            word("other", &attrs),
        ] {
            let refused = check(&before, &[other]).unwrap_err();
            assert!(refused.line.contains("1 of 1 arrays"), "{refused:?}");
        }
        assert!(check(&before, &[]).is_err(), "it is gone");
    }
}
