//! Locks, threads and time of the cache, from one place: tests of schedules put those of shuttle there.

#[cfg(all(test, shuttle))]
mod scheduled;

#[cfg(all(test, shuttle))]
pub(super) use scheduled::*;

#[cfg(not(all(test, shuttle)))]
pub(super) use std::{
    sync::{Condvar, Mutex, MutexGuard, RwLock, atomic::AtomicBool, mpsc},
    thread, thread_local,
    time::Instant,
};

/// Whether a thread has ended.
#[cfg(not(all(test, shuttle)))]
pub(super) fn has_ended(thread: &thread::JoinHandle<()>) -> bool {
    thread.is_finished()
}
