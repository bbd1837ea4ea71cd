//! A directory in memory, mounted by FUSE, whose operations fail or hang when they are told to.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use nix::libc;

use super::mounts::Scratch;

/// What becomes of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    None,
    /// These fail with this errno: `read`, `write`, `rename`, `lookup` …
    Fails(&'static str, i32),
    /// A write takes half of what it is given; the next one fails.
    ShortWrites,
    /// Nothing is answered.
    Hangs,
}

#[derive(Debug)]
enum Node {
    Directory(BTreeMap<OsString, u64>),
    File(Vec<u8>),
}

#[derive(Debug)]
struct Tree {
    nodes: HashMap<u64, (Node, SystemTime, u16)>,
    next: u64,
}

type Held = Box<dyn FnOnce() + Send>;

/// What the mount and the test share.
struct Shared {
    tree: Mutex<Tree>,
    trouble: Mutex<Trouble>,
    held: Mutex<Vec<Held>>,
    n_troubled: AtomicU64,
}

/// The mounted directory, until it is dropped.
pub struct FaultyDir {
    scratch: Scratch,
    shared: Arc<Shared>,
    session: Option<BackgroundSession>,
}

impl FaultyDir {
    pub fn new() -> Self {
        let scratch = Scratch::new();
        let root = (Node::Directory(BTreeMap::new()), SystemTime::now(), 0o700);
        let shared = Arc::new(Shared {
            tree: Mutex::new(Tree { nodes: HashMap::from([(1, root)]), next: 2 }),
            trouble: Mutex::new(Trouble::None),
            held: Mutex::default(),
            n_troubled: AtomicU64::new(0),
        });
        let mut config = Config::default();
        config.n_threads = Some(2);
        let files = Files(Arc::clone(&shared));
        let session = fuser::spawn_mount(files, scratch.mountpoint(), &config).unwrap();
        Self { scratch, shared, session: Some(session) }
    }

    pub fn path(&self) -> PathBuf {
        self.scratch.mountpoint()
    }

    /// From now on. What hung before goes on, if nothing hangs any more.
    pub fn set(&self, trouble: Trouble) {
        *self.shared.trouble.lock().unwrap() = trouble;
        if trouble != Trouble::Hangs {
            let held = std::mem::take(&mut *self.shared.held.lock().unwrap());
            held.into_iter().for_each(|go_on| go_on());
        }
    }

    /// Operations that were troubled.
    pub fn n_troubled(&self) -> u64 {
        self.shared.n_troubled.load(Ordering::SeqCst)
    }

    /// Operations that hang now.
    pub fn n_hanging(&self) -> usize {
        self.shared.held.lock().unwrap().len()
    }
}

impl Drop for FaultyDir {
    fn drop(&mut self) {
        self.set(Trouble::None);
        super::mounts::clear(&self.path());
        drop(self.session.take());
    }
}

struct Files(Arc<Shared>);

impl Files {
    /// Does an operation, now or when nothing hangs any more; it is told the errno with which it has to fail, if any.
    fn run(&self, name: &'static str, operation: impl FnOnce(&Shared, Option<Errno>) + Send + 'static) {
        let trouble = *self.0.trouble.lock().unwrap();
        match trouble {
            Trouble::Hangs => {
                self.0.n_troubled.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&self.0);
                self.0.held.lock().unwrap().push(Box::new(move || operation(&shared, None)));
            }
            Trouble::Fails(what, errno) if what == name => {
                self.0.n_troubled.fetch_add(1, Ordering::SeqCst);
                operation(&self.0, Some(Errno::from_i32(errno)));
            }
            Trouble::None | Trouble::Fails(..) | Trouble::ShortWrites => operation(&self.0, None),
        }
    }
}

impl Tree {
    fn attr(&self, number: u64) -> Result<FileAttr, Errno> {
        let (node, time, mode) = self.nodes.get(&number).ok_or(Errno::ENOENT)?;
        let (kind, size) = match node {
            Node::Directory(_) => (FileType::Directory, 0),
            Node::File(bytes) => (FileType::RegularFile, bytes.len() as u64),
        };
        Ok(FileAttr {
            ino: INodeNo(number),
            size,
            blocks: size.div_ceil(512),
            atime: *time,
            mtime: *time,
            ctime: *time,
            crtime: *time,
            kind,
            perm: *mode,
            nlink: 1,
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn children(&mut self, directory: u64) -> Result<&mut BTreeMap<OsString, u64>, Errno> {
        match self.nodes.get_mut(&directory) {
            Some((Node::Directory(children), ..)) => Ok(children),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn find(&mut self, directory: u64, name: &OsStr) -> Result<u64, Errno> {
        self.children(directory)?.get(name).copied().ok_or(Errno::ENOENT)
    }

    fn add(&mut self, directory: u64, name: OsString, node: Node, mode: u32) -> Result<FileAttr, Errno> {
        if self.find(directory, &name).is_ok() {
            return Err(Errno::EEXIST);
        }
        let number = self.next;
        self.next += 1;
        self.children(directory)?.insert(name, number);
        self.nodes.insert(number, (node, SystemTime::now(), u16::try_from(mode & 0o7777).unwrap()));
        self.attr(number)
    }

    fn bytes(&mut self, number: u64) -> Result<&mut Vec<u8>, Errno> {
        match self.nodes.get_mut(&number) {
            Some((Node::File(bytes), ..)) => Ok(bytes),
            _ => Err(Errno::EISDIR),
        }
    }
}

/// Nothing is remembered by the kernel, so that each operation comes here.
const AT_ONCE: Duration = Duration::ZERO;

fn entry(reply: ReplyEntry, found: Result<FileAttr, Errno>) {
    match found {
        Ok(attr) => reply.entry(&AT_ONCE, &attr, Generation(0)),
        Err(errno) => reply.error(errno),
    }
}

fn empty(reply: ReplyEmpty, done: Result<(), Errno>) {
    match done {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

fn ok_unless(failure: Option<Errno>) -> Result<(), Errno> {
    failure.map_or(Ok(()), Err)
}

impl Filesystem for Files {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.to_owned();
        self.run("lookup", move |shared, failure| {
            let mut tree = shared.tree.lock().unwrap();
            let found = ok_unless(failure).and_then(|()| tree.find(parent.0, &name));
            entry(reply, found.and_then(|number| tree.attr(number)));
        });
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.run("getattr", move |shared, failure| {
            match ok_unless(failure).and_then(|()| shared.tree.lock().unwrap().attr(ino.0)) {
                Ok(attr) => reply.attr(&AT_ONCE, &attr),
                Err(errno) => reply.error(errno),
            }
        });
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        self.run("setattr", move |shared, failure| {
            let mut tree = shared.tree.lock().unwrap();
            let done = ok_unless(failure).and_then(|()| match size {
                Some(size) => tree.bytes(ino.0).map(|bytes| bytes.resize(usize::try_from(size).unwrap(), 0)),
                None => Ok(()),
            });
            match done.and_then(|()| tree.attr(ino.0)) {
                Ok(attr) => reply.attr(&AT_ONCE, &attr),
                Err(errno) => reply.error(errno),
            }
        });
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        let name = name.to_owned();
        self.run("mkdir", move |shared, failure| {
            let mut tree = shared.tree.lock().unwrap();
            let node = Node::Directory(BTreeMap::new());
            entry(reply, ok_unless(failure).and_then(|()| tree.add(parent.0, name, node, mode)));
        });
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_owned();
        self.run("unlink", move |shared, failure| {
            let mut tree = shared.tree.lock().unwrap();
            let found = ok_unless(failure).and_then(|()| tree.children(parent.0));
            empty(reply, found.and_then(|children| children.remove(&name).map(drop).ok_or(Errno::ENOENT)));
        });
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (name, new_name) = (name.to_owned(), new_name.to_owned());
        self.run("rename", move |shared, failure| {
            let mut tree = shared.tree.lock().unwrap();
            let renamed = ok_unless(failure).and_then(|()| {
                let number = tree.children(parent.0)?.remove(&name).ok_or(Errno::ENOENT)?;
                tree.children(new_parent.0)?.insert(new_name, number);
                Ok(())
            });
            empty(reply, renamed);
        });
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.run("open", move |_, failure| match failure {
            None => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            Some(errno) => reply.error(errno),
        });
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, _: i32, reply: ReplyCreate) {
        let name = name.to_owned();
        self.run("create", move |shared, failure| {
            let mut tree = shared.tree.lock().unwrap();
            match ok_unless(failure).and_then(|()| tree.add(parent.0, name, Node::File(Vec::new()), mode)) {
                Ok(attr) => {
                    reply.created(&AT_ONCE, &attr, Generation(0), FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
                }
                Err(errno) => reply.error(errno),
            }
        });
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.run("read", move |shared, failure| {
            let mut tree = shared.tree.lock().unwrap();
            match ok_unless(failure).and_then(|()| tree.bytes(ino.0)) {
                Ok(bytes) => {
                    let begin = usize::try_from(offset).unwrap().min(bytes.len());
                    reply.data(&bytes[begin..bytes.len().min(begin + size as usize)]);
                }
                Err(errno) => reply.error(errno),
            }
        });
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut data = data.to_owned();
        let is_short = *self.0.trouble.lock().unwrap() == Trouble::ShortWrites;
        if is_short {
            self.0.n_troubled.fetch_add(1, Ordering::SeqCst);
            if data.len() < 2 || offset > 0 {
                return reply.error(Errno::EIO);
            }
            data.truncate(data.len() / 2);
        }
        self.run("write", move |shared, failure| {
            let mut tree = shared.tree.lock().unwrap();
            match ok_unless(failure).and_then(|()| tree.bytes(ino.0)) {
                Ok(bytes) => {
                    let begin = usize::try_from(offset).unwrap();
                    bytes.resize(bytes.len().max(begin + data.len()), 0);
                    bytes[begin..begin + data.len()].copy_from_slice(&data);
                    reply.written(u32::try_from(data.len()).unwrap());
                }
                Err(errno) => reply.error(errno),
            }
        });
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        self.run("readdir", move |shared, failure| {
            let mut tree = shared.tree.lock().unwrap();
            match ok_unless(failure).and_then(|()| tree.children(ino.0).cloned()) {
                Ok(children) => {
                    for (n, (name, number)) in children.iter().enumerate().skip(usize::try_from(offset).unwrap()) {
                        let is_directory = matches!(tree.nodes.get(number), Some((Node::Directory(_), ..)));
                        let kind = if is_directory { FileType::Directory } else { FileType::RegularFile };
                        if reply.add(INodeNo(*number), n as u64 + 1, kind, name) {
                            break;
                        }
                    }
                    reply.ok();
                }
                Err(errno) => reply.error(errno),
            }
        });
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        self.run("statfs", move |_, failure| match failure {
            None => reply.statfs(1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20, 4096, 255, 4096),
            Some(errno) => reply.error(errno),
        });
    }
}

/// An error of the device.
pub const EIO: i32 = libc::EIO;
