//! A lazy view of all voxels of an array, sliced as numpy slices.

use std::ops::Range;

use crate::geometry::{Coordinate, Scale, VoxelBox};
use crate::voxels::{AnyArray, Dtype};

use super::dvid_array::DvidArray;
use super::error::Error;
use super::traits::Array;

/// All voxels of an array's region at full resolution; nothing is fetched until it is sliced.
///
/// Index (0, 0, 0) is the corner of the array's roi. Channels, if there are any, are the first axis.
#[derive(Clone, Copy, Debug)]
pub struct DataView<'a> {
    array: &'a DvidArray,
    voxels: VoxelBox,
}

impl<'a> DataView<'a> {
    pub(super) fn new(array: &'a DvidArray, voxels: VoxelBox) -> Self {
        Self { array, voxels }
    }

    /// Voxels along each axis, in the order of the array's axes.
    #[must_use]
    pub fn shape(&self) -> Vec<u64> {
        let channels = self.array.num_channels().map(|n| n as u64);
        channels.into_iter().chain(self.voxels.shape().axes().map(i64::unsigned_abs)).collect()
    }

    /// The type of a voxel.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        self.array.dtype()
    }

    /// Reads the voxels of half-open ranges of indices, one an axis, as `data[z0:z1, y0:y1, x0:x1]` does.
    ///
    /// # Errors
    /// If there are more or fewer ranges than axes, a range ends beyond the shape or before it begins, or voxels cannot
    /// be had.
    pub fn slice(&self, ranges: impl AsRef<[Range<u64>]>) -> Result<AnyArray, Error> {
        let (ranges, shape) = (ranges.as_ref(), self.shape());
        if ranges.len() != shape.len() {
            return Err(Error::WrongAxes { wanted: ranges.len(), has: shape.len() });
        }
        let (of_channels, ranges) = ranges.split_at(shape.len() - 3);
        let channels = of_channels.first().map_or(Ok(0..1), |range| match (range.start, range.end) {
            (begin, end) if begin <= end && end <= shape[0] => Ok(index(begin)..index(end)),
            (begin, end) => Err(Error::NoSuchChannels { begin, end, has: index(shape[0]) }),
        })?;
        let corner = |side: fn(&Range<u64>) -> u64| {
            Coordinate::from(std::array::from_fn(|axis| i64::try_from(side(&ranges[axis])).unwrap_or(i64::MAX / 2)))
        };
        let (begin, end) = (corner(|range| range.start), corner(|range| range.end));
        let local = VoxelBox::new(begin, end.max(begin)).unwrap_or(VoxelBox::EMPTY);
        let whole = VoxelBox::from_shape(Coordinate::ZERO, self.voxels.shape()).unwrap_or(VoxelBox::EMPTY);
        if !begin.all_le(end) || !end.all_le(whole.end()) {
            return Err(Error::out_of_bounds(local, whole, Scale::FULL));
        }
        self.array.read_channels(Scale::FULL, channels, local.translated(self.voxels.begin()))
    }
}

/// A number of channels.
fn index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
