//! The layouts that there are, and what each consists of.

use std::fmt;
use std::sync::Arc;

use crate::array::ArraySpec;

use super::chunk_grid::ChunkGrid;
use super::file::VoxelFile;
use super::{n5, precomputed, zarr};

/// A way to show an array as files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayoutKind {
    /// Zarr v2 with OME-NGFF 0.4.
    Zarr2 {
        /// Voxels that a chunk reaches for along each axis.
        edge: u16,
    },
    /// N5.
    N5,
    /// Neuroglancer precomputed.
    Precomputed,
}

/// The edge of the chunks of `volume.zarr`.
const USUAL_EDGE: u16 = 64;

impl LayoutKind {
    /// What the layout is called in an instance's directory.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Zarr2 { edge: USUAL_EDGE } => "volume.zarr".to_owned(),
            Self::Zarr2 { edge } => format!("volume-c{edge}.zarr"),
            Self::N5 => "volume.n5".to_owned(),
            Self::Precomputed => "precomputed".to_owned(),
        }
    }

    /// One line for people: what it is.
    #[must_use]
    pub fn title(self) -> String {
        match self {
            Self::Zarr2 { edge } => {
                format!("Zarr v2 with OME-NGFF 0.4 metadata, chunks of about {edge}^3, not compressed")
            }
            Self::N5 => "N5, chunks of about 64^3, not compressed".to_owned(),
            Self::Precomputed => "neuroglancer precomputed, raw, in absolute DVID voxels".to_owned(),
        }
    }

    /// The array in this layout.
    ///
    /// A layout that had to leave out one chunk would show zeros there, so it is left out as a whole.
    ///
    /// # Errors
    /// If the layout cannot hold the array: why.
    pub fn entry(self, spec: &ArraySpec, _options: &LayoutOptions) -> Result<Entry, LeftOut> {
        match self {
            Self::Zarr2 { edge: _ } => zarr::folder(spec).map(Entry::Folder),
            Self::N5 => n5::folder(spec).map(Entry::Folder),
            Self::Precomputed => precomputed::folder(spec).map(Entry::Folder),
        }
    }
}

/// Which layouts are shown, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutOptions {
    /// The layouts, in the order in which their inodes are numbered.
    pub kinds: Vec<LayoutKind>,
}

impl Default for LayoutOptions {
    fn default() -> Self {
        Self { kinds: vec![LayoutKind::Zarr2 { edge: USUAL_EDGE }, LayoutKind::N5, LayoutKind::Precomputed] }
    }
}

/// Why a layout, or a part of it, does not show an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeftOut {
    /// A chunk would be a file that no file system holds.
    #[error("a file would have 2^63 bytes or more")]
    TooLarge,
    /// Programs hold a chunk in memory that 31 bits count.
    #[error("a chunk would have 2 GiB or more")]
    LargeChunk,
}

/// A directory of a layout.
#[derive(Clone, Debug, Default)]
pub struct Folder {
    /// What has a fixed name.
    pub entries: Vec<(String, Entry)>,
    /// Chunks, whose names are made by arithmetic.
    pub chunks: Option<Box<ChunkGrid>>,
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
pub struct Document(Arc<dyn Fn(&ArraySpec) -> Vec<u8> + Send + Sync>);

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
        Self { entries, chunks: None }
    }
}

impl Entry {
    /// A file of metadata that `render` writes.
    pub(super) fn document(render: impl Fn(&ArraySpec) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::Document(Document::new(render))
    }
}
