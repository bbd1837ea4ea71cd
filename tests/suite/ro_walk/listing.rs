//! What `getdents` and `stat` tell, without a library between.

use std::ffi::OsString;
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{FileType, RawDir, SeekFrom};
use rustix::io::Errno;

/// One name of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) name: OsString,
    pub(super) ino: u64,
    pub(super) is_dir: bool,
    /// Where the listing goes on after it (`d_off`).
    pub(super) next: u64,
}

/// Calls `visit` with each name from a position on, by a buffer of so many bytes, until it says that this is enough.
pub(super) fn each_name(
    directory: &File,
    from: u64,
    buffer: &mut [MaybeUninit<u8>],
    mut visit: impl FnMut(Name) -> bool,
) -> Result<(), Errno> {
    rustix::fs::seek(directory, SeekFrom::Start(from))?;
    let mut entries = RawDir::new(directory, buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = Name {
            name: OsString::from_vec(entry.file_name().to_bytes().to_vec()),
            ino: entry.ino(),
            is_dir: entry.file_type() == FileType::Directory,
            next: entry.next_entry_cookie(),
        };
        if !visit(name) {
            break;
        }
    }
    Ok(())
}

/// All names of a directory, as many at once as a small buffer holds.
pub(super) fn names(directory: &File) -> Vec<Name> {
    // 64 bytes hold one short name; a longer one needs more.
    for size in [64, 512] {
        let mut found = Vec::new();
        let mut buffer = vec![MaybeUninit::uninit(); size];
        match each_name(directory, 0, &mut buffer, |name| {
            found.push(name);
            true
        }) {
            Ok(()) => return found,
            Err(Errno::INVAL) => {}
            Err(errno) => panic!("a listing: {errno}"),
        }
    }
    panic!("a name does not fit into 512 bytes");
}

/// The one name that comes at a position; `None` at the end.
pub(super) fn name_at(directory: &File, position: u64) -> Option<OsString> {
    let mut buffer = vec![MaybeUninit::uninit(); 512];
    let mut found = None;
    each_name(directory, position, &mut buffer, |name| {
        found = Some(name.name);
        false
    })
    .unwrap();
    found
}

/// What must be the same as long as a node is mounted, and at its next mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) ino: u64,
    pub(super) size: u64,
    pub(super) mtime: (i64, i64),
    pub(super) mode: u32,
    pub(super) nlink: u64,
    pub(super) blocks: u64,
}

pub(super) fn status(path: &Path) -> Status {
    let of = path.symlink_metadata().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mtime = (of.mtime(), of.mtime_nsec());
    Status { ino: of.ino(), size: of.size(), mtime, mode: of.mode(), nlink: of.nlink(), blocks: of.blocks() }
}
