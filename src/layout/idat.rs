//! The data of a PNG picture: one IDAT chunk of stored blocks, with the checksums that need the whole picture.

use std::fmt;
use std::ops::Range;

use libdeflater::{Adler32, Crc};

use super::file::{Dense, Piece, VoxelPiece, in_memory};
use super::stored_blocks::StoredBlocks;

/// What stands between the length and the blocks: the chunk's type and zlib's header, no compression.
pub(super) const BEFORE_BLOCKS: [u8; 6] = *b"IDAT\x78\x01";
/// Adler-32 of zlib and CRC-32 of the chunk.
const CHECKS: u64 = 8;
/// Voxels that are read at a time for the checksums: some rows of blocks of as wide a picture as there is.
const BAND_BYTES: u64 = 4 << 20;

/// The rows of a picture in stored blocks, and the checksums behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Idat {
    rows: Dense,
    blocks: StoredBlocks,
}

/// The part of a picture's checksums that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChecksPiece {
    idat: Idat,
    cut: Range<usize>,
}

/// The checksums of a picture while its rows come in, band by band.
pub struct ChecksFold {
    idat: Idat,
    /// Bytes of rows that were taken in.
    at: u64,
    adler: Adler32,
    crc: Crc,
}

impl Idat {
    /// The data of a picture of these rows, or `None` if they are none, or too many to count.
    pub(super) fn new(rows: Dense) -> Option<Self> {
        Some(Self { rows, blocks: StoredBlocks::new(rows.n_bytes()?)? })
    }

    /// What the chunk's length says: all between its type and its CRC.
    pub(super) fn chunk_bytes(&self) -> u64 {
        self.blocks.n_stored() + 2 + 4
    }

    /// Bytes from the first block to the end of the CRC.
    pub(super) fn n_bytes(&self) -> u64 {
        self.blocks.n_stored() + CHECKS
    }

    /// What a range of them consists of.
    pub(super) fn pieces(&self, range: Range<u64>, pieces: &mut Vec<Piece>) {
        let end = self.blocks.n_stored();
        let stored = range.start..range.end.min(end);
        if !stored.is_empty() {
            pieces.push(self.blocks_piece(stored));
        }
        let checks = range.start.max(end)..range.end;
        if !checks.is_empty() {
            let cut = in_memory(checks.start - end)..in_memory(checks.end - end);
            pieces.push(Piece::Checks(ChecksPiece { idat: *self, cut }));
        }
    }

    fn blocks_piece(&self, stored: Range<u64>) -> Piece {
        let held = self.blocks.held(stored.clone());
        if !held.is_empty() {
            return Piece::Voxels(self.rows.voxels(held).stored(self.blocks, stored));
        }
        let mut header = Vec::new();
        self.blocks.write(stored, &[], |part| header.extend_from_slice(part));
        Piece::Bytes(header)
    }
}

impl ChecksPiece {
    /// The checksums, with nothing taken in.
    #[must_use]
    pub fn fold(&self) -> ChecksFold {
        let mut crc = Crc::new();
        crc.update(&BEFORE_BLOCKS);
        ChecksFold { idat: self.idat, at: 0, adler: Adler32::new(), crc }
    }

    /// The bytes that are read, of those that a fold ended with.
    #[must_use]
    pub fn cut(&self, checks: [u8; 8]) -> Vec<u8> {
        checks[self.cut.clone()].to_vec()
    }

    /// How many bytes are read.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        self.cut.len()
    }
}

impl fmt::Debug for ChecksFold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChecksFold").field("idat", &self.idat).field("at", &self.at).finish_non_exhaustive()
    }
}

impl ChecksFold {
    /// The rows to take in next; `None` after the last.
    #[must_use]
    pub fn next_rows(&self) -> Option<VoxelPiece> {
        let (of_voxels, of_picture) = self.idat.rows.unit();
        let band = of_picture * (BAND_BYTES / of_voxels).max(1);
        let end = self.idat.blocks.n_held().min(self.at + band);
        (self.at < end).then(|| self.idat.rows.voxels(self.at..end))
    }

    /// Takes in the bytes of the rows that were next.
    pub fn take_in(&mut self, rows: &[u8]) {
        let end = self.at + rows.len() as u64;
        self.adler.update(rows);
        let stored = self.idat.blocks.stored(self.at..end);
        self.idat.blocks.write(stored, rows, |part| self.crc.update(part));
        self.at = end;
    }

    /// Adler-32 and CRC-32 as they stand in the file.
    #[must_use]
    pub fn finish(mut self) -> [u8; 8] {
        let adler = self.adler.sum().to_be_bytes();
        self.crc.update(&adler);
        let mut checks = [0; 8];
        checks[..4].copy_from_slice(&adler);
        checks[4..].copy_from_slice(&self.crc.sum().to_be_bytes());
        checks
    }
}
