//! The cache over a scripted source, in as many schedules of its threads as are asked for: `scripts/schedules`.
//!
//! Each property is a small program that is run again and again; which thread goes on at each of its steps is drawn by
//! lot. Threads that wait for each other end a schedule as a deadlock; time that runs out, as somebody who was forgotten.

mod failing;
mod sharing;
mod source;

use std::any::Any;
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shuttle::scheduler::RandomScheduler;
use shuttle::{Config, MaxSteps, Runner};

use crate::cache::{BlockCache, BlockRequest, CacheConfig, FetchError, SourceId};
use crate::dvid::{FetchBlocks, View};
use crate::geometry::{BlockIndex, Coordinate, Scale};
use crate::metrics::Metrics;

use super::sync::{Clock, thread};
use super::threads;
use source::{Scripted, voxel_of};

/// Schedules of a property, unless `DVIDFS_SCHEDULES` says how many.
const SHORT: usize = 200;
/// Nobody waits so long for anything that happens here, in the time of a schedule.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// A schedule has at most some thousands of steps.
const MOST_STEPS: usize = 200_000;
/// Threads format errors: shuttle's own 32 KiB are too few.
const STACK_BYTES: usize = 256 << 10;

/// Runs a property in many schedules. Each test of another run draws others: the seed is told.
fn check(name: &str, property: impl Fn() + Send + Sync + 'static) {
    let number = |variable: &str| env::var(variable).ok().and_then(|text| text.parse().ok());
    let wanted = number("DVIDFS_SCHEDULES").unwrap_or(SHORT as u64);
    let now = || std::time::UNIX_EPOCH.elapsed().map_or(0, |since| u64::from(since.subsec_nanos()));
    let seed = number("DVIDFS_SCHEDULES_SEED").unwrap_or_else(now);
    println!("{name}: DVIDFS_SCHEDULES_SEED={seed}");
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.silence_warnings = true;
    config.max_steps = MaxSteps::FailAfter(MOST_STEPS);
    let scheduler = RandomScheduler::new_from_seed(seed, usize::try_from(wanted).expect("a number of schedules"));
    let n_run = Runner::new(scheduler, config).run(move || {
        let clock = Clock::start(FORGOTTEN);
        property();
        Clock::end();
        clock.join().expect("time ends");
    });
    println!("schedules of {name}: {n_run} / {wanted}");
    assert_eq!(n_run as u64, wanted);
}

/// A cache over one source.
struct Setup {
    cache: Arc<BlockCache>,
    source: Arc<Scripted>,
    id: SourceId,
}

/// What a read was given, each block as the number in its voxels.
type Answer = Result<Vec<Option<u8>>, FetchError>;

fn config() -> CacheConfig {
    CacheConfig {
        memory_bytes: 64 << 10,
        max_connections: 2,
        most_connections: 2,
        // For ever: who is forgotten is never told that patience ended.
        patience: Duration::ZERO,
        slow_fetch: Duration::from_secs(3600),
        failure_memory: Duration::from_millis(100),
        prefetch: false,
    }
}

impl Setup {
    fn new(config: CacheConfig, source: Scripted) -> Self {
        let cache = BlockCache::new(config, Arc::new(Metrics::default()));
        let source = Arc::new(source);
        let id = cache.add_source(Arc::<Scripted>::clone(&source) as Arc<dyn FetchBlocks>);
        Self { cache, source, id }
    }

    fn request(&self, view: View, blocks: &[i64]) -> BlockRequest {
        let blocks = blocks.iter().map(|&x| block(x)).collect();
        BlockRequest { source: self.id, view, scale: Scale(0), blocks }
    }

    fn get(&self, blocks: &[i64]) -> Answer {
        self.get_in(View::Stored, blocks)
    }

    fn get_in(&self, view: View, blocks: &[i64]) -> Answer {
        let answer = self.cache.get_many_blocking(self.request(view, blocks));
        answer.map(|blocks| blocks.into_iter().map(|volume| volume.map(|volume| voxel_of(&volume))).collect())
    }

    /// A thread that reads.
    fn reader(self: &Arc<Self>, blocks: &'static [i64]) -> thread::JoinHandle<Answer> {
        let setup = Arc::clone(self);
        thread::spawn(move || setup.get(blocks))
    }

    /// Ends the cache: all is given back, and nothing was seen that must not be.
    fn finish(&self) {
        self.cache.shut_down();
        // Time may pass faster than its threads end.
        while !threads::wait_for_end(&self.cache.engine, 0, Duration::from_secs(1)) {}
        assert_eq!(self.source.wrong(), None);
        assert_eq!(self.cache.status().parked_reads, 0);
        assert_eq!(self.cache.engine.memory.reserved_bytes(), 0);
    }

    /// Begins a read that counts its answers.
    fn begin(&self, view: View, blocks: &[i64], answers: &Arc<AtomicUsize>) {
        let answers = Arc::clone(answers);
        let then = Box::new(move |_| {
            answers.fetch_add(1, Ordering::Relaxed);
        });
        self.cache.get_many(self.request(view, blocks), then);
    }
}

fn block(x: i64) -> BlockIndex {
    BlockIndex(Coordinate::new(0, 0, x))
}

/// What a thread came to; its panic is the panic of whoever waits for it.
fn joined<T>(thread: thread::JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic: Box<dyn Any + Send>| std::panic::resume_unwind(panic))
}
