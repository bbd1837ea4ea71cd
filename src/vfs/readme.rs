//! README.txt of a mount: for a person who lands in the directory.

use std::fmt::Write as _;

use crate::layout::{LayoutKind, LayoutOptions};

use super::contents::InstanceFiles;
use super::names::escape;

/// The text of README.txt.
pub(super) fn readme(
    source: &str,
    (instances, has_boxes): (&[InstanceFiles], bool),
    layouts: &LayoutOptions,
) -> String {
    let mut lines: Vec<String> = instances.iter().map(line_of).collect();
    lines.sort();
    let example = instances.iter().filter_map(rank).min().map(|(_, name)| name);
    let mut text = format!(
        "This directory is one version of the data on a DVID server, shown by dvidfs:\n    {}\n\
         Nothing is copied: what you read is fetched when you read it. Nothing can be written.\n\n",
        source.escape_debug()
    );
    text += "  node.json   which server and version this is, its history and its instances\n";
    text += "  .dvidfs/    how this mount is doing: stats.json, metrics, errors.jsonl, config.json\n\n";
    if has_boxes {
        text += "  boxes/      boxes of instances that were asked for: index 0 is the box's first voxel\n\n";
    }
    text += "Each other directory is one data instance:\n\n";
    text += "  info                        DVID's own description\n";
    text += "  attrs.json                  shape, voxel size (nm), offset, levels, and what was left out and why\n";
    text += "  neuroglancer.json           a layer, and a viewer state to paste\n";
    for kind in &layouts.kinds {
        let name = if kind.is_folder() { format!("{}/", kind.name()) } else { kind.name() };
        // A string takes every write.
        let _ = writeln!(text, "  {name:<27} {}", kind.title());
    }
    text +=
        "  supervoxels/                the same for a labelmap's supervoxels; the directory itself shows bodies\n\n";
    text += "Axes are z, y, x. The index in an array is the DVID voxel coordinate, except on an axis with data below 0, where\n\
             `offset` in attrs.json tells index 0. Level s0 is full resolution, each next one half as fine. The shape is rounded
\
             up so that levels divide: `roi` (nm) and `box` (voxels) in attrs.json are the data's true box.
\
             Names, shapes and descriptions are those of the time of the mount: mount again to see later ones.

";
    let zarr = layouts.kinds.iter().find(|kind| matches!(kind, LayoutKind::Zarr2 { .. } | LayoutKind::Zarr3));
    if let (Some(example), Some(zarr)) = (example, zarr) {
        text += &how_to_open(&example, *zarr);
    }
    text += "Instances here (a name with % stands for one that no file can have):\n\n";
    for line in lines {
        text += &line;
    }
    text
}

/// How fit an instance is for an example, the least first: an image or labels of many, with a plain name.
fn rank(instance: &InstanceFiles) -> Option<((bool, bool, usize), String)> {
    let array = instance.view.array.as_ref()?;
    let name = escape(&instance.name);
    let is_plain = name.starts_with(|char: char| char.is_ascii_alphabetic()) && name == instance.name;
    let is_common = matches!(instance.typename.as_str(), "uint8blk" | "labelmap" | "labelarray" | "labelblk");
    Some(((!is_plain, !is_common, usize::MAX - array.spec().levels.len()), name))
}

fn line_of(instance: &InstanceFiles) -> String {
    let what = if instance.view.array.is_some() { "" } else { ", no voxels here: see its attrs.json" };
    format!("  {}  ({}{what})\n", escape(&instance.name), instance.typename.escape_debug())
}

fn how_to_open(instance: &str, zarr: LayoutKind) -> String {
    let (tree, driver) = (zarr.name(), zarr.word());
    format!(
        "To open one, with MOUNT for the path of this directory:\n\n\
         zarr (Python)\n    \
         import zarr\n    \
         array = zarr.open(\"MOUNT/{instance}/{tree}/s0\", mode=\"r\")\n    \
         array[0:64, 0:64, 0:64]\n\n\
         TensorStore (Python)\n    \
         import tensorstore\n    \
         array = tensorstore.open({{\"driver\": \"{driver}\", \"kvstore\": {{\"driver\": \"file\",\n        \
         \"path\": \"MOUNT/{instance}/{tree}/s0\"}}}}, open=True).result()\n\n\
         napari, with napari-ome-zarr\n    \
         napari --plugin napari-ome-zarr MOUNT/{instance}/{tree}\n\n\
         A read that fails says so (an error, never zeros); .dvidfs/errors.jsonl has the reason.\n\n"
    )
}
