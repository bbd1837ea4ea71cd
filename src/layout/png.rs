//! PNG pictures without compression, so that sizes and places follow from the shape alone.

use libdeflater::crc32;

use crate::array::ArraySpec;

use super::encoding::Encoding;
use super::file::{Dense, Section, VoxelFile};
use super::folder::LeftOut;
use super::form::Held;
use super::idat::{BEFORE_BLOCKS, Idat};
use super::picture::{Picture, channels};
use super::png_rows::{Pixel, Rows};

const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
/// The last chunk: no bytes, and its CRC.
const IEND: [u8; 12] = *b"\0\0\0\0IEND\xae\x42\x60\x82";
/// libpng refuses longer sides.
const MAX_SIDE: u32 = 1_000_000;
/// The format allows no longer chunk.
const MAX_CHUNK_BYTES: u32 = (1 << 31) - 1;

/// Whether PNG has pixels for an array.
pub(super) fn check_pixels(spec: &ArraySpec) -> Result<(), LeftOut> {
    pixel(spec).map(|_| ())
}

fn pixel(spec: &ArraySpec) -> Result<Pixel, LeftOut> {
    channels(spec)?;
    Pixel::of(spec.kind, spec.dtype, spec.channels).ok_or(LeftOut::PngPixels(spec.dtype))
}

/// The picture of a plane.
pub(super) fn file(spec: &ArraySpec, held: Held, picture: Picture) -> Result<VoxelFile, LeftOut> {
    let pixel = pixel(spec)?;
    let sides = picture.sides(held.voxels).map(|side| u32::try_from(side).ok().filter(|&side| side <= MAX_SIDE));
    let [Some(width), Some(height)] = sides else { return Err(LeftOut::LongPng) };
    let rows = Dense {
        level: held.level,
        file_box: held.voxels,
        dtype: spec.dtype,
        channels: channels(spec)?,
        encoding: Encoding::Rows(Rows { pixel, width: width.into() }),
    };
    let idat = Idat::new(rows).ok_or(LeftOut::LargePng)?;
    let chunk_bytes = u32::try_from(idat.chunk_bytes()).ok().filter(|&n| n <= MAX_CHUNK_BYTES);
    let header = header(pixel, [width, height], chunk_bytes.ok_or(LeftOut::LargePng)?);
    let sections = [Section::Bytes(header.into()), Section::Idat(idat), Section::Bytes(IEND.as_slice().into())];
    VoxelFile::new(sections).ok_or(LeftOut::LargePng)
}

/// All before the first block of data.
fn header(pixel: Pixel, [width, height]: [u32; 2], idat_bytes: u32) -> Vec<u8> {
    let (depth, colour_type) = pixel.depth_and_colour_type();
    let mut ihdr = b"IHDR".to_vec();
    ihdr.extend_from_slice(&width.to_be_bytes());
    ihdr.extend_from_slice(&height.to_be_bytes());
    ihdr.extend_from_slice(&[depth, colour_type, 0, 0, 0]);
    let mut header = SIGNATURE.to_vec();
    header.extend_from_slice(&13_u32.to_be_bytes());
    header.extend_from_slice(&ihdr);
    header.extend_from_slice(&crc32(&ihdr).to_be_bytes());
    header.extend_from_slice(&idat_bytes.to_be_bytes());
    header.extend_from_slice(&BEFORE_BLOCKS);
    header
}
