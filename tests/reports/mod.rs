//! What tests tell `scripts/test`, in files: the runner hides what a test prints that passes.
#![allow(dead_code, unreachable_pub, clippy::print_stdout, clippy::unwrap_used)] // each test binary uses its part

use std::fs::OpenOptions;
use std::io::Write as _;

/// Tells that a test, or a part of it, is left out. `tests/skips.txt` has to allow it, by the words that `what` begins with.
pub fn skipped(what: &str) {
    // On one line, for it is looked for line by line.
    let line = format!("SKIPPED: {}", what.split_whitespace().collect::<Vec<_>>().join(" "));
    println!("{line}");
    append("DVIDFS_SKIPS_REPORT", &line);
}

/// Appends a line to the file that a variable of the environment names, if it does.
pub fn append(variable: &str, line: &str) {
    let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) else { return };
    // One write of a short line: tests that run at once do not mix theirs.
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}
