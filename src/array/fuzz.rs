//! For the fuzz target `roi_math`: bytes of dense files, put together from blocks as an array does it, and voxel by voxel.

use std::sync::Arc;

use crate::geometry::{BlockIndex, Coordinate, Grid, VoxelBox};
use crate::voxels::Volume;

use super::assemble::{Target, parts, place};
use super::read_voxels::{Channels, VoxelBytes};
use super::spec::{ArraySpec, Level};
use super::window::voxels_of_bytes;

/// One byte of one channel of a voxel, wherever something is stored.
pub(crate) fn byte_at(level: usize, voxel: Coordinate, channel: usize, byte: usize) -> u8 {
    let [z, y, x] = voxel.axes();
    let small = [level, channel, byte].map(|n| i64::try_from(n).expect("small"));
    let mixed = [z, y, x].into_iter().chain(small).fold(17_i64, |mixed, n| mixed.wrapping_mul(1_000_003) ^ n);
    mixed.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes()[0]
}

/// The bytes, one by one: each of the voxel that its number means.
pub(crate) fn by_voxel(spec: &ArraySpec, wanted: &VoxelBytes) -> Vec<u8> {
    let VoxelBytes { level, file_box, channels, ref window } = *wanted;
    let itemsize = spec.dtype.itemsize();
    let [_, ny, nx] = file_box.shape().axes().map(i64::cast_unsigned);
    let byte = |at: u64| {
        let (unit, in_unit) = ((itemsize * channels.n_here()) as u64, usize::try_from(at));
        let (voxel, in_unit) = (at / unit, in_unit.expect("small") % (itemsize * channels.n_here()));
        let place = [voxel / (ny * nx), voxel / nx % ny, voxel % nx].map(|n| i64::try_from(n).expect("in a file"));
        let voxel = file_box.begin() + Coordinate::from(place);
        let channel = match channels {
            Channels::One(channel) => channel,
            Channels::Interleaved(_) => in_unit / itemsize,
        };
        let is_stored = spec.levels[level].stored.contains_voxel(voxel);
        if is_stored { byte_at(level, voxel, channel, in_unit % itemsize) } else { 0 }
    };
    window.clone().map(byte).collect()
}

/// The same, from blocks, at most so many at once. Asserts that the parts share the stored voxels out.
pub(crate) fn from_blocks(spec: &ArraySpec, wanted: &VoxelBytes, most_blocks: usize) -> Vec<u8> {
    let VoxelBytes { level: index, file_box, channels, ref window } = *wanted;
    let level = &spec.levels[index];
    let covered = voxels_of_bytes(file_box, spec.dtype.itemsize() * channels.n_here(), window);
    assert!(file_box.contains(covered), "{covered} beyond {file_box}");
    let needed = covered.intersect(level.stored);
    let window = [window.start, window.end].map(|n| usize::try_from(n).expect("a small file"));
    let window = window[0]..window[1];
    let mut bytes = vec![0; window.len()];
    let grid = Grid::new(level.block_shape).expect("a block with an extent");
    if needed.is_empty() {
        return bytes;
    }
    let mut seen: Vec<VoxelBox> = Vec::new();
    for part in parts(needed, grid, most_blocks) {
        assert!(!part.is_empty() && needed.contains(part), "{part} of {needed}");
        assert!(seen.iter().all(|other| other.intersect(part).is_empty()), "{part} comes twice");
        seen.push(part);
        let indices: Vec<BlockIndex> = grid.blocks_covering(part).collect();
        assert!(indices.len() <= most_blocks.max(1), "{} blocks at once", indices.len());
        let blocks = indices.iter().map(|&block| Some(Arc::new(volume(spec, (index, level), block)))).collect();
        let target = Target { bytes: &mut bytes, file_box, window: window.clone() };
        place(level, (&indices, &blocks), part, channels, target);
    }
    assert_eq!(seen.iter().map(|part| part.n_voxels()).sum::<u128>(), needed.n_voxels(), "parts of {needed}");
    bytes
}

/// A block, channel by channel.
fn volume(spec: &ArraySpec, (index, level): (usize, &Level), block: BlockIndex) -> Volume {
    let block_box = Grid::new(level.block_shape).expect("a block with an extent").block_box(block);
    let itemsize = spec.dtype.itemsize();
    let bytes = (0..spec.n_channels()).flat_map(|channel| {
        let voxel = move |voxel| (0..itemsize).map(move |byte| byte_at(index, voxel, channel, byte));
        block_box.indices().flat_map(voxel)
    });
    Volume::with_channels(spec.dtype, spec.channels, level.block_shape, bytes.collect()).expect("a whole block")
}
