//! N5, not compressed: `attributes.json` of the container and of each level, and chunks with a header.
//!
//! N5 calls chunks blocks. Axes are in the order x, y, z, then channels; voxels are big-endian, x fastest. Chunks end
//! where the array ends, and are missing where nothing is stored. `transform` names the centre of voxel 0, `offset` its
//! corner.

use serde::Serialize;

use crate::array::{ArraySpec, Level};
use crate::geometry::VoxelBox;

use super::attributes::{AXIS_NAMES, centre_nm, corner_nm, path_of, to_bytes, to_xyz, with_channels};
use super::chunk_grid::{ChunkGrid, GridParts};
use super::encoding::Encoding;
use super::file::{Section, VoxelFile};
use super::folder::{Entry, Folder, LeftOut};
use super::form::{Form, Held, planes};
use super::naming::Naming;

/// Readers in Rust refuse 3 and above.
const VERSION: &str = "2.5.1";

const ATTRIBUTES: &str = "attributes.json";

/// Readers in Java hold a chunk in an array that 31 bits count.
const CHUNK_BYTES_END: u128 = 1 << 31;

/// The whole directory.
pub(super) fn folder(spec: &ArraySpec) -> Result<Folder, LeftOut> {
    let mut entries = vec![(ATTRIBUTES.to_owned(), Entry::document(container))];
    for (index, level) in spec.levels.iter().enumerate() {
        if chunk_bytes(spec, level) >= CHUNK_BYTES_END {
            return Err(LeftOut::LargeChunk(2));
        }
        let attributes = (ATTRIBUTES.to_owned(), Entry::document(move |spec| array(spec, index)));
        let chunks = chunks(spec, index, level).ok_or(LeftOut::TooLarge)?;
        let folder = Folder::with_chunks(vec![attributes], chunks);
        entries.push((path_of(index), Entry::Folder(folder)));
    }
    Ok(Folder::of(entries))
}

/// `attributes.json` of the container.
fn container(spec: &ArraySpec) -> Vec<u8> {
    to_bytes(&Container::of(spec))
}

/// `attributes.json` of a level that the spec has.
fn array(spec: &ArraySpec, level: usize) -> Vec<u8> {
    to_bytes(&Array::of(spec, &spec.levels[level]))
}

/// The chunks of a level that hold stored voxels.
fn chunks(spec: &ArraySpec, index: usize, level: &Level) -> Option<ChunkGrid> {
    let parts = GridParts {
        level: index,
        origin: level.origin,
        chunk_shape: level.chunk_shape,
        extent: level.stored.intersect(level.voxels()),
        clip: Some(level.voxels()),
        naming: if spec.channels.is_some() { Naming::XyzChannel } else { Naming::Xyz },
        form: Form::N5,
    };
    ChunkGrid::new(spec, parts)
}

/// The file of a chunk, or `None` if it would have 2^63 bytes or more.
pub(super) fn chunk(spec: &ArraySpec, held: Held) -> Option<VoxelFile> {
    let header = Section::Bytes(header(spec, held.voxels)?.into());
    VoxelFile::new([header].into_iter().chain(planes(spec, held, Encoding::Big)))
}

/// Mode 0, the number of axes, and the chunk's own size along each; all big-endian. `None` if one has no 32 bits.
fn header(spec: &ArraySpec, voxels: VoxelBox) -> Option<Vec<u8>> {
    let mode = [0, 0];
    let sizes = extents(spec, voxels.shape().axes());
    let n_axes = u16::try_from(sizes.len()).ok()?;
    let mut bytes = [mode, n_axes.to_be_bytes()].concat();
    for size in sizes {
        bytes.extend(u32::try_from(size).ok()?.to_be_bytes());
    }
    Some(bytes)
}

/// Bytes of the voxels of the largest chunk of a level.
fn chunk_bytes(spec: &ArraySpec, level: &Level) -> u128 {
    level.chunk_shape.min(level.shape).product() * (spec.dtype.itemsize() * spec.n_channels()) as u128
}

/// The lengths of all axes in the format's order, from those of the spatial ones.
fn extents(spec: &ArraySpec, spatial: [i64; 3]) -> Vec<i64> {
    with_channels(spec, spatial).into_iter().rev().collect()
}

/// What each axis has, in the format's order. TensorStore and neuroglancer want as many entries as there are axes.
fn of_each_axis<T>(spec: &ArraySpec, spatial: [T; 3], of_channels: T) -> Vec<T> {
    to_xyz(spatial).into_iter().chain(spec.channels.map(|_| of_channels)).collect()
}

/// The names of all axes: those of channels end in `^`, for neuroglancer as for funlib.
fn axis_names(spec: &ArraySpec) -> Vec<&'static str> {
    of_each_axis(spec, AXIS_NAMES, "c^")
}

fn units(spec: &ArraySpec) -> Vec<&'static str> {
    of_each_axis(spec, ["nm"; 3], "")
}

fn factors(spec: &ArraySpec, level: &Level) -> Vec<i64> {
    of_each_axis(spec, [level.scale.factor(); 3], 1)
}

/// What the container says of its levels.
#[derive(Serialize)]
struct Container<'a> {
    n5: &'static str,
    axes: Vec<&'static str>,
    units: Vec<&'static str>,
    /// Of level 0.
    resolution: Vec<f64>,
    #[serde(rename = "pixelResolution")]
    pixel_resolution: PixelResolution,
    /// The factors for n5-viewer, of each level.
    scales: Vec<Vec<i64>>,
    /// The same for neuroglancer.
    #[serde(rename = "downsamplingFactors")]
    downsampling_factors: Vec<Vec<i64>>,
    multiscales: [Multiscale<'a>; 1],
}

/// The levels as COSEM describes them.
#[derive(Serialize)]
struct Multiscale<'a> {
    name: &'a str,
    datasets: Vec<Dataset>,
}

#[derive(Serialize)]
struct Dataset {
    path: String,
    transform: Transform,
}

/// From the index of a voxel to the place of its centre; readers in Java take three axes and no more.
#[derive(Serialize)]
struct Transform {
    axes: [&'static str; 3],
    ordering: &'static str,
    units: [&'static str; 3],
    scale: [f64; 3],
    translate: [f64; 3],
}

#[derive(Serialize)]
struct PixelResolution {
    unit: &'static str,
    dimensions: Vec<f64>,
}

/// What a level says of itself.
#[derive(Serialize)]
struct Array {
    dimensions: Vec<i64>,
    #[serde(rename = "blockSize")]
    block_size: Vec<i64>,
    #[serde(rename = "dataType")]
    data_type: &'static str,
    compression: Compression,
    #[serde(rename = "downsamplingFactors")]
    downsampling_factors: Vec<i64>,
    #[serde(rename = "pixelResolution")]
    pixel_resolution: PixelResolution,
    resolution: Vec<f64>,
    /// Of the spatial axes alone, for funlib and gunpowder; `offset` too.
    voxel_size: [f64; 3],
    /// The corner of voxel 0.
    offset: [f64; 3],
    units: Vec<&'static str>,
    axis_names: Vec<&'static str>,
    types: Vec<&'static str>,
    transform: Transform,
}

#[derive(Serialize)]
struct Compression {
    r#type: &'static str,
}

impl<'a> Container<'a> {
    fn of(spec: &'a ArraySpec) -> Self {
        let resolution = of_each_axis(spec, spec.voxel_size.nm(), 1.0);
        let scales: Vec<_> = spec.levels.iter().map(|level| factors(spec, level)).collect();
        let dataset = |(index, level)| Dataset { path: path_of(index), transform: Transform::of(spec, level) };
        let datasets = spec.levels.iter().enumerate().map(dataset).collect();
        Self {
            n5: VERSION,
            axes: axis_names(spec),
            units: units(spec),
            resolution: resolution.clone(),
            pixel_resolution: PixelResolution { unit: "nm", dimensions: resolution },
            scales: scales.clone(),
            downsampling_factors: scales,
            multiscales: [Multiscale { name: &spec.name, datasets }],
        }
    }
}

impl Transform {
    fn of(spec: &ArraySpec, level: &Level) -> Self {
        Self {
            axes: AXIS_NAMES,
            ordering: "C",
            units: ["nm"; 3],
            scale: spec.voxel_size.at_scale(level.scale).nm(),
            translate: centre_nm(spec, level),
        }
    }
}

impl Array {
    fn of(spec: &ArraySpec, level: &Level) -> Self {
        let voxel_size = spec.voxel_size.at_scale(level.scale).nm();
        let resolution = of_each_axis(spec, voxel_size, 1.0);
        Self {
            dimensions: extents(spec, level.shape.axes()),
            block_size: extents(spec, level.chunk_shape.axes()),
            data_type: spec.dtype.name(),
            compression: Compression { r#type: "raw" },
            downsampling_factors: factors(spec, level),
            pixel_resolution: PixelResolution { unit: "nm", dimensions: resolution.clone() },
            resolution,
            voxel_size: to_xyz(voxel_size),
            offset: to_xyz(corner_nm(spec)),
            units: units(spec),
            axis_names: axis_names(spec),
            types: of_each_axis(spec, ["space"; 3], "channel"),
            transform: Transform::of(spec, level),
        }
    }
}

#[cfg(test)]
mod tests;
