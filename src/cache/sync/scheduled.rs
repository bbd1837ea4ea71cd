//! The same from shuttle, whose scheduler says at each step who goes on; and a time that goes on whenever it says so.
//!
//! All that one schedule does happens on one thread of the system, so what is told here per thread is told per schedule.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Add;
use std::sync::{Arc, LockResult, PoisonError};
use std::time::Duration;

pub(in super::super) use shuttle::sync::atomic::AtomicBool;
pub(in super::super) use shuttle::sync::{Mutex, MutexGuard, RwLock, mpsc};
pub(in super::super) use shuttle::{thread, thread_local};

/// A moment: so long after the schedule began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Instant(Duration);

impl Instant {
    /// No two calls of a schedule give the same: what came later is known to be later.
    pub(in super::super) fn now() -> Self {
        CLOCK.with_borrow_mut(|clock| {
            clock.now += Duration::from_nanos(1);
            Self(clock.now)
        })
    }

    pub(in super::super) fn elapsed(self) -> Duration {
        Self::now() - self
    }

    pub(in super::super) fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0 + duration)
    }
}

impl std::ops::AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        self.0 += duration;
    }
}

impl std::ops::Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

/// Waits that time ends; shuttle's own never are.
#[derive(Debug, Default)]
pub(in super::super) struct Condvar(Arc<shuttle::sync::Condvar>);

impl Condvar {
    pub(in super::super) fn new() -> Self {
        Self::default()
    }

    pub(in super::super) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.0.wait(guard)
    }

    /// Waits so long at most; and whether it took so long.
    pub(in super::super) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        limit: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, bool)> {
        let end = Instant::now() + limit;
        let number = Clock::await_moment(end, &self.0);
        let guard = self.0.wait(guard);
        CLOCK.with_borrow_mut(|clock| clock.awaited.remove(&number));
        let is_late = end <= Instant::now();
        match guard {
            Ok(guard) => Ok((guard, is_late)),
            Err(poisoned) => Err(PoisonError::new((poisoned.into_inner(), is_late))),
        }
    }

    pub(in super::super) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(in super::super) fn notify_all(&self) {
        self.0.notify_all();
    }
}

std::thread_local! {
    static CLOCK: RefCell<Clock> = RefCell::default();
}

/// The time of a schedule.
#[derive(Default)]
pub(in super::super) struct Clock {
    now: Duration,
    n_awaited: u64,
    /// Until when somebody waits, and on what.
    awaited: BTreeMap<u64, (Instant, Arc<shuttle::sync::Condvar>)>,
    /// The thread that makes time go on.
    thread: Option<thread::Thread>,
    has_ended: bool,
}

impl Clock {
    /// Starts the time of a schedule. It goes on while anybody waits for a moment, each time to the next such one.
    ///
    /// # Panics
    /// Its thread, if time comes to `limit`: then somebody was forgotten.
    pub(in super::super) fn start(limit: Duration) -> thread::JoinHandle<()> {
        CLOCK.set(Self::default());
        thread::spawn(move || {
            let own = thread::current();
            CLOCK.with_borrow_mut(|clock| clock.thread = Some(own));
            while !CLOCK.with_borrow(|clock| clock.has_ended) {
                let due = CLOCK.with_borrow_mut(Self::go_on);
                assert!(CLOCK.with_borrow(|clock| clock.now) < limit, "somebody still waits after {limit:?}");
                match due.is_empty() {
                    true => thread::park(),
                    false => due.iter().for_each(|condvar| condvar.notify_all()),
                }
            }
        })
    }

    /// Ends it.
    pub(in super::super) fn end() {
        CLOCK.with_borrow_mut(|clock| clock.has_ended = true);
        Self::wake();
    }

    /// Goes on to the next moment that is awaited; what those wait on for whom it has come. They are told each time until
    /// they go on: they may be about to wait.
    fn go_on(&mut self) -> Vec<Arc<shuttle::sync::Condvar>> {
        let next = self.awaited.values().map(|(end, _)| end.0).min();
        self.now = self.now.max(next.unwrap_or_default());
        let is_due = |(end, _): &&(Instant, Arc<_>)| end.0 <= self.now;
        self.awaited.values().filter(is_due).map(|(_, condvar)| Arc::clone(condvar)).collect()
    }

    fn await_moment(end: Instant, condvar: &Arc<shuttle::sync::Condvar>) -> u64 {
        let number = CLOCK.with_borrow_mut(|clock| {
            clock.n_awaited += 1;
            clock.awaited.insert(clock.n_awaited, (end, Arc::clone(condvar)));
            clock.n_awaited
        });
        Self::wake();
        number
    }

    fn wake() {
        if let Some(thread) = CLOCK.with_borrow(|clock| clock.thread.clone()) {
            thread.unpark();
        }
    }
}

/// Whether a thread has ended. Nobody is told that, so none that may hang is waited for.
pub(in super::super) fn has_ended(_: &thread::JoinHandle<()>) -> bool {
    false
}

/// Lets time pass.
pub(in super::super) fn sleep(duration: Duration) {
    let (lock, condvar, end) = (Mutex::new(()), Condvar::new(), Instant::now() + duration);
    let mut guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
    while Instant::now() < end {
        let left = end - Instant::now();
        guard = condvar.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}
