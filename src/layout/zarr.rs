//! Zarr v2 with OME-NGFF 0.4: `.zgroup`, `.zattrs`, `.zmetadata`, and per level `.zarray`, `.zattrs` and chunks.
//!
//! Chunks are not compressed, in full size at the edges too, and missing where nothing is stored. OME translations
//! name the centre of voxel 0, the `offset` of machine learning tools its corner.

use serde::{Serialize, Serializer};

use crate::array::{ArraySpec, Level};

use super::attributes::{ArrayAttrs, dimension_names, numpy_name, path_of, to_bytes, with_channels};
use super::chunk_grid::ChunkGrid;
use super::folder::{Entry, Folder, LeftOut};
use super::form::Form;
use super::naming::Naming;
use super::ome::{ImageLabel, Multiscale};

/// The version of OME-NGFF.
const OME: &str = "0.4";

/// The whole directory, with chunks of about `edge`^3.
pub(super) fn folder(spec: &ArraySpec, edge: u16) -> Result<Folder, LeftOut> {
    let mut entries = vec![
        (".zgroup".to_owned(), Entry::document(|_| group())),
        (".zattrs".to_owned(), Entry::document(group_attrs)),
        (".zmetadata".to_owned(), Entry::document(move |spec| consolidated(spec, edge))),
    ];
    for (index, level) in spec.levels.iter().enumerate() {
        let chunk_shape = level.chunk_shape_of(edge);
        let chunks = ChunkGrid::over_stored(spec, index, chunk_shape, (Naming::of_zarr(spec), Form::Raw));
        let documents = vec![
            (".zarray".to_owned(), Entry::document(move |spec| array(spec, index, edge))),
            (".zattrs".to_owned(), Entry::document(move |spec| array_attrs(spec, index))),
        ];
        let folder = Folder { chunks: vec![chunks.ok_or(LeftOut::TooLarge)?], ..Folder::of(documents) };
        entries.push((path_of(index), Entry::Folder(folder)));
    }
    Ok(Folder::of(entries))
}

/// `.zgroup`
fn group() -> Vec<u8> {
    to_bytes(&Group { zarr_format: 2 })
}

/// `.zattrs` of the group.
fn group_attrs(spec: &ArraySpec) -> Vec<u8> {
    to_bytes(&GroupAttrs::of(spec))
}

/// `.zarray` of a level that the spec has.
fn array(spec: &ArraySpec, level: usize, edge: u16) -> Vec<u8> {
    to_bytes(&Array::of(spec, &spec.levels[level], edge))
}

/// `.zattrs` of a level that the spec has.
fn array_attrs(spec: &ArraySpec, level: usize) -> Vec<u8> {
    to_bytes(&XarrayAttrs::of(spec, &spec.levels[level]))
}

/// `.zmetadata`
fn consolidated(spec: &ArraySpec, edge: u16) -> Vec<u8> {
    let mut metadata = vec![
        (".zattrs".to_owned(), Metadata::GroupAttrs(GroupAttrs::of(spec))),
        (".zgroup".to_owned(), Metadata::Group(Group { zarr_format: 2 })),
    ];
    for (index, level) in spec.levels.iter().enumerate() {
        let path = path_of(index);
        metadata.push((format!("{path}/.zarray"), Metadata::Array(Array::of(spec, level, edge))));
        metadata.push((format!("{path}/.zattrs"), Metadata::ArrayAttrs(XarrayAttrs::of(spec, level))));
    }
    to_bytes(&Consolidated { metadata: Files(metadata), zarr_consolidated_format: 1 })
}

#[derive(Serialize)]
struct Consolidated<'a> {
    metadata: Files<'a>,
    zarr_consolidated_format: u8,
}

struct Files<'a>(Vec<(String, Metadata<'a>)>);

impl Serialize for Files<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(path, metadata)| (path, metadata)))
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Metadata<'a> {
    Group(Group),
    GroupAttrs(GroupAttrs<'a>),
    Array(Array),
    ArrayAttrs(XarrayAttrs),
}

#[derive(Serialize)]
struct Group {
    zarr_format: u8,
}

#[derive(Serialize)]
struct GroupAttrs<'a> {
    multiscales: [Multiscale<'a>; 1],
    #[serde(rename = "image-label", skip_serializing_if = "Option::is_none")]
    image_label: Option<ImageLabel>,
}

impl<'a> GroupAttrs<'a> {
    fn of(spec: &'a ArraySpec) -> Self {
        Self { multiscales: [Multiscale::of(spec, Some(OME))], image_label: ImageLabel::of(spec, OME) }
    }
}

#[derive(Serialize)]
struct Array {
    zarr_format: u8,
    shape: Vec<i64>,
    chunks: Vec<i64>,
    dtype: &'static str,
    compressor: Option<()>,
    fill_value: u8,
    order: &'static str,
    filters: Option<()>,
    dimension_separator: &'static str,
}

impl Array {
    fn of(spec: &ArraySpec, level: &Level, edge: u16) -> Self {
        Self {
            zarr_format: 2,
            shape: with_channels(spec, level.shape.axes()),
            chunks: with_channels(spec, level.chunk_shape_of(edge).axes()),
            dtype: numpy_name(spec.dtype),
            compressor: None,
            fill_value: 0,
            order: "C",
            filters: None,
            dimension_separator: "/",
        }
    }
}

/// The attributes of an array, with the dimension names that xarray looks for.
#[derive(Serialize)]
struct XarrayAttrs {
    #[serde(flatten)]
    attrs: ArrayAttrs,
    #[serde(rename = "_ARRAY_DIMENSIONS")]
    dimensions: Vec<&'static str>,
}

impl XarrayAttrs {
    fn of(spec: &ArraySpec, level: &Level) -> Self {
        Self { attrs: ArrayAttrs::of(spec, level), dimensions: dimension_names(spec) }
    }
}

#[cfg(test)]
mod tests;
