//! `tests/promises.txt` and `tests/other_clients.txt` name tests that exist, and leave nothing out.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::support::text_below;

/// Promises of a mount.
const N_PROMISES: u32 = 13;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn all_sources() -> String {
    text_below("src", "rs") + &text_below("tests", "rs")
}

/// The lines of a table, each as its fields, comments left out.
fn lines(table: &str) -> impl Iterator<Item = Vec<&str>> {
    table.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(" | ").collect())
}

/// What is wrong with the tests that are named at the end of a line.
fn wrong_tests(line: &[&str], n_fields: usize, sources: &str) -> Vec<String> {
    if line.len() != n_fields || line.iter().any(|field| field.trim().is_empty()) {
        return vec![format!("{line:?} has not {n_fields} fields")];
    }
    let tests = line[n_fields - 1].split(", ");
    // A test, and not a helper of one.
    let is_test = |name: &str| sources.contains(&format!("#[test]\nfn {name}()")) || is_inner_test(sources, name);
    tests.filter(|test| !is_test(test)).map(|test| format!("{}: there is no test {test}", line[0])).collect()
}

/// Whether a test of this name stands in a module of tests, or carries further attributes.
fn is_inner_test(sources: &str, name: &str) -> bool {
    let wanted = format!("fn {name}()");
    sources.match_indices(&wanted).any(|(at, _)| {
        let before = sources[..at].trim_end();
        let attributes = before.rsplit("\n\n").next().unwrap_or_default();
        attributes.contains("#[test]")
    })
}

/// What is wrong with a table of promises.
fn wrong_promises(table: &str, sources: &str) -> Vec<String> {
    let (mut found, mut next) = (Vec::new(), BTreeMap::new());
    for line in lines(table) {
        found.extend(wrong_tests(&line, 2, sources));
        let number = line[0].split(' ').next().and_then(|word| word.strip_prefix('P')?.split_once('.'));
        let Some((promise, sentence)) =
            number.and_then(|(p, s)| Some((p.parse::<u32>().ok()?, s.parse::<u32>().ok()?)))
        else {
            found.push(format!("{} begins with no number", line[0]));
            continue;
        };
        let expected: &mut u32 = next.entry(promise).or_insert(1);
        if sentence != *expected {
            found.push(format!("P{promise}.{sentence} stands where P{promise}.{expected} should"));
        }
        *expected += 1;
    }
    let known: Vec<u32> = next.into_keys().collect();
    if known != (1..=N_PROMISES).collect::<Vec<_>>() {
        found.push(format!("promises {known:?}"));
    }
    found
}

/// What is only printed is not seen: cargo hides the words of a test that passes.
#[test]
fn what_is_left_out_is_told_by_one_function() {
    let n_told = all_sources().matches(concat!("SKIPPED", ": ")).count();
    assert_eq!(n_told, 1, "a skip is told by `skipped` of tests/reports alone");
}

#[test]
fn every_sentence_of_a_promise_has_a_test() {
    let table = fs::read_to_string(root().join("tests/promises.txt")).unwrap();
    let found = wrong_promises(&table, &all_sources());
    assert!(found.is_empty(), "{found:#?}");
    println!(
        "R52: {} of {} sentences of {N_PROMISES} promises have a test",
        lines(&table).count(),
        lines(&table).count()
    );
}

#[test]
fn every_bug_of_another_client_has_a_test() {
    let table = fs::read_to_string(root().join("tests/other_clients.txt")).unwrap();
    let sources = all_sources();
    let found: Vec<_> = lines(&table).flat_map(|line| wrong_tests(&line, 3, &sources)).collect();
    assert!(found.is_empty(), "{found:#?}");
    assert!(lines(&table).count() >= 17, "{} bugs are known", lines(&table).count());
}

#[test]
fn a_table_that_is_wrong_is_found() {
    let sources = "#[test]\nfn one() {}\n\n/// A helper.\nfn two() {}\n\n    #[test]\n    fn three() {}\n";
    let whole: String = (1..=N_PROMISES).map(|n| format!("P{n}.1 So it is | one, three\n")).collect();
    assert_eq!(wrong_promises(&whole, sources), [""; 0]);
    for (from, to) in [
        ("P7.1 So it is | one, three\n", ""),
        ("P7.1 So it is | one, three\n", "P7.1 So it is | two\n"),
        ("P7.1 So it is | one, three\n", "P7.1 So it is | none\n"),
        ("P7.1 So it is | one, three\n", "P7.1 So it is\n"),
        ("P7.1 So it is | one, three\n", "P7.2 So it is | one\n"),
        ("P7.1 So it is | one, three\n", "P7.1 So it is | \n"),
        ("P7.1 So it is | one, three\n", "So it is | one\n"),
    ] {
        assert!(!wrong_promises(&whole.replace(from, to), sources).is_empty(), "{to:?}");
    }
    assert!(!wrong_tests(&["a", "one"], 3, sources).is_empty());
}
