//! `DvidArray`: the attributes of an array, and its voxels put together from blocks.

mod error;
mod read_voxels;
mod spec;

pub use error::Error;
pub use read_voxels::{ReadVoxels, ThenBytes};
pub use spec::{ArrayKind, ArraySpec, Level, LevelSource, SpecError};
