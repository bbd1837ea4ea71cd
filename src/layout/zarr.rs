//! Zarr v2 with OME-NGFF 0.4: `.zgroup`, `.zattrs`, `.zmetadata`, and per level `.zarray`, `.zattrs` and chunks.
//!
//! Chunks are not compressed, in full size at the edges too, and missing where nothing is stored. OME translations
//! name the centre of voxel 0, the `offset` of machine learning tools its corner.

use serde::{Serialize, Serializer};

use crate::array::{ArrayKind, ArraySpec, Level};
use crate::voxels::Dtype;

use super::attributes::{AXIS_NAMES, ArrayAttrs, dimension_names, path_of, to_bytes, with_channels};
use super::chunk_grid::ChunkGrid;
use super::form::Form;
use super::kind::{Entry, Folder, LeftOut};
use super::naming::Naming;

/// The whole directory.
pub(super) fn folder(spec: &ArraySpec) -> Result<Folder, LeftOut> {
    let mut entries = vec![
        (".zgroup".to_owned(), Entry::document(|_| group())),
        (".zattrs".to_owned(), Entry::document(group_attrs)),
        (".zmetadata".to_owned(), Entry::document(consolidated)),
    ];
    for (index, level) in spec.levels.iter().enumerate() {
        let chunks = ChunkGrid::over_stored(spec, index, level.chunk_shape, (Naming::Zyx, Form::Raw));
        let documents = vec![
            (".zarray".to_owned(), Entry::document(move |spec| array(spec, index))),
            (".zattrs".to_owned(), Entry::document(move |spec| array_attrs(spec, index))),
        ];
        let folder = Folder { chunks: vec![chunks.ok_or(LeftOut::TooLarge)?], ..Folder::of(documents) };
        entries.push((path_of(index), Entry::Folder(folder)));
    }
    Ok(Folder::of(entries))
}

/// `.zgroup`
pub(super) fn group() -> Vec<u8> {
    to_bytes(&Group { zarr_format: 2 })
}

/// `.zattrs` of the group.
pub(super) fn group_attrs(spec: &ArraySpec) -> Vec<u8> {
    to_bytes(&GroupAttrs::of(spec))
}

/// `.zarray` of a level that the spec has.
pub(super) fn array(spec: &ArraySpec, level: usize) -> Vec<u8> {
    to_bytes(&Array::of(spec, &spec.levels[level]))
}

/// `.zattrs` of a level that the spec has.
pub(super) fn array_attrs(spec: &ArraySpec, level: usize) -> Vec<u8> {
    to_bytes(&XarrayAttrs::of(spec, &spec.levels[level]))
}

/// `.zmetadata`
pub(super) fn consolidated(spec: &ArraySpec) -> Vec<u8> {
    let mut metadata = vec![
        (".zattrs".to_owned(), Metadata::GroupAttrs(GroupAttrs::of(spec))),
        (".zgroup".to_owned(), Metadata::Group(Group { zarr_format: 2 })),
    ];
    for (index, level) in spec.levels.iter().enumerate() {
        let path = path_of(index);
        metadata.push((format!("{path}/.zarray"), Metadata::Array(Array::of(spec, level))));
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
    /// Makes napari open a Labels layer.
    #[serde(rename = "image-label", skip_serializing_if = "Option::is_none")]
    image_label: Option<ImageLabel>,
}

#[derive(Serialize)]
struct ImageLabel {
    version: &'static str,
}

#[derive(Serialize)]
struct Multiscale<'a> {
    name: &'a str,
    axes: [Axis; 3],
    datasets: Vec<Dataset>,
    /// How a coarser level came from a finer one.
    r#type: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
struct Axis {
    name: &'static str,
    r#type: &'static str,
    unit: &'static str,
}

#[derive(Serialize)]
struct Dataset {
    path: String,
    #[serde(rename = "coordinateTransformations")]
    transformations: [Transformation; 2],
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Transformation {
    Scale { scale: [f64; 3] },
    Translation { translation: [f64; 3] },
}

impl<'a> GroupAttrs<'a> {
    fn of(spec: &'a ArraySpec) -> Self {
        let axes = AXIS_NAMES.map(|name| Axis { name, r#type: "space", unit: "nanometer" });
        let datasets = spec.levels.iter().enumerate().map(|(index, level)| Dataset::of(spec, index, level)).collect();
        let (r#type, image_label) = match spec.kind {
            ArrayKind::Image => ("mean", None),
            ArrayKind::Labels => ("mode", Some(ImageLabel { version: "0.4" })),
        };
        Self { multiscales: [Multiscale { name: &spec.name, axes, datasets, r#type, version: "0.4" }], image_label }
    }
}

impl Dataset {
    #[allow(clippy::cast_precision_loss)] // origins stay far below 2^53
    fn of(spec: &ArraySpec, index: usize, level: &Level) -> Self {
        let finest = spec.voxel_size.nm();
        let origin = spec.origin().axes();
        let factor = level.scale.factor() as f64;
        // A voxel of a coarse level covers 2^s fine ones, and its centre lies in the middle of theirs.
        let centre = (factor - 1.0) / 2.0;
        let scale = spec.voxel_size.at_scale(level.scale).nm();
        let translation = std::array::from_fn(|axis| origin[axis] as f64 * finest[axis] + centre * finest[axis]);
        Self {
            path: path_of(index),
            transformations: [Transformation::Scale { scale }, Transformation::Translation { translation }],
        }
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
    fn of(spec: &ArraySpec, level: &Level) -> Self {
        Self {
            zarr_format: 2,
            shape: with_channels(spec, level.shape.axes()),
            chunks: with_channels(spec, level.chunk_shape.axes()),
            dtype: dtype_name(spec.dtype),
            compressor: None,
            fill_value: 0,
            order: "C",
            filters: None,
            dimension_separator: "/",
        }
    }
}

fn dtype_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::Uint8 => "|u1",
        Dtype::Uint16 => "<u2",
        Dtype::Uint32 => "<u4",
        Dtype::Uint64 => "<u8",
        Dtype::Float32 => "<f4",
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
