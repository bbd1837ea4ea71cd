//! How a voxel's bytes stand in a file, where they are not the array's own little-endian ones.

use crate::geometry::VoxelBox;
use crate::voxels::Dtype;

use super::png_rows::Rows;

/// How voxels are written in a file.
///
/// An encoding works unit by unit: so many bytes of voxels become so many bytes of the file, whatever lies beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As they are: little-endian.
    Little,
    /// Each voxel's bytes the other way round.
    Big,
    /// As rows of a PNG picture.
    Rows(Rows),
}

impl Encoding {
    /// Bytes of voxels, and bytes of the file, that one unit of a dense file over `_file_box` has.
    pub(super) fn unit(self, _file_box: VoxelBox, dtype: Dtype) -> (u64, u64) {
        match self {
            Self::Little => (1, 1),
            Self::Big => (dtype.itemsize() as u64, dtype.itemsize() as u64),
            Self::Rows(rows) => rows.unit(),
        }
    }

    /// The bytes of the file for whole units of voxels.
    pub(super) fn encode(self, mut voxels: Vec<u8>, dtype: Dtype) -> Vec<u8> {
        match self {
            Self::Little => voxels,
            Self::Big => {
                voxels.chunks_exact_mut(dtype.itemsize()).for_each(<[u8]>::reverse);
                voxels
            }
            Self::Rows(rows) => rows.encode(&voxels),
        }
    }
}
