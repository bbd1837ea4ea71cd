//! Blocks in memory, one fetch for each, parked reads, fetching ahead.
//!
//! A read that finds all its blocks in memory is answered on the spot. Any other is *parked*: it becomes data, not
//! a waiting thread, and the thread that lands its last block answers it. The cache never interprets a voxel and
//! never turns a fault of its own into an error.

mod block_cache;
mod breaker;
mod claim;
mod config;
pub mod disk;
mod disk_jobs;
mod disk_queue;
mod disk_work;
mod engine;
mod failures;
mod flight;
mod kept_mapping;
mod kept_node;
mod key;
mod landing;
mod memory;
mod pool;
mod prefetch;
mod prepare;
mod queue;
mod read;
mod reader;
mod reads;
#[cfg(all(test, shuttle))]
mod schedules;
mod sync;
#[cfg(test)]
mod tests;
mod threads;
mod ticker;
mod unconfirmed;

pub use block_cache::BlockCache;
pub use config::{CacheConfig, CacheStatus};
pub use kept_node::FoundNode;
pub use key::{BlockRequest, Blocks, FetchError, SourceId, Then};
pub use reader::Reader;
