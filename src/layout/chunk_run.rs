//! Dense chunks that stand one behind the other in a file.

use std::ops::Range;

use crate::array::Channels;
use crate::geometry::{Coordinate, VoxelBox};
use crate::voxels::Dtype;

use super::encoding::Encoding;
use super::file::{Dense, Piece, in_memory};

/// All chunks of a box of a chunk grid in C order, each whole: little-endian voxels, one channel after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkRun {
    /// Which level of the array.
    pub(super) level: usize,
    /// The first voxel of the first chunk, in DVID voxels of that level.
    pub(super) begin: Coordinate,
    /// Voxels of a chunk.
    pub(super) chunk_shape: Coordinate,
    /// How many chunks lie along each axis.
    pub(super) n_chunks: Coordinate,
    /// The type of a voxel, or of one channel of it.
    pub(super) dtype: Dtype,
    /// How many channels a chunk holds.
    pub(super) n_channels: usize,
}

impl ChunkRun {
    /// Bytes of one chunk, or `None` if they are too many to count.
    pub(super) fn chunk_bytes(&self) -> Option<u64> {
        let n_bytes =
            self.chunk_shape.product().checked_mul(self.dtype.itemsize() as u128 * self.n_channels as u128)?;
        u64::try_from(n_bytes).ok()
    }

    /// Bytes of all, or `None` if they are too many to count.
    pub(super) fn n_bytes(&self) -> Option<u64> {
        u64::try_from(self.n_chunks.product()).ok()?.checked_mul(self.chunk_bytes()?)
    }

    /// What a range of it consists of: chunk by chunk and channel by channel.
    pub(super) fn pieces(&self, range: Range<u64>, pieces: &mut Vec<Piece>) {
        let Some(plane_bytes) = self.chunk_bytes().map(|n| n / self.n_channels as u64).filter(|&n| n > 0) else {
            return;
        };
        for plane in range.start / plane_bytes..range.end.div_ceil(plane_bytes) {
            let begin = plane * plane_bytes;
            let part = range.start.max(begin) - begin..range.end.min(begin + plane_bytes) - begin;
            let n_channels = self.n_channels as u64;
            if let Some(dense) = self.dense(plane / n_channels, plane % n_channels) {
                pieces.push(dense.piece(part));
            }
        }
    }

    /// One channel of one chunk.
    fn dense(&self, chunk: u64, channel: u64) -> Option<Dense> {
        let [_, ny, nx] = self.n_chunks.axes();
        let chunk = i64::try_from(chunk).ok()?;
        let index = Coordinate::new(chunk / (ny * nx), chunk / nx % ny, chunk % nx);
        let file_box = VoxelBox::from_shape(self.begin + index * self.chunk_shape, self.chunk_shape)?;
        let channels = Channels::One(usize::try_from(channel).ok()?);
        Some(Dense { level: self.level, file_box, dtype: self.dtype, channels, encoding: Encoding::Little })
    }
}

/// The chunks of a run with bytes between them that are 0: as many before each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SpacedRun {
    pub(super) run: ChunkRun,
    /// Bytes before each chunk.
    pub(super) gap: u64,
}

impl SpacedRun {
    /// From one chunk to the next, or `None` if that is too far to count.
    pub(super) fn stride(&self) -> Option<u64> {
        self.run.chunk_bytes()?.checked_add(self.gap)
    }

    /// Bytes of all, or `None` if they are too many to count.
    pub(super) fn n_bytes(&self) -> Option<u64> {
        u64::try_from(self.run.n_chunks.product()).ok()?.checked_mul(self.stride()?)
    }

    /// What a range of it consists of.
    pub(super) fn pieces(&self, range: Range<u64>, pieces: &mut Vec<Piece>) {
        let (Some(stride), Some(chunk_bytes)) = (self.stride().filter(|&n| n > 0), self.run.chunk_bytes()) else {
            return;
        };
        for chunk in range.start / stride..range.end.div_ceil(stride) {
            let voxels = chunk * stride + self.gap;
            let (begin, end) = (range.start.max(voxels - self.gap), range.end.min(voxels + chunk_bytes));
            if begin < voxels {
                pieces.push(Piece::Bytes(vec![0; in_memory(end.min(voxels) - begin)]));
            }
            if voxels < end {
                let in_run = chunk * chunk_bytes;
                self.run.pieces(in_run + begin.saturating_sub(voxels)..in_run + end - voxels, pieces);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_stand_in_c_order_and_channels_within_them() {
        let run = ChunkRun {
            level: 1,
            begin: Coordinate::new(-8, 0, 4),
            chunk_shape: Coordinate::new(2, 3, 4),
            n_chunks: Coordinate::new(2, 3, 5),
            dtype: Dtype::Uint16,
            n_channels: 4,
        };
        assert_eq!((run.chunk_bytes(), run.n_bytes()), (Some(192), Some(30 * 192)));
        let mut pieces = Vec::new();
        // The last byte of chunk (1, 1, 2)'s second channel, and the first two of its third.
        let begin = 22 * 192 + 2 * 48;
        run.pieces(begin - 1..begin + 2, &mut pieces);
        let wanted: Vec<_> = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Voxels(piece) => {
                    (piece.wanted().file_box.begin().axes(), piece.wanted().channels, piece.n_bytes())
                }
                Piece::Bytes(_) | Piece::Checks(_) => panic!("no voxels"),
            })
            .collect();
        assert_eq!(wanted, [([-6, 3, 12], Channels::One(1), 1), ([-6, 3, 12], Channels::One(2), 2)]);
    }
}
