//! One payload, in whatever form the server sends it, to the voxels of one block. Bounded by the block's exact size.

use std::sync::Arc;

use crate::geometry::Coordinate;
use crate::voxels::{Dtype, Volume, woven_apart};

use super::fetch_blocks::Block;
use super::gzip::gunzip;
use super::jpeg::decode_jpeg;
use super::label_block::LabelBlock;
use super::payload_error::PayloadError;

/// How an instance stores its blocks, as `Base.Compression` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoredForm {
    /// `LZ4 compression`: the size as u32, then an LZ4 block; size 0 stands before voxels that are not compressed.
    Lz4,
    /// `gzip compression`.
    Gzip,
    /// `No compression`.
    None,
    /// `jpeg compression`: lossy, 8-bit gray.
    Jpeg,
    /// `Go Snappy compression`.
    Snappy,
}

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Encoding {
    /// Voxels in the form in which the server stores them: `compression=` of `subvolblocks` left empty.
    ///
    /// The form is a guess: an instance can hold blocks of an earlier form, and a proxy of a bucket always says
    /// JPEG. So the payload itself decides, and the result must have the block's exact size.
    Stored(StoredForm),
    /// A label block, gzipped or (from an instance that stores without compression) bare: `compression=blocks`.
    LabelBlock,
    /// One LZ4 block without a size before it: `compression=lz4` of label types.
    Lz4Labels,
}

impl Encoding {
    /// The number under which an encoding is written to disk; 0 is not one of them.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::LabelBlock => 1,
            Self::Lz4Labels => 2,
            Self::Stored(StoredForm::Lz4) => 16,
            Self::Stored(StoredForm::Gzip) => 17,
            Self::Stored(StoredForm::None) => 18,
            Self::Stored(StoredForm::Jpeg) => 19,
            Self::Stored(StoredForm::Snappy) => 20,
        }
    }

    /// The encoding of a number.
    pub(super) fn from_code(code: u8) -> Option<Self> {
        let forms = [StoredForm::Lz4, StoredForm::Gzip, StoredForm::None, StoredForm::Jpeg, StoredForm::Snappy];
        let all = [Self::LabelBlock, Self::Lz4Labels].into_iter().chain(forms.map(Self::Stored));
        all.into_iter().find(|encoding| encoding.code() == code)
    }
}

/// The block that a payload holds: [`Block::Labels`] for label blocks, [`Block::Dense`] for all others.
///
/// The server sends channels voxel by voxel; they are taken apart here, once for all who read the block.
///
/// # Errors
/// If the payload is damaged, or is not exactly one block of this type and shape (zyx).
pub(super) fn decode_payload(
    encoding: Encoding,
    (dtype, channels): (Dtype, Option<usize>),
    block_shape: Coordinate,
    payload: &[u8],
) -> Result<Block, PayloadError> {
    let claimed = block_shape.product() * (dtype.itemsize() * channels.unwrap_or(1)) as u128;
    let wanted = usize::try_from(claimed)
        .map_err(|_| PayloadError::OverLimit { claimed: u64::MAX, limit: usize::MAX as u64 })?;
    let voxels = match encoding {
        Encoding::LabelBlock => {
            return LabelBlock::from_payload(payload, block_shape).map(|block| Block::Labels(Arc::new(block)));
        }
        Encoding::Lz4Labels => unlz4(payload, wanted)?,
        Encoding::Stored(declared) => {
            match stored_form(declared, (dtype, channels), wanted, payload)
                .ok_or(PayloadError::BadLength { got: payload.len(), wanted })?
            {
                StoredForm::Jpeg => unjpeg(block_shape, payload)?,
                StoredForm::Gzip => exact(gunzip(payload, wanted)?, wanted)?,
                StoredForm::Lz4 if payload.starts_with(&[0; LZ4_PREFIX]) => payload[LZ4_PREFIX..].to_vec(),
                StoredForm::Lz4 => unlz4(&payload[LZ4_PREFIX..], wanted)?,
                StoredForm::Snappy => unsnap(payload, wanted)?,
                StoredForm::None => payload.to_vec(),
            }
        }
    };
    let got = voxels.len();
    let voxels = match channels {
        Some(n) if got == wanted => woven_apart(&voxels, n, dtype.itemsize()),
        Some(_) | None => voxels,
    };
    let volume = Volume::with_channels(dtype, channels, block_shape, voxels);
    let volume = volume.map_err(|_| PayloadError::BadLength { got, wanted })?;
    Ok(Block::Dense(Arc::new(volume)))
}

/// The uncompressed size before an LZ4 block.
const LZ4_PREFIX: usize = 4;

/// The form of a payload: the declared one if the payload looks like it, else the first that it looks like.
fn stored_form(
    declared: StoredForm,
    voxel: (Dtype, Option<usize>),
    wanted: usize,
    payload: &[u8],
) -> Option<StoredForm> {
    let looks_like = |form: &StoredForm| match form {
        StoredForm::Jpeg => voxel == (Dtype::Uint8, None) && payload.starts_with(&[0xff, 0xd8]),
        StoredForm::Gzip => payload.starts_with(&[0x1f, 0x8b, 8]),
        StoredForm::Lz4 => match lz4_prefix(payload) {
            Some(0) => payload.len() == wanted + LZ4_PREFIX,
            Some(size) => size == wanted,
            None => false,
        },
        StoredForm::None => payload.len() == wanted,
        StoredForm::Snappy => snap::raw::decompress_len(payload).is_ok_and(|size| size == wanted),
    };
    let others = [StoredForm::Jpeg, StoredForm::Gzip, StoredForm::Lz4, StoredForm::None, StoredForm::Snappy];
    [declared].into_iter().chain(others).find(looks_like)
}

fn lz4_prefix(payload: &[u8]) -> Option<usize> {
    let &prefix = payload.first_chunk::<LZ4_PREFIX>()?;
    usize::try_from(u32::from_le_bytes(prefix)).ok()
}

/// One LZ4 block of exactly this many bytes.
fn unlz4(compressed: &[u8], wanted: usize) -> Result<Vec<u8>, PayloadError> {
    let mut voxels = vec![0; wanted];
    let got = lz4_flex::block::decompress_into(compressed, &mut voxels)
        .map_err(|error| PayloadError::BadLz4(error.to_string()))?;
    if got == wanted { Ok(voxels) } else { Err(PayloadError::BadLength { got, wanted }) }
}

fn unsnap(compressed: &[u8], wanted: usize) -> Result<Vec<u8>, PayloadError> {
    let mut voxels = vec![0; wanted];
    let got = snap::raw::Decoder::new()
        .decompress(compressed, &mut voxels)
        .map_err(|error| PayloadError::BadSnappy(error.to_string()))?;
    if got == wanted { Ok(voxels) } else { Err(PayloadError::BadLength { got, wanted }) }
}

fn unjpeg(block_shape: Coordinate, payload: &[u8]) -> Result<Vec<u8>, PayloadError> {
    let [z, y, x] = block_shape.to_usize().ok_or(PayloadError::BadJpeg("a block without extent".to_owned()))?;
    decode_jpeg(payload, x, y * z)
}

fn exact(voxels: Vec<u8>, wanted: usize) -> Result<Vec<u8>, PayloadError> {
    if voxels.len() == wanted { Ok(voxels) } else { Err(PayloadError::BadLength { got: voxels.len(), wanted }) }
}

#[cfg(test)]
mod tests;
