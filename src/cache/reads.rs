//! The walk of a read: what is in memory is taken, what is not is waited for, and then it is answered.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::dvid::{Block, Error, View};
use crate::geometry::{BlockIndex, Coordinate};
use crate::metrics::Counter;
use crate::voxels::Volume;

use super::disk_queue;
use super::engine::{Engine, abandoned};
use super::flight::First;
use super::key::{BlockKey, BlockRequest, FetchError, GridKey, Then};
use super::prefetch::Window;
use super::prepare;
use super::read::{Read, Source};
use super::reader::Reader;
use super::sync::Instant;

/// Which thread is at work: one that is not ours is only ever used for a read that finds everything in memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Thread {
    Caller,
    Own,
}

/// What parking a read came to.
enum Parked {
    Waits,
    /// Something landed meanwhile: look again.
    Again(Read),
    Failed(Read, FetchError),
}

/// Begins a read.
pub(super) fn begin(engine: &Arc<Engine>, request: BlockRequest, then: Then) {
    let now = Instant::now();
    let Some(source) = engine.source(request.source) else {
        let block = request.blocks.first().copied().unwrap_or(BlockIndex(Coordinate::ZERO));
        let source = abandoned("the cache does not know this source");
        let error =
            FetchError { source, scale: request.scale, block, attempts: 0, waited: Duration::ZERO, gave_up: false };
        return then(Err(error));
    };
    let deadline = Some(engine.config.patience).filter(|patience| !patience.is_zero()).map(|patience| now + patience);
    let stored_view = source.fetch.stored_as(request.view);
    let slots = vec![None; request.blocks.len()];
    let read = Read {
        source: source.clone(),
        request,
        stored_view,
        slots,
        since: now,
        deadline,
        reader: Reader::current(),
        then,
    };
    let (grid, next) = next_blocks(engine, &read);
    advance_on(engine, read, Thread::Caller);
    // Only now, so that what is read goes first.
    expect(engine, &source, grid, next);
}

/// Goes on with a read that waits for nothing more, on a thread of the cache.
pub(super) fn advance(engine: &Arc<Engine>, mut read: Read) {
    // A view that became ready meanwhile may be decoded from blocks that serve others, too.
    read.stored_view = read.source.fetch.stored_as(read.request.view);
    advance_on(engine, read, Thread::Own);
}

fn advance_on(engine: &Arc<Engine>, mut read: Read, thread: Thread) {
    let mut is_first_look = thread == Thread::Caller;
    loop {
        let is_ready = match gather(engine, &mut read) {
            Ok(is_ready) => is_ready,
            Err((slot, error)) => {
                let told = read.error(slot, Arc::new(error), 1, Instant::now());
                return engine.answer_error(read, told);
            }
        };
        let n_missing = read.missing().count();
        if is_first_look {
            is_first_look = false;
            engine.metrics.add(Counter::CacheHitBlocks, (read.slots.len() - n_missing) as u64);
            engine.metrics.add(Counter::CacheMissBlocks, n_missing as u64);
            engine.metrics.add(Counter::ParkedReads, u64::from(n_missing > 0));
        }
        if n_missing == 0 {
            return answer(engine, read, thread);
        }
        match park(engine, read, is_ready) {
            Parked::Waits => return,
            Parked::Again(again) => read = again,
            Parked::Failed(read, error) => return engine.answer_error(read, error),
        }
    }
}

/// Takes what is in memory, decoding where that is needed. Whether the view can be decoded now.
fn gather(engine: &Engine, read: &mut Read) -> Result<bool, (usize, Error)> {
    let source = read.source.clone();
    let is_trusted = source.fetch.is_trusted().map_err(|error| (0, error))?;
    let as_of = read.as_of(Instant::now());
    let mut is_ready = source.fetch.is_ready(read.request.view);
    if !is_trusted {
        // Its next fetch tells whether it still is what it was.
        return Ok(is_ready);
    }
    for slot in 0..read.slots.len() {
        if read.slots[slot].is_some() {
            continue;
        }
        let (key, stored_key) = (read.decoded_key(slot), read.stored_key(slot));
        if let Some(volume) = engine.memory.decoded(&key, &stored_key, as_of) {
            read.slots[slot] = Some(Some(volume));
            continue;
        }
        let Some((block, expires)) = engine.memory.stored(&stored_key, as_of) else { continue };
        if let Some(volume) = as_it_is(&block, read.request.view, read.stored_view) {
            read.slots[slot] = Some(volume);
        } else if is_ready {
            match decoded(engine, &source, key, &block, expires) {
                Ok(volume) => read.slots[slot] = Some(Some(volume)),
                // The view became unready again: back to preparing it.
                Err(_) if !source.fetch.is_ready(read.request.view) => is_ready = false,
                Err(error) => return Err((slot, error)),
            }
        }
    }
    Ok(is_ready)
}

/// The voxels of a block that needs no decoding in this view: `Some(None)` if the server stores none.
pub(super) fn as_it_is(block: &Block, view: View, stored_view: View) -> Option<Option<Arc<Volume>>> {
    match block {
        Block::Absent => Some(None),
        Block::Dense(volume) if view == stored_view => Some(Some(Arc::clone(volume))),
        Block::Dense(_) | Block::Labels(_) => None,
    }
}

/// Decodes a block and keeps its voxels.
pub(super) fn decoded(
    engine: &Engine,
    source: &Source,
    key: BlockKey,
    block: &Block,
    expires: Option<Instant>,
) -> Result<Arc<Volume>, Error> {
    let volume = engine.guarded("decode", || source.fetch.decode(key.view, block))?;
    engine.memory.put_decoded(key, Arc::clone(&volume), expires);
    Ok(volume)
}

fn park(engine: &Arc<Engine>, read: Read, is_ready: bool) -> Parked {
    let source = read.source.clone();
    // Blocks of a view that the server itself maps are not even asked for before it is ready.
    let fetches = is_ready || read.stored_view != read.request.view;
    let mut state = engine.lock();
    // Taken under the lock: a block that landed before is in memory by now.
    let now = Instant::now();
    if state.is_stopping {
        let error = read.error(0, abandoned("the cache is shutting down"), 0, now);
        return Parked::Failed(read, error);
    }
    let unprepared = (!is_ready).then(|| state.flights.unprepared.get(&(read.request.source, read.request.view), now));
    if let Some((error, attempts)) = unprepared.flatten() {
        let slot = read.missing().next().unwrap_or_default();
        let error = read.error(slot, error, attempts, now);
        return Parked::Failed(read, error);
    }
    let mut wanted = Vec::new();
    let as_of = read.as_of(now);
    let is_trusted = source.fetch.is_trusted().unwrap_or(false);
    let missing: Vec<_> = read.missing().filter(|_| fetches).collect();
    for slot in missing {
        let key = read.stored_key(slot);
        if let Some((error, attempts)) = state.flights.failures.get(&key, now) {
            let error = read.error(slot, error, attempts, now);
            return Parked::Failed(read, error);
        }
        if !is_trusted || state.flights.is_flying(&key) || !engine.memory.has_stored(&key, as_of) {
            wanted.push(slot);
        }
    }
    if wanted.is_empty() && is_ready {
        return Parked::Again(read);
    }
    let first = match wanted.is_empty() {
        true => First::Server,
        false => disk_queue::first(engine, &mut state, &source, read.stored_view, now),
    };
    let queued = state.flights.park(read, &wanted, !is_ready, first, now);
    engine.wake_ticker(&mut state);
    drop(state);
    match queued.blocks {
        0 => {}
        1 => engine.work.notify_one(),
        _ => engine.work.notify_all(),
    }
    match queued.on_disk {
        0 => {}
        1 => engine.disk_work.notify_one(),
        _ => engine.disk_work.notify_all(),
    }
    if let Some((id, view)) = queued.preparation {
        prepare::start(engine, id, view, &source.fetch);
    }
    Parked::Waits
}

fn answer(engine: &Engine, read: Read, thread: Thread) {
    let Read { then, slots, .. } = read;
    let blocks = slots.into_iter().map(Option::flatten).collect();
    match thread {
        Thread::Caller => then(Ok(blocks)),
        Thread::Own => {
            if catch_unwind(AssertUnwindSafe(|| then(Ok(blocks)))).is_err() {
                engine.metrics.happened(Counter::Panics);
            }
        }
    }
    engine.memory.trim();
}

/// Which blocks a sequential reader will ask for next, and of which grid.
fn next_blocks(engine: &Engine, read: &Read) -> (GridKey, Vec<BlockIndex>) {
    let BlockRequest { source, scale, ref blocks, .. } = read.request;
    let grid = GridKey { source, view: read.stored_view, scale };
    let is_fetched = read.stored_view != read.request.view || read.source.fetch.is_ready(read.request.view);
    if !engine.config.prefetch || !is_fetched {
        return (grid, Vec::new());
    }
    let bounds = engine.bounds.read().unwrap_or_else(PoisonError::into_inner).get(&(source, scale)).copied();
    let window = window_of(engine, &read.source);
    let mut prefetcher = engine.prefetcher.lock().unwrap_or_else(PoisonError::into_inner);
    (grid, prefetcher.observe(grid, blocks, bounds, window))
}

/// Queues blocks that will probably be read.
fn expect(engine: &Engine, source: &Source, grid: GridKey, next: Vec<BlockIndex>) {
    if next.is_empty() {
        return;
    }
    let now = Instant::now();
    let mut state = engine.lock();
    if state.is_stopping || state.breaker.next_probe().is_some() {
        return;
    }
    let mut n_queued = 0;
    let first = disk_queue::first(engine, &mut state, source, grid.view, now);
    for block in next {
        let key = grid.key(block);
        if !engine.memory.has_stored(&key, now) && state.flights.expect(key, first, now) {
            n_queued += 1;
        }
    }
    // Readers that went elsewhere leave blocks behind that nobody will read.
    let window = window_of(engine, source);
    while state.flights.queue.n_ahead() > 2 * window.most {
        state.flights.forget_expected();
    }
    drop(state);
    match first {
        _ if n_queued == 0 => {}
        First::Disk => engine.disk_work.notify_all(),
        First::Server => engine.work.notify_all(),
    }
}

/// How many blocks may be fetched ahead: enough to keep all connections busy, and a quarter of the memory at most. One
/// connection must not take all of them: where memory allows few, requests are smaller.
pub(super) fn window_of(engine: &Engine, source: &Source) -> Window {
    let n_connections = engine.config.max_connections.max(1);
    let per_request = source.form.blocks_per_request.max(1);
    let most = (2 * n_connections * per_request).min(engine.config.memory_bytes / 4 / source.block_bytes());
    Window { most, portion: (most / n_connections).clamp(1, per_request) }
}
