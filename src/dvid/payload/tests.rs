use std::collections::HashMap;

use proptest::prelude::*;

use super::super::block_stream::parse_frames;
use super::super::test_support::{Truth, asked, body, body_of};
use super::*;
use crate::fuzz::STEP;
use crate::geometry::{BlockIndex, VoxelBox};

const LABELS: (Encoding, Dtype, i64) = (Encoding::LabelBlock, Dtype::Uint64, 64);
const LABELS_32: (Encoding, Dtype, i64) = (Encoding::LabelBlock, Dtype::Uint64, 32);

/// All blocks of a recorded answer, `None` where none came.
fn blocks(name: &str, (encoding, dtype, edge): (Encoding, Dtype, i64)) -> Vec<(BlockIndex, Option<Vec<u8>>)> {
    let block_shape = Coordinate::splat(edge);
    let (asked, body) = (asked(name, block_shape), body(name));
    let payloads = parse_frames(&body, asked).unwrap_or_else(|error| panic!("{name}: {error}"));
    let decode = |payload| match decode_payload(encoding, (dtype, None), block_shape, payload)
        .unwrap_or_else(|e| panic!("{name}: {e}"))
    {
        Block::Labels(labels) => labels.decode(),
        Block::Dense(volume) => volume.bytes().to_vec(),
        Block::Absent => panic!("{name}: a payload is no absent block"),
    };
    asked.blocks().zip(payloads.into_iter().map(|payload| payload.map(decode))).collect()
}

fn value_at(dtype: Dtype, voxels: &[u8], index: usize) -> u64 {
    let size = dtype.itemsize();
    let mut wide = [0; 8];
    wide[..size].copy_from_slice(&voxels[index * size..][..size]);
    u64::from_le_bytes(wide)
}

/// Compares an answer with the truth, wherever it is known; says how many voxels were compared and which blocks are missing.
fn compare(name: &str, form: (Encoding, Dtype, i64), truth: &Truth) -> (usize, Vec<[i64; 3]>) {
    let (mut n_compared, mut missing) = (0, vec![]);
    for (block, voxels) in blocks(name, form) {
        let Some(voxels) = voxels else {
            missing.push(block.0.axes());
            continue;
        };
        let edge = Coordinate::splat(form.2);
        for (index, voxel) in VoxelBox::from_shape(block.0 * edge, edge).unwrap().indices().enumerate() {
            if let Some(value) = truth.at(voxel) {
                assert_eq!(value_at(form.1, &voxels, index), value, "{name} at {voxel}");
                n_compared += 1;
            }
        }
    }
    (n_compared, missing)
}

#[track_caller]
fn check(name: &str, form: (Encoding, Dtype, i64), truth: &Truth, n_compared: usize, missing: &[[i64; 3]]) {
    assert_eq!(compare(name, form, truth), (n_compared, missing.to_vec()), "{name}");
}

const BLOCK_32: usize = 32 * 32 * 32;
const BLOCK_64: usize = 64 * 64 * 64;

/// Red, green, blue and alpha of the recorded image, of a gray value.
fn rgba_of(gray: u64) -> [u64; 4] {
    [gray, 255 - gray, gray / 2, 255]
}

#[test]
fn channels_are_sent_voxel_by_voxel_and_kept_one_behind_the_other() {
    let gray = Truth::load("gray.npy");
    let name = "subvol-rgba-stored";
    let (edge, answer) = (Coordinate::splat(32), body(name));
    let (asked, voxel) = (asked(name, edge), (Dtype::Uint8, Some(4)));
    let payloads = parse_frames(&answer, asked).unwrap();
    let [Some(payload)] = payloads[..] else { panic!("one block") };
    let decode = |payload: &[u8]| match decode_payload(Encoding::Stored(StoredForm::Lz4), voxel, edge, payload) {
        Ok(Block::Dense(volume)) => Ok(volume),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.code()),
    };
    let volume = decode(payload).unwrap();
    assert_eq!((volume.channels(), volume.shape()), (Some(4), edge));
    let begin = asked.blocks().next().unwrap().0 * edge;
    for (index, at) in VoxelBox::from_shape(begin, edge).unwrap().indices().enumerate() {
        let wanted = rgba_of(gray.at(at).unwrap());
        assert_eq!([0, 1, 2, 3].map(|channel| u64::from(volume.plane(channel)[index])), wanted, "{at}");
    }
    // The other forms, of the same bytes.
    let woven = lz4_flex::block::decompress(&payload[4..], 4 * BLOCK_32).unwrap();
    assert_eq!(decode(&woven).unwrap().bytes(), volume.bytes(), "as it is");
    let mut packer = libdeflater::Compressor::new(libdeflater::CompressionLvl::fastest());
    let mut gzipped = vec![0; packer.gzip_compress_bound(woven.len())];
    let n = packer.gzip_compress(&woven, &mut gzipped).unwrap();
    assert_eq!(decode(&gzipped[..n]).unwrap().bytes(), volume.bytes(), "gzip");
    assert_eq!(decode(&woven[..3 * BLOCK_32]), Err("bad_length"), "a channel is missing");
    assert_eq!(decode(b"\xff\xd8 no picture"), Err("bad_length"));
}

#[test]
fn images_come_out_of_every_stored_form_as_they_went_in() {
    use StoredForm::{Gzip, Lz4, None, Snappy};
    let gray = Truth::load("gray.npy");
    let of = |form, dtype| (Encoding::Stored(form), dtype, 32);
    let missing = &[[1, 1, 1]][..];
    for (name, form) in [("gray_gzip", Gzip), ("gray_none", None), ("gray_snappy", Snappy)] {
        check(&format!("subvol-{name}-stored"), of(form, Dtype::Uint8), &gray, BLOCK_32, missing);
    }
    check("subvol-gray32-stored", of(Lz4, Dtype::Uint8), &gray, 3 * BLOCK_32, missing);
    check("subvol-gray32-uncompressed", of(None, Dtype::Uint8), &gray, 3 * BLOCK_32, missing);
    check("subvol-gray32-one", of(Lz4, Dtype::Uint8), &gray, BLOCK_32, &[]);
    check("subvol-gray32-one-missing", of(Lz4, Dtype::Uint8), &gray, 0, missing);
    let others = [[0, 0, 1], [0, 1, 0], [0, 1, 1], [1, 0, 0], [1, 0, 1], [1, 1, 0], [1, 1, 1]];
    check("specific-gray32", of(Lz4, Dtype::Uint8), &gray, 2 * BLOCK_32, &others[1..]);
    let u16s = gray.clone().map(|g| (257 * g) ^ 0x1234);
    check("subvol-u16-stored", of(Lz4, Dtype::Uint16), &u16s, BLOCK_32, &[]);
    check("subvol-u16-uncompressed", of(None, Dtype::Uint16), &u16s, BLOCK_32, &[]);
    let floats = gray.map(|g| (f32::from(u8::try_from(g).unwrap()) / 255.0 - 0.5).to_bits().into());
    check("subvol-f32-stored", of(Lz4, Dtype::Float32), &floats, BLOCK_32, &[]);
}

#[test]
fn blocks_left_of_the_origin_are_named_by_negative_numbers() {
    let (gray, form) = (Truth::load("gray.npy"), (Encoding::Stored(StoredForm::None), Dtype::Uint8, 32));
    let [(block, voxels)] = blocks("subvol-neg-one", form).try_into().unwrap();
    assert_eq!(block.0, Coordinate::new(-6, -2, -4));
    let voxels = voxels.unwrap();
    for (index, voxel) in VoxelBox::from_shape(Coordinate::ZERO, Coordinate::splat(32)).unwrap().indices().enumerate() {
        assert_eq!(u64::from(voxels[index]), gray.at(voxel).unwrap());
    }
}

#[test]
fn a_form_that_the_instance_does_not_declare_is_recognized() {
    let gray = Truth::load("gray.npy");
    for declared in [StoredForm::Lz4, StoredForm::Gzip, StoredForm::None, StoredForm::Jpeg, StoredForm::Snappy] {
        let form = (Encoding::Stored(declared), Dtype::Uint8, 32);
        for name in ["gray32", "gray_gzip", "gray_none", "gray_snappy"] {
            let (n_compared, _) = compare(&format!("subvol-{name}-stored"), form, &gray);
            assert!(n_compared >= BLOCK_32, "{name} said to be {declared:?}");
        }
    }
}

fn jpeg_form(edge: i64) -> (Encoding, Dtype, i64) {
    (Encoding::Stored(StoredForm::Jpeg), Dtype::Uint8, edge)
}

#[test]
fn jpeg_blocks_are_near_the_truth_and_within_one_of_the_server() {
    let gray = Truth::load("gray.npy");
    let [(_, voxels)] = blocks("subvol-jpeg-one", jpeg_form(64)).try_into().unwrap();
    let voxels = voxels.unwrap();
    let off: u64 = voxels.iter().zip(&gray.values).map(|(&voxel, &gray)| gray.abs_diff(voxel.into())).sum();
    assert!(off < 4 * BLOCK_64 as u64, "{off}");
    // 24 x 20 x 16 voxels (x, y, z) from (20, 24, 28), as the server decodes them.
    let window = VoxelBox::from_shape(Coordinate::new(28, 24, 20), Coordinate::new(16, 20, 24)).unwrap();
    let theirs = body("raw-gray_jpeg-small");
    for (voxel, &theirs) in window.indices().zip(&theirs) {
        let ours =
            value_at(Dtype::Uint8, &voxels, usize::try_from((voxel.z() * 64 + voxel.y()) * 64 + voxel.x()).unwrap());
        assert!(ours.abs_diff(theirs.into()) <= 1, "{voxel}: {ours} and {theirs}");
    }
    let several = blocks("subvol-jpeg-several", jpeg_form(64));
    assert_eq!(several.iter().filter(|(_, voxels)| voxels.is_some()).count(), 1);
}

#[test]
fn blocks_of_a_bucket_come_padded_to_the_whole_block() {
    let one = blocks("grid-subvol-one", jpeg_form(64));
    let several = blocks("grid-specific-several", jpeg_form(64));
    let stored: Vec<_> =
        several.iter().filter(|(_, voxels)| voxels.is_some()).map(|(block, _)| block.0.axes()).collect();
    assert_eq!(stored, [[0, 0, 3], [1, 2, 3]]);
    assert_eq!(several.iter().find(|(block, _)| block.0 == Coordinate::new(0, 0, 3)), one.first());
    let edge = blocks("grid-specific-edge", jpeg_form(64));
    // The volume ends at x = 200, y = 130, z = 100: the block holds 8 x 2 x 36 voxels of it.
    let voxels = edge[0].1.as_deref().unwrap();
    let inside: Vec<_> = voxels[..8].iter().collect();
    assert!(inside.iter().all(|&&voxel| voxel > 20), "{inside:?}");
    assert!(voxels[40 * 64 * 64..].iter().all(|&voxel| voxel <= 1), "padding is black");
}

#[test]
fn an_error_appended_to_frames_spoils_the_whole_answer() {
    let asked = asked("grid-specific-error-appended", Coordinate::splat(64));
    let error = parse_frames(&body("grid-specific-error-appended"), asked).unwrap_err();
    assert_eq!(error.code(), "bad_frame");
}

fn segmentation() -> Truth {
    let missing = Coordinate::new(0, 0, 1);
    Truth::load("supervoxels.npy").without(missing, Coordinate::splat(64))
}

fn bodies(of: &Truth) -> Truth {
    let body_of = body_of();
    of.clone().map(|supervoxel| body_of[&supervoxel])
}

#[test]
fn labelmap_blocks_hold_supervoxels_and_bodies() {
    let supervoxels = segmentation();
    let views = [("sv", supervoxels.clone()), ("body", bodies(&supervoxels))];
    for (view, truth) in &views {
        check(&format!("labels-blocks-{view}"), LABELS, truth, 3 * BLOCK_64, &[[0, 0, 1]]);
        check(&format!("labels-specific-{view}"), LABELS, truth, 2 * BLOCK_64, &[[0, 0, 1], [0, 1, 0]]);
    }
    // The 32^3 instance holds the first 64^3 voxels.
    for (view, truth) in &views {
        check(&format!("labels32-blocks-{view}"), LABELS_32, truth, 7 * BLOCK_32, &[[1, 1, 1]]);
        let lz4 = (Encoding::Lz4Labels, Dtype::Uint64, 32);
        check(&format!("labels32-lz4-{view}"), lz4, truth, 7 * BLOCK_32, &[[1, 1, 1]]);
        let gzip = (Encoding::Stored(StoredForm::Gzip), Dtype::Uint64, 32);
        check(&format!("labels32-gzip-{view}"), gzip, truth, 7 * BLOCK_32, &[[1, 1, 1]]);
    }
    let mapped = &views[1].1;
    check("labels32-uncompressed-one", (Encoding::Stored(StoredForm::None), Dtype::Uint64, 32), mapped, BLOCK_32, &[]);
    check("labels32-default", (Encoding::Lz4Labels, Dtype::Uint64, 32), mapped, BLOCK_32, &[]);
    check("labels32-specific-default", LABELS_32, mapped, BLOCK_32, &[]);
    check("labels-missing-one", LABELS, mapped, 0, &[[0, 0, 1]]);
    check("labels-outside", LABELS, mapped, 0, &[[0, 0, -1]]);
}

#[test]
fn a_label_list_mapped_here_gives_the_servers_bodies() {
    let body_of = body_of();
    for (ours, theirs) in [("labels-blocks-sv", "labels-blocks-body"), ("labels-scale1-sv", "labels-scale1-body")] {
        let shape = Coordinate::splat(64);
        let body = body(ours);
        for (payload, (_, theirs)) in
            parse_frames(&body, asked(ours, shape)).unwrap().into_iter().zip(blocks(theirs, LABELS))
        {
            let Some(payload) = payload else { continue };
            let Block::Labels(block) =
                decode_payload(Encoding::LabelBlock, (Dtype::Uint64, None), shape, payload).unwrap()
            else {
                panic!("label blocks stay label blocks")
            };
            let labels: Vec<u64> =
                block.labels().iter().map(|label| body_of.get(label).copied().unwrap_or(*label)).collect();
            let mapped = block.decode_mapped(&labels);
            assert_eq!(block.with_labels(labels).decode(), mapped);
            if ours == "labels-blocks-sv" {
                // Coarser scales reach beyond the supervoxels whose bodies are recorded.
                assert_eq!(Some(mapped), theirs);
            }
        }
    }
}

#[test]
fn coarser_scales_are_majorities_of_supervoxels() {
    let mut supervoxels = segmentation();
    for (scale, n_compared) in [(1, 64 * 64 * 32), (2, 32 * 32 * 16), (3, 16 * 16 * 8)] {
        supervoxels = supervoxels.halved();
        check(&format!("labels-scale{scale}-sv"), LABELS, &supervoxels, n_compared, &[]);
        check(&format!("labels-scale{scale}-body"), LABELS, &bodies(&supervoxels), n_compared, &[]);
    }
    check("labels-scale1-missing", LABELS, &supervoxels, 0, &[[1, 1, 1]]);
    check("labels-scale4", LABELS, &supervoxels, 0, &[[0, 0, 0]]);
}

#[test]
fn instances_without_compression_send_bare_label_blocks() {
    let supervoxels = Truth::load("supervoxels.npy");
    for name in ["labels-stored-none-blocks", "labels-stored-none-uncompressed"] {
        check(name, LABELS_32, &supervoxels, BLOCK_32, &[]);
    }
}

#[test]
fn label_blocks_without_extents_and_at_negative_coordinates_come_out() {
    let supervoxels = Truth::load("supervoxels.npy");
    check("labels-ingest", LABELS, &supervoxels, BLOCK_64, &[]);
    let [(block, voxels)] = blocks("labels-neg", LABELS).try_into().unwrap();
    assert_eq!(block.0, Coordinate::new(-3, -1, -2));
    assert_eq!(voxels, blocks("labels-ingest", LABELS)[0].1);
}

#[test]
fn merges_and_cleaves_show_on_the_node_where_they_were_made() {
    let changes: HashMap<u64, u64> = [(84, 1_135_720), (102, 1_135_720)].into();
    let merged = 1_114_488;
    let body_of = body_of();
    let truth = segmentation().map(|supervoxel| match changes.get(&supervoxel) {
        Some(&cleaved) => cleaved,
        None if body_of[&supervoxel] == merged => 1_002_150,
        None => body_of[&supervoxel],
    });
    check("labels-head-changed", LABELS, &truth, BLOCK_64, &[]);
}

#[test]
fn labelarray_and_labelblk_hold_bodies_themselves() {
    let bodies = bodies(&Truth::load("supervoxels.npy"));
    let stored = bodies.clone().without(Coordinate::new(0, 0, 1), Coordinate::splat(64));
    check("labelarray-blocks", LABELS, &stored, 3 * BLOCK_64, &[[0, 0, 1]]);
    check(
        "labelarray-gzip",
        (Encoding::Stored(StoredForm::Gzip), Dtype::Uint64, 64),
        &stored,
        3 * BLOCK_64,
        &[[0, 0, 1]],
    );
    check("labelarray-specific", LABELS, &stored, BLOCK_64, &[[0, 0, 1]]);
    check("labelarray-scale1", LABELS, &stored.halved(), 64 * 64 * 32, &[]);
    check("labelblk-lz4", (Encoding::Lz4Labels, Dtype::Uint64, 32), &bodies, 7 * BLOCK_32, &[[1, 1, 1]]);
}

#[test]
fn voxels_that_are_not_exactly_one_block_are_refused() {
    let shape = Coordinate::splat(32);
    let decode =
        |encoding, bytes: &[u8]| decode_payload(encoding, (Dtype::Uint8, None), shape, bytes).unwrap_err().code();
    let raw = vec![7; BLOCK_32];
    for declared in [StoredForm::Lz4, StoredForm::Gzip, StoredForm::None, StoredForm::Jpeg, StoredForm::Snappy] {
        assert_eq!(decode(Encoding::Stored(declared), &raw[1..]), "bad_length", "{declared:?}");
        assert_eq!(decode(Encoding::Stored(declared), &[&raw[..], &[7]].concat()), "bad_length", "{declared:?}");
        assert_eq!(decode(Encoding::Stored(declared), b"<!DOCTYPE html>"), "bad_length", "{declared:?}");
    }
    let lz4 = lz4_flex::block::compress(&raw);
    for cut in 1..lz4.len() {
        assert!(["bad_lz4", "bad_length"].contains(&decode(Encoding::Lz4Labels, &lz4[..cut])), "{cut}");
    }
    let bomb = lz4_flex::block::compress(&vec![0; (1 << 24) / STEP]);
    assert_eq!(decode(Encoding::Lz4Labels, &bomb), "bad_lz4");
}

#[test]
fn voxels_that_were_stored_without_compression_follow_a_size_of_zero() {
    let raw: Vec<u8> = (0..=255).cycle().take(BLOCK_32).collect();
    let payload = [&[0; 4], &raw[..]].concat();
    let form = Encoding::Stored(StoredForm::Lz4);
    let Block::Dense(volume) = decode_payload(form, (Dtype::Uint8, None), Coordinate::splat(32), &payload).unwrap()
    else {
        panic!("an image is dense")
    };
    assert_eq!(volume.bytes(), raw);
}

proptest! {
    #[test]
    fn whatever_a_payload_holds_the_answer_is_one_block_or_an_error(
        form in 0_usize..7, dtype in prop::sample::select(vec![Dtype::Uint8, Dtype::Uint16, Dtype::Float32, Dtype::Uint64]),
        source in 0_usize..6, flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let encodings = [
            Encoding::Stored(StoredForm::Lz4),
            Encoding::Stored(StoredForm::Gzip),
            Encoding::Stored(StoredForm::None),
            Encoding::Stored(StoredForm::Jpeg),
            Encoding::Stored(StoredForm::Snappy),
            Encoding::LabelBlock,
            Encoding::Lz4Labels,
        ];
        let sources = [
            "subvol-gray32-one", "subvol-gray_gzip-stored", "subvol-gray_snappy-stored",
            "labels32-specific-default", "labels32-default", "labels-stored-none-blocks",
        ];
        let mut payload = body(sources[source])[16..].to_vec();
        for (at, value) in flips {
            let at = at.index(payload.len());
            payload[at] ^= value;
        }
        if let Some(cut) = cut {
            payload.truncate(cut.index(payload.len()));
        }
        let n_voxels = 32 * 32 * 32;
        match decode_payload(encodings[form], (dtype, None), Coordinate::splat(32), &payload) {
            Ok(Block::Dense(volume)) => prop_assert_eq!(volume.bytes().len(), n_voxels * dtype.itemsize()),
            Ok(Block::Labels(labels)) => prop_assert_eq!(labels.decode().len(), n_voxels * 8),
            Ok(Block::Absent) => prop_assert!(false, "a payload is no absent block"),
            Err(_) => {}
        }
    }
}
