//! Payloads that are small and claim, or are, far more.

/// Bytes of the longest match of deflate.
const MATCH_BYTES: u64 = 258;

/// A gzip member of so many MiB of zeros, a thousandth of that long. It tells `claimed` as its size, or the truth.
pub(super) fn gzip(mib: u32, claimed: Option<u32>) -> Vec<u8> {
    let n_matches = (u64::from(mib) << 20) / MATCH_BYTES;
    let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255];
    member.extend(deflated_zeros(n_matches));
    let size = 1 + MATCH_BYTES * n_matches;
    member.extend_from_slice(&crc_of_zeros(size).to_le_bytes());
    #[allow(clippy::cast_possible_truncation)] // the size modulo 2^32, as the format has it
    member.extend_from_slice(&claimed.unwrap_or(size as u32).to_le_bytes());
    member
}

/// One zero, and so many times 258 more: two bits each.
fn deflated_zeros(n_matches: u64) -> Vec<u8> {
    let mut bits = Bits::default();
    // The last block, with codes of its own for 286 lengths and 1 distance, told by 18 code lengths.
    for (value, n) in [(1, 1), (2, 2), (29, 5), (0, 5), (14, 4)] {
        bits.put(value, n);
    }
    // Code lengths of the symbols 16 17 18 0 8 7 9 6 10 5 11 4 12 3 13 2 14 1: 18 has one bit, 1 and 2 have two.
    for length in [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 2] {
        bits.put(length, 3);
    }
    let (one, two, zeros) = ((0b01, 2), (0b11, 2), (0, 1));
    // The literal 0 has two bits, 255 literals none, the end two, 28 lengths none, the longest one; the distance one.
    for (value, n) in [two, zeros, (138 - 11, 7), zeros, (117 - 11, 7), two, zeros, (28 - 11, 7), one, one] {
        bits.put(value, n);
    }
    bits.put(0b01, 2);
    for _ in 0..n_matches {
        bits.put(0, 2);
    }
    bits.put(0b11, 2);
    bits.bytes
}

fn crc_of_zeros(mut size: u64) -> u32 {
    let zeros = [0; 1 << 16];
    let mut crc = libdeflater::Crc::new();
    while size > 0 {
        let part = usize::try_from(size).map_or(zeros.len(), |size| size.min(zeros.len()));
        crc.update(&zeros[..part]);
        size -= part as u64;
    }
    crc.sum()
}

/// Bits from the lowest of each byte on.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    /// Bits of the last byte that are in use; 8 if there is none.
    used: u32,
}

impl Bits {
    fn put(&mut self, value: u32, n: u32) {
        for bit in 0..n {
            if self.bytes.is_empty() || self.used == 8 {
                self.bytes.push(0);
                self.used = 0;
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= u8::from(value >> bit & 1 == 1) << self.used;
            }
            self.used += 1;
        }
    }
}

/// An LZ4 block of two million bytes behind the size of another.
pub(super) fn lz4(size: &[u8; 4]) -> Vec<u8> {
    // A literal and a match one byte back, whose length goes on for as long as 255 follows.
    let mut block = [&size[..], &[0x1f, 0, 1, 0]].concat();
    block.extend(std::iter::repeat_n(255, 8192));
    block.extend([0, 0]);
    block
}

/// The picture with another size in its frame header; `None` if it has none.
pub(super) fn huge_jpeg(mut picture: Vec<u8>) -> Option<Vec<u8>> {
    let at = picture.windows(2).position(|marker| matches!(marker, [0xff, 0xc0..=0xc2]))?;
    picture.get_mut(at + 5..at + 9)?.fill(0xff);
    Some(picture)
}

/// The picture with its first scan a thousand times, as if it were a progressive one; `None` if it is none.
pub(super) fn many_scans(picture: &[u8]) -> Option<Vec<u8>> {
    let frame = picture.windows(2).position(|marker| matches!(marker, [0xff, 0xc0 | 0xc1]))?;
    let scan = picture.windows(2).position(|marker| *marker == [0xff, 0xda])?;
    let (head, rest) = picture.split_at(scan);
    let mut progressive = head.to_vec();
    progressive[frame + 1] = 0xc2;
    // The header of a scan, and little of what it holds.
    let short = &rest[..rest.len().min(64)];
    for _ in 0..1000 {
        progressive.extend_from_slice(short);
    }
    progressive.extend_from_slice(&[0xff, 0xd9]);
    Some(progressive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_is_a_right_member_a_thousandth_as_long() {
        let bomb = gzip(3, None);
        let size = u32::from_le_bytes(*bomb.last_chunk().unwrap()) as usize;
        let mut zeros = vec![1; size];
        assert_eq!(libdeflater::Decompressor::new().gzip_decompress(&bomb, &mut zeros), Ok(size));
        assert!(zeros.iter().all(|&zero| zero == 0));
        assert!(size > 3_000_000 && bomb.len() < size / 1000, "{} of {size}", bomb.len());
    }

    #[test]
    fn an_lz4_bomb_is_more_than_it_says() {
        let bomb = lz4(&1000_u32.to_le_bytes());
        assert!(lz4_flex::block::decompress(&bomb[4..], 4 << 20).unwrap().len() > 2_000_000);
        assert!(lz4_flex::block::decompress(&bomb[4..], 1000).is_err());
    }
}
