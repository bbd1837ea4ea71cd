//! `DvidArray`: the attributes of an array, and its voxels put together from blocks.
//!
//! Reading order: what an array is like (`spec`), which levels it has (`levels`, `probe`), how it describes itself
//! (`attrs`, `neuroglancer`), how its voxels are read (`window`, `assemble`, `file_read`,
//! `dvid_array`), and all arrays of a node (`catalog`).

mod assemble;
mod attrs;
mod boxed;
mod catalog;
mod data_view;
mod dvid_array;
mod error;
mod file_read;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod levels;
mod names;
mod neuroglancer;
mod open;
mod probe;
mod read_voxels;
mod spec;
mod traits;
mod window;

pub use crate::cache::Reader;
pub use crate::dvid::Freshness;
pub use boxed::{BoxError, BoxedArray};
pub use catalog::{Catalog, CatalogError, CatalogOptions, Entry};
pub use data_view::DataView;
pub use dvid_array::{DvidArray, Source};
pub use error::{Error, MetadataError, NoSuchModule, OutOfBounds};
pub use open::OpenError;
pub use read_voxels::{Channels, ReadVoxels, ThenBytes, VoxelBytes};
pub use spec::{ArrayKind, ArraySpec, Level, LevelSource, SpecError};
pub use traits::{Array, Axis};
