//! The checksum of HDF5's metadata: Bob Jenkins' lookup3, the variant `hashlittle` with initial value 0.

/// Bytes that are mixed in at once.
const ROUND: usize = 12;

/// The checksum of these bytes.
pub(super) fn lookup3(bytes: &[u8]) -> u32 {
    #[allow(clippy::cast_possible_truncation)] // as in the definition, which counts in 32 bits
    let start = 0xdead_beef_u32.wrapping_add(bytes.len() as u32);
    let mut state = [start; 3];
    let Some(last) = bytes.len().checked_sub(1) else { return start };
    // The last round, whole or not, is mixed differently.
    let (rounds, rest) = bytes.split_at(last / ROUND * ROUND);
    for round in rounds.chunks_exact(ROUND) {
        add(&mut state, round);
        mix(&mut state);
    }
    add(&mut state, rest);
    finish(state)
}

/// Adds up to 12 bytes as little-endian numbers; those that are missing count as 0.
fn add(state: &mut [u32; 3], bytes: &[u8]) {
    for (at, &byte) in bytes.iter().enumerate() {
        state[at / 4] = state[at / 4].wrapping_add(u32::from(byte) << (8 * (at % 4)));
    }
}

fn mix(state: &mut [u32; 3]) {
    // Each step takes the third number from the first, and adds the second to it.
    for (step, turn) in [4, 6, 8, 16, 19, 4].into_iter().enumerate() {
        let (a, b, c) = (step % 3, (step + 1) % 3, (step + 2) % 3);
        state[a] = state[a].wrapping_sub(state[c]) ^ state[c].rotate_left(turn);
        state[c] = state[c].wrapping_add(state[b]);
    }
}

fn finish([mut a, mut b, mut c]: [u32; 3]) -> u32 {
    let step = |of: u32, by: u32, turn| (of ^ by).wrapping_sub(by.rotate_left(turn));
    c = step(c, b, 14);
    a = step(a, c, 11);
    b = step(b, a, 25);
    c = step(c, b, 16);
    a = step(a, c, 4);
    b = step(b, a, 14);
    step(c, b, 24)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authors_own_vectors_come_out() {
        assert_eq!(lookup3(b""), 0xdead_beef);
        assert_eq!(lookup3(b"Four score and seven years ago"), 0x1777_0551);
    }
}
