//! Requests of the kernel as calls of the tree. Every handler counts, is guarded against panics, and passes on.

use std::ffi::OsStr;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    AccessFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenAccMode, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};
use tracing::{debug, error};

use crate::logging::Chain;
use crate::metrics::{Counter, Metrics};
use crate::vfs::{self, Attributes, ByteRange, Caching, Lasting, Totals};

use super::answer::{Answer, ReadRequest, Slot};
use super::errno::{errno_of, name};
use super::given_up::GivenUp;
use super::kept::KeptPages;
use super::kill_poll::ParkedReads;
use super::serve::Serve;

/// Flags that the kernel is asked for, each by itself: one that an older kernel lacks must not cost the others.
/// The kernel serves without any of them: a flush or an mmap of a changing file then costs or fails, no more.
const WISHED_FLAGS: [InitFlags; 5] = [
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
    InitFlags::FUSE_ABORT_ERROR,
];
/// Reads of the page cache that may wait at once. With the kernel's default of 16, that many slow reads would
/// hold up every other file.
const MAX_BACKGROUND: u16 = 1024;
/// How long "for ever" is for the kernel: 100 years, far from any overflow of its clock ticks.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// Block size that `statfs` and `stat` tell.
const BLOCK_BYTES: u32 = 4096;
/// Longest name, in bytes.
const MAX_NAME_BYTES: u32 = 255;

/// The tree as the kernel sees it.
#[derive(Debug)]
pub(super) struct Adapter {
    pub(super) tree: Arc<dyn Serve>,
    pub(super) parked: Arc<ParkedReads>,
    pub(super) kept: Arc<KeptPages>,
    /// Set when the mount is about to end: new reads are refused.
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) given_up: Arc<GivenUp>,
    /// The user and group that everything belongs to.
    pub(super) owner: (u32, u32),
    /// Permissions that nobody has.
    pub(super) umask: u16,
}

impl Adapter {
    /// Runs a handler. A panic in it costs its own request (whose dropped reply answers EIO) and nothing else.
    fn guarded(&self, op: &'static str, handler: impl FnOnce()) {
        self.metrics.count(Counter::FuseRequests);
        if catch_unwind(AssertUnwindSafe(handler)).is_err() {
            self.metrics.happened(Counter::Panics);
            error!(target: "dvidfs", code = "panic", op, "a handler panicked; the request is answered EIO");
        }
    }

    fn file_attr(&self, attributes: &Attributes) -> FileAttr {
        let Attributes { ino, size, blocks, mtime_s, is_dir, nlink } = *attributes;
        let time = match u64::try_from(mtime_s) {
            Ok(after) => UNIX_EPOCH.checked_add(Duration::from_secs(after)),
            Err(_) => UNIX_EPOCH.checked_sub(Duration::from_secs(mtime_s.unsigned_abs())),
        }
        .unwrap_or(UNIX_EPOCH);
        self.attr_of(ino, (size, blocks), time, (is_dir, nlink))
    }

    fn attr_of(
        &self,
        ino: u64,
        (size, blocks): (u64, u64),
        time: SystemTime,
        (is_dir, nlink): (bool, u32),
    ) -> FileAttr {
        FileAttr {
            ino: INodeNo(ino),
            size,
            blocks,
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind: kind(is_dir),
            perm: if is_dir { 0o555 } else { 0o444 } & !self.umask,
            nlink,
            uid: self.owner.0,
            gid: self.owner.1,
            rdev: 0,
            blksize: BLOCK_BYTES,
            flags: 0,
        }
    }

    /// Tells the kernel that a name does not exist in a way that it remembers: an entry with inode 0.
    fn reply_absent(&self, parent: u64, reply: ReplyEntry) {
        let lasting = self.tree.attributes(parent).map_or(Duration::ZERO, |(_, lasting)| ttl(lasting));
        let nothing = self.attr_of(0, (0, 0), UNIX_EPOCH, (false, 0));
        reply.entry(&lasting, &nothing, Generation(0));
    }
}

/// The errno of a request that failed at once. Such failures are facts about the tree and no news.
fn refused(op: &'static str, ino: u64, error: &vfs::Error) -> Errno {
    let errno = errno_of(error);
    debug!(target: "dvidfs", op, ino, errno = ?name(errno), cause = %Chain(error));
    errno
}

fn kind(is_dir: bool) -> FileType {
    if is_dir { FileType::Directory } else { FileType::RegularFile }
}

fn ttl(lasting: Lasting) -> Duration {
    match lasting {
        Lasting::Forever => FOREVER,
        Lasting::For(duration) => duration.min(FOREVER),
    }
}

impl Filesystem for Adapter {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for flag in WISHED_FLAGS {
            if config.add_capabilities(flag).is_err() {
                debug!(target: "dvidfs", op = "init", ?flag, "this kernel does not have it");
            }
        }
        if let Err(most) = config.set_max_background(MAX_BACKGROUND) {
            debug!(target: "dvidfs", op = "init", most, "the kernel allows fewer waiting reads");
        }
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.guarded("lookup", || match self.tree.lookup(parent.0, name) {
            Ok((attributes, lasting)) => {
                reply.entry(&ttl(lasting), &self.file_attr(&attributes), Generation(0));
            }
            Err(vfs::Error::NoSuchName) => self.reply_absent(parent.0, reply),
            Err(error) => reply.error(refused("lookup", parent.0, &error)),
        });
    }

    /// Inode numbers are computed: all that is kept is which of them may have pages.
    fn forget(&self, _req: &Request, ino: INodeNo, _nlookup: u64) {
        self.kept.forgotten(ino.0);
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        self.guarded("getattr", || match self.tree.attributes(ino.0) {
            Ok((attributes, lasting)) => reply.attr(&ttl(lasting), &self.file_attr(&attributes)),
            Err(error) => reply.error(refused("getattr", ino.0, &error)),
        });
    }

    fn open(&self, _req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.acc_mode() != OpenAccMode::O_RDONLY {
            return reply.error(refused("open", ino.0, &vfs::Error::ReadOnly));
        }
        self.guarded("open", || match self.tree.open(ino.0) {
            Ok(opened) => {
                let caching = match opened.caching {
                    Caching::Keep => FopenFlags::FOPEN_KEEP_CACHE,
                    Caching::Anew => FopenFlags::empty(),
                    Caching::Direct => FopenFlags::FOPEN_DIRECT_IO,
                };
                if opened.caching != Caching::Direct {
                    self.kept.opened(ino.0);
                }
                reply.opened(FileHandle(opened.fh), caching | FopenFlags::FOPEN_NOFLUSH);
            }
            Err(error) => reply.error(refused("open", ino.0, &error)),
        });
    }

    fn read(
        &self,
        req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let range = ByteRange::new(offset, size);
        let request = ReadRequest { ino: ino.0, range, pid: req.pid() };
        let kept = (Arc::clone(&self.kept), Arc::clone(&self.given_up));
        let told = (Arc::clone(&self.tree), Arc::clone(&self.metrics));
        let slot = Slot::new(request, reply, told, kept);
        self.guarded("read", || {
            self.metrics.count(Counter::FuseReads);
            let answer = Answer(Arc::clone(&slot));
            if self.stopping.load(Ordering::SeqCst) {
                return slot.refuse(&vfs::Error::ShuttingDown);
            }
            if let Some(error) = self.given_up.recall(request) {
                return slot.refuse(&error);
            }
            let then = Box::new(move |result| answer.finish(result));
            slot.reader.begin(|| self.tree.read(ino.0, fh.0, range, then));
            if !slot.is_answered() {
                self.parked.park(slot);
            }
        });
    }

    fn release(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.guarded("release", || {
            self.tree.release(fh.0);
            reply.ok();
        });
    }

    fn opendir(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.guarded("opendir", || match self.tree.open_dir(ino.0) {
            Ok(Caching::Keep) => {
                reply.opened(FileHandle(0), FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE);
            }
            Ok(Caching::Anew | Caching::Direct) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(refused("opendir", ino.0, &error)),
        });
    }

    fn readdir(&self, _req: &Request, ino: INodeNo, _fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        self.guarded("readdir", || {
            let listed = self.tree.read_dir(ino.0, offset, &mut |entry| {
                let Attributes { ino, is_dir, .. } = entry.attributes;
                !reply.add(INodeNo(ino), entry.next_cookie, kind(is_dir), entry.name)
            });
            match listed {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(refused("readdir", ino.0, &error)),
            }
        });
    }

    fn readdirplus(&self, _req: &Request, ino: INodeNo, _fh: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        self.guarded("readdirplus", || {
            let listed = self.tree.read_dir(ino.0, offset, &mut |entry| {
                let attr = self.file_attr(&entry.attributes);
                !reply.add(attr.ino, entry.next_cookie, entry.name, &ttl(entry.lasting), &attr, Generation(0))
            });
            match listed {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(refused("readdirplus", ino.0, &error)),
            }
        });
    }

    fn releasedir(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _flags: OpenFlags, reply: ReplyEmpty) {
        self.guarded("releasedir", || reply.ok());
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        self.guarded("statfs", || {
            let Totals { total_bytes, files } = self.tree.statfs();
            let blocks = total_bytes.div_ceil(BLOCK_BYTES.into());
            reply.statfs(blocks, 0, 0, files, 0, BLOCK_BYTES, MAX_NAME_BYTES, BLOCK_BYTES);
        });
    }

    // ENOSYS once, and the kernel does not ask again.
    fn flush(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _lock_owner: LockOwner, reply: ReplyEmpty) {
        self.guarded("flush", || reply.error(Errno::ENOSYS));
    }

    fn access(&self, _req: &Request, _ino: INodeNo, _mask: AccessFlags, reply: ReplyEmpty) {
        self.guarded("access", || reply.error(Errno::ENOSYS));
    }

    fn getxattr(&self, _req: &Request, _ino: INodeNo, _name: &OsStr, _size: u32, reply: ReplyXattr) {
        self.guarded("getxattr", || reply.error(Errno::ENOSYS));
    }

    fn listxattr(&self, _req: &Request, _ino: INodeNo, _size: u32, reply: ReplyXattr) {
        self.guarded("listxattr", || reply.error(Errno::ENOSYS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_told_of_a_time_that_its_clock_can_hold() {
        assert_eq!(ttl(Lasting::Forever), FOREVER);
        assert_eq!(ttl(Lasting::For(Duration::MAX)), FOREVER);
        assert_eq!(ttl(Lasting::For(Duration::from_millis(1500))), Duration::from_millis(1500));
        assert_eq!(ttl(Lasting::For(Duration::ZERO)), Duration::ZERO);
    }
}
