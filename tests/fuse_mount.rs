//! Real mounts of a small tree: what the kernel makes of our answers, and how a mount lives and ends.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::cast_possible_truncation)]

mod mounts;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use dvidfs::fuse::{self, Ending, MountOptions, Serve, Stopper};
use dvidfs::metrics::{Counter, Metrics};
use dvidfs::vfs::{Attributes, ByteRange, Caching, DirEntry, Error, Lasting, Opened, ThenBytes, Totals};

use mounts::{Scratch, alone, can_mount, clear, connections};

/// No step of these tests may take longer.
const LIMIT: Duration = Duration::from_secs(20);

const ROOT: u64 = 1;
const STEADY: u64 = 2;
const CHANGING: u64 = 3;
const SLOW: u64 = 4;
const BAD: u64 = 5;
const PANIC: u64 = 6;
const DROPPED: u64 = 7;
const LONG: u64 = 8;
const SLOW_CHANGING: u64 = 9;
/// A directory of very many names, and one that is too large to list.
const MANY: u64 = 100;
const HUGE: u64 = 101;
const FIRST_OF_MANY: u64 = 1 << 40;
const N_MANY: u64 = 20_000;

const FILES: [(&str, u64); 8] = [
    ("steady", STEADY),
    ("changing", CHANGING),
    ("slow", SLOW),
    ("bad", BAD),
    ("panic", PANIC),
    ("dropped", DROPPED),
    ("long", LONG),
    ("slow-changing", SLOW_CHANGING),
];
const FILE_BYTES: u64 = 3 * 1024 * 1024 + 77;

/// The byte of every file at an offset.
fn byte_at(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

fn bytes_of(range: std::ops::Range<u64>) -> Vec<u8> {
    range.map(byte_at).collect()
}

/// A tree whose reads can be held back.
#[derive(Debug, Default)]
struct FakeTree {
    held: Mutex<Vec<Held>>,
    calls: Mutex<HashMap<&'static str, u64>>,
    next_fh: AtomicU64,
}

struct Held(ByteRange, ThenBytes);

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl FakeTree {
    fn count(&self, call: &'static str) {
        *self.calls.lock().unwrap().entry(call).or_default() += 1;
    }

    fn calls(&self, call: &str) -> u64 {
        self.calls.lock().unwrap().get(call).copied().unwrap_or(0)
    }

    fn n_held(&self) -> usize {
        self.held.lock().unwrap().len()
    }

    /// Answers all reads that are held back.
    fn let_go(&self) {
        let held = std::mem::take(&mut *self.held.lock().unwrap());
        for Held(range, then) in held {
            then(Ok(answer(range)));
        }
    }
}

fn answer(range: ByteRange) -> Vec<u8> {
    bytes_of(range.offset.min(FILE_BYTES)..(range.offset + u64::from(range.size)).min(FILE_BYTES))
}

fn attributes_of(ino: u64) -> Result<(Attributes, Lasting), Error> {
    let is_dir = matches!(ino, ROOT | MANY | HUGE);
    let known =
        is_dir || FILES.iter().any(|&(_, file)| file == ino) || (FIRST_OF_MANY..FIRST_OF_MANY + N_MANY).contains(&ino);
    if !known {
        return Err(Error::NoSuchInode(ino));
    }
    let size = if is_dir { 0 } else { FILE_BYTES };
    let lasting = match ino {
        CHANGING | SLOW_CHANGING => Lasting::For(Duration::ZERO),
        _ => Lasting::Forever,
    };
    let nlink = if is_dir { 2 } else { 1 };
    Ok((Attributes { ino, size, blocks: size.div_ceil(512), mtime_s: 1_700_000_000, is_dir, nlink }, lasting))
}

impl Serve for FakeTree {
    fn lookup(&self, parent: u64, name: &OsStr) -> Result<(Attributes, Lasting), Error> {
        self.count("lookup");
        let name = name.to_str().ok_or(Error::NoSuchName)?;
        let ino = match parent {
            ROOT => match name {
                "many" => Some(MANY),
                "huge" => Some(HUGE),
                _ => FILES.iter().find(|(file, _)| *file == name).map(|&(_, ino)| ino),
            },
            MANY => name.strip_prefix("name-").and_then(|n| n.parse::<u64>().ok()).map(|n| FIRST_OF_MANY + n),
            _ => None,
        };
        attributes_of(ino.ok_or(Error::NoSuchName)?)
    }

    fn attributes(&self, ino: u64) -> Result<(Attributes, Lasting), Error> {
        self.count("attributes");
        attributes_of(ino)
    }

    fn read_dir(&self, ino: u64, cookie: u64, visit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<(), Error> {
        self.count("read_dir");
        let mut names = vec![(".".to_owned(), ino), ("..".to_owned(), ROOT)];
        match ino {
            ROOT => {
                names.extend(FILES.iter().map(|&(name, ino)| (name.to_owned(), ino)));
                names.extend([("many".to_owned(), MANY), ("huge".to_owned(), HUGE)]);
            }
            MANY => names.extend((0..N_MANY).map(|n| (format!("name-{n}"), FIRST_OF_MANY + n))),
            HUGE => return Err(Error::TooManyNames { n_names: 1 << 40 }),
            _ => return Err(Error::NotADirectory),
        }
        for (at, (name, ino)) in (0_u64..).zip(&names).skip(usize::try_from(cookie).unwrap()) {
            let (attributes, lasting) = attributes_of(*ino)?;
            if !visit(DirEntry { name: OsStr::new(name), next_cookie: at + 1, attributes, lasting }) {
                break;
            }
        }
        Ok(())
    }

    fn open(&self, ino: u64) -> Result<Opened, Error> {
        self.count("open");
        let caching = if matches!(ino, CHANGING | SLOW_CHANGING) { Caching::Direct } else { Caching::Keep };
        Ok(Opened { fh: self.next_fh.fetch_add(1, Ordering::SeqCst) + 1, caching })
    }

    fn open_dir(&self, _ino: u64) -> Result<Caching, Error> {
        self.count("open_dir");
        Ok(Caching::Keep)
    }

    fn release(&self, fh: u64) {
        assert!(fh > 0, "a release names the handle that open gave");
        self.count("release");
    }

    fn read(&self, ino: u64, _fh: u64, range: ByteRange, then: ThenBytes) {
        self.count("read");
        match ino {
            SLOW | SLOW_CHANGING => self.held.lock().unwrap().push(Held(range, then)),
            BAD => then(Err(Error::ShuttingDown)),
            PANIC => panic!("a handler of this test panics"),
            DROPPED => drop(then),
            LONG => then(Ok(vec![1; range.size as usize + 1])),
            _ => then(Ok(answer(range))),
        }
    }

    fn refused(&self, _ino: u64, _range: ByteRange, error: &Error) {
        self.count(error.code());
    }

    fn statfs(&self) -> Totals {
        Totals { total_bytes: 5 << 40, files: 12 }
    }
}

/// A mount in a scratch directory, which is gone with this value whatever became of it.
struct TestMount {
    directory: PathBuf,
    tree: Arc<FakeTree>,
    metrics: Arc<Metrics>,
    stopper: Stopper,
    ending: Receiver<Ending>,
    connection: PathBuf,
    _scratch: Scratch,
    _limit: Sender<()>,
}

impl Drop for TestMount {
    /// A reader in this process that still waits, after a failure, would keep the process from ending: server and
    /// reader are one.
    fn drop(&mut self) {
        let _ = fs::write(self.connection.join("abort"), "1");
    }
}

/// Clears a mount that is still there at the limit, so that a test that hangs in it fails.
fn clear_at_limit(mountpoint: PathBuf) -> Sender<()> {
    let (done, is_done) = channel();
    thread::spawn(move || {
        if is_done.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
            clear(&mountpoint);
        }
    });
    done
}

impl TestMount {
    fn new() -> Self {
        Self::with(Scratch::new(), &MountOptions { fsname: "host:8000/28841c".into(), ..MountOptions::default() })
    }

    fn with(scratch: Scratch, options: &MountOptions) -> Self {
        let (tree, metrics) = (Arc::new(FakeTree::default()), Arc::new(Metrics::default()));
        let served: Arc<dyn Serve> = Arc::<FakeTree>::clone(&tree);
        let mounted = fuse::mount(served, &scratch.mountpoint(), options, Arc::clone(&metrics)).unwrap();
        let (directory, stopper) = (mounted.mountpoint().to_owned(), mounted.stopper());
        let (ended, ending) = channel();
        thread::spawn(move || ended.send(mounted.run()));
        let limit = clear_at_limit(directory.clone());
        let entry = fuse::mounts().unwrap().into_iter().find(|entry| entry.mount_point == directory).unwrap();
        let connection = connections().join(entry.connection().unwrap());
        Self { directory, tree, metrics, stopper, ending, connection, _scratch: scratch, _limit: limit }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn is_mounted(&self) -> bool {
        fuse::mounts().unwrap().iter().any(|entry| entry.mount_point == self.directory)
    }

    fn entry(&self) -> fuse::MountEntry {
        fuse::mounts().unwrap().into_iter().find(|entry| entry.mount_point == self.directory).unwrap()
    }

    fn ended(&self) -> Ending {
        self.ending.recv_timeout(LIMIT).expect("the mount ends in time")
    }

    fn stop(&self) {
        self.stopper.stop();
        assert_eq!(self.ended(), Ending::Stopped);
        assert!(!self.is_mounted());
    }

    /// A `dd` that reads a piece of a file that nobody has read before, and waits for it.
    fn reader(&self, name: &str, piece: usize) -> Child {
        let input = format!("if={}", self.path(name).display());
        let mut command = Command::new("dd");
        command.args([&input, "of=/dev/null", "bs=64K", "count=1", &format!("skip={}", piece * 16)]);
        let reader = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let before = Instant::now();
        while self.tree.n_held() == 0 {
            assert!(before.elapsed() < LIMIT, "the read arrives");
            thread::sleep(Duration::from_millis(5));
        }
        reader
    }
}

/// Runs something on a thread of its own, so that a hang fails this test instead of all.
fn timed<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = channel();
    thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(LIMIT).expect("done in time")
}

fn errno(result: io::Result<impl Sized>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn every_byte_arrives_and_nothing_can_be_changed() {
    if !can_mount() {
        return;
    }
    let _alone = alone();
    let mount = TestMount::new();
    let entry = mount.entry();
    assert_eq!((entry.fs_type.as_str(), entry.source.as_str()), ("fuse.dvidfs", "host:8000/28841c"));
    for name in ["steady", "changing"] {
        let path = mount.path(name);
        let read = timed(move || fs::read(path).unwrap());
        assert!(read == bytes_of(0..FILE_BYTES), "{name}");
        let file = File::open(mount.path(name)).unwrap();
        for (offset, size) in [(0, 1), (4095, 3), (131_071, 70_001), (FILE_BYTES - 5, 5)] {
            let mut bytes = vec![0; size];
            file.read_exact_at(&mut bytes, offset).unwrap();
            assert_eq!(bytes, bytes_of(offset..offset + size as u64), "{name} {offset}");
        }
        assert_eq!(file.read_at(&mut [0; 9], FILE_BYTES).unwrap(), 0, "{name}");
        assert_eq!(file.read_at(&mut [0; 9], FILE_BYTES - 2).unwrap(), 2, "{name}");
    }
    let metadata = fs::metadata(mount.path("steady")).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.size(), metadata.blocks()), (0o444, FILE_BYTES, 6145));
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mtime()), (nix_uid(), nix_gid(), 1_700_000_000));
    assert_eq!(fs::metadata(&mount.directory).unwrap().mode() & 0o7777, 0o555);
    assert_eq!(errno(fs::write(mount.path("new"), "x")), Some(libc::EROFS));
    assert_eq!(errno(fs::create_dir(mount.path("new"))), Some(libc::EROFS));
    assert_eq!(errno(fs::remove_file(mount.path("steady"))), Some(libc::EROFS));
    assert_eq!(errno(fs::rename(mount.path("steady"), mount.path("new"))), Some(libc::EROFS));
    assert_eq!(errno(File::options().append(true).open(mount.path("steady"))), Some(libc::EROFS));
    let disk = Command::new("stat").args(["-f", "-c", "%b %s %l %c"]).arg(&mount.directory).output().unwrap();
    assert_eq!(String::from_utf8(disk.stdout).unwrap().trim(), "1342177280 4096 255 12");
    mount.stop();
}

fn nix_uid() -> u32 {
    nix::unistd::getuid().as_raw()
}

fn nix_gid() -> u32 {
    nix::unistd::getgid().as_raw()
}

#[test]
fn what_is_for_ever_is_asked_for_once() {
    if !can_mount() {
        return;
    }
    let _alone = alone();
    let mount = TestMount::new();
    for _ in 0..3 {
        fs::read(mount.path("steady")).unwrap();
    }
    let reads = mount.tree.calls("read");
    fs::read(mount.path("steady")).unwrap();
    assert_eq!(mount.tree.calls("read"), reads, "the page cache outlives an open");
    assert_eq!(mount.tree.calls("lookup"), 1);
    for _ in 0..5 {
        assert_eq!(errno(fs::metadata(mount.path("absent"))), Some(libc::ENOENT));
    }
    assert_eq!(mount.tree.calls("lookup"), 2, "the kernel remembers that a name does not exist");
    let reads = mount.tree.calls("read");
    fs::read(mount.path("changing")).unwrap();
    let once = mount.tree.calls("read") - reads;
    fs::read(mount.path("changing")).unwrap();
    assert_eq!(mount.tree.calls("read") - reads, 2 * once, "a changing file is read anew at each open");
    let before = Instant::now();
    while mount.tree.calls("release") < mount.tree.calls("open") {
        assert!(before.elapsed() < LIMIT, "each open is released");
        thread::sleep(Duration::from_millis(5));
    }
    mount.stop();
}

#[test]
fn a_listing_is_complete_or_an_error() {
    if !can_mount() {
        return;
    }
    let _alone = alone();
    let mount = TestMount::new();
    let many = mount.path("many");
    for _ in 0..2 {
        let many = many.clone();
        let mut numbers: Vec<u64> = timed(move || {
            let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
            fs::read_dir(many).unwrap().map(|entry| name(entry)["name-".len()..].parse().unwrap()).collect()
        });
        numbers.sort_unstable();
        assert!(numbers == (0..N_MANY).collect::<Vec<_>>());
    }
    let with_dots = Command::new("ls").args(["-aU"]).arg(&mount.directory).output().unwrap();
    let with_dots = String::from_utf8(with_dots.stdout).unwrap();
    assert_eq!(with_dots.lines().take(3).collect::<Vec<_>>(), [".", "..", "steady"]);
    let long = Command::new("ls").arg("-l").arg(&mount.directory).output().unwrap();
    assert_eq!(String::from_utf8(long.stdout).unwrap().lines().count(), 1 + FILES.len() + 2);
    let huge: Vec<_> = fs::read_dir(mount.path("huge")).unwrap().collect();
    assert_eq!(huge.into_iter().map(errno).collect::<Vec<_>>(), [Some(libc::EFBIG)]);
    mount.stop();
}

#[test]
fn a_failure_is_an_error_to_its_reader_alone() {
    if !can_mount() {
        return;
    }
    let _alone = alone();
    let mount = TestMount::new();
    for round in 1..=5 {
        for name in ["bad", "panic", "dropped", "long"] {
            let path = mount.path(name);
            assert_eq!(timed(move || errno(fs::read(path))), Some(libc::EIO), "{name} {round}");
        }
    }
    assert!(mount.metrics.get(Counter::Panics) >= 5, "each panic is counted");
    let told = (mount.tree.calls("abandoned"), mount.tree.calls("bad_length"));
    assert!(told.0 >= 10 && told.1 >= 5, "failures that the tree does not know of are told to it: {told:?}");
    let path = mount.path("steady");
    assert!(timed(move || fs::read(path).unwrap()) == bytes_of(0..FILE_BYTES), "all threads still serve");
    mount.stop();
}

#[test]
fn slow_reads_delay_no_other() {
    if !can_mount() {
        return;
    }
    let _alone = alone();
    let mount = TestMount::new();
    let slow: Vec<_> = (0..64)
        .map(|n| {
            let path = mount.path("slow-changing");
            thread::spawn(move || {
                let mut bytes = vec![0; 1000];
                File::open(path).unwrap().read_exact_at(&mut bytes, n * 40_000).map(|()| bytes)
            })
        })
        .collect();
    let before = Instant::now();
    while mount.tree.n_held() < 64 {
        assert!(before.elapsed() < LIMIT, "all reads are parked at once");
        thread::sleep(Duration::from_millis(5));
    }
    let path = mount.path("steady");
    let before = Instant::now();
    assert!(timed(move || fs::read(path).unwrap()) == bytes_of(0..FILE_BYTES));
    assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());
    thread::sleep(Duration::from_millis(300));
    mount.tree.let_go();
    for (n, reader) in (0..).zip(slow) {
        assert_eq!(reader.join().unwrap().unwrap(), bytes_of(n * 40_000..n * 40_000 + 1000), "{n}");
    }
    assert_eq!(mount.metrics.get(Counter::KilledReads), 0);
    mount.stop();
}

#[test]
fn a_killed_reader_is_gone_at_once() {
    if !can_mount() {
        return;
    }
    let _alone = alone();
    let mount = TestMount::new();
    for (piece, signal) in ["KILL", "TERM"].into_iter().enumerate() {
        for name in ["slow", "slow-changing"] {
            let mut reader = mount.reader(name, piece);
            thread::sleep(Duration::from_millis(150));
            let before = Instant::now();
            Command::new("kill").args(["-s", signal, &reader.id().to_string()]).status().unwrap();
            reader.wait().unwrap();
            let gone = before.elapsed();
            assert!(gone < Duration::from_millis(500), "{signal} {name}: gone after {gone:?}");
            mount.tree.let_go();
        }
    }
    assert!(mount.metrics.get(Counter::KilledReads) >= 2, "the direct readers needed our answer");
    mount.stop();
}

#[test]
fn who_waits_for_the_pages_of_a_reader_that_is_gone_gets_their_bytes() {
    if !can_mount() {
        return;
    }
    let _alone = alone();
    let mount = TestMount::new();
    let mut killed = mount.reader("slow", 0);
    let path = mount.path("slow");
    let (sender, alive) = channel();
    thread::spawn(move || {
        let mut bytes = vec![0; 100_000];
        let read = File::open(path).unwrap().read_exact_at(&mut bytes, 0);
        sender.send(read.map(|()| bytes))
    });
    thread::sleep(Duration::from_millis(150));
    killed.kill().unwrap();
    killed.wait().unwrap();
    thread::sleep(Duration::from_millis(300));
    let before = Instant::now();
    let read = loop {
        mount.tree.let_go();
        match alive.recv_timeout(Duration::from_millis(20)) {
            Ok(read) => break read,
            Err(_) => assert!(before.elapsed() < LIMIT, "the other reader goes on"),
        }
    };
    assert!(read.unwrap() == bytes_of(0..100_000));
    assert!(mount.metrics.get(Counter::KilledReads) > 0, "its own reads were given up");
    mount.stop();
}

#[test]
fn a_mount_of_another_user_is_told_to_be_theirs() {
    let setpriv = |args: &[&str]| Command::new("setpriv").args(["--reuid=65534", "--clear-groups"]).args(args).output();
    if !can_mount() || nix_uid() != 0 || !setpriv(&["true"]).is_ok_and(|output| output.status.success()) {
        return;
    }
    let _alone = alone();
    let mount = TestMount::new();
    // All may pass the scratch directory, and run the program from a place that they can reach.
    let open = |path: &std::path::Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    open(mount.directory.parent().unwrap());
    let program = tempfile::tempdir().unwrap();
    open(program.path());
    let copy = program.path().join("dvidfs");
    fs::copy(env!("CARGO_BIN_EXE_dvidfs"), &copy).unwrap();
    let below = mount.directory.join("below");
    for (command, path, words) in [
        ("umount", &mount.directory, "is a mount of root: only they or root can unmount it"),
        (
            "check",
            &mount.directory,
            "is a mount of root, who alone may read it: ask as root, or mount it with --allow-other",
        ),
        ("check", &below, "is a mount of root, who alone may read it"),
    ] {
        let output = setpriv(&[copy.to_str().unwrap(), command, path.to_str().unwrap()]).unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(32), "{said}");
        assert!(said.contains(words), "{said}");
    }
    assert!(mount.is_mounted());
    mount.stop();
}

#[test]
fn a_stop_lets_readers_finish_or_fail_but_never_miss() {
    if !can_mount() {
        return;
    }
    let _alone = alone();
    for answered in [true, false] {
        let mount = TestMount::new();
        let path = mount.path("slow-changing");
        let waiting = thread::spawn(move || fs::read(path));
        while mount.tree.n_held() == 0 {
            thread::sleep(Duration::from_millis(5));
        }
        let open = File::open(mount.path("changing")).unwrap();
        let before = Instant::now();
        mount.stopper.stop();
        thread::sleep(Duration::from_millis(200));
        assert_eq!(errno(open.read_at(&mut [0; 8], 0)), Some(libc::EIO), "new reads are refused");
        assert!(fs::metadata(mount.path("steady")).is_ok(), "names stay until the readers have their answers");
        drop(open);
        if answered {
            mount.tree.let_go();
        }
        let ending = mount.ended();
        assert_eq!(ending, Ending::Stopped);
        assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
        // The first piece may have come; the rest is refused. It never reads as the end of the file.
        assert_eq!(errno(waiting.join().unwrap()), Some(libc::EIO), "answered: {answered}");
        assert!(!mount.is_mounted());
    }
}

#[test]
fn a_second_request_to_stop_waits_for_nobody() {
    if !can_mount() {
        return;
    }
    let _alone = alone();
    let mount = TestMount::new();
    let path = mount.path("slow-changing");
    let waiting = thread::spawn(move || fs::read(path));
    while mount.tree.n_held() == 0 {
        thread::sleep(Duration::from_millis(5));
    }
    mount.stopper.stop();
    thread::sleep(Duration::from_millis(100));
    let before = Instant::now();
    mount.stopper.stop();
    assert_eq!(mount.ended(), Ending::Stopped);
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
    assert_eq!(errno(waiting.join().unwrap()), Some(libc::EIO));
}

#[test]
fn somebody_else_may_unmount() {
    if !can_mount() {
        return;
    }
    let _alone = alone();
    let mount = TestMount::new();
    let open = File::open(mount.path("steady")).unwrap();
    let umount = |mount: &TestMount| Command::new("umount").arg(&mount.directory).output().unwrap().status;
    assert!(!umount(&mount).success(), "a mount in use stays");
    assert!(fuse::unmount(&mount.directory, false).unwrap_err().to_string().contains("add --lazy"));
    drop(open);
    assert!(umount(&mount).success());
    assert_eq!(mount.ended(), Ending::Unmounted);

    let mount = TestMount::new();
    fuse::unmount(&mount.directory, false).unwrap();
    assert_eq!(mount.ended(), Ending::Unmounted);

    let mount = TestMount::new();
    let mut open = File::open(mount.path("changing")).unwrap();
    fuse::unmount(&mount.directory, true).unwrap();
    assert!(!mount.is_mounted());
    let mut bytes = Vec::new();
    open.read_to_end(&mut bytes).unwrap();
    assert!(bytes == bytes_of(0..FILE_BYTES), "who has a file open reads it to its end");
    drop(open);
    assert_eq!(mount.ended(), Ending::Unmounted);
}

#[test]
fn an_aborted_mount_stays_visible_and_can_be_replaced() {
    if !can_mount() || nix_uid() != 0 {
        return;
    }
    let _alone = alone();
    let mount = TestMount::new();
    let connection = mount.entry().connection().unwrap().to_owned();
    fs::write(connections().join(connection).join("abort"), "1").unwrap();
    assert_eq!(mount.ended(), Ending::Aborted);
    assert_eq!(errno(fs::metadata(mount.path("steady"))), Some(libc::ENOTCONN));
    assert_eq!(errno(fs::read_dir(&mount.directory)), Some(libc::ENOTCONN));

    let again = |replace| {
        let options = MountOptions { replace, ..MountOptions::default() };
        let tree: Arc<dyn Serve> = Arc::new(FakeTree::default());
        fuse::mount(tree, &mount.directory, &options, Arc::default())
    };
    let refused = again(false).unwrap_err().to_string();
    assert!(refused.contains("dead dvidfs mount") && refused.contains("--replace"), "{refused}");
    let replaced = again(true).unwrap();
    assert!(fs::metadata(mount.path("steady")).is_ok());
    let refused = again(true).unwrap_err().to_string();
    assert!(refused.contains("already has a dvidfs mount"), "a live mount is never replaced: {refused}");
    replaced.stopper().stop();
    assert_eq!(replaced.run(), Ending::Stopped);
    assert!(!mount.is_mounted());
}

#[test]
fn a_stop_leaves_the_mount_of_somebody_else_alone() {
    if !can_mount() {
        return;
    }
    let _alone = alone();
    let first = TestMount::new();
    let open = File::open(first.path("steady")).unwrap();
    fuse::unmount(&first.directory, true).unwrap();
    let tree: Arc<dyn Serve> = Arc::new(FakeTree::default());
    let second = fuse::mount(tree, &first.directory, &MountOptions::default(), Arc::default()).unwrap();
    first.stopper.stop();
    assert_eq!(first.ended(), Ending::Stopped);
    drop(open);
    assert!(fs::metadata(first.path("steady")).is_ok(), "the newer mount at the same directory still serves");
    second.stopper().stop();
    assert_eq!(second.run(), Ending::Stopped);
}

#[test]
fn direct_and_mapped_reads_give_the_same_bytes() {
    if !can_mount() {
        return;
    }
    let _alone = alone();
    let mount = TestMount::new();
    let path = mount.path("steady");
    let read = timed(move || {
        let mut bytes = Vec::new();
        File::options().read(true).custom_flags(libc::O_DIRECT).open(path).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    });
    assert!(read == bytes_of(0..FILE_BYTES));
    mount.stop();
}
