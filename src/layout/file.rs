//! A file that consists of voxels.

use crate::geometry::VoxelBox;

/// A file that is a dense, C-ordered, little-endian box of voxels of one level.
///
/// Invariant: it has less than 2^63 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoxelFile {
    level: usize,
    file_box: VoxelBox,
    n_bytes: u64,
}

impl VoxelFile {
    /// A file over these voxels, or `None` if it would have 2^63 bytes or more: no file system holds one.
    #[must_use]
    pub fn new(level: usize, file_box: VoxelBox, itemsize: usize) -> Option<Self> {
        let n_bytes = file_box.n_voxels().checked_mul(itemsize as u128)?;
        let n_bytes = i64::try_from(n_bytes).ok()?.unsigned_abs();
        Some(Self { level, file_box, n_bytes })
    }

    /// Which level of the array, from 0.
    #[must_use]
    pub fn level(&self) -> usize {
        self.level
    }

    /// All its voxels, in DVID voxels of its level; it may reach beyond the array.
    #[must_use]
    pub fn file_box(&self) -> VoxelBox {
        self.file_box
    }

    /// Bytes of the whole file.
    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Coordinate;

    #[test]
    fn a_file_of_two_to_the_63_bytes_is_left_out() {
        let shape = |x| VoxelBox::from_shape(Coordinate::ZERO, Coordinate::new(1 << 30, 1 << 10, x)).unwrap();
        assert_eq!(VoxelFile::new(0, shape(1 << 20), 8), None);
        assert_eq!(VoxelFile::new(0, shape((1 << 20) - 1), 8).unwrap().n_bytes(), (1 << 63) - (1 << 43));
        assert_eq!(VoxelFile::new(0, VoxelBox::EMPTY, 8).unwrap().n_bytes(), 0);
    }
}
