//! The duty of a fetch thread towards the blocks that it fetches: each lands or fails, whatever happens.

use std::sync::Arc;
use std::time::Duration;

use crate::dvid::{Block, Decision, Error, ErrorKind, Freshness, Received, decide, jitter};
use crate::metrics::Counter;

use super::breaker::is_away;
use super::engine::{Engine, State, abandoned};
use super::key::BlockKey;
use super::read::{Failed, Source};
use super::sync::Instant;
use super::{disk_queue, landing, reads};

/// The blocks that one request asks for. Those that neither landed nor failed when it is dropped, fail.
#[must_use]
pub(super) struct Claim<'a> {
    engine: &'a Arc<Engine>,
    source: Source,
    keys: Vec<BlockKey>,
    bytes: usize,
    number: u64,
    started: Instant,
    /// How long an answer that began then stays right.
    freshness: Freshness,
}

impl<'a> Claim<'a> {
    pub(super) fn new(
        engine: &'a Arc<Engine>,
        source: Source,
        keys: Vec<BlockKey>,
        bytes: usize,
        number: u64,
        started: Instant,
    ) -> Self {
        let freshness = source.fetch.freshness();
        Self { engine, source, keys, bytes, number, started, freshness }
    }

    /// Hands each block to memory, and then to those who wait for it.
    pub(super) fn land(&mut self, blocks: Vec<(Block, Option<Received>)>) {
        let expires = match self.freshness {
            Freshness::Forever => None,
            Freshness::For(ttl) => Some(self.started + ttl),
        };
        {
            let mut state = self.engine.lock();
            answered(self.engine, &mut state);
            // The connection is free; what follows is our own work.
            state.running.remove(&self.number);
        }
        for (block, received) in blocks {
            let Some(&key) = self.keys.first() else { return };
            landing::land(self.engine, &self.source, key, &block, expires);
            // What began while it could still change is not kept.
            if let Some(received) = received.filter(|_| self.freshness == Freshness::Forever) {
                disk_queue::offer(self.engine, &self.source, key, received);
            }
            // Only now: until here it is a block that has not landed.
            self.keys.remove(0);
        }
    }

    /// The request failed: its blocks are asked for again, or everybody who waits is told.
    pub(super) fn fail(&mut self, error: Error) {
        let engine = self.engine;
        // To ask again would be in vain: the view has to be made ready first.
        let is_unready = error.kind() == ErrorKind::MappingLoading
            && self.keys.first().is_some_and(|key| !self.source.fetch.is_ready(key.view));
        let keys = std::mem::take(&mut self.keys);
        if let (ErrorKind::IdentityChanged, Some(key)) = (error.kind(), keys.first()) {
            engine.memory.forget_source(key.source);
        }
        let now = Instant::now();
        let error = Arc::new(error);
        let mut state = engine.lock();
        state.running.remove(&self.number);
        if is_away(error.kind()) {
            if state.breaker.unreachable(self.started) {
                tracing::warn!(code = "server_lost", cause = %error, "the server does not answer");
                tracing::info!(code = "breaker_open", "it is asked by one request at a time until it does");
            }
        } else if error.kind() != ErrorKind::Abandoned {
            answered(engine, &mut state);
        }
        let (mut failed, mut released) = (Vec::new(), Vec::new());
        for key in &keys {
            if is_unready {
                released.extend(state.flights.release(key).1);
            } else {
                failed.extend(retry_or_fail(engine, &mut state, key, &error, keys.len(), now));
            }
        }
        drop(state);
        engine.answer_failed(failed);
        released.into_iter().for_each(|(read, _)| reads::advance(engine, read));
        landing::note_quiet(engine);
    }
}

impl Drop for Claim<'_> {
    /// Blocks that were not landed (a panic of ours) fail those who wait for them: nobody is stranded.
    fn drop(&mut self) {
        self.engine.memory.release(self.bytes);
        let now = Instant::now();
        let mut state = self.engine.lock();
        state.running.remove(&self.number);
        let mut failed = Vec::new();
        for key in &self.keys {
            failed.extend(state.flights.fail(key, &abandoned("the fetch ended early"), now, now));
        }
        drop(state);
        self.engine.answer_failed(failed);
    }
}

/// The server answered. If it was away, everything that waited for it is asked for at once.
pub(super) fn answered(engine: &Engine, state: &mut State) {
    if state.breaker.answered(Instant::now()) {
        tracing::warn!(code = "server_back", "the server answers again");
        tracing::info!(code = "breaker_closed", "all that waited for it is asked for");
        state.flights.wake_all(is_away);
        engine.work.notify_all();
        engine.watch.notify_all();
    }
}

fn retry_or_fail(
    engine: &Engine,
    state: &mut State,
    key: &BlockKey,
    error: &Arc<Error>,
    n_blocks: usize,
    now: Instant,
) -> Vec<Failed> {
    let Some(flight) = state.flights.get(key) else { return Vec::new() };
    let attempts = flight.attempts.and(error.kind());
    match decide(error, attempts, jitter()) {
        Decision::After(delay) => {
            engine.metrics.count(Counter::DvidRetriedRequests);
            log_retry(key, error, attempts.n(), delay);
            // One bad or slow block must not spoil its neighbours: each is asked for by itself.
            let is_split = n_blocks > 1 && may_be_one_block(error.kind());
            let until = (!is_split || error.kind() == ErrorKind::Timeout).then(|| now + delay);
            state.flights.retry(key, error, until, is_split);
            Vec::new()
        }
        Decision::Stop => state.flights.fail(key, error, now, now + engine.config.failure_memory),
    }
}

fn log_retry(key: &BlockKey, error: &Error, attempt: u32, delay: Duration) {
    let BlockKey { scale, block, .. } = key;
    let is_connection = matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::UnknownHost);
    let code = if is_connection { "connect_retry" } else { error.code() };
    let delay_ms = delay.as_millis();
    tracing::debug!(target: "dvidfs", code, op = "retry", %scale, block = %block.0, attempt, delay_ms, cause = %error);
}

/// Whether a request for several blocks may have failed because of one of them.
fn may_be_one_block(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Malformed | ErrorKind::OverLimit | ErrorKind::Status(_) | ErrorKind::Timeout | ErrorKind::Cut => {
            true
        }
        ErrorKind::Unreachable
        | ErrorKind::UnknownHost
        | ErrorKind::TlsFailed
        | ErrorKind::Busy
        | ErrorKind::Denied
        | ErrorKind::Redirected
        | ErrorKind::IdentityChanged
        | ErrorKind::MappingLoading
        | ErrorKind::Abandoned
        | ErrorKind::Offline => false,
    }
}
