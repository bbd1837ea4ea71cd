use proptest::prelude::*;

use crate::fuzz::STEP;

use super::super::block_stream::parse_frames;
use super::super::fuzz::naive;
use super::super::gzip::gunzip;
use super::super::test_support::{asked, body};
use super::*;

fn u64s(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect()
}

/// A label block of random sub-blocks: so many labels each, with whatever values are right.
fn random_block(grid_xyz: [usize; 3], n_labels: u32, counts: &[u16], seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let mut block: Vec<u8> = grid_xyz.iter().flat_map(|&n| u32::try_from(n).unwrap().to_le_bytes()).collect();
    block.extend(n_labels.to_le_bytes());
    for _ in 0..n_labels {
        block.extend((random() << 31 ^ random()).to_le_bytes());
    }
    counts.iter().for_each(|count| block.extend(count.to_le_bytes()));
    for _ in 0..counts.iter().map(|&count| u64::from(count)).sum() {
        block.extend(u32::try_from(random() % u64::from(n_labels)).unwrap().to_le_bytes());
    }
    for &count in counts {
        let mut bits = vec![];
        for _ in 0..if count < 2 { 0 } else { 512 } {
            let value = random() % u64::from(count);
            bits.extend((0..bits_of(count)).rev().map(|bit| value >> bit & 1 == 1));
        }
        block.extend(bits.chunks(8).map(|byte| byte.iter().fold(0_u8, |byte, &bit| byte << 1 | u8::from(bit))));
    }
    block
}

fn shape_of([gx, gy, gz]: [usize; 3]) -> Coordinate {
    Coordinate::from([gz, gy, gx].map(|n| 8 * i64::try_from(n).unwrap()))
}

/// A small block with sub-blocks of every kind.
fn valid() -> (Vec<u8>, Coordinate) {
    let grid = [2, 2, 1];
    (random_block(grid, 600, &[3, 0, 1, 300], 5), shape_of(grid))
}

#[track_caller]
fn check_refused(block: Vec<u8>, shape: Coordinate, why: &'static str) {
    assert_eq!(LabelBlock::parse(block, shape).map(|_| ()), Err(PayloadError::BadLabelBlock(why)));
}

#[test]
fn recorded_blocks_decode_as_the_naive_decoder_does() {
    let mut n_blocks = 0;
    for name in ["labels-blocks-sv", "labels-blocks-body", "labels-scale1-sv", "labels-scale2-sv", "labels-scale3-body"]
    {
        let shape = Coordinate::splat(64);
        for payload in parse_frames(&body(name), asked(name, shape)).unwrap().into_iter().flatten() {
            let bytes = gunzip(payload, 1 << 22).unwrap();
            let naive = naive(&bytes);
            assert_eq!(u64s(&LabelBlock::parse(bytes, shape).unwrap().decode()), naive, "{name}");
            n_blocks += 1;
        }
    }
    assert_eq!(n_blocks, 9);
}

#[test]
fn every_number_of_labels_in_a_sub_block_decodes() {
    for first in (0..=512_u16).step_by(8 * STEP) {
        let counts: Vec<u16> = (first..first + 8).map(|count| count.min(512)).collect();
        let block = random_block([2, 2, 2], 1000, &counts, 7 + u64::from(first));
        let ours = LabelBlock::parse(block.clone(), Coordinate::splat(16)).unwrap().decode();
        assert_eq!(u64s(&ours), naive(&block), "{counts:?}");
    }
}

#[test]
fn a_solid_block_is_twenty_four_bytes() {
    let solid = random_block([8, 4, 1], 1, &[], 3);
    assert_eq!(solid.len(), 24);
    let shape = Coordinate::new(8, 32, 64);
    let block = LabelBlock::parse(solid.clone(), shape).unwrap();
    assert_eq!(u64s(&block.decode()), naive(&solid));
    assert_eq!(u64s(&block.decode_mapped(&[9])), vec![9; 8 * 32 * 64]);
    check_refused([&solid[..], &[0]].concat(), shape, "bytes behind a solid block");
}

#[test]
fn voxels_under_other_labels_keep_their_places_and_labelless_ones_stay_zero() {
    let (bytes, shape) = valid();
    let block = LabelBlock::parse(bytes, shape).unwrap();
    let mapped: Vec<u64> = block.labels().iter().map(|label| label / 3).collect();
    let expected: Vec<u64> = u64s(&block.decode()).iter().map(|label| label / 3).collect();
    assert_eq!(u64s(&block.decode_mapped(&mapped)), expected);
    assert_eq!(u64s(&block.with_labels(mapped).decode()), expected);
    let ones = u64s(&block.decode_mapped(&vec![1; 600]));
    assert_eq!(ones.iter().filter(|&&label| label == 0).count(), 512, "the sub-block without labels");
}

#[test]
fn a_block_of_another_shape_is_refused() {
    let (block, _) = valid();
    for shape in [[8, 16, 8], [16, 16, 16], [8, 16, 0], [0, 0, 0], [8, 16, -16]] {
        check_refused(block.clone(), shape.into(), "another shape than the instance's blocks");
    }
    let mut huge = block;
    huge[..12].fill(0xff);
    check_refused(huge, Coordinate::splat(64), "another shape than the instance's blocks");
}

#[test]
fn counts_and_indices_that_cannot_be_are_refused() {
    let (block, shape) = valid();
    let with = |at: usize, bytes: &[u8]| {
        let mut block = block.clone();
        block[at..at + bytes.len()].copy_from_slice(bytes);
        block
    };
    let counts_at = 16 + 8 * 600;
    let indices_at = counts_at + 8;
    check_refused(with(12, &[0; 4]), shape, "no labels");
    check_refused(with(12, &[0xff; 4]), shape, "cut in the label list");
    check_refused(with(12, &u32::to_le_bytes(0x2000_0001)), shape, "cut in the label list");
    check_refused(with(counts_at + 6, &513_u16.to_le_bytes()), shape, "more labels in a sub-block than voxels");
    check_refused(with(indices_at, &600_u32.to_le_bytes()), shape, "an index beyond the label list");
    check_refused(with(indices_at + 4 * 303, &u32::MAX.to_le_bytes()), shape, "an index beyond the label list");
    let values_at = indices_at + 4 * 304;
    let value = "a value beyond the labels of its sub-block";
    check_refused(with(values_at, &[0xc0]), shape, value);
    check_refused(with(values_at + 127, &[0x03]), shape, value);
    check_refused(with(values_at + 128, &[0xff, 0xff]), shape, value);
    let last = block.len() - 2;
    check_refused(with(last, &[0xff, 0xff]), shape, value);
    // More labels than voxels, all of them there.
    let crowded = random_block([1, 1, 1], 513, &[2], 1);
    check_refused(crowded, Coordinate::splat(8), "more labels than voxels");
}

#[test]
fn a_value_that_is_just_too_large_is_seen_at_every_place() {
    for count in [3_u16, 5, 6, 7, 9, 15, 17, 100, 129, 255, 257, 400, 511] {
        let block = random_block([1, 1, 1], 512, &[count], count.into());
        let bits = bits_of(count);
        let values_at = block.len() - 64 * bits;
        for voxel in [0, 1, 2, 3, 4, 5, 6, 7, 8, 100, 504, 511] {
            for (value, right) in [(count - 1, true), (count, false), ((1 << bits) - 1, false)] {
                let mut block = block.clone();
                for bit in 0..bits {
                    let at = voxel * bits + bit;
                    let mask = 0x80 >> (at % 8);
                    let byte = &mut block[values_at + at / 8];
                    *byte = if value >> (bits - 1 - bit) & 1 == 1 { *byte | mask } else { *byte & !mask };
                }
                let accepted = LabelBlock::parse(block, Coordinate::splat(8)).is_ok();
                assert_eq!(accepted, right, "value {value} of {count} at voxel {voxel}");
            }
        }
    }
}

#[test]
fn a_cut_or_prolonged_block_is_refused() {
    let (block, shape) = valid();
    assert!(LabelBlock::parse(block.clone(), shape).is_ok());
    for end in (0..block.len()).step_by(STEP) {
        assert!(LabelBlock::parse(block[..end].to_vec(), shape).is_err(), "{end} of {}", block.len());
    }
    check_refused([&block[..], &[0]].concat(), shape, "bytes left over");
}

proptest! {
    #[test]
    fn a_damaged_block_is_refused_or_decodes_to_labels_of_its_list(
        counts in prop::collection::vec(0_u16..=512, 8), n_labels in 2_u32..2000, seed: u64,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u32..8), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut block = random_block([2, 2, 2], n_labels, &counts, seed);
        for (at, bit) in flips {
            let at = at.index(block.len());
            block[at] ^= 1 << bit;
        }
        if let Some(cut) = cut {
            block.truncate(cut.index(block.len()));
        }
        if let Ok(parsed) = LabelBlock::parse(block.clone(), Coordinate::splat(16)) {
            let voxels = u64s(&parsed.decode());
            prop_assert_eq!(voxels, naive(&block));
        }
    }

    #[test]
    fn any_bytes_are_refused_or_decoded(mut block in prop::collection::vec(any::<u8>(), 0..400), head in any::<bool>()) {
        if head && block.len() > 16 {
            block[..16].copy_from_slice(&[1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]);
        }
        if let Ok(parsed) = LabelBlock::parse(block, Coordinate::splat(8)) {
            prop_assert_eq!(parsed.decode().len(), 512 * 8);
        }
    }
}
