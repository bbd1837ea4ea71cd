//! Checksums of whole pictures: the few bytes of a file that cannot be made without reading all of it.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

use lru::LruCache;

use crate::array::{self, Freshness, ReadVoxels, Reader};
use crate::layout::{ChecksFold, ChecksPiece};

use super::assembly::{Source, read_piece};

/// The checksums of so many pictures are kept: 32 bytes or so each.
const MAX_KEPT: usize = 16_384;

/// Checksums by the inode of their file. Only those of voxels that never change are kept.
type Kept = Arc<Mutex<LruCache<u64, [u8; 8]>>>;

/// Works out the checksums of pictures, in one thread for all of them that never waits for voxels.
#[derive(Debug)]
pub(super) struct Checks {
    kept: Kept,
    /// The thread's orders; `None` until there is something to do.
    orders: Mutex<Option<Sender<Order>>>,
}

/// What the thread is told.
enum Order {
    /// Asks for the next rows of a picture.
    GoOn(Box<Job>),
    End,
}

/// The checksums of one picture while they are worked out. Dropped without an answer, its reader is told so.
struct Job {
    inode: u64,
    array: Arc<dyn ReadVoxels>,
    piece: ChecksPiece,
    fold: ChecksFold,
    kept: Kept,
    /// Who asked, if it can be gone before there is an answer.
    reader: Option<Reader>,
    then: array::ThenBytes,
}

impl Default for Checks {
    fn default() -> Self {
        let max_kept = NonZeroUsize::new(MAX_KEPT).unwrap_or(NonZeroUsize::MIN);
        Self { kept: Arc::new(Mutex::new(LruCache::new(max_kept))), orders: Mutex::new(None) }
    }
}

impl Checks {
    /// The checksums of the file with this inode: `then` gets the bytes of the piece, or the error of the first rows
    /// that could not be read.
    ///
    /// Never blocks, and reads nothing on the caller's thread.
    pub(super) fn read(&self, source: Source<'_>, piece: ChecksPiece, then: array::ThenBytes) {
        let Source { inode, array, checks: _ } = source;
        if let Some(checks) = get(&self.kept, inode) {
            return then(Ok(piece.cut(checks)));
        }
        let fold = piece.fold();
        let (array, reader, kept) = (Arc::clone(array), Reader::current(), Arc::clone(&self.kept));
        let job = Job { inode, array, piece, fold, kept, reader, then };
        self.order(Order::GoOn(Box::new(job)));
    }

    /// Passes an order to the thread, which is started with the first.
    fn order(&self, order: Order) {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if orders.is_none() {
            let (sender, receiver) = channel();
            let own = sender.clone();
            match Builder::new().name("dvidfs-checks".into()).spawn(move || work(&receiver, &own)) {
                Ok(_) => *orders = Some(sender),
                Err(error) => tracing::warn!(code = "thread_limit", cause = %error, "no thread for checksums"),
            }
        }
        if let Some(orders) = orders.as_ref() {
            // The thread outlives its last sender.
            let _ = orders.send(order);
        }
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        if let Some(orders) = self.orders.get_mut().unwrap_or_else(PoisonError::into_inner) {
            let _ = orders.send(Order::End);
        }
    }
}

/// Goes from one picture to the next, rows by rows, until the filesystem ends.
fn work(orders: &Receiver<Order>, again: &Sender<Order>) {
    while let Ok(Order::GoOn(job)) = orders.recv() {
        // A panic ends the job and answers its reader, and no other.
        let _ = catch_unwind(AssertUnwindSafe(|| job.go_on(again.clone())));
    }
}

impl Job {
    /// Asks for the next rows. Whoever brings them takes them in, so that no rows lie about, and then puts the job
    /// behind all others: rows that are in memory come at once, and neither does the stack grow with their number nor is
    /// anybody kept waiting for a large picture.
    fn go_on(mut self: Box<Self>, again: Sender<Order>) {
        // The rest of a large picture is worth many fetches.
        if self.reader.as_ref().is_some_and(Reader::has_left) {
            return;
        }
        // Another reader of the same file may have come first.
        if let Some(checks) = get(&self.kept, self.inode) {
            return (self.then)(Ok(self.piece.cut(checks)));
        }
        let Some(rows) = self.fold.next_rows() else { return self.finish() };
        let (array, reader) = (Arc::clone(&self.array), self.reader.clone().unwrap_or_default());
        let then: array::ThenBytes = Box::new(move |result| match result {
            Ok(rows) => {
                self.fold.take_in(&rows);
                // Nobody is left to take the order if the filesystem has ended.
                let _ = again.send(Order::GoOn(self));
            }
            Err(error) => (self.then)(Err(error)),
        });
        reader.begin(|| read_piece(array.as_ref(), rows, then));
    }

    fn finish(self: Box<Self>) {
        let Self { inode, array, piece, fold, kept, reader: _, then } = *self;
        let checks = fold.finish();
        if array.freshness() == Freshness::Forever {
            kept.lock().unwrap_or_else(PoisonError::into_inner).put(inode, checks);
        }
        then(Ok(piece.cut(checks)));
    }
}

fn get(kept: &Kept, inode: u64) -> Option<[u8; 8]> {
    kept.lock().unwrap_or_else(PoisonError::into_inner).get(&inode).copied()
}
