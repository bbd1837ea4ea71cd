//! What a mount serves.

use std::ffi::OsStr;
use std::fmt::Debug;

use crate::vfs::{Attributes, ByteRange, Caching, DirEntry, Error, Lasting, Opened, ThenBytes, Totals, VirtualFs};

/// A tree of files that a mount serves: [`VirtualFs`], or a fake of one.
///
/// No call waits. Only `read` may answer later, on another thread.
#[allow(clippy::missing_errors_doc)] // They are those of `VirtualFs`, call by call.
pub trait Serve: Debug + Send + Sync + 'static {
    /// What a directory holds under a name.
    fn lookup(&self, parent: u64, name: &OsStr) -> Result<(Attributes, Lasting), Error>;
    /// What `stat` tells of an inode.
    fn attributes(&self, ino: u64) -> Result<(Attributes, Lasting), Error>;
    /// Lists a directory from a cookie on, `.` and `..` first, until `visit` says that no more fits.
    fn read_dir(&self, ino: u64, cookie: u64, visit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<(), Error>;
    /// Opens a file.
    fn open(&self, ino: u64) -> Result<Opened, Error>;
    /// Opens a directory.
    fn open_dir(&self, ino: u64) -> Result<Caching, Error>;
    /// Forgets what was kept for an open file.
    fn release(&self, fh: u64);
    /// Reads exactly the bytes of the range that the file has, and hands them to `then`, once.
    fn read(&self, ino: u64, fh: u64, range: ByteRange, then: ThenBytes);
    /// Counts a read that is answered with this error without `read`, and keeps it with the others that have failed.
    fn refused(&self, ino: u64, range: ByteRange, error: &Error);
    /// How large everything is together.
    fn statfs(&self) -> Totals;
}

impl Serve for VirtualFs {
    fn lookup(&self, parent: u64, name: &OsStr) -> Result<(Attributes, Lasting), Error> {
        self.lookup(parent, name)
    }

    fn attributes(&self, ino: u64) -> Result<(Attributes, Lasting), Error> {
        self.attributes(ino)
    }

    fn read_dir(&self, ino: u64, cookie: u64, visit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<(), Error> {
        self.read_dir(ino, cookie, visit)
    }

    fn open(&self, ino: u64) -> Result<Opened, Error> {
        self.open(ino)
    }

    fn open_dir(&self, ino: u64) -> Result<Caching, Error> {
        self.open_dir(ino)
    }

    fn release(&self, fh: u64) {
        self.release(fh);
    }

    fn read(&self, ino: u64, fh: u64, range: ByteRange, then: ThenBytes) {
        self.read(ino, fh, range, then);
    }

    fn refused(&self, ino: u64, range: ByteRange, error: &Error) {
        self.refused(ino, range, error);
    }

    fn statfs(&self) -> Totals {
        self.statfs()
    }
}
