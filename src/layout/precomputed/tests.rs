//! `info` against the text of the format's description; names and sizes of chunks against those of TensorStore 0.1.86.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::chunk_grid::ChunkNode;
use super::super::file::VoxelFile;
use super::super::test_support::file_bytes;
use super::*;
use crate::array::LevelSource;
use crate::dvid::View;
use crate::geometry::{Coordinate, VoxelBox, VoxelSize};
use crate::voxels::Dtype;

fn spec(dtype: Dtype, voxel_size: [f64; 3], data: [[i64; 3]; 2], block: [i64; 3], n_levels: usize) -> ArraySpec {
    let kind = if dtype == Dtype::Uint64 { ArrayKind::Labels } else { ArrayKind::Image };
    let source = LevelSource { source: "grayscale".into(), block_shape: block.into(), extents: None };
    let data = VoxelBox::new(data[0].into(), data[1].into()).unwrap();
    let size = VoxelSize::new(voxel_size).unwrap();
    ArraySpec::new("grayscale".into(), View::Stored, (dtype, kind), size, data, vec![source; n_levels]).unwrap()
}

/// Data from (130, 1000, -70) to (280, 1130, 130) in blocks of 64^3, four levels.
fn running_example(dtype: Dtype, voxel_size: [f64; 3]) -> ArraySpec {
    spec(dtype, voxel_size, [[130, 1000, -70], [280, 1130, 130]], [64; 3], 4)
}

/// 58 teravoxels of labels.
fn large() -> ArraySpec {
    spec(Dtype::Uint64, [8.0; 3], [[0; 3], [49_000, 39_743, 29_870]], [64; 3], 1)
}

#[track_caller]
fn check_text(written: &[u8], golden: &str) {
    let bare = |text: &str| text.split_whitespace().collect::<String>();
    let written = std::str::from_utf8(written).unwrap();
    assert_eq!(bare(written), bare(golden));
    assert!(written.ends_with('\n'));
}

const GOLDEN_INFO: &str = r#"{"@type": "neuroglancer_multiscale_volume", "type": "image", "data_type": "uint8", "num_channels": 1, "scales": [
 {"key": "8_8_8", "size": [648, 1136, 280], "resolution": [8, 8, 8], "voxel_offset": [-512, 0, 0], "chunk_sizes": [[64, 64, 64]], "encoding": "raw"},
 {"key": "16_16_16", "size": [324, 568, 140], "resolution": [16, 16, 16], "voxel_offset": [-256, 0, 0], "chunk_sizes": [[64, 64, 64]], "encoding": "raw"},
 {"key": "32_32_32", "size": [162, 284, 70], "resolution": [32, 32, 32], "voxel_offset": [-128, 0, 0], "chunk_sizes": [[64, 64, 64]], "encoding": "raw"},
 {"key": "64_64_64", "size": [81, 142, 35], "resolution": [64, 64, 64], "voxel_offset": [-64, 0, 0], "chunk_sizes": [[64, 64, 64]], "encoding": "raw"}]}"#;

#[test]
fn the_running_example_is_written_as_described() {
    let info_of = |dtype| info(&running_example(dtype, [8.0; 3]));
    check_text(&info_of(Dtype::Uint8), GOLDEN_INFO);
    let labels = GOLDEN_INFO.replace("image", "segmentation").replace("uint8", "uint64");
    check_text(&info_of(Dtype::Uint64), &labels);
    for dtype in [Dtype::Uint16, Dtype::Uint32, Dtype::Float32] {
        check_text(&info_of(dtype), &GOLDEN_INFO.replace("uint8", dtype.name()));
    }
    let mut rgba = running_example(Dtype::Uint8, [8.0; 3]);
    rgba.channels = Some(4);
    check_text(&info(&rgba), &GOLDEN_INFO.replace("\"num_channels\": 1", "\"num_channels\": 4"));
}

#[test]
fn a_volume_of_58_teravoxels_is_written_as_tensorstore_does() {
    let golden = r#"{"@type":"neuroglancer_multiscale_volume","data_type":"uint64","num_channels":1,"scales":[{"chunk_sizes":[[64,64,64]],"encoding":"raw","key":"8_8_8","resolution":[8,8,8],"size":[29870,39743,49000],"voxel_offset":[0,0,0]}],"type":"segmentation"}"#;
    let written: Value = serde_json::from_slice(&info(&large())).unwrap();
    assert_eq!(written, serde_json::from_str::<Value>(golden).unwrap());
    let (grid, path) = (grid(&large(), 0), "29824-29870_39680-39743_48960-49000");
    let file = grid.file(&large(), grid.child_named(None, path).unwrap()).unwrap();
    assert_eq!(file.n_bytes(), 927_360);
    assert_eq!(grid.n_chunks(), 467 * 621 * 766);
    assert_eq!(grid.n_bytes(), 8 * 29_870 * 39_743 * 49_000);
}

#[test]
fn sizes_that_are_no_whole_nanometers_keep_their_fractions() {
    let spec = running_example(Dtype::Uint8, [40.0, 4.0, 3.2]);
    let written: Value = serde_json::from_slice(&info(&spec)).unwrap();
    let scale = |n: usize| (written["scales"][n]["key"].clone(), written["scales"][n]["resolution"].clone());
    assert_eq!(scale(0), (json!("3.2_4_40"), json!([3.2, 4, 40])));
    assert_eq!(scale(1), (json!("6.4_8_80"), json!([6.4, 8, 80])));
    assert_eq!(scale(2), (json!("12.8_16_160"), json!([12.8, 16, 160])));
}

#[test]
fn no_two_levels_have_one_name() {
    for size in [0.1, 1.0 / 3.0, 1.0, 3.2, 8.0, 1e-14, 1e14, 9_007_199_254_740_993.0, 1e-300, 1e300, 1.7e308] {
        let spec = spec(Dtype::Uint8, [size; 3], [[0; 3], [100; 3]], [64; 3], 12);
        let keys: Vec<_> = (0..12).map(|index| key(&spec, index)).collect();
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), 12, "{keys:?}");
        assert!(keys.iter().all(|key| key.len() < 128 && key != "info" && !key.contains('/')), "{keys:?}");
        let names: Vec<_> = folder(&spec).unwrap().entries.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names[1..], keys);
    }
}

fn grid(spec: &ArraySpec, level: usize) -> ChunkGrid {
    chunks(spec, level, &spec.levels[level]).unwrap()
}

/// The box that a chunk's file covers, and its bytes, of voxels that `voxel_at` tells from channel and position.
fn bytes(file: &VoxelFile, range: std::ops::Range<u64>, voxel_at: impl Fn(usize, Coordinate) -> Vec<u8>) -> Vec<u8> {
    file_bytes(file, range, |_, channel, at| voxel_at(channel, at))
}

#[test]
fn chunks_are_named_as_tensorstore_names_them() {
    let spec = running_example(Dtype::Uint8, [8.0; 3]);
    let grid = grid(&spec, 0);
    for (name, n_bytes) in [
        ("-128--64_960-1024_128-192", 262_144),
        ("-512--448_0-64_0-64", 262_144), // far from all data, and there all the same
        ("128-136_1088-1136_256-280", 9_216),
    ] {
        let file = grid.file(&spec, grid.child_named(None, name).unwrap()).unwrap();
        assert_eq!(file.n_bytes(), n_bytes, "{name}");
    }
    for name in ["128-192_1088-1152_256-320", "136-200_0-64_0-64", "-576--512_0-64_0-64", "0-64_0-64_0-64.gz"] {
        assert_eq!(grid.child_named(None, name), None, "{name}");
    }
}

#[test]
fn channels_stand_one_after_the_other() {
    let mut spec = spec(Dtype::Uint8, [8.0; 3], [[0, 0, -3], [2, 2, 0]], [64; 3], 1);
    spec.channels = Some(4);
    let corner = Coordinate::new(0, 0, -64);
    let grid = grid(&spec, 0);
    let file = grid.file(&spec, grid.child_named(None, "-64-0_0-2_0-2").unwrap()).unwrap();
    assert_eq!(file.n_bytes(), 4 * 64 * 2 * 2);
    let next = corner + Coordinate::new(0, 0, 1);
    let voxel_at = |channel: usize, at: Coordinate| match channel {
        0 if at == corner => vec![1],
        0 if at == next => vec![2],
        1 if at == corner => vec![3],
        _ => vec![0],
    };
    assert_eq!(bytes(&file, 0..3, voxel_at), [1, 2, 0]);
    assert_eq!(bytes(&file, 255..258, voxel_at), [0, 3, 0]);
}

/// A value that differs along every axis.
fn value(channel: usize, at: Coordinate) -> u64 {
    let [z, y, x] = at.axes().map(|n| u64::from_ne_bytes(n.to_ne_bytes()));
    let mixed = (z.wrapping_mul(0x9e37_79b9).wrapping_add(y).wrapping_mul(0x85eb_ca6b) ^ x).wrapping_mul(0xc2b2_ae35);
    mixed.rotate_left(17).wrapping_add(channel as u64)
}

/// All chunks of a grid.
fn nodes(grid: &ChunkGrid) -> impl Iterator<Item = ChunkNode> {
    (0..grid.n_children(None)).map(|nth| grid.child(None, nth).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Every voxel inside the bounds is in exactly one chunk, at the place that the chunk's name tells.
    #[test]
    fn chunks_are_the_array(
        block in prop::array::uniform3(20_i64..90),
        begin in prop::array::uniform3(-70_i64..70),
        size in prop::array::uniform3(1_i64..70),
        (level, dtype, channels) in (0_usize..2, prop::sample::select(vec![Dtype::Uint8, Dtype::Uint16, Dtype::Uint64]), prop::option::of(Just(4))),
        cut in any::<[prop::sample::Index; 2]>(),
    ) {
        let end = [0, 1, 2].map(|axis| begin[axis] + size[axis]);
        let mut spec = spec(dtype, [8.0; 3], [begin, end], block, 2);
        spec.channels = channels;
        let (itemsize, at_level) = (dtype.itemsize(), &spec.levels[level]);
        let voxel_at = |channel, at| value(channel, at).to_le_bytes()[..itemsize].to_vec();
        let grid = grid(&spec, level);
        let mut n_voxels = 0;
        for node in nodes(&grid) {
            let mut name = String::new();
            grid.write_name(node, &mut name);
            prop_assert_eq!(grid.child_named(None, &name), Some(node));
            // What a reader makes of the name.
            let signed = name.replace("--", "-m");
            let signed = signed.strip_prefix('-').map_or_else(|| signed.clone(), |rest| format!("m{rest}"));
            let signed = signed.replace("_-", "_m");
            let ends: Vec<i64> = signed.split(['-', '_']).map(|n| n.replace('m', "-").parse().unwrap()).collect();
            let held = VoxelBox::new([ends[4], ends[2], ends[0]].into(), [ends[5], ends[3], ends[1]].into()).unwrap();
            prop_assert!(!held.is_empty() && at_level.voxels().contains(held), "{}", name);
            n_voxels += held.n_voxels();
            let mut expected = Vec::new();
            for channel in 0..spec.n_channels() {
                expected.extend(held.indices().flat_map(|at| voxel_at(channel, at)));
            }
            let file = grid.file(&spec, node).unwrap();
            prop_assert_eq!(file.n_bytes(), expected.len() as u64);
            prop_assert!(bytes(&file, 0..file.n_bytes(), voxel_at) == expected, "{}", name);
            let mut part = cut.map(|cut| cut.index(expected.len() + 1));
            part.sort_unstable();
            let some = bytes(&file, part[0] as u64..part[1] as u64, voxel_at);
            prop_assert!(some == expected[part[0]..part[1]], "{} of {}", name, part[0]);
        }
        prop_assert_eq!(n_voxels, at_level.voxels().n_voxels());
    }
}
