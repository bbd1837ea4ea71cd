//! The layouts that there are, and which of them a mount shows.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::array::ArraySpec;

use super::folder::{Entry, LeftOut};
use super::{flat, hdf5, n5, precomputed, slices, webknossos, zarr, zarr3};

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
    /// N5.
    N5,
    /// Neuroglancer precomputed.
    Precomputed,
    /// One HDF5 file with all levels.
    Hdf5,
    /// Files of whole levels without chunks: NPY, raw, NRRD, MetaImage.
    Flat,
    /// Planes as pictures: TIFF and PNG.
    Slices,
    /// What WEBKNOSSOS reads a Zarr tree by.
    Webknossos,
}

/// The edge of the chunks of `volume.zarr`.
const USUAL_EDGE: u16 = 64;
/// The edge of the chunks of a second tree, for programs that list all chunks of an array.
const LARGE_EDGE: u16 = 256;

/// Flat files of larger levels are shown to those alone who ask for them.
///
/// Who reads a flat file from front to end needs each block once for every plane of voxels in it, so a whole layer of
/// blocks has to stay in memory. In a cube of 64 GiB a layer of blocks of 64^3 has 1 GiB: the most memory that a mount
/// takes unasked. Of a larger one each block would be fetched up to 64 times.
const FLAT_LIMIT_BYTES: u64 = 64 << 30;

impl LayoutKind {
    /// `volume.zarr`.
    pub(super) const USUAL: Self = Self::Zarr2 { edge: USUAL_EDGE };

    /// The word that people choose it by; layouts that differ in a number alone have one word together.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Zarr2 { .. } => "zarr",
            Self::Zarr3 => "zarr3",
            Self::N5 => "n5",
            Self::Precomputed => "precomputed",
            Self::Hdf5 => "h5",
            Self::Flat => "flat",
            Self::Slices => "slices",
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
            Self::N5 => "volume.n5".to_owned(),
            Self::Precomputed => "precomputed".to_owned(),
            Self::Hdf5 => "volume.h5".to_owned(),
            Self::Flat => "flat".to_owned(),
            Self::Slices => "slices".to_owned(),
            Self::Webknossos => webknossos::NAME.to_owned(),
        }
    }

    /// One line for people: what it is.
    #[must_use]
    pub fn title(self) -> String {
        let title = match self {
            Self::Zarr2 { edge } => {
                return format!("Zarr v2 with OME-NGFF 0.4 metadata, chunks of about {edge}^3, not compressed");
            }
            Self::Zarr3 => "Zarr v3 with OME-NGFF 0.5 metadata, in shards of up to 1024^3",
            Self::N5 => "N5, chunks of about 64^3, not compressed",
            Self::Precomputed => "neuroglancer precomputed, raw, in absolute DVID voxels",
            Self::Hdf5 => "HDF5 (1.10 or later) with a dataset for each level, not compressed",
            Self::Flat => "whole levels as .npy, .raw, .nhdr, .nrrd, .mhd: exactly the data, no padding",
            Self::Slices => {
                "planes as pictures across z, y and x: .tif with the exact values, .png with labels in colour"
            }
            Self::Webknossos => "what WEBKNOSSOS opens this directory by",
        };
        title.to_owned()
    }

    /// Whether it is a directory rather than one file.
    #[must_use]
    pub fn is_folder(self) -> bool {
        match self {
            Self::Zarr2 { .. } | Self::Zarr3 | Self::N5 | Self::Precomputed | Self::Flat | Self::Slices => true,
            Self::Hdf5 | Self::Webknossos => false,
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
            Self::N5 => n5::folder(spec).map(Entry::Folder),
            Self::Precomputed => precomputed::folder(spec).map(Entry::Folder),
            Self::Hdf5 => hdf5::file(spec).map(|file| Entry::File(Arc::new(file))),
            Self::Flat => flat::folder(spec, options.flat_limit_bytes).map(Entry::Folder),
            Self::Slices => slices::folder(spec).map(Entry::Folder),
            Self::Webknossos => webknossos::entry(spec, options),
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
        Self::all(&[LARGE_EDGE])
    }
}

impl LayoutOptions {
    /// Every layout there is, with further Zarr v2 trees whose chunks reach for these edges.
    #[must_use]
    pub fn all(edges: &[u16]) -> Self {
        let edges = BTreeSet::from_iter(edges.iter().copied().filter(|&edge| edge != USUAL_EDGE));
        let mut kinds = vec![LayoutKind::USUAL];
        kinds.extend(edges.into_iter().map(|edge| LayoutKind::Zarr2 { edge }));
        kinds.extend([LayoutKind::Zarr3, LayoutKind::N5, LayoutKind::Precomputed, LayoutKind::Hdf5]);
        kinds.extend([LayoutKind::Flat, LayoutKind::Slices, LayoutKind::Webknossos]);
        Self { kinds, flat_limit_bytes: FLAT_LIMIT_BYTES }
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
