//! The text of this repository, for tests that hold it to its own words.

use std::fs;
use std::path::Path;

/// The text of all files below a folder with an extension.
pub fn text_below(folder: &str, extension: &str) -> String {
    let (mut text, mut queue) = (String::new(), vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)]);
    while let Some(path) = queue.pop() {
        if path.is_dir() {
            queue.extend(
                fs::read_dir(&path).expect("a folder of the repository").map(|entry| entry.expect("an entry").path()),
            );
        } else if path.extension().is_some_and(|found| found == extension) {
            text += &fs::read_to_string(&path).expect("a file of the repository");
        }
    }
    text
}
