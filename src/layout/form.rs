//! What a chunk is as a file.

use crate::array::{ArraySpec, Channels};
use crate::geometry::VoxelBox;

use super::encoding::Encoding;
use super::file::{Dense, Section, VoxelFile};
use super::picture::Picture;
use super::shard::Shard;
use super::{n5, png, tiff};

/// What the chunk files of a grid consist of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The voxels alone, little-endian, one channel after the other.
    Raw,
    /// A Zarr v3 shard: inner chunks, then their index.
    Sharded(Shard),
    /// A TIFF picture.
    Tiff(Picture),
    /// A PNG picture.
    Png(Picture),
    /// An N5 chunk: a header, then the voxels, big-endian.
    N5,
}

/// What a chunk file is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// Which level of the array.
    pub(super) level: usize,
    /// Its voxels, in DVID voxels of that level.
    pub(super) voxels: VoxelBox,
}

impl Form {
    /// The file over these voxels, or `None` if there can be no such file: most can have less than 2^63 bytes.
    pub(super) fn file(&self, spec: &ArraySpec, held: Held) -> Option<VoxelFile> {
        match self {
            Self::Raw => VoxelFile::new(planes(spec, held, Encoding::Little)),
            Self::Sharded(shard) => VoxelFile::new(shard.sections(spec, held)),
            Self::Tiff(picture) => tiff::file(spec, held, *picture).ok(),
            Self::Png(picture) => png::file(spec, held, *picture).ok(),
            Self::N5 => n5::chunk(spec, held),
        }
    }
}

/// The voxels of a chunk, one channel after the other.
pub(super) fn planes(spec: &ArraySpec, held: Held, encoding: Encoding) -> impl Iterator<Item = Section> {
    let (Held { level, voxels: file_box }, dtype) = (held, spec.dtype);
    (0..spec.n_channels()).map(move |channel| {
        Section::Dense(Dense { level, file_box, dtype, channels: Channels::One(channel), encoding })
    })
}
