//! A user's own array in a `.npy` file, read where it is asked for.
//!
//! The readers of the ecosystem read a file from its beginning to its end, or want it mapped in memory; here any box of
//! a file of any size is wanted, with no byte kept.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::geometry::{Coordinate, VoxelBox};
use crate::voxels::Dtype;

/// How the four channels of an image stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Channels {
    /// There is no axis for them.
    None,
    /// One behind the other: the first axis.
    First,
    /// Voxel by voxel: the last axis.
    Last,
}

/// A three-dimensional array, or one of four channels of uint8, in a file.
#[derive(Debug)]
pub struct NpyVolume {
    file: File,
    /// Where the header ends.
    data_at: u64,
    dtype: Dtype,
    channels: Channels,
    shape: Coordinate,
}

/// A file that is no volume that can be served.
#[derive(Debug, thiserror::Error)]
pub enum NpyError {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    /// Another kind of file, or a newer one.
    #[error("no .npy file of version 1 or 2")]
    NotNpy,
    /// Another type of numbers, or another order of their bytes.
    #[error("its dtype is {0}; write it as |u1, <u2, <u4, <u8 or <f4")]
    Dtype(String),
    /// The first axis is the fastest.
    #[error("it is in Fortran order; write it with numpy.ascontiguousarray")]
    FortranOrder,
    /// Not three axes, nor four with four channels of uint8.
    #[error("its shape is {0}; three axes are wanted (z, y, x), or four channels of uint8 before or behind them")]
    Shape(String),
    /// It has fewer or more bytes than its header says.
    #[error("it has {got} bytes where its header says {wanted}")]
    Length {
        /// Bytes of the file.
        got: u64,
        /// Bytes that it should have.
        wanted: u128,
    },
}

/// The first bytes of every file.
const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// No header of an array of numbers is longer.
const LONGEST_HEADER: u32 = 1 << 16;

impl NpyVolume {
    /// Opens a file: its header is read, and its length is checked.
    ///
    /// # Errors
    /// If the file cannot be read or is no C-ordered, little-endian array of a shape and type that DVID stores.
    pub fn open(path: &Path) -> Result<Self, NpyError> {
        let mut file = File::open(path)?;
        let (header, data_at) = read_header(&mut file)?;
        let shape_text = header.field("shape").ok_or(NpyError::NotNpy)?;
        let descr = header.field("descr").ok_or(NpyError::NotNpy)?;
        let dtype = dtype_of(descr).ok_or_else(|| NpyError::Dtype(descr.to_owned()))?;
        match header.field("fortran_order") {
            Some("False") => {}
            Some(_) => return Err(NpyError::FortranOrder),
            None => return Err(NpyError::NotNpy),
        }
        let wrong_shape = || NpyError::Shape(shape_text.to_owned());
        let (shape, channels) = shape_of(shape_text, dtype).ok_or_else(wrong_shape)?;
        let n_channels = if channels == Channels::None { 1 } else { N_CHANNELS };
        let wanted = u128::from(data_at) + shape.product() * (dtype.itemsize() * n_channels) as u128;
        let got = file.metadata()?.len();
        if u128::from(got) != wanted {
            return Err(NpyError::Length { got, wanted });
        }
        Ok(Self { file, data_at, dtype, channels, shape })
    }

    /// The type of a voxel, or of one channel of it.
    pub(super) fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Whether each voxel has four channels.
    pub(super) fn is_rgba(&self) -> bool {
        self.channels != Channels::None
    }

    /// Voxels along each axis, zyx.
    pub(super) fn shape(&self) -> Coordinate {
        self.shape
    }

    /// The values of a box, z slowest: four channels as the bytes of a number, red lowest.
    ///
    /// # Panics
    /// If the box is not inside the volume, or the file can no longer be read.
    pub(super) fn values(&self, voxels: VoxelBox) -> Vec<u64> {
        let ([z0, y0, x0], [z1, y1, x1]) = (voxels.begin().axes(), voxels.end().axes());
        let [_, ny, nx] = self.shape.axes();
        let n = usize::try_from(x1 - x0).expect("a box begins before it ends");
        let mut values = Vec::new();
        for (z, y) in (z0..z1).flat_map(|z| (y0..y1).map(move |y| (z, y))) {
            let first = u64::try_from((z * ny + y) * nx + x0).expect("the box lies in the volume");
            match self.channels {
                Channels::None => values.extend(self.row(first, n, self.dtype.itemsize())),
                Channels::Last => values.extend(self.row(first, n, N_CHANNELS)),
                Channels::First => {
                    let plane = u64::try_from(self.shape.product()).expect("a file has fewer bytes");
                    let [r, g, b, a] = [0, 1, 2, 3].map(|channel| self.row(channel * plane + first, n, 1));
                    values.extend((0..n).map(|x| r[x] | g[x] << 8 | b[x] << 16 | a[x] << 24));
                }
            }
        }
        values
    }

    /// So many numbers of so many bytes, from the `first` on.
    fn row(&self, first: u64, n: usize, itemsize: usize) -> Vec<u64> {
        let mut bytes = vec![0; n * itemsize];
        let at = self.data_at + first * itemsize as u64;
        self.file.read_exact_at(&mut bytes, at).expect("the file is as it was when it was opened");
        let widened = |item: &[u8]| {
            let mut wide = [0; 8];
            wide[..itemsize].copy_from_slice(item);
            u64::from_le_bytes(wide)
        };
        bytes.chunks_exact(itemsize).map(widened).collect()
    }
}

/// Red, green, blue and alpha.
const N_CHANNELS: usize = 4;

/// The text of a header: a Python dict of three keys.
struct Header(String);

impl Header {
    /// The value of a key, without the quotes of a text.
    fn field(&self, key: &str) -> Option<&str> {
        let at = self.0.find(&format!("'{key}':"))? + key.len() + 3;
        let value = self.0[at..].trim_start();
        let end = match value.chars().next()? {
            '(' => value.find(')')? + 1,
            '[' => value.rfind(']')? + 1,
            _ => value.find([',', '}'])?,
        };
        Some(value[..end].trim().trim_matches('\''))
    }
}

fn read_header(file: &mut File) -> Result<(Header, u64), NpyError> {
    let no_npy = |error: io::Error| {
        let ended = error.kind() == io::ErrorKind::UnexpectedEof;
        if ended { NpyError::NotNpy } else { NpyError::Unreadable(error) }
    };
    let mut start = [0; 8];
    file.read_exact(&mut start).map_err(no_npy)?;
    let (length, begin) = match (start.strip_prefix(MAGIC), start[6]) {
        (Some(_), 1) => {
            let mut length = [0; 2];
            file.read_exact(&mut length).map_err(no_npy)?;
            (u32::from(u16::from_le_bytes(length)), 10)
        }
        (Some(_), 2) => {
            let mut length = [0; 4];
            file.read_exact(&mut length).map_err(no_npy)?;
            (u32::from_le_bytes(length), 12)
        }
        _ => return Err(NpyError::NotNpy),
    };
    if length > LONGEST_HEADER {
        return Err(NpyError::NotNpy);
    }
    let mut text = String::new();
    let n = file.take(length.into()).read_to_string(&mut text).map_err(|_| NpyError::NotNpy)?;
    if n as u64 == u64::from(length) { Ok((Header(text), begin + u64::from(length))) } else { Err(NpyError::NotNpy) }
}

fn dtype_of(descr: &str) -> Option<Dtype> {
    match descr {
        "|u1" => Some(Dtype::Uint8),
        "<u2" => Some(Dtype::Uint16),
        "<u4" => Some(Dtype::Uint32),
        "<u8" => Some(Dtype::Uint64),
        "<f4" => Some(Dtype::Float32),
        _ => None,
    }
}

/// The spatial shape, and where the channels are. An axis of channels at both ends could be either, so it is none.
fn shape_of(text: &str, dtype: Dtype) -> Option<(Coordinate, Channels)> {
    let numbers = text.strip_prefix('(')?.strip_suffix(')')?.trim_end_matches(',').split(',');
    let shape: Vec<i64> = numbers.map(|n| n.trim().parse().ok()).collect::<Option<_>>()?;
    let ([z, y, x], channels) = match (shape.as_slice(), dtype) {
        (&[z, y, x], _) => ([z, y, x], Channels::None),
        (&[4, _, _, 4], _) => return None,
        (&[4, z, y, x], Dtype::Uint8) => ([z, y, x], Channels::First),
        (&[z, y, x, 4], Dtype::Uint8) => ([z, y, x], Channels::Last),
        _ => return None,
    };
    // DVID counts voxels in 32 bits.
    let is_sane = [z, y, x].iter().all(|n| (1..=i64::from(i32::MAX)).contains(n));
    is_sane.then_some((Coordinate::new(z, y, x), channels))
}

#[cfg(test)]
mod tests;
