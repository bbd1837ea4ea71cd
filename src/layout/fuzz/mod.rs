//! Fuzz targets `path_to_chunk` and `roi_math`: names of chunks and bytes of files, against models that look at each.

use crate::array::{ArrayKind, ArraySpec, LevelSource};
use crate::dvid::View;
use crate::fuzz::Input;
use crate::geometry::{Coordinate, VoxelBox, VoxelSize};
use crate::voxels::Dtype;

use super::chunk_grid::ChunkGrid;
use super::file::VoxelFile;
use super::folder::{Entry, Folder};
use super::kind::{LayoutKind, LayoutOptions};

mod bytes;
mod paths;

pub(crate) use bytes::ROI_MATH;
pub(crate) use paths::PATH_TO_CHUNK;

/// Bytes of an input that say what the array is like.
const SPEC_BYTES: usize = 30;

/// An array, if its numbers make one: small, so that voxels can be looked at one by one, or of any extent.
fn spec(input: &mut Input<'_>, is_small: bool) -> Option<ArraySpec> {
    let blocks: &[i64] = if is_small { &[1, 3, 5, 8, 16] } else { &[1, 8, 32, 48, 64, 100, 250, 512] };
    let (dtype, channels) = input.pick(&[
        (Dtype::Uint8, None),
        (Dtype::Uint16, None),
        (Dtype::Uint32, None),
        (Dtype::Uint64, None),
        (Dtype::Float32, None),
        (Dtype::Uint8, Some(4)),
    ]);
    let kind = if dtype == Dtype::Uint64 { ArrayKind::Labels } else { ArrayKind::Image };
    let n_levels = 1 + usize::from(input.u8() % 4);
    let block_shape = Coordinate::from([(); 3].map(|()| input.pick(blocks)));
    let mut number = |most: i64| {
        let n = i64::from(i32::from_le_bytes(input.array()));
        if is_small { n % most } else { n }
    };
    let begin = [(); 3].map(|()| number(100));
    let size = [(); 3].map(|()| 1 + number(40).abs());
    let data = VoxelBox::from_shape(begin.into(), size.into())?;
    let level = LevelSource { source: "gray".into(), block_shape, extents: None };
    let size = VoxelSize::new([8.0, 4.5, 4.0])?;
    let spec = ArraySpec::new("gray".into(), View::Stored, (dtype, kind), size, data, vec![level; n_levels]).ok()?;
    spec.with_channels(channels).ok()
}

/// The bytes that [`spec`] reads as this array.
fn spec_bytes(dtype: u8, n_levels: u8, blocks: [u8; 3], begin: [i32; 3], size: [i32; 3]) -> Vec<u8> {
    let numbers = begin.into_iter().chain(size.map(|n| n - 1)).flat_map(i32::to_le_bytes);
    [dtype, n_levels - 1].into_iter().chain(blocks).chain(numbers).chain([0]).take(SPEC_BYTES).collect()
}

/// A layout of the array, if it has one.
fn layout(input: &mut Input<'_>, spec: &ArraySpec) -> Option<Entry> {
    let kind = input.pick(&[
        LayoutKind::Zarr2 { edge: 64 },
        LayoutKind::Zarr2 { edge: 256 },
        LayoutKind::Zarr3,
        LayoutKind::N5,
        LayoutKind::Precomputed,
        LayoutKind::Hdf5,
        LayoutKind::Flat,
        LayoutKind::Slices,
    ]);
    kind.entry(spec, &LayoutOptions::all(&[256])).ok()
}

/// Every grid of chunks and every file of voxels with a name of its own, with the folders that lead there.
fn contents(entry: &Entry) -> (Vec<(Vec<String>, &ChunkGrid)>, Vec<&VoxelFile>) {
    let (mut grids, mut files) = (Vec::new(), Vec::new());
    let mut open: Vec<(Vec<String>, &Entry)> = vec![(Vec::new(), entry)];
    while let Some((path, entry)) = open.pop() {
        match entry {
            Entry::Document(_) => {}
            Entry::File(file) => files.push(file.as_ref()),
            Entry::Folder(Folder { entries, chunks, .. }) => {
                grids.extend(chunks.iter().map(|grid| (path.clone(), grid)));
                open.extend(
                    entries.iter().map(|(name, inner)| ([&path[..], std::slice::from_ref(name)].concat(), inner)),
                );
            }
        }
    }
    (grids, files)
}
