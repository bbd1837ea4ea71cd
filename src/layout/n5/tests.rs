//! Metadata against the text of the format's description; chunks against those that z5py 3.0.2 wrote.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::chunk_grid::ChunkNode;
use super::super::folder::Document;
use super::super::test_support::file_bytes;
use super::*;
use crate::array::{ArrayKind, LevelSource};
use crate::dvid::View;
use crate::geometry::{Coordinate, VoxelSize};
use crate::voxels::Dtype;

fn spec(dtype: Dtype, voxel_size: [f64; 3], data: [[i64; 3]; 2], block: [i64; 3], n_levels: usize) -> ArraySpec {
    let kind = if dtype == Dtype::Uint64 { ArrayKind::Labels } else { ArrayKind::Image };
    let source = LevelSource { source: "grayscale".into(), block_shape: block.into(), extents: None };
    let data = VoxelBox::new(data[0].into(), data[1].into()).unwrap();
    let size = VoxelSize::new(voxel_size).unwrap();
    ArraySpec::new("grayscale".into(), View::Stored, (dtype, kind), size, data, vec![source; n_levels]).unwrap()
}

/// Data from (130, 1000, -70) to (280, 1130, 130) in blocks of 64^3, four levels.
fn running_example(dtype: Dtype) -> ArraySpec {
    spec(dtype, [8.0; 3], [[130, 1000, -70], [280, 1130, 130]], [64; 3], 4)
}

/// 58 teravoxels.
fn large() -> ArraySpec {
    spec(Dtype::Uint8, [8.0; 3], [[0; 3], [49_000, 39_743, 29_870]], [64; 3], 1)
}

fn rgba(mut spec: ArraySpec) -> ArraySpec {
    spec.channels = Some(4);
    spec
}

#[track_caller]
fn check_text(written: &[u8], golden: &str) {
    let bare = |text: &str| text.split_whitespace().collect::<String>();
    let written = std::str::from_utf8(written).unwrap();
    assert_eq!(bare(written), bare(golden));
    serde_json::from_str::<Value>(written).unwrap();
    assert!(written.ends_with('\n'));
}

const GOLDEN_CONTAINER: &str = r#"{"n5": "2.5.1", "axes": ["x", "y", "z"], "units": ["nm", "nm", "nm"], "resolution": [8.0, 8.0, 8.0],
 "pixelResolution": {"unit": "nm", "dimensions": [8.0, 8.0, 8.0]},
 "scales": [[1, 1, 1], [2, 2, 2], [4, 4, 4], [8, 8, 8]],
 "downsamplingFactors": [[1, 1, 1], [2, 2, 2], [4, 4, 4], [8, 8, 8]],
 "multiscales": [{"name": "grayscale", "datasets": [
  {"path": "s0", "transform": {"axes": ["z", "y", "x"], "ordering": "C", "units": ["nm", "nm", "nm"], "scale": [8.0, 8.0, 8.0], "translate": [0.0, 0.0, -4096.0]}},
  {"path": "s1", "transform": {"axes": ["z", "y", "x"], "ordering": "C", "units": ["nm", "nm", "nm"], "scale": [16.0, 16.0, 16.0], "translate": [4.0, 4.0, -4092.0]}},
  {"path": "s2", "transform": {"axes": ["z", "y", "x"], "ordering": "C", "units": ["nm", "nm", "nm"], "scale": [32.0, 32.0, 32.0], "translate": [12.0, 12.0, -4084.0]}},
  {"path": "s3", "transform": {"axes": ["z", "y", "x"], "ordering": "C", "units": ["nm", "nm", "nm"], "scale": [64.0, 64.0, 64.0], "translate": [28.0, 28.0, -4068.0]}}]}]}"#;

const GOLDEN_S1: &str = r#"{"dimensions": [324, 568, 140], "blockSize": [64, 64, 64], "dataType": "uint64", "compression": {"type": "raw"},
 "downsamplingFactors": [2, 2, 2], "pixelResolution": {"unit": "nm", "dimensions": [16.0, 16.0, 16.0]},
 "resolution": [16.0, 16.0, 16.0], "voxel_size": [16.0, 16.0, 16.0], "offset": [-4096.0, 0.0, 0.0],
 "units": ["nm", "nm", "nm"], "axis_names": ["x", "y", "z"], "types": ["space", "space", "space"],
 "transform": {"axes": ["z", "y", "x"], "ordering": "C", "units": ["nm", "nm", "nm"], "scale": [16.0, 16.0, 16.0], "translate": [4.0, 4.0, -4092.0]}}"#;

#[test]
fn the_running_example_is_written_as_described() {
    check_text(&container(&running_example(Dtype::Uint8)), GOLDEN_CONTAINER);
    check_text(&array(&running_example(Dtype::Uint64), 1), GOLDEN_S1);
    for dtype in [Dtype::Uint8, Dtype::Uint16, Dtype::Uint32, Dtype::Float32] {
        check_text(&array(&running_example(dtype), 1), &GOLDEN_S1.replace("uint64", dtype.name()));
    }
    let s3: Value = serde_json::from_slice(&array(&running_example(Dtype::Uint8), 3)).unwrap();
    assert_eq!(s3["dimensions"], json!([81, 142, 35]));
}

#[test]
fn a_volume_of_58_teravoxels_has_its_shape_in_the_order_x_y_z() {
    let golden: Value = json!({"blockSize": [64, 64, 64], "compression": {"type": "raw"}, "dataType": "uint8",
        "dimensions": [29870, 39743, 49000]}); // TensorStore 0.1.86
    let written: Value = serde_json::from_slice(&array(&large(), 0)).unwrap();
    for (key, value) in golden.as_object().unwrap() {
        assert_eq!(&written[key], value, "{key}");
    }
}

#[test]
fn sizes_that_are_no_whole_nanometers_stay_in_nanometers() {
    let spec = spec(Dtype::Uint8, [40.0, 4.0, 3.2], [[0, 0, -1], [10; 3]], [64; 3], 2);
    let s1: Value = serde_json::from_slice(&array(&spec, 1)).unwrap();
    assert_eq!(s1["resolution"], json!([6.4, 8.0, 80.0]));
    assert_eq!(s1["pixelResolution"], json!({"unit": "nm", "dimensions": [6.4, 8.0, 80.0]}));
    assert_eq!(s1["offset"], json!([-128.0 * 3.2, 0.0, 0.0]));
    assert_eq!(s1["transform"]["scale"], json!([80.0, 8.0, 6.4]));
    assert_eq!(s1["transform"]["translate"], json!([20.0, 2.0, -128.0 * 3.2 + 1.6]));
    let root: Value = serde_json::from_slice(&container(&spec)).unwrap();
    assert_eq!(root["resolution"], json!([3.2, 4.0, 40.0]));
}

#[test]
fn channels_are_the_slowest_axis() {
    let spec = rgba(running_example(Dtype::Uint8));
    let s0: Value = serde_json::from_slice(&array(&spec, 0)).unwrap();
    assert_eq!((&s0["dimensions"], &s0["blockSize"]), (&json!([648, 1136, 280, 4]), &json!([64, 64, 64, 4])));
    assert_eq!(s0["axis_names"], json!(["x", "y", "z", "c^"]));
    assert_eq!(s0["types"], json!(["space", "space", "space", "channel"]));
    assert_eq!((&s0["voxel_size"], &s0["offset"]), (&json!([8.0, 8.0, 8.0]), &json!([-4096.0, 0.0, 0.0])));
    // TensorStore opens nothing whose `resolution` or `units` have another rank than its dimensions.
    assert_eq!((&s0["resolution"], &s0["units"]), (&json!([8.0, 8.0, 8.0, 1.0]), &json!(["nm", "nm", "nm", ""])));
    let root: Value = serde_json::from_slice(&container(&spec)).unwrap();
    assert_eq!(root["axes"], json!(["x", "y", "z", "c^"]));
    assert_eq!(root["scales"], json!([[1, 1, 1, 1], [2, 2, 2, 1], [4, 4, 4, 1], [8, 8, 8, 1]]));
}

/// The chunks of a level.
fn grid(spec: &ArraySpec, level: usize) -> ChunkGrid {
    chunks(spec, level, &spec.levels[level]).unwrap()
}

/// A chunk by its path.
fn found(grid: &ChunkGrid, path: &str) -> Option<ChunkNode> {
    path.split('/').try_fold(None, |at, name| grid.child_named(at, name).map(Some)).flatten()
}

/// The bytes of a file over voxels whose value `voxel_at` tells from channel and position, little-endian.
fn bytes(file: &VoxelFile, range: std::ops::Range<u64>, voxel_at: impl Fn(usize, Coordinate) -> Vec<u8>) -> Vec<u8> {
    file_bytes(file, range, |_, channel, at| voxel_at(channel, at))
}

/// A chunk as z5py wrote it, with nothing but its first voxel set: path, bytes of the file, first bytes in hex.
#[track_caller]
fn check_chunk(spec: &ArraySpec, level: usize, (path, n_bytes, begin): (&str, u64, &str), first: u64) {
    let grid = grid(spec, level);
    let node = found(&grid, path).unwrap();
    let file = grid.file(spec, node).unwrap();
    assert_eq!(file.n_bytes(), n_bytes, "{path}");
    let number: Vec<u64> = path.split('/').map(|part| part.parse().unwrap()).collect();
    let index = Coordinate::from([2, 1, 0].map(|axis| i64::try_from(number[axis]).unwrap()));
    let corner = spec.levels[level].origin + index * spec.levels[level].chunk_shape;
    let itemsize = spec.dtype.itemsize();
    let voxel_at = |_, at| (if at == corner { first } else { 0 }).to_le_bytes()[..itemsize].to_vec();
    let hex: String = bytes(&file, 0..24, voxel_at).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, begin, "{path}");
    assert!(bytes(&file, 24..n_bytes, voxel_at).iter().all(|&byte| byte == 0));
}

#[test]
fn chunks_begin_as_those_that_z5py_writes() {
    let edge = ("10/17/4", 9232, "000000030000000800000030000000180700000000000000");
    check_chunk(&running_example(Dtype::Uint8), 0, edge, 7);
    let edge = ("5/8/2", 21520, "0000000300000004000000380000000c4000000000000007");
    check_chunk(&running_example(Dtype::Uint64), 1, edge, 0x4000_0000_0000_0007);
    let whole = ("4/7/1", 2_097_168, "000000030000004000000040000000400102030405060708");
    check_chunk(&running_example(Dtype::Uint64), 1, whole, 0x0102_0304_0506_0708);
    let last = ("466/620/765", 115_936, "000000030000002e0000003f000000280900000000000000");
    check_chunk(&large(), 0, last, 9);
}

#[test]
fn all_channels_are_in_one_block_one_after_the_other() {
    let spec = rgba(running_example(Dtype::Uint8));
    let grid = grid(&spec, 0);
    let file = grid.file(&spec, found(&grid, "8/16/3/0").unwrap()).unwrap();
    assert_eq!(file.n_bytes(), 20 + 4 * 64 * 64 * 64);
    let corner = Coordinate::new(192, 1024, 0);
    let voxel_at = |channel: usize, at: Coordinate| {
        let first = [1, 3, 0, 0][channel];
        vec![if at == corner {
            first
        } else if at == corner + Coordinate::new(0, 0, 1) && channel == 0 {
            2
        } else {
            0
        }]
    };
    // As TensorStore 0.1.86 writes (x, y, z, c): 1 at (0, 0, 0, 0), 2 at (1, 0, 0, 0) and 3 at (0, 0, 0, 1).
    let header = [0, 0, 0, 4, 0, 0, 0, 64, 0, 0, 0, 64, 0, 0, 0, 64, 0, 0, 0, 4];
    assert_eq!(bytes(&file, 0..23, voxel_at), [&header[..], &[1, 2, 0]].concat());
    let second = 20 + 64 * 64 * 64;
    assert_eq!(bytes(&file, second - 1..second + 2, voxel_at), [0, 3, 0]);
    assert_eq!(found(&grid, "8/16/3/1"), None);
}

#[test]
fn blocks_exist_where_voxels_are_stored() {
    let spec = running_example(Dtype::Uint8);
    // The data lie at array index x 442-641, y 1000-1129, z 130-279; whole DVID blocks reach to x 384-647.
    assert_eq!(grid(&spec, 0).n_chunks(), 5 * 3 * 3);
    for (path, exists) in
        [("6/15/2", true), ("5/15/2", false), ("6/14/2", false), ("6/15/1", false), ("11/17/4", false)]
    {
        assert_eq!(found(&grid(&spec, 0), path).is_some(), exists, "{path}");
    }
    let n_blocks = |n: i64| u64::try_from(n).unwrap().div_ceil(64);
    assert_eq!(grid(&large(), 0).n_chunks(), n_blocks(29_870) * n_blocks(39_743) * n_blocks(49_000));
}

#[test]
fn a_block_of_two_gigabytes_leaves_out_the_layout() {
    let of = |dtype, block, n| spec(dtype, [8.0; 3], [[0; 3], [n; 3]], block, 1);
    let large = [1024, 1024, 2048];
    assert_eq!(folder(&of(Dtype::Uint8, large, 5000)).unwrap_err(), LeftOut::LargeChunk(2));
    assert!(folder(&of(Dtype::Uint8, [1024, 1024, 2047], 5000)).is_ok());
    assert_eq!(folder(&of(Dtype::Uint16, [1024; 3], 5000)).unwrap_err(), LeftOut::LargeChunk(2));
    // What counts is how much of the block is in the array.
    assert!(folder(&of(Dtype::Uint8, large, 1025)).is_ok());
    assert_eq!(folder(&rgba(of(Dtype::Uint8, [1024, 1024, 512], 5000))).unwrap_err(), LeftOut::LargeChunk(2));
}

#[test]
fn the_directory_holds_a_document_and_a_folder_for_each_level() {
    let spec = running_example(Dtype::Uint64);
    let folder = folder(&spec).unwrap();
    let names: Vec<_> = folder.entries.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["attributes.json", "s0", "s1", "s2", "s3"]);
    let render = |document: &Document| String::from_utf8(document.render(&spec)).unwrap();
    let Entry::Document(root) = &folder.entries[0].1 else { panic!("no document") };
    assert!(render(root).contains("\"n5\": \"2.5.1\""));
    let Entry::Folder(s1) = &folder.entries[2].1 else { panic!("no folder") };
    let [(name, Entry::Document(attributes))] = &s1.entries[..] else { panic!("{:?}", s1.entries) };
    assert_eq!(name, "attributes.json");
    check_text(render(attributes).as_bytes(), GOLDEN_S1);
    assert_eq!(s1.chunks, [grid(&spec, 1)]);
}

/// A value that differs along every axis.
fn value(channel: usize, at: Coordinate, itemsize: usize) -> u64 {
    let [z, y, x] = at.axes().map(|n| u64::from_ne_bytes(n.to_ne_bytes()));
    let mixed = (z.wrapping_mul(0x9e37_79b9).wrapping_add(y).wrapping_mul(0x85eb_ca6b) ^ x).wrapping_mul(0xc2b2_ae35);
    mixed.rotate_left(17).wrapping_add(channel as u64) & (u64::MAX >> (64 - 8 * itemsize))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Every block of a small array, put together again as the format's description says, is the array.
    #[test]
    fn blocks_are_the_array(
        block in prop::array::uniform3(20_i64..90),
        begin in prop::array::uniform3(-70_i64..70),
        size in prop::array::uniform3(1_i64..70),
        (level, dtype, channels) in (0_usize..2, prop::sample::select(vec![Dtype::Uint8, Dtype::Uint16, Dtype::Uint64]), any::<bool>()),
        cut in any::<[prop::sample::Index; 2]>(),
    ) {
        let end = [0, 1, 2].map(|axis| begin[axis] + size[axis]);
        let mut spec = spec(dtype, [8.0; 3], [begin, end], block, 2);
        if channels {
            spec = rgba(spec);
        }
        let (itemsize, at_level) = (dtype.itemsize(), &spec.levels[level]);
        let voxel_at = |channel, at| value(channel, at, itemsize).to_le_bytes()[..itemsize].to_vec();
        let grid = grid(&spec, level);
        let n_blocks = at_level.shape.div_ceil(at_level.chunk_shape);
        for index in VoxelBox::from_shape(Coordinate::ZERO, n_blocks).unwrap().indices() {
            let path = format!("{}/{}/{}{}", index.x(), index.y(), index.z(), if channels { "/0" } else { "" });
            let corner = at_level.origin + index * at_level.chunk_shape;
            let held = VoxelBox::from_shape(corner, at_level.chunk_shape).unwrap().intersect(at_level.voxels());
            let node = found(&grid, &path);
            prop_assert_eq!(node.is_some(), !held.intersect(at_level.stored).is_empty(), "{}", path);
            let Some(node) = node else { continue };
            let mut name = String::new();
            grid.write_name(node, &mut name);
            prop_assert_eq!(&name, path.rsplit('/').next().unwrap());
            let mut expected = vec![0, 0, 0, if channels { 4 } else { 3 }];
            let [z, y, x] = held.shape().axes();
            for n in [x, y, z].into_iter().chain(channels.then_some(4)) {
                expected.extend(u32::try_from(n).unwrap().to_be_bytes());
            }
            for channel in 0..spec.n_channels() {
                for at in held.indices() {
                    expected.extend(&value(channel, at, itemsize).to_be_bytes()[8 - itemsize..]);
                }
            }
            let file = grid.file(&spec, node).unwrap();
            prop_assert_eq!(file.n_bytes(), expected.len() as u64);
            prop_assert!(bytes(&file, 0..file.n_bytes(), voxel_at) == expected, "{}", path);
            let mut part = cut.map(|cut| cut.index(expected.len() + 1));
            part.sort_unstable();
            let some = bytes(&file, part[0] as u64..part[1] as u64, voxel_at);
            prop_assert!(some == expected[part[0]..part[1]], "{} of {}", path, part[0]);
        }
    }
}
