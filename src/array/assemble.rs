//! Blocks put together: dense boxes and files from the blocks that they touch.

use std::ops::Range;

use crate::cache::Blocks;
use crate::geometry::{BlockIndex, Coordinate, Grid, VoxelBox};
use crate::voxels::{copy_box_into, weave_box_into};

use super::read_voxels::Channels;
use super::spec::Level;

/// The bytes `window` of a dense file over a box of voxels.
#[derive(Debug)]
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

/// Boxes that cut `wanted` along z where layers of blocks end.
pub(super) fn layers(wanted: VoxelBox, depth: i64) -> impl Iterator<Item = VoxelBox> {
    let (begin, end) = (wanted.begin(), wanted.end());
    let first = begin.z().div_euclid(depth);
    (first..).map_while(move |layer| {
        let z = (layer * depth).max(begin.z());
        let next = ((layer + 1) * depth).min(end.z());
        (z < end.z()).then(|| {
            let begin = Coordinate::new(z, begin.y(), begin.x());
            VoxelBox::new(begin, Coordinate::new(next, end.y(), end.x())).unwrap_or(VoxelBox::EMPTY)
        })
    })
}
