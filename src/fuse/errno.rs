//! The one table of errnos.

use fuser::Errno;
use nix::errno::Errno as Known;

use crate::array;
use crate::dvid::ErrorKind;
use crate::vfs;

/// The errno that the kernel is told. No `_` arm: a new error must choose its own.
///
/// ENOENT is said only where the name is known not to exist, because array readers take it for a chunk of zeros.
pub(super) fn errno_of(error: &vfs::Error) -> Errno {
    match error {
        vfs::Error::NoSuchName => Errno::ENOENT, // by arithmetic, or by a positive answer
        vfs::Error::NameTooLong => Errno::ENAMETOOLONG,
        vfs::Error::NoSuchInode(_) => Errno::ESTALE,
        vfs::Error::NotADirectory => Errno::ENOTDIR,
        vfs::Error::IsADirectory => Errno::EISDIR,
        vfs::Error::TooManyNames { .. } => Errno::EFBIG,
        vfs::Error::ReadOnly => Errno::EROFS,
        vfs::Error::ReaderKilled => Errno::EINTR,
        // EIO whatever the cause: EACCES or ESTALE of a lookup would read as a fact about the name.
        vfs::Error::LookupFailed { .. } | vfs::Error::Abandoned | vfs::Error::ShuttingDown => Errno::EIO,
        vfs::Error::Array { path: _, source } => errno_of_array(source),
    }
}

/// The name of an errno, for log lines.
pub(super) fn name(errno: Errno) -> Known {
    Known::from_raw(errno.into())
}

fn errno_of_array(error: &array::Error) -> Errno {
    match error.kind() {
        Some(ErrorKind::Denied) => Errno::EACCES,
        Some(ErrorKind::IdentityChanged) => Errno::ESTALE,
        Some(
            ErrorKind::Unreachable
            | ErrorKind::UnknownHost
            | ErrorKind::TlsFailed
            | ErrorKind::Timeout
            | ErrorKind::Cut
            | ErrorKind::Busy
            | ErrorKind::Status(_)
            | ErrorKind::Redirected
            | ErrorKind::Malformed
            | ErrorKind::OverLimit
            | ErrorKind::MappingLoading
            | ErrorKind::Abandoned
            | ErrorKind::Offline,
        )
        | None => Errno::EIO,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::cache::FetchError;
    use crate::dvid;
    use crate::geometry::{BlockIndex, Coordinate, Scale, VoxelBox};

    fn fetch(kind: ErrorKind) -> array::Error {
        let source = Arc::new(dvid::Error::new(kind, "/api/node/x/gray/raw"));
        let block = BlockIndex(Coordinate::ZERO);
        let waited = Duration::ZERO;
        let source = FetchError { source, scale: Scale::FULL, block, attempts: 1, waited, gave_up: false };
        array::Error::Fetch { array: "gray".into(), source }
    }

    fn read(source: array::Error) -> vfs::Error {
        vfs::Error::Array { path: "gray/volume.zarr/s0/0/0/0".into(), source }
    }

    fn lookup(source: array::Error) -> vfs::Error {
        vfs::Error::LookupFailed { path: "notes/keys/a".into(), source }
    }

    #[test]
    fn each_error_has_the_errno_of_the_published_table() {
        let wrong_length = || array::Error::WrongLength { got: 1, wanted: 2 };
        let empty = VoxelBox::EMPTY;
        let outside = array::OutOfBounds { wanted: empty, data: empty, scale: Scale::FULL };
        let mut table = vec![
            (vfs::Error::NoSuchName, libc::ENOENT),
            (vfs::Error::NameTooLong, libc::ENAMETOOLONG),
            (vfs::Error::NoSuchInode(7), libc::ESTALE),
            (vfs::Error::NotADirectory, libc::ENOTDIR),
            (vfs::Error::IsADirectory, libc::EISDIR),
            (vfs::Error::TooManyNames { n_names: 1 << 30 }, libc::EFBIG),
            (vfs::Error::ReadOnly, libc::EROFS),
            (vfs::Error::ReaderKilled, libc::EINTR),
            (vfs::Error::Abandoned, libc::EIO),
            (vfs::Error::ShuttingDown, libc::EIO),
            (read(wrong_length()), libc::EIO),
            (read(array::Error::OutOfBounds(Box::new(outside))), libc::EIO),
            (read(fetch(ErrorKind::Denied)), libc::EACCES),
            (read(fetch(ErrorKind::IdentityChanged)), libc::ESTALE),
        ];
        for kind in [
            ErrorKind::Unreachable,
            ErrorKind::Timeout,
            ErrorKind::Cut,
            ErrorKind::Busy,
            ErrorKind::Status(400),
            ErrorKind::Status(404),
            ErrorKind::Status(500),
            ErrorKind::Redirected,
            ErrorKind::TlsFailed,
            ErrorKind::UnknownHost,
            ErrorKind::Malformed,
            ErrorKind::OverLimit,
            ErrorKind::MappingLoading,
            ErrorKind::Abandoned,
            ErrorKind::Offline,
        ] {
            table.push((read(fetch(kind)), libc::EIO));
            table.push((lookup(fetch(kind)), libc::EIO));
        }
        for kind in [ErrorKind::Denied, ErrorKind::IdentityChanged] {
            table.push((lookup(fetch(kind)), libc::EIO));
        }
        for (error, errno) in table {
            assert_eq!(i32::from(errno_of(&error)), errno, "{error:?}");
        }
    }
}
