//! Classic TIFF pictures, not compressed: a header of 256 bytes, and then all rows in one strip.

use crate::array::{ArraySpec, Channels};
use crate::voxels::Dtype;

use super::encoding::Encoding;
use super::file::{Dense, Section, VoxelFile};
use super::folder::LeftOut;
use super::form::Held;
use super::picture::{Picture, channels};

/// Where the pixels begin.
const DATA_AT: u32 = 256;
/// Where the values are that have no place in their tag.
const WIDTH_RESOLUTION_AT: u32 = 192;
const HEIGHT_RESOLUTION_AT: u32 = 200;
const BITS_AT: u32 = 208;
const SAMPLE_FORMATS_AT: u32 = 216;

/// Nanometers of a centimeter.
const CENTIMETER_NM: f64 = 1e7;

/// What a pixel consists of.
#[derive(Clone, Copy)]
struct Samples {
    n: u16,
    bits: u16,
    /// 1 for unsigned integers, 3 for floats.
    format: u16,
}

/// Whether TIFF has pixels for an array.
pub(super) fn check_pixels(spec: &ArraySpec) -> Result<(), LeftOut> {
    channels(spec).map(|_| ())
}

/// The picture of a plane.
pub(super) fn file(spec: &ArraySpec, held: Held, picture: Picture) -> Result<VoxelFile, LeftOut> {
    let channels = channels(spec)?;
    let Held { level, voxels: file_box } = held;
    let pixels = Dense { level, file_box, dtype: spec.dtype, channels, encoding: Encoding::Little };
    let n_bytes = pixels.n_bytes().and_then(|n| u32::try_from(n).ok()).filter(|n| n.checked_add(DATA_AT).is_some());
    let n_bytes = n_bytes.ok_or(LeftOut::LargeTiff)?;
    let sides = picture.sides(file_box).map(|side| u32::try_from(side).unwrap_or(u32::MAX));
    let voxel_size = spec.voxel_size.at_scale(spec.levels[level].scale).nm();
    let per_centimeter = picture.axes().map(|axis| per_centimeter(voxel_size[axis]));
    let header = header(Samples::of(spec.dtype, channels), sides, n_bytes, per_centimeter);
    VoxelFile::new([Section::Bytes(header.as_slice().into()), Section::Dense(pixels)]).ok_or(LeftOut::LargeTiff)
}

impl Samples {
    fn of(dtype: Dtype, channels: Channels) -> Self {
        let (bits, format) = match dtype {
            Dtype::Uint8 => (8, 1),
            Dtype::Uint16 => (16, 1),
            Dtype::Uint32 => (32, 1),
            Dtype::Uint64 => (64, 1),
            Dtype::Float32 => (32, 3),
        };
        let n = match channels {
            Channels::One(_) => 1,
            Channels::Interleaved(_) => 4,
        };
        Self { n, bits, format }
    }
}

/// Type codes of the values of tags.
const SHORT: u16 = 3;
const LONG: u16 = 4;
const RATIONAL: u16 = 5;

/// The header of a picture of these sides.
fn header(samples: Samples, [width, height]: [u32; 2], n_bytes: u32, per_centimeter: [[u32; 2]; 2]) -> [u8; 256] {
    let is_colour = samples.n > 1;
    // A value for each channel does not fit into its tag.
    let for_each = |value: u16, at: u32| if is_colour { (SHORT, samples.n, at) } else { (SHORT, 1, value.into()) };
    let mut tags = vec![
        (256, (LONG, 1, width)),
        (257, (LONG, 1, height)),
        (258, for_each(samples.bits, BITS_AT)),
        (259, (SHORT, 1, 1)),                             // not compressed
        (262, (SHORT, 1, if is_colour { 2 } else { 1 })), // RGB, or 0 is black
        (273, (LONG, 1, DATA_AT)),
        (277, (SHORT, 1, samples.n.into())),
        (278, (LONG, 1, height)), // all rows in one strip
        (279, (LONG, 1, n_bytes)),
        (282, (RATIONAL, 1, WIDTH_RESOLUTION_AT)),
        (283, (RATIONAL, 1, HEIGHT_RESOLUTION_AT)),
        (296, (SHORT, 1, 3)), // per centimeter
    ];
    if is_colour {
        tags.push((338, (SHORT, 1, 2))); // opacity, colours not multiplied by it
    }
    tags.push((339, for_each(samples.format, SAMPLE_FORMATS_AT)));

    let mut header = [0; DATA_AT as usize];
    let mut put = |at: u32, bytes: &[u8]| {
        let at = at as usize;
        header[at..at + bytes.len()].copy_from_slice(bytes);
    };
    put(0, b"II\x2a\0\x08\0\0\0");
    put(8, &tags.len().to_le_bytes()[..2]);
    let mut at = 10;
    for (tag, (kind, n, value)) in tags {
        put(at, &u16::to_le_bytes(tag));
        put(at + 2, &u16::to_le_bytes(kind));
        put(at + 4, &u32::from(n).to_le_bytes());
        put(at + 8, &u32::to_le_bytes(value));
        at += 12;
    }
    for (at, [count, of]) in [WIDTH_RESOLUTION_AT, HEIGHT_RESOLUTION_AT].into_iter().zip(per_centimeter) {
        put(at, &count.to_le_bytes());
        put(at + 4, &of.to_le_bytes());
    }
    if is_colour {
        put(BITS_AT, &samples.bits.to_le_bytes().repeat(4));
        put(SAMPLE_FORMATS_AT, &samples.format.to_le_bytes().repeat(4));
    }
    header
}

/// Pixels of this size in a centimeter, as a fraction: exact for sizes of up to two decimals, else the nearest of a fine
/// grid.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // positive, and a float beyond u32 saturates
fn per_centimeter(voxel_nm: f64) -> [u32; 2] {
    let longest = f64::from(u32::MAX);
    for factor in [1.0, 10.0, 100.0] {
        let of = voxel_nm * factor;
        // 3.2 * 10 is 32 in floats too, or within the last bit of it.
        if of.round() >= 1.0 && of.round() <= longest && (of - of.round()).abs() <= of * f64::EPSILON {
            return [(CENTIMETER_NM * factor) as u32, of.round() as u32];
        }
    }
    let count = CENTIMETER_NM / voxel_nm;
    let of = (longest / count.max(1.0)).floor().max(1.0);
    [(count * of).round().clamp(1.0, longest) as u32, of as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(voxel_nm: f64, expected: [u32; 2]) {
        let found = per_centimeter(voxel_nm);
        assert_eq!(found, expected, "{voxel_nm}");
        let error = f64::from(found[0]) / f64::from(found[1]) * voxel_nm / CENTIMETER_NM - 1.0;
        assert!(error.abs() < 1e-9, "{voxel_nm}: {error}");
    }

    #[test]
    fn resolutions_are_fractions_of_a_centimeter() {
        check(8.0, [10_000_000, 8]);
        check(3.2, [100_000_000, 32]);
        check(6.6, [100_000_000, 66]);
        check(4.45, [1_000_000_000, 445]);
        check(0.25, [1_000_000_000, 25]);
        check(1e7, [10_000_000, 10_000_000]);
        check(100.0 / 3.0, [4_294_800_000, 14_316]);
        // No finer than whole pixels in 4,295 m.
        assert_eq!(per_centimeter(1e12), [42_950, 4_294_967_295]);
    }
}
