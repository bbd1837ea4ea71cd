//! Entries in a directory: read if every byte agrees, written whole, removed if damaged.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use nix::errno::Errno;
use nix::sys::stat::{FileStat, SFlag, futimens};
use nix::sys::time::TimeSpec;

use super::directory::{Directory, DirectoryError, Trust};
use super::entry::{Entry, Refused, header, header_bytes, parse};
use super::key::EntryKey;
use super::seal::{Name, Seal};

/// Entries are found by when they were used last; a use is written down this seldom.
const USE_NOTED_EVERY_SECONDS: i64 = 3600;
/// A thread keeps a buffer for files of up to this size; a larger one is freed.
const KEPT_BUFFER_BYTES: usize = 16 << 20;
/// What stands in a directory that backups may leave out.
const CACHEDIR_TAG: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55\n\
# Blocks of DVID servers, kept by dvidfs. Anything here may be removed at any time.\n";

/// What looking for an entry came to.
#[derive(Debug)]
pub(super) enum Found<T> {
    /// It is there and whole.
    Entry(T),
    /// There is none.
    Missing,
    /// It was no entry of this key, and is removed if that could be done.
    Damaged(&'static str),
    /// Another format, left alone.
    OtherFormat,
    /// The file system failed.
    Failed(Errno),
}

/// What writing an entry came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// So many bytes are new.
    New(u64),
    /// Somebody else was first.
    WasThere,
}

/// A directory of entries.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    seal: Seal,
    trust: Trust,
    /// Replaced when it was removed under us. No I/O under this lock.
    directory: RwLock<Arc<Directory>>,
}

impl Store {
    /// # Errors
    /// If the directory cannot be had, or must not be trusted.
    pub(super) fn open(path: &Path, seal: Seal) -> Result<Self, DirectoryError> {
        let trust = match seal {
            Seal::Plain => Trust::OursAlone,
            Seal::Keyed(_) => Trust::Anybody,
        };
        let directory = Directory::open(path, trust)?;
        put_tag(&directory);
        Ok(Self { path: path.to_owned(), seal, trust, directory: RwLock::new(Arc::new(directory)) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn seal(&self) -> &Seal {
        &self.seal
    }

    pub(super) fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Opens the directory anew if it was removed. Whether it is another one now.
    pub(super) fn reopen(&self) -> Result<bool, DirectoryError> {
        if self.directory().is_there() {
            return Ok(false);
        }
        if let Some(parent) = self.path.parent() {
            use std::os::unix::fs::DirBuilderExt;
            // If that fails, so does what follows.
            let _ = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent);
        }
        let directory = Directory::open(&self.path, self.trust)?;
        put_tag(&directory);
        *self.directory.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(directory);
        Ok(true)
    }

    /// Whether something stands under the name of an entry.
    ///
    /// # Errors
    /// If the file system fails.
    pub(super) fn has(&self, key: &EntryKey) -> Result<bool, Errno> {
        match self.directory().stat(&self.seal.name(key)) {
            Ok(_) => Ok(true),
            Err(errno) if is_missing(errno) => Ok(false),
            // What it is will be found when it is read.
            Err(Errno::ELOOP | Errno::EACCES | Errno::EXDEV) => Ok(true),
            Err(errno) => Err(errno),
        }
    }

    /// Reads an entry whose payload has at most so many bytes, and hands it to `use_it`: the code of its encoding and
    /// the payload. An entry that it refuses counts as damaged.
    pub(super) fn read<T>(
        &self,
        key: &EntryKey,
        most_bytes: usize,
        use_it: impl FnOnce(u8, &[u8]) -> Option<T>,
    ) -> Found<T> {
        let (directory, name) = (self.directory(), self.seal.name(key));
        let (file, stat) = match directory.open_entry(&name) {
            Ok(opened) => opened,
            Err(errno) if is_missing(errno) => return Found::Missing,
            Err(errno @ (Errno::ELOOP | Errno::ENXIO | Errno::EACCES | Errno::EPERM | Errno::EXDEV)) => {
                if let Ok(stat) = directory.stat(&name) {
                    remove(&directory, &name, &stat);
                }
                return Found::Damaged(if errno == Errno::EACCES { "it cannot be opened" } else { "it is no file" });
            }
            Err(errno) => return Found::Failed(errno),
        };
        let damaged = |why| {
            remove(&directory, &name, &stat);
            Found::Damaged(why)
        };
        let most_bytes = most_bytes.saturating_add(header_bytes(&self.seal, key));
        let length = match usable_length(&stat, self.trust, most_bytes) {
            Ok(length) => length,
            Err(why) => return damaged(why),
        };
        with_buffer(|buffer| {
            if let Err(errno) = read_whole(&file, buffer, length) {
                return Found::Failed(errno);
            }
            match parse(&self.seal, key, buffer) {
                Ok(Entry { encoding, payload, .. }) => match use_it(encoding, payload) {
                    Some(used) => {
                        note_use(&file, &stat);
                        Found::Entry(used)
                    }
                    None => damaged("its payload cannot be decoded"),
                },
                Err(Refused::OtherFormat) => Found::OtherFormat,
                Err(Refused::Damaged(why)) => damaged(why),
            }
        })
    }

    /// Writes an entry, if there is none.
    ///
    /// # Errors
    /// If the file system fails.
    pub(super) fn write(&self, key: &EntryKey, entry: Entry<'_>) -> io::Result<Written> {
        let header = header(&self.seal, key, entry);
        let is_new = self.directory().write(&self.seal.name(key), &[&header, entry.payload])?;
        let bytes = occupied_bytes((header.len() + entry.payload.len()) as u64);
        Ok(if is_new { Written::New(bytes) } else { Written::WasThere })
    }
}

impl Store {
    /// Writes an entry in place of the one that is there. By how many bytes more is taken now.
    ///
    /// # Errors
    /// If the file system fails.
    pub(super) fn replace(&self, key: &EntryKey, entry: Entry<'_>) -> io::Result<i64> {
        let (directory, name) = (self.directory(), self.seal.name(key));
        let before = directory.stat(&name).map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0));
        let header = header(&self.seal, key, entry);
        directory.replace(&name, &[&header, entry.payload])?;
        let after = occupied_bytes((header.len() + entry.payload.len()) as u64);
        Ok(after.cast_signed() - occupied_bytes(before).cast_signed())
    }

    /// Removes an entry, if there is one. What it took.
    ///
    /// # Errors
    /// If the file system fails.
    pub(super) fn remove(&self, key: &EntryKey) -> io::Result<u64> {
        let (directory, name) = (self.directory(), self.seal.name(key));
        match directory.stat(&name) {
            Err(errno) if is_missing(errno) => Ok(0),
            Err(errno) => Err(errno.into()),
            Ok(stat) => {
                let was_there = directory.remove_if(&name, &stat)?;
                Ok(if was_there { occupied_bytes(u64::try_from(stat.st_size).unwrap_or(0)) } else { 0 })
            }
        }
    }

    /// Writes down that an entry is in use.
    pub(super) fn touch(&self, key: &EntryKey) {
        if let Ok((file, stat)) = self.directory().open_entry(&self.seal.name(key)) {
            note_use(&file, &stat);
        }
    }
}

/// What a file of so many bytes takes on a file system, about.
pub(super) fn occupied_bytes(length: u64) -> u64 {
    length.next_multiple_of(4096)
}

fn is_missing(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ENOTDIR)
}

/// The length of a file that may be read.
pub(super) fn usable_length(stat: &FileStat, trust: Trust, most_bytes: usize) -> Result<usize, &'static str> {
    if SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) != SFlag::S_IFREG {
        return Err("it is no file");
    }
    if stat.st_nlink > 1 {
        return Err("it has another name, too");
    }
    if trust == Trust::OursAlone {
        if stat.st_uid != nix::unistd::geteuid().as_raw() {
            return Err("it belongs to another user");
        }
        if stat.st_mode & 0o777 != 0o600 {
            return Err("its mode is not 0600");
        }
    }
    usize::try_from(stat.st_size).ok().filter(|&length| length <= most_bytes).ok_or("it is too long")
}

/// Reads a file to its end; shorter than it was said to be, it is cut, which its sums will tell.
pub(super) fn read_whole(file: &File, buffer: &mut Vec<u8>, length: usize) -> Result<(), Errno> {
    buffer.clear();
    buffer.reserve(length);
    // One byte more, so that one which grows is not believed either.
    match file.take(length as u64 + 1).read_to_end(buffer) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)),
    }
}

/// Removes what is damaged. Where that fails it stays, and is not believed the next time either.
fn remove(directory: &Directory, name: &Name, stat: &FileStat) {
    let _ = directory.remove_if(name, stat);
}

/// Writes down that an entry is in use, now and then. Where that cannot be done it only grows old sooner.
fn note_use(file: &File, stat: &FileStat) {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    let age = i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(stat.st_mtime);
    if !(0..USE_NOTED_EVERY_SECONDS).contains(&age) {
        let _ = futimens(file, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW);
    }
}

/// Says what the directory is. It is only a courtesy.
fn put_tag(directory: &Directory) {
    use std::io::Write;
    if let Ok(mut file) = directory.open_beside("CACHEDIR.TAG")
        && file.metadata().is_ok_and(|found| found.len() == 0)
    {
        let _ = file.write_all(CACHEDIR_TAG);
    }
}

thread_local! {
    /// Files are read into the same memory again and again.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(vec![]) };
}

fn with_buffer<T>(f: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut buffer = BUFFER.take();
    let result = f(&mut buffer);
    if buffer.capacity() <= KEPT_BUFFER_BYTES {
        BUFFER.set(buffer);
    }
    result
}
