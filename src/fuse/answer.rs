//! A reply to a read that is given exactly once, whoever comes first: the bytes, a kill, or the end of the mount.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fuser::ReplyData;
use tracing::{debug, warn};

use crate::array;
use crate::logging::Chain;
use crate::metrics::{Counter, Metrics};
use crate::vfs::{self, ByteRange, Reader};

use super::errno::{errno_of, name};
use super::given_up::GivenUp;
use super::kept::KeptPages;
use super::serve::Serve;

/// What the kernel asked for, and who waits for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadRequest {
    pub(super) ino: u64,
    pub(super) range: ByteRange,
    /// The thread that reads, or 0 if it is in a process namespace that this one cannot see.
    pub(super) pid: u32,
}

/// The reply to one read, shared by all who may give it.
#[derive(Debug)]
pub(super) struct Slot {
    request: ReadRequest,
    since: Instant,
    /// `None` once it is answered. The reply is taken out under the lock and sent after it.
    reply: Mutex<Option<ReplyData>>,
    /// Where a read that fails here is told.
    tree: Arc<dyn Serve>,
    metrics: Arc<Metrics>,
    given_up: Arc<GivenUp>,
    /// What the kernel keeps goes when the data is found to be other data.
    kept: Arc<KeptPages>,
    /// In whose name the blocks are asked for.
    pub(super) reader: Reader,
}

impl Slot {
    pub(super) fn new(
        request: ReadRequest,
        reply: ReplyData,
        (tree, metrics): (Arc<dyn Serve>, Arc<Metrics>),
        (kept, given_up): (Arc<KeptPages>, Arc<GivenUp>),
    ) -> Arc<Self> {
        Arc::new(Self {
            request,
            since: Instant::now(),
            reply: Mutex::new(Some(reply)),
            tree,
            metrics,
            kept,
            given_up,
            reader: Reader::default(),
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.request.pid
    }

    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    pub(super) fn is_answered(&self) -> bool {
        self.reply.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn take(&self) -> Option<ReplyData> {
        self.reply.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Answers with an error, unless it is answered already; whether it did.
    pub(super) fn fail(&self, error: &vfs::Error) -> bool {
        let Some(reply) = self.take() else { return false };
        self.send(reply, error);
        true
    }

    /// The same with an error that the tree does not know of: it is told first, for who sees the error may ask.
    pub(super) fn refuse(&self, error: &vfs::Error) {
        let Some(reply) = self.take() else { return };
        // This runs while a panic unwinds, too, where a second one would end the daemon.
        let tell = || self.tree.refused(self.request.ino, self.request.range, error);
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(tell)).is_err() {
            warn!(target: "dvidfs", code = "panic", op = "read", ino = self.request.ino, "a failed read could not be told");
        }
        self.send(reply, error);
    }

    fn send(&self, reply: ReplyData, error: &vfs::Error) {
        let errno = errno_of(error);
        let ReadRequest { ino, range: ByteRange { offset, size }, pid } = self.request;
        let waited = self.age();
        if matches!(error, vfs::Error::ReaderKilled) {
            self.reader.leave();
            self.metrics.count(Counter::KilledReads);
            debug!(target: "dvidfs", code = error.code(), op = "read", ino, offset, size, pid, ?waited);
        } else {
            if error.is_given_up() {
                self.given_up.remember(self.request, error);
            }
            let (code, errno_name) = (error.code(), name(errno));
            warn!(target: "dvidfs", code, op = "read", ino, offset, size, ?waited, errno = ?errno_name, cause = %Chain(error));
        }
        let is_other_data = i32::from(errno) == libc::ESTALE;
        reply.error(errno);
        if is_other_data {
            self.kept.drop_all();
        }
    }

    fn finish(&self, result: Result<Vec<u8>, vfs::Error>) {
        let bytes = match result {
            Ok(bytes) => bytes,
            Err(error) => {
                self.fail(&error);
                return;
            }
        };
        let (got, wanted) = (bytes.len() as u64, u64::from(self.request.range.size));
        if got > wanted {
            // The kernel would refuse it with EINVAL; the reader is told the same, and we are told why.
            let source = array::Error::WrongLength { got, wanted };
            return self.refuse(&vfs::Error::Array { path: String::new(), source });
        }
        let Some(reply) = self.take() else { return };
        self.metrics.add(Counter::FuseReadBytes, bytes.len() as u64);
        reply.data(&bytes);
    }
}

/// The duty to answer a read. Dropped without an answer it answers EIO, so that no reader is left waiting.
#[derive(Debug)]
pub(super) struct Answer(pub(super) Arc<Slot>);

impl Answer {
    /// Gives the bytes or the error, unless the reader was answered already.
    pub(super) fn finish(self, result: Result<Vec<u8>, vfs::Error>) {
        self.0.finish(result);
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.0.refuse(&vfs::Error::Abandoned);
    }
}
