//! DVID's HTTP API in, our types out. The only room that knows xyz, inclusive ends and DVID's JSON.

mod error;
mod fetch_blocks;
mod retry;

mod payload_error;

mod block_stream;
mod buffer;
mod gzip;
mod jpeg;
mod label_block;
mod payload;

mod info;
mod json;
mod repo_info;
mod server_time;
mod units;

mod address;
mod addresses;
mod answer;
mod endpoint;
mod http;
mod http_config;
mod pace;
mod server_info;
mod tls;
mod token;

mod gate;
mod head;
mod identity;
mod instance;
mod kept;
mod kept_mapping;
mod mapping;
mod request;
mod settled;

mod node;
mod open_error;
mod resolve;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
#[cfg(test)]
mod scripted_server;
#[cfg(test)]
mod test_support;

pub use address::{Address, AddressError};
pub use error::{Detail, Error, ErrorKind};
pub use fetch_blocks::{Block, BlockForm, FetchBlocks, Freshness, View};
pub use head::Head;
pub use http::Server;
pub use http_config::HttpConfig;
pub use info::{InstanceInfo, InstanceKind, NoVoxels, VoxelInfo};
pub use instance::Instance;
pub use kept::{Identity, KeepBlocks, Received};
pub use kept_mapping::KeptMapping;
pub use label_block::LabelBlock;
pub use node::{KeptNode, Node, NodeOptions, fetch_info};
pub use open_error::{OpenError, TokenText};
pub use pace::SlowRate;
pub use payload::StoredForm;
pub use payload_error::PayloadError;
pub use repo_info::{InstanceEntry, NodeInfo, RepoInfo};
pub use retry::{Attempts, Decision, decide, jitter};
pub use server_info::{ServerInfo, ServerStart};
pub use server_time::{time_of_unix_seconds, unix_seconds};
pub use tls::certificates;
pub use token::TokenError;
