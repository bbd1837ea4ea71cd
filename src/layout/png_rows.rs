//! The rows of a PNG picture: pixels behind filter bytes.

use crate::array::ArrayKind;
use crate::voxels::Dtype;

use super::label_colour::colour_of;

/// Rows of pixels, each behind a filter byte 0: nothing is filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rows {
    /// What becomes of a voxel.
    pub(super) pixel: Pixel,
    /// Pixels of a row.
    pub(super) width: u64,
}

/// What a voxel becomes in a PNG picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pixel {
    /// A byte of gray.
    Gray8,
    /// 16 bits of gray; PNG has them big-endian.
    Gray16,
    /// Red, green, blue and opacity, as they are in the array.
    Rgba,
    /// The colour of a label of this type.
    Label(Dtype),
}

impl Pixel {
    /// What the voxels of an array become, or `None` if PNG has no pixels for them.
    pub(super) fn of(kind: ArrayKind, dtype: Dtype, channels: Option<usize>) -> Option<Self> {
        match (kind, dtype, channels) {
            (ArrayKind::Labels, _, None) => Some(Self::Label(dtype)),
            (ArrayKind::Image, Dtype::Uint8, None) => Some(Self::Gray8),
            (ArrayKind::Image, Dtype::Uint16, None) => Some(Self::Gray16),
            (ArrayKind::Image, Dtype::Uint8, Some(4)) => Some(Self::Rgba),
            _ => None,
        }
    }

    /// Bits of a channel, and the format's number for the kind of colour.
    pub(super) fn depth_and_colour_type(self) -> (u8, u8) {
        match self {
            Self::Gray8 => (8, 0),
            Self::Gray16 => (16, 0),
            Self::Rgba => (8, 6),
            Self::Label(_) => (8, 2),
        }
    }

    fn voxel_bytes(self) -> usize {
        match self {
            Self::Gray8 => 1,
            Self::Gray16 => 2,
            Self::Rgba => 4,
            Self::Label(dtype) => dtype.itemsize(),
        }
    }

    fn pixel_bytes(self) -> usize {
        match self {
            Self::Gray8 => 1,
            Self::Gray16 => 2,
            Self::Rgba => 4,
            Self::Label(_) => 3,
        }
    }
}

impl Rows {
    /// Bytes of voxels, and bytes of the picture, that one row has.
    pub(super) fn unit(self) -> (u64, u64) {
        (self.width * self.pixel.voxel_bytes() as u64, 1 + self.width * self.pixel.pixel_bytes() as u64)
    }

    /// The bytes of the picture for whole rows of voxels.
    pub(super) fn encode(self, voxels: &[u8]) -> Vec<u8> {
        let (of_voxels, of_picture) = self.unit();
        let row_bytes = usize::try_from(of_voxels).expect("a row of a picture lies in memory");
        let n_rows = voxels.len() / row_bytes;
        let mut bytes = Vec::with_capacity(n_rows * usize::try_from(of_picture).unwrap_or(0));
        for row in voxels.chunks_exact(row_bytes) {
            bytes.push(0);
            match self.pixel {
                Pixel::Gray8 | Pixel::Rgba => bytes.extend_from_slice(row),
                Pixel::Gray16 => bytes.extend(row.chunks_exact(2).flat_map(|voxel| [voxel[1], voxel[0]])),
                Pixel::Label(dtype) => push_colours(row, dtype.itemsize(), &mut bytes),
            }
        }
        bytes
    }
}

/// The colours of little-endian labels.
fn push_colours(labels: &[u8], itemsize: usize, bytes: &mut Vec<u8>) {
    // Most labels are their left neighbour's.
    let mut last = (0, colour_of(0));
    for label in labels.chunks_exact(itemsize) {
        let mut padded = [0; 8];
        padded[..itemsize].copy_from_slice(label);
        let label = u64::from_le_bytes(padded);
        if label != last.0 {
            last = (label, colour_of(label));
        }
        bytes.extend_from_slice(&last.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pixel: Pixel, width: u64, voxels: &[u8], expected: &[u8]) {
        let rows = Rows { pixel, width };
        assert_eq!(rows.encode(voxels), expected);
        let (of_voxels, of_picture) = rows.unit();
        assert_eq!(voxels.len() as u64 / of_voxels * of_picture, expected.len() as u64);
    }

    #[test]
    fn each_row_begins_with_its_filter() {
        check(Pixel::Gray8, 2, &[1, 2, 3, 4], &[0, 1, 2, 0, 3, 4]);
        check(Pixel::Gray16, 1, &[1, 2, 3, 4], &[0, 2, 1, 0, 4, 3]);
        check(Pixel::Rgba, 1, &[1, 2, 3, 4, 5, 6, 7, 8], &[0, 1, 2, 3, 4, 0, 5, 6, 7, 8]);
        let [red, green, blue] = colour_of(0x0201);
        let row = [0, red, green, blue, red, green, blue, 0, 0, 0];
        check(Pixel::Label(Dtype::Uint16), 3, &[1, 2, 1, 2, 0, 0], &row);
    }

    #[test]
    fn arrays_that_png_cannot_hold_have_no_pixels() {
        assert_eq!(Pixel::of(ArrayKind::Labels, Dtype::Uint64, None), Some(Pixel::Label(Dtype::Uint64)));
        assert_eq!(Pixel::of(ArrayKind::Image, Dtype::Uint8, Some(4)), Some(Pixel::Rgba));
        for (dtype, channels) in [
            (Dtype::Float32, None),
            (Dtype::Uint32, None),
            (Dtype::Uint64, None),
            (Dtype::Uint16, Some(4)),
            (Dtype::Uint8, Some(3)),
        ] {
            assert_eq!(Pixel::of(ArrayKind::Image, dtype, channels), None, "{dtype} {channels:?}");
        }
    }
}
