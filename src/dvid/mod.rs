//! DVID's HTTP API in, our types out. The only room that knows xyz, inclusive ends and DVID's JSON.

mod error;
mod fetch_blocks;
mod retry;

mod payload_error;

#[allow(dead_code)] // until the network half reads with it
mod block_stream;
#[allow(dead_code)] // until the network half reads with it
mod gzip;
#[allow(dead_code)] // until the network half reads with it
mod jpeg;
mod label_block;
#[allow(dead_code)] // until the network half reads with it
mod payload;

mod info;
mod json;
mod repo_info;
mod units;

pub use error::{Detail, Error, ErrorKind};
pub use fetch_blocks::{Block, BlockForm, FetchBlocks, Freshness, View};
pub use info::{InstanceInfo, InstanceKind, NoVoxels, VoxelInfo};
pub use label_block::LabelBlock;
pub use payload::StoredForm;
pub use payload_error::PayloadError;
pub use repo_info::{InstanceEntry, NodeInfo, RepoInfo};
pub use retry::{Decision, decide};
