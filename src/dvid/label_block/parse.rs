//! Reading and checking a label block.

use std::sync::Arc;

use crate::geometry::Coordinate;

use super::super::payload_error::PayloadError;
use super::{LabelBlock, PADDING, SUB_VOXELS, Voxels, bits_of};

/// Rows of eight voxels in a sub-block.
const N_ROWS: usize = 64;
/// gx, gy, gz, N.
const HEADER_BYTES: usize = 16;

const fn bad(why: &'static str) -> PayloadError {
    PayloadError::BadLabelBlock(why)
}

pub(super) fn parse(mut bytes: Vec<u8>, block_shape: Coordinate) -> Result<LabelBlock, PayloadError> {
    let header = bytes.get(..HEADER_BYTES).ok_or(bad("cut in the header"))?.as_chunks::<4>().0;
    let [gx, gy, gz, label_count] = std::array::from_fn(|i| u32::from_le_bytes(header[i]));
    let grid_xyz = [gx, gy, gz];
    let [z, y, x] = block_shape.axes();
    // In i64, where no u32 times 8 overflows.
    if grid_xyz.map(|n| i64::from(n) * 8) != [x, y, z] {
        return Err(bad("another shape than the instance's blocks"));
    }
    let grid = [gz, gy, gx].map(|n| n as usize);
    let n_sub_blocks = grid.iter().try_fold(1_usize, |product, &n| product.checked_mul(n));
    let n_sub_blocks = n_sub_blocks.ok_or(bad("too many sub-blocks"))?;

    let n_labels = label_count as usize;
    if n_labels == 0 {
        return Err(bad("no labels"));
    }
    let labels_end = n_labels.checked_mul(8).and_then(|n| n.checked_add(HEADER_BYTES));
    let labels_end = labels_end.filter(|&end| end <= bytes.len()).ok_or(bad("cut in the label list"))?;
    if u128::from(label_count) > block_shape.product() {
        return Err(bad("more labels than voxels"));
    }
    let labels = bytes[HEADER_BYTES..labels_end].as_chunks::<8>().0.iter().map(|&label| u64::from_le_bytes(label));
    let labels: Vec<u64> = labels.collect();
    bytes.drain(..labels_end);
    let (indices_at, values_at) = if n_labels == 1 {
        if !bytes.is_empty() {
            return Err(bad("bytes behind a solid block"));
        }
        (0, 0)
    } else {
        bytes.reserve_exact(PADDING);
        bytes.resize(bytes.len() + PADDING, 0);
        check_sub_blocks(&bytes, n_sub_blocks, label_count)?
    };
    Ok(LabelBlock { labels, voxels: Arc::new(Voxels { grid, bytes, indices_at, values_at }) })
}

/// Checks everything behind the label list; where indices and values begin in it.
fn check_sub_blocks(padded: &[u8], n_sub_blocks: usize, n_labels: u32) -> Result<(usize, usize), PayloadError> {
    let bytes = &padded[..padded.len() - PADDING];
    let indices_at = n_sub_blocks.checked_mul(2).ok_or(bad("too many sub-blocks"))?;
    let counts = bytes.get(..indices_at).ok_or(bad("cut in the sub-block counts"))?;
    let counts = counts.as_chunks::<2>().0.iter().map(|&count| u16::from_le_bytes(count));
    // At most 512 indices and 576 bytes of values for each two bytes of counts that are there: no overflow.
    let (mut n_indices, mut values_bytes) = (0, 0);
    for count in counts.clone() {
        if usize::from(count) > SUB_VOXELS {
            return Err(bad("more labels in a sub-block than voxels"));
        }
        n_indices += usize::from(count);
        values_bytes += bits_of(count) * SUB_VOXELS / 8;
    }
    let values_at = indices_at + 4 * n_indices;
    let indices = bytes.get(indices_at..values_at).ok_or(bad("cut in the indices"))?;
    let largest = indices.as_chunks::<4>().0.iter().map(|&index| u32::from_le_bytes(index)).max();
    if largest.is_some_and(|index| index >= n_labels) {
        return Err(bad("an index beyond the label list"));
    }
    match bytes.len() - values_at {
        there if there < values_bytes => return Err(bad("cut in the values")),
        there if there > values_bytes => return Err(bad("bytes left over")),
        _ => {}
    }
    let mut at = values_at;
    for count in counts {
        // Of a power of two, every value of so many bits is right.
        if !count.is_power_of_two() && count > 0 && !all_below(&padded[at..], count) {
            return Err(bad("a value beyond the labels of its sub-block"));
        }
        at += bits_of(count) * SUB_VOXELS / 8;
    }
    Ok((indices_at, values_at))
}

/// Whether every value of a sub-block is below the number of its labels.
///
/// `values` goes on behind the sub-block by at least eight bytes, which are not looked at.
fn all_below(values: &[u8], count: u16) -> bool {
    match bits_of(count) {
        1 => rows_below::<1>(values, count),
        2 => rows_below::<2>(values, count),
        3 => rows_below::<3>(values, count),
        4 => rows_below::<4>(values, count),
        5 => rows_below::<5>(values, count),
        6 => rows_below::<6>(values, count),
        7 => rows_below::<7>(values, count),
        8 => rows_below::<8>(values, count),
        _ => {
            let rows = values.as_chunks::<9>().0.iter().take(N_ROWS);
            rows.flat_map(super::decode::values_of_wide_row).all(|value| value < count)
        }
    }
}

/// Adds what is missing to 2^bits to each value of a row at once: a value that is too large carries into the
/// bits above it, which are free because even and odd values are looked at apart.
fn rows_below<const BITS: usize>(values: &[u8], count: u16) -> bool {
    let ones = (0..4).fold(0_u64, |ones, i| ones | 1 << (2 * BITS * i));
    let fields = ones * ((1 << BITS) - 1);
    let missing = ones * ((1 << BITS) - u64::from(count));
    let mut carries = 0;
    // Each row is BITS bytes, read with some of the next.
    let values = &values[..N_ROWS * BITS + 8];
    for row in 0..N_ROWS {
        let word = values[row * BITS..].first_chunk().map_or(0, |&bytes| u64::from_be_bytes(bytes)) >> (64 - 8 * BITS);
        carries |= ((word & fields) + missing) | (((word >> BITS) & fields) + missing);
    }
    carries & (ones << BITS) == 0
}
