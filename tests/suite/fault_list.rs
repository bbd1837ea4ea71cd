//! The list of faults is whole, and names tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::text_below;

/// Groups of faults and how many each has: 184, and one beside them.
const GROUPS: [(char, usize); 10] =
    [('A', 20), ('B', 30), ('C', 8), ('D', 23), ('E', 24), ('F', 10), ('G', 6), ('H', 20), ('I', 20), ('J', 24)];

/// What is wrong with a list of faults, where these are the sources of the tests.
fn wrong(list: &str, tests: &str) -> Vec<String> {
    let mut wanted: BTreeSet<String> =
        GROUPS.iter().flat_map(|&(group, n)| (1..=n).map(move |number| format!("{group}{number}"))).collect();
    let mut found = Vec::new();
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(" | ").collect();
        let [id, classes, needs, test] = fields[..] else {
            found.push(format!("{line:?} has not four fields"));
            continue;
        };
        if !wanted.remove(id) {
            found.push(format!("{id} is no fault, or stands there twice"));
        }
        let is_class = |class: &str| ["OK", "EIO", "EACCES", "ESTALE", "DEG", "REF", "HID"].contains(&class);
        if !classes.split('/').all(is_class) || !["-", "root", "more", "open"].contains(&needs) {
            found.push(format!("{id}: {classes} | {needs}"));
        }
        if needs != "open" && !tests.contains(&format!("fn {test}()")) {
            found.push(format!("{id}: there is no test {test}"));
        }
        // A test that reports what it holds names it.
        if needs != "open" && !tests.contains(&format!("\"{id}\"")) {
            found.push(format!("{id} is reported by no test"));
        }
    }
    found.extend(wanted.into_iter().map(|id| format!("{id} is missing")));
    found
}

#[test]
fn every_fault_has_its_line_and_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = fs::read_to_string(root.join("tests/faults.txt")).unwrap();
    let found = wrong(&list, &text_below("tests", "rs"));
    assert!(found.is_empty(), "{found:#?}");
    let n_open = list.lines().filter(|line| line.contains(" | open | ")).count();
    println!(
        "{} faults, of which {n_open} have no test yet",
        list.lines().filter(|line| !line.starts_with('#')).count()
    );
}

#[test]
fn a_line_that_is_wrong_is_found() {
    let whole: String = GROUPS
        .iter()
        .flat_map(|&(group, n)| (1..=n).map(move |number| format!("{group}{number} | OK | open | -\n")))
        .collect();
    assert_eq!(wrong(&whole, ""), [""; 0]);
    for (from, to, n_found) in [
        ("B7 | OK | open | -\n", "", 1),
        ("B7 | OK | open | -\n", "B7 | FINE | open | -\n", 1),
        ("B7 | OK | open | -\n", "B7 | OK/EIO | - | none\n", 1),
        ("B7 | OK | open | -\n", "B8 | OK | open | -\n", 2),
        ("B7 | OK | open | -\n", "B7 | OK\n", 2),
        ("B7 | OK | open | -\n", "B7 | OK | - | some\n", 0),
    ] {
        let found = wrong(&whole.replace(from, to), "fn some() { \"B7\" }");
        assert_eq!(found.len(), n_found, "{to:?}: {found:?}");
    }
}
