//! Files of which the kernel may keep pages, so that it can be told to drop them when the data behind them is gone.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use fuser::{INodeNo, Notifier};

use crate::metrics::{Counter, Metrics};

/// How often it is looked whether other data was found by a fetch that no reader waited for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Which files were opened with leave to keep their pages. What the kernel forgets is forgotten here, so that it is never
/// longer than the kernel's own table of inodes.
#[derive(Debug, Default)]
pub(super) struct KeptPages {
    /// Nobody is told anything under this lock.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    inodes: HashSet<u64>,
    is_wanted: bool,
    is_closed: bool,
}

impl KeptPages {
    /// The kernel may keep pages of this file from now on.
    pub(super) fn opened(&self, ino: u64) {
        let mut state = self.lock();
        if state.inodes.is_empty() {
            // From now on there is something to look after.
            self.changed.notify_all();
        }
        state.inodes.insert(ino);
    }

    /// The kernel has forgotten the file, and its pages with it.
    pub(super) fn forgotten(&self, ino: u64) {
        let mut state = self.lock();
        state.inodes.remove(&ino);
        // A table that was once large must not stay so.
        if state.inodes.capacity() > 4 * state.inodes.len().max(1024) {
            state.inodes.shrink_to_fit();
        }
    }

    /// Asks the kernel to drop what it keeps of all files. Comes back at once.
    pub(super) fn drop_all(&self) {
        self.lock().is_wanted = true;
        self.changed.notify_all();
    }

    /// Ends the thread.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Starts the thread that tells the kernel. It is never waited for: the kernel answers only when nobody reads the
    /// pages any more.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start(self: &Arc<Self>, notifier: Notifier, metrics: Arc<Metrics>) -> io::Result<()> {
        let kept = Arc::clone(self);
        Builder::new().name("drop-pages".into()).spawn(move || kept.work(&notifier, &metrics)).map(drop)
    }

    fn work(&self, notifier: &Notifier, metrics: &Metrics) {
        let mut known = metrics.get(Counter::IdentityChanges);
        while let Some(inodes) = self.next(|| {
            let now = metrics.get(Counter::IdentityChanges);
            std::mem::replace(&mut known, now) != now
        }) {
            tracing::debug!(target: "dvidfs", op = "evict", n_files = inodes.len(), "the kernel drops what it keeps");
            for ino in inodes {
                // One that the kernel does not know any more has no pages.
                let _ = notifier.inval_inode(INodeNo(ino), 0, 0);
            }
        }
    }

    /// Waits for an order, or until there is a reason of its own; `None` at the end.
    fn next(&self, mut has_reason: impl FnMut() -> bool) -> Option<HashSet<u64>> {
        let mut state = self.lock();
        while !state.is_wanted && !state.is_closed && !has_reason() {
            state = match state.inodes.is_empty() {
                true => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                false => self.changed.wait_timeout(state, LOOK_EVERY).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        state.is_wanted = false;
        let inodes = std::mem::take(&mut state.inodes);
        (!state.is_closed).then_some(inodes)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
