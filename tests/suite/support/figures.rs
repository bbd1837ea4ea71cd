//! The figures of `docs/reliability.md`: what a test has measured, for `scripts/test` to print together.

use std::fmt::{Display, Write as _};
use std::fs::OpenOptions;
use std::io::Write as _;

/// Tells what was measured for a figure and what is wanted; that it is reached is for the test to assert.
pub fn figure(id: &str, got: impl Display, wanted: &str) {
    let line = format!("{id}: {got} / wanted {wanted}");
    println!("{line}");
    append("DVIDFS_FIGURES_REPORT", &line);
}

/// Appends a line to the file that a variable of the environment names, if it does.
pub(super) fn append(variable: &str, line: &str) {
    let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) else { return };
    let mut whole = String::new();
    let _ = writeln!(whole, "{line}");
    // One write of a short line: tests that run at once do not mix theirs.
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(whole.as_bytes()).unwrap();
}
