//! The layouts that there are, and what each consists of.

use std::fmt;
use std::sync::Arc;

use crate::array::ArraySpec;

use super::chunk_grid::ChunkGrid;
use super::file::VoxelFile;
use super::{flat, hdf5, zarr};

/// A way to show an array as files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayoutKind {
    /// Zarr v2 with OME-NGFF 0.4.
    Zarr2 {
        /// Voxels that a chunk reaches for along each axis.
        edge: u16,
    },
    /// One HDF5 file with all levels.
    Hdf5,
    /// Files of whole levels without chunks: NPY, raw, NRRD, MetaImage.
    Flat,
}

/// The edge of the chunks of `volume.zarr`.
const USUAL_EDGE: u16 = 64;

/// Flat files of larger levels are shown to those alone who ask for them.
///
/// Who reads a flat file from front to end needs each block once for every plane of voxels in it, so a whole layer of
/// blocks has to stay in memory. In a cube of 64 GiB a layer of blocks of 64^3 has 1 GiB: the most memory that a mount
/// takes unasked. Of a larger one each block would be fetched up to 64 times.
const FLAT_LIMIT_BYTES: u64 = 64 << 30;

impl LayoutKind {
    /// What the layout is called in an instance's directory.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Zarr2 { edge: USUAL_EDGE } => "volume.zarr".to_owned(),
            Self::Zarr2 { edge } => format!("volume-c{edge}.zarr"),
            Self::Hdf5 => "volume.h5".to_owned(),
            Self::Flat => "flat".to_owned(),
        }
    }

    /// Whether it is a directory rather than one file.
    #[must_use]
    pub fn is_folder(self) -> bool {
        match self {
            Self::Zarr2 { .. } | Self::Flat => true,
            Self::Hdf5 => false,
        }
    }

    /// One line for people: what it is.
    #[must_use]
    pub fn title(self) -> String {
        match self {
            Self::Zarr2 { edge } => {
                format!("Zarr v2 with OME-NGFF 0.4 metadata, chunks of about {edge}^3, not compressed")
            }
            Self::Hdf5 => "HDF5 (1.10 or later) with a dataset for each level, not compressed".to_owned(),
            Self::Flat => "whole levels as .npy, .raw, .nhdr, .nrrd, .mhd: exactly the data, no padding".to_owned(),
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
            Self::Zarr2 { edge: _ } => zarr::folder(spec).map(Entry::Folder),
            Self::Hdf5 => hdf5::file(spec).map(|file| Entry::File(Arc::new(file))),
            Self::Flat => flat::folder(spec, options.flat_limit_bytes).map(Entry::Folder),
        }
    }
}

/// Which layouts are shown, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutOptions {
    /// The layouts, in the order in which their inodes are numbered.
    pub kinds: Vec<LayoutKind>,
    /// A level with more bytes is not shown as flat files.
    pub flat_limit_bytes: u64,
}

impl Default for LayoutOptions {
    fn default() -> Self {
        let kinds = vec![LayoutKind::Zarr2 { edge: USUAL_EDGE }, LayoutKind::Hdf5, LayoutKind::Flat];
        Self { kinds, flat_limit_bytes: FLAT_LIMIT_BYTES }
    }
}

/// Why a layout, or a part of it, does not show an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeftOut {
    /// A chunk would be a file that no file system holds.
    #[error("a file would have 2^63 bytes or more")]
    TooLarge,
    /// A chunk is larger than the format allows.
    #[error("a chunk would have 4 GiB or more")]
    LargeChunk,
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
    /// What could stand here and does not, and why.
    LeftOut(LeftOut),
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
