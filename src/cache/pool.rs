//! Fetch threads: which request goes to the server next, and what becomes of it.

use std::sync::Arc;
use std::time::Duration;

use crate::dvid::{Block, Error, ErrorKind, Received, View};
use crate::geometry::BlockBox;
use crate::metrics::Counter;

use super::breaker::is_away;
use super::claim::Claim;
use super::engine::{Engine, Running, State};
use super::key::BlockKey;
use super::memory::Forgotten;
use super::queue::full_box;
use super::read::Source;
use super::reads::window_of;
use super::sync::Instant;

/// Larger slabs would wait for a mutex that all requests of a DVID server share.
const MOST_VOXELS: u128 = 256 * 256 * 256;

/// One request that is about to be made.
struct Batch {
    source: Source,
    first: BlockKey,
    blocks: BlockBox,
    keys: Vec<BlockKey>,
    bytes: usize,
    number: u64,
    started: Instant,
    /// What had to make room for it.
    forgotten: Forgotten,
}

/// The life of a fetch thread.
pub(super) fn work(engine: &Arc<Engine>) {
    while let Some(batch) = next_batch(engine) {
        // A panic of ours costs its request, not the thread.
        let _ = engine.guarded("land", || {
            run(engine, batch);
            Ok(())
        });
        engine.work.notify_all();
        engine.disk_work.notify_all();
    }
}

fn next_batch(engine: &Engine) -> Option<Batch> {
    let mut state = engine.lock();
    loop {
        if state.is_stopping {
            return None;
        }
        let now = Instant::now();
        state.flights.wake_delayed(now);
        if let Some(batch) = pick(engine, &mut state, now) {
            // Fetches that become slow are watched.
            engine.wake_ticker(&mut state);
            return Some(batch);
        }
        let wake = wake_time(&state, now).map(|at| at.saturating_duration_since(now).max(Duration::from_millis(1)));
        state = Engine::wait(&engine.work, state, wake);
    }
}

/// When time alone may give a fetch thread something to do.
fn wake_time(state: &State, now: Instant) -> Option<Instant> {
    let probe = state.breaker.next_probe().filter(|&probe| probe > now && state.flights.queue.len() > 0);
    probe.or_else(|| state.flights.queue.first_delayed().map(|(until, _)| until))
}

/// Takes the next request from the queue, if one may be made now.
fn pick(engine: &Engine, state: &mut State, now: Instant) -> Option<Batch> {
    let n_slow = state.running.values().filter(|running| running.is_slow).count();
    let n_running = state.running.len();
    let allowed = (engine.config.max_connections.max(1) + n_slow).min(engine.most_connections());
    if n_running >= allowed {
        return None;
    }
    let is_idle = n_running == n_slow;
    let is_probe = match state.breaker.next_probe() {
        Some(next) if now < next || !is_idle => return None,
        next => next.is_some(),
    };
    let first = first_key(state, is_probe)?;
    let source = engine.source(first.source)?;
    let limit = if is_probe { 1 } else { most_blocks(engine, state, &first, &source, allowed - n_running) };
    let block_bytes = source.block_bytes();
    let share = (engine.config.memory_bytes / 4).saturating_sub(engine.memory.reserved_bytes());
    let affordable = share / block_bytes;
    // What nobody waits for can wait for room for a whole request.
    let least = if state.flights.queue.n_demanded() > 0 { 1 } else { limit };
    if affordable < least && !is_idle {
        return None;
    }
    let blocks = request_box(state, &first, limit.min(affordable.max(1)));
    let keys: Vec<_> = blocks.blocks().map(|block| first.grid().key(block)).collect();
    let bytes = block_bytes.saturating_mul(keys.len());
    let forgotten = match engine.memory.reserve(bytes) {
        Ok(forgotten) => forgotten,
        // Reads hold all there is. They end only if what they miss is fetched: one request at a time.
        Err(_) if is_idle => engine.memory.reserve_anyway(bytes),
        Err(_) => return None,
    };
    keys.iter().for_each(|key| state.flights.take_off(key));
    if is_probe {
        state.breaker.probe(now);
    }
    state.n_started += 1;
    let number = state.n_started;
    state.running.insert(number, Running { keys: keys.clone(), started: now, is_slow: false });
    Some(Batch { source, first, blocks, keys, bytes, number, started: now, forgotten })
}

/// The block that is to be asked for first. Blocks that nobody waits for any more leave the queue.
fn first_key(state: &mut State, is_probe: bool) -> Option<BlockKey> {
    while let Some(key) = state.flights.queue.first_demanded() {
        if state.flights.is_wanted(&key) {
            return Some(key);
        }
        state.flights.discard(&key);
    }
    if !is_probe {
        return state.flights.queue.first_ahead();
    }
    // The server is asked on behalf of whoever waits, however long its own delay has grown by now.
    let is_waiting = |key: &BlockKey| {
        let kind = state.flights.get(key).and_then(super::flight::Flight::last_kind);
        kind.is_some_and(is_away)
    };
    state.flights.queue.delayed().find(is_waiting)
}

/// How many blocks the request that begins with this one may ask for.
fn most_blocks(engine: &Engine, state: &State, first: &BlockKey, source: &Source, n_idle: usize) -> usize {
    let most = source.form.blocks_per_request.max(1);
    let by_voxels = MOST_VOXELS / source.form.block_shape.product().max(1);
    let most = most.min(usize::try_from(by_voxels).unwrap_or(usize::MAX)).max(1);
    match state.flights.get(first) {
        Some(flight) if flight.was_ahead => most.min(window_of(engine, source).portion),
        // A block costs more than a request does, so what is waited for is spread over all connections.
        Some(_) => state.flights.queue.n_demanded().div_ceil(n_idle).clamp(1, most),
        None => 1,
    }
}

fn request_box(state: &State, first: &BlockKey, limit: usize) -> BlockBox {
    let Some(flight) = state.flights.get(first).filter(|flight| !flight.is_alone) else {
        return BlockBox::one(first.block);
    };
    let grid = first.grid();
    full_box(first.block, limit, |block| state.flights.may_join(&grid.key(block), flight.was_ahead))
}

/// One request: with what is to be kept beside each block, if anything is.
fn fetch(
    engine: &Engine,
    source: &Source,
    first: &BlockKey,
    blocks: BlockBox,
) -> Result<Vec<(Block, Option<Received>)>, Error> {
    match source.fetch.keeps() {
        Some((_, kept)) if engine.disk.is_some() && first.view == View::Stored => {
            let fetched = kept.fetch_received(first.scale, blocks)?;
            Ok(fetched.into_iter().map(|(block, received)| (block, Some(received))).collect())
        }
        _ => {
            let fetched = source.fetch.fetch_blocks(first.view, first.scale, blocks)?;
            Ok(fetched.into_iter().map(|block| (block, None)).collect())
        }
    }
}

/// Makes one request and lands what it gives.
fn run(engine: &Arc<Engine>, batch: Batch) {
    let Batch { source, first, blocks, keys, bytes, number, started, forgotten } = batch;
    drop(forgotten);
    let n_blocks = keys.len();
    let mut claim = Claim::new(engine, source.clone(), keys, bytes, number, started);
    let fetched = engine.guarded("fetch", || {
        let fetched = fetch(engine, &source, &first, blocks)?;
        if fetched.len() == n_blocks {
            return Ok(fetched);
        }
        let detail = format!("{} blocks where {n_blocks} were asked for", fetched.len());
        Err(Error::new(ErrorKind::Malformed, "blocks").with_detail(detail))
    });
    // Without a server nobody was asked.
    let was_asked = !fetched.as_ref().is_err_and(|error| error.kind() == ErrorKind::Offline);
    if was_asked {
        engine.metrics.add(Counter::DvidFetchedBlocks, n_blocks as u64);
    }
    match fetched {
        Ok(fetched) => claim.land(fetched),
        Err(error) => {
            engine.metrics.add(Counter::DvidFailedRequests, u64::from(was_asked));
            claim.fail(error);
        }
    }
}
