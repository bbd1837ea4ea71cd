//! Files as numpy 2.5 wrote them (`numpy.lib.format.write_array`), and the recorded truth.

use std::io::Write;

use super::*;

/// A file of version 1: the dict, padded as numpy pads it, and the data.
fn npy(dict: &str, data: &[u8]) -> Vec<u8> {
    let mut header = dict.to_owned();
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
}

fn written(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn open(bytes: &[u8]) -> Result<NpyVolume, NpyError> {
    NpyVolume::open(written(bytes).path())
}

fn all(volume: &NpyVolume) -> Vec<u64> {
    volume.values(VoxelBox::from_shape(Coordinate::ZERO, volume.shape()).unwrap())
}

#[test]
fn files_of_both_versions_are_read() {
    let data = [0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 0, 255];
    let first = npy("{'descr': '<u2', 'fortran_order': False, 'shape': (1, 2, 3), }", &data);
    assert_eq!(first.len(), 128 + 12, "as long as numpy's");
    let second = [b"\x93NUMPY\x02\x00t\x00\x00\x00", &first[10..125], b"\n", &data].concat();
    for bytes in [first, second] {
        let volume = open(&bytes).unwrap();
        assert_eq!(
            (volume.dtype(), volume.shape(), volume.is_rgba()),
            (Dtype::Uint16, Coordinate::new(1, 2, 3), false)
        );
        assert_eq!(all(&volume), [0, 1, 2, 3, 4, 0xff00]);
    }
}

#[test]
fn any_box_of_a_file_is_had() {
    let truth = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/dvid-wire/truth/gray.npy");
    let bytes = std::fs::read(truth).unwrap();
    let volume = NpyVolume::open(Path::new(truth)).unwrap();
    assert_eq!((volume.dtype(), volume.shape()), (Dtype::Uint8, Coordinate::splat(64)));
    for (begin, shape) in [([0, 0, 0], [1, 1, 1]), ([63, 62, 60], [1, 2, 4]), ([5, 0, 9], [20, 64, 3])] {
        let voxels = VoxelBox::from_shape(begin.into(), shape.into()).unwrap();
        let at = |voxel: Coordinate| {
            bytes[bytes.len() - 64 * 64 * 64..][usize::try_from((voxel.z() * 64 + voxel.y()) * 64 + voxel.x()).unwrap()]
        };
        let wanted: Vec<u64> = voxels.indices().map(|voxel| at(voxel).into()).collect();
        assert_eq!(volume.values(voxels), wanted, "{voxels}");
    }
}

#[test]
fn channels_stand_before_or_behind_the_other_axes() {
    let woven: Vec<u8> = (0..24).map(|n| n / 4 + 50 * (n % 4)).collect();
    let apart: Vec<u8> = (0..24).map(|n| n % 6 + 50 * (n / 6)).collect();
    let wanted: Vec<u64> = (0..6).map(|n| n | (50 + n) << 8 | (100 + n) << 16 | (150 + n) << 24).collect();
    for (shape, data) in [("(1, 2, 3, 4)", woven), ("(4, 1, 2, 3)", apart)] {
        let volume = open(&npy(&format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"), &data));
        let volume = volume.unwrap();
        assert!(volume.is_rgba() && volume.shape() == Coordinate::new(1, 2, 3));
        assert_eq!(all(&volume), wanted, "{shape}");
        let last = VoxelBox::from_shape(Coordinate::new(0, 1, 2), Coordinate::ONE).unwrap();
        assert_eq!(volume.values(last), wanted[5..]);
    }
}

#[track_caller]
fn check_refused(bytes: &[u8], words: &str) {
    let error = open(bytes).unwrap_err().to_string();
    assert!(error.contains(words) && !error.contains('\n'), "{error:?} lacks {words:?}");
}

#[test]
fn what_is_no_volume_is_refused_in_one_line() {
    let of = |descr: &str, order: &str, shape: &str| {
        npy(&format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"), &[0; 64])
    };
    check_refused(b"", "no .npy file");
    check_refused(b"\x93NUM", "no .npy file");
    check_refused(&of("'|u1'", "False", "(4, 4, 4)")[..100], "no .npy file");
    check_refused(b"PK\x03\x04 an archive of arrays", "no .npy file");
    check_refused(b"\x93NUMPY\x03\x00\x76\x00\x00\x00", "no .npy file of version 1 or 2");
    check_refused(&npy("{'descr': '|u1', 'shape': (4, 4, 4), }", &[0; 64]), "no .npy file");
    check_refused(&of("'|u1'", "True", "(4, 4, 4)"), "Fortran order");
    for descr in ["'>u2'", "'<i4'", "'|b1'", "'<f8'", "[('a', '|u1'), ('b', '<u2')]"] {
        check_refused(&of(descr, "False", "(4, 4, 4)"), descr.trim_matches('\''));
    }
    for shape in
        ["()", "(64,)", "(8, 8)", "(0, 4, 4)", "(4, 4, 2, 2, 1)", "(2, 2, 4, 4, 1)", "(3, 2, 2, 2)", "(4, 2, 2, 4)"]
    {
        check_refused(&of("'|u1'", "False", shape), &format!("its shape is {shape}"));
    }
    check_refused(&of("'<u2'", "False", "(4, 2, 2, 2)"), "four channels of uint8");
    check_refused(&of("'|u1'", "False", "(4, 4, 5)"), "192 bytes where its header says 208");
    check_refused(&of("'|u1'", "False", "(4, 4, 3)"), "192 bytes where its header says 176");
    let missing = NpyVolume::open(Path::new("/nonexistent/x.npy")).unwrap_err();
    assert!(missing.to_string().contains("No such file"), "{missing}");
}
