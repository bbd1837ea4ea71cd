//! A server that does not answer is asked by one fetch at a time, until it does. Pure: time is an argument.

use std::time::Duration;

use crate::dvid::ErrorKind;

use super::sync::Instant;

/// Time between two attempts to reach a server that is away: below two a second, retries of a connection included.
const PROBE_INTERVAL: Duration = Duration::from_millis(700);

/// Whether the server seems to be there.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// When the server may be asked once more; `None` while it answers.
    next_probe: Option<Instant>,
    last_answer: Option<Instant>,
}

/// Whether this kind of failure says that the server is away.
pub(super) fn is_away(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Unreachable | ErrorKind::UnknownHost | ErrorKind::Timeout => true,
        ErrorKind::Cut
        | ErrorKind::Busy
        | ErrorKind::Status(_)
        | ErrorKind::TlsFailed
        | ErrorKind::Denied
        | ErrorKind::Redirected
        | ErrorKind::Malformed
        | ErrorKind::OverLimit
        | ErrorKind::IdentityChanged
        | ErrorKind::MappingLoading
        | ErrorKind::Abandoned
        | ErrorKind::Offline => false,
    }
}

impl Breaker {
    /// When the server may be asked once more; `None` while it answers and anything may be asked.
    pub(super) fn next_probe(&self) -> Option<Instant> {
        self.next_probe
    }

    /// An attempt to reach the absent server begins.
    pub(super) fn probe(&mut self, now: Instant) {
        self.next_probe = Some(now + PROBE_INTERVAL);
    }

    /// The server answered. True if it was away before.
    pub(super) fn answered(&mut self, now: Instant) -> bool {
        self.last_answer = Some(now);
        self.next_probe.take().is_some()
    }

    /// An attempt that began at `started` did not reach the server. True if it counts as away from now on.
    ///
    /// A server that answered something else meanwhile is not away: one block of it is slow.
    pub(super) fn unreachable(&mut self, started: Instant) -> bool {
        if self.last_answer.is_some_and(|answer| answer > started) {
            return false;
        }
        let next = started + PROBE_INTERVAL;
        let was_there = self.next_probe.is_none();
        self.next_probe = Some(self.next_probe.map_or(next, |probe| probe.max(next)));
        was_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_away_from_its_first_silence_until_its_first_answer() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        assert!(breaker.unreachable(start));
        assert_eq!(breaker.next_probe(), Some(start + PROBE_INTERVAL));
        assert!(!breaker.unreachable(start));
        assert!(breaker.answered(start + PROBE_INTERVAL));
        assert_eq!(breaker.next_probe(), None);
    }

    #[test]
    fn a_server_that_answers_others_meanwhile_is_not_away() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        breaker.answered(start + Duration::from_millis(1));
        assert!(!breaker.unreachable(start));
        assert_eq!(breaker.next_probe(), None);
    }

    #[test]
    fn a_block_that_hung_long_leaves_the_way_free_for_the_next_attempt() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        breaker.unreachable(start);
        assert!(breaker.next_probe().is_some_and(|probe| probe < start + Duration::from_secs(60)));
    }
}
