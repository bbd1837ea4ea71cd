//! The layouts that there are, and what each consists of.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::array::ArraySpec;

use super::chunk_grid::ChunkGrid;
use super::file::VoxelFile;
use super::{webknossos, zarr, zarr3};

/// A way to show an array as files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayoutKind {
    /// Zarr v2 with OME-NGFF 0.4.
    Zarr2 {
        /// Voxels that a chunk reaches for along each axis.
        edge: u16,
    },
    /// Zarr v3 with OME-NGFF 0.5, in shards.
    Zarr3,
    /// What WEBKNOSSOS reads a Zarr tree by.
    Webknossos,
}

/// The edge of the chunks of `volume.zarr`.
const USUAL_EDGE: u16 = 64;

impl LayoutKind {
    /// `volume.zarr`.
    pub(super) const USUAL: Self = Self::Zarr2 { edge: USUAL_EDGE };

    /// The word that people choose it by; layouts that differ in a number alone have one word together.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Zarr2 { .. } => "zarr",
            Self::Zarr3 => "zarr3",
            Self::Webknossos => "webknossos",
        }
    }

    /// What the layout is called in an instance's directory.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Zarr2 { edge: USUAL_EDGE } => "volume.zarr".to_owned(),
            Self::Zarr2 { edge } => format!("volume-c{edge}.zarr"),
            Self::Zarr3 => "volume-v3.zarr".to_owned(),
            Self::Webknossos => webknossos::NAME.to_owned(),
        }
    }

    /// One line for people: what it is.
    #[must_use]
    pub fn title(self) -> String {
        match self {
            Self::Zarr2 { edge } => {
                format!("Zarr v2 with OME-NGFF 0.4 metadata, chunks of about {edge}^3, not compressed")
            }
            Self::Zarr3 => "Zarr v3 with OME-NGFF 0.5 metadata, in shards of up to 1024^3".to_owned(),
            Self::Webknossos => "what WEBKNOSSOS opens this directory by".to_owned(),
        }
    }

    /// Whether it is a directory rather than one file.
    #[must_use]
    pub fn is_folder(self) -> bool {
        match self {
            Self::Zarr2 { .. } | Self::Zarr3 => true,
            Self::Webknossos => false,
        }
    }

    /// The array in this layout.
    ///
    /// A layout that had to leave out one chunk would show zeros there, so it is left out as a whole.
    ///
    /// # Errors
    /// If the layout cannot hold the array: why.
    pub fn entry(self, spec: &ArraySpec, options: &LayoutOptions) -> Result<Entry, LeftOut> {
        match self {
            Self::Zarr2 { edge } => zarr::folder(spec, edge).map(Entry::Folder),
            Self::Zarr3 => zarr3::folder(spec).map(Entry::Folder),
            Self::Webknossos => webknossos::entry(spec, options),
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
        Self::all(&[256])
    }
}

impl LayoutOptions {
    /// Every layout there is, with further Zarr v2 trees whose chunks reach for these edges.
    #[must_use]
    pub fn all(edges: &[u16]) -> Self {
        let edges = BTreeSet::from_iter(edges.iter().copied().filter(|&edge| edge != USUAL_EDGE));
        let mut kinds = vec![LayoutKind::USUAL];
        kinds.extend(edges.into_iter().map(|edge| LayoutKind::Zarr2 { edge }));
        kinds.extend([LayoutKind::Zarr3, LayoutKind::Webknossos]);
        Self { kinds }
    }

    /// Of these layouts those that one of the words means.
    #[must_use]
    pub fn only(mut self, words: &[impl AsRef<str>]) -> Self {
        self.kinds.retain(|kind| words.iter().any(|word| word.as_ref() == kind.word()));
        self
    }

    /// The words for these layouts, each once.
    #[must_use]
    pub fn words(&self) -> Vec<&'static str> {
        let mut words: Vec<_> = self.kinds.iter().map(|kind| kind.word()).collect();
        words.dedup();
        words
    }
}

/// Why a layout, or a part of it, does not show an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeftOut {
    /// A chunk would be a file that no file system holds.
    #[error("a file would have 2^63 bytes or more")]
    TooLarge,
    /// Voxels have channels, and the layout has no place for them.
    #[error("it has no place for channels")]
    Channels,
    /// It describes a Zarr tree, and none is shown.
    #[error("it needs one of the layouts zarr and zarr3")]
    NoZarr,
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
        Self { entries, chunks: None }
    }
}

impl Entry {
    /// A file of metadata that `render` writes.
    pub(super) fn document(render: impl Fn(&ArraySpec) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::Document(Document::new(render))
    }
}
