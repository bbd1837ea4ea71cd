//! Reads that were given up just now. Where a read ahead of the kernel fails, it reads the page that somebody waits for
//! once more, in the name of the same reader: patience has ended for that one, too.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::vfs;

use super::answer::ReadRequest;

/// The kernel asks again at once; a reader that comes back later is waited for anew.
const REMEMBERED: Duration = Duration::from_secs(1);

/// What was given up within the last second.
#[derive(Debug, Default)]
pub(super) struct GivenUp {
    /// By reader and file. No I/O happens under the lock.
    reads: Mutex<HashMap<(u32, u64), Vec<Failed>>>,
}

#[derive(Debug)]
struct Failed {
    at: Instant,
    offset: u64,
    end: u64,
    error: vfs::Error,
}

impl GivenUp {
    /// Remembers a read that was given up, if its reader is known.
    pub(super) fn remember(&self, request: ReadRequest, error: &vfs::Error) {
        let ReadRequest { ino, range, pid } = request;
        if pid == 0 {
            return;
        }
        let now = Instant::now();
        let failed = Failed { at: now, offset: range.offset, end: end_of(request), error: error.clone() };
        let mut reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        reads.retain(|_, all| {
            all.retain(|failed| now.duration_since(failed.at) < REMEMBERED);
            !all.is_empty()
        });
        let all = reads.entry((pid, ino)).or_default();
        // Who is refused because of this does not make it last longer. A large read fails in several pieces at once.
        if !all.iter().any(|known| known.offset <= failed.offset && failed.end <= known.end) {
            all.push(failed);
        }
    }

    /// Why this reader was refused some of these bytes just now.
    pub(super) fn recall(&self, request: ReadRequest) -> Option<vfs::Error> {
        let reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        let is_meant = |failed: &&Failed| {
            request.range.offset < failed.end && failed.offset < end_of(request) && failed.at.elapsed() < REMEMBERED
        };
        reads.get(&(request.pid, request.ino))?.iter().find(is_meant).map(|failed| failed.error.clone())
    }
}

fn end_of(request: ReadRequest) -> u64 {
    request.range.offset.saturating_add(request.range.size.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::ByteRange;

    fn request(pid: u32, ino: u64, offset: u64) -> ReadRequest {
        ReadRequest { ino, range: ByteRange::new(offset, 100), pid }
    }

    #[test]
    fn a_reader_is_refused_the_same_bytes_at_once() {
        let given_up = GivenUp::default();
        assert!(given_up.recall(request(7, 1, 0)).is_none());
        given_up.remember(request(7, 1, 1000), &vfs::Error::ShuttingDown);
        given_up.remember(request(0, 1, 1000), &vfs::Error::ShuttingDown);
        // The pieces of a large read, in whatever order they fail.
        given_up.remember(request(7, 1, 5000), &vfs::Error::ShuttingDown);
        given_up.remember(request(7, 1, 4000), &vfs::Error::ShuttingDown);
        for (asked, refused) in [
            (request(7, 1, 1000), true),
            (request(7, 1, 901), true),
            (request(7, 1, 900), false),
            (request(7, 1, 1099), true),
            (request(7, 1, 1100), false),
            (request(7, 1, 4000), true),
            (request(7, 1, 5050), true),
            (request(8, 1, 1000), false),
            (request(7, 2, 1000), false),
            (request(0, 1, 1000), false),
        ] {
            assert_eq!(given_up.recall(asked).is_some(), refused, "{asked:?}");
        }
    }
}
