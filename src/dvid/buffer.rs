//! Memory that answers are read into.

use std::cell::RefCell;

/// A thread keeps a buffer for answers of up to this size; a larger one is freed.
const KEPT_BUFFER_BYTES: usize = 16 << 20;

thread_local! {
    /// Answers are read into the same memory again and again: fresh pages cost more than the copy.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(vec![]) };
}

/// Lends the buffer of this thread.
pub(super) fn with_buffer<T>(f: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut buffer = BUFFER.take();
    let result = f(&mut buffer);
    if buffer.capacity() <= KEPT_BUFFER_BYTES {
        BUFFER.set(buffer);
    }
    result
}
