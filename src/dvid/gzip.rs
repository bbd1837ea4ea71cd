//! One gzip member, whole and alone.

use std::cell::RefCell;

use libdeflater::{DecompressionError, Decompressor, crc32};

use super::payload_error::PayloadError;

/// CRC-32 and size, at the end of a member.
const TRAILER_BYTES: usize = 8;
/// The header of a member without a file's name and the like: no server sends another.
const PLAIN_HEADER_BYTES: usize = 10;
/// Header and trailer of the smallest member.
const LEAST_BYTES: usize = 18;
/// No deflate stream grows by more than 1032 times; a size beyond that is a lie.
const LARGEST_RATIO: u64 = 1032;

thread_local! {
    /// Tables of 30 KiB or so, made once a thread.
    static DECOMPRESSOR: RefCell<Decompressor> = RefCell::new(Decompressor::new());
}

/// What a gzip member holds, at most `limit` bytes of it.
///
/// Memory is bounded by `limit` and by what so many bytes can hold. The checksum has been compared.
///
/// # Errors
/// If the member is cut or damaged, larger than `limit`, or anything follows it: garbage or a second member.
pub(super) fn gunzip(member: &[u8], limit: usize) -> Result<Vec<u8>, PayloadError> {
    let trailer = member.last_chunk::<TRAILER_BYTES>().filter(|_| member.len() >= LEAST_BYTES);
    let &[.., s0, s1, s2, s3] = trailer.ok_or(PayloadError::BadGzip("cut"))?;
    let claimed = u32::from_le_bytes([s0, s1, s2, s3]);
    let possible = (member.len() as u64).saturating_mul(LARGEST_RATIO);
    if u64::from(claimed) > possible {
        return Err(PayloadError::BadGzip("a size that it cannot hold"));
    }
    let size = usize::try_from(claimed).ok().filter(|&size| size <= limit);
    let size = size.ok_or(PayloadError::OverLimit { claimed: claimed.into(), limit: limit as u64 })?;
    let mut inflated = vec![0; size];
    let got = inflate(member, &mut inflated).map_err(|error| match error {
        DecompressionError::BadData if has_whole_stream(member, &mut inflated) => PayloadError::BadCrc,
        DecompressionError::BadData => PayloadError::BadGzip("damaged or cut"),
        DecompressionError::InsufficientSpace => PayloadError::BadGzip("more than its size"),
    })?;
    if got != size {
        return Err(PayloadError::BadGzip("less than its size"));
    }
    if ends_early(member, &inflated) {
        return Err(PayloadError::BadGzip("bytes behind it"));
    }
    Ok(inflated)
}

fn inflate(member: &[u8], inflated: &mut [u8]) -> Result<usize, DecompressionError> {
    DECOMPRESSOR.with_borrow_mut(|decompressor| decompressor.gzip_decompress(member, inflated))
}

/// Whether what stands between the header and the trailer fills the buffer: then it is the checksum that is wrong.
fn has_whole_stream(member: &[u8], inflated: &mut [u8]) -> bool {
    let stream = member.get(PLAIN_HEADER_BYTES..member.len() - TRAILER_BYTES);
    let size = inflated.len();
    stream.is_some_and(|stream| {
        DECOMPRESSOR.with_borrow_mut(|decompressor| decompressor.deflate_decompress(stream, inflated)) == Ok(size)
    })
}

/// Whether the member that `inflated` came from ends before the bytes do.
///
/// The decompressor stops behind the first member and does not say where. But a member ends with a trailer that is
/// known by now: it must stand at the end, and nowhere before. That eight bytes of compressed voxels equal it
/// by accident does not happen in the lifetime of a server.
fn ends_early(member: &[u8], inflated: &[u8]) -> bool {
    let size = u32::try_from(inflated.len()).unwrap_or(u32::MAX);
    let mut trailer = [0; TRAILER_BYTES];
    trailer[..4].copy_from_slice(&crc32(inflated).to_le_bytes());
    trailer[4..].copy_from_slice(&size.to_le_bytes());
    let end = member.len() - TRAILER_BYTES;
    // One byte is looked at alone first: comparing eight at each place costs more than inflating.
    let mut places = (LEAST_BYTES - TRAILER_BYTES..=end).filter(|&at| member[at] == trailer[0]);
    places.find(|&at| member[at..at + TRAILER_BYTES] == trailer) != Some(end)
}

#[cfg(test)]
mod tests;
