//! Neuroglancer precomputed, raw: `info`, and a flat directory of chunks for each level.
//!
//! Axes are in the order x, y, z, and names count absolute DVID voxels. Chunks end where the array ends, and every one
//! inside it exists: cloud-volume takes a missing file for an error.

use serde::Serialize;

use crate::array::{ArrayKind, ArraySpec, Level};

use super::attributes::{path_of, to_bytes, to_xyz};
use super::chunk_grid::{ChunkGrid, GridParts};
use super::folder::{Entry, Folder, LeftOut};
use super::form::Form;
use super::naming::Naming;

/// The whole directory.
pub(super) fn folder(spec: &ArraySpec) -> Result<Folder, LeftOut> {
    let mut entries = vec![("info".to_owned(), Entry::document(info))];
    for (index, level) in spec.levels.iter().enumerate() {
        let chunks = chunks(spec, index, level).ok_or(LeftOut::TooLarge)?;
        entries.push((key(spec, index), Entry::Folder(Folder::with_chunks(Vec::new(), chunks))));
    }
    Ok(Folder::of(entries))
}

/// `info`
fn info(spec: &ArraySpec) -> Vec<u8> {
    to_bytes(&Info::of(spec))
}

/// All chunks of a level.
fn chunks(spec: &ArraySpec, index: usize, level: &Level) -> Option<ChunkGrid> {
    let voxels = level.voxels();
    let parts = GridParts {
        level: index,
        origin: level.origin,
        chunk_shape: level.chunk_shape,
        extent: voxels,
        clip: Some(voxels),
        naming: Naming::Boxes,
        form: Form::Raw,
    };
    ChunkGrid::new(spec, parts)
}

/// What the directory of a level is called: its voxel size in shortest decimals, as in `3.2_3.2_40`.
///
/// No two levels have one name: each voxel is twice as large as that of the level before, exactly.
fn key(spec: &ArraySpec, index: usize) -> String {
    let nm = to_xyz(spec.voxel_size.at_scale(spec.levels[index].scale).nm());
    // Sizes that no voxel has would make a name too long for a file, or be infinite at two levels.
    if nm.iter().all(|nm| (1e-15..1e15).contains(nm)) { nm.map(|nm| nm.to_string()).join("_") } else { path_of(index) }
}

#[derive(Serialize)]
struct Info {
    #[serde(rename = "@type")]
    format: &'static str,
    r#type: &'static str,
    data_type: &'static str,
    num_channels: usize,
    scales: Vec<Scale>,
}

#[derive(Serialize)]
struct Scale {
    key: String,
    size: [i64; 3],
    resolution: [Nanometers; 3],
    voxel_offset: [i64; 3],
    chunk_sizes: [[i64; 3]; 1],
    encoding: &'static str,
}

/// A number that is written without a point if it is whole.
#[derive(Serialize)]
#[serde(untagged)]
enum Nanometers {
    Whole(i64),
    Broken(f64),
}

impl Info {
    fn of(spec: &ArraySpec) -> Self {
        Self {
            format: "neuroglancer_multiscale_volume",
            r#type: match spec.kind {
                ArrayKind::Image => "image",
                ArrayKind::Labels => "segmentation",
            },
            data_type: spec.dtype.name(),
            num_channels: spec.n_channels(),
            scales: (0..spec.levels.len()).map(|index| Scale::of(spec, index)).collect(),
        }
    }
}

impl Scale {
    fn of(spec: &ArraySpec, index: usize) -> Self {
        let level = &spec.levels[index];
        Self {
            key: key(spec, index),
            size: to_xyz(level.shape.axes()),
            resolution: to_xyz(spec.voxel_size.at_scale(level.scale).nm()).map(Nanometers::from),
            voxel_offset: to_xyz(level.origin.axes()),
            chunk_sizes: [to_xyz(level.chunk_shape.axes())],
            encoding: "raw",
        }
    }
}

impl From<f64> for Nanometers {
    #[allow(clippy::cast_possible_truncation)] // whole and below 2^53
    fn from(nm: f64) -> Self {
        let exact = nm.fract() == 0.0 && nm < (1_u64 << 53) as f64;
        if exact { Self::Whole(nm as i64) } else { Self::Broken(nm) }
    }
}

#[cfg(test)]
mod tests;
