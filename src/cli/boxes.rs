//! Boxes of instances that were asked for by `--box`, as instances of their own.

use std::sync::Arc;

use crate::array::{BoxedArray, Catalog, DvidArray, Entry, ReadVoxels};
use crate::dvid::Node;
use crate::logging::Chain;
use crate::vfs::{InstanceFiles, ViewFiles};

use super::failure::Failure;
use super::values::BoxWords;

/// What `boxes/` shows.
pub(super) fn boxes(words: &[BoxWords], node: &Node, catalog: &Catalog) -> Result<Vec<InstanceFiles>, Failure> {
    if let Some(twice) = words.iter().enumerate().find(|(n, one)| words[..*n].iter().any(|two| two.name == one.name)) {
        return Err(Failure::usage(format!("--box {}: two boxes have this name", twice.1.name)));
    }
    words.iter().map(|words| one(words, node, catalog)).collect()
}

fn one(words: &BoxWords, node: &Node, catalog: &Catalog) -> Result<InstanceFiles, Failure> {
    let refused = |why: String| Failure::usage(format!("--box {}: {why}", words.name));
    let found = catalog.entries.iter().zip(&node.instances).find(|(entry, _)| entry.name == words.instance);
    let Some((entry, info)) = found else {
        return Err(refused(format!("the node has no instance {:?}: `dvidfs info SOURCE` lists them", words.instance)));
    };
    let views: Result<Vec<_>, Failure> = entry
        .arrays
        .iter()
        .map(|array| view(words, array).map_err(|error| refused(Chain(&error).to_string())))
        .collect();
    let mut views = views?.into_iter();
    let first = views.next().ok_or_else(|| refused(no_voxels(entry)))?;
    Ok(InstanceFiles {
        name: words.name.clone(),
        typename: info.typename.clone(),
        info: Arc::clone(&entry.info),
        freshness: entry.freshness,
        view: first,
        supervoxels: views.next(),
    })
}

fn view(words: &BoxWords, array: &Arc<DvidArray>) -> Result<ViewFiles, crate::array::BoxError> {
    let boxed = BoxedArray::new(Arc::clone(array), words.name.clone(), words.scale, words.voxels)?;
    let attrs = boxed.described();
    Ok(ViewFiles { attrs, neuroglancer: None, array: Some(Arc::new(boxed) as Arc<dyn ReadVoxels>) })
}

fn no_voxels(entry: &Entry) -> String {
    let why = entry.described["reason"].as_str().unwrap_or("it has no voxels");
    format!("{} has no array to cut from: {why}", entry.name)
}
