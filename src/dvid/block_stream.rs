//! The frames in which DVID sends blocks: `int32 LE bx, by, bz, nbytes`, then the payload. Strict.

use crate::geometry::{BlockBox, BlockIndex, Coordinate};

use super::payload_error::PayloadError;

/// Four int32: block x, y, z, and the length of the payload.
const HEADER_BYTES: usize = 16;

/// One block as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// Which block.
    pub(super) index: BlockIndex,
    /// Its voxels in the form that was asked for; never empty.
    pub(super) payload: &'a [u8],
}

/// The payload of each block asked for, in the order of [`BlockBox::blocks`]; `None` where the server stores no block.
///
/// Frames may come in any order, and may be missing: so DVID says that a block is not stored.
///
/// # Errors
/// If a block came that was not asked for, or came twice, or if any byte of the answer is not part of a whole frame.
pub(super) fn parse_frames(body: &[u8], asked: BlockBox) -> Result<Vec<Option<&[u8]>>, PayloadError> {
    let n_blocks = usize::try_from(asked.n_blocks())
        .map_err(|_| PayloadError::OverLimit { claimed: u64::MAX, limit: usize::MAX as u64 })?;
    let mut payloads = vec![None; n_blocks];
    let mut offset = 0;
    while offset < body.len() {
        let frame = frame_at(body, offset)?;
        let slot = slot_of(frame.index, asked).ok_or(PayloadError::UnaskedBlock(frame.index))?;
        if payloads[slot].replace(frame.payload).is_some() {
            return Err(PayloadError::RepeatedBlock(frame.index));
        }
        offset += HEADER_BYTES + frame.payload.len();
    }
    Ok(payloads)
}

fn frame_at(body: &[u8], offset: usize) -> Result<Frame<'_>, PayloadError> {
    let rest = &body[offset..];
    let cut = || PayloadError::CutFrame { offset, left: rest.len() };
    let (header, rest) = rest.split_at_checked(HEADER_BYTES).ok_or_else(cut)?;
    let number = |at: usize| i32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let [x, y, z, claimed] = [0, 4, 8, 12].map(number);
    let length = usize::try_from(claimed).ok().filter(|&length| length > 0);
    let length = length.ok_or(PayloadError::BadFrameLength { offset, claimed })?;
    let payload = rest.get(..length).ok_or_else(cut)?;
    Ok(Frame { index: BlockIndex(Coordinate::new(z.into(), y.into(), x.into())), payload })
}

/// Where a block stands in [`BlockBox::blocks`].
fn slot_of(block: BlockIndex, asked: BlockBox) -> Option<usize> {
    if !asked.contains(block) {
        return None;
    }
    let [z, y, x] = (block.0 - asked.0.begin()).to_usize()?;
    let [_, ny, nx] = asked.0.shape().to_usize()?;
    Some((z * ny + y) * nx + x)
}

#[cfg(test)]
mod tests;
