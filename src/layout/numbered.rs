//! For tests: arrays whose bytes follow from their place, and files over them.

use std::ops::Range;

pub(super) use crate::array::fuzz::byte_at;
use crate::array::{ArrayKind, ArraySpec};
use crate::geometry::{Coordinate, VoxelBox};
use crate::voxels::Dtype;

use super::file::{Piece, VoxelFile};
use super::test_support::{file_bytes, spec};

/// An image of 8 nm over this box in blocks of 64^3.
pub(super) fn image(dtype: Dtype, n_levels: usize, begin: [i64; 3], end: [i64; 3]) -> ArraySpec {
    let data = VoxelBox::new(begin.into(), end.into()).unwrap();
    spec(dtype, ArrayKind::Image, [8.0; 3], data, n_levels)
}

/// 58 teravoxels, eight levels.
pub(super) fn teravoxels() -> ArraySpec {
    image(Dtype::Uint8, 8, [0; 3], [29_870, 39_743, 49_000])
}

/// All bytes of a voxel's channels in their order.
pub(super) fn voxel_bytes(
    spec: &ArraySpec,
    level: usize,
    voxel: Coordinate,
    channels: Range<usize>,
) -> impl Iterator<Item = u8> {
    let itemsize = spec.dtype.itemsize();
    channels.flat_map(move |channel| (0..itemsize).map(move |byte| byte_at(level, voxel, channel, byte)))
}

/// What a range of the file reads.
pub(super) fn read(file: &VoxelFile, spec: &ArraySpec, range: Range<u64>) -> Vec<u8> {
    file_bytes(file, range, |level, channel, voxel| voxel_bytes(spec, level, voxel, channel..channel + 1).collect())
}

/// What stands before the first voxels, of which there have to be some.
pub(super) fn header(file: &VoxelFile) -> Vec<u8> {
    let bytes = |piece| match piece {
        Piece::Bytes(bytes) => Some(bytes),
        Piece::Voxels(_) | Piece::Checks(_) => None,
    };
    file.pieces(0..1 << 16).into_iter().map_while(bytes).flatten().collect()
}
