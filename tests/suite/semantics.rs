//! `docs/SEMANTICS.md` and `docs/security.md` name a test for each of their sentences, `docs/reliability.md` what measures each figure,
//! and all of those exist.

use std::path::Path;

use crate::support::text_below;

/// The sentences of a page (its list items) and the tests that each names.
fn sentences(page: &str) -> Vec<(String, Vec<String>)> {
    let items = page.split("\n* ").skip(1).map(|item| item.split("\n\n").next().unwrap_or_default());
    items
        .map(|item| {
            let named = item.trim_end().strip_suffix(']').and_then(|item| item.rsplit_once('['));
            let (sentence, tests) = named.unwrap_or((item, ""));
            let tests = tests.split(',').map(|test| test.trim().to_owned()).filter(|test| !test.is_empty());
            (sentence.trim().to_owned(), tests.collect())
        })
        .collect()
}

#[test]
fn every_sentence_names_tests_that_exist() {
    let pages = [("docs/SEMANTICS.md", 60), ("docs/security.md", 15)];
    let rust = text_below("src", "rs") + &text_below("tests", "rs");
    let python = text_below("tests/readers", "py");
    let found: Vec<_> = pages
        .iter()
        .flat_map(|&(page, fewest)| {
            let found = sentences(&text_below(page, "md"));
            assert!(found.len() > fewest, "only {} sentences in {page}", found.len());
            found
        })
        .collect();
    for (sentence, tests) in found {
        assert!(!tests.is_empty(), "no test holds: {sentence}");
        for test in tests {
            let is_there = match test.split_once(':') {
                Some(("reader" | "real", name)) => python.contains(&format!("def {name}(")),
                Some(_) => false,
                None => rust.contains(&format!("fn {test}()")),
            };
            assert!(is_there, "{test} does not exist, but holds: {sentence}");
        }
    }
}

#[test]
fn a_sentence_without_a_test_is_found() {
    let page = "# A\n\n* One. [a, reader:b]\n* Two\n  lines. [c]\n* None.\n\n## B\n\ntext\n";
    let expected = [("One.", vec!["a", "reader:b"]), ("Two\n  lines.", vec!["c"]), ("None.", vec![])];
    let found = sentences(page);
    assert_eq!(found.len(), expected.len());
    for ((sentence, tests), (expected_sentence, expected_tests)) in found.iter().zip(expected) {
        assert_eq!(
            (sentence.as_str(), tests.iter().map(String::as_str).collect::<Vec<_>>()),
            (expected_sentence, expected_tests)
        );
    }
}

/// What the last column of a row of `docs/reliability.md` names in backquotes.
fn measured_by(row: &str) -> Vec<&str> {
    let last = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
    last.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_figure_has_a_row_that_says_what_measures_it() {
    let page = text_below("docs/reliability.md", "md");
    let rust = text_below("src", "rs") + &text_below("tests", "rs");
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| R")).collect();
    assert_eq!(rows.len(), 52);
    for (n, row) in (1..).zip(rows) {
        assert!(row.starts_with(&format!("| R{n} | ")) && row.matches(" | ").count() == 4, "{row}");
        let named = measured_by(row);
        assert!(!named.is_empty() || row.ends_with("| open |"), "nothing measures it: {row}");
        for name in named {
            let is_file = name.contains('/') && Path::new(env!("CARGO_MANIFEST_DIR")).join(name).is_file();
            assert!(is_file || rust.contains(&format!("fn {name}()")), "{name} does not exist, but measures: {row}");
        }
    }
    assert_eq!(measured_by("| R1 | a `b` | c | d | `scripts/test`: `e` |"), ["scripts/test", "e"]);
}
