//! Lets go of readers that were killed while their read is parked.
//!
//! fuser refuses the kernel's interrupt requests, so a killed reader would hang until its bytes come. Instead every
//! read that waits for long is looked after: if its thread has SIGKILL pending (the kernel turns every fatal signal
//! into that, for each thread), the read is answered EINTR. The fetch goes on and fills the cache for others.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crate::vfs;

use super::answer::Slot;

/// A read that waits for less is left alone: most are answered by then.
const PATIENT_AGE: Duration = Duration::from_millis(100);
/// How often the others are looked after. With the age above a killed reader is gone within 0.2 s.
const PERIOD: Duration = Duration::from_millis(40);
/// SIGKILL in the hexadecimal masks of `/proc/<pid>/status`: bit 8 for signal 9.
const SIGKILL_BIT: u64 = 1 << 8;

/// All reads that wait for their answer.
#[derive(Debug, Default)]
pub(super) struct ParkedReads {
    /// Guards the list; nothing is read or answered under it.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    slots: Vec<Arc<Slot>>,
    closed: bool,
}

impl ParkedReads {
    /// Looks after a read until it is answered.
    pub(super) fn park(&self, slot: Arc<Slot>) {
        let mut state = self.lock();
        if state.slots.is_empty() {
            self.changed.notify_all();
        }
        state.slots.push(slot);
    }

    /// Waits until every parked read is answered, or `give_up` says so; whether none is left.
    pub(super) fn drain(&self, until: Instant, give_up: impl Fn() -> bool) -> bool {
        loop {
            if self.waiting().is_empty() {
                return true;
            }
            if Instant::now() >= until || give_up() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Answers everybody who still waits with an error.
    pub(super) fn fail_all(&self, error: &vfs::Error) {
        for slot in self.waiting() {
            slot.fail(error);
        }
    }

    /// Ends the poll.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Starts the thread that looks after the reads, until [`close`](Self::close).
    pub(super) fn start_poll(self: &Arc<Self>) -> io::Result<JoinHandle<()>> {
        let parked = Arc::clone(self);
        Builder::new().name("kill-poll".into()).spawn(move || parked.poll())
    }

    fn poll(&self) {
        loop {
            {
                let mut state = self.lock();
                while state.slots.is_empty() && !state.closed {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                if state.closed {
                    return;
                }
            }
            std::thread::sleep(PERIOD);
            let mut killed_by_pid = HashMap::new();
            for slot in self.waiting() {
                let pid = slot.pid();
                if pid != 0 && slot.age() >= PATIENT_AGE && *killed_by_pid.entry(pid).or_insert_with(|| is_killed(pid))
                {
                    slot.fail(&vfs::Error::ReaderKilled);
                }
            }
        }
    }

    /// The reads that still wait; those that were answered are forgotten.
    fn waiting(&self) -> Vec<Arc<Slot>> {
        let mut state = self.lock();
        state.slots.retain(|slot| !slot.is_answered());
        state.slots.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a thread was killed and has not yet died. A thread that cannot be seen counts as alive.
fn is_killed(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| has_sigkill_pending(&status))
}

fn has_sigkill_pending(status: &str) -> bool {
    status
        .lines()
        .filter_map(|line| line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:")))
        .filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .any(|mask| mask & SIGKILL_BIT != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_sigkill_is_seen_and_no_other_signal() {
        let status = |own: &str, shared: &str| {
            format!(
                "Name:\tcat\nState:\tD (disk sleep)\nThreads:\t1\nSigQ:\t1/1023\nSigPnd:\t{own}\nShdPnd:\t{shared}\n\
                 SigBlk:\t0000000000000100\nSigIgn:\tffffffffffffffff\nSigCgt:\tffffffffffffffff\n"
            )
        };
        let none = "0000000000000000";
        for (own, shared, killed) in [
            (none, none, false),
            ("0000000000000100", none, true),
            (none, "0000000000000100", true),
            ("0000000000004100", none, true),
            ("0000000000004000", "0000000000000002", false), // SIGTERM and SIGINT, handled or blocked
            ("0000000000002000", none, false),               // SIGALRM
            ("fffffffffffffeff", "fffffffffffffeff", false),
            ("", "nonsense", false),
        ] {
            assert_eq!(has_sigkill_pending(&status(own, shared)), killed, "{own} {shared}");
        }
        assert!(!has_sigkill_pending(""));
    }

    #[test]
    fn this_thread_and_a_missing_one_are_not_killed() {
        assert!(!is_killed(std::process::id()));
        assert!(!is_killed(u32::MAX));
    }
}
