//! The low-speed rule: an answer that drips is given up, since no total time limit fits all answers.

use std::io::{self, Read};
use std::time::{Duration, Instant};

/// The least that an answer must bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowRate {
    /// So many bytes …
    pub bytes: u64,
    /// … within each window of this length.
    pub window: Duration,
}

impl SlowRate {
    /// The same rate over windows of at most this length.
    pub(super) fn within(self, window: Duration) -> Self {
        if window >= self.window {
            return self;
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)] // a small count
        let bytes = (self.bytes as f64 * window.as_secs_f64() / self.window.as_secs_f64()) as u64;
        Self { bytes, window }
    }
}

/// A reader that fails with `TimedOut` when less comes than the rate asks for.
#[derive(Debug)]
pub(super) struct Paced<R> {
    inner: R,
    rate: SlowRate,
    window_began: Instant,
    window_bytes: u64,
}

impl<R: Read> Paced<R> {
    pub(super) fn new(inner: R, rate: SlowRate) -> Self {
        Self { inner, rate, window_began: Instant::now(), window_bytes: 0 }
    }
}

impl<R: Read> Read for Paced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.window_bytes += got as u64;
        if got > 0 && self.window_began.elapsed() >= self.rate.window {
            if self.window_bytes < self.rate.bytes {
                let why = format!("{} bytes in {:?}", self.window_bytes, self.window_began.elapsed());
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            (self.window_began, self.window_bytes) = (Instant::now(), 0);
        }
        Ok(got)
    }
}
