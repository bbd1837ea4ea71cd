//! What a voxel is, and dense little-endian volumes of them: copying boxes, nothing else.
//!
//! A volume is C-ordered zyx, x fastest, as DVID sends it and as every layout stores it.

mod arrays;
mod dtype;
mod volume;

pub use arrays::{AnyArray, Voxel};
pub use dtype::Dtype;
pub use volume::{Volume, VolumeError, copy_box, copy_box_into};
