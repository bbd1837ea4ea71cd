//! What a layout consists of: directories, metadata, files of voxels, and what it leaves out.

use std::fmt;
use std::sync::Arc;

use crate::array::ArraySpec;
use crate::voxels::Dtype;

use super::chunk_grid::ChunkGrid;
use super::file::VoxelFile;

/// Why a layout, or a part of it, does not show an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeftOut {
    /// A chunk would be a file that no file system holds.
    #[error("a file would have 2^63 bytes or more")]
    TooLarge,
    /// A chunk is larger than the format allows, or than programs can hold.
    #[error("a chunk would have {0} GiB or more")]
    LargeChunk(u8),
    /// The corner of the array lies too far away to be written.
    #[error("the offset does not fit 64 bits")]
    FarOffset,
    /// A flat file would be larger than was asked for.
    #[error("a flat file would have {n_bytes} bytes, and --flat-limit is {limit_bytes}")]
    OverFlatLimit {
        /// Of the voxels in it.
        n_bytes: u64,
        /// What was asked for.
        limit_bytes: u64,
    },
    /// Voxels have channels, and the layout has no place for them.
    #[error("it has no place for channels")]
    Channels,
    /// It describes a Zarr tree, and none is shown.
    #[error("it needs one of the layouts zarr and zarr3")]
    NoZarr,
    /// Offsets in a classic TIFF file have 32 bits.
    #[error("a TIFF file would have 4 GiB or more")]
    LargeTiff,
    /// The length of a PNG chunk has 31 bits.
    #[error("a PNG file would hold 2 GiB of pixels or more")]
    LargePng,
    /// libpng refuses it.
    #[error("a PNG picture would have more than 1,000,000 pixels along a side")]
    LongPng,
    /// PNG has no floats, and no integers of more than 16 bits.
    #[error("PNG has no pixels for {0} images")]
    PngPixels(Dtype),
    /// A picture has one channel, or red, green, blue and opacity.
    #[error("a picture cannot have {0} channels of this type")]
    PictureChannels(usize),
}

/// A directory of a layout.
#[derive(Clone, Debug, Default)]
pub struct Folder {
    /// What has a fixed name.
    pub entries: Vec<(String, Entry)>,
    /// Chunks, whose names are made by arithmetic. No name is in two of the grids.
    pub chunks: Vec<ChunkGrid>,
    /// Parts that are not there, as patterns of paths in this directory, and why.
    pub left_out: Vec<(String, LeftOut)>,
}

/// Something with a fixed name in a layout.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A directory.
    Folder(Folder),
    /// A file of metadata.
    Document(Document),
    /// A file of voxels.
    File(Arc<VoxelFile>),
}

/// A file of metadata, which follows from the array's spec alone: it is written anew each time it is read.
#[derive(Clone)]
pub struct Document(Arc<Render>);

type Render = dyn Fn(&ArraySpec) -> Vec<u8> + Send + Sync;

impl Document {
    /// A document that `render` writes.
    pub(super) fn new(render: impl Fn(&ArraySpec) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self(Arc::new(render))
    }

    /// The bytes of the file. `spec` is the one whose folder named the document.
    #[must_use]
    pub fn render(&self, spec: &ArraySpec) -> Vec<u8> {
        (self.0)(spec)
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Document")
    }
}

impl Folder {
    /// A directory without chunks.
    pub(super) fn of(entries: Vec<(String, Entry)>) -> Self {
        Self { entries, ..Self::default() }
    }

    /// A directory with chunks.
    pub(super) fn with_chunks(entries: Vec<(String, Entry)>, chunks: ChunkGrid) -> Self {
        Self { entries, chunks: vec![chunks], ..Self::default() }
    }

    /// Adds a directory, unless it is empty, and what was left out of it.
    pub(super) fn add(&mut self, name: &str, mut folder: Self) {
        let left_out = std::mem::take(&mut folder.left_out);
        self.left_out.extend(left_out.into_iter().map(|(pattern, reason)| (format!("{name}/{pattern}"), reason)));
        if !(folder.entries.is_empty() && folder.chunks.is_empty()) {
            self.entries.push((name.to_owned(), Entry::Folder(folder)));
        }
    }
}

impl Entry {
    /// A file of metadata that `render` writes.
    pub(super) fn document(render: impl Fn(&ArraySpec) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::Document(Document::new(render))
    }
}
