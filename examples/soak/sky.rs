//! What is wrong when: a read may wait for it, or fail by it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What an injected fault may do to a read that meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// It is waited for.
    Patient,
    /// Three tries, then EIO.
    Fails,
    /// The daemon of this mount is dead.
    Dead(usize),
}

/// A failure is remembered for a second, and whoever came last has a busy machine to wait for.
const GRACE: Duration = Duration::from_secs(4);

struct Window {
    what: What,
    from: Instant,
    /// `None` while it lasts.
    until: Option<Instant>,
}

/// All that was injected.
#[derive(Default)]
pub(crate) struct Sky(Mutex<Vec<Window>>);

impl Sky {
    /// From now on; its number.
    pub(crate) fn begin(&self, what: What) -> usize {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        windows.push(Window { what, from: Instant::now(), until: None });
        windows.len() - 1
    }

    /// It ends, so much later than now.
    pub(crate) fn end(&self, number: usize, later: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[number].until = Some(Instant::now() + later);
    }

    /// How much of this time nothing was injected that the mount has to wait for.
    pub(crate) fn clear_time(&self, mount: usize, from: Instant, until: Instant) -> Duration {
        let mut injected: Vec<(Instant, Instant)> = self.parts(from, until, |what| match what {
            What::Patient | What::Fails => true,
            What::Dead(dead) => dead == mount,
        });
        injected.sort_unstable();
        let (mut clear, mut at) = (Duration::ZERO, from);
        for (begin, end) in injected {
            clear += begin.saturating_duration_since(at);
            at = at.max(end);
        }
        clear + until.saturating_duration_since(at)
    }

    /// Why a read in this time may have failed with this errno, if there is a reason.
    pub(crate) fn excuse(&self, mount: usize, (from, until): (Instant, Instant), errno: i32) -> Option<&'static str> {
        let early = from.checked_sub(GRACE).unwrap_or(from);
        let was = |what: What| !self.parts(early, until, |other| other == what).is_empty();
        match errno {
            libc::EIO if was(What::Fails) => Some("EIO: the server gave wrong answers three times"),
            libc::ENOTCONN | libc::ECONNABORTED if was(What::Dead(mount)) => Some("ENOTCONN: the daemon was killed"),
            _ => None,
        }
    }

    fn parts(&self, from: Instant, until: Instant, is_meant: impl Fn(What) -> bool) -> Vec<(Instant, Instant)> {
        let windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let part = |window: &Window| {
            let end = window.until.unwrap_or(until);
            (is_meant(window.what) && window.from < until && end > from)
                .then(|| (window.from.max(from), end.min(until)))
        };
        windows.iter().filter_map(part).collect()
    }
}
