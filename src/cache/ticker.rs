//! What only time brings about: patience that ends, and fetches that have become slow.

use std::sync::Arc;
use std::time::Duration;

use super::disk_queue;
use super::engine::{Engine, State};
use super::sync::Instant;

/// How often deadlines are looked at: four times within the 0.2 s that a read may be late.
const TICK: Duration = Duration::from_millis(50);

/// The life of the ticker thread.
pub(super) fn watch(engine: &Arc<Engine>) {
    let tick = TICK.min(engine.config.slow_fetch / 4).max(Duration::from_millis(1));
    loop {
        // Who was given blocks may keep them for a while after the read is answered.
        let fits = engine.memory.trim();
        let mut state = engine.lock();
        if state.is_stopping {
            return;
        }
        let now = Instant::now();
        let n_slow = note_slow(&mut state, now, engine.config.slow_fetch);
        if n_slow > 0 {
            engine.work.notify_all();
            drop(state);
            tracing::info!(code = "slow_server", requests = n_slow, "requests take long: others get more connections");
            continue;
        }
        if disk_queue::take_back_late(engine, &mut state, now) {
            engine.work.notify_all();
        }
        let failed = state.flights.expire(now);
        let is_quiet = state.flights.n_reads() == 0;
        if is_quiet {
            engine.quiet.notify_all();
        }
        if failed.is_empty() {
            let is_idle = fits && is_quiet && state.running.is_empty() && state.disk.is_idle();
            state.is_unwatched = is_idle;
            drop(Engine::wait(&engine.watch, state, (!is_idle).then_some(tick)));
        } else {
            drop(state);
            engine.answer_failed(failed);
        }
    }
}

/// Marks fetches that have become slow: each earns one more connection, and reads that wait for it hold nothing
/// else meanwhile. How many there were.
fn note_slow(state: &mut State, now: Instant, slow_fetch: Duration) -> usize {
    let mut n_slow = 0;
    for running in state.running.values_mut() {
        if !running.is_slow && now.saturating_duration_since(running.started) >= slow_fetch {
            running.is_slow = true;
            n_slow += 1;
            running.keys.iter().for_each(|key| state.flights.let_go_of_blocks(key));
        }
    }
    n_slow
}
