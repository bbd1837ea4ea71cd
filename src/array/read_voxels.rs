//! What a file system needs of an array: its description, and bytes of dense files over it.

use std::fmt::Debug;
use std::ops::Range;

use crate::dvid::Freshness;
use crate::geometry::VoxelBox;

use super::error::Error;
use super::spec::ArraySpec;

/// Who is told the bytes of a read; called exactly once, perhaps on another thread.
pub type ThenBytes = Box<dyn FnOnce(Result<Vec<u8>, Error>) + Send>;

/// An array whose voxels can be read as bytes of files.
pub trait ReadVoxels: Send + Sync + Debug {
    /// Levels, shapes, origins, chunks.
    fn spec(&self) -> &ArraySpec;

    /// How long what is read stays right.
    fn freshness(&self) -> Freshness;

    /// Reads bytes `window` of a dense little-endian C-order file over `file_box`, in DVID voxels of that level.
    ///
    /// Never blocks: `then` gets exactly `window.end - window.start` bytes, or an error. What lies outside the stored
    /// blocks is the fill value 0. The window must lie inside the file.
    fn read_bytes(&self, level: usize, file_box: VoxelBox, window: Range<u64>, then: ThenBytes);
}
