//! Blocks beyond this process: what tells them from all others, and the form in which they are kept.

use std::time::{Duration, Instant};

use crate::geometry::{BlockBox, Scale};

use super::error::{Error, ErrorKind};
use super::fetch_blocks::Block;
use super::info::VoxelInfo;
use super::instance::Instance;
use super::kept_mapping::KeptMapping;
use super::payload::Encoding;
use super::request::{Labels, Request};

/// What tells the stored blocks of one instance at one node from all others, on whatever server they lie.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The first node of the repo.
    pub root: String,
    /// The instance, whatever its name.
    pub data_uuid: String,
    /// The node.
    pub version: String,
    /// `uint8blk`, `labelmap` …
    pub typename: String,
    /// Type of a voxel, number of channels, and shape of a block, zyx.
    pub values: String,
    /// The form in which its blocks are asked for.
    pub encoding: u8,
}

/// A block as the server sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// What the payload is; a number that is written to disk and never changes its meaning.
    pub encoding: u8,
    /// Empty if the server stores no such block.
    pub payload: Vec<u8>,
}

/// The form of a block that the server does not store.
const ABSENT: u8 = 0;

/// A source whose stored blocks never change, so that they may be kept beyond this process.
pub trait KeepBlocks: Send + Sync {
    /// As [`FetchBlocks::fetch_blocks`](super::FetchBlocks::fetch_blocks) of [`View::Stored`](super::View::Stored), with
    /// each block as it was received beside it.
    ///
    /// # Errors
    /// The same.
    fn fetch_received(&self, scale: Scale, blocks: BlockBox) -> Result<Vec<(Block, Received)>, Error>;

    /// Asks the server once more, so long at most, whether it holds what was mounted and will not change it.
    ///
    /// # Errors
    /// If it does not, or does not tell.
    fn confirm(&self, limit: Duration) -> Result<(), Error>;

    /// The block that was received in this form, and decoded then.
    ///
    /// # Errors
    /// If it is no block of this instance.
    fn restore(&self, encoding: u8, payload: &[u8]) -> Result<Block, Error>;

    /// The head of the mapping of its bodies, if one is held here that passed the gate.
    fn mapping_head(&self) -> Option<Vec<u8>>;

    /// A part of that mapping; none behind the last.
    fn mapping_part(&self, part: u64) -> Option<Vec<u8>>;

    /// Begins to put a mapping together that was kept, if there is memory for it.
    fn begin_mapping(&self, head: &[u8]) -> Option<KeptMapping>;

    /// Uses a mapping that was kept, if every part of it is there. Whether it is whole.
    fn adopt_mapping(&self, kept: KeptMapping) -> bool;
}

impl Identity {
    /// `None` if the server does not tell what an instance is, whatever its name.
    pub(super) fn new(root: &str, version: &str, data_uuid: &str, typename: &str, voxels: &VoxelInfo) -> Option<Self> {
        if root.is_empty() || version.is_empty() || data_uuid.is_empty() {
            return None;
        }
        let VoxelInfo { dtype, channels, block_shape, .. } = voxels;
        let [z, y, x] = block_shape.axes();
        Some(Self {
            root: root.to_owned(),
            data_uuid: data_uuid.to_owned(),
            version: version.to_owned(),
            typename: typename.to_owned(),
            values: format!("{}x{} {z},{y},{x}", dtype.name(), channels.unwrap_or(1)),
            encoding: Request::new(voxels, "", Labels::Supervoxels, Scale::FULL).encoding.code(),
        })
    }
}

impl KeepBlocks for Instance {
    fn fetch_received(&self, scale: Scale, blocks: BlockBox) -> Result<Vec<(Block, Received)>, Error> {
        let found = self.fetch(self.server(), Labels::Supervoxels, scale, blocks, |encoding, payload| {
            let received = match payload {
                None => Received { encoding: ABSENT, payload: Vec::new() },
                Some(payload) => Received { encoding: encoding.code(), payload: payload.to_vec() },
            };
            Ok((self.decoded(encoding, payload)?, received))
        })?;
        self.compare(Labels::Supervoxels, scale, blocks, found.iter().map(|(block, _)| block))?;
        Ok(found)
    }

    fn confirm(&self, limit: Duration) -> Result<(), Error> {
        self.is_still_mounted(&self.server().until(Instant::now() + limit))
    }

    fn restore(&self, encoding: u8, payload: &[u8]) -> Result<Block, Error> {
        if encoding == ABSENT && payload.is_empty() {
            return Ok(Block::Absent);
        }
        let wrong = || Error::new(ErrorKind::Malformed, "a block that was kept");
        let encoding = Encoding::from_code(encoding).ok_or_else(wrong)?;
        self.decoded(encoding, Some(payload)).map_err(|error| wrong().with_source(error))
    }

    fn mapping_head(&self) -> Option<Vec<u8>> {
        self.gate()?.kept_head()
    }

    fn mapping_part(&self, part: u64) -> Option<Vec<u8>> {
        self.gate()?.kept_part(part)
    }

    fn begin_mapping(&self, head: &[u8]) -> Option<KeptMapping> {
        self.gate()?.begin_kept(head)
    }

    fn adopt_mapping(&self, kept: KeptMapping) -> bool {
        self.gate().is_some_and(|gate| gate.adopt(kept))
    }
}
