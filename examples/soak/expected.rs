//! What the files of a mount must hold.

use std::path::{Path, PathBuf};

use dvidfs::demo::Kind;

use super::Outcome;
use super::server::{Amount, LIVE, dataset};
use super::whole_files::{ViewOf, WholeFile, whole_files};

/// A file, and all its bytes.
pub(crate) struct Expected {
    /// Below the root of the mount.
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
    /// Whether they follow from the pure function; else they are what a first read gave while nothing was wrong.
    pub(crate) by_oracle: bool,
}

/// Files of every layout of every view, from all over their lists, with the bytes of the locked root.
///
/// A view a thread of two: both sides take their time.
pub(crate) fn expected(root: &Path, amount: Amount) -> Outcome<Vec<Expected>> {
    let dataset = dataset(amount, 0);
    let most = if amount == Amount::Small { 12 } else { 48 };
    let mut views = Vec::new();
    for spec in dataset.instances().filter(|spec| spec.name != LIVE) {
        let place = root.join(&spec.name);
        // Levels of another instance have no directory of their own.
        if !place.exists() {
            continue;
        }
        let bodies = matches!(spec.kind, Kind::LabelMap(_));
        if bodies {
            views.push((spec.name.clone(), place.join("supervoxels"), false));
        }
        views.push((spec.name.clone(), place, bodies));
    }
    let dataset = &dataset;
    let files_of = |(instance, place, bodies): &(String, PathBuf, bool)| {
        whole_files(ViewOf { place, dataset, version: 0, instance, bodies: *bodies }, most)
    };
    let files: Vec<WholeFile> = std::thread::scope(|scope| {
        let parts = views.chunks(views.len().div_ceil(2));
        let parts: Vec<_> = parts.map(|part| scope.spawn(move || part.iter().flat_map(files_of).collect())).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap_or_else(|_| Vec::new())).collect()
    });
    if files.is_empty() {
        return Err("no file is expected".into());
    }
    let below = |file: WholeFile| -> Outcome<Expected> {
        let path = file.path.strip_prefix(root)?.to_owned();
        Ok(Expected { path, bytes: file.bytes, by_oracle: file.by_oracle })
    };
    files.into_iter().map(below).collect()
}
