//! One edit of right bytes.

use crate::fuzz::Input;

/// Right bytes with one edit at one place: cut, prolonged, changed, or with bytes left out, put in or repeated.
pub(super) fn edited(mut right: Vec<u8>, input: &mut Input<'_>) -> Vec<u8> {
    let at = input.below(right.len() + 1);
    let n = 1 + input.below(64);
    let end = (at + n).min(right.len());
    match input.u8() % 7 {
        0 => right.truncate(at),
        1 => right.extend_from_slice(input.bytes(n)),
        2 => drop(right.drain(at..end)),
        3 => drop(right.splice(at..at, input.bytes(n).to_vec())),
        4 => drop(right.splice(at..at, right[at..end].to_vec())),
        5 => {
            if let Some(byte) = right.get_mut(at) {
                *byte ^= 1 << (n % 8);
            }
        }
        // No more than four: what a checksum of 32 bits certainly sees.
        _ => {
            let new = input.bytes(n.min(4));
            let n = new.len().min(right.len() - at);
            right[at..at + n].copy_from_slice(&new[..n]);
        }
    }
    right
}
