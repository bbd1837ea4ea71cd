//! What can go wrong with a read of an array.

use crate::cache::FetchError;
use crate::dvid::ErrorKind;
use crate::geometry::{Scale, VoxelBox};
use crate::voxels::Dtype;

/// A read of an array failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A block could not be had from the server.
    #[error("cannot read {array}")]
    Fetch {
        /// The instance, and its view.
        array: String,
        /// What became of the block.
        #[source]
        source: FetchError,
    },
    /// The caller asked for voxels outside the data, and not for fill.
    #[error(transparent)]
    OutOfBounds(Box<OutOfBounds>),
    /// The array has no such scale.
    #[error("the array has no scale {0}")]
    NoSuchScale(Scale),
    /// The caller named more or fewer ranges than the array has axes.
    #[error("{wanted} ranges for an array of {has} axes")]
    WrongAxes {
        /// Ranges that were given.
        wanted: usize,
        /// Axes of the array.
        has: usize,
    },
    /// The caller asked for channels that the array does not have.
    #[error("channels {begin}..{end} of an array of {has}")]
    NoSuchChannels {
        /// The first that was asked for.
        begin: u64,
        /// The one behind the last.
        end: u64,
        /// How many there are.
        has: usize,
    },
    /// The caller asked for another type than the voxels have.
    #[error("the voxels are {has}, not {wanted}")]
    WrongDtype {
        /// The array's type.
        has: Dtype,
        /// The type that was asked for.
        wanted: Dtype,
    },
    /// Fewer or more bytes came together than were asked for; they are not passed on.
    #[error("{got} bytes where {wanted} were asked for")]
    WrongLength {
        /// Bytes that came.
        got: u64,
        /// Bytes asked for.
        wanted: u64,
    },
    /// The box does not fit this machine's memory.
    #[error("{0} is too large for one array")]
    TooLarge(VoxelBox),
}

/// A box that is not inside the data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{wanted} is not inside the data of scale {scale}, {data} (zyx voxels, half-open)")]
pub struct OutOfBounds {
    /// What was asked for.
    pub wanted: VoxelBox,
    /// The data's box at that scale.
    pub data: VoxelBox,
    /// The scale.
    pub scale: Scale,
}

impl Error {
    pub(super) fn out_of_bounds(wanted: VoxelBox, data: VoxelBox, scale: Scale) -> Self {
        Self::OutOfBounds(Box::new(OutOfBounds { wanted, data, scale }))
    }

    /// What became of the request behind it, if there was one.
    #[must_use]
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Fetch { source, .. } => Some(source.source.kind()),
            Self::OutOfBounds(_)
            | Self::NoSuchScale(_)
            | Self::WrongAxes { .. }
            | Self::NoSuchChannels { .. }
            | Self::WrongDtype { .. }
            | Self::WrongLength { .. }
            | Self::TooLarge(_) => None,
        }
    }

    /// The code of this error in log lines and in `errors.jsonl`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Fetch { source, .. } => source.code(),
            Self::OutOfBounds(_) | Self::TooLarge(_) | Self::WrongAxes { .. } | Self::NoSuchChannels { .. } => {
                "out_of_bounds"
            }
            Self::NoSuchScale(_) => "no_such_scale",
            Self::WrongDtype { .. } => "wrong_dtype",
            Self::WrongLength { .. } => "bad_length",
        }
    }
}

/// Metadata that cannot be added to an array.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// Metadata has names: a JSON object.
    #[error("metadata must be a JSON object")]
    NotAnObject,
    /// DVID's own keys are not overwritten.
    #[error("DVID's info has a key {0:?} of its own: choose another name")]
    TakenKey(String),
}

/// A function of this crate needs a feature that was not compiled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no module {name}: {cause}")]
pub struct NoSuchModule {
    /// The feature.
    pub name: &'static str,
    /// Why it is not there.
    pub cause: &'static str,
}
