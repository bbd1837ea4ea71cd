//! Regions of the world in nanometers, and the size of a voxel.

use super::coordinate::{Coordinate, Scale};
use super::voxel_box::VoxelBox;

/// The size of one voxel in nanometers, zyx.
///
/// Invariant: each axis is finite and above zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VoxelSize([f64; 3]);

impl VoxelSize {
    /// One nanometer along each axis: what stands in for a size that makes no sense.
    pub const UNIT: Self = Self([1.0; 3]);

    /// A voxel size in nanometers, zyx, or `None` if an axis is not finite and positive.
    #[must_use]
    pub fn new(zyx_nm: [f64; 3]) -> Option<Self> {
        zyx_nm.iter().all(|nm| nm.is_finite() && *nm > 0.0).then_some(Self(zyx_nm))
    }

    /// Nanometers along each axis, zyx.
    #[must_use]
    pub fn nm(self) -> [f64; 3] {
        self.0
    }

    /// The size of a voxel at a coarser scale: 2^s times this one.
    #[must_use]
    pub fn at_scale(self, scale: Scale) -> Self {
        // 2^20 at most, so the factor is exact.
        let factor = f64::from(1_u32 << scale.0.min(Scale::MAX.0));
        Self(self.0.map(|nm| nm * factor))
    }
}

/// A region of the world: offset and shape in nanometers, zyx.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Roi {
    offset: [f64; 3],
    shape: [f64; 3],
}

/// How far off a whole voxel a face may lie and still count as on it, in voxels.
/// A product such as 3 * 3.2 is not exactly 9.6; real regions are never this close by accident.
const ON_A_FACE: f64 = 1e-6;

impl Roi {
    /// A region from its corner and its shape in nanometers, zyx; `None` if the shape is negative or a number is not finite.
    #[must_use]
    pub fn new(offset: [f64; 3], shape: [f64; 3]) -> Option<Self> {
        let finite = offset.iter().chain(&shape).all(|nm| nm.is_finite());
        (finite && shape.iter().all(|&nm| nm >= 0.0)).then_some(Self { offset, shape })
    }

    /// The region that a box of voxels fills.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // voxel indices stay far below 2^53
    pub fn of_voxels(voxels: VoxelBox, voxel_size: VoxelSize) -> Self {
        let scaled = |c: Coordinate| std::array::from_fn(|axis| c.axes()[axis] as f64 * voxel_size.0[axis]);
        Self { offset: scaled(voxels.begin()), shape: scaled(voxels.shape()) }
    }

    /// The corner of the region in nanometers, zyx.
    #[must_use]
    pub fn offset(self) -> [f64; 3] {
        self.offset
    }

    /// The extent of the region in nanometers, zyx.
    #[must_use]
    pub fn shape(self) -> [f64; 3] {
        self.shape
    }

    /// One past the region in nanometers, zyx.
    #[must_use]
    pub fn end(self) -> [f64; 3] {
        std::array::from_fn(|axis| self.offset[axis] + self.shape[axis])
    }

    /// The smallest box of whole voxels that covers this region.
    ///
    /// The result has shape `ceil(end / voxel_size) - floor(offset / voxel_size)`, so it covers
    /// more than the region where the two are not aligned. An empty region has no voxels.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // floats saturate, and no array has indices near 2^63
    pub fn to_voxels(self, voxel_size: VoxelSize) -> VoxelBox {
        let (mut begin, mut end) = ([0; 3], [0; 3]);
        let region_end = self.end();
        for axis in 0..3 {
            let step = voxel_size.0[axis];
            begin[axis] = (self.offset[axis] / step + ON_A_FACE).floor() as i64;
            end[axis] = (region_end[axis] / step - ON_A_FACE).ceil() as i64;
            if self.shape[axis] <= 0.0 {
                end[axis] = begin[axis];
            }
        }
        let begin = Coordinate::from(begin);
        VoxelBox::new(begin, Coordinate::from(end).max(begin)).unwrap_or(VoxelBox::EMPTY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_to_voxels(offset: f64, shape: f64, voxel: f64, expected: (i64, i64)) {
        let roi = Roi::new([offset; 3], [shape; 3]).unwrap();
        let voxels = roi.to_voxels(VoxelSize::new([voxel; 3]).unwrap());
        assert_eq!((voxels.begin().z(), voxels.end().z()), expected, "{roi:?} in voxels of {voxel} nm");
    }

    #[test]
    fn a_region_grows_to_whole_voxels() {
        //              offset shape voxel  voxels
        check_to_voxels(0.0, 16.0, 8.0, (0, 2)); // aligned
        check_to_voxels(7.0, 2.0, 8.0, (0, 2)); // straddles a face
        check_to_voxels(-1.0, 1.0, 8.0, (-1, 0)); // left of the origin
        check_to_voxels(5.0, 0.0, 8.0, (0, 0)); // empty
        check_to_voxels(3.0 * 3.2, 3.2, 3.2, (3, 4)); // 9.600000000000001
        check_to_voxels(0.3, 0.6, 0.1, (3, 9)); // neither is exact in binary
    }

    #[test]
    fn voxels_and_their_region_are_one() {
        let size = VoxelSize::new([40.0, 3.2, 0.7]).unwrap();
        for begin in [-70_i64, 0, 1, 12_345] {
            let voxels = VoxelBox::from_shape(Coordinate::splat(begin), Coordinate::new(1, 17, 4096)).unwrap();
            assert_eq!(Roi::of_voxels(voxels, size).to_voxels(size), voxels);
        }
    }

    #[test]
    fn a_voxel_size_that_makes_no_sense_is_refused() {
        for bad in [0.0, -8.0, f64::NAN, f64::INFINITY] {
            assert_eq!(VoxelSize::new([8.0, bad, 8.0]), None, "{bad}");
        }
    }
}
