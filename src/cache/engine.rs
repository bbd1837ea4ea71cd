//! What the threads of a cache share, and the locks round it.
//!
//! Lock order: `state` before the one inside `memory`; the others stand alone. No lock is held while a source is
//! asked for anything that may take time, nor while a read is answered.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::dvid::{Error, ErrorKind, FetchBlocks};
use crate::geometry::{BlockBox, Scale};
use crate::metrics::{Counter, Metrics};

use super::breaker::Breaker;
use super::config::CacheConfig;
use super::disk::Disk;
use super::disk_queue::DiskQueue;
use super::flight::Flights;
use super::key::{BlockKey, FetchError, SourceId};
use super::memory::Memory;
use super::prefetch::Prefetcher;
use super::read::{Failed, Read, Source};
use super::sync::{Condvar, Instant, Mutex, MutexGuard, RwLock};

/// What the threads of a cache share.
pub(super) struct Engine {
    pub(super) config: CacheConfig,
    pub(super) metrics: Arc<Metrics>,
    pub(super) memory: Memory,
    /// What is behind the memory, if anything.
    pub(super) disk: Option<Disk>,
    sources: RwLock<Vec<Source>>,
    /// Guards flights, parked reads, the queue and what runs. No I/O and no callback happens under it.
    state: Mutex<State>,
    /// Guards what was seen of access patterns: arithmetic only.
    pub(super) prefetcher: Mutex<Prefetcher>,
    pub(super) bounds: RwLock<HashMap<(SourceId, Scale), BlockBox>>,
    /// There may be something to fetch.
    pub(super) work: Condvar,
    /// There may be something to do for the disk.
    pub(super) disk_work: Condvar,
    /// There may be something to ask a server about before it is written.
    pub(super) confirm: Condvar,
    /// There may be something to watch: a deadline, a slow fetch, a retry of a preparation, the end.
    pub(super) watch: Condvar,
    /// Nothing is parked any more, or a thread has ended.
    pub(super) quiet: Condvar,
}

/// A request that the server has not answered.
pub(super) struct Running {
    pub(super) keys: Vec<BlockKey>,
    pub(super) started: Instant,
    pub(super) is_slow: bool,
}

/// What [`Engine::state`] guards.
pub(super) struct State {
    pub(super) flights: Flights,
    pub(super) running: HashMap<u64, Running>,
    pub(super) n_started: u64,
    pub(super) breaker: Breaker,
    pub(super) disk: DiskQueue,
    pub(super) is_stopping: bool,
    pub(super) n_threads: usize,
    /// The ticker sleeps until it is woken, because there is nothing to watch.
    pub(super) is_unwatched: bool,
}

impl Engine {
    pub(super) fn new(config: CacheConfig, disk: Option<Disk>, metrics: Arc<Metrics>) -> Self {
        let state = State {
            flights: Flights::default(),
            running: HashMap::new(),
            n_started: 0,
            breaker: Breaker::default(),
            disk: DiskQueue::new(disk.as_ref(), config.memory_bytes),
            is_stopping: false,
            n_threads: 0,
            is_unwatched: false,
        };
        Self {
            memory: Memory::new(config.memory_bytes, Arc::clone(&metrics)),
            disk,
            config,
            metrics,
            sources: RwLock::default(),
            state: Mutex::new(state),
            prefetcher: Mutex::default(),
            bounds: RwLock::default(),
            work: Condvar::new(),
            disk_work: Condvar::new(),
            confirm: Condvar::new(),
            watch: Condvar::new(),
            quiet: Condvar::new(),
        }
    }

    /// Most requests that ever run at once.
    pub(super) fn most_connections(&self) -> usize {
        self.config.max_connections.max(self.config.most_connections).max(1)
    }

    pub(super) fn add_source(&self, fetch: Arc<dyn FetchBlocks>) -> SourceId {
        let source = Source { form: fetch.form(), fetch };
        let mut sources = self.sources.write().unwrap_or_else(PoisonError::into_inner);
        sources.push(source);
        SourceId(u32::try_from(sources.len() - 1).expect("fewer than 2^32 sources"))
    }

    pub(super) fn source(&self, id: SourceId) -> Option<Source> {
        let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        sources.get(usize::try_from(id.0).ok()?).cloned()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Under this lock only our own tables are changed; after a panic there, carrying on beats stopping every reader.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the ticker, if it sleeps: there is something to watch.
    pub(super) fn wake_ticker(&self, state: &mut State) {
        if std::mem::take(&mut state.is_unwatched) {
            self.watch.notify_all();
        }
    }

    /// Waits for something to happen, so long at most.
    pub(super) fn wait<'a>(
        condvar: &Condvar,
        state: MutexGuard<'a, State>,
        limit: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        match limit {
            None => condvar.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(limit) => condvar.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0,
        }
    }

    /// Runs a piece of work that is not ours: a panic in it is counted and becomes an error.
    pub(super) fn guarded<T>(&self, what: &str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            self.metrics.happened(Counter::Panics);
            tracing::error!(code = "panic", op = what, "a panic was caught");
            Err(Error::new(ErrorKind::Abandoned, what))
        })
    }

    /// Answers reads that were given up. Not under a lock.
    pub(super) fn answer_failed(&self, failed: Vec<Failed>) {
        for (read, error) in failed {
            self.answer_error(read, error);
        }
    }

    /// Answers a read with an error, unless its reader is gone: that is no failed read. Not under a lock.
    pub(super) fn answer_error(&self, read: Read, error: FetchError) {
        if read.is_left() {
            return;
        }
        let then = read.into_then();
        if catch_unwind(AssertUnwindSafe(|| then(Err(error)))).is_err() {
            self.metrics.happened(Counter::Panics);
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The error of what ended without an answer of its own.
pub(super) fn abandoned(why: &str) -> Arc<Error> {
    Arc::new(Error::new(ErrorKind::Abandoned, "blocks").with_detail(why))
}
