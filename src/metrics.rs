//! What this program counts, and how it prints. Passed as `Arc<Metrics>`, never a global.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

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
    IdentityChanges "identity_changes" "Instances of which the server was found to hold other data under the same name.",
}

/// What nobody may miss, however long ago it was: what [`Metrics::happened`] counts.
const EVENTS: [Counter; 3] = [Counter::FailedReads, Counter::Panics, Counter::IdentityChanges];

/// A clock by which nothing is ever earlier than it was, though the wall clock may be set back.
#[derive(Debug)]
pub struct Clock {
    began: Instant,
    /// Time since 1970 when it began.
    began_at: Duration,
    /// What it said last, in milliseconds since 1970.
    last: AtomicU64,
}

impl Default for Clock {
    fn default() -> Self {
        Self { began: Instant::now(), began_at: wall_clock(), last: AtomicU64::new(0) }
    }
}

impl Clock {
    /// Milliseconds since 1970: the later of the wall clock and of the time that has gone by, and never less than
    /// before.
    pub fn now_ms(&self) -> u64 {
        self.not_before(wall_clock(), self.began.elapsed())
    }

    /// The same in seconds.
    pub fn now_seconds(&self) -> f64 {
        self.now_ms() as f64 / 1000.0
    }

    fn not_before(&self, wall: Duration, elapsed: Duration) -> u64 {
        let now = u64::try_from(wall.max(self.began_at + elapsed).as_millis()).unwrap_or(u64::MAX).max(1);
        self.last.fetch_max(now, Ordering::Relaxed).max(now)
    }
}

fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The counters of one mount.
#[derive(Debug)]
pub struct Metrics {
    values: Vec<AtomicU64>,
    clock: Clock,
    /// When each of [`EVENTS`] happened first and last, in milliseconds since 1970; 0: never.
    times: [(AtomicU64, AtomicU64); EVENTS.len()],
}

impl Default for Metrics {
    fn default() -> Self {
        let values = COUNTERS.iter().map(|_| AtomicU64::new(0)).collect();
        Self { values, clock: Clock::default(), times: Default::default() }
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

    /// The clock of all that happens.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Adds one to a counter of events, and remembers when.
    pub fn happened(&self, counter: Counter) {
        if let Some(at) = EVENTS.iter().position(|&event| event == counter) {
            let now = self.clock.now_ms();
            let (first, last) = &self.times[at];
            // Whoever comes second finds it set.
            let _ = first.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
            last.fetch_max(now, Ordering::Relaxed);
        }
        // After its time: who sees the count must also see when.
        self.values[counter as usize].fetch_add(1, Ordering::Release);
    }

    /// Each kind of event: how many there were, and when the first and the last (seconds since 1970; null: never).
    #[must_use]
    pub fn events_to_json(&self) -> Map<String, Value> {
        let seconds = |time: &AtomicU64| match time.load(Ordering::Relaxed) {
            0 => Value::Null,
            #[allow(clippy::cast_precision_loss)] // milliseconds of this age are exact in an f64
            millis => (millis as f64 / 1000.0).into(),
        };
        let event = |(&counter, (first, last)): (&Counter, &(AtomicU64, AtomicU64))| {
            let n = self.values[counter as usize].load(Ordering::Acquire);
            let name = COUNTERS[counter as usize].1;
            (name.to_owned(), json!({"n": n, "first": seconds(first), "last": seconds(last)}))
        };
        EVENTS.iter().zip(&self.times).map(event).collect()
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
    fn events_tell_when_they_were() {
        let metrics = Metrics::default();
        assert_eq!(metrics.events_to_json()["panics"], json!({"n": 0, "first": null, "last": null}));
        metrics.happened(Counter::Panics);
        let first = metrics.events_to_json()["panics"].clone();
        std::thread::sleep(std::time::Duration::from_millis(20));
        metrics.happened(Counter::Panics);
        let event = metrics.events_to_json()["panics"].clone();
        assert_eq!((event["n"].as_u64(), metrics.get(Counter::Panics)), (Some(2), 2));
        assert_eq!(event["first"], first["first"]);
        assert!(event["last"].as_f64() > event["first"].as_f64() && event["first"].as_f64() > Some(1.5e9), "{event}");
        assert_eq!(metrics.events_to_json()["failed_reads"]["n"], 0);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nothing_earlier() {
        let clock = Clock { began: Instant::now(), began_at: Duration::from_secs(1000), last: AtomicU64::new(0) };
        //   wall  elapsed  told
        for (wall, elapsed, told) in [
            (1005, 5, 1005),
            (980, 10, 1010),  // set back by 30 s
            (2000, 20, 2000), // set forward
            (1030, 30, 2000), // and back again
            (2001, 40, 2001),
        ] {
            let now = clock.not_before(Duration::from_secs(wall), Duration::from_secs(elapsed));
            assert_eq!(now, told * 1000, "{wall} {elapsed}");
        }
    }

    #[test]
    fn every_counter_has_its_own_place() {
        let metrics = Metrics::default();
        for (index, &(counter, name)) in COUNTERS.iter().enumerate() {
            assert_eq!(counter as usize, index, "{name}");
            metrics.add(counter, index as u64 + 1);
        }
        assert_eq!(metrics.to_json()[COUNTERS[COUNTERS.len() - 1].1], COUNTERS.len());
        assert!(metrics.to_prometheus().contains("dvidfs_cache_hit_blocks 1\n"));
    }
}
