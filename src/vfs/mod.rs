//! The filesystem without FUSE: names, inodes, attributes and reads. Testable to the last byte without a mount.
//!
//! Looking up, attributes and listings are arithmetic on what was known at the mount: no I/O, no waiting. A read is
//! answered from inode, offset and size alone; only control files (`.dvidfs/`) keep a snapshot from open to release.

mod assembly;
mod build;
mod checks;
mod contents;
mod control;
mod error;
mod failed_reads;
mod inode;
mod journal;
mod names;
mod readme;
mod tree;
mod virtual_fs;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;

pub use crate::array::Reader;
pub use contents::{Contents, InstanceFiles, Stats, ViewFiles};
pub use error::{BuildError, Error};
pub use names::escape;
pub use virtual_fs::{Attributes, ByteRange, Caching, DirEntry, Lasting, Opened, ThenBytes, Totals, VirtualFs};
