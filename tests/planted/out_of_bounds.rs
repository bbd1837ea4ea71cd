//! Reads a byte behind a buffer. `scripts/miri` says nothing of the program unless this is found.

fn main() {
    let bytes = std::hint::black_box(vec![1_u8, 2, 3]);
    // SAFETY: none. This is the bug.
    let behind = unsafe { *bytes.as_ptr().add(bytes.len()) };
    println!("{behind}");
}
