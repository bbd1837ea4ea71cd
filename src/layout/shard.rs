//! A Zarr v3 shard as a file: inner chunks one behind the other, their index, and its checksum.
//!
//! Every inner chunk is there and none is compressed, so the index is arithmetic: the same in every shard of a level.

use std::ops::Range;

use crate::array::ArraySpec;
use crate::geometry::Coordinate;

use super::chunk_run::ChunkRun;
use super::file::Section;
use super::form::Held;

/// How the shards of a level are cut into inner chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    chunk_shape: Coordinate,
    /// How many inner chunks lie along each axis.
    n_chunks: Coordinate,
    index: ShardIndex,
}

/// The index at the end of a shard: for each inner chunk its offset and length, then a checksum of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ShardIndex {
    n_chunks: u64,
    chunk_bytes: u64,
    crc32c: u32,
}

impl Shard {
    /// Shards of so many inner chunks of one shape, or `None` if one has too many bytes to count.
    pub(super) fn new(spec: &ArraySpec, chunk_shape: Coordinate, n_chunks: Coordinate) -> Option<Self> {
        let run = chunks(spec, (0, Coordinate::ZERO), chunk_shape, n_chunks);
        run.n_bytes()?;
        let index = ShardIndex::new(u64::try_from(n_chunks.product()).ok()?, run.chunk_bytes()?);
        Some(Self { chunk_shape, n_chunks, index })
    }

    /// What the shard over these voxels consists of.
    pub(super) fn sections(&self, spec: &ArraySpec, held: Held) -> [Section; 2] {
        let run = chunks(spec, (held.level, held.voxels.begin()), self.chunk_shape, self.n_chunks);
        [Section::Chunks(run), Section::ShardIndex(self.index)]
    }
}

fn chunks(
    spec: &ArraySpec,
    (level, begin): (usize, Coordinate),
    chunk_shape: Coordinate,
    n_chunks: Coordinate,
) -> ChunkRun {
    ChunkRun { level, begin, chunk_shape, n_chunks, dtype: spec.dtype, n_channels: spec.n_channels() }
}

impl ShardIndex {
    /// Bytes of an inner chunk's entry.
    const ENTRY: u64 = 16;

    /// The index of so many chunks, each of this many bytes: less than 2^64 together.
    fn new(n_chunks: u64, chunk_bytes: u64) -> Self {
        let mut index = Self { n_chunks, chunk_bytes, crc32c: 0 };
        index.crc32c = (0..n_chunks).fold(0, |crc, chunk| crc32c::crc32c_append(crc, &index.entry(chunk)));
        index
    }

    pub(super) fn n_bytes(&self) -> u64 {
        self.n_chunks * Self::ENTRY + u32::BITS as u64 / 8
    }

    /// A range of its bytes, which lies inside it.
    pub(super) fn bytes(&self, range: Range<u64>) -> Vec<u8> {
        let end_of_entries = self.n_chunks * Self::ENTRY;
        let chunks = range.start / Self::ENTRY..range.end.min(end_of_entries).div_ceil(Self::ENTRY);
        let first_byte = chunks.start * Self::ENTRY;
        let mut bytes: Vec<u8> = chunks.flat_map(|chunk| self.entry(chunk)).collect();
        if range.end > end_of_entries {
            bytes.extend(self.crc32c.to_le_bytes());
        }
        let part = range.start - first_byte..range.end - first_byte;
        let in_memory = |n: u64| usize::try_from(n).expect("a part of a file that is read lies in memory");
        bytes.truncate(in_memory(part.end));
        bytes.drain(..in_memory(part.start));
        bytes
    }

    /// Offset and length of an inner chunk.
    fn entry(&self, chunk: u64) -> [u8; 16] {
        let mut entry = [0; 16];
        entry[..8].copy_from_slice(&(chunk * self.chunk_bytes).to_le_bytes());
        entry[8..].copy_from_slice(&self.chunk_bytes.to_le_bytes());
        entry
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::file::VoxelFile;
    use super::super::test_support::{labels, rendered, rgba};
    use super::*;
    use crate::fuzz::STEP;
    use crate::geometry::VoxelBox;

    /// The table of the format's description: inner chunks of 64^3, by the shape of the shard.
    #[test]
    fn sizes_and_checksums_are_the_published_ones() {
        assert_eq!(crc32c::crc32c(b"123456789"), 0xE306_9283);
        for (shard, itemsize, n_bytes, crc32c) in [
            ([1024, 1024, 1024], 1, 1_073_807_364, 0x6CDB_DF97),
            ([1024, 1024, 1024], 8, 8_590_000_132, 0x8218_1D3C),
            ([320, 1024, 704], 1, 230_700_804, 0x8D62_9490),
            ([320, 1024, 704], 8, 1_845_507_844, 0x2912_5A29),
            ([192, 576, 384], 1, 42_469_924, 0xB865_090D),
            ([192, 576, 384], 8, 339_741_220, 0x0AB2_6E66),
            ([64, 192, 128], 1, 1_572_964, 0x7445_1552),
            ([64, 192, 128], 8, 12_583_012, 0x79A6_FD92),
            ([256, 256, 256], 1, 16_778_244, 0xF1C5_030D),
            ([256, 256, 256], 8, 134_218_756, 0x15F0_35F4_u32),
        ] {
            let n_chunks: u64 = shard.iter().map(|n| n / 64).product();
            let index = ShardIndex::new(n_chunks, 64 * 64 * 64 * itemsize);
            let all = n_chunks * index.chunk_bytes + index.n_bytes();
            assert_eq!((all, index.crc32c), (n_bytes, crc32c), "{shard:?} of {itemsize}");
            let end = index.bytes(index.n_bytes() - 4..index.n_bytes());
            assert_eq!(end, crc32c.to_le_bytes(), "{shard:?} of {itemsize}");
        }
    }

    #[test]
    fn an_entry_is_an_offset_and_a_length() {
        let index = ShardIndex::new(3, 0x0102);
        let bytes = index.bytes(0..52);
        assert_eq!(bytes[..16], [0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[32..48], [4, 2, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[48..], crc32c::crc32c(&bytes[..48]).to_le_bytes());
    }

    /// A value that tells channel and place.
    fn value(channel: usize, voxel: Coordinate) -> u64 {
        let [z, y, x] = voxel.axes().map(i64::cast_unsigned);
        ((channel as u64 + 1) << 24) ^ (z << 12) ^ (y << 6) ^ x
    }

    /// A shard of 2 x 1 x 3 chunks of (1, 2, 3) voxels, voxel by voxel.
    fn by_voxel(spec: &ArraySpec, begin: Coordinate) -> Vec<u8> {
        let (mut bytes, mut index) = (Vec::new(), Vec::new());
        for (z, x) in [(0, 0), (0, 3), (0, 6), (1, 0), (1, 3), (1, 6)] {
            let at = bytes.len();
            for channel in 0..spec.n_channels() {
                for (y, x) in [(0, x), (0, x + 1), (0, x + 2), (1, x), (1, x + 1), (1, x + 2)] {
                    let value = value(channel, begin + Coordinate::new(z, y, x));
                    bytes.extend_from_slice(&value.to_le_bytes()[..spec.dtype.itemsize()]);
                }
            }
            index.extend_from_slice(&(at as u64).to_le_bytes());
            index.extend_from_slice(&((bytes.len() - at) as u64).to_le_bytes());
        }
        let crc = crc32c::crc32c(&index).to_le_bytes();
        bytes.into_iter().chain(index).chain(crc).collect()
    }

    #[test]
    fn any_range_of_a_shard_is_the_same_part_of_the_model() {
        for spec in [labels(), rgba()] {
            let begin = Coordinate::new(64, 0, -128);
            let shard = Shard::new(&spec, Coordinate::new(1, 2, 3), Coordinate::new(2, 1, 3)).unwrap();
            let voxels = VoxelBox::from_shape(begin, Coordinate::new(2, 2, 9)).unwrap();
            let file = VoxelFile::new(shard.sections(&spec, Held { level: 0, voxels })).unwrap();
            let model = by_voxel(&spec, begin);
            assert_eq!(file.n_bytes(), model.len() as u64);
            for start in (0..model.len()).step_by(STEP) {
                for end in (start..=model.len()).step_by(STEP) {
                    let part = rendered(&file, start as u64..end as u64, spec.dtype, value);
                    assert_eq!(part, model[start..end], "{start}..{end}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_range_is_the_same_part_of_the_whole(n_chunks in 1_u64..20, a in 0_u64..400, b in 0_u64..400) {
            let index = ShardIndex::new(n_chunks, 4096);
            let whole = index.bytes(0..index.n_bytes());
            prop_assert_eq!(whole.len() as u64, index.n_bytes());
            let (begin, end) = (a.min(b).min(index.n_bytes()), a.max(b).min(index.n_bytes()));
            let part = usize::try_from(begin).unwrap()..usize::try_from(end).unwrap();
            prop_assert_eq!(index.bytes(begin..end), &whole[part]);
        }
    }
}
