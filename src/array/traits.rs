//! The array interface, for code that does not care where voxels come from.

use std::fmt;
use std::ops::Range;

use serde_json::{Map, Value};

use crate::geometry::{Roi, VoxelSize};
use crate::voxels::{AnyArray, Dtype};

use super::data_view::DataView;
use super::error::{Error, NoSuchModule};

/// What an axis of an array counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Axis {
    /// Channels of a voxel.
    Channel,
    /// Samples.
    Sample,
    /// Depth: the slowest spatial axis.
    Z,
    /// Rows.
    Y,
    /// Columns: the fastest axis.
    X,
}

impl Axis {
    /// The axis as one letter: c, s, z, y or x.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Channel => "c",
            Self::Sample => "s",
            Self::Z => "z",
            Self::Y => "y",
            Self::X => "x",
        }
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A read-only array of voxels somewhere in the world. Object-safe.
///
/// Spatial axes are zyx, x fastest; channels, if there are any, come first. World units are nanometers.
pub trait Array: fmt::Debug + Send + Sync {
    /// What the source says about the array, and metadata added since.
    fn attrs(&self) -> Map<String, Value>;

    /// The axes, slowest first.
    fn axes(&self) -> Vec<Axis>;

    /// How many of them are spatial.
    fn dims(&self) -> usize {
        self.axes().iter().filter(|axis| matches!(axis, Axis::Z | Axis::Y | Axis::X)).count()
    }

    /// The size of a voxel in nanometers, zyx.
    fn voxel_size(&self) -> VoxelSize;

    /// The region that the data fills, in nanometers, zyx.
    fn roi(&self) -> Roi;

    /// The type of a voxel.
    fn dtype(&self) -> Dtype;

    /// How many channels a voxel has, or `None` without a channel axis.
    fn num_channels(&self) -> Option<usize>;

    /// All voxels of [`roi`](Self::roi) as a lazy, read-only array.
    fn data(&self) -> DataView<'_>;

    /// Whether voxels can be written: never.
    fn writable(&self) -> bool {
        false
    }

    /// Reads the whole voxels that cover a region, aligned or not, of any size that fits in memory.
    ///
    /// # Errors
    /// If the region is not inside [`roi`](Self::roi), or voxels cannot be had.
    fn read(&self, roi: Roi) -> Result<AnyArray, Error>;

    /// Which indices of [`data`](Self::data) a region covers, one range for each of [`axes`](Self::axes): all channels.
    ///
    /// # Errors
    /// If the region is not inside [`roi`](Self::roi).
    fn slices(&self, roi: Roi) -> Result<Vec<Range<u64>>, Error>;

    /// Whether the neuroglancer calls work.
    fn can_neuroglance(&self) -> bool;

    /// A neuroglancer layer that shows this array.
    ///
    /// # Errors
    /// If the feature `neuroglancer` was not compiled in.
    fn neuroglancer_layer(&self) -> Result<Value, NoSuchModule>;
}
