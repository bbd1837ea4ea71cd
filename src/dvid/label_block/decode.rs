//! Unpacking a label block, in the order in which its voxels are written.

use super::{EDGE, SUB_VOXELS, Voxels, bits_of};

/// Eight voxels along x: u64 little-endian.
type Row = [[u8; 8]; EDGE];

/// Bits of a value up to which a sub-block counts as narrow: 16 labels, eight values in 32 bits.
const NARROW_BITS: usize = 4;

/// A sub-block of the layer that is being written.
struct SubBlock {
    /// Its labels, if it is narrow.
    narrow: [[u8; 8]; 1 << NARROW_BITS],
    /// Where its values begin in the block's bytes.
    values_at: usize,
    /// Bits of a value.
    bits: usize,
    /// Where its labels begin among the wide ones, if it is wide.
    wide_at: usize,
}

pub(super) fn decode(voxels: &Voxels, labels: &[u64]) -> Vec<u8> {
    let [gz, gy, gx] = voxels.grid;
    let n_rows = gz * gy * gx * SUB_VOXELS / EDGE;
    if voxels.bytes.is_empty() {
        return vec![[labels[0].to_le_bytes(); EDGE]; n_rows].into_flattened().into_flattened();
    }
    let mut rows: Vec<Row> = Vec::with_capacity(n_rows);
    let mut layers = Layers::new(voxels, labels);
    for _ in 0..gz {
        layers.load_next(gy * gx);
        for z in 0..EDGE {
            for run in layers.sub_blocks.chunks_exact(gx) {
                for y in 0..EDGE {
                    rows.extend(run.iter().map(|sub_block| layers.row(sub_block, z * EDGE + y)));
                }
            }
        }
    }
    rows.into_flattened().into_flattened()
}

/// The sub-blocks, one layer along z after the other.
struct Layers<'a> {
    labels: &'a [u64],
    bytes: &'a [u8],
    counts: std::slice::Iter<'a, [u8; 2]>,
    indices: std::slice::Iter<'a, [u8; 4]>,
    values_at: usize,
    sub_blocks: Vec<SubBlock>,
    wide: Vec<[u8; 8]>,
}

impl<'a> Layers<'a> {
    fn new(voxels: &'a Voxels, labels: &'a [u64]) -> Self {
        let counts = voxels.bytes[..voxels.indices_at].as_chunks().0.iter();
        let indices = voxels.bytes[voxels.indices_at..voxels.values_at].as_chunks().0.iter();
        let bytes = &voxels.bytes;
        Self { labels, bytes, counts, indices, values_at: voxels.values_at, sub_blocks: vec![], wide: vec![] }
    }

    /// Looks up the labels of the next layer's sub-blocks.
    fn load_next(&mut self, n_sub_blocks: usize) {
        self.sub_blocks.clear();
        self.wide.clear();
        for &count in self.counts.by_ref().take(n_sub_blocks) {
            let count = u16::from_le_bytes(count);
            let bits = bits_of(count);
            let mut narrow = [[0; 8]; 1 << NARROW_BITS];
            let wide_at = self.wide.len();
            let labels = self.labels;
            let of_sub_block = self.indices.by_ref().take(count.into()).map(|&index| labels[index_of(index)]);
            if bits <= NARROW_BITS {
                narrow.iter_mut().zip(of_sub_block).for_each(|(slot, label)| *slot = label.to_le_bytes());
            } else {
                self.wide.extend(of_sub_block.map(u64::to_le_bytes));
            }
            self.sub_blocks.push(SubBlock { narrow, values_at: self.values_at, bits, wide_at });
            self.values_at += bits * SUB_VOXELS / 8;
        }
    }

    /// Eight voxels of a sub-block: row 0 to 63, y fastest.
    #[inline]
    fn row(&self, sub_block: &SubBlock, row: usize) -> Row {
        let bits = sub_block.bits;
        let at = sub_block.values_at + row * bits;
        if bits <= NARROW_BITS {
            // The padding behind the values lets the last rows be read as four bytes too.
            let word = &self.bytes[at..at + 4];
            let word = u32::from_be_bytes([word[0], word[1], word[2], word[3]]);
            narrow_row(&sub_block.narrow, word, bits)
        } else {
            let bytes = self.bytes[at..].first_chunk().expect("padding lies behind the values");
            wide_row(&self.wide[sub_block.wide_at..], bytes, bits)
        }
    }
}

fn index_of(index: [u8; 4]) -> usize {
    u32::from_le_bytes(index) as usize
}

/// The first value is in the highest bits of `word`.
#[inline]
fn narrow_row(labels: &[[u8; 8]; 1 << NARROW_BITS], mut word: u32, bits: usize) -> Row {
    let mask = (1_u32 << bits) - 1;
    let bits = u32::try_from(bits).expect("a narrow value has few bits");
    std::array::from_fn(|_| {
        word = word.rotate_left(bits);
        labels[(word & mask & 15) as usize]
    })
}

/// A row of a sub-block with more than 16 labels.
#[inline]
fn wide_row(labels: &[[u8; 8]], bytes: &[u8; 9], bits: usize) -> Row {
    if bits == 9 {
        return values_of_wide_row(bytes).map(|value| labels[usize::from(value)]);
    }
    let mut word = bytes.first_chunk().map_or(0, |&bytes| u64::from_be_bytes(bytes));
    let mask = u8::MAX >> (8 - bits);
    let bits = u32::try_from(bits).expect("a value has few bits");
    std::array::from_fn(|_| {
        word = word.rotate_left(bits);
        labels[usize::from(word.to_le_bytes()[0] & mask)]
    })
}

/// The eight 9-bit values of a row.
pub(super) fn values_of_wide_row(row: &[u8; 9]) -> [u16; EDGE] {
    std::array::from_fn(|i| {
        // Value i begins i bits into byte i.
        let word = u16::from_be_bytes([row[i], row[i + 1]]);
        (word << i) >> 7
    })
}
