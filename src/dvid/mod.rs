//! DVID's HTTP API in, our types out. The only room that knows xyz, inclusive ends and DVID's JSON.

mod error;
mod fetch_blocks;
mod label_block;
mod retry;

pub use error::{Detail, Error, ErrorKind};
pub use fetch_blocks::{Block, BlockForm, FetchBlocks, Freshness, View};
pub use label_block::LabelBlock;
pub use retry::{Decision, decide};
