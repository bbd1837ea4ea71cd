//! DVID's compressed label block: labels of a block by sub-blocks of 8^3 voxels.
//!
//! ```text
//! u32 gx, gy, gz          sub-blocks along each axis
//! u32 N                   number of labels
//! u64 label[N]            may repeat, may hold 0; the end if N == 1
//! u16 Ns[gx*gy*gz]        labels in each sub-block, x fastest
//! u32 index[sum(Ns)]      into label[]
//! u8  values[]            for each sub-block with Ns >= 2: 512 values of ceil(log2 Ns) bits, x fastest, MSB first
//! ```
//! All is checked when a block is parsed, so that decoding cannot fail.

use std::fmt;
use std::sync::Arc;

use crate::geometry::Coordinate;

use super::gzip::gunzip;
use super::payload_error::PayloadError;

mod decode;
mod parse;

/// Voxels along the edge of a sub-block.
const EDGE: usize = 8;
/// Voxels of a sub-block.
const SUB_VOXELS: usize = EDGE * EDGE * EDGE;

/// A checked label block, kept in DVID's compressed form.
#[derive(Clone)]
pub struct LabelBlock {
    labels: Vec<u64>,
    voxels: Arc<Voxels>,
}

/// Which label of the list each voxel has. Shared by blocks that differ in their labels alone.
struct Voxels {
    /// Sub-blocks along each axis, zyx.
    grid: [usize; 3],
    /// Everything behind the label list, then [`PADDING`] zeros; empty for a solid block.
    bytes: Vec<u8>,
    /// Where `index` begins in `bytes`.
    indices_at: usize,
    /// Where `values` begins in `bytes`.
    values_at: usize,
}

/// Zeros behind the values: a row of 8 values is read as up to 9 bytes, however few of them it has.
const PADDING: usize = 16;

impl LabelBlock {
    /// Reads and checks a label block that has already been inflated.
    ///
    /// # Errors
    /// If the block has another shape than `block_shape` (zyx), names a label or a value that it does not have,
    /// or is not exactly as long as it says.
    pub fn parse(bytes: Vec<u8>, block_shape: Coordinate) -> Result<Self, PayloadError> {
        parse::parse(bytes, block_shape)
    }

    /// Reads and checks a label block as the server sends it: gzipped, or bare from an instance that stores without
    /// compression. Memory is bounded by the largest label block of this shape (zyx).
    ///
    /// # Errors
    /// If the gzip member is damaged, or as [`parse`](Self::parse).
    pub fn from_payload(payload: &[u8], block_shape: Coordinate) -> Result<Self, PayloadError> {
        let limit = largest_label_block(block_shape)?;
        let bytes = if payload.starts_with(&[0x1f, 0x8b]) {
            gunzip(payload, limit)?
        } else if payload.len() <= limit {
            payload.to_vec()
        } else {
            return Err(PayloadError::OverLimit { claimed: payload.len() as u64, limit: limit as u64 });
        };
        Self::parse(bytes, block_shape)
    }

    /// The label list, in the block's own order: labels may repeat, and 0 may be one of them.
    #[must_use]
    pub fn labels(&self) -> &[u64] {
        &self.labels
    }

    /// The same voxels under other labels: `labels[i]` takes the place of the i-th of [`labels`](Self::labels).
    ///
    /// # Panics
    /// If the list has another length.
    #[must_use]
    pub fn with_labels(&self, labels: Vec<u64>) -> Self {
        assert_eq!(labels.len(), self.labels.len(), "every label has a replacement");
        Self { labels, voxels: Arc::clone(&self.voxels) }
    }

    /// All voxels: u64 little-endian, C order zyx, x fastest.
    #[must_use]
    pub fn decode(&self) -> Vec<u8> {
        self.decode_mapped(&self.labels)
    }

    /// All voxels under other labels: `labels[i]` takes the place of the i-th of [`labels`](Self::labels).
    ///
    /// A voxel without any label stays 0.
    ///
    /// # Panics
    /// If the list has another length.
    #[must_use]
    pub fn decode_mapped(&self, labels: &[u64]) -> Vec<u8> {
        assert_eq!(labels.len(), self.labels.len(), "every label has a replacement");
        decode::decode(&self.voxels, labels)
    }

    /// Memory that the block holds, in bytes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        size_of::<Self>() + size_of::<Voxels>() + self.labels.len() * 8 + self.voxels.bytes.len()
    }
}

impl fmt::Debug for LabelBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [z, y, x] = self.voxels.grid.map(|n| n * EDGE);
        write!(f, "LabelBlock({z},{y},{x}, {} labels)", self.labels.len())
    }
}

/// Bytes of a label block in which every voxel has a label of its own: no right one is larger.
fn largest_label_block(block_shape: Coordinate) -> Result<usize, PayloadError> {
    if block_shape.axes().iter().any(|&n| n > 8 * i64::from(u32::MAX)) {
        return Err(PayloadError::BadLabelBlock("no label block has this shape"));
    }
    let n_voxels = block_shape.product();
    // Header; labels and indices of every voxel; 9 bits of value; a count for every 512.
    let bytes = 16 + n_voxels * (8 + 4) + n_voxels.div_ceil(8) * 9 + n_voxels.div_ceil(512) * 2;
    usize::try_from(bytes).map_err(|_| PayloadError::OverLimit { claimed: u64::MAX, limit: usize::MAX as u64 })
}

/// Bits of a value in a sub-block of this many labels: 0 to 9.
fn bits_of(n_labels: u16) -> usize {
    (u16::BITS - n_labels.saturating_sub(1).leading_zeros()) as usize
}

#[cfg(test)]
mod tests;
