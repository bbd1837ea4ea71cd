//! Mounts one node of a DVID server as a directory tree (being built floor by floor).

pub mod array;
pub mod cache;
pub mod cli;
pub mod demo;
pub mod dvid;
pub mod fuse;
pub mod geometry;
pub mod layout;
pub mod logging;
pub mod metrics;
mod sys;
pub mod vfs;
pub mod voxels;
