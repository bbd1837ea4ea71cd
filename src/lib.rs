//! Mounts one node (version) of a DVID server as a read-only directory tree of array files, and reads it as arrays.
//!
//! The house, from the top floor down; each imports only floors below it:
//!
//! - [`cli`]: words to configuration; builds the stack once; prints for people.
//! - [`fuse`]: requests of the kernel to the filesystem, errors to errnos; mounting and unmounting.
//! - [`vfs`]: names, inodes, attributes, reads: the filesystem without FUSE.
//! - [`layout`]: what a format calls its files, and which voxels they hold. Pure.
//! - [`array`](mod@array): [`DvidArray`], attributes and `read(roi)`.
//! - [`cache`]: blocks in memory, one fetch for each, parked reads, fetching ahead.
//! - [`dvid`]: DVID's HTTP API in, our types out.
//! - [`voxels`] and [`geometry`]: dense volumes; coordinates, boxes, regions, grids.
//!
//! Beside them [`demo`], a DVID-compatible server over a pure function, [`sandbox`], which confines a process, [`metrics`] and
//! [`logging`].
//!
//! Coordinates are zyx and half-open, world units nanometers (f64), everywhere but on DVID's side of [`dvid`].
//! No thread that takes the kernel's requests waits for the server. No lock is held during I/O, but that of the log file
//! and the one that lets one thread at a time check a body mapping. Only GET leaves the program, and no failure looks
//! like absence.

pub mod array;
pub mod cache;
pub mod cli;
pub mod demo;
pub mod dvid;
pub mod fuse;
/// What `cargo fuzz` runs, and the tests replay: in no other build.
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod geometry;
pub mod layout;
pub mod logging;
pub mod metrics;
pub mod sandbox;
mod sys;
pub mod vfs;
pub mod voxels;

pub use array::{Array, DvidArray, NoSuchModule};
pub use dvid::fetch_info;
