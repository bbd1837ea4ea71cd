//! What a file system needs of an array: its description, and bytes of dense files over it.

use std::fmt::Debug;
use std::ops::Range;

use crate::dvid::Freshness;
use crate::geometry::VoxelBox;

use super::error::Error;
use super::spec::ArraySpec;

/// Who is told the bytes of a read; called exactly once, perhaps on another thread.
pub type ThenBytes = Box<dyn FnOnce(Result<Vec<u8>, Error>) + Send>;

/// Bytes of a dense C-order file over a box of voxels: little-endian, x fastest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoxelBytes {
    /// Which level of the array, from 0.
    pub level: usize,
    /// The voxels of the file, in DVID voxels of that level; it may reach beyond the array.
    pub file_box: VoxelBox,
    /// Which channels the file holds.
    pub channels: Channels,
    /// Which of its bytes; they lie inside the file.
    pub window: Range<u64>,
}

/// The channels of a dense file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// One of them; 0 for an array without channels.
    One(usize),
    /// All that the array has, so many, voxel by voxel.
    Interleaved(usize),
}

impl Channels {
    /// How many of them stand in the file.
    #[must_use]
    pub fn n_here(self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Interleaved(n) => n,
        }
    }
}

/// An array whose voxels can be read as bytes of files.
pub trait ReadVoxels: Send + Sync + Debug {
    /// Levels, shapes, origins, chunks.
    fn spec(&self) -> &ArraySpec;

    /// How long what is read now stays right.
    fn freshness(&self) -> Freshness;

    /// Whether it lasts for ever only since some time after the mount: what somebody kept of it may be older than that.
    fn became_lasting(&self) -> bool {
        false
    }

    /// Reads bytes of a dense file.
    ///
    /// Never blocks: `then` gets exactly as many bytes as the window has, or an error. What lies outside the stored
    /// blocks is the fill value 0.
    fn read_bytes(&self, wanted: VoxelBytes, then: ThenBytes);
}
