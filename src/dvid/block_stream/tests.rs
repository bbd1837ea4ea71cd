use proptest::prelude::*;

use super::super::test_support::{asked, body};
use super::*;
use crate::geometry::VoxelBox;

fn frame(xyz: [i32; 3], payload: &[u8]) -> Vec<u8> {
    let length = i32::try_from(payload.len()).unwrap();
    let numbers = [xyz[0], xyz[1], xyz[2], length].map(i32::to_le_bytes);
    [numbers.as_flattened(), payload].concat()
}

/// x 5..7, y 2..4, z -1..1.
fn a_box() -> BlockBox {
    BlockBox(VoxelBox::new(Coordinate::new(-1, 2, 5), Coordinate::new(1, 4, 7)).unwrap())
}

fn code(body: &[u8]) -> &'static str {
    parse_frames(body, a_box()).unwrap_err().code()
}

#[test]
fn frames_in_any_order_find_their_slots_and_missing_ones_stay_empty() {
    let body = [frame([6, 3, 0], b"last"), frame([5, 2, -1], b"first"), frame([6, 2, -1], b"second")].concat();
    let slots = parse_frames(&body, a_box()).unwrap();
    assert_eq!(slots.len(), 8);
    for (slot, payload) in slots.iter().enumerate() {
        let expected: Option<&[u8]> = match slot {
            0 => Some(b"first"),
            1 => Some(b"second"),
            7 => Some(b"last"),
            _ => None,
        };
        assert_eq!(*payload, expected, "{slot}");
    }
    assert_eq!(parse_frames(b"", a_box()).unwrap(), [None; 8]);
}

#[test]
fn a_stream_that_is_not_whole_frames_is_refused() {
    let whole = [frame([5, 2, -1], b"first"), frame([6, 2, -1], b"second")].concat();
    let first = frame([5, 2, -1], b"first").len();
    for end in (1..whole.len()).filter(|&end| end != first) {
        assert_eq!(code(&whole[..end]), "bad_frame", "{end}");
    }
    for text in [&b"x"[..], b"error in block", b"unable to get label block (0, 1, 1)"] {
        assert_eq!(code(&[&whole, text].concat()), "bad_frame");
    }
    assert_eq!(code(b"<!DOCTYPE html><html></html>"), "bad_frame");
}

#[test]
fn a_length_that_cannot_be_is_refused() {
    for length in [0, -1, i32::MIN, i32::MAX, 6] {
        let mut body = frame([5, 2, -1], b"first");
        body[12..16].copy_from_slice(&i32::to_le_bytes(length));
        assert_eq!(code(&body), "bad_frame", "{length}");
    }
}

#[test]
fn a_block_unasked_or_repeated_is_refused() {
    for xyz in [[4, 2, 0], [7, 2, 0], [5, 1, 0], [5, 4, 0], [5, 2, -2], [5, 2, 1], [i32::MIN, 2, 0], [2, 5, -1]] {
        let error = parse_frames(&frame(xyz, b"voxels"), a_box()).unwrap_err();
        assert!(matches!(error, PayloadError::UnaskedBlock(_)), "{xyz:?}");
    }
    let twice = [frame([5, 2, 0], b"voxels"), frame([5, 2, 0], b"voxels")].concat();
    assert!(matches!(parse_frames(&twice, a_box()), Err(PayloadError::RepeatedBlock(_))));
    let name = "specific-gray32-twice";
    let recorded = parse_frames(&body(name), asked(name, Coordinate::splat(32))).map(|_| ());
    assert!(matches!(recorded, Err(PayloadError::RepeatedBlock(_))));
}

proptest! {
    #[test]
    fn whatever_is_accepted_is_whole_frames_of_asked_blocks(
        cut in 0_usize..200, flips in prop::collection::vec((0_usize..200, 0_u32..8), 0..4),
    ) {
        let mut body: Vec<u8> = a_box().blocks().flat_map(|block| {
            let [z, y, x] = block.0.axes().map(|n| i32::try_from(n).unwrap());
            frame([x, y, z], &[7; 9])
        }).collect();
        body.truncate(cut);
        for (at, bit) in flips {
            if let Some(byte) = body.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
        if let Ok(payloads) = parse_frames(&body, a_box()) {
            let n_bytes: usize = payloads.iter().flatten().map(|payload| payload.len() + HEADER_BYTES).sum();
            prop_assert_eq!(n_bytes, body.len());
        }
    }
}
