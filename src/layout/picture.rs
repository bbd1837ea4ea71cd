//! Pictures of planes: which axis runs along the rows, which down the columns.

use crate::array::{ArraySpec, Channels};
use crate::geometry::VoxelBox;
use crate::voxels::Dtype;

use super::folder::LeftOut;

/// A picture of a plane across one axis. The slower of the other two runs from top to bottom, the faster from left to
/// right, so that the voxels of a plane stand in the picture in the array's own order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Picture {
    /// Across z: y down, x to the right.
    Xy,
    /// Across y: z down, x to the right.
    Xz,
    /// Across x: z down, y to the right.
    Yz,
}

impl Picture {
    pub(super) const ALL: [Self; 3] = [Self::Xy, Self::Xz, Self::Yz];

    /// What the directory of these pictures is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Xy => "xy",
            Self::Xz => "xz",
            Self::Yz => "yz",
        }
    }

    /// The axis that the picture lies across: 0 for z.
    pub(super) fn across(self) -> usize {
        match self {
            Self::Xy => 0,
            Self::Xz => 1,
            Self::Yz => 2,
        }
    }

    /// The axes to the right and down.
    pub(super) fn axes(self) -> [usize; 2] {
        match self {
            Self::Xy => [2, 1],
            Self::Xz => [2, 0],
            Self::Yz => [1, 0],
        }
    }

    /// Width and height of the picture of a plane.
    pub(super) fn sides(self, plane: VoxelBox) -> [i64; 2] {
        self.axes().map(|axis| plane.shape().axes()[axis])
    }
}

/// The channels of a pixel, if a picture can have them.
pub(super) fn channels(spec: &ArraySpec) -> Result<Channels, LeftOut> {
    match spec.channels {
        None => Ok(Channels::One(0)),
        Some(4) if spec.dtype == Dtype::Uint8 => Ok(Channels::Interleaved(4)),
        Some(n) => Err(LeftOut::PictureChannels(n)),
    }
}
