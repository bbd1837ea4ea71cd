//! Blocks for the disk wait here until their server was asked once more whether it still holds what was mounted: what came
//! after another instance took its place, over a connection that stayed, must not be kept under the old one's name.

use std::collections::{HashMap, VecDeque};
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
/// A server that does not tell is asked again after this; blocks of other instances do not wait for it.
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
    /// Whose question has failed, and when it is asked again.
    later: HashMap<SourceId, Instant>,
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

    /// Whose blocks wait longest of those who may be asked about, since when they wait, and when the question may be asked.
    fn first(&self, now: Instant) -> Option<(SourceId, Instant, Instant)> {
        let at = |received: &Received| self.later.get(&received.source).copied().filter(|&at| at > now).unwrap_or(now);
        let first = self.waiting.iter().min_by_key(|received| at(received))?;
        Some((first.source, first.since, at(first)))
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
        let now = Instant::now();
        let is_stopping = state.is_stopping;
        state = match state.disk.unconfirmed.first(now) {
            None if is_stopping => return None,
            None => Engine::wait(&engine.confirm, state, None),
            Some((source, since, _)) if is_stopping => return Some((source, since, LAST_LIMIT)),
            Some((source, since, at)) => {
                let pause = asked.map_or(Duration::ZERO, |asked| PAUSE.saturating_sub(asked.elapsed()));
                let pause = if state.disk.is_half_full() { Duration::ZERO } else { pause };
                let left = at.saturating_duration_since(now).max(pause);
                if left.is_zero() {
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
            state.disk.unconfirmed.later.insert(source, Instant::now() + RETRY);
            return;
        }
    }
    state.disk.unconfirmed.later.remove(&source);
    let writes = state.disk.unconfirmed.take(source, asked);
    if !is_kept {
        engine.metrics.add(Counter::DiskDroppedBlocks, writes.len() as u64);
    }
    writes.into_iter().for_each(|write| state.disk.confirmed(engine, write, is_kept));
    drop(state);
    engine.disk_work.notify_all();
}

#[cfg(test)]
mod tests {
    use crate::geometry::{BlockIndex, Coordinate, Scale};

    use super::super::disk::EntryKey;
    use super::*;

    fn write() -> Write {
        let identity = crate::dvid::Identity {
            root: "r".into(),
            data_uuid: "d".into(),
            version: "v".into(),
            typename: "uint8blk".into(),
            values: "uint8x1 64,64,64".into(),
            encoding: 1,
        };
        let received = crate::dvid::Received { encoding: 1, payload: Vec::new() };
        Write { key: EntryKey::block(&identity, Scale::FULL, BlockIndex(Coordinate::ZERO)), received, decoded_bytes: 0 }
    }

    #[test]
    fn blocks_of_one_instance_do_not_wait_for_the_question_of_another_one() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let [refused, other] = [SourceId(1), SourceId(2)];
        let mut unconfirmed = Unconfirmed::default();
        assert_eq!(unconfirmed.first(now), None);
        unconfirmed.push(refused, write(), now);
        unconfirmed.push(other, write(), now + second);
        unconfirmed.push(refused, write(), now + second);
        assert_eq!(unconfirmed.first(now), Some((refused, now, now)));
        unconfirmed.later.insert(refused, now + second);
        assert_eq!(unconfirmed.first(now), Some((other, now + second, now)));
        assert_eq!(unconfirmed.take(other, now + second).len(), 1);
        // Only the refused one is left: it is waited for, and asked about again.
        assert_eq!(unconfirmed.first(now), Some((refused, now, now + second)));
        assert_eq!(unconfirmed.first(now + second * 2), Some((refused, now, now + second * 2)));
        // What came after the question waits for the next one.
        assert_eq!(unconfirmed.take(refused, now).len(), 1);
        assert_eq!(unconfirmed.first(now + second * 2), Some((refused, now + second, now + second * 2)));
    }
}
