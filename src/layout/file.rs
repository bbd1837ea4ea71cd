//! Files that hold voxels, and what any range of their bytes consists of.

use std::ops::Range;
use std::sync::Arc;

use crate::array::{Channels, VoxelBytes};
use crate::geometry::VoxelBox;
use crate::voxels::Dtype;

use super::chunk_run::{ChunkRun, SpacedRun};
use super::encoding::Encoding;
use super::hdf5::FixedArray;
use super::idat::{ChecksPiece, Idat};
use super::shard::ShardIndex;
use super::stored_blocks::StoredBlocks;

/// A file of voxels: headers, dense boxes of voxels, and what lies between them, one section after the other.
///
/// Invariant: it has less than 2^63 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoxelFile {
    /// Each with the offset of its end.
    sections: Vec<(u64, Section)>,
}

/// A stretch of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// Bytes that follow from the array's spec.
    Bytes(Arc<[u8]>),
    /// One byte, so many times.
    Fill(u8, u64),
    /// A dense box of voxels.
    Dense(Dense),
    /// Dense boxes of one shape, in the order of a grid.
    Chunks(ChunkRun),
    /// The same with a gap before each.
    Spaced(SpacedRun),
    /// Where the chunks of a level stand in an HDF5 file.
    FixedArray(FixedArray),
    /// Where the chunks of a Zarr shard stand.
    ShardIndex(ShardIndex),
    /// The data of a PNG picture.
    Idat(Idat),
}

/// A dense, C-ordered box of voxels of one level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dense {
    /// Which level of the array, from 0.
    pub(super) level: usize,
    /// Its voxels, in DVID voxels of that level; it may reach beyond the array.
    pub(super) file_box: VoxelBox,
    /// The type of a voxel, or of one channel of it.
    pub(super) dtype: Dtype,
    /// Which channels, and in which order.
    pub(super) channels: Channels,
    /// How a voxel is written.
    pub(super) encoding: Encoding,
}

/// What a stretch of a file's bytes is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes that need no fetch.
    Bytes(Vec<u8>),
    /// Voxels of the array.
    Voxels(VoxelPiece),
    /// Checksums of a whole picture.
    Checks(ChecksPiece),
}

/// Voxels to be read, and how they become bytes of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoxelPiece {
    wanted: VoxelBytes,
    dtype: Dtype,
    encoding: Encoding,
    /// The part of the encoded bytes that is asked for.
    cut: Range<usize>,
    /// The blocks that this part is held in, and which of their bytes are asked for; `None` if it stands for itself.
    stored: Option<(StoredBlocks, Range<u64>)>,
}

impl VoxelFile {
    /// A file of these sections, or `None` if it would have 2^63 bytes or more: no file system holds one.
    pub(super) fn new(sections: impl IntoIterator<Item = Section>) -> Option<Self> {
        let mut end = 0_u64;
        let sections = sections
            .into_iter()
            .map(|section| {
                end = end.checked_add(section.n_bytes()?).filter(|&end| i64::try_from(end).is_ok())?;
                Some((end, section))
            })
            .collect::<Option<_>>()?;
        Some(Self { sections })
    }

    /// Bytes of the whole file.
    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        self.sections.last().map_or(0, |&(end, _)| end)
    }

    /// What these bytes consist of, in their order. A range that reaches beyond the file is cut.
    #[must_use]
    pub fn pieces(&self, range: Range<u64>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let first = self.sections.partition_point(|&(end, _)| end <= range.start);
        let mut begin = first.checked_sub(1).map_or(0, |before| self.sections[before].0);
        for (end, section) in &self.sections[first..] {
            if begin >= range.end {
                break;
            }
            let part = range.start.max(begin)..range.end.min(*end);
            // A section may be empty, such as a gap between two that join.
            if !part.is_empty() {
                section.pieces(part.start - begin..part.end - begin, &mut pieces);
            }
            begin = *end;
        }
        pieces
    }
}

impl Section {
    /// Bytes of it, or `None` if they are too many to count.
    fn n_bytes(&self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::Fill(_, n) => Some(*n),
            Self::Dense(dense) => dense.n_bytes(),
            Self::Chunks(chunks) => chunks.n_bytes(),
            Self::Spaced(chunks) => chunks.n_bytes(),
            Self::FixedArray(index) => Some(index.n_bytes()),
            Self::ShardIndex(index) => Some(index.n_bytes()),
            Self::Idat(idat) => Some(idat.n_bytes()),
        }
    }

    /// What a range of it consists of. The range lies inside it.
    fn pieces(&self, range: Range<u64>, pieces: &mut Vec<Piece>) {
        match self {
            Self::Bytes(bytes) => {
                pieces.push(Piece::Bytes(bytes[in_memory(range.start)..in_memory(range.end)].to_vec()))
            }
            Self::Fill(byte, _) => pieces.push(Piece::Bytes(vec![*byte; in_memory(range.end - range.start)])),
            Self::Dense(dense) => pieces.push(dense.piece(range)),
            Self::Chunks(chunks) => chunks.pieces(range, pieces),
            Self::Spaced(chunks) => chunks.pieces(range, pieces),
            Self::FixedArray(index) => pieces.push(Piece::Bytes(index.bytes(range))),
            Self::ShardIndex(index) => pieces.push(Piece::Bytes(index.bytes(range))),
            Self::Idat(idat) => idat.pieces(range, pieces),
        }
    }
}

impl Dense {
    /// Bytes that it takes in the file, or `None` if they are too many to count.
    pub(super) fn n_bytes(&self) -> Option<u64> {
        let n_voxels = u64::try_from(self.file_box.n_voxels()).ok()?;
        let voxel_bytes = n_voxels.checked_mul(self.itemsize())?;
        let (of_voxels, of_file) = self.unit();
        (voxel_bytes / of_voxels).checked_mul(of_file)
    }

    /// What these bytes of it consist of.
    pub(super) fn piece(&self, range: Range<u64>) -> Piece {
        Piece::Voxels(self.voxels(range))
    }

    /// The voxels that these bytes of it are made from.
    pub(super) fn voxels(&self, range: Range<u64>) -> VoxelPiece {
        let (of_voxels, of_file) = self.unit();
        let units = range.start / of_file..range.end.div_ceil(of_file);
        let first = units.start * of_file;
        VoxelPiece {
            wanted: VoxelBytes {
                level: self.level,
                file_box: self.file_box,
                channels: self.channels,
                window: units.start * of_voxels..units.end * of_voxels,
            },
            dtype: self.dtype,
            encoding: self.encoding,
            cut: in_memory(range.start - first)..in_memory(range.end - first),
            stored: None,
        }
    }

    /// Bytes of voxels, and bytes of the file, that one unit of the encoding has.
    pub(super) fn unit(&self) -> (u64, u64) {
        self.encoding.unit(self.file_box, self.dtype)
    }

    /// Bytes of one voxel, with all channels that stand here.
    fn itemsize(&self) -> u64 {
        self.dtype.itemsize() as u64 * self.channels.n_here() as u64
    }
}

impl VoxelPiece {
    /// The voxels that have to be read.
    #[must_use]
    pub fn wanted(&self) -> &VoxelBytes {
        &self.wanted
    }

    /// The file's bytes, from the voxels that were asked for.
    ///
    /// # Panics
    /// If there are fewer voxels than asked for.
    #[must_use]
    pub fn encode(&self, voxels: Vec<u8>) -> Vec<u8> {
        let mut bytes = self.encoding.encode(voxels, self.dtype);
        bytes.truncate(self.cut.end);
        bytes.drain(..self.cut.start);
        let Some((blocks, stored)) = &self.stored else { return bytes };
        let mut framed = Vec::with_capacity(self.n_bytes());
        blocks.write(stored.clone(), &bytes, |part| framed.extend_from_slice(part));
        framed
    }

    /// The same voxels as a range of the blocks that hold them.
    pub(super) fn stored(self, blocks: StoredBlocks, stored: Range<u64>) -> Self {
        Self { stored: Some((blocks, stored)), ..self }
    }

    /// Bytes of the file that come from it.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        self.stored.as_ref().map_or(self.cut.len(), |(_, stored)| in_memory(stored.end - stored.start))
    }
}

/// A length that a range of bytes in memory has.
pub(super) fn in_memory(n: u64) -> usize {
    usize::try_from(n).expect("a part of a file that is read lies in memory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::STEP;
    use crate::geometry::Coordinate;

    fn dense(shape: [i64; 3], dtype: Dtype, encoding: Encoding) -> Dense {
        let file_box = VoxelBox::from_shape(Coordinate::ZERO, shape.into()).unwrap();
        Dense { level: 0, file_box, dtype, channels: Channels::One(0), encoding }
    }

    #[test]
    fn a_file_of_two_to_the_63_bytes_is_left_out() {
        let n_bytes = |shape| {
            VoxelFile::new([Section::Dense(dense(shape, Dtype::Uint64, Encoding::Little))]).map(|file| file.n_bytes())
        };
        assert_eq!(n_bytes([1 << 30, 1 << 10, 1 << 20]), None);
        assert_eq!(n_bytes([1 << 30, 1 << 10, (1 << 20) - 1]), Some((1 << 63) - (1 << 43)));
        assert_eq!(n_bytes([0, 0, 0]), Some(0));
        assert_eq!(VoxelFile::new([Section::Fill(0, 1 << 62), Section::Fill(0, 1 << 62)]), None);
    }

    /// The bytes of a file over voxels that are their own numbers.
    fn rendered(file: &VoxelFile, range: Range<u64>) -> Vec<u8> {
        let render = |piece: Piece| match piece {
            Piece::Bytes(bytes) => bytes,
            Piece::Checks(_) => panic!("no picture"),
            Piece::Voxels(piece) => {
                let numbered: Vec<u8> = (0_u16..60).flat_map(u16::to_le_bytes).collect();
                let window = piece.wanted().window.clone();
                piece.encode(numbered[in_memory(window.start)..in_memory(window.end)].to_vec())
            }
        };
        file.pieces(range).into_iter().flat_map(render).collect()
    }

    #[test]
    fn any_range_is_the_same_part_of_the_whole() {
        for encoding in [Encoding::Little, Encoding::Big] {
            let header: Arc<[u8]> = b"header!".as_slice().into();
            let middle = Section::Dense(dense([3, 4, 5], Dtype::Uint16, encoding));
            let gap = || Section::Fill(b'-', 0);
            let file = VoxelFile::new([gap(), Section::Bytes(header), gap(), middle, Section::Fill(b'-', 3), gap()]);
            let file = file.unwrap();
            let whole = rendered(&file, 0..file.n_bytes());
            assert_eq!(whole.len(), 7 + 120 + 3);
            let number = if encoding == Encoding::Big { u16::from_be_bytes } else { u16::from_le_bytes };
            assert_eq!(number([whole[7 + 2 * 41], whole[8 + 2 * 41]]), 41);
            for start in (0..whole.len()).step_by(STEP) {
                for end in (start..=whole.len() + 2).step_by(STEP) {
                    let part = rendered(&file, start as u64..end as u64);
                    assert_eq!(part, whole[start..end.min(whole.len())], "{start}..{end} {encoding:?}");
                }
            }
        }
    }
}
