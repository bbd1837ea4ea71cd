//! The same voxels as `ndarray` arrays, for library users.

use ndarray::{ArrayD, IxDyn};

use super::dtype::Dtype;
use super::volume::Volume;

/// A Rust type that a voxel can have.
pub trait Voxel: Copy + private::Sealed + 'static {
    /// The dtype of this Rust type.
    const DTYPE: Dtype;
    /// The value from its little-endian bytes, which are `DTYPE.itemsize()` long.
    fn from_le(bytes: &[u8]) -> Self;
    /// This array, if it holds this type.
    fn take(array: AnyArray) -> Option<ArrayD<Self>>;
}

mod private {
    pub trait Sealed {}
}

macro_rules! voxel {
    ($type:ty, $variant:ident, $dtype:ident) => {
        impl private::Sealed for $type {}
        impl Voxel for $type {
            const DTYPE: Dtype = Dtype::$dtype;
            fn from_le(bytes: &[u8]) -> Self {
                let mut item = [0; size_of::<$type>()];
                item.copy_from_slice(bytes);
                Self::from_le_bytes(item)
            }
            #[allow(clippy::wildcard_enum_match_arm)] // every other variant is another type
            fn take(array: AnyArray) -> Option<ArrayD<Self>> {
                match array {
                    AnyArray::$variant(array) => Some(array),
                    _ => None,
                }
            }
        }
    };
}
voxel!(u8, U8, Uint8);
voxel!(u16, U16, Uint16);
voxel!(u32, U32, Uint32);
voxel!(u64, U64, Uint64);
voxel!(f32, F32, Float32);

/// A dense array of voxels, C order zyx (czyx with channels), of one of the types that DVID stores.
///
/// ```
/// use dvidfs::geometry::Coordinate;
/// use dvidfs::voxels::{AnyArray, Dtype, Volume};
/// let volume = Volume::new(Dtype::Uint16, Coordinate::new(1, 1, 2), vec![1, 0, 0, 1]).unwrap();
/// let array = AnyArray::from(volume);
/// assert_eq!(array.shape(), [1, 1, 2]);
/// assert_eq!(array.into_typed::<u16>().unwrap()[[0, 0, 1]], 256);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum AnyArray {
    /// uint8 voxels.
    U8(ArrayD<u8>),
    /// uint16 voxels.
    U16(ArrayD<u16>),
    /// uint32 voxels.
    U32(ArrayD<u32>),
    /// uint64 voxels: labels.
    U64(ArrayD<u64>),
    /// float32 voxels.
    F32(ArrayD<f32>),
}

impl AnyArray {
    /// Voxels along each axis.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::U8(array) => array.shape(),
            Self::U16(array) => array.shape(),
            Self::U32(array) => array.shape(),
            Self::U64(array) => array.shape(),
            Self::F32(array) => array.shape(),
        }
    }

    /// The type of a voxel.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        match self {
            Self::U8(_) => Dtype::Uint8,
            Self::U16(_) => Dtype::Uint16,
            Self::U32(_) => Dtype::Uint32,
            Self::U64(_) => Dtype::Uint64,
            Self::F32(_) => Dtype::Float32,
        }
    }

    /// The array of this Rust type, or `None` if the voxels have another.
    #[must_use]
    pub fn into_typed<T: Voxel>(self) -> Option<ArrayD<T>> {
        T::take(self)
    }
}

impl From<Volume> for AnyArray {
    fn from(volume: Volume) -> Self {
        match volume.dtype() {
            Dtype::Uint8 => Self::U8(typed(&volume)),
            Dtype::Uint16 => Self::U16(typed(&volume)),
            Dtype::Uint32 => Self::U32(typed(&volume)),
            Dtype::Uint64 => Self::U64(typed(&volume)),
            Dtype::Float32 => Self::F32(typed(&volume)),
        }
    }
}

fn typed<T: Voxel>(volume: &Volume) -> ArrayD<T> {
    let spatial = volume.shape().to_usize().expect("a volume has no negative axis");
    let shape: Vec<usize> = volume.channels().into_iter().chain(spatial).collect();
    let voxels = volume.bytes().chunks_exact(T::DTYPE.itemsize()).map(T::from_le).collect();
    ArrayD::from_shape_vec(IxDyn(&shape), voxels).expect("a volume fills its shape")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Coordinate;

    #[test]
    fn every_dtype_keeps_its_values() {
        let one = |dtype, bytes: &[u8]| AnyArray::from(Volume::new(dtype, Coordinate::ONE, bytes.to_vec()).unwrap());
        let large = 1_u64 << 60 | 7;
        assert_eq!(one(Dtype::Uint64, &large.to_le_bytes()).into_typed::<u64>().unwrap()[[0, 0, 0]], large);
        assert_eq!(one(Dtype::Float32, &(-0.5_f32).to_le_bytes()).into_typed::<f32>().unwrap()[[0, 0, 0]], -0.5);
        assert_eq!(one(Dtype::Uint32, &[1, 2, 3, 4]).into_typed::<u32>().unwrap()[[0, 0, 0]], 0x0403_0201);
        assert_eq!(one(Dtype::Uint8, &[9]).into_typed::<u16>(), None);
    }

    #[test]
    fn channels_are_the_first_axis() {
        let volume = Volume::with_channels(Dtype::Uint8, Some(2), Coordinate::new(1, 2, 2), (0..8).collect()).unwrap();
        let array = AnyArray::from(volume).into_typed::<u8>().unwrap();
        assert_eq!((array.shape(), array[[1, 0, 1, 0]]), (&[2, 1, 2, 2][..], 6));
    }
}
