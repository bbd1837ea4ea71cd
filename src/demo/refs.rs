//! How DVID finds a version: a prefix, `uuid:branch`, `~N`; and the words in which it fails to.

use super::dataset::VERSIONS;

/// The version that a reference names, or DVID's words.
pub(super) fn resolve(reference: &str) -> Result<usize, String> {
    let Some((uuid, branch)) = reference.split_once(':') else { return by_prefix(reference) };
    // Without a UUID it is the only repo of the server.
    let version = if uuid.is_empty() { 0 } else { by_prefix(uuid)? };
    if branch.is_empty() {
        return Ok(version);
    }
    let (branch, steps) = branch.split_once('~').map_or((branch, "0"), |(branch, steps)| (branch, steps));
    let branch = if branch.is_empty() { "master" } else { branch };
    let line = branch_versions(branch);
    if line.is_empty() {
        return Err(format!("branch {branch:?} not found in repo {:?}", VERSIONS[0].uuid));
    }
    let steps: i64 = steps.parse().map_err(|_| format!("can't parse parent {steps:?} in branch {branch:?}"))?;
    if steps < 0 {
        return Err(format!("index out of range [{steps}]"));
    }
    let version = usize::try_from(steps).ok().and_then(|steps| line.get(steps).copied());
    version.ok_or_else(|| format!("parent {steps} is out of range for branch {branch:?}"))
}

fn by_prefix(prefix: &str) -> Result<usize, String> {
    let hits: Vec<_> = VERSIONS.iter().enumerate().filter(|(_, version)| version.uuid.starts_with(prefix)).collect();
    match hits.as_slice() {
        [(index, _)] => Ok(*index),
        [] => Err(format!("could not find UUID with partial match to {prefix}")),
        _ => Err(format!("more than one UUID matches {prefix}")),
    }
}

/// The versions of a branch from its leaf to the root; none for a branch that is not there.
pub(super) fn branch_versions(branch: &str) -> Vec<usize> {
    let branch = if branch == "master" { "" } else { branch };
    let Some(leaf) = VERSIONS.iter().rposition(|version| version.branch == branch) else { return Vec::new() };
    std::iter::successors(Some(leaf), |&version| VERSIONS[version].parent).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_found_as_dvid_finds_them() {
        let cases = [
            ("a40d", Ok(0)),
            ("a40d:", Ok(0)),
            ("a40d:master", Ok(2)),
            ("b7e2:master~1", Ok(1)),
            ("a40d:~2", Ok(0)),
            ("a40d:exp", Ok(3)),
            ("a40d:exp~1", Ok(0)),
            (":master", Ok(2)),
            ("v1.0", Ok(4)),
            ("a40d:tag-v1.0~1", Ok(1)),
        ];
        for (reference, expected) in cases {
            assert_eq!(resolve(reference), expected, "{reference}");
        }
        let failures = [
            ("b7", "ok"),
            ("b", "more than one"),
            ("ffff", "could not find"),
            ("a40d:nope", "not found in repo"),
            ("a40d:~9", "out of range"),
            ("a40d:~x", "can't parse parent"),
            ("a40d:~-1", "index out of range"),
            ("v1", "more than one"),
            ("A40D", "could not find"),
            ("master", "could not find"),
        ];
        for (reference, words) in &failures[1..] {
            assert!(resolve(reference).unwrap_err().contains(words), "{reference}");
        }
        assert_eq!(resolve(failures[0].0), Err("more than one UUID matches b7".to_owned()));
    }
}
