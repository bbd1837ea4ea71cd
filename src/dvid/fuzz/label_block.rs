//! Fuzz target `label_block`: whatever is taken for a label block is whole, decodes as the format says, and takes no
//! more memory than its voxels.

use crate::demo::fuzz::{gzip, label_block as encode};
use crate::dvid::LabelBlock;
use crate::fuzz::{Input, KIB, Peak, Target};
use crate::geometry::Coordinate;

/// What is tried, in one byte; sub-blocks along z, y and x, one byte each; then the block, or the labels of voxels.
pub(crate) const LABEL_BLOCK: Target = Target { name: "label_block", run, seeds };

/// Sub-blocks along an axis, at most.
const MOST_SUB_BLOCKS: u8 = 4;
/// What a decoder holds of a sub-block beside its voxels, with room to grow.
const OF_A_SUB_BLOCK: usize = 512;
/// More labels than this in a sub-block are looked up before its voxels are written.
const NARROW: usize = 16;

fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let is_block = input.u8().is_multiple_of(2);
    let grid = input.array::<3>().map(|n| i64::from(n % MOST_SUB_BLOCKS) + 1);
    let shape = Coordinate::from(grid.map(|n| 8 * n));
    if is_block {
        any_block(input.rest(), shape);
    } else {
        let voxels = voxels(&mut input, shape);
        let block = parsed(&encode(&voxels, shape), shape).expect("a block of our own");
        assert_eq!(u64s(&block.decode()), voxels);
    }
}

fn n_voxels(shape: Coordinate) -> usize {
    usize::try_from(shape.product()).expect("a small block")
}

/// Voxels of up to 600 labels.
fn voxels(input: &mut Input<'_>, shape: Coordinate) -> Vec<u64> {
    let n_labels = 1 + input.below(600) as u64;
    let turns = input.rest();
    let label = |n: u64| (n % n_labels).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1;
    let turn = |i: usize| turns.get(i % turns.len().max(1)).map_or(0, |&turn| u64::from(turn));
    (0..n_voxels(shape)).map(|i| label(turn(i) * (1 + i as u64 / 300))).collect()
}

fn parsed(bytes: &[u8], shape: Coordinate) -> Option<LabelBlock> {
    let limit = 8 * n_voxels(shape) + 64 * KIB;
    let copy = bytes.to_vec();
    Peak::of(|| LabelBlock::parse(copy, shape)).at_most(limit).ok()
}

fn any_block(bytes: &[u8], shape: Coordinate) {
    let block = parsed(bytes, shape);
    // Miri calls no C.
    if !cfg!(miri) {
        let from_payload = LabelBlock::from_payload(&gzip(bytes), shape).ok();
        assert_eq!(from_payload.is_some(), block.is_some(), "inflated and bare");
        // Whatever it begins with.
        let _ = LabelBlock::from_payload(bytes, shape);
    }
    let Some(block) = block else { return };
    let voxels = Peak::of(|| block.decode()).at_most(8 * n_voxels(shape) + 64 * KIB + beside_voxels(bytes));
    // The model also sees to it that each byte is one of the block.
    let naive = naive(bytes);
    assert_eq!(u64s(&voxels), naive);
    let other: Vec<u64> = block.labels().iter().map(|label| label.rotate_left(7) ^ 5).collect();
    assert_eq!(block.decode_mapped(&other), block.with_labels(other.clone()).decode());
    let again = parsed(&encode(&naive, shape), shape).expect("a block of our own");
    assert_eq!(again.decode(), voxels);
}

/// Bytes for the labels that are looked up before a layer of sub-blocks is written, twice while their list grows.
fn beside_voxels(block: &[u8]) -> usize {
    let number = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().expect("four bytes")) as usize;
    let [gx, gy, _, n_labels] = [0, 4, 8, 12].map(number);
    if n_labels == 1 {
        return 0;
    }
    let counts = &block[16 + 8 * n_labels..];
    let wide = |count: &[u8]| Some(usize::from(u16::from_le_bytes([count[0], count[1]]))).filter(|&n| n > NARROW);
    let n_of_layer = gx * gy;
    let n_sub_blocks = n_of_layer * number(8);
    let layers = counts[..2 * n_sub_blocks].chunks(2 * n_of_layer);
    let widest = layers.map(|layer| layer.chunks(2).filter_map(wide).sum::<usize>()).max().unwrap_or(0);
    3 * 8 * widest + OF_A_SUB_BLOCK * n_of_layer
}

fn u64s(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<8>().0.iter().map(|&word| u64::from_le_bytes(word)).collect()
}

/// Bit by bit, as the format is described: the slowest decoder that is plainly right.
pub(in crate::dvid) fn naive(block: &[u8]) -> Vec<u64> {
    let u32_at = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().expect("so many bytes")) as usize;
    let [gx, gy, gz, n] = [0, 4, 8, 12].map(u32_at);
    let labels: Vec<u64> =
        (0..n).map(|i| u64::from_le_bytes(block[16 + 8 * i..24 + 8 * i].try_into().expect("so many bytes"))).collect();
    let (nx, ny) = (8 * gx, 8 * gy);
    let mut out = vec![labels[0]; nx * ny * 8 * gz];
    if n == 1 {
        return out;
    }
    let n_sub_blocks = gx * gy * gz;
    let counts_at = 16 + 8 * n;
    let count = |s: usize| usize::from(block[counts_at + 2 * s]) + 256 * usize::from(block[counts_at + 2 * s + 1]);
    let indices_at = counts_at + 2 * n_sub_blocks;
    let n_indices: usize = (0..n_sub_blocks).map(count).sum();
    let (mut index_at, mut bit) = (indices_at, (indices_at + 4 * n_indices) * 8);
    for s in 0..n_sub_blocks {
        let (sx, sy, sz) = (s % gx, s / gx % gy, s / gx / gy);
        let lut: Vec<u64> = (0..count(s)).map(|i| labels[u32_at(index_at + 4 * i)]).collect();
        index_at += 4 * lut.len();
        let mut bits = 0;
        while 1 << bits < lut.len() {
            bits += 1;
        }
        for voxel in 0..512 {
            let (x, y, z) = (voxel % 8, voxel / 8 % 8, voxel / 64);
            let mut value = 0;
            for _ in 0..bits {
                value = value << 1 | usize::from(block[bit / 8] >> (7 - bit % 8) & 1);
                bit += 1;
            }
            out[((sz * 8 + z) * ny + sy * 8 + y) * nx + sx * 8 + x] = lut.get(value).copied().unwrap_or(0);
        }
        bit = bit.div_ceil(8) * 8;
    }
    assert_eq!(bit, block.len() * 8, "every byte is consumed");
    out
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (grid, n_labels) in [
        ([1, 1, 1], 1),
        ([1, 1, 1], 2),
        ([1, 1, 1], 3),
        ([1, 1, 2], 7),
        ([1, 2, 1], 16),
        ([2, 1, 1], 17),
        ([1, 1, 2], 130),
        ([2, 2, 2], 400),
        ([1, 1, 1], 512),
    ] {
        let shape = Coordinate::from(grid.map(|n: i64| 8 * n));
        let voxels: Vec<u64> = (0..n_voxels(shape) as u64).map(|n| (n * n % 7919 % n_labels) << 33).collect();
        let head = |mode: u8| std::iter::once(mode).chain(grid.map(|n| u8::try_from(n - 1).expect("a small block")));
        seeds.push(head(0).chain(encode(&voxels, shape)).collect());
        seeds.push(head(1).chain(u16::to_le_bytes(511)).chain((0..200_u8).map(|n| n.wrapping_mul(7))).collect());
    }
    seeds
}
