//! Headers, names and sizes against numbers that a Python program made from the formats' descriptions (headers read back
//! by tifffile, data by zlib), and any part of a file against the whole.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // numbers of tests are small

use std::ops::Range;

use libdeflater::crc32;
use proptest::prelude::*;

use super::super::file::{Piece, VoxelFile, in_memory};
use super::super::folder::Entry;
use super::*;
use crate::array::{ArrayKind, Channels, LevelSource};
use crate::dvid::View;
use crate::geometry::{Coordinate, VoxelSize};
use crate::voxels::Dtype;

fn spec(dtype: Dtype, data: ([i64; 3], [i64; 3]), n_levels: usize, voxel_size: [f64; 3]) -> ArraySpec {
    let source = LevelSource { source: String::new(), block_shape: Coordinate::splat(64), extents: None };
    let data = VoxelBox::new(data.0.into(), data.1.into()).unwrap();
    let kind = (dtype, if dtype == Dtype::Uint64 { ArrayKind::Labels } else { ArrayKind::Image });
    let size = VoxelSize::new(voxel_size).unwrap();
    ArraySpec::new(String::new(), View::Stored, kind, size, data, vec![source; n_levels]).unwrap()
}

fn running_example(dtype: Dtype) -> ArraySpec {
    spec(dtype, ([130, 1000, -70], [280, 1130, 130]), 4, [8.0; 3])
}

/// 58 teravoxels.
fn huge(dtype: Dtype) -> ArraySpec {
    spec(dtype, ([0; 3], [29_870, 39_743, 49_000]), 1, [8.0; 3])
}

fn grids<'a>(folder: &'a Folder, level: &str, plane: &str) -> &'a [ChunkGrid] {
    let inside = |folder: &'a Folder, name: &str| match folder.entries.iter().find(|(found, _)| found == name) {
        Some((_, Entry::Folder(folder))) => folder,
        other => panic!("{name}: {other:?}"),
    };
    &inside(inside(folder, level), plane).chunks
}

fn file(spec: &ArraySpec, path: &str) -> VoxelFile {
    let folder = folder(spec).unwrap();
    let parts: Vec<_> = path.split('/').collect();
    let grids = grids(&folder, parts[0], parts[1]);
    let found = grids.iter().find_map(|grid| grid.file(spec, grid.child_named(None, parts[2])?));
    found.unwrap_or_else(|| panic!("no {path}"))
}

/// What a byte of voxels is, by its place in a picture's plane.
type ByteAt = fn(u64) -> u8;

/// Bytes of a file over a plane.
fn rendered(file: &VoxelFile, range: Range<u64>, byte_at: ByteAt) -> Vec<u8> {
    let read = |piece: super::super::file::VoxelPiece| {
        let n_bytes = piece.n_bytes();
        let bytes = piece.encode(piece.wanted().window.clone().map(byte_at).collect());
        assert_eq!(bytes.len(), n_bytes);
        bytes
    };
    let render = |piece| match piece {
        Piece::Bytes(bytes) => bytes,
        Piece::Voxels(piece) => read(piece),
        Piece::Checks(piece) => {
            let mut fold = piece.fold();
            while let Some(rows) = fold.next_rows() {
                fold.take_in(&read(rows));
            }
            piece.cut(fold.finish())
        }
    };
    file.pieces(range).into_iter().flat_map(render).collect()
}

fn begins_with(spec: &ArraySpec, path: &str, n_bytes: u64) -> String {
    rendered(&file(spec, path), 0..n_bytes, |_| 0).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn check_tiff_header(spec: &ArraySpec, path: &str, golden: &str) {
    assert_eq!(begins_with(spec, path, 256), format!("{golden:0<512}"));
}

#[test]
fn a_tiff_begins_with_its_tags() {
    check_tiff_header(&running_example(Dtype::Uint8), "s0/xy/000130.tif", GRAY);
    check_tiff_header(&huge(Dtype::Uint8), "s0/xy/029869.tif", HUGE_GRAY);
    let float = spec(Dtype::Float32, ([130, 1000, -70], [280, 1130, 130]), 1, [40.0, 3.2, 8.0]);
    check_tiff_header(&float, "s0/yz/000058.tif", FLOAT_YZ);
    let mut rgba = running_example(Dtype::Uint8);
    rgba.channels = Some(4);
    check_tiff_header(&rgba, "s0/xy/000279.tif", RGBA);
}

const GRAY: &str = "49492a00080000000d00\
    0001040001000000c8000000\
    010104000100000082000000\
    020103000100000008000000\
    030103000100000001000000\
    060103000100000001000000\
    110104000100000000010000\
    150103000100000001000000\
    160104000100000082000000\
    170104000100000090650000\
    1a01050001000000c0000000\
    1b01050001000000c8000000\
    280103000100000003000000\
    530103000100000001000000\
    000000000000000000000000000000000000000000000000000080969800080000008096980008";
const HUGE_GRAY: &str = "49492a00080000000d00\
    000104000100000068bf0000\
    01010400010000003f9b0000\
    020103000100000008000000\
    030103000100000001000000\
    060103000100000001000000\
    110104000100000000010000\
    150103000100000001000000\
    16010400010000003f9b0000\
    170104000100000098121374\
    1a01050001000000c0000000\
    1b01050001000000c8000000\
    280103000100000003000000\
    530103000100000001000000\
    000000000000000000000000000000000000000000000000000080969800080000008096980008";
const FLOAT_YZ: &str = "49492a00080000000d00\
    000104000100000082000000\
    010104000100000096000000\
    020103000100000020000000\
    030103000100000001000000\
    060103000100000001000000\
    110104000100000000010000\
    150103000100000001000000\
    160104000100000096000000\
    1701040001000000b0300100\
    1a01050001000000c0000000\
    1b01050001000000c8000000\
    280103000100000003000000\
    530103000100000003000000\
    000000000000000000000000000000000000000000000000000000e1f505200000008096980028";
const RGBA: &str = "49492a00080000000e00\
    0001040001000000c8000000\
    010104000100000082000000\
    0201030004000000d0000000\
    030103000100000001000000\
    060103000100000002000000\
    110104000100000000010000\
    150103000100000004000000\
    160104000100000082000000\
    170104000100000040960100\
    1a01050001000000c0000000\
    1b01050001000000c8000000\
    280103000100000003000000\
    520103000100000002000000\
    5301030004000000d8000000\
    000000000000000000000000000080969800080000008096980008000000080008000800080001000100010001";

#[test]
fn a_png_begins_with_its_header() {
    let golden = "89504e470d0a1a0a0000000d49484452000000c800000082080000000026f0d8480000661d494441547801";
    assert_eq!(begins_with(&running_example(Dtype::Uint8), "s0/xy/000130.png", 43), golden);
}

#[test]
fn a_small_png_is_the_same_to_the_last_byte() {
    let spec = spec(Dtype::Uint8, ([0; 3], [1, 2, 3]), 1, [8.0; 3]);
    let file = file(&spec, "s0/xy/000000.png");
    let whole = rendered(&file, 0..file.n_bytes(), |n| n as u8 + 1);
    let golden = "89504e470d0a1a0a0000000d4948445200000003000000020800000000b81f39c6\
        00000013494441547801010800f7ff00010203000405060046001686e719c00000000049454e44ae426082";
    assert_eq!(whole.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), golden);
}

/// The place of a plane's voxels in the picture is the same across all axes.
#[track_caller]
fn check_png(dtype: Dtype, channels: Option<usize>, byte_at: ByteAt, (n_bytes, checks, crc): (u64, &str, u32)) {
    for (shape, path) in [([1, 300, 260], "xy"), ([300, 1, 260], "xz"), ([300, 260, 1], "yz")] {
        let begin = [5, 1000, -70];
        let end = [0, 1, 2].map(|axis| begin[axis] + shape[axis]);
        let mut spec = spec(dtype, (begin, end), 1, [8.0; 3]);
        spec.channels = channels;
        let index = ["000005", "001000", "000058"][["xy", "xz", "yz"].iter().position(|&name| name == path).unwrap()];
        let file = file(&spec, &format!("s0/{path}/{index}.png"));
        assert_eq!(file.n_bytes(), n_bytes);
        let whole = rendered(&file, 0..n_bytes, byte_at);
        let at = whole.len() - 20;
        assert_eq!(whole[at..at + 8].iter().map(|byte| format!("{byte:02x}")).collect::<String>(), checks);
        assert_eq!(crc32(&whole), crc, "{path}");
    }
}

#[test]
fn whole_pictures_have_the_bytes_and_checksums_that_another_program_gives_them() {
    check_png(Dtype::Uint8, None, |n| (n % 251) as u8, (78_373, "155eb7fabe9560d9", 4_257_389_409));
    let gray16 = |n: u64| (n / 2 % 65_521).to_le_bytes()[(n % 2) as usize];
    check_png(Dtype::Uint16, None, gray16, (156_378, "719fadce262f72b1", 826_659_626));
    let label = |n: u64| (n / 8 / 7).to_le_bytes()[(n % 8) as usize];
    check_png(Dtype::Uint64, None, label, (234_383, "eb476cf10d5ca813", 3_511_399_376));
    check_png(Dtype::Uint8, Some(4), |n| (n % 251) as u8, (312_388, "ab913748dfca1e62", 3_016_426_579));
}

#[test]
fn sizes_are_exact() {
    let n_bytes = |spec: &ArraySpec, path| file(spec, path).n_bytes();
    let gray = huge(Dtype::Uint8);
    assert_eq!(n_bytes(&gray, "s0/xy/000000.tif"), 256 + 39_743 * 49_000);
    assert_eq!(n_bytes(&gray, "s0/xy/000000.png"), 1_947_595_391);
    assert_eq!(n_bytes(&gray, "s0/xz/039742.tif"), 256 + 29_870 * 49_000);
    assert_eq!(n_bytes(&gray, "s0/yz/048999.tif"), 256 + 29_870 * 39_743);
    let labels = running_example(Dtype::Uint64);
    assert_eq!(n_bytes(&labels, "s1/xy/000065.tif"), 256 + 65 * 100 * 8);
    assert_eq!(n_bytes(&labels, "s1/xy/000065.png"), 63 + 65 * 301 + 5);
}

#[test]
fn what_a_format_cannot_hold_is_left_out_and_the_rest_stays() {
    let left_out = |spec: &ArraySpec| -> Vec<String> {
        folder(spec).unwrap().left_out.into_iter().map(|(path, reason)| format!("{path}: {reason}")).collect()
    };
    assert_eq!(left_out(&huge(Dtype::Uint8)), [""; 0]);
    let mut expected = vec!["s0/xy/*.png: a PNG file would hold 2 GiB of pixels or more"];
    expected.push("s0/xz/*.png: a PNG file would hold 2 GiB of pixels or more");
    expected.push("s0/yz/*.png: a PNG file would hold 2 GiB of pixels or more");
    assert_eq!(left_out(&huge(Dtype::Uint16)), expected);
    assert_eq!(left_out(&running_example(Dtype::Float32)), ["*/*/*.png: PNG has no pixels for float32 images"]);
    // Neither format holds a picture of labels of this size: nothing is left.
    assert_eq!(folder(&huge(Dtype::Uint64)).unwrap_err(), LeftOut::LargeTiff);
    let long = spec(Dtype::Uint8, ([0; 3], [2, 3, 1_000_001]), 1, [8.0; 3]);
    let reason = "a PNG picture would have more than 1,000,000 pixels along a side";
    assert_eq!(left_out(&long), [format!("s0/xy/*.png: {reason}"), format!("s0/xz/*.png: {reason}")]);
    let mut other = running_example(Dtype::Uint8);
    other.channels = Some(2);
    assert_eq!(folder(&other).unwrap_err(), LeftOut::PictureChannels(2));
}

/// The longest picture that a format holds, and the first that it does not.
#[test]
fn limits_are_where_the_formats_have_them() {
    let holds = |dtype, shape| folder(&spec(dtype, ([0; 3], shape), 1, [8.0; 3])).unwrap();
    let has = |folder: &Folder, pattern: &str| !folder.left_out.iter().any(|(left_out, _)| left_out == pattern);
    // 256 + n < 2^32 with rows of 4 * 63,161 bytes: 17,000 rows.
    let tiff_rows = |rows| has(&holds(Dtype::Float32, [1, rows, 63_161]), "s0/xy/*.tif");
    let last = (u32::MAX as i64 - 256) / (4 * 63_161);
    assert!(tiff_rows(last) && !tiff_rows(last + 1));
    // The chunk holds 2 + n + 5 * ceil(n / 65,535) + 4 bytes, n rows of 65,535.
    let png_rows = |rows| has(&holds(Dtype::Uint8, [1, rows, 65_534]), "s0/xy/*.png");
    let last = ((1 << 31) - 1 - 6) / (65_535 + 5);
    assert!(png_rows(last) && !png_rows(last + 1));
}

#[test]
fn names_count_the_arrays_index_at_each_scale() {
    let spec = running_example(Dtype::Uint8);
    let folder = folder(&spec).unwrap();
    for (level, plane, first, last) in [
        ("s0", "xy", "000130", "000279"),
        ("s0", "xz", "001000", "001129"),
        ("s0", "yz", "000442", "000641"),
        ("s1", "xy", "000065", "000139"),
        ("s1", "xz", "000500", "000564"),
        ("s1", "yz", "000221", "000320"),
    ] {
        for (grid, extension) in grids(&folder, level, plane).iter().zip(["tif", "png"]) {
            let names: Vec<String> = (0..grid.n_chunks())
                .map(|nth| {
                    let (node, mut name) = (grid.child(None, nth).unwrap(), String::new());
                    grid.write_name(node, &mut name);
                    assert_eq!(grid.child_named(None, &name), Some(node));
                    assert_eq!(grid.node(grid.position(node)), Some(node));
                    name
                })
                .collect();
            assert_eq!(names[0], format!("{first}.{extension}"));
            assert_eq!(names[names.len() - 1], format!("{last}.{extension}"));
            let n = last.parse::<usize>().unwrap() - first.parse::<usize>().unwrap() + 1;
            assert_eq!(names.len(), n);
        }
    }
    let [tiff, png] = grids(&folder, "s1", "yz") else { panic!("two formats") };
    assert!(tiff.child_named(None, "000221.png").is_none() && png.child_named(None, "000221.tif").is_none());
}

/// The voxels of a picture, and its channels.
fn window(file: &VoxelFile) -> (VoxelBox, Channels) {
    let found = file.pieces(0..file.n_bytes()).into_iter().find_map(|piece| match piece {
        Piece::Voxels(piece) => Some((piece.wanted().file_box, piece.wanted().channels)),
        Piece::Bytes(_) | Piece::Checks(_) => None,
    });
    found.unwrap()
}

#[test]
fn a_picture_is_the_plane_that_its_name_tells() {
    let spec = running_example(Dtype::Uint16);
    for (path, begin, shape) in [
        ("s0/xy/000131.png", [131, 1000, -70], [1, 130, 200]),
        ("s0/xz/001129.tif", [130, 1129, -70], [150, 1, 200]),
        ("s0/yz/000442.png", [130, 1000, -70], [150, 130, 1]),
        // Data from -35 on, the array from -256.
        ("s1/yz/000222.tif", [65, 500, -34], [75, 65, 1]),
    ] {
        let plane = VoxelBox::from_shape(begin.into(), shape.into()).unwrap();
        assert_eq!(window(&file(&spec, path)), (plane, Channels::One(0)), "{path}");
    }
    let mut rgba = running_example(Dtype::Uint8);
    rgba.channels = Some(4);
    for path in ["s0/xy/000131.png", "s0/xy/000131.tif"] {
        assert_eq!(window(&file(&rgba, path)).1, Channels::Interleaved(4));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_range_is_the_same_part_of_the_whole(
        shape in prop::array::uniform2(1_i64..400),
        kind in 0_usize..4,
        is_tiff: bool,
        ranges in prop::collection::vec((0.0..1.0, 0_u64..140_000), 10),
    ) {
        let (dtype, channels) =
            [(Dtype::Uint8, None), (Dtype::Uint16, None), (Dtype::Uint64, None), (Dtype::Uint8, Some(4))][kind];
        let mut spec = spec(dtype, ([0; 3], [shape[0], 1, shape[1]]), 1, [8.0; 3]);
        spec.channels = channels;
        let file = file(&spec, if is_tiff { "s0/xz/000000.tif" } else { "s0/xz/000000.png" });
        let byte_at: ByteAt = |n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
        let whole = rendered(&file, 0..file.n_bytes(), byte_at);
        prop_assert_eq!(whole.len() as u64, file.n_bytes());
        let last = file.n_bytes() - 20;
        for (start, n) in ranges.into_iter().map(|(at, n)| ((at * file.n_bytes() as f64) as u64, n)).chain([
            (last, 1), (last + 3, 2), (last - 1, 9), (last + 7, 3), (42, 7), (43, 5), (44, 1),
        ]) {
            let end = (start + n).min(file.n_bytes());
            let start = start.min(end);
            prop_assert!(rendered(&file, start..end, byte_at) == whole[in_memory(start)..in_memory(end)], "{start}..{end}");
        }
    }
}
