//! When a failed request is tried again: a pure function of what happened, and of a number that differs each time.

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

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Try again after this delay, if patience lasts.
    After(Duration),
    /// Tell everybody who waits.
    Stop,
}

/// Whether and when to try again after `attempts` failed attempts (1 after the first).
///
/// `jitter` in 0..1 spreads the delay over the whole interval from zero, so that many clients of one server
/// do not come back at the same moment.
#[must_use]
pub fn decide(error: &Error, attempts: u32, jitter: f64) -> Decision {
    let patient = match error.kind() {
        ErrorKind::Unreachable
        | ErrorKind::UnknownHost
        | ErrorKind::Timeout
        | ErrorKind::Cut
        | ErrorKind::Busy
        | ErrorKind::MappingLoading => true,
        ErrorKind::Status(_) | ErrorKind::Malformed | ErrorKind::OverLimit => attempts < TRIES_OF_WRONG_ANSWERS,
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
    let doubled = FIRST_DELAY.saturating_mul(1 << attempts.saturating_sub(1).min(10)).min(LONGEST_DELAY);
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

    fn after(kind: ErrorKind, attempts: u32) -> Decision {
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
    fn a_server_may_ask_for_time_within_reason() {
        let busy = |seconds| Error::new(ErrorKind::Busy, "/api").with_retry_after(Some(Duration::from_secs(seconds)));
        assert_eq!(decide(&busy(2), 1, 0.0), Decision::After(Duration::from_secs(2)));
        assert_eq!(decide(&busy(1_000_000_000), 1, 0.5), Decision::After(LONGEST_RETRY_AFTER));
    }
}
