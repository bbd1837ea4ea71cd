//! The layouts that there are, and what each consists of.

use crate::array::ArraySpec;

use super::chunk_grid::ChunkGrid;
use super::zarr;

/// A way to show an array as files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayoutKind {
    /// Zarr v2 with OME-NGFF 0.4, chunks of about 64^3.
    Zarr2,
}

impl LayoutKind {
    /// All layouts, in the order in which their inodes are numbered.
    pub const ALL: &'static [Self] = &[Self::Zarr2];

    /// What the layout is called in an instance's directory.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Zarr2 => "volume.zarr",
        }
    }

    /// One line for people: what it is.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Zarr2 => "Zarr v2 with OME-NGFF 0.4 metadata, chunks of about 64^3, not compressed",
        }
    }

    /// The files of an array in this layout, or `None` if it cannot hold the array.
    ///
    /// A layout that had to leave out one chunk would show zeros there, so it is left out as a whole.
    #[must_use]
    pub fn folder(self, spec: &ArraySpec) -> Option<Folder> {
        match self {
            Self::Zarr2 => zarr::folder(spec),
        }
    }
}

/// A directory of a layout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folder {
    /// What has a fixed name.
    pub entries: Vec<(String, Entry)>,
    /// Chunks, whose names are numbers.
    pub chunks: Option<ChunkGrid>,
}

/// Something with a fixed name in a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A directory.
    Folder(Folder),
    /// A file of metadata.
    Document(Document),
}

/// A file of metadata, which follows from the array's spec alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// `.zgroup`
    ZarrGroup,
    /// `.zattrs` of the group: OME-NGFF multiscales.
    ZarrGroupAttrs,
    /// `.zmetadata`: all others in one.
    ZarrConsolidated,
    /// `s<level>/.zarray`
    ZarrArray(usize),
    /// `s<level>/.zattrs`: voxel size and offset for machine learning tools, dimension names for xarray.
    ZarrArrayAttrs(usize),
}

impl Document {
    /// The bytes of the file. `spec` is the one whose folder named the document.
    #[must_use]
    pub fn render(self, spec: &ArraySpec) -> Vec<u8> {
        match self {
            Self::ZarrGroup => zarr::group(),
            Self::ZarrGroupAttrs => zarr::group_attrs(spec),
            Self::ZarrConsolidated => zarr::consolidated(spec),
            Self::ZarrArray(level) => zarr::array(spec, level),
            Self::ZarrArrayAttrs(level) => zarr::array_attrs(spec, level),
        }
    }
}
