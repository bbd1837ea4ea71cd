//! What this program counts, and how it prints. Passed as `Arc<Metrics>`, never a global.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};

macro_rules! counters {
    ($($variant:ident $name:literal $doc:literal,)*) => {
        /// Everything that is counted. The last word of a name is its unit.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter { $(#[doc = $doc] $variant,)* }

        /// Every counter with its name in `stats.json`.
        const COUNTERS: &[(Counter, &str)] = &[$((Counter::$variant, $name),)*];
    };
}

counters! {
    CacheHitBlocks "cache_hit_blocks" "Blocks that a read found in memory.",
    CacheMissBlocks "cache_miss_blocks" "Blocks that a read had to wait for.",
    CachePrefetchedBlocks "cache_prefetched_blocks" "Blocks that were fetched before a read asked for them.",
    CacheEvictedBlocks "cache_evicted_blocks" "Blocks that left the memory cache for others.",
    CacheHeldBytes "cache_held_bytes" "Bytes that the memory cache holds now.",
    DiskHitBlocks "disk_hit_blocks" "Blocks that were read from the disk cache.",
    DiskWrittenBlocks "disk_written_blocks" "Blocks that were written to the disk cache.",
    DiskDroppedBlocks "disk_dropped_blocks" "Blocks that the disk cache had no time or no room for.",
    DiskCorruptEntries "disk_corrupt_entries" "Entries of the disk cache that were damaged, and fetched anew.",
    DiskErrors "disk_errors" "Operations of the disk cache that failed or hang.",
    DiskEvictedEntries "disk_evicted_entries" "Entries that left the disk cache for others.",
    DiskHeldBytes "disk_held_bytes" "Bytes in the disk cache, those of other daemons included, as far as it is known.",
    DvidRequests "dvid_requests" "Requests sent to the server.",
    DvidFetchedBlocks "dvid_fetched_blocks" "Blocks that the server was asked for, each time that it was.",
    DvidReceivedBytes "dvid_received_bytes" "Bytes of answers received.",
    DvidFailedRequests "dvid_failed_requests" "Requests that failed, before any retry.",
    DvidRetriedRequests "dvid_retried_requests" "Requests that were tried once more.",
    MappingChecks "mapping_checks" "Complete downloads of a body mapping.",
    FuseRequests "fuse_requests" "Requests of the kernel.",
    FuseReads "fuse_reads" "Read requests of the kernel.",
    FuseReadBytes "fuse_read_bytes" "Bytes of voxels and metadata given to the kernel.",
    ParkedReads "parked_reads" "Reads that had to wait for a block.",
    KilledReads "killed_reads" "Reads that were answered EINTR because their reader was killed or had ended.",
    FailedReads "failed_reads" "Reads that were answered with an error.",
    Panics "panics" "Panics caught in a handler or in a fetch.",
}

/// The counters of one mount.
#[derive(Debug)]
pub struct Metrics {
    values: Vec<AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { values: COUNTERS.iter().map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Metrics {
    /// Adds to a counter.
    pub fn add(&self, counter: Counter, n: u64) {
        self.values[counter as usize].fetch_add(n, Ordering::Relaxed);
    }

    /// Adds one to a counter.
    pub fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Sets a counter that is a level rather than a sum.
    pub fn set(&self, counter: Counter, n: u64) {
        self.values[counter as usize].store(n, Ordering::Relaxed);
    }

    /// The value of a counter.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.values[counter as usize].load(Ordering::Relaxed)
    }

    /// All counters by name, for `stats.json`.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        COUNTERS.iter().map(|&(counter, name)| (name.to_owned(), self.get(counter).into())).collect()
    }

    /// All counters as Prometheus text, for `.dvidfs/metrics`.
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        COUNTERS.iter().map(|&(counter, name)| format!("dvidfs_{name} {}\n", self.get(counter))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_its_own_place() {
        let metrics = Metrics::default();
        for (index, &(counter, name)) in COUNTERS.iter().enumerate() {
            assert_eq!(counter as usize, index, "{name}");
            metrics.add(counter, index as u64 + 1);
        }
        assert_eq!(metrics.to_json()["panics"], COUNTERS.len());
        assert!(metrics.to_prometheus().contains("dvidfs_cache_hit_blocks 1\n"));
    }
}
