//! Arrays that the tests of several layouts are about.

use crate::array::{ArrayKind, ArraySpec, Channels, LevelSource};
use crate::dvid::View;
use crate::geometry::{Coordinate, VoxelBox, VoxelSize};
use crate::voxels::Dtype;

use super::file::{Piece, VoxelFile};
use super::folder::{Document, Entry, Folder};

/// An array over this box in blocks of 64^3.
pub(super) fn spec(dtype: Dtype, kind: ArrayKind, voxel_size: [f64; 3], data: VoxelBox, n_levels: usize) -> ArraySpec {
    let source = LevelSource { source: "grayscale".into(), block_shape: Coordinate::splat(64), extents: None };
    let size = VoxelSize::new(voxel_size).unwrap();
    ArraySpec::new("grayscale".into(), View::Stored, (dtype, kind), size, data, vec![source; n_levels]).unwrap()
}

/// Data from (130, 1000, -70) to (280, 1130, 130) in blocks of 64^3, four levels.
pub(super) fn running_example(dtype: Dtype, kind: ArrayKind, voxel_size: [f64; 3]) -> ArraySpec {
    let data = VoxelBox::new([130, 1000, -70].into(), [280, 1130, 130].into()).unwrap();
    spec(dtype, kind, voxel_size, data, 4)
}

/// The running example as an image of uint8.
pub(super) fn gray() -> ArraySpec {
    running_example(Dtype::Uint8, ArrayKind::Image, [8.0; 3])
}

/// The running example as labels.
pub(super) fn labels() -> ArraySpec {
    running_example(Dtype::Uint64, ArrayKind::Labels, [8.0; 3])
}

/// The running example with four channels.
pub(super) fn rgba() -> ArraySpec {
    ArraySpec { channels: Some(4), ..gray() }
}

/// An image of 58 teravoxels, seven levels.
pub(super) fn teravoxels() -> ArraySpec {
    let data = VoxelBox::new([0; 3].into(), [29_870, 39_743, 49_000].into()).unwrap();
    spec(Dtype::Uint8, ArrayKind::Image, [8.0; 3], data, 7)
}

/// The text of a document is this one, white space aside.
#[track_caller]
pub(super) fn check_text(written: &[u8], golden: &str) {
    let bare = |text: &str| text.split_whitespace().collect::<String>();
    let written = std::str::from_utf8(written).unwrap();
    assert_eq!(bare(written), bare(golden));
    serde_json::from_str::<serde_json::Value>(written).unwrap();
    assert!(written.ends_with('\n'));
}

/// Every document of a folder, by its path.
pub(super) fn documents(folder: Folder) -> Vec<(String, Document)> {
    let mut found = Vec::new();
    for (name, entry) in folder.entries {
        match entry {
            Entry::Document(document) => found.push((name, document)),
            Entry::File(_) => panic!("{name} holds voxels"),
            Entry::Folder(inner) => {
                found.extend(documents(inner).into_iter().map(|(path, document)| (format!("{name}/{path}"), document)));
            }
        }
    }
    found
}

/// The bytes of a file over voxels whose values are a function of channel and place.
pub(super) fn rendered(
    file: &VoxelFile,
    range: std::ops::Range<u64>,
    dtype: Dtype,
    value: impl Fn(usize, Coordinate) -> u64,
) -> Vec<u8> {
    file_bytes(file, range, |_, channel, voxel| value(channel, voxel).to_le_bytes()[..dtype.itemsize()].to_vec())
}

/// The bytes of a file over voxels whose bytes `voxel_bytes` tells from level, channel and position.
pub(super) fn file_bytes(
    file: &VoxelFile,
    range: std::ops::Range<u64>,
    voxel_bytes: impl Fn(usize, usize, Coordinate) -> Vec<u8>,
) -> Vec<u8> {
    let bytes_of = |piece: Piece| match piece {
        Piece::Bytes(bytes) => bytes,
        Piece::Voxels(piece) => {
            let wanted = piece.wanted();
            let channels = match wanted.channels {
                Channels::One(channel) => channel..channel + 1,
                Channels::Interleaved(n) => 0..n,
            };
            let of_voxel = |voxel| {
                channels.clone().flat_map(|channel| voxel_bytes(wanted.level, channel, voxel)).collect::<Vec<_>>()
            };
            let dense: Vec<u8> = wanted.file_box.indices().flat_map(of_voxel).collect();
            let [begin, end] = [wanted.window.start, wanted.window.end].map(|at| usize::try_from(at).unwrap());
            piece.encode(dense[begin..end].to_vec())
        }
        Piece::Checks(_) => panic!("checksums need the whole file"),
    };
    file.pieces(range).into_iter().flat_map(bytes_of).collect()
}
