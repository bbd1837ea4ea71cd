//! How the blocks of an instance are asked for, and what comes back.

use crate::geometry::Scale;

use super::info::{InstanceKind, VoxelInfo};
use super::payload::{Encoding, StoredForm};

/// Which labels of a labelmap are asked for; of no meaning for other types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Labels {
    /// As they are stored.
    Supervoxels,
    /// Bodies, by the server's mapping.
    ServerMapped,
}

/// How the blocks of an instance are asked for.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// All before `<size>/<offset>`.
    before: String,
    /// All behind it.
    query: String,
    /// What comes back.
    pub(super) encoding: Encoding,
}

impl Request {
    pub(super) fn new(voxels: &VoxelInfo, instance: &str, labels: Labels, scale: Scale) -> Self {
        let (endpoint, query, encoding) = match voxels.kind {
            // The stored form is asked for by no parameter at all, and looks different for each block of a bucket.
            InstanceKind::ImageBlk if voxels.compression == StoredForm::Jpeg && !voxels.grid_store => {
                ("subvolblocks", "?compression=jpeg".to_owned(), Encoding::Stored(StoredForm::Jpeg))
            }
            InstanceKind::ImageBlk => ("subvolblocks", String::new(), Encoding::Stored(voxels.compression)),
            InstanceKind::LabelBlk => ("blocks", "?compression=lz4".to_owned(), Encoding::Lz4Labels),
            InstanceKind::LabelArray => ("blocks", format!("?compression=blocks&scale={scale}"), Encoding::LabelBlock),
            InstanceKind::LabelMap => {
                let supervoxels = if labels == Labels::Supervoxels { "true" } else { "false" };
                ("blocks", format!("?compression=blocks&supervoxels={supervoxels}&scale={scale}"), Encoding::LabelBlock)
            }
        };
        Self { before: format!("{instance}/{endpoint}/"), query, encoding }
    }

    pub(super) fn path(&self, size_and_offset: &str) -> String {
        format!("{}{size_and_offset}{}", self.before, self.query)
    }

    /// The same blocks decoded by the server, where that gives the same voxels and is as safe: decoders of JPEG differ, and
    /// what came damaged by the checksum of its gzip member would come again without one.
    pub(super) fn uncompressed(&self) -> Option<Self> {
        match self.encoding {
            Encoding::Stored(StoredForm::Jpeg | StoredForm::Gzip) | Encoding::LabelBlock | Encoding::Lz4Labels => None,
            Encoding::Stored(StoredForm::Lz4 | StoredForm::None | StoredForm::Snappy) => Some(Self {
                before: self.before.clone(),
                query: "?compression=uncompressed".to_owned(),
                encoding: Encoding::Stored(StoredForm::None),
            }),
        }
    }
}
