//! Fuzz targets `block_stream` and `inflate`: an answer is whole and of nothing but what was asked for, or it is refused.

use libdeflater::crc32;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

use crate::demo::fuzz::{frame, gzip, label_block, stored_forms};
use crate::dvid::Block;
use crate::dvid::block_stream::parse_frames;
use crate::dvid::gzip::gunzip;
use crate::dvid::payload::{Encoding, decode_payload};
use crate::fuzz::{Input, KIB, Peak, Target};
use crate::geometry::{BlockBox, Coordinate, VoxelBox};
use crate::voxels::Dtype;

use super::mutation::edited;

/// What is tried; the box of blocks that is asked for; then the answer, or what a right one is made and spoilt by.
pub(crate) const BLOCK_STREAM: Target = Target { name: "block_stream", run: block_stream, seeds: stream_seeds };

/// What is tried; how many bytes are expected; then the member, or what a right one is made and spoilt by.
pub(crate) const INFLATE: Target = Target { name: "inflate", run: inflate, seeds: inflate_seeds };

/// Voxel types, channels and block shapes that payloads are read as.
const VOXELS: [(Dtype, Option<usize>, [i64; 3]); 5] = [
    (Dtype::Uint8, None, [8, 16, 8]),
    (Dtype::Uint16, None, [3, 4, 5]),
    (Dtype::Uint64, None, [8, 8, 8]),
    (Dtype::Float32, None, [1, 7, 9]),
    (Dtype::Uint8, Some(4), [4, 4, 4]),
];
/// Codes of encodings, and one that is none.
const ENCODINGS: [u8; 8] = [1, 2, 16, 17, 18, 19, 20, 0];
/// A JPEG decoder works on whole rows of squares, in 16 and 32 bits, and keeps coefficients.
const OF_A_JPEG_DECODER: usize = 1024 * KIB;

fn block_stream(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let is_raw = input.u8().is_multiple_of(2);
    let begin = input.array::<3>().map(|n| i64::from(n.cast_signed()));
    let shape = input.array::<3>().map(|n| i64::from(n % 4));
    let asked = VoxelBox::from_shape(begin.into(), shape.into()).expect("a small box");
    if is_raw {
        let (code, voxels) = (input.pick(&ENCODINGS), input.pick(&VOXELS));
        any_stream(BlockBox(asked), code, voxels, input.rest());
    } else {
        spoilt_stream(BlockBox(asked), input);
    }
}

/// Whatever came: what is taken of it are whole frames of blocks that were asked for, one behind the other.
fn any_stream(asked: BlockBox, code: u8, (dtype, channels, shape): (Dtype, Option<usize>, [i64; 3]), body: &[u8]) {
    let Ok(payloads) = Peak::of(|| parse_frames(body, asked)).at_most(64 * KIB) else { return };
    assert_eq!(payloads.len() as u128, asked.n_blocks());
    let (mut at, mut n_frames) = (0, 0);
    while at < body.len() {
        let number = |n: usize| i32::from_le_bytes(body[at + 4 * n..at + 4 * n + 4].try_into().expect("four bytes"));
        let block = Coordinate::new(number(2).into(), number(1).into(), number(0).into());
        let end = at + 16 + usize::try_from(number(3)).expect("a length");
        let slot = asked.blocks().position(|asked| asked.0 == block).expect("a block that was asked for");
        assert_eq!(payloads[slot], Some(&body[at + 16..end]), "{block}");
        assert!(end > at + 16, "an empty payload");
        (at, n_frames) = (end, n_frames + 1);
    }
    assert_eq!((at, payloads.iter().flatten().count()), (body.len(), n_frames));
    let Some(encoding) = Encoding::from_code(code) else { return };
    assert_eq!(encoding.code(), code);
    let shape = Coordinate::from(shape);
    let n_bytes = usize::try_from(shape.product()).expect("small") * dtype.itemsize() * channels.unwrap_or(1);
    for payload in payloads.into_iter().flatten() {
        // The bytes, once more while channels are taken apart, and the largest label block, which has 13 bytes a voxel.
        let beside = if payload.starts_with(&[0xff, 0xd8]) { OF_A_JPEG_DECODER } else { 64 * KIB };
        let limit = 4 * n_bytes + 26 * usize::try_from(shape.product()).expect("small") + beside;
        let decoded = Peak::of(|| decode_payload(encoding, (dtype, channels), shape, payload)).at_most(limit);
        match decoded {
            Ok(Block::Dense(volume)) => {
                assert_eq!((volume.shape(), volume.dtype(), volume.channels()), (shape, dtype, channels));
                assert_eq!(volume.bytes().len(), n_bytes);
            }
            Ok(Block::Labels(labels)) => assert_eq!(labels.decode().len() as u128, 8 * shape.product()),
            Ok(Block::Absent) => panic!("a payload is no absent block"),
            Err(_) => {}
        }
    }
}

/// A right answer with all blocks, edited at one place, gives no other voxels, nor does a block go missing: unless the
/// answer is shorter, which its length tells before it is looked at.
fn spoilt_stream(asked: BlockBox, mut input: Input<'_>) {
    let shape = Coordinate::splat(8);
    let kind = (Dtype::Uint64, None);
    let salt = input.u64();
    let voxels = |n: u64| (0..512).map(|voxel| (voxel * (n + salt % 97) % 5).wrapping_mul(salt)).collect::<Vec<_>>();
    let frames = asked.blocks().zip(0..).map(|(block, n)| frame(block, &gzip(&label_block(&voxels(n), shape))));
    let right = frames.collect::<Vec<_>>().concat();
    let body = edited(right.clone(), &mut input);
    let Ok(payloads) = parse_frames(&body, asked) else { return };
    if body.len() < right.len() {
        return;
    }
    assert!(payloads.iter().all(Option::is_some), "blocks are missing from an answer that is long enough");
    for (payload, n) in payloads.into_iter().zip(0..) {
        let Some(payload) = payload else { continue };
        match decode_payload(Encoding::LabelBlock, kind, shape, payload) {
            Ok(Block::Labels(labels)) => {
                let expected: Vec<u8> = voxels(n).into_iter().flat_map(u64::to_le_bytes).collect();
                assert_eq!(labels.decode(), expected, "block {n}");
            }
            Ok(_) => panic!("a label block is one"),
            Err(_) => {}
        }
    }
}

fn inflate(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let is_raw = input.u8().is_multiple_of(2);
    // Up to 256 KiB: a second copy of what is expected is more than is allowed beside it.
    let limit = 4 * usize::from(input.u16());
    if is_raw {
        any_member(input.rest(), limit);
        return;
    }
    let (n_plain, repeated) = (input.below(400), input.below(20));
    let plain = input.bytes(n_plain).repeat(repeated);
    let right = gzip(&plain);
    assert_eq!(any_member(&right, limit), (plain.len() <= limit).then(|| plain.clone()));
    let spoilt = edited(right.clone(), &mut input);
    if let Some(found) = any_member(&spoilt, limit) {
        assert_eq!(found, plain, "another content");
        assert_eq!(spoilt.len(), right.len(), "a member that is cut or prolonged");
    }
}

/// What a member holds, if it is believed: then its trailer says the same, and another decoder finds it, too.
fn any_member(member: &[u8], limit: usize) -> Option<Vec<u8>> {
    // Until it was called once, the memory that the decoder itself needs counts as well.
    let found = Peak::of(|| gunzip(member, limit)).at_most(limit + 64 * KIB).ok();
    let known = plainly_inflated(member, limit);
    let Some(found) = found else {
        assert_eq!(known, None, "a right member is refused");
        return None;
    };
    assert!(found.len() <= limit, "{} bytes where {limit} were expected", found.len());
    let trailer: Vec<u8> = [crc32(&found), u32::try_from(found.len()).expect("short")].map(u32::to_le_bytes).concat();
    assert!(member.ends_with(&trailer), "the trailer is of something else");
    let has_plain_header = member[3] == 0;
    assert!(!has_plain_header || known.as_ref() == Some(&found), "not what another decoder finds, or not all of it");
    Some(found)
}

/// What a member with a plain header holds, by another decoder: `None` if it is not whole and alone, or is too large.
fn plainly_inflated(member: &[u8], limit: usize) -> Option<Vec<u8>> {
    let stream = member.strip_prefix(&[0x1f, 0x8b, 8, 0])?.get(6..)?;
    // One more than fits: a buffer that is just full says nothing about the end.
    let mut out = vec![0; limit + 1];
    let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (status, n_in, n_out) = decompress(&mut DecompressorOxide::new(), stream, &mut out, 0, flags);
    out.truncate(n_out);
    let trailer = [crc32(&out), u32::try_from(n_out).ok()?].map(u32::to_le_bytes).concat();
    (status == TINFLStatus::Done && n_out <= limit && stream[n_in..] == trailer).then_some(out)
}

fn stream_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (which, (dtype, channels, shape)) in (0..).zip(VOXELS) {
        let shape = Coordinate::from(shape);
        let n_voxels = usize::try_from(shape.product()).expect("small");
        let n_bytes = n_voxels * dtype.itemsize() * channels.unwrap_or(1);
        let voxels: Vec<u8> = (0..n_bytes).map(|n| (n * n / 7 % 251).to_le_bytes()[0]).collect();
        let labels: Vec<u64> = (0..n_voxels as u64).map(|n| n / 64).collect();
        let mut payloads = vec![lz4_flex::block::compress(&voxels)];
        payloads.extend(stored_forms(&voxels, if dtype == Dtype::Uint8 { shape } else { Coordinate::ONE }));
        if shape == Coordinate::splat(8) {
            payloads.push(gzip(&label_block(&labels, shape)));
            payloads.push(label_block(&labels, shape));
        }
        for code in 0..8 {
            let frames = payloads.iter().zip(0..).map(|(payload, n)| {
                let at = Coordinate::new(n / 4 - 1, n / 2 % 2 - 1, n % 2 - 1);
                frame(crate::geometry::BlockIndex(at), payload)
            });
            let body = frames.collect::<Vec<_>>().concat();
            seeds.push([&[0, 255, 255, 255, 2, 2, 2, code, which], &body[..]].concat());
        }
    }
    for edit in 0..7 {
        let edit = [[1, 0, 2, 3, 1, 2, 2].as_slice(), &[edit + 3; 8], &[40, 0, 3, 0, edit], &[1, 2, 3, 4]].concat();
        seeds.push(edit);
    }
    seeds
}

fn inflate_seeds() -> Vec<Vec<u8>> {
    let text = b"one gzip member, whole and alone, and alone, and alone";
    let mut seeds = Vec::new();
    for plain in [&b""[..], b"x", text, &[7; 3000], &text.repeat(20)] {
        seeds.push([&[0, 0xff, 0x7f][..], &gzip(plain)].concat());
        seeds.push([&[0, 10, 0][..], &gzip(plain)].concat());
    }
    for second in [&b"another"[..], text] {
        seeds.push([&[0, 0xff, 0x7f][..], &gzip(text), &gzip(second)].concat());
    }
    for edit in 0..7 {
        seeds.push([&[1, 0xff, 0x7f, 50, 0, 3, 0][..], &text[..50], &[20, 0, 3, 0, edit], b"????"].concat());
    }
    seeds
}
