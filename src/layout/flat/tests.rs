//! Headers against the text of the format's description, and voxels against a loop.

use proptest::prelude::*;

use super::super::numbered::{header, image, read, teravoxels, voxel_bytes};
use super::super::test_support::gray;
use super::*;
use crate::geometry::VoxelSize;
use crate::voxels::Dtype;

const NO_LIMIT: u64 = u64::MAX;

fn entry(spec: &ArraySpec, name: &str) -> Entry {
    let entries = folder(spec, NO_LIMIT).unwrap().entries;
    entries.into_iter().find(|(found, _)| found == name).unwrap_or_else(|| panic!("no {name}")).1
}

fn voxel_file(spec: &ArraySpec, name: &str) -> Arc<VoxelFile> {
    let Entry::File(file) = entry(spec, name) else { panic!("{name} holds no voxels") };
    file
}

fn text(spec: &ArraySpec, name: &str) -> String {
    let Entry::Document(document) = entry(spec, name) else { panic!("{name} is no metadata") };
    String::from_utf8(document.render(spec)).unwrap()
}

fn nrrd_of(spec: &ArraySpec, name: &str) -> String {
    String::from_utf8(header(&voxel_file(spec, name))).unwrap()
}

const NHDR: &str = "NRRD0005
type: uint8
dimension: 3
space dimension: 3
sizes: 200 130 150
space directions: (8,0,0) (0,8,0) (0,0,8)
kinds: domain domain domain
space units: \"nm\" \"nm\" \"nm\"
space origin: (-560,8000,1040)
endian: little
encoding: raw
data file: s0.raw
";

const MHD: &str = "ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = False
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = -560 8000 1040
CenterOfRotation = 0 0 0
ElementSpacing = 8 8 8
DimSize = 200 130 150
ElementType = MET_UCHAR
ElementDataFile = s0.raw
";

#[test]
fn the_running_example_is_written_as_described() {
    let spec = gray();
    assert_eq!(text(&spec, "s0.nhdr"), NHDR);
    assert_eq!(text(&spec, "s0.mhd"), MHD);
    let attached = nrrd_of(&spec, "s0.nrrd");
    let fields = NHDR.strip_suffix("data file: s0.raw\n").unwrap();
    let comment = attached.strip_prefix(fields).unwrap().strip_suffix("\n\n").unwrap();
    assert!(comment.starts_with("#--") && comment[1..].bytes().all(|byte| byte == b'-'));
    assert_eq!(voxel_file(&spec, "s0.raw").n_bytes(), 150 * 130 * 200);
    for name in ["s0.npy", "s0.nrrd"] {
        assert_eq!(voxel_file(&spec, name).n_bytes(), 4096 + 150 * 130 * 200);
    }
    assert_eq!(folder(&spec, NO_LIMIT).unwrap().entries.len(), 4 * 5);
}

#[track_caller]
fn check_npy(spec: &ArraySpec, name: &str, dictionary: &str) {
    let header = header(&voxel_file(spec, name));
    assert_eq!(header[..10], *b"\x93NUMPY\x01\x00\xf6\x0f");
    let text = std::str::from_utf8(&header[10..]).unwrap();
    assert!(text.ends_with(" \n"));
    assert_eq!(text.trim_end(), dictionary);
}

#[test]
fn npy_headers_fill_a_page() {
    let mut spec = gray();
    check_npy(&spec, "s0.npy", "{'descr': '|u1', 'fortran_order': False, 'shape': (150, 130, 200), }");
    // A coarse level holds each voxel that the data touches: x from -35 to 65.
    check_npy(&spec, "s1.npy", "{'descr': '|u1', 'fortran_order': False, 'shape': (75, 65, 100), }");
    check_npy(&spec, "s3.npy", "{'descr': '|u1', 'fortran_order': False, 'shape': (19, 17, 26), }");
    spec.channels = Some(4);
    check_npy(&spec, "s0.npy", "{'descr': '|u1', 'fortran_order': False, 'shape': (150, 130, 200, 4), }");
    for (dtype, name) in
        [(Dtype::Uint16, "<u2"), (Dtype::Uint32, "<u4"), (Dtype::Uint64, "<u8"), (Dtype::Float32, "<f4")]
    {
        let spec = image(dtype, 1, [0; 3], [1, 2, 3]);
        check_npy(&spec, "s0.npy", &format!("{{'descr': '{name}', 'fortran_order': False, 'shape': (1, 2, 3), }}"));
    }
}

#[test]
fn every_type_has_its_names() {
    let names = [
        (Dtype::Uint8, "uint8", "MET_UCHAR"),
        (Dtype::Uint16, "uint16", "MET_USHORT"),
        (Dtype::Uint32, "uint32", "MET_UINT"),
        (Dtype::Uint64, "uint64", "MET_ULONG_LONG"),
        (Dtype::Float32, "float", "MET_FLOAT"),
    ];
    for (dtype, nrrd, metaimage) in names {
        let spec = image(dtype, 4, [130, 1000, -70], [280, 1130, 130]);
        assert_eq!(text(&spec, "s0.nhdr"), NHDR.replace("uint8", nrrd));
        assert_eq!(text(&spec, "s0.mhd"), MHD.replace("MET_UCHAR", metaimage));
    }
}

#[test]
fn colours_are_one_more_axis() {
    let mut spec = gray();
    spec.channels = Some(4);
    let nhdr = NHDR
        .replace("\ndimension: 3", "\ndimension: 4")
        .replace("sizes: ", "sizes: 4 ")
        .replace("directions: ", "directions: none ")
        .replace("kinds: ", "kinds: RGBA-color ");
    assert_eq!(text(&spec, "s0.nhdr"), nhdr);
    assert_eq!(text(&spec, "s0.mhd"), MHD.replace("ElementType", "ElementNumberOfChannels = 4\nElementType"));
    assert_eq!(voxel_file(&spec, "s0.raw").n_bytes(), 4 * 150 * 130 * 200);
}

#[test]
fn spacings_and_corners_are_those_of_the_level() {
    let mut spec = gray();
    spec.voxel_size = VoxelSize::new([0.5, 3.2, 4.0]).unwrap();
    let s1 = text(&spec, "s1.nhdr");
    assert!(s1.contains("\nspace directions: (8,0,0) (0,6.4,0) (0,0,1)\n"), "{s1}");
    assert!(s1.contains("\nspace origin: (-280,3200,65)\n"), "{s1}");
    let s1 = text(&spec, "s1.mhd");
    assert!(s1.contains("\nOffset = -280 3200 65\nCenterOfRotation = 0 0 0\nElementSpacing = 8 6.4 1\n"), "{s1}");
    assert!(s1.ends_with("\nElementDataFile = s1.raw\n"), "{s1}");
}

#[test]
fn large_levels_are_left_out_with_a_reason() {
    let spec = teravoxels();
    let shown = folder(&spec, 64 << 30).unwrap();
    let left_out = &shown.left_out;
    assert_eq!(left_out.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["s0", "s1", "s2", "s3"]);
    let why = "a flat file would have 58169047090000 bytes, and --flat-limit is 68719476736";
    assert_eq!(left_out[0].1.to_string(), why);
    assert_eq!(shown.entries.len(), 4 * 5);
    // 233 * 311 * 383 voxels are the smallest level.
    assert_eq!(folder(&spec, 234 * 311 * 383).unwrap().entries.len(), 5);
    let reason = LeftOut::OverFlatLimit { n_bytes: 234 * 311 * 383, limit_bytes: 1000 };
    assert_eq!(folder(&spec, 1000).unwrap_err(), reason);
}

#[test]
fn a_file_that_no_file_system_holds_is_left_out_whatever_the_limit() {
    let spec = image(Dtype::Uint8, 1, [0; 3], [1 << 21, 1 << 21, (1 << 21) - 1]);
    assert!(folder(&spec, NO_LIMIT).is_ok());
    let mut spec = spec;
    spec.channels = Some(4);
    assert_eq!(folder(&spec, NO_LIMIT).unwrap_err(), LeftOut::TooLarge);
}

proptest! {
    #[test]
    fn any_range_is_the_same_part_of_the_data_in_order(
        dtype in prop::sample::select(vec![Dtype::Uint8, Dtype::Uint16, Dtype::Uint64, Dtype::Float32]),
        channels in prop::option::of(Just(4)),
        begin in prop::array::uniform3(-9_i64..9),
        size in prop::array::uniform3(1_i64..8),
        level in 0_usize..3,
        parts in prop::collection::vec((0.0..1.0, 0_u64..6000), 8),
    ) {
        let mut spec = image(dtype, 3, begin, [0, 1, 2].map(|axis| begin[axis] + size[axis]));
        spec.channels = channels;
        let n_channels = spec.n_channels();
        // Every voxel of the level that lies over one of the data.
        let step = 1 << level;
        let mut raw = Vec::new();
        for z in begin[0].div_euclid(step)..=(begin[0] + size[0] - 1).div_euclid(step) {
            for y in begin[1].div_euclid(step)..=(begin[1] + size[1] - 1).div_euclid(step) {
                for x in begin[2].div_euclid(step)..=(begin[2] + size[2] - 1).div_euclid(step) {
                    raw.extend(voxel_bytes(&spec, level, [z, y, x].into(), 0..n_channels));
                }
            }
        }
        for extension in ["raw", "npy", "nrrd"] {
            let file = voxel_file(&spec, &format!("s{level}.{extension}"));
            let whole = [header(&file), raw.clone()].concat();
            prop_assert_eq!(file.n_bytes(), whole.len() as u64);
            for &(begin, n) in &parts {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
                let begin = (begin * whole.len() as f64) as u64;
                let [from, to] = [begin, begin + n].map(|at| usize::try_from(at).unwrap().min(whole.len()));
                prop_assert_eq!(read(&file, &spec, begin..begin + n), &whole[from..to]);
            }
        }
    }
}
