//! The filesystem: what a kernel asks, answered without a kernel.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::array::{self, Freshness};
use crate::logging::Chain;

use super::assembly::{Source, read_pieces};
use super::build::{RootFiles, build};
use super::checks::Checks;
use super::contents::Contents;
use super::control::{Control, ControlFile};
use super::error::{BuildError, Error};
use super::failed_reads::{FailedReads, now};
use super::journal::Journal;
use super::names::MAX_NAME_BYTES;
use super::readme::readme;
use super::tree::{Place, Tree};

/// A directory with more names is not listed: the listing of a flat directory must be complete or an error, and
/// readers keep all of it in memory.
const MAX_LISTED_NAMES: u64 = 1_000_000;

/// So many opens of control files keep a snapshot at a time; who opens more of them reads what is there then.
const MAX_SNAPSHOTS: usize = 1024;

/// What is called, once, when a read has ended; dropped if its [`Reader`](super::Reader) has left.
pub type ThenBytes = Box<dyn FnOnce(Result<Vec<u8>, Error>) + Send>;

/// What `stat` tells, but for modes and owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// The inode number.
    pub ino: u64,
    /// Exact size in bytes; 0 for a directory.
    pub size: u64,
    /// Units of 512 bytes that the size fills.
    pub blocks: u64,
    /// When the node was last updated, in seconds since 1970; for a control file: now.
    pub mtime_s: i64,
    /// Directory or file.
    pub is_dir: bool,
    /// 1 for a file; for a directory 2 and one for each directory in it, or 1 if those are too many to count.
    pub nlink: u32,
}

/// How long the kernel may keep a name or attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// As long as the mount lives.
    Forever,
    /// So long.
    For(Duration),
}

/// What the kernel may keep of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// Its bytes never change: the page cache may keep them from one open to the next.
    Keep,
    /// Its bytes never change from now on, but what the page cache holds of it may be older.
    Anew,
    /// They may change: every read comes here.
    Direct,
}

/// An open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// What reads and the release name it by: 0 but for a control file.
    pub fh: u64,
    /// What the kernel may keep.
    pub caching: Caching,
}

/// Which bytes of a file are asked for. It may reach beyond the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte.
    pub offset: u64,
    /// How many.
    pub size: u32,
}

impl ByteRange {
    /// So many bytes from an offset on.
    #[must_use]
    pub fn new(offset: u64, size: u32) -> Self {
        Self { offset, size }
    }

    /// The part of it that a file of `n_bytes` has.
    fn within(self, n_bytes: u64) -> Range<u64> {
        self.offset.min(n_bytes)..self.offset.saturating_add(self.size.into()).min(n_bytes)
    }
}

/// One name of a listing.
#[derive(Clone, Copy, Debug)]
pub struct DirEntry<'a> {
    /// The name: `.` and `..` come first.
    pub name: &'a OsStr,
    /// Where the listing goes on after this name.
    pub next_cookie: u64,
    /// What a lookup of the name tells.
    pub attributes: Attributes,
    /// How long that lasts.
    pub lasting: Lasting,
}

/// What `statfs` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Bytes of all files of voxels.
    pub total_bytes: u64,
    /// How many files and directories there are.
    pub files: u64,
}

/// One mounted node as a tree of files. Every call but the reads of voxels answers at once, from memory.
#[derive(Debug)]
pub struct VirtualFs {
    tree: Arc<Tree>,
    failed_reads: FailedReads,
    control: Control,
    mtime_s: i64,
    totals: Totals,
    next_fh: AtomicU64,
    checks: Checks,
    /// What control files held when they were opened, by file handle. No I/O happens under the lock.
    snapshots: Mutex<HashMap<u64, Arc<[u8]>>>,
}

impl VirtualFs {
    /// Lays out the tree.
    ///
    /// # Errors
    /// If two instances come to one name, or there are more files than inode numbers.
    pub fn new(contents: Contents) -> Result<Self, BuildError> {
        let Contents { source, node, config, updated_s, instances, boxes, layouts, stats, metrics } = contents;
        let root = RootFiles { readme: readme(&source, (&instances, !boxes.is_empty()), &layouts), node, config };
        let tree = Arc::new(build(root, instances, boxes, &layouts)?);
        let (total_bytes, files) = tree.totals();
        let journal = Arc::new(Journal::default());
        let control = Control { stats, metrics: Arc::clone(&metrics), journal: Arc::clone(&journal) };
        let failed_reads = FailedReads { tree: Arc::clone(&tree), journal, metrics };
        let (next_fh, snapshots) = (AtomicU64::new(1), Mutex::new(HashMap::new()));
        let totals = Totals { total_bytes, files };
        let checks = Checks::default();
        Ok(Self { tree, failed_reads, control, mtime_s: updated_s, totals, next_fh, checks, snapshots })
    }

    /// What a directory holds under a name, `.` and `..` included.
    ///
    /// # Errors
    /// [`NoSuchName`](Error::NoSuchName) by arithmetic alone; it stays true as long as the mount lives.
    pub fn lookup(&self, parent: u64, name: &OsStr) -> Result<(Attributes, Lasting), Error> {
        self.directory(parent)?;
        if name.len() > MAX_NAME_BYTES {
            return Err(Error::NameTooLong);
        }
        let inode = match name.to_str() {
            Some(".") => Some(parent),
            Some("..") => self.tree.parent(parent),
            Some(name) => self.tree.child(parent, name),
            None => None,
        };
        self.attributes(inode.ok_or(Error::NoSuchName)?)
    }

    /// What `stat` tells of an inode.
    ///
    /// # Errors
    /// If this mount never gave the number.
    pub fn attributes(&self, ino: u64) -> Result<(Attributes, Lasting), Error> {
        let place = self.place(ino)?;
        let (size, lasting) = match place {
            Place::Folder => (0, Lasting::Forever),
            Place::Text(bytes, freshness) => (bytes.len() as u64, lasting(freshness)),
            Place::Document(document, array) => {
                (document.render(array.spec()).len() as u64, lasting(array.freshness()))
            }
            Place::Control(file) => (self.control.render(file).len() as u64, Lasting::For(Duration::ZERO)),
            Place::Voxels(ref file, array) => (file.n_bytes(), lasting(array.freshness())),
        };
        let is_dir = matches!(place, Place::Folder);
        let mtime_s = if matches!(place, Place::Control(_)) { now().as_secs().cast_signed() } else { self.mtime_s };
        let nlink = if is_dir { self.n_links(ino) } else { 1 };
        Ok((Attributes { ino, size, blocks: size.div_ceil(512), mtime_s, is_dir, nlink }, lasting))
    }

    /// Lists a directory from a cookie on (0: from the beginning) until `visit` says that no more fits.
    ///
    /// The first names are `.` and `..`. A cookie is the number of names before it, so nothing is kept between calls.
    ///
    /// # Errors
    /// [`TooManyNames`](Error::TooManyNames) before the first name, never after one.
    pub fn read_dir(&self, ino: u64, cookie: u64, visit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<(), Error> {
        let (n_names, _) = self.directory(ino)?;
        if n_names > MAX_LISTED_NAMES {
            return Err(Error::TooManyNames { n_names });
        }
        let mut name = String::new();
        for at in cookie..n_names + 2 {
            let inode = match at {
                0 => Some(ino),
                1 => self.tree.parent(ino),
                _ => self.tree.nth_child(ino, at - 2, &mut name),
            };
            let (attributes, lasting) = self.attributes(inode.ok_or(Error::NoSuchInode(ino))?)?;
            let name = match at {
                0 => ".",
                1 => "..",
                _ => name.as_str(),
            };
            if !visit(DirEntry { name: OsStr::new(name), next_cookie: at + 1, attributes, lasting }) {
                break;
            }
        }
        Ok(())
    }

    /// Opens a file. Control files alone get a handle of their own, and a snapshot behind it.
    ///
    /// # Errors
    /// If the number is a directory's, or none of this mount.
    pub fn open(&self, ino: u64) -> Result<Opened, Error> {
        let (freshness, is_late) = match self.place(ino)? {
            Place::Folder => return Err(Error::IsADirectory),
            Place::Control(file) => return Ok(self.open_control(file)),
            Place::Text(_, freshness) => (freshness, false),
            Place::Document(_, array) | Place::Voxels(_, array) => (array.freshness(), array.became_lasting()),
        };
        let caching = match freshness {
            Freshness::Forever if is_late => Caching::Anew,
            Freshness::Forever => Caching::Keep,
            Freshness::For(_) => Caching::Direct,
        };
        Ok(Opened { fh: 0, caching })
    }

    /// Opens a directory: its names never change while the mount lives.
    ///
    /// # Errors
    /// If the number is a file's, or none of this mount.
    pub fn open_dir(&self, ino: u64) -> Result<Caching, Error> {
        self.directory(ino).map(|_| Caching::Keep)
    }

    /// Forgets what was kept for an open file.
    pub fn release(&self, fh: u64) {
        if fh != 0 {
            self.snapshots.lock().unwrap_or_else(PoisonError::into_inner).remove(&fh);
        }
    }

    /// Reads a file: `then` gets exactly the bytes of the range that the file has, or an error.
    ///
    /// Never blocks. `then` is called inline if nothing has to be fetched, else later on another thread. A failed
    /// read is counted and stands in `errors.jsonl`.
    pub fn read(&self, ino: u64, fh: u64, range: ByteRange, then: ThenBytes) {
        match self.place(ino) {
            Err(error) => self.refuse(ino, range, error, then),
            Ok(Place::Folder) => self.refuse(ino, range, Error::IsADirectory, then),
            Ok(Place::Text(bytes, _)) => then(Ok(cut(bytes, range))),
            Ok(Place::Document(document, array)) => then(Ok(cut(&document.render(array.spec()), range))),
            Ok(Place::Control(file)) => then(Ok(cut(&self.snapshot(fh, file), range))),
            Ok(Place::Voxels(file, array)) => {
                let window = range.within(file.n_bytes());
                if window.is_empty() {
                    return then(Ok(Vec::new()));
                }
                let then = self.telling(ino, window.clone(), then);
                let source = Source { inode: ino, array, checks: &self.checks };
                read_pieces(source, file.pieces(window), then);
            }
        }
    }

    /// Counts a read that is answered with this error without [`read`](Self::read), and puts it into `errors.jsonl`.
    pub fn refused(&self, ino: u64, range: ByteRange, error: &Error) {
        // The fact alone: the path is told beside it.
        let cause = if let Error::Array { source, .. } = error { Chain(source) } else { Chain(error) }.to_string();
        let n_bytes = match self.place(ino) {
            Ok(Place::Voxels(file, _)) => file.n_bytes(),
            Ok(_) | Err(_) => u64::MAX,
        };
        let window = range.within(n_bytes);
        self.failed_reads.tell(ino, window, (error.code(), cause));
    }

    /// The path of an inode from the root, for people; empty for the root, and for a number that was never given.
    #[must_use]
    pub fn path(&self, ino: u64) -> String {
        self.tree.path(ino)
    }

    /// How large everything is together.
    #[must_use]
    pub fn statfs(&self) -> Totals {
        self.totals
    }

    fn refuse(&self, ino: u64, range: ByteRange, error: Error, then: ThenBytes) {
        self.refused(ino, range, &error);
        then(Err(error));
    }

    fn place(&self, ino: u64) -> Result<Place<'_>, Error> {
        self.tree.place(ino).ok_or(Error::NoSuchInode(ino))
    }

    /// How many names a directory has, and how many of them are directories.
    fn directory(&self, ino: u64) -> Result<(u64, u64), Error> {
        match self.place(ino)? {
            Place::Folder => Ok(self.tree.n_children(ino)),
            Place::Text(..) | Place::Document(..) | Place::Control(_) | Place::Voxels(..) => Err(Error::NotADirectory),
        }
    }

    fn n_links(&self, ino: u64) -> u32 {
        let (_, n_folders) = self.tree.n_children(ino);
        // 1 tells `find` that the directories in it were not counted.
        u32::try_from(n_folders.saturating_add(2)).unwrap_or(1)
    }

    fn open_control(&self, file: ControlFile) -> Opened {
        let snapshot = self.control.render(file);
        let fh = self.next_fh.fetch_add(1, Ordering::Relaxed);
        let mut snapshots = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        if snapshots.len() < MAX_SNAPSHOTS {
            snapshots.insert(fh, snapshot);
        }
        Opened { fh, caching: Caching::Direct }
    }

    /// What a control file held when it was opened; as of now for a handle without snapshot.
    fn snapshot(&self, fh: u64, file: ControlFile) -> Arc<[u8]> {
        let found = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner).get(&fh).map(Arc::clone);
        found.unwrap_or_else(|| self.control.render(file))
    }

    /// Tells what failed. An answer of another length fails, too: the kernel would take it for the file's end.
    fn telling(&self, ino: u64, window: Range<u64>, then: ThenBytes) -> array::ThenBytes {
        let failed_reads = self.failed_reads.clone();
        Box::new(move |result| {
            let wanted = window.end - window.start;
            let result = result.and_then(|bytes| match bytes.len() as u64 {
                got if got == wanted => Ok(bytes),
                got => Err(array::Error::WrongLength { got, wanted }),
            });
            then(result.map_err(|source| {
                failed_reads.tell(ino, window, (source.code(), Chain(&source).to_string()));
                Error::Array { path: failed_reads.tree.path(ino), source }
            }));
        })
    }
}

fn lasting(freshness: Freshness) -> Lasting {
    match freshness {
        Freshness::Forever => Lasting::Forever,
        Freshness::For(ttl) => Lasting::For(ttl),
    }
}

/// The part of a file in memory that a range asks for.
fn cut(bytes: &[u8], range: ByteRange) -> Vec<u8> {
    let window = range.within(bytes.len() as u64);
    let in_memory = |at| usize::try_from(at).expect("an offset within a slice");
    bytes[in_memory(window.start)..in_memory(window.end)].to_vec()
}
