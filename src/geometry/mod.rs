//! Coordinates, boxes of voxels, regions of the world and block grids: pure arithmetic, zyx, half-open.
//!
//! Nothing here does I/O or knows a server, a file or a voxel value.

mod coordinate;
mod grid;
mod roi;
mod voxel_box;

pub use coordinate::{Coordinate, Scale};
pub use grid::{BlockBox, BlockIndex, Grid};
pub use roi::{Roi, VoxelSize};
pub use voxel_box::VoxelBox;
