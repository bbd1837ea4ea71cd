//! Why voxels could not be read.

use std::sync::Arc;

use crate::dvid::{self, ErrorKind};
use crate::geometry::VoxelBox;

/// A read of voxels failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A block could not be fetched.
    #[error("a block could not be fetched")]
    Dvid(#[source] Arc<dvid::Error>),
    /// The box or the bytes asked for are none that the array has.
    #[error("{asked} lies outside of the array")]
    OutOfBounds {
        /// What was asked for, in DVID voxels.
        asked: VoxelBox,
    },
    /// Fewer or more bytes came together than were asked for; they are not passed on.
    #[error("{got} bytes where {wanted} were asked for")]
    WrongLength {
        /// Bytes that came.
        got: u64,
        /// Bytes asked for.
        wanted: u64,
    },
}

impl Error {
    /// What became of the request to the server, if there was one.
    #[must_use]
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Dvid(error) => Some(error.kind()),
            Self::OutOfBounds { .. } | Self::WrongLength { .. } => None,
        }
    }

    /// The code of this error in log lines and in `errors.jsonl`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Dvid(error) => error.kind().code(),
            Self::OutOfBounds { .. } => "out_of_bounds",
            Self::WrongLength { .. } => "bad_length",
        }
    }
}
