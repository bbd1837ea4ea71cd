//! One instance at one node: its blocks, by whichever request its type answers best.

use std::sync::Arc;
use std::time::Duration;

use crate::geometry::{BlockBox, BlockIndex, Coordinate, Grid, Scale, VoxelBox};
use crate::voxels::{Dtype, Volume};

use super::block_stream::parse_frames;
use super::buffer::with_buffer;
use super::endpoint::{instance_path, size_and_offset};
use super::error::{Error, ErrorKind};
use super::fetch_blocks::{Block, BlockForm, FetchBlocks, Freshness, View};
use super::gate::{Gate, MapLabels, Mapper, MappingMemory, Way};
use super::http::Server;
use super::http_config::INFO_LIMIT;
use super::identity::{Identity, Suspicion};
use super::info::{InstanceInfo, InstanceKind, VoxelInfo};
use super::kept::{self, KeepBlocks};
use super::label_block::LabelBlock;
use super::payload::{Encoding, decode_payload};
use super::payload_error::PayloadError;
use super::request::{Labels, Request};
use super::settled::Settled;

mod verify;

/// A sequential reader's request brings about so many bytes of gray voxels: measured, 2-4 MiB are best.
const GRAY_REQUEST_BYTES: usize = 2 << 20;
/// The same for labels, which come compressed.
const LABEL_REQUEST_BYTES: usize = 16 << 20;
/// Blocks in one request at most, however small they are.
const MAX_BLOCKS_PER_REQUEST: usize = 64;

/// How the mapping of a labelmap is had.
#[derive(Clone, Debug)]
pub(super) struct MappingOptions {
    /// Between two downloads of it.
    pub(super) apart: Duration,
    /// Memory that it shares with all others.
    pub(super) memory: Arc<MappingMemory>,
}

/// What all instances of a mounted node share.
#[derive(Clone, Debug)]
pub(super) struct NodeState {
    pub(super) settled: Arc<Settled>,
    pub(super) suspicion: Arc<Suspicion>,
}

/// An instance at a node, as a source of blocks.
#[derive(Debug)]
pub struct Instance {
    server: Server,
    /// `/api/node/<uuid>/<instance>`.
    path: String,
    voxels: VoxelInfo,
    grid: Grid,
    versioned: bool,
    settled: Arc<Settled>,
    identity: Identity,
    /// What tells its blocks from all others, if the server told enough.
    kept_as: Option<kept::Identity>,
    /// Only of a labelmap.
    gate: Option<Gate>,
    /// One block of so many is fetched twice; 0: none.
    verify_every: u32,
}

impl Instance {
    /// # Errors
    /// If the instance has no voxels, or no request can name it.
    pub(super) fn new(
        server: Server,
        uuid: &str,
        info: &InstanceInfo,
        node: &NodeState,
        mapping: MappingOptions,
    ) -> Result<Self, Error> {
        let path = instance_path(uuid, &info.name)?;
        let malformed = || Error::new(ErrorKind::Malformed, format!("{path}/info"));
        let voxels = info.voxels.clone().map_err(|reason| malformed().with_source(reason))?;
        let grid = Grid::new(voxels.block_shape).ok_or_else(|| malformed().with_detail("blocks without extent"))?;
        let mapper = match node.settled.freshness(info.versioned) {
            Freshness::Forever => Mapper::Client,
            Freshness::For(_) => Mapper::Server,
        };
        let gate = (voxels.kind == InstanceKind::LabelMap)
            .then(|| Gate::new(server.clone(), path.clone(), mapper, mapping.memory, mapping.apart));
        let identity = Identity::new(&path, info, &voxels, Arc::clone(&node.suspicion));
        let (versioned, settled) = (info.versioned, Arc::clone(&node.settled));
        let (kept_as, verify_every) = (None, 0);
        Ok(Self { server, path, voxels, grid, versioned, settled, identity, kept_as, gate, verify_every })
    }

    /// The same as an instance of the repo with this root at the node `version`: so its blocks can be kept.
    pub(super) fn in_repo(mut self, root: &str, version: &str, info: &InstanceInfo) -> Self {
        self.kept_as = kept::Identity::new(root, version, &info.data_uuid, &info.typename, &self.voxels);
        self
    }

    pub(super) fn gate(&self) -> Option<&Gate> {
        self.gate.as_ref()
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// `/api/node/<uuid>/<instance>`.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Which blocks of a box the server stores: one request, and no voxel is decoded.
    ///
    /// # Errors
    /// As those of [`FetchBlocks::fetch_blocks`].
    pub fn stored_blocks(&self, scale: Scale, probe: BlockBox) -> Result<Vec<BlockIndex>, Error> {
        self.stored_blocks_by(&self.server, scale, probe)
    }

    /// The same by a server whose time may be limited.
    pub(super) fn stored_blocks_by(
        &self,
        server: &Server,
        scale: Scale,
        probe: BlockBox,
    ) -> Result<Vec<BlockIndex>, Error> {
        let payloads = |_, payload: Option<&[u8]>| Ok(payload.is_some());
        let stored = self.fetch(server, Labels::Supervoxels, scale, probe, payloads)?;
        Ok(probe.blocks().zip(stored).filter_map(|(block, is_stored)| is_stored.then_some(block)).collect())
    }

    /// Fetches blocks by as many requests as their storage needs: one, but for a proxy of a bucket.
    pub(super) fn fetch<T>(
        &self,
        server: &Server,
        labels: Labels,
        scale: Scale,
        blocks: BlockBox,
        decode: impl Fn(Encoding, Option<&[u8]>) -> Result<T, PayloadError>,
    ) -> Result<Vec<T>, Error> {
        if scale > self.voxels.max_scale {
            let detail = format!("scale {scale} where {} is the highest", self.voxels.max_scale);
            return Err(Error::new(ErrorKind::OverLimit, &self.path).with_detail(detail));
        }
        let request = Request::new(&self.voxels, &self.path, labels, scale);
        let answer = if self.voxels.grid_store {
            self.fetch_from_bucket(server, &request, blocks, &decode)
        } else {
            // What is refused here says nothing about the server.
            size_and_offset(self.grid, blocks, &self.path)?;
            self.fetch_once(server, &request, blocks, &decode).or_else(|error| match request.uncompressed() {
                // Blocks of a form that this instance does not claim to have: the server knows it.
                Some(request) if is_of_a_form(&error) => self.fetch_once(server, &request, blocks, &decode),
                _ => Err(error),
            })
        };
        let answer = answer.map_err(|error| self.identity.cause_of(server, error))?;
        self.identity.confirm(server)?;
        if self.freshness() == Freshness::Forever {
            self.settled.confirm(server)?;
        }
        self.settled.look(server);
        Ok(answer)
    }

    /// Asks whether the server holds what was mounted, and will not change it.
    pub(super) fn is_still_mounted(&self, server: &Server) -> Result<(), Error> {
        self.is_trusted()?;
        self.identity.ask(server)?;
        self.settled.confirm(server)
    }

    /// One request for a box of blocks; the whole answer is decoded before any of it is returned.
    fn fetch_once<T>(
        &self,
        server: &Server,
        request: &Request,
        blocks: BlockBox,
        decode: &impl Fn(Encoding, Option<&[u8]>) -> Result<T, PayloadError>,
    ) -> Result<Vec<T>, Error> {
        let path = request.path(&size_and_offset(self.grid, blocks, &self.path)?);
        let wrong = |error: PayloadError| {
            // Perhaps the answer to another request: whatever comes next over this connection could be one, too.
            server.distrust_connection();
            Error::of_payload(error, &path)
        };
        with_buffer(|body| {
            server.get_into(&path, self.answer_limit(blocks), body)?;
            let payloads = parse_frames(body, blocks).map_err(wrong)?;
            payloads.into_iter().map(|payload| decode(request.encoding, payload).map_err(wrong)).collect()
        })
    }

    /// Block by block, since a request for several leaves out those that failed; and none outside the volume, since
    /// those are errors.
    fn fetch_from_bucket<T>(
        &self,
        server: &Server,
        request: &Request,
        blocks: BlockBox,
        decode: &impl Fn(Encoding, Option<&[u8]>) -> Result<T, PayloadError>,
    ) -> Result<Vec<T>, Error> {
        let in_volume = self.voxels.extents.map(|extents| self.grid.block_range(extents));
        let wrong = |error: PayloadError| Error::of_payload(error, &self.path);
        let mut answer = vec![];
        for block in blocks.blocks() {
            if in_volume.is_some_and(|in_volume| in_volume.contains(block)) {
                answer.append(&mut self.fetch_once(server, request, BlockBox::one(block), decode)?);
            } else {
                answer.push(decode(request.encoding, None).map_err(wrong)?);
            }
        }
        Ok(answer)
    }

    /// No right answer is larger: every form may be larger than the voxels, but none is by half.
    fn answer_limit(&self, blocks: BlockBox) -> u64 {
        let n_blocks = u64::try_from(blocks.n_blocks()).unwrap_or(u64::MAX);
        n_blocks.saturating_mul(2 * block_bytes(&self.voxels) as u64 + (64 << 10))
    }

    pub(super) fn decoded(&self, encoding: Encoding, payload: Option<&[u8]>) -> Result<Block, PayloadError> {
        let VoxelInfo { dtype, channels, block_shape, .. } = self.voxels;
        payload.map_or(Ok(Block::Absent), |payload| decode_payload(encoding, (dtype, channels), block_shape, payload))
    }

    fn blocks(&self, labels: Labels, scale: Scale, blocks: BlockBox) -> Result<Vec<Block>, Error> {
        let found =
            self.fetch(&self.server, labels, scale, blocks, |encoding, payload| self.decoded(encoding, payload))?;
        self.compare(labels, scale, blocks, found.iter())?;
        Ok(found)
    }

    fn bodies(&self, gate: &Gate, scale: Scale, blocks: BlockBox) -> Result<Vec<Block>, Error> {
        match gate.way().ok_or_else(|| gate.closed())? {
            // `decode` maps them.
            Way::Table(_) => self.blocks(Labels::Supervoxels, scale, blocks),
            Way::LookUp(start) => {
                let mut found = self.blocks(Labels::Supervoxels, scale, blocks)?;
                // One question for all of them: what it finds serves the blocks one by one.
                let all: Vec<u64> =
                    found.iter().filter_map(label_block).flat_map(LabelBlock::labels).copied().collect();
                let bodies = gate.bodies(start, &all)?;
                let mut rest = bodies.as_slice();
                for block in &mut found {
                    if let Block::Labels(labels) = block {
                        let (own, others) = rest.split_at(labels.labels().len());
                        *labels = Arc::new(labels.with_labels(own.to_vec()));
                        rest = others;
                    }
                }
                Ok(found)
            }
            Way::Server(start) => {
                let found = self.blocks(Labels::ServerMapped, scale, blocks)?;
                gate.confirm(start)?;
                Ok(found)
            }
        }
    }

    /// Whether blocks that are mapped by `map` are those that the server maps: some of the middle, at the coarsest
    /// scale, where each block has many labels, and at the finest, if any are stored there.
    fn samples_agree(&self, map: &MapLabels<'_>) -> Result<bool, Error> {
        let Some(extents) = self.voxels.extents else { return Ok(true) };
        for scale in [self.voxels.max_scale, Scale(self.voxels.max_scale.0 / 2), Scale::FULL] {
            let (begin, end) = (extents.at_scale(scale).begin(), extents.at_scale(scale).end());
            let middle = self.grid.block_of((begin + end).div_floor(Coordinate::splat(2)));
            let around = BlockBox(self.grid.block_range(extents.at_scale(scale)).0.intersect(around(middle)));
            let ours = self.blocks(Labels::Supervoxels, scale, around)?;
            let theirs = self.blocks(Labels::ServerMapped, scale, around)?;
            for (ours, theirs) in ours.iter().zip(&theirs) {
                let is_same = match (label_block(ours), label_block(theirs)) {
                    (Some(ours), Some(theirs)) => ours.decode_mapped(&map(ours.labels())?) == theirs.decode(),
                    (None, None) => true,
                    _ => false,
                };
                if !is_same {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

impl FetchBlocks for Instance {
    fn form(&self) -> BlockForm {
        let budget = if self.voxels.dtype == Dtype::Uint64 { LABEL_REQUEST_BYTES } else { GRAY_REQUEST_BYTES };
        let wanted = (budget / block_bytes(&self.voxels)).clamp(1, MAX_BLOCKS_PER_REQUEST);
        BlockForm { blocks_per_request: if self.voxels.grid_store { 1 } else { wanted }, ..form(&self.voxels) }
    }

    fn freshness(&self) -> Freshness {
        self.settled.freshness(self.versioned)
    }

    fn is_trusted(&self) -> Result<bool, Error> {
        if self.versioned {
            self.settled.is_still()?;
        }
        self.identity.is_trusted()
    }

    /// Bodies are [`View::Bodies`] until the gate is open: only then it is known whether the mapping is held here.
    fn stored_as(&self, view: View) -> View {
        match (view, &self.gate) {
            (View::Bodies, Some(gate)) if !matches!(gate.way(), Some(Way::Table(_))) => View::Bodies,
            _ => View::Stored,
        }
    }

    fn fetch_blocks(&self, view: View, scale: Scale, blocks: BlockBox) -> Result<Vec<Block>, Error> {
        match (view, &self.gate) {
            (View::Bodies, Some(gate)) => self.bodies(gate, scale, blocks),
            _ => self.blocks(Labels::Supervoxels, scale, blocks),
        }
    }

    fn keeps(&self) -> Option<(&kept::Identity, &dyn KeepBlocks)> {
        let is_kept = self.freshness() == Freshness::Forever && matches!(self.is_trusted(), Ok(true));
        self.kept_as.as_ref().filter(|_| is_kept).map(|identity| (identity, self as &dyn KeepBlocks))
    }

    fn is_ready(&self, view: View) -> bool {
        match (view, &self.gate) {
            (View::Bodies, Some(gate)) => gate.way().is_some(),
            _ => true,
        }
    }

    fn prepare(&self, view: View) -> Result<(), Error> {
        match (view, &self.gate) {
            (View::Bodies, Some(gate)) => gate.open(|map| self.samples_agree(map)),
            _ => Ok(()),
        }
    }

    fn decode(&self, view: View, block: &Block) -> Result<Arc<Volume>, Error> {
        let voxels = match block {
            Block::Dense(volume) => return Ok(Arc::clone(volume)),
            Block::Absent => vec![0; block_bytes(&self.voxels)],
            Block::Labels(labels) => match (view, &self.gate) {
                (View::Bodies, Some(gate)) => match gate.way() {
                    Some(Way::Table(table)) => labels.decode_mapped(&table.bodies_of(labels.labels())),
                    // Mapped when they were fetched, and confirmed then.
                    Some(Way::LookUp(_) | Way::Server(_)) => labels.decode(),
                    None => return Err(gate.closed()),
                },
                _ => labels.decode(),
            },
        };
        let VoxelInfo { dtype, channels, block_shape, .. } = self.voxels;
        let volume = Volume::with_channels(dtype, channels, block_shape, voxels);
        volume.map(Arc::new).map_err(|error| Error::new(ErrorKind::Malformed, &self.path).with_source(error))
    }
}

/// The info of an instance, anew.
pub(super) fn info_at(server: &Server, path: &str, name: &str) -> Result<InstanceInfo, Error> {
    let request = format!("{path}/info");
    let json = server.get(&request, INFO_LIMIT)?;
    InstanceInfo::parse(name, json).map_err(|error| Error::of_payload(error, request))
}

fn label_block(block: &Block) -> Option<&LabelBlock> {
    match block {
        Block::Labels(labels) => Some(labels),
        Block::Absent | Block::Dense(_) => None,
    }
}

/// Whether the payload of an answer could not be read in the form that it was taken for.
fn is_of_a_form(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref());
    source.is_some_and(PayloadError::is_of_a_form)
}

/// Eight blocks, of which this is the last.
fn around(block: BlockIndex) -> VoxelBox {
    let end = block.0 + Coordinate::ONE;
    VoxelBox::from_shape(end - Coordinate::splat(2), Coordinate::splat(2)).unwrap_or(VoxelBox::EMPTY)
}

/// What one block of these voxels is like.
fn form(voxels: &VoxelInfo) -> BlockForm {
    let &VoxelInfo { dtype, channels, block_shape, .. } = voxels;
    BlockForm { dtype, channels, block_shape, blocks_per_request: 1 }
}

/// Bytes of a decoded block; its shape was checked with the metadata.
fn block_bytes(voxels: &VoxelInfo) -> usize {
    form(voxels).block_bytes()
}

#[cfg(test)]
mod tests;
