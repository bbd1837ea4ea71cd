//! The types a voxel can have.

use std::fmt;

/// The type of a voxel, little-endian in memory and on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// One byte: grayscale.
    Uint8,
    /// Two bytes, unsigned.
    Uint16,
    /// Four bytes, unsigned.
    Uint32,
    /// Eight bytes, unsigned: labels.
    Uint64,
    /// Four bytes, IEEE 754.
    Float32,
}

impl Dtype {
    /// Bytes of one voxel.
    #[must_use]
    pub fn itemsize(self) -> usize {
        match self {
            Self::Uint8 => 1,
            Self::Uint16 => 2,
            Self::Uint32 | Self::Float32 => 4,
            Self::Uint64 => 8,
        }
    }

    /// The name that numpy, Zarr v3 and DVID use, such as `uint8`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Uint8 => "uint8",
            Self::Uint16 => "uint16",
            Self::Uint32 => "uint32",
            Self::Uint64 => "uint64",
            Self::Float32 => "float32",
        }
    }

    /// The dtype of this numpy name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Uint8, Self::Uint16, Self::Uint32, Self::Uint64, Self::Float32]
            .into_iter()
            .find(|dtype| dtype.name() == name)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
