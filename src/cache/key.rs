//! What a read asks the cache for, and what it gets.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::dvid::{Error, ErrorKind, View};
use crate::geometry::{BlockIndex, Scale};
use crate::voxels::Volume;

/// One source of blocks of a cache, as [`BlockCache::add_source`](super::BlockCache::add_source) named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub(super) u32);

/// The blocks that a read needs, all of one source, view and scale.
#[derive(Clone, Debug)]
pub struct BlockRequest {
    /// Where they come from.
    pub source: SourceId,
    /// In which view their voxels are wanted.
    pub view: View,
    /// At which scale.
    pub scale: Scale,
    /// Which ones, in the order of the answer.
    pub blocks: Vec<BlockIndex>,
}

/// The blocks of a request, in its order; `None` where the server stores nothing, so that every voxel is 0.
pub type Blocks = Vec<Option<Arc<Volume>>>;

/// What is done with the blocks. Called once: on the caller's thread if all blocks are in memory, else on another one;
/// or dropped, if its [`Reader`](super::Reader) has left.
pub type Then = Box<dyn FnOnce(Result<Blocks, FetchError>) + Send>;

/// One block in one view of one source: what is fetched once and kept once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct BlockKey {
    pub(super) source: SourceId,
    pub(super) view: View,
    pub(super) scale: Scale,
    pub(super) block: BlockIndex,
}

/// All blocks of one source, view and scale: what one request to the server can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct GridKey {
    pub(super) source: SourceId,
    pub(super) view: View,
    pub(super) scale: Scale,
}

impl BlockKey {
    pub(super) fn grid(self) -> GridKey {
        GridKey { source: self.source, view: self.view, scale: self.scale }
    }
}

impl GridKey {
    pub(super) fn key(self, block: BlockIndex) -> BlockKey {
        BlockKey { source: self.source, view: self.view, scale: self.scale, block }
    }
}

/// A read got no blocks. Says which block failed first, how often it was tried and how long the read waited.
#[derive(Clone, Debug)]
pub struct FetchError {
    /// What became of the last attempt.
    pub source: Arc<Error>,
    /// The scale of the block.
    pub scale: Scale,
    /// The block that failed, or one that was still missing when patience ended.
    pub block: BlockIndex,
    /// How often it was asked for.
    pub attempts: u32,
    /// How long the read waited.
    pub waited: Duration,
    /// Whether patience ended: the block itself would be asked for again.
    pub gave_up: bool,
}

impl FetchError {
    /// What became of the last attempt.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.source.kind()
    }

    /// The code in log lines and in `errors.jsonl`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        if self.gave_up { "gave_up" } else { self.source.code() }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scale, block, attempts, waited, .. } = self;
        let times = if *attempts == 1 { "attempt" } else { "attempts" };
        write!(f, "no block {} at scale {scale} after {attempts} {times}, {waited:.1?}", block.0)
    }
}

impl std::error::Error for FetchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}
