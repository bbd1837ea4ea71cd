//! What a request to the filesystem can come to. `fuse` turns each into one errno.

use crate::array;

/// A request of the kernel could not be fulfilled.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The directory holds nothing of this name: known by arithmetic, never guessed from a failure.
    #[error("no such name")]
    NoSuchName,
    /// The name has more than 255 bytes.
    #[error("name too long")]
    NameTooLong,
    /// This mount never gave this inode number.
    #[error("no inode {0:#x}")]
    NoSuchInode(u64),
    /// Something is looked for in a file.
    #[error("not a directory")]
    NotADirectory,
    /// A directory is opened or read as a file.
    #[error("is a directory")]
    IsADirectory,
    /// The directory has too many names to list. A part of them would look like all.
    #[error("{n_names} names are too many to list")]
    TooManyNames {
        /// How many there are.
        n_names: u64,
    },
    /// A file is opened to be written. The kernel refuses that by itself, unless somebody has mounted again for writing.
    #[error("nothing can be written here")]
    ReadOnly,
    /// Nobody waits for the answer any more.
    #[error("the reader was killed")]
    ReaderKilled,
    /// Whether a name exists could not be found out.
    #[error("lookup of {path} failed")]
    LookupFailed {
        /// Path in the mount.
        path: String,
        /// Why.
        source: array::Error,
    },
    /// Whoever had to answer has failed without an answer.
    #[error("the read was abandoned")]
    Abandoned,
    /// The filesystem is being unmounted.
    #[error("shutting down")]
    ShuttingDown,
    /// The voxels of a file could not be read.
    #[error("read of {path} failed")]
    Array {
        /// Path in the mount.
        path: String,
        /// Why.
        source: array::Error,
    },
}

impl Error {
    /// Whether patience has ended, so that it would be waited for again.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        matches!(self, Self::Array { source: array::Error::Fetch { source, .. }, .. } if source.gave_up)
    }

    /// The code of this error in log lines.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::LookupFailed { source, .. } | Self::Array { source, .. } => source.code(),
            Self::ReaderKilled => "reader_killed",
            Self::Abandoned => "abandoned",
            Self::ShuttingDown => "shutdown",
            Self::ReadOnly => "read_only",
            Self::NoSuchName | Self::NameTooLong | Self::NotADirectory | Self::IsADirectory => "no_such_name",
            Self::NoSuchInode(_) => "no_such_inode",
            Self::TooManyNames { .. } => "too_many_names",
        }
    }
}

/// The tree could not be laid out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// Two instances come to the same name.
    #[error("two instances are named {0:?}")]
    SameName(String),
    /// The arrays have more files than there are inode numbers.
    #[error("the instances have more files than there are inode numbers")]
    TooManyInodes,
}
