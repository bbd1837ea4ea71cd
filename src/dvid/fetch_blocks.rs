//! The seam between the server and everything above it: whatever can fetch blocks.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crate::geometry::{BlockBox, Coordinate, Scale};
use crate::voxels::{Dtype, Volume};

use super::error::Error;
use super::kept::{Identity, KeepBlocks};
use super::label_block::LabelBlock;

/// Which values of an instance are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum View {
    /// The voxels as they are stored: gray values, labels, a labelmap's supervoxels.
    Stored,
    /// A labelmap's bodies: its supervoxels through the mapping of the mounted version.
    Bodies,
}

/// How long an answer stays right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// A locked, versioned instance: for ever.
    Forever,
    /// An open node or an unversioned instance: so long at most.
    For(Duration),
}

/// One block in the form in which it is kept.
#[derive(Clone, Debug)]
pub enum Block {
    /// DVID does not store it: every voxel is the fill value 0.
    Absent,
    /// All its voxels.
    Dense(Arc<Volume>),
    /// Labels in DVID's label-block form, checked, much smaller than the voxels.
    Labels(Arc<LabelBlock>),
}

impl Block {
    /// Memory that the block holds, in bytes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        match self {
            Self::Absent => 0,
            Self::Dense(volume) => volume.bytes().len(),
            Self::Labels(labels) => labels.held_bytes(),
        }
    }
}

/// What a source of blocks is like, per scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockForm {
    /// The type of a voxel, or of one channel of it.
    pub dtype: Dtype,
    /// How many channels a voxel has, if there is an axis for them.
    pub channels: Option<usize>,
    /// Voxels of a block along each axis, zyx.
    pub block_shape: Coordinate,
    /// How many blocks one request of a sequential reader may ask for.
    pub blocks_per_request: usize,
}

impl BlockForm {
    /// Memory of a decoded block, in bytes.
    #[must_use]
    pub fn block_bytes(&self) -> usize {
        let voxel_bytes = self.dtype.itemsize() * self.channels.unwrap_or(1);
        usize::try_from(self.block_shape.product() * voxel_bytes as u128).unwrap_or(usize::MAX)
    }
}

/// Something that fetches blocks: an instance of a server, or a fake of one.
///
/// Every call is one attempt: retries, sharing and caching lie above.
pub trait FetchBlocks: Send + Sync + Debug {
    /// Voxel type and block shape.
    fn form(&self) -> BlockForm;

    /// How long what it gives now stays right. An open node may become one that lasts for ever, never the other way.
    fn freshness(&self) -> Freshness;

    /// Whether what was kept of it may be given without asking the server first. No I/O.
    ///
    /// # Errors
    /// If the server holds other data in its place: then nothing of it may be given any more.
    fn is_trusted(&self) -> Result<bool, Error> {
        Ok(true)
    }

    /// The view whose stored blocks this view is decoded from: bodies that are mapped here come from
    /// [`View::Stored`], so that one cached block serves both.
    fn stored_as(&self, view: View) -> View;

    /// Fetches a box of blocks with one request: one `Block` for each block of `blocks.blocks()`, in that order.
    ///
    /// `view` is one that [`stored_as`](Self::stored_as) gives. The whole answer has been checked before any block of it is returned.
    ///
    /// # Errors
    /// If the request failed or any part of the answer cannot be right.
    fn fetch_blocks(&self, view: View, scale: Scale, blocks: BlockBox) -> Result<Vec<Block>, Error>;

    /// What its stored blocks are kept as beyond this process, if they never change.
    fn keeps(&self) -> Option<(&Identity, &dyn KeepBlocks)> {
        None
    }

    /// Whether blocks of this view can be decoded now. `false` only for bodies whose mapping is not yet known to be complete.
    fn is_ready(&self, view: View) -> bool;

    /// Makes a view ready: one attempt, which may take minutes.
    ///
    /// # Errors
    /// If the mapping could not be had, or is not known to be complete ([`MappingLoading`](super::ErrorKind::MappingLoading)).
    fn prepare(&self, view: View) -> Result<(), Error>;

    /// All voxels of a block, in this view. Never called for [`Block::Absent`], nor before the view is ready.
    ///
    /// # Errors
    /// If the view is not ready.
    fn decode(&self, view: View, block: &Block) -> Result<Arc<Volume>, Error>;
}
