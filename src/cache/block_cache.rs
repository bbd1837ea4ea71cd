//! The face of the cache.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::dvid::{FetchBlocks, Freshness};
use crate::geometry::{BlockBox, BlockIndex, Coordinate, Scale};
use crate::metrics::Metrics;

use super::config::{CacheConfig, CacheStatus};
use super::disk::{Disk, DiskStatus};
use super::engine::{Engine, abandoned};
use super::key::{BlockRequest, Blocks, FetchError, SourceId, Then};
use super::sync::thread::{self, JoinHandle};
use super::sync::{Instant, Mutex, has_ended, mpsc};
use super::{disk_queue, disk_work, pool, reads, threads, ticker, unconfirmed};

/// How long the end of a cache waits for a fetch that hangs.
const LONGEST_END: Duration = Duration::from_secs(1);

/// Blocks of any number of sources, in memory or on their way.
///
/// Its threads end with [`shut_down`](Self::shut_down) or with the last `Arc`.
#[derive(Debug)]
pub struct BlockCache {
    pub(super) engine: Arc<Engine>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl BlockCache {
    /// A cache and its threads.
    ///
    /// # Panics
    /// If the system gives not even two threads.
    #[must_use]
    pub fn new(config: CacheConfig, metrics: Arc<Metrics>) -> Arc<Self> {
        Self::try_new(config, None, metrics).expect("the system gives two threads")
    }

    /// A cache and its threads: as many as there are connections, or as many as the system gives; with a disk behind the
    /// memory, if there is one: what never changes is kept there.
    ///
    /// # Errors
    /// If the system gives not even two threads.
    pub fn try_new(config: CacheConfig, disk: Option<Disk>, metrics: Arc<Metrics>) -> io::Result<Arc<Self>> {
        let engine = Arc::new(Engine::new(config, disk, metrics));
        let watcher = Arc::clone(&engine);
        let cache = Arc::new(Self { engine, threads: Mutex::default() });
        let engine = &cache.engine;
        let mut threads = vec![threads::spawn(engine, "ticker", move || ticker::watch(&watcher))?];
        let mut refused = None;
        for number in 0..engine.most_connections() {
            let worker = Arc::clone(engine);
            match threads::spawn(engine, &format!("fetch-{number}"), move || pool::work(&worker)) {
                Ok(thread) => threads.push(thread),
                Err(error) => refused = Some(error),
            }
        }
        let n_fetching = threads.len() - 1;
        threads.extend(disk_threads(engine));
        *cache.threads.lock().unwrap_or_else(PoisonError::into_inner) = threads;
        match refused {
            Some(error) if n_fetching == 0 => return Err(error),
            Some(error) => {
                tracing::warn!(code = "thread_limit", cause = %error, n_fetching, "fewer fetch threads than asked for");
            }
            None => {}
        }
        Ok(cache)
    }

    /// Makes a source of blocks known.
    pub fn add_source(&self, source: Arc<dyn FetchBlocks>) -> SourceId {
        self.engine.add_source(source)
    }

    /// How long what a source gives now stays right; no time at all if the cache does not know it.
    #[must_use]
    pub fn freshness(&self, source: SourceId) -> Freshness {
        self.engine.source(source).map_or(Freshness::For(Duration::ZERO), |source| source.fetch.freshness())
    }

    /// Says which blocks of a source can hold data at a scale, so that nothing is fetched ahead beyond them.
    pub fn set_bounds(&self, source: SourceId, scale: Scale, bounds: BlockBox) {
        let mut known = self.engine.bounds.write().unwrap_or_else(PoisonError::into_inner);
        known.insert((source, scale), bounds);
    }

    /// Gets blocks and hands them to `then`. Never waits: if a block is not in memory, the read is parked.
    ///
    /// What is in memory in its stored form alone is decoded on the spot. `then` may ask for further blocks, but must
    /// not wait for them.
    pub fn get_many(&self, request: BlockRequest, then: Then) {
        reads::begin(&self.engine, request, then);
    }

    /// Gets blocks, waiting for those that are not in memory. Not to be called from a [`Then`].
    ///
    /// # Errors
    /// If a block could not be had before patience ended, or can never be had.
    pub fn get_many_blocking(&self, request: BlockRequest) -> Result<Blocks, FetchError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let scale = request.scale;
        let block = request.blocks.first().copied().unwrap_or(BlockIndex(Coordinate::ZERO));
        let since = Instant::now();
        // A reader that is gone needs no answer.
        self.get_many(request, Box::new(move |blocks| drop(sender.send(blocks))));
        receiver.recv().unwrap_or_else(|_| {
            let source = abandoned("the read was dropped");
            Err(FetchError { source, scale, block, attempts: 0, waited: since.elapsed(), gave_up: false })
        })
    }

    /// Blocks of so many bytes can be read at once and leave room for others: an eighth of the memory.
    #[must_use]
    pub fn part_bytes(&self) -> usize {
        self.engine.config.memory_bytes / 8
    }

    /// Refuses new reads, fails those that are parked, and ends all threads.
    ///
    /// Takes about a second at most: a fetch that hangs is left to end by itself.
    pub fn shut_down(&self) {
        let engine = &self.engine;
        let mut state = engine.lock();
        state.is_stopping = true;
        let parked = state.flights.take_all();
        drop(state);
        for condvar in [&engine.work, &engine.disk_work, &engine.confirm, &engine.watch, &engine.quiet] {
            condvar.notify_all();
        }
        let now = Instant::now();
        for read in parked {
            let slot = read.missing().next().unwrap_or_default();
            let error = read.error(slot, abandoned("the cache is shutting down"), 0, now);
            engine.answer_error(read, error);
        }
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let own = thread::current().id();
        let n_own = usize::from(threads.iter().any(|thread| thread.thread().id() == own));
        let have_ended = threads::wait_for_end(engine, n_own, LONGEST_END);
        if !have_ended {
            tracing::warn!(code = "fetch_left_behind", "a fetch did not end in time");
        }
        for thread in threads {
            if thread.thread().id() != own && (have_ended || has_ended(&thread)) {
                // Its panic, if any, was counted where it happened.
                drop(thread.join());
            }
        }
    }

    /// Waits until no read is parked, so long at most; whether it came to that.
    pub fn drain(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut state = self.engine.lock();
        while state.flights.n_reads() > 0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = Engine::wait(&self.engine.quiet, state, Some(left));
        }
        true
    }

    /// What the cache is doing now.
    #[must_use]
    pub fn status(&self) -> CacheStatus {
        let state = self.engine.lock();
        CacheStatus {
            parked_reads: state.flights.n_reads(),
            in_flight: state.running.len(),
            preparing: state.flights.n_preparations(),
            queued: state.flights.queue.len(),
            held_bytes: self.engine.memory.held_bytes(),
            is_server_away: state.breaker.next_probe().is_some(),
        }
    }

    /// What the disk behind it is doing, if there is one.
    #[must_use]
    pub fn disk_status(&self) -> Option<DiskStatus> {
        disk_queue::status(&self.engine, &self.engine.lock())
    }
}

/// Threads for the disk. Without any, blocks would wait for them until they are late.
fn disk_threads(engine: &Arc<Engine>) -> Vec<JoinHandle<()>> {
    if engine.disk.is_none() {
        return Vec::new();
    }
    let thread = |number| {
        let worker = Arc::clone(engine);
        let work = move || worker.disk.iter().for_each(|disk| disk_work::work(&worker, disk));
        threads::spawn(engine, &format!("disk-{number}"), work).ok()
    };
    let mut threads: Vec<_> = (0..disk_work::N_THREADS).filter_map(thread).collect();
    let asker = Arc::clone(engine);
    // Without it nothing new is kept.
    threads.extend(threads::spawn(engine, "confirm", move || unconfirmed::work(&asker)));
    threads
}

impl Drop for BlockCache {
    fn drop(&mut self) {
        self.shut_down();
    }
}
