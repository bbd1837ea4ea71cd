//! Waiting that ends when the server stops.

use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a waiting connection looks whether its client has closed.
const LOOK: Duration = Duration::from_millis(20);

/// Waiting that ends when the server stops.
#[derive(Debug, Default)]
pub(super) struct Patience {
    stopped: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Patience {
    /// Whether the server has stopped.
    pub(super) fn is_over(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    pub(super) fn end(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    pub(super) fn sleep(&self, duration: Duration) {
        let until = Instant::now() + duration;
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.is_over() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            guard = self.changed.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// So long, or until the client closes its connection.
    pub(super) fn until_closed(&self, stream: &TcpStream, limit: Duration) {
        let until = Instant::now() + limit;
        if stream.set_read_timeout(Some(LOOK)).is_err() {
            return;
        }
        while !self.is_over() && Instant::now() < until {
            match stream.peek(&mut [0]) {
                Ok(0) => return,
                // A request that came meanwhile is never read.
                Ok(_) => self.sleep(LOOK.min(until.saturating_duration_since(Instant::now()))),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(_) => return,
            }
        }
    }
}
