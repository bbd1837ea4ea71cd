//! What a voxel is, and dense little-endian volumes of them: copying boxes, nothing else.
//!
//! A volume is C-ordered zyx, x fastest, as DVID sends it and as every layout stores it. Channels alone are sent voxel by
//! voxel, and stored one behind the other.

mod arrays;
mod channels;
mod dtype;
mod volume;

pub use arrays::{AnyArray, Voxel};
pub use channels::{weave_box_into, woven_apart};
pub use dtype::Dtype;
pub use volume::{Volume, VolumeError, copy_box, copy_box_into};
