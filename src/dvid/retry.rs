//! When a failed request is tried again: a pure function of what happened, and of a number that differs each time.
//!
//! Wrong answers are counted apart from missing ones: a server that was away for long and answers wrongly while it starts
//! is asked as often as any other.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::error::{Error, ErrorKind};

/// The first delay; each next one may be twice as long.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// No delay of ours is longer. A server may ask for up to [`LONGEST_RETRY_AFTER`].
const LONGEST_DELAY: Duration = Duration::from_secs(10);
/// A server that asks for more is asked again after this.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Tries for answers that are wrong rather than missing: DVID says 400 for a storage error too, but must not be hammered.
const TRIES_OF_WRONG_ANSWERS: u32 = 3;

/// The failed attempts at one thing so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    all: u32,
    wrong: u32,
}

impl Attempts {
    /// One more, that failed so.
    #[must_use]
    pub fn and(self, kind: ErrorKind) -> Self {
        Self { all: self.all.saturating_add(1), wrong: self.wrong.saturating_add(u32::from(is_wrong(kind))) }
    }

    /// How many there were.
    #[must_use]
    pub fn n(self) -> u32 {
        self.all
    }
}

/// Whether there was an answer, and it was none to be used.
fn is_wrong(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Status(_) | ErrorKind::Malformed | ErrorKind::OverLimit)
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Try again after this delay, if patience lasts.
    After(Duration),
    /// Tell everybody who waits.
    Stop,
}

/// Whether and when to try again after so many failed attempts, the one with this error included.
///
/// `jitter` in 0..1 spreads the delay over the whole interval from zero, so that many clients of one server
/// do not come back at the same moment.
#[must_use]
pub fn decide(error: &Error, attempts: Attempts, jitter: f64) -> Decision {
    let patient = match error.kind() {
        ErrorKind::Unreachable
        | ErrorKind::UnknownHost
        | ErrorKind::Timeout
        | ErrorKind::Cut
        | ErrorKind::Busy
        | ErrorKind::MappingLoading => true,
        ErrorKind::Status(_) | ErrorKind::Malformed | ErrorKind::OverLimit => attempts.wrong < TRIES_OF_WRONG_ANSWERS,
        ErrorKind::TlsFailed
        | ErrorKind::Denied
        | ErrorKind::Redirected
        | ErrorKind::IdentityChanged
        | ErrorKind::Abandoned
        | ErrorKind::Offline => false,
    };
    if !patient {
        return Decision::Stop;
    }
    let doubled = FIRST_DELAY.saturating_mul(1 << attempts.all.saturating_sub(1).min(10)).min(LONGEST_DELAY);
    let asked = error.retry_after().unwrap_or_default().min(LONGEST_RETRY_AFTER);
    Decision::After(doubled.mul_f64(jitter.clamp(0.0, 1.0)).max(asked))
}

/// A number in 0..1 that differs from call to call: the keys of a new hasher are random.
#[must_use]
pub fn jitter() -> f64 {
    let [high, low, ..] = RandomState::new().hash_one(0).to_le_bytes();
    f64::from(u16::from_le_bytes([high, low])) / 65536.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After so many failures of this kind and no other.
    fn after(kind: ErrorKind, all: u32) -> Decision {
        let attempts = Attempts { all, wrong: if is_wrong(kind) { all } else { 0 } };
        decide(&Error::new(kind, "/api"), attempts, 1.0)
    }

    #[test]
    fn missing_answers_are_awaited_for_ever_with_growing_delays() {
        let delays = [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000];
        for kind in
            [ErrorKind::Unreachable, ErrorKind::Timeout, ErrorKind::Cut, ErrorKind::Busy, ErrorKind::MappingLoading]
        {
            for (attempts, delay) in (1..).zip(delays) {
                assert_eq!(after(kind, attempts), Decision::After(Duration::from_millis(delay)), "{kind} {attempts}");
            }
            assert_eq!(after(kind, u32::MAX), Decision::After(LONGEST_DELAY));
        }
    }

    #[test]
    fn wrong_answers_get_three_tries_and_refusals_none() {
        for kind in [ErrorKind::Status(400), ErrorKind::Malformed, ErrorKind::OverLimit] {
            assert!(matches!(after(kind, 2), Decision::After(_)), "{kind}");
            assert_eq!(after(kind, 3), Decision::Stop, "{kind}");
        }
        for kind in [
            ErrorKind::TlsFailed,
            ErrorKind::Denied,
            ErrorKind::Redirected,
            ErrorKind::IdentityChanged,
            ErrorKind::Abandoned,
            ErrorKind::Offline,
        ] {
            assert_eq!(after(kind, 1), Decision::Stop, "{kind}");
        }
    }

    #[test]
    fn a_server_that_was_away_for_long_gets_as_many_tries_of_wrong_answers_as_any() {
        let away = (0..20).fold(Attempts::default(), |attempts, _| attempts.and(ErrorKind::Unreachable));
        let (mut attempts, mut decisions) = (away, Vec::new());
        for kind in [ErrorKind::Status(500), ErrorKind::Cut, ErrorKind::Malformed, ErrorKind::Status(404)] {
            attempts = attempts.and(kind);
            decisions.push(decide(&Error::new(kind, "/api"), attempts, 0.0));
        }
        assert_eq!(attempts.n(), 24);
        let again = Decision::After(Duration::ZERO);
        assert_eq!(decisions, [again, again, again, Decision::Stop]);
    }

    #[test]
    fn a_server_may_ask_for_time_within_reason() {
        let once = Attempts::default().and(ErrorKind::Busy);
        let busy = |seconds| Error::new(ErrorKind::Busy, "/api").with_retry_after(Some(Duration::from_secs(seconds)));
        assert_eq!(decide(&busy(2), once, 0.0), Decision::After(Duration::from_secs(2)));
        assert_eq!(decide(&busy(1_000_000_000), once, 0.5), Decision::After(LONGEST_RETRY_AFTER));
    }
}
