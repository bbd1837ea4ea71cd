//! Which voxels a range of bytes of a dense file needs.

use std::ops::Range;

use crate::geometry::{Coordinate, VoxelBox};

/// The smallest box of voxels that covers these bytes of a dense C-order file over `file_box`.
///
/// `itemsize` is the bytes of a voxel in the file, with all channels that stand there voxel by voxel.
/// A range within one row gives part of the row, within one plane whole rows, else whole planes.
/// A range that ends beyond the file is cut; an empty one gives an empty box.
pub(super) fn voxels_of_bytes(file_box: VoxelBox, itemsize: usize, bytes: &Range<u64>) -> VoxelBox {
    let [nz, ny, nx] = file_box.shape().axes();
    let itemsize = itemsize as u64;
    let n_voxels = u64::try_from(file_box.n_voxels()).unwrap_or(u64::MAX);
    let end_byte = bytes.end.min(n_voxels.saturating_mul(itemsize));
    if bytes.start >= end_byte {
        return VoxelBox::EMPTY;
    }
    let first = position(bytes.start / itemsize, ny, nx);
    let last = position((end_byte - 1) / itemsize, ny, nx);
    let (begin, end) = if first.z() != last.z() {
        (Coordinate::new(first.z(), 0, 0), Coordinate::new(last.z() + 1, ny, nx))
    } else if first.y() != last.y() {
        (Coordinate::new(first.z(), first.y(), 0), Coordinate::new(first.z() + 1, last.y() + 1, nx))
    } else {
        (first, last + Coordinate::ONE)
    };
    debug_assert!(end.z() <= nz, "a byte of the file lies in the file");
    VoxelBox::new(begin, end).unwrap_or(VoxelBox::EMPTY).translated(file_box.begin())
}

/// Where the n-th voxel of a dense array lies in it.
fn position(n: u64, ny: i64, nx: i64) -> Coordinate {
    let n = i64::try_from(n).expect("files are smaller than 2^63 bytes");
    Coordinate::new(n / (ny * nx), n / nx % ny, n % nx)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_byte_of_the_range_lies_in_the_box(
            begin in prop::array::uniform3(-5_i64..5),
            shape in prop::array::uniform3(1_i64..6),
            itemsize in prop::sample::select(vec![1_usize, 2, 4, 8]),
            (a, b) in (0_u64..1100, 0_u64..1100),
        ) {
            let file_box = VoxelBox::from_shape(begin.into(), shape.into()).unwrap();
            let range = a.min(b)..a.max(b);
            let covered = voxels_of_bytes(file_box, itemsize, &range);
            prop_assert!(file_box.contains(covered));
            for (n, voxel) in (0_u64..).zip(file_box.indices()) {
                let bytes = n * itemsize as u64..(n + 1) * itemsize as u64;
                if bytes.start.max(range.start) < bytes.end.min(range.end) {
                    prop_assert!(covered.contains_voxel(voxel), "{voxel} of {file_box} for {range:?}");
                }
            }
        }
    }

    #[test]
    fn a_short_range_does_not_ask_for_whole_planes() {
        let file_box = VoxelBox::from_shape(Coordinate::ZERO, Coordinate::splat(64)).unwrap();
        assert_eq!(voxels_of_bytes(file_box, 1, &(10..20)).shape(), Coordinate::new(1, 1, 10));
        assert_eq!(voxels_of_bytes(file_box, 1, &(10..70)).shape(), Coordinate::new(1, 2, 64));
        assert_eq!(voxels_of_bytes(file_box, 1, &(4095..4097)).shape(), Coordinate::new(2, 64, 64));
        assert_eq!(voxels_of_bytes(file_box, 8, &(2_097_152..2_100_000)), VoxelBox::EMPTY);
    }
}
