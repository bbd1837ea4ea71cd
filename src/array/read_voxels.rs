//! The seam between an array and the files over it.

use std::fmt::Debug;
use std::ops::Range;

use crate::dvid::Freshness;
use crate::geometry::VoxelBox;

use super::error::Error;
use super::spec::ArraySpec;

/// What is called, exactly once, when a read has ended.
pub type ThenBytes = Box<dyn FnOnce(Result<Vec<u8>, Error>) + Send>;

/// Something whose voxels can be read as bytes of a file: an array of a server, or a pure function.
pub trait ReadVoxels: Send + Sync + Debug {
    /// Levels, shapes, origins and chunks.
    fn spec(&self) -> &ArraySpec;

    /// How long what it gives stays right.
    fn freshness(&self) -> Freshness;

    /// Reads the bytes `window` of a dense C-ordered file over `file_box` (DVID voxels of that level, zyx).
    ///
    /// Voxels outside of the data are 0. Never blocks: `then` is called inline if every block is in memory, else
    /// later on another thread, with exactly as many bytes as the window has, or an error.
    fn read_bytes(&self, level: usize, file_box: VoxelBox, window: Range<u64>, then: ThenBytes);
}
