//! Blocks for the disk wait here until their server was asked once more whether it still holds what was mounted: what came
//! after another instance took its place, over a connection that stayed, must not be kept under the old one's name.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::dvid::{Error, ErrorKind};
use crate::metrics::Counter;

use super::disk_jobs::Write;
use super::engine::Engine;
use super::key::SourceId;
use super::sync::Instant;

/// Questions lie so far apart, so that one covers what came meanwhile, if there is room for it.
const PAUSE: Duration = Duration::from_millis(20);
/// A server that does not tell is asked again after this.
const RETRY: Duration = Duration::from_millis(500);
/// What could not be confirmed for so long is not kept.
const LONGEST: Duration = Duration::from_secs(60);
/// How long an answer may take; less when the cache ends.
const LIMIT: Duration = Duration::from_secs(2);
const LAST_LIMIT: Duration = Duration::from_millis(500);

/// A block that was received, and when.
struct Received {
    source: SourceId,
    since: Instant,
    write: Write,
}

/// What waits for a question, in the order it came.
#[derive(Default)]
pub(super) struct Unconfirmed {
    waiting: VecDeque<Received>,
    /// There is somebody who asks.
    pub(super) is_attended: bool,
}

impl Unconfirmed {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn push(&mut self, source: SourceId, write: Write, since: Instant) {
        self.waiting.push_back(Received { source, since, write });
    }

    /// Takes out what was received from a source by then.
    fn take(&mut self, source: SourceId, until: Instant) -> Vec<Write> {
        let (taken, left) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<VecDeque<_>, _>(|received| received.source == source && received.since <= until);
        self.waiting = left;
        taken.into_iter().map(|received| received.write).collect()
    }
}

/// The life of the thread that asks.
pub(super) fn work(engine: &Arc<Engine>) {
    engine.lock().disk.unconfirmed.is_attended = true;
    let mut asked = None;
    while let Some((source, since, limit)) = next(engine, asked) {
        let now = Instant::now();
        asked = Some(now);
        let answer = engine.guarded("confirm", || confirm(engine, source, limit));
        settle(engine, (source, since), now, answer);
    }
    engine.disk_work.notify_all();
}

/// Whose blocks wait longest, since when, and how long the question may take.
fn next(engine: &Engine, asked: Option<Instant>) -> Option<(SourceId, Instant, Duration)> {
    let mut state = engine.lock();
    loop {
        let first = state.disk.unconfirmed.waiting.front().map(|received| (received.source, received.since));
        let is_stopping = state.is_stopping;
        state = match first {
            None if is_stopping => return None,
            None => Engine::wait(&engine.confirm, state, None),
            Some((source, since)) if is_stopping => return Some((source, since, LAST_LIMIT)),
            Some((source, since)) => {
                let left = asked.map_or(Duration::ZERO, |asked| PAUSE.saturating_sub(asked.elapsed()));
                if left.is_zero() || state.disk.is_half_full() {
                    return Some((source, since, LIMIT));
                }
                Engine::wait(&engine.confirm, state, Some(left))
            }
        };
    }
}

fn confirm(engine: &Engine, id: SourceId, limit: Duration) -> Result<(), Error> {
    let source = engine.source(id);
    match source.as_ref().and_then(|source| source.fetch.keeps()) {
        Some((_, kept)) => kept.confirm(limit),
        // It changed meanwhile, or may from now on.
        None => Err(Error::new(ErrorKind::IdentityChanged, "blocks to be kept")),
    }
}

/// What was asked about is written, or never, or waits for another question.
fn settle(engine: &Engine, (source, since): (SourceId, Instant), asked: Instant, answer: Result<(), Error>) {
    let mut state = engine.lock();
    let is_kept = answer.is_ok();
    if let Err(error) = answer {
        tracing::debug!(target: "dvidfs", code = error.code(), op = "confirm", cause = %error);
        let is_final = error.kind() == ErrorKind::IdentityChanged || since.elapsed() > LONGEST;
        if !is_final && !state.is_stopping {
            drop(Engine::wait(&engine.confirm, state, Some(RETRY)));
            return;
        }
    }
    let writes = state.disk.unconfirmed.take(source, asked);
    if !is_kept {
        engine.metrics.add(Counter::DiskDroppedBlocks, writes.len() as u64);
    }
    writes.into_iter().for_each(|write| state.disk.confirmed(engine, write, is_kept));
    drop(state);
    engine.disk_work.notify_all();
}
