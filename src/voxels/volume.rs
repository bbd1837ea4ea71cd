//! Dense volumes of voxels, and copying boxes between them.

use crate::geometry::{Coordinate, VoxelBox};

use super::dtype::Dtype;

/// A dense box of voxels: little-endian bytes, C order zyx, x fastest; channels stand one behind the other.
///
/// Invariant: `bytes.len() == shape.product() * dtype.itemsize()`, times the channels if there are any.
#[derive(Clone, PartialEq, Eq)]
pub struct Volume {
    dtype: Dtype,
    channels: Option<usize>,
    shape: Coordinate,
    bytes: Vec<u8>,
}

impl std::fmt::Debug for Volume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Volume({} {} {:?})", self.dtype, self.shape, self.channels)
    }
}

/// The bytes do not fill the shape that they are said to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{got} bytes where a volume of shape {shape} and {dtype} needs {wanted}")]
pub struct VolumeError {
    /// Bytes that were there.
    pub got: usize,
    /// Bytes that the shape needs.
    pub wanted: u128,
    /// The shape, zyx.
    pub shape: Coordinate,
    /// The type of a voxel.
    pub dtype: Dtype,
}

impl Volume {
    /// A volume over bytes that are already in place.
    ///
    /// # Errors
    /// If the number of bytes is not the shape times the size of a voxel.
    pub fn new(dtype: Dtype, shape: Coordinate, bytes: Vec<u8>) -> Result<Self, VolumeError> {
        Self::with_channels(dtype, None, shape, bytes)
    }

    /// A volume whose channels, if it has an axis for them, stand one behind the other.
    ///
    /// # Errors
    /// If the number of bytes is not the shape times the channels times the size of a voxel.
    pub fn with_channels(
        dtype: Dtype,
        channels: Option<usize>,
        shape: Coordinate,
        bytes: Vec<u8>,
    ) -> Result<Self, VolumeError> {
        let wanted = shape.product().saturating_mul((dtype.itemsize() * channels.unwrap_or(1)) as u128);
        if bytes.len() as u128 == wanted {
            Ok(Self { dtype, channels, shape, bytes })
        } else {
            Err(VolumeError { got: bytes.len(), wanted, shape, dtype })
        }
    }

    /// The type of a voxel, or of one channel of it.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// How many channels a voxel has, if there is an axis for them.
    #[must_use]
    pub fn channels(&self) -> Option<usize> {
        self.channels
    }

    /// All voxels of one channel; channel 0 of a volume without an axis for them is all there is.
    ///
    /// # Panics
    /// If the volume has no such channel.
    #[must_use]
    pub fn plane(&self, channel: usize) -> &[u8] {
        let n_bytes = self.bytes.len() / self.channels.unwrap_or(1);
        &self.bytes[channel * n_bytes..(channel + 1) * n_bytes]
    }

    /// Voxels along each axis.
    #[must_use]
    pub fn shape(&self) -> Coordinate {
        self.shape
    }

    /// All voxels, little-endian, x fastest, channel by channel.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes alone.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Copies the voxels of `region` from one dense array to another.
///
/// `source_box` and `target_box` say which voxels the two byte slices hold; `region` must lie in both,
/// and each slice must be as long as its box asks. Rows along x are copied whole.
///
/// # Panics
/// If `region` is outside a box or a slice is shorter than its box.
pub fn copy_box(
    source: &[u8],
    source_box: VoxelBox,
    target: &mut [u8],
    target_box: VoxelBox,
    region: VoxelBox,
    itemsize: usize,
) {
    assert!(target_box.contains(region), "the region lies in the target");
    let row_bytes = to_usize(region.shape().x()) * itemsize;
    for_each_row(region, |row| {
        let to = byte_offset(target_box, row, itemsize);
        let from = byte_offset(source_box, row, itemsize);
        target[to..to + row_bytes].copy_from_slice(&source[from..from + row_bytes]);
    });
    assert!(source_box.contains(region), "the region lies in the source");
}

/// Copies the voxels of `region` into the part of a dense array that `window` shows.
///
/// The target is the bytes `window.start..window.end` of a dense array over `target_box`: a file that is
/// read from the middle of one row to the middle of another. Bytes of `region` outside the window are skipped.
///
/// # Panics
/// If `region` is outside a box, or a slice is shorter than it is said to be.
pub fn copy_box_into(
    source: &[u8],
    source_box: VoxelBox,
    target: &mut [u8],
    target_box: VoxelBox,
    window: std::ops::Range<usize>,
    region: VoxelBox,
    itemsize: usize,
) {
    assert!(target_box.contains(region) && source_box.contains(region), "the region lies in both");
    let row_bytes = to_usize(region.shape().x()) * itemsize;
    for_each_row(region, |row| {
        let row_start = byte_offset(target_box, row, itemsize);
        let begin = row_start.max(window.start);
        let end = (row_start + row_bytes).min(window.end);
        if begin < end {
            let from = byte_offset(source_box, row, itemsize) + (begin - row_start);
            target[begin - window.start..end - window.start].copy_from_slice(&source[from..from + (end - begin)]);
        }
    });
}

pub(super) fn for_each_row(region: VoxelBox, mut f: impl FnMut(Coordinate)) {
    if region.is_empty() {
        return;
    }
    let ([z0, y0, x0], [z1, y1, _]) = (region.begin().axes(), region.end().axes());
    for z in z0..z1 {
        for y in y0..y1 {
            f(Coordinate::new(z, y, x0));
        }
    }
}

/// Where a voxel of a dense array begins, in bytes.
pub(super) fn byte_offset(array: VoxelBox, voxel: Coordinate, itemsize: usize) -> usize {
    let [z, y, x] = (voxel - array.begin()).axes();
    let [_, ny, nx] = array.shape().axes();
    to_usize((z * ny + y) * nx + x) * itemsize
}

pub(super) fn to_usize(n: i64) -> usize {
    usize::try_from(n).expect("a voxel lies in its array")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbered(array: VoxelBox) -> Vec<u8> {
        array.indices().flat_map(|c| (c.z() * 10_007 + c.y() * 101 + c.x()).to_le_bytes()[..2].to_vec()).collect()
    }

    prop_compose! {
        fn a_box_near(low: i64)(begin in prop::array::uniform3(low..low + 5), size in prop::array::uniform3(1_i64..7)) -> VoxelBox {
            VoxelBox::from_shape(begin.into(), size.into()).unwrap()
        }
    }

    proptest! {
        #[test]
        fn a_copied_box_equals_the_voxel_by_voxel_model(source_box in a_box_near(-4), target_box in a_box_near(-3), cut in 0_usize..50) {
            let source = numbered(source_box);
            let region = source_box.intersect(target_box);
            let mut model = vec![0xEE_u8; usize::try_from(target_box.n_voxels() * 2).unwrap()];
            for voxel in region.indices() {
                let (to, from) = (byte_offset(target_box, voxel, 2), byte_offset(source_box, voxel, 2));
                model[to..to + 2].copy_from_slice(&source[from..from + 2]);
            }
            let mut copied = vec![0xEE_u8; model.len()];
            copy_box(&source, source_box, &mut copied, target_box, region, 2);
            prop_assert_eq!(&copied, &model);

            let window = cut.min(model.len())..model.len().saturating_sub(cut / 2).max(cut.min(model.len()));
            let mut part = vec![0xEE_u8; window.len()];
            copy_box_into(&source, source_box, &mut part, target_box, window.clone(), region, 2);
            prop_assert_eq!(&part[..], &model[window]);
        }
    }

    #[test]
    fn bytes_that_do_not_fill_the_shape_are_refused() {
        let error = Volume::new(Dtype::Uint16, Coordinate::splat(2), vec![0; 15]).unwrap_err();
        assert_eq!(error.wanted, 16);
    }
}
