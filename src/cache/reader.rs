//! Whoever waits for reads, and may be gone before they are answered.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::sync::{AtomicBool, thread_local};

/// A reader that can be killed. What it waited for is not asked for any more, unless others want it too.
///
/// Reads are begun deep below the caller and on its thread, so they find their reader by that thread: none of the
/// calls between has to hand it on. A read that was begun elsewhere waits until it is answered.
#[derive(Clone, Debug, Default)]
pub struct Reader(Arc<AtomicBool>);

thread_local! {
    /// For whom this thread begins reads.
    static CURRENT: RefCell<Option<Reader>> = const { RefCell::new(None) };
}

impl Reader {
    /// It was killed: it needs no answers.
    pub fn leave(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it needs no answers any more.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Begins reads for this reader.
    pub fn begin<T>(&self, begin: impl FnOnce() -> T) -> T {
        /// Sets back what was there before, also after a panic.
        struct Restore(Option<Reader>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.with(|current| current.replace(self.0.take()));
            }
        }
        let _restore = Restore(CURRENT.with(|current| current.replace(Some(self.clone()))));
        begin()
    }

    /// The reader for whom this thread begins reads, if there is one.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.with(|current| current.borrow().clone())
    }
}
