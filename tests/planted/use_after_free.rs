//! Reads memory that was given back. `scripts/sanitize` says nothing of the program unless this is found.

fn main() {
    let bytes = std::hint::black_box(vec![1_u8; 64]);
    let first = bytes.as_ptr();
    drop(bytes);
    // SAFETY: none. This is the bug.
    println!("{}", unsafe { *std::hint::black_box(first) });
}
