//! Fuzz target `roi_math`: any range of a file is made of pieces that share it out, and has the bytes of a model.

use std::ops::Range;

use crate::array::fuzz::{by_voxel, from_blocks};
use crate::array::{ArraySpec, VoxelBytes};
use crate::fuzz::{Input, Target};

use super::super::file::{Piece, VoxelFile};
use super::{contents, layout, spec, spec_bytes};

/// A small array, how many blocks are read at once, a layout, one of its files, and a range of it with two cuts.
pub(crate) const ROI_MATH: Target = Target { name: "roi_math", run, seeds };

/// A range has at most so many bytes: each is looked at by itself.
const MOST_BYTES: usize = 1024;

fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let Some(spec) = spec(&mut input, true) else { return };
    let most_blocks = usize::from(input.u8() % 32);
    let Some(entry) = layout(&mut input, &spec) else { return };
    let (nth, position) = (input.below(64), input.u64());
    let (grids, files) = contents(&entry);
    let whole: Vec<VoxelFile> = if grids.is_empty() { files.into_iter().cloned().collect() } else { Vec::new() };
    let of_grid = grids.get(nth % grids.len().max(1)).and_then(|(_, grid)| {
        // The chunks come last of all nodes.
        let position = grid.n_nodes().checked_sub(1 + position % grid.n_chunks().max(1))?;
        grid.file(&spec, grid.node(position)?)
    });
    let Some(file) = of_grid.or_else(|| whole.get(nth % whole.len().max(1)).cloned()) else { return };
    let start = input.u64() % (file.n_bytes() + 2);
    let end = start + input.below(MOST_BYTES) as u64;
    let cuts = [input.below(MOST_BYTES), input.below(MOST_BYTES)].map(|n| (start + n as u64).min(end));
    let cuts = [start, cuts[0].min(cuts[1]), cuts[0].max(cuts[1]), end];

    let read = |range: Range<u64>| rendered(&file, range, |wanted| by_voxel(&spec, wanted));
    let Some(bytes) = read(start..end) else { return };
    assert_eq!(bytes.len() as u64, end.min(file.n_bytes()).saturating_sub(start), "never short");
    let of_blocks = rendered(&file, start..end, |wanted| checked(&spec, wanted, most_blocks));
    assert_eq!(of_blocks.as_ref(), Some(&bytes), "from blocks");
    let in_three: Option<Vec<_>> = cuts.windows(2).map(|cut| read(cut[0]..cut[1])).collect();
    assert_eq!(in_three.map(|parts| parts.concat()), Some(bytes), "cut at {cuts:?}");
}

/// Bytes from blocks, of voxels that the file has.
fn checked(spec: &ArraySpec, wanted: &VoxelBytes, most_blocks: usize) -> Vec<u8> {
    let unit = (spec.dtype.itemsize() * wanted.channels.n_here()) as u128;
    assert!(u128::from(wanted.window.end) <= wanted.file_box.n_voxels() * unit, "beyond the file: {wanted:?}");
    from_blocks(spec, wanted, most_blocks)
}

/// The bytes of a range; `None` if checksums of the whole file are among them.
fn rendered(file: &VoxelFile, range: Range<u64>, dense: impl Fn(&VoxelBytes) -> Vec<u8>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for piece in file.pieces(range) {
        match piece {
            Piece::Bytes(part) => bytes.extend(part),
            Piece::Voxels(piece) => {
                let encoded = piece.encode(dense(piece.wanted()));
                assert_eq!(encoded.len(), piece.n_bytes());
                bytes.extend(encoded);
            }
            Piece::Checks(_) => return None,
        }
    }
    Some(bytes)
}

fn seeds() -> Vec<Vec<u8>> {
    let arrays = [
        spec_bytes(0, 2, [3, 3, 3], [0, 3, 5], [20, 9, 30]),
        spec_bytes(3, 1, [1, 2, 4], [-9, 0, 5], [12, 5, 33]),
        spec_bytes(5, 2, [0, 4, 3], [1, -40, 0], [7, 40, 11]),
        spec_bytes(1, 1, [2, 0, 3], [-3, -3, -3], [6, 6, 6]),
    ];
    let mut seeds = Vec::new();
    for array in &arrays {
        for kind in 0..8_u8 {
            for start in [0_u64, 1 << 10, 0x3_1234, 0x3_fe00] {
                let range = [&start.to_le_bytes()[..], &[0xff, 3, 100, 0, 0x20, 2]].concat();
                seeds.push([&array[..], &[kind], &[kind, 0], &[kind; 8], &range].concat());
            }
        }
    }
    seeds
}
