//! What each format calls its files, and which voxels a file holds. Pure arithmetic: no I/O, no locks, no server.
//!
//! A layout is a [`Folder`]: documents that follow from the [`ArraySpec`](crate::array::ArraySpec), folders, and
//! grids of chunks. To add one is to add a variant of [`LayoutKind`]; the compiler then names every place.

mod encoding;
mod label_colour;

mod chunk_run;
mod file;
mod idat;
mod png_rows;
mod shard;
mod stored_blocks;

mod chunk_grid;
mod form;
mod naming;
mod picture;
mod png;
mod tiff;

mod attributes;
mod folder;
mod ome;

mod flat;
mod hdf5;
mod n5;
mod precomputed;
mod slices;
mod webknossos;
mod zarr;
mod zarr3;

mod kind;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
#[cfg(test)]
mod numbered;
#[cfg(test)]
mod test_support;

pub use chunk_grid::{ChunkGrid, ChunkNode};
pub use file::{Piece, VoxelFile, VoxelPiece};
pub use folder::{Document, Entry, Folder, LeftOut};
pub use idat::{ChecksFold, ChecksPiece};
pub use kind::{LayoutKind, LayoutOptions};
