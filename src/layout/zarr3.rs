//! Zarr v3 with OME-NGFF 0.5: `zarr.json` of the group and of each level, and sharded chunks.
//!
//! A shard holds the chunks of `volume.zarr`, not compressed, and its index stands at its end: some readers know no
//! other place.

use serde::Serialize;
use serde_json::Value;

use crate::array::{ArraySpec, Level};
use crate::geometry::Coordinate;
use crate::voxels::Dtype;

use super::attributes::{ArrayAttrs, dimension_names, path_of, to_bytes, with_channels};
use super::chunk_grid::ChunkGrid;
use super::folder::{Entry, Folder, LeftOut};
use super::form::Form;
use super::naming::Naming;
use super::ome::{ImageLabel, Multiscale};
use super::shard::Shard;

/// The version of OME-NGFF.
const OME: &str = "0.5";

/// The name of the file of metadata, in the group and in each level.
const METADATA: &str = "zarr.json";

/// Voxels that a shard reaches to along each axis.
const SHARD_EDGE: i64 = 1024;

/// The whole directory.
pub(super) fn folder(spec: &ArraySpec) -> Result<Folder, LeftOut> {
    let mut entries = vec![(METADATA.to_owned(), Entry::document(group))];
    for (index, level) in spec.levels.iter().enumerate() {
        let shards = shards(spec, index, level).ok_or(LeftOut::TooLarge)?;
        let chunks = Folder { entries: Vec::new(), chunks: vec![shards], ..Folder::default() };
        let level = vec![
            (METADATA.to_owned(), Entry::document(move |spec| array(spec, index))),
            ("c".to_owned(), Entry::Folder(chunks)),
        ];
        entries.push((path_of(index), Entry::Folder(Folder::of(level))));
    }
    Ok(Folder::of(entries))
}

/// The shards of a level, or `None` if they cannot be files.
fn shards(spec: &ArraySpec, index: usize, level: &Level) -> Option<ChunkGrid> {
    let shard_shape = shard_shape(level);
    let shard = Shard::new(spec, level.chunk_shape, shard_shape.div_floor(level.chunk_shape))?;
    ChunkGrid::over_stored(spec, index, shard_shape, (Naming::of_zarr(spec), Form::Sharded(shard)))
}

/// Voxels of a shard: as many whole chunks as fit into its edge, at least one, and no more than the level has.
fn shard_shape(level: &Level) -> Coordinate {
    let chunk = level.chunk_shape;
    let largest = Coordinate::splat(SHARD_EDGE).div_floor(chunk).max(Coordinate::ONE) * chunk;
    largest.min(level.padded_shape())
}

/// `zarr.json` of the group.
fn group(spec: &ArraySpec) -> Vec<u8> {
    let ome = Ome { version: OME, multiscales: [Multiscale::of(spec, None)], image_label: ImageLabel::of(spec, OME) };
    to_bytes(&Group { zarr_format: 3, node_type: "group", attributes: GroupAttrs { ome } })
}

/// `zarr.json` of a level that the spec has.
fn array(spec: &ArraySpec, level: usize) -> Vec<u8> {
    to_bytes(&Array::of(spec, &spec.levels[level]))
}

#[derive(Serialize)]
struct Group<'a> {
    zarr_format: u8,
    node_type: &'static str,
    attributes: GroupAttrs<'a>,
}

#[derive(Serialize)]
struct GroupAttrs<'a> {
    ome: Ome<'a>,
}

#[derive(Serialize)]
struct Ome<'a> {
    version: &'static str,
    multiscales: [Multiscale<'a>; 1],
    #[serde(rename = "image-label", skip_serializing_if = "Option::is_none")]
    image_label: Option<ImageLabel>,
}

#[derive(Serialize)]
struct Array {
    zarr_format: u8,
    node_type: &'static str,
    shape: Vec<i64>,
    data_type: &'static str,
    chunk_grid: Extension<ChunkShape>,
    chunk_key_encoding: Extension<Separator>,
    fill_value: Value,
    codecs: [Extension<Sharding>; 1],
    attributes: ArrayAttrs,
    dimension_names: Vec<&'static str>,
}

/// What Zarr v3 gives a name, and often a configuration.
#[derive(Serialize)]
struct Extension<T> {
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    configuration: Option<T>,
}

#[derive(Serialize)]
struct ChunkShape {
    chunk_shape: Vec<i64>,
}

#[derive(Serialize)]
struct Separator {
    separator: &'static str,
}

#[derive(Serialize)]
struct Endian {
    endian: &'static str,
}

#[derive(Serialize)]
struct Sharding {
    chunk_shape: Vec<i64>,
    codecs: [Extension<Endian>; 1],
    index_codecs: [Extension<Endian>; 2],
    index_location: &'static str,
}

impl<T> Extension<T> {
    fn new(name: &'static str, configuration: T) -> Self {
        Self { name, configuration: Some(configuration) }
    }
}

impl Array {
    fn of(spec: &ArraySpec, level: &Level) -> Self {
        let shard_shape = with_channels(spec, shard_shape(level).axes());
        Self {
            zarr_format: 3,
            node_type: "array",
            shape: with_channels(spec, level.shape.axes()),
            data_type: spec.dtype.name(),
            chunk_grid: Extension::new("regular", ChunkShape { chunk_shape: shard_shape }),
            chunk_key_encoding: Extension::new("default", Separator { separator: "/" }),
            fill_value: if spec.dtype == Dtype::Float32 { 0.0.into() } else { 0.into() },
            codecs: [Extension::new("sharding_indexed", Sharding::of(spec, level))],
            attributes: ArrayAttrs::of(spec, level),
            dimension_names: dimension_names(spec),
        }
    }
}

impl Sharding {
    fn of(spec: &ArraySpec, level: &Level) -> Self {
        let little = || Extension::new("bytes", Endian { endian: "little" });
        let voxels =
            if spec.dtype.itemsize() == 1 { Extension { name: "bytes", configuration: None } } else { little() };
        Self {
            chunk_shape: with_channels(spec, level.chunk_shape.axes()),
            codecs: [voxels],
            index_codecs: [little(), Extension { name: "crc32c", configuration: None }],
            index_location: "end",
        }
    }
}

#[cfg(test)]
mod tests;
