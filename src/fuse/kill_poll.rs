//! Lets go of readers that were killed while their read is parked, and of reads whose reader is gone.
//!
//! fuser refuses the kernel's interrupt requests, so a killed reader would hang until its bytes come. Instead every
//! read that waits for long is looked after: if its thread has SIGKILL pending (the kernel turns every fatal signal
//! into that, for each thread), the read is answered EINTR. So it is if the thread has ended: who reads through the
//! page cache is killed without us. The fetch goes on and fills the cache for others; what was only queued does not.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

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
            let mut gone_by_pid = HashMap::new();
            for slot in self.waiting() {
                let pid = slot.pid();
                if pid != 0 && slot.age() >= PATIENT_AGE && *gone_by_pid.entry(pid).or_insert_with(|| is_gone(pid)) {
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

/// Whether a thread was killed or has ended. One that is there and cannot be looked at counts as alive.
fn is_gone(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/status")) {
        Ok(status) => has_sigkill_pending(&status) || has_ended(&status),
        // `/proc` may hide the threads of other users.
        Err(_) => i32::try_from(pid).is_ok_and(|pid| kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH)),
    }
}

/// A zombie reads no more.
fn has_ended(status: &str) -> bool {
    status.lines().any(|line| line.strip_prefix("State:").is_some_and(|state| state.trim().starts_with(['Z', 'X'])))
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
    fn who_has_ended_is_gone_and_who_cannot_be_known_is_not() {
        assert!(!is_gone(std::process::id()));
        assert!(!is_gone(1), "whoever it is, and whether or not it may be looked at");
        assert!(!is_gone(u32::MAX), "no number of a thread");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let since = Instant::now();
        while !is_gone(child.id()) {
            assert!(since.elapsed() < Duration::from_secs(20), "a zombie is gone");
            std::thread::sleep(Duration::from_millis(5));
        }
        child.wait().unwrap();
        assert!(is_gone(child.id()));
    }
}
