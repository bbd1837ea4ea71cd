//! How large, how parallel and how patient a cache is, and what it is doing.

use std::time::Duration;

/// How large, how parallel and how patient a cache is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Memory for blocks, those being fetched included.
    pub memory_bytes: usize,
    /// Requests to the server at once.
    pub max_connections: usize,
    /// Requests at once while some are slow; less than `max_connections` means as many as that.
    pub most_connections: usize,
    /// A fetch older than this earns one extra connection, so that hung ones do not starve the others.
    pub slow_fetch: Duration,
    /// How long a read waits before it is given an error. Zero: for ever.
    pub patience: Duration,
    /// How long a final failure is remembered before its block is asked for again.
    pub failure_memory: Duration,
    /// Whether blocks are fetched ahead of a sequential reader.
    pub prefetch: bool,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            memory_bytes: 512 << 20,
            max_connections: 4,
            most_connections: 8,
            slow_fetch: Duration::from_secs(2),
            patience: Duration::from_secs(15 * 60),
            failure_memory: Duration::from_secs(1),
            prefetch: true,
        }
    }
}

/// What a cache is doing at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStatus {
    /// Reads that wait for a block.
    pub parked_reads: usize,
    /// Requests that the server has not yet answered.
    pub in_flight: usize,
    /// Views of instances that are being made ready.
    pub preparing: usize,
    /// Blocks that wait to be asked for, retries included.
    pub queued: usize,
    /// Bytes of blocks in memory.
    pub held_bytes: usize,
    /// The server did not answer when it was last asked.
    pub is_server_away: bool,
}
