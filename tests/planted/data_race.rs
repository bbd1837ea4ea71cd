//! Two threads change a number without a lock. `scripts/sanitize` says nothing of the program unless this is found.

use std::cell::UnsafeCell;
use std::thread;

struct Number(UnsafeCell<u64>);

// SAFETY: none. This is the bug.
unsafe impl Sync for Number {}

static NUMBER: Number = Number(UnsafeCell::new(0));

fn count() {
    for _ in 0..10_000 {
        // SAFETY: none either.
        unsafe { *std::hint::black_box(NUMBER.0.get()) += 1 };
    }
}

fn main() {
    let other = thread::spawn(count);
    count();
    other.join().expect("the other thread ends");
}
