//! Whether the disk may be used: one that fails or hangs is left alone for a while. Pure: time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::sync::Instant;

/// How many failures within [`Times::window`] are too many.
const TOO_MANY_FAILURES: usize = 3;

/// The times that health goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Blocks that the disk does not give within this are asked of the server, as are all others meanwhile.
    pub late: Duration,
    /// An operation that takes longer shows that the disk hangs.
    pub hang: Duration,
    /// Failures are counted so long.
    pub window: Duration,
    /// A disk that is left alone is tried again this often.
    pub probe: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            late: Duration::from_secs(1),
            hang: Duration::from_secs(10),
            window: Duration::from_secs(60),
            probe: Duration::from_secs(60),
        }
    }
}

impl Times {
    /// All of them so many times as long.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        let Self { late, hang, window, probe } = self;
        let [late, hang, window, probe] = [late, hang, window, probe].map(|time| time.mul_f64(factor));
        Self { late, hang, window, probe }
    }
}

/// What became of the disk by something that was just seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Change {
    /// Nothing new.
    None,
    /// It is left alone from now on.
    Bypassed,
    /// It works again.
    Recovered,
}

/// How the disk did.
#[derive(Debug)]
pub(in super::super) struct Health {
    times: Times,
    failures: VecDeque<Instant>,
    /// When it may be tried again; `None` while it works.
    next_probe: Option<Instant>,
    /// Nothing is written before.
    no_writes_until: Option<Instant>,
}

impl Health {
    pub(in super::super) fn new(times: Times) -> Self {
        Self { times, failures: VecDeque::new(), next_probe: None, no_writes_until: None }
    }

    /// Whether it is left alone.
    pub(in super::super) fn is_bypassed(&self) -> bool {
        self.next_probe.is_some()
    }

    /// Whether it may be asked now. One that is left alone may be tried once at a time.
    pub(in super::super) fn may_read(&mut self, now: Instant) -> bool {
        match self.next_probe {
            None => true,
            Some(next) if next <= now => {
                self.next_probe = Some(now + self.times.probe);
                true
            }
            Some(_) => false,
        }
    }

    /// Whether something may be written now.
    pub(in super::super) fn may_write(&self, now: Instant) -> bool {
        !self.is_bypassed() && self.no_writes_until.is_none_or(|until| until <= now)
    }

    /// Nothing is to be written for a while. True if that is news.
    pub(in super::super) fn pause_writes(&mut self, now: Instant) -> bool {
        let is_news = self.no_writes_until.is_none_or(|until| until + self.times.probe <= now);
        self.no_writes_until = Some(now + self.times.probe);
        is_news
    }

    /// It did what it was asked for.
    pub(in super::super) fn succeeded(&mut self) -> Change {
        if self.next_probe.take().is_none() {
            return Change::None;
        }
        self.failures.clear();
        Change::Recovered
    }

    /// It failed.
    pub(in super::super) fn failed(&mut self, now: Instant) -> Change {
        if self.is_bypassed() {
            self.next_probe = Some(now + self.times.probe);
            return Change::None;
        }
        self.failures.push_back(now);
        while self.failures.front().is_some_and(|&first| first + self.times.window < now) {
            self.failures.pop_front();
        }
        if self.failures.len() < TOO_MANY_FAILURES {
            return Change::None;
        }
        self.bypass(now)
    }

    /// An operation takes too long.
    pub(in super::super) fn hangs(&mut self, now: Instant) -> Change {
        if self.is_bypassed() { Change::None } else { self.bypass(now) }
    }

    fn bypass(&mut self, now: Instant) -> Change {
        self.failures.clear();
        self.next_probe = Some(now + self.times.probe);
        Change::Bypassed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn three_failures_in_a_minute_are_too_many_and_two_are_not() {
        let start = Instant::now();
        let mut health = Health::new(Times::default());
        assert_eq!(health.failed(start), Change::None);
        assert_eq!(health.failed(start + seconds(30)), Change::None);
        assert_eq!(health.failed(start + seconds(61)), Change::None, "the first is forgotten");
        assert!(health.may_read(start + seconds(61)) && health.may_write(start + seconds(61)));
        assert_eq!(health.failed(start + seconds(62)), Change::Bypassed);
        assert!(!health.may_read(start + seconds(63)) && !health.may_write(start + seconds(63)));
    }

    #[test]
    fn a_disk_that_is_left_alone_is_tried_once_a_minute_until_it_works() {
        let start = Instant::now();
        let mut health = Health::new(Times::default());
        assert_eq!(health.hangs(start), Change::Bypassed);
        assert_eq!(health.hangs(start), Change::None);
        assert!(!health.may_read(start + seconds(59)));
        assert!(health.may_read(start + seconds(60)));
        assert!(!health.may_read(start + seconds(60)), "one at a time");
        assert_eq!(health.failed(start + seconds(61)), Change::None);
        assert!(!health.may_read(start + seconds(120)));
        assert!(health.may_read(start + seconds(121)));
        assert_eq!(health.succeeded(), Change::Recovered);
        assert!(health.may_read(start + seconds(122)) && health.may_write(start + seconds(122)));
        assert_eq!(health.succeeded(), Change::None);
    }

    #[test]
    fn a_full_disk_is_read_and_not_written() {
        let start = Instant::now();
        let mut health = Health::new(Times::default());
        assert!(health.pause_writes(start));
        assert!(!health.pause_writes(start + seconds(1)), "told once");
        assert!(health.may_read(start + seconds(1)) && !health.may_write(start + seconds(1)));
        assert!(health.may_write(start + seconds(61)));
    }
}
