//! The directory of the cache: every file in it is reached through one descriptor, and no link is followed.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{self, AtFlags, OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::{self, FileStat, Mode, SFlag};
use nix::sys::statvfs::fstatvfs;
use nix::unistd::{self, UnlinkatFlags};

use super::seal::{Name, shard_name};

/// So every file is opened: a pipe does not wait for a writer, and no link is followed.
const EVERY: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);
/// What a name without `O_TMPFILE` begins with until its file is whole.
pub(super) const UNFINISHED: &str = ".unfinished-";

/// Why a directory is not used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Something else stands there.
    #[error("{0} is not a directory")]
    NotDirectory(PathBuf),
    /// A link could lead anywhere.
    #[error("{0} is a symbolic link, which is not followed")]
    Link(PathBuf),
    /// Its owner could put anything into it.
    #[error("{0} belongs to another user")]
    NotOurs(PathBuf),
    /// So could they.
    #[error("other users can read or write {0}: `chmod 700` it, or use --cache-key-file")]
    OpenToOthers(PathBuf),
    /// They could put another directory in its place.
    #[error("other users can rename what is in {0}: make a directory of your own in it, such as with `mkdir -m 700`")]
    ParentOpenToOthers(PathBuf),
    /// The system refuses.
    #[error("{0} cannot be used")]
    Io(PathBuf, #[source] io::Error),
}

/// Who may have written what lies in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// We alone: directory and files are ours, and closed to others.
    OursAlone,
    /// Anybody: entries are sealed by a key.
    Anybody,
}

/// One directory, opened.
#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    trust: Trust,
    /// Whether this kernel (and whatever filters its calls) knows `openat2`.
    has_openat2: bool,
    next_unfinished: AtomicU64,
}

impl Directory {
    /// Opens a directory, and makes it first if it is not there: the last part of the path, closed to others.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    pub(super) fn open(path: &Path, trust: Trust) -> Result<Self, DirectoryError> {
        let failed = |error: io::Error| DirectoryError::Io(path.to_owned(), error);
        match std::fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // A directory that is there can be read even where none could be made.
            Err(error) if path.symlink_metadata().is_err() => return Err(failed(error)),
            Err(_) => {}
        }
        let found = path.symlink_metadata().map_err(failed)?;
        if found.file_type().is_symlink() {
            return Err(DirectoryError::Link(path.to_owned()));
        }
        if !found.is_dir() {
            return Err(DirectoryError::NotDirectory(path.to_owned()));
        }
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = fcntl::open(path, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
        let opened = stat::fstat(&fd).map_err(|errno| failed(errno.into()))?;
        if trust == Trust::OursAlone {
            check_owner(path, &opened)?;
        }
        let has_openat2 = fcntl::openat2(&fd, ".", how(OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())).is_ok();
        Ok(Self { fd, trust, has_openat2, next_unfinished: AtomicU64::new(0) })
    }

    /// Whether files are to be ours alone.
    pub(super) fn trust(&self) -> Trust {
        self.trust
    }

    /// The mode of files that are written here.
    fn file_mode(&self) -> Mode {
        match self.trust {
            Trust::OursAlone => Mode::from_bits_truncate(0o600),
            Trust::Anybody => Mode::from_bits_truncate(0o644),
        }
    }

    /// Opens a path of one or two parts below the directory.
    fn open_at(&self, path: &str, flags: OFlag, mode: Mode) -> nix::Result<OwnedFd> {
        let flags = flags | EVERY;
        if self.has_openat2 {
            return fcntl::openat2(&self.fd, path, how(flags, mode));
        }
        // Part by part, of which none may be a link, this comes to the same.
        match path.split_once('/') {
            None => fcntl::openat(&self.fd, path, flags, mode),
            Some((shard, file)) => {
                let shard = fcntl::openat(&self.fd, shard, OFlag::O_DIRECTORY | OFlag::O_PATH | EVERY, Mode::empty())?;
                fcntl::openat(&shard, file, flags, mode)
            }
        }
    }

    /// Opens an entry to read it.
    pub(super) fn open_entry(&self, name: &Name) -> nix::Result<(File, FileStat)> {
        let fd = self.open_at(name.path(), OFlag::O_RDONLY, Mode::empty())?;
        let found = stat::fstat(&fd)?;
        Ok((File::from(fd), found))
    }

    /// What stands under the name of an entry, links not followed.
    pub(super) fn stat(&self, name: &Name) -> nix::Result<FileStat> {
        let shard = self.open_shard(name.shard())?;
        stat::fstatat(&shard, name.file(), AtFlags::AT_SYMLINK_NOFOLLOW)
    }

    fn open_shard(&self, shard: &str) -> nix::Result<OwnedFd> {
        self.open_at(shard, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())
    }

    fn open_or_make_shard(&self, shard: &str) -> nix::Result<OwnedFd> {
        match self.open_shard(shard) {
            Err(Errno::ENOENT) => {}
            // Something else stands in its place.
            Err(Errno::ENOTDIR | Errno::ELOOP) => unistd::unlinkat(&self.fd, shard, UnlinkatFlags::NoRemoveDir)?,
            opened => return opened,
        }
        match stat::mkdirat(&self.fd, shard, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => self.open_shard(shard),
            Err(errno) => Err(errno),
        }
    }

    /// Removes what stands under a name, if it is still this.
    pub(super) fn remove_if(&self, name: &Name, seen: &FileStat) -> nix::Result<bool> {
        let shard = self.open_shard(name.shard())?;
        remove_if(&shard, name.file(), seen)
    }

    /// Writes an entry; false if there is one already. Others see it whole or not at all.
    pub(super) fn write(&self, name: &Name, parts: &[&[u8]]) -> io::Result<bool> {
        let shard = self.open_or_make_shard(name.shard())?;
        let made = self.open_at(name.shard(), OFlag::O_TMPFILE | OFlag::O_WRONLY, self.file_mode());
        let file = match made {
            Ok(fd) => File::from(fd),
            // A file system that has no files without a name.
            Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::ENOENT | Errno::EINVAL) => {
                return self.write_named(&shard, name, parts);
            }
            Err(errno) => return Err(errno.into()),
        };
        write_all(&file, parts)?;
        let own = format!("/proc/self/fd/{}", file.as_raw_fd());
        match unistd::linkat(fcntl::AT_FDCWD, own.as_str(), &shard, name.file(), AtFlags::AT_SYMLINK_FOLLOW) {
            Ok(()) => Ok(true),
            Err(Errno::EEXIST) => Ok(false),
            // No /proc, or no links.
            Err(Errno::ENOENT | Errno::EPERM | Errno::EOPNOTSUPP | Errno::EXDEV) => {
                drop(file);
                self.write_named(&shard, name, parts)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// The same by a name of its own until the file is whole.
    fn write_named(&self, shard: &OwnedFd, name: &Name, parts: &[&[u8]]) -> io::Result<bool> {
        if stat::fstatat(shard, name.file(), AtFlags::AT_SYMLINK_NOFOLLOW).is_ok() {
            return Ok(false);
        }
        self.write_renamed(shard, name, parts).map(|()| true)
    }

    /// Writes an entry in place of whatever stands there. Others see the one or the other, each of them whole.
    pub(super) fn replace(&self, name: &Name, parts: &[&[u8]]) -> io::Result<()> {
        self.write_renamed(&self.open_or_make_shard(name.shard())?, name, parts)
    }

    fn write_renamed(&self, shard: &OwnedFd, name: &Name, parts: &[&[u8]]) -> io::Result<()> {
        let number = self.next_unfinished.fetch_add(1, Ordering::Relaxed);
        let nonce = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.subsec_nanos());
        let unfinished = format!("{UNFINISHED}{}-{nonce:x}-{number}", std::process::id());
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY;
        let file = File::from(self.open_at(&format!("{}/{unfinished}", name.shard()), flags, self.file_mode())?);
        let written = write_all(&file, parts)
            .and_then(|()| fcntl::renameat(shard, unfinished.as_str(), shard, name.file()).map_err(io::Error::from));
        if written.is_err() {
            // What cannot be removed now is removed when its shard is looked through.
            let _ = unistd::unlinkat(shard, unfinished.as_str(), UnlinkatFlags::NoRemoveDir);
        }
        written
    }

    /// The files of a shard, with what each of them is; none if there is no such shard.
    pub(super) fn shard_files(&self, shard: u8) -> nix::Result<Option<ShardFiles>> {
        match self.open_shard(&shard_name(shard)) {
            Ok(fd) => Ok(Some(ShardFiles { dir: Dir::from_fd(fd.try_clone().map_err(|_| Errno::EMFILE)?)?, fd })),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// A file beside the shards, made if it is not there.
    pub(super) fn open_beside(&self, name: &str) -> nix::Result<File> {
        self.open_at(name, OFlag::O_RDWR | OFlag::O_CREAT, self.file_mode()).map(File::from)
    }

    /// Bytes that a user may still write, and those of the whole file system.
    pub(super) fn free_bytes(&self) -> nix::Result<(u64, u64)> {
        let found = fstatvfs(&self.fd)?;
        let block = found.fragment_size();
        Ok((found.blocks_available().saturating_mul(block), found.blocks().saturating_mul(block)))
    }

    /// Whether the directory that was opened is still there, under whatever name.
    pub(super) fn is_there(&self) -> bool {
        stat::fstat(&self.fd).is_ok_and(|found| found.st_nlink > 0)
    }
}

/// A shard that is looked through.
#[derive(Debug)]
pub(super) struct ShardFiles {
    fd: OwnedFd,
    dir: Dir,
}

impl ShardFiles {
    /// Calls for each file with its name and what it is. Files that vanish meanwhile are left out.
    pub(super) fn each(&mut self, mut call: impl FnMut(&str, FileStat)) -> nix::Result<()> {
        for found in self.dir.iter() {
            let found = found?;
            let Ok(name) = found.file_name().to_str() else { continue };
            if matches!(name, "." | "..") {
                continue;
            }
            if let Ok(of) = stat::fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                call(name, of);
            }
        }
        Ok(())
    }

    /// Locks the shard until the result is dropped; `None` if somebody else has it.
    pub(super) fn lock(&self) -> Option<fcntl::Flock<OwnedFd>> {
        fcntl::Flock::lock(self.fd.try_clone().ok()?, fcntl::FlockArg::LockExclusiveNonblock).ok()
    }

    /// Removes a file of the shard, if it is still this.
    pub(super) fn remove_if(&self, file: &str, seen: &FileStat) -> nix::Result<bool> {
        remove_if(&self.fd, file, seen)
    }
}

fn how(flags: OFlag, mode: Mode) -> OpenHow {
    let stays_inside = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    OpenHow::new().flags(flags).mode(mode).resolve(stays_inside)
}

fn check_owner(path: &Path, found: &FileStat) -> Result<(), DirectoryError> {
    let ours = unistd::geteuid().as_raw();
    if found.st_uid != ours {
        return Err(DirectoryError::NotOurs(path.to_owned()));
    }
    if found.st_mode & 0o077 != 0 {
        return Err(DirectoryError::OpenToOthers(path.to_owned()));
    }
    let Some(parent) = path.parent().and_then(|parent| parent.metadata().ok()) else { return Ok(()) };
    let is_sticky = parent.mode() & 0o1000 != 0;
    let others_write = parent.mode() & 0o022 != 0 || (parent.uid() != ours && parent.uid() != 0);
    match path.parent() {
        Some(parent) if others_write && !is_sticky => Err(DirectoryError::ParentOpenToOthers(parent.to_owned())),
        Some(_) | None => Ok(()),
    }
}

fn remove_if(shard: impl AsFd, file: &str, seen: &FileStat) -> nix::Result<bool> {
    let now = match stat::fstatat(&shard, file, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => return Ok(false),
        now => now?,
    };
    if (now.st_dev, now.st_ino) != (seen.st_dev, seen.st_ino) {
        return Ok(false);
    }
    let is_directory = SFlag::from_bits_truncate(now.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFDIR;
    let kind = if is_directory { UnlinkatFlags::RemoveDir } else { UnlinkatFlags::NoRemoveDir };
    match unistd::unlinkat(&shard, file, kind) {
        Ok(()) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn write_all(mut file: &File, parts: &[&[u8]]) -> io::Result<()> {
    use std::io::Write;
    parts.iter().try_for_each(|part| file.write_all(part))
}
