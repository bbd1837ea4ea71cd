//! The one JPEG decoder. A block is a gray image as wide as the block's x and as high as its y times its z.

use std::panic::{AssertUnwindSafe, catch_unwind};

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::payload_error::PayloadError;

/// Scans of a progressive image beyond which it is a bomb: libjpeg's own scripts have six for gray.
const MAX_SCANS: usize = 32;

/// The pixels of a gray JPEG image of exactly this width and height, row by row.
///
/// Memory is bounded by the pixels: size and number of components are read from the header before anything is decoded.
///
/// # Errors
/// If the image is damaged, cut, followed by other bytes, not gray, or of another size.
pub(super) fn decode_jpeg(bytes: &[u8], width: usize, height: usize) -> Result<Vec<u8>, PayloadError> {
    let bad = |why: &str| PayloadError::BadJpeg(why.to_owned());
    check_structure(bytes, width, height).map_err(bad)?;
    let options = DecoderOptions::new_fast()
        .set_strict_mode(true)
        .set_max_width(width)
        .set_max_height(height)
        .jpeg_set_max_scans(MAX_SCANS)
        .jpeg_set_out_colorspace(ColorSpace::Luma);
    // The decoder has `unwrap`s that damaged tables may reach.
    let decoded = catch_unwind(AssertUnwindSafe(|| JpegDecoder::new_with_options(bytes, options).decode()));
    let pixels = decoded
        .map_err(|_| bad("the decoder gave up"))?
        .map_err(|error| PayloadError::BadJpeg(format!("{error:?}")))?;
    if pixels.len() == width * height {
        Ok(pixels)
    } else {
        Err(PayloadError::BadLength { got: pixels.len(), wanted: width * height })
    }
}

/// Walks the markers: one gray frame of the right size, and an end of image that is the end of the bytes.
fn check_structure(bytes: &[u8], width: usize, height: usize) -> Result<(), &'static str> {
    if !bytes.starts_with(&[0xff, 0xd8]) {
        return Err("no start of image");
    }
    let mut at = 2;
    let (mut seen_frame, mut scans) = (false, 0);
    loop {
        let marker = next_marker(bytes, &mut at).ok_or("cut before the end of image")?;
        if marker == 0xd9 {
            break;
        }
        let segment = next_segment(bytes, &mut at).ok_or("a segment is cut")?;
        match marker {
            0xc0..=0xc2 if !seen_frame => {
                check_frame(segment, width, height)?;
                seen_frame = true;
            }
            0xc0..=0xc3 | 0xc5..=0xcb | 0xcd..=0xcf => return Err("an unknown or second frame header"),
            0xda if !seen_frame => return Err("a scan before the frame header"),
            0xda => {
                scans += 1;
                skip_entropy_coded(bytes, &mut at);
            }
            0xc4 | 0xdb | 0xdd | 0xe0..=0xef | 0xfe => {}
            _ => return Err("an unknown marker"),
        }
    }
    match scans {
        0 => Err("no scan"),
        1..=MAX_SCANS if at == bytes.len() => Ok(()),
        1..=MAX_SCANS => Err("bytes behind the end of image"),
        _ => Err("too many scans"),
    }
}

/// Precision 8 bits, this size, one component.
fn check_frame(segment: &[u8], width: usize, height: usize) -> Result<(), &'static str> {
    let &[precision, h1, h0, w1, w0, components, ..] = segment else { return Err("the frame header is cut") };
    let size = (usize::from(u16::from_be_bytes([w1, w0])), usize::from(u16::from_be_bytes([h1, h0])));
    match (precision, components) {
        (8, 1) if size == (width, height) => Ok(()),
        (8, 1) => Err("an image of another size than the block"),
        _ => Err("not 8-bit gray"),
    }
}

/// The code of the marker at `at`, which moves behind it. Any number of 0xff may stand before the code.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    if *bytes.get(*at)? != 0xff {
        return None;
    }
    while *bytes.get(*at)? == 0xff {
        *at += 1;
    }
    *at += 1;
    Some(bytes[*at - 1])
}

/// The segment at `at`, without its length, which counts itself.
fn next_segment<'a>(bytes: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let length = usize::from(u16::from_be_bytes([*bytes.get(*at)?, *bytes.get(*at + 1)?]));
    let segment = bytes.get(*at + 2..*at + length)?;
    *at += length;
    Some(segment)
}

/// Moves `at` to the next marker that is neither a stuffed 0xff nor a restart.
fn skip_entropy_coded(bytes: &[u8], at: &mut usize) {
    while let Some(&byte) = bytes.get(*at) {
        match (byte, bytes.get(*at + 1)) {
            (0xff, Some(0x00 | 0xd0..=0xd7)) => *at += 2,
            (0xff, _) => return,
            _ => *at += 1,
        }
    }
}

#[cfg(test)]
mod tests;
