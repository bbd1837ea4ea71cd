//! Making a view ready: one thread for each view that is waited for, none otherwise.

use std::sync::Arc;
use std::time::Duration;

use crate::dvid::{Decision, Error, ErrorKind, FetchBlocks, View, decide, jitter};

use super::breaker::is_away;
use super::claim;
use super::engine::{Engine, State};
use super::kept_mapping;
use super::key::SourceId;
use super::reads;
use super::sync::{Instant, MutexGuard};
use super::threads;

/// Starts to make a view ready. Its downloads may take minutes, so they use no thread of the pool.
pub(super) fn start(engine: &Arc<Engine>, id: SourceId, view: View, source: &Arc<dyn FetchBlocks>) {
    let (worker, source) = (Arc::clone(engine), Arc::clone(source));
    let work = move || {
        // A panic of ours costs this attempt: nobody is stranded, and the next read has the view made ready anew.
        let ended = worker.guarded("prepare", || {
            prepare(&worker, id, view, &*source);
            Ok(())
        });
        if let Err(error) = ended {
            give_up(&worker, (id, view), &Arc::new(error));
        }
    };
    let started = threads::spawn(engine, "prepare", work);
    if let Err(error) = started {
        let error = Error::new(ErrorKind::Abandoned, "mapping").with_source(error);
        give_up(engine, (id, view), &Arc::new(error));
    }
}

fn prepare(engine: &Arc<Engine>, id: SourceId, view: View, source: &dyn FetchBlocks) {
    if !source.is_ready(view) && kept_mapping::restore(engine, source) && source.is_ready(view) {
        return finish(engine, (id, view));
    }
    while wait_for_server(engine) {
        let started = Instant::now();
        let prepared = engine.guarded("prepare", || {
            if source.is_ready(view) {
                return Ok(());
            }
            source.prepare(view)?;
            if source.is_ready(view) {
                return Ok(());
            }
            Err(Error::new(ErrorKind::MappingLoading, "mapping"))
        });
        let mut state = engine.lock();
        let Err(error) = prepared else {
            claim::answered(engine, &mut state);
            drop(state);
            finish(engine, (id, view));
            return kept_mapping::keep(engine, source);
        };
        if is_away(error.kind()) {
            state.breaker.unreachable(started);
        } else if error.kind() != ErrorKind::Abandoned {
            claim::answered(engine, &mut state);
        }
        let error = Arc::new(error);
        let (attempts, is_awaited) = state.flights.preparation_failed((id, view), &error);
        tracing::debug!(target: "dvidfs", code = error.code(), op = "prepare", attempt = attempts.n(), cause = %error);
        match decide(&error, attempts, jitter()) {
            Decision::After(delay) if is_awaited => sleep(engine, state, Instant::now() + delay),
            // Nobody waits, so nobody is told; whoever comes next may well find it better.
            Decision::After(_) => return drop(state.flights.prepared((id, view))),
            Decision::Stop => {
                drop(state);
                return give_up(engine, (id, view), &error);
            }
        }
    }
}

/// The view is ready: the reads that waited for it go on.
fn finish(engine: &Arc<Engine>, view: (SourceId, View)) {
    let finished = engine.lock().flights.prepared(view);
    finished.into_iter().for_each(|read| reads::advance(engine, read));
    engine.work.notify_all();
}

/// Waits until the server may be asked. False if the cache is shutting down.
fn wait_for_server(engine: &Engine) -> bool {
    let mut state = engine.lock();
    loop {
        if state.is_stopping {
            return false;
        }
        let now = Instant::now();
        match state.breaker.next_probe() {
            None => return true,
            Some(next) if next <= now => {
                state.breaker.probe(now);
                return true;
            }
            Some(next) => state = Engine::wait(&engine.watch, state, Some(next - now)),
        }
    }
}

/// Sleeps until then, or until the cache shuts down or the server is back.
fn sleep(engine: &Engine, mut state: MutexGuard<'_, State>, until: Instant) {
    let was_away = state.breaker.next_probe().is_some();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let is_back = was_away && state.breaker.next_probe().is_none();
        if left == Duration::ZERO || state.is_stopping || is_back {
            return;
        }
        state = Engine::wait(&engine.watch, state, Some(left));
    }
}

fn give_up(engine: &Engine, view: (SourceId, View), error: &Arc<Error>) {
    let now = Instant::now();
    let failed = engine.lock().flights.give_up_preparation(view, error, now, now + engine.config.failure_memory);
    engine.answer_failed(failed);
}
