//! A block has come, from wherever: memory has it first, then all who wait for it.

use std::sync::Arc;

use crate::dvid::{Block, View};
use crate::metrics::Counter;
use crate::voxels::Volume;

use super::engine::Engine;
use super::key::BlockKey;
use super::read::Source;
use super::reads;
use super::sync::Instant;

/// Hands a block to memory, and then to those who wait for it.
pub(super) fn land(engine: &Arc<Engine>, source: &Source, key: BlockKey, block: &Block, expires: Option<Instant>) {
    engine.memory.put_stored(key, block.clone(), expires);
    let views = engine.lock().flights.awaited_views(&key);
    let decoded = |view| Some((view, volume(engine, source, (key, view), block, expires)?));
    let volumes: Vec<_> = views.into_iter().filter_map(decoded).collect();
    let in_view = |view| volumes.iter().find(|(decoded, _)| *decoded == view).map(|(_, volume)| volume.clone());
    let (finished, nobody_waited) = engine.lock().flights.land(&key, expires, in_view);
    drop(volumes);
    engine.metrics.add(Counter::CachePrefetchedBlocks, u64::from(nobody_waited));
    for read in finished {
        reads::advance(engine, read);
    }
    note_quiet(engine);
}

/// Tells those who wait for the end of all reads, if it has come.
pub(super) fn note_quiet(engine: &Engine) {
    if engine.lock().flights.n_reads() == 0 {
        engine.quiet.notify_all();
    }
}

/// The voxels of a block in a view, or `None` if they cannot be had now: the read will find out why.
fn volume(
    engine: &Engine,
    source: &Source,
    (key, view): (BlockKey, View),
    block: &Block,
    expires: Option<Instant>,
) -> Option<Option<Arc<Volume>>> {
    if let Some(volume) = reads::as_it_is(block, view, key.view) {
        return Some(volume);
    }
    if !source.fetch.is_ready(view) {
        return None;
    }
    reads::decoded(engine, source, BlockKey { view, ..key }, block, expires).ok().map(Some)
}
