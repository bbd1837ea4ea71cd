//! Blocks put together: which to ask for at once, and where their voxels stand in a file.

use std::ops::Range;

use crate::cache::Blocks;
use crate::geometry::{BlockBox, BlockIndex, Coordinate, Grid, VoxelBox};
use crate::voxels::{copy_box_into, weave_box_into};

use super::read_voxels::Channels;
use super::spec::Level;

/// The bytes `window` of a dense file over a box of voxels.
pub(super) struct Target<'a> {
    pub(super) bytes: &'a mut [u8],
    pub(super) file_box: VoxelBox,
    pub(super) window: Range<usize>,
}

/// Copies what the blocks hold of `part` to its place in a dense file of these channels.
pub(super) fn place(
    level: &Level,
    (indices, blocks): (&[BlockIndex], &Blocks),
    part: VoxelBox,
    channels: Channels,
    Target { bytes, file_box, window }: Target<'_>,
) {
    let Some(grid) = Grid::new(level.block_shape) else { return };
    for (&index, block) in indices.iter().zip(blocks) {
        if let Some(volume) = block {
            let block_box = grid.block_box(index);
            let region = block_box.intersect(part);
            match channels {
                Channels::One(channel) => {
                    let (plane, itemsize) = (volume.plane(channel), volume.dtype().itemsize());
                    copy_box_into(plane, block_box, bytes, file_box, window.clone(), region, itemsize);
                }
                Channels::Interleaved(_) => {
                    weave_box_into(volume, block_box, bytes, file_box, window.clone(), region);
                }
            }
        }
    }
}

/// Boxes that cut `wanted` where blocks end, each of at most so many blocks, or one: rows first, then planes.
pub(super) fn parts(wanted: VoxelBox, grid: Grid, most_blocks: usize) -> impl Iterator<Item = VoxelBox> {
    let blocks = grid.block_range(wanted).0;
    let most = i64::try_from(most_blocks).unwrap_or(i64::MAX);
    let [nz, ny, nx] = blocks.shape().axes();
    let x = most.min(nx).max(1);
    let y = (most / x).min(ny).max(1);
    let z = (most / (x * y)).min(nz).max(1);
    let step = Coordinate::new(z, y, x);
    let n_parts = VoxelBox::from_shape(Coordinate::ZERO, blocks.shape().div_ceil(step)).unwrap_or(VoxelBox::EMPTY);
    n_parts.indices().map(move |at| {
        let begin = blocks.begin() + at * step;
        let part = VoxelBox::new(begin, (begin + step).min(blocks.end())).unwrap_or(VoxelBox::EMPTY);
        grid.voxels_of(BlockBox(part)).intersect(wanted)
    })
}
