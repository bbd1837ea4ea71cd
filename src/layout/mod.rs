//! What each format calls its files, and which voxels a file holds. Pure arithmetic: no I/O, no locks, no server.
//!
//! A layout is a [`Folder`]: documents that follow from the [`ArraySpec`](crate::array::ArraySpec), folders, and
//! grids of chunks. To add one is to add a variant of [`LayoutKind`]; the compiler then names every place.

mod encoding;

mod chunk_run;
mod file;
mod shard;

mod chunk_grid;
mod form;
mod naming;

mod attributes;
mod kind;
mod ome;
mod webknossos;
mod zarr;
mod zarr3;

#[cfg(test)]
mod test_support;

pub use chunk_grid::{ChunkGrid, ChunkNode};
pub use file::{Piece, VoxelFile, VoxelPiece};
pub use kind::{Document, Entry, Folder, LayoutKind, LayoutOptions, LeftOut};
