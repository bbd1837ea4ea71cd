//! `DvidArray`: the attributes of an array, and its voxels put together from blocks.

mod spec;

pub use spec::{ArrayKind, ArraySpec, Level, LevelSource, SpecError};
