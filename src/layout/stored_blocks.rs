//! Deflate blocks that hold bytes as they are: where each header and each byte stands follows from their number.

use std::ops::Range;

/// Bytes that a block holds: all but the last are full.
const BLOCK: u64 = 65_535;
/// Bytes before them: whether it is the last, the length, and the length's complement.
const HEADER: u64 = 5;

/// Bytes in stored deflate blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoredBlocks {
    /// Bytes that the blocks hold together.
    n_bytes: u64,
}

impl StoredBlocks {
    /// The blocks of so many bytes: at least one byte, and few enough that the blocks' own number can be counted.
    pub(super) fn new(n_bytes: u64) -> Option<Self> {
        let blocks = Self { n_bytes };
        n_bytes.checked_add(HEADER * n_bytes.div_ceil(BLOCK))?;
        (n_bytes > 0).then_some(blocks)
    }

    /// Bytes that the blocks hold together.
    pub(super) fn n_held(&self) -> u64 {
        self.n_bytes
    }

    /// Bytes with all headers.
    pub(super) fn n_stored(&self) -> u64 {
        self.stored(0..self.n_bytes).end
    }

    /// Where a range of the held bytes stands among the stored ones: with the headers of the blocks that begin in it.
    pub(super) fn stored(&self, held: Range<u64>) -> Range<u64> {
        let at = |held: u64| held + HEADER * held.div_ceil(BLOCK);
        at(held.start)..at(held.end)
    }

    /// The held bytes that stand in a range of the stored ones; there may be none.
    pub(super) fn held(&self, stored: Range<u64>) -> Range<u64> {
        let at = |stored: u64| {
            let in_block = (stored % (HEADER + BLOCK)).saturating_sub(HEADER);
            (stored / (HEADER + BLOCK) * BLOCK + in_block).min(self.n_bytes)
        };
        at(stored.start)..at(stored.end)
    }

    /// Passes the bytes of a range of the stored ones on, part by part; `held` are those that stand in it.
    ///
    /// # Panics
    /// If there are fewer of them.
    pub(super) fn write(&self, stored: Range<u64>, mut held: &[u8], mut write: impl FnMut(&[u8])) {
        let mut at = stored.start;
        while at < stored.end {
            let (block, within) = (at / (HEADER + BLOCK), at % (HEADER + BLOCK));
            let end = stored.end.min((block + 1) * (HEADER + BLOCK));
            if within < HEADER {
                let header_end = HEADER.min(within + end - at);
                write(&self.header(block)[small(within)..small(header_end)]);
                at += header_end - within;
            }
            let (part, rest) = held.split_at(small(end - at));
            if !part.is_empty() {
                write(part);
            }
            (held, at) = (rest, end);
        }
    }

    fn header(&self, block: u64) -> [u8; 5] {
        let left = self.n_bytes - block * BLOCK;
        let [low, high] = u16::try_from(left).unwrap_or(u16::MAX).to_le_bytes();
        [u8::from(left <= BLOCK), low, high, !low, !high]
    }
}

/// A number that is at most a block.
fn small(n: u64) -> usize {
    usize::try_from(n).expect("a block is small")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbered(range: Range<u64>) -> Vec<u8> {
        range.map(|n| (n % 251) as u8).collect()
    }

    fn written(blocks: StoredBlocks, stored: Range<u64>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let held = numbered(blocks.held(stored.clone()));
        blocks.write(stored, &held, |part| bytes.extend_from_slice(part));
        bytes
    }

    #[test]
    fn another_decoder_finds_the_bytes() {
        for n in [1, 2, 65_534, 65_535, 65_536, 131_070, 200_000] {
            let blocks = StoredBlocks::new(n).unwrap();
            let stored = written(blocks, 0..blocks.n_stored());
            assert_eq!(stored.len() as u64, n + 5 * n.div_ceil(65_535));
            let mut found = vec![0; usize::try_from(n).unwrap()];
            let n_found = libdeflater::Decompressor::new().deflate_decompress(&stored, &mut found).unwrap();
            assert_eq!(n_found as u64, n);
            assert!(found == numbered(0..n), "{n}");
        }
        assert_eq!(StoredBlocks::new(0), None);
        assert_eq!(StoredBlocks::new(u64::MAX), None);
    }

    proptest! {
        #[test]
        fn any_range_is_the_same_part_of_the_whole(n in 1_u64..300_000, a in 0_u64..310_000, len in 0_u64..140_000) {
            let blocks = StoredBlocks::new(n).unwrap();
            let whole = written(blocks, 0..blocks.n_stored());
            let start = a.min(blocks.n_stored());
            let end = (start + len).min(blocks.n_stored());
            let part = written(blocks, start..end);
            prop_assert!(part == whole[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()]);
        }

        #[test]
        fn ranges_of_held_bytes_share_out_the_stored_ones(n in 1_u64..300_000, cuts in prop::array::uniform2(0_u64..300_000)) {
            let blocks = StoredBlocks::new(n).unwrap();
            let mut cuts = [0, cuts[0].min(n), cuts[1].min(n), n];
            cuts.sort_unstable();
            let mut at = 0;
            for pair in cuts.windows(2) {
                let stored = blocks.stored(pair[0]..pair[1]);
                prop_assert_eq!(stored.start, at);
                prop_assert_eq!(blocks.held(stored.clone()), pair[0]..pair[1]);
                at = stored.end;
            }
            prop_assert_eq!(at, blocks.n_stored());
        }
    }
}
