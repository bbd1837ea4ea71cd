//! The figures of `docs/reliability.md`: what a test has measured, for `scripts/test` to print together.

use std::fmt::Display;

use super::mounts::reports::append;

/// Tells what was measured for a figure and what is wanted; that it is reached is for the test to assert.
pub fn figure(id: &str, got: impl Display, wanted: &str) {
    let line = format!("{id}: {got} / wanted {wanted}");
    println!("{line}");
    append("DVIDFS_FIGURES_REPORT", &line);
}
