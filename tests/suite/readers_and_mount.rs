//! Readers that are killed, interrupted or many; mounts that are taken away under them; and who may not read: H3-H20.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use dvidfs::demo::{Dataset, Demo, DemoOptions, Fault, FaultKind, VERSIONS};
use dvidfs::geometry::{Coordinate, Scale, VoxelBox};
use nix::libc;
use nix::sys::signal::Signal;

use crate::support::{
    Mounted, Scratch, Survival, can_mount, chunk_files, chunk_of, compare, figure, file_values, is_long, levels,
    survival, time_limit,
};

const OPTIONS: [&str; 3] = ["--settle", "0", "--no-prefetch"];

fn dataset() -> Dataset {
    Dataset::test().only(&["gray", "u16"])
}

fn demo() -> Demo {
    Demo::start(DemoOptions { dataset: dataset(), ..DemoOptions::default() }).unwrap()
}

fn source(demo: &Demo) -> String {
    format!("{}/{}", demo.origin(), VERSIONS[0].uuid)
}

fn files(mounted: &Mounted) -> Vec<(PathBuf, Vec<u8>)> {
    chunk_files(&mounted.root(), &dataset(), 0, "gray")
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn skipped(fault: &str, why: &str) {
    crate::support::skipped(&format!("fault {fault}: {why}"));
}

fn python(script: &str, words: &[&Path]) -> Command {
    let mut command = Command::new("python3");
    command.arg("-c").arg(script).args(words);
    command
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn dvidfs(words: &[&str]) -> Output {
    run(Command::new(env!("CARGO_BIN_EXE_dvidfs")).env_remove("DVID_TOKEN_FILE").args(words))
}

fn hang() -> Fault {
    Fault::always("blocks", FaultKind::HangBeforeHeaders { ms: 3_600_000 })
}

/// Reads by the C library under an alarm each 20 ms, past what the kernel keeps: prints how often a read was interrupted.
const ALARMED: &str = r#"
import ctypes, mmap, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
signal.signal(signal.SIGALRM, lambda *_: None)
signal.siginterrupt(signal.SIGALRM, True)
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
descriptor = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
size = os.fstat(descriptor).st_size
buffer = mmap.mmap(-1, size + 4096)
address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
interrupted = at = 0
while at < size:
    n = libc.pread(descriptor, ctypes.c_void_p(address + at), ctypes.c_size_t(65536), ctypes.c_long(at))
    if n < 0 and ctypes.get_errno() == 4:
        interrupted += 1
    elif n <= 0:
        sys.exit("read: %d, errno %d" % (n, ctypes.get_errno()))
    else:
        at += n
signal.setitimer(signal.ITIMER_REAL, 0)
open(sys.argv[2], "wb").write(buffer[:size])
print(interrupted)
"#;

#[test]
fn an_alarm_interrupts_no_read() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let demo = demo();
    let mut mounted = Mounted::new(&source(&demo), &OPTIONS);
    let files = files(&mounted);
    let survival = Survival::begin("H3", &mounted);
    demo.set_delay(Duration::from_millis(300));
    let place = tempfile::tempdir().unwrap();
    let mut compared = 0;
    let n_reads = if is_long() { 100 } else { 10 };
    for (n, (path, expected)) in files.iter().cycle().take(n_reads).enumerate() {
        let copy = place.path().join(n.to_string());
        let output = run(&mut python(ALARMED, &[path, &copy]));
        assert_eq!((output.status.code(), said(&output).trim()), (Some(0), "0"), "H3: interrupted reads");
        assert!(fs::read(&copy).unwrap() == *expected, "H3: {} differs", path.display());
        compared += expected.len() as u64;
    }
    assert!(demo.count("/gray/") >= 10);
    figure(
        "R7",
        format!("{n_reads} of {n_reads} reads under SIGALRM each 20 ms right, 0 EINTR"),
        "100 of 100, 0 EINTR",
    );
    survival.end(&mut mounted, 10, &[], compared);
}

#[test]
fn a_thousand_readers_of_a_thousand_blocks_take_turns() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let demo = Demo::start(DemoOptions { dataset: Dataset::large(), ..DemoOptions::default() }).unwrap();
    let mut mounted = Mounted::new(&source(&demo), &OPTIONS);
    let level = &levels(&mounted.root().join("grayscale"))[0];
    let spec = demo.dataset().instance("grayscale").unwrap();
    let pages: Vec<_> = (0..1000)
        .map(|n| {
            let chunk = chunk_of(level, Coordinate::new(5 + n / 100, n / 10 % 10, n % 10));
            // The first page is the first plane of 64 x 64.
            let plane = VoxelBox::from_shape(chunk.voxels.begin(), Coordinate::new(1, 64, 64)).unwrap();
            (chunk.path, file_values(demo.dataset(), 0, &spec, Scale::FULL, false, plane))
        })
        .collect();
    let survival = Survival::begin("H5", &mounted);
    let before = demo.count("subvolblocks");
    std::thread::scope(|scope| {
        for (path, expected) in &pages {
            let read = move || {
                let mut bytes = vec![0; expected.len()];
                fs::File::open(path).unwrap().read_exact_at(&mut bytes, 0).unwrap();
                assert!(bytes == *expected, "H5: {} differs", path.display());
            };
            std::thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, read).unwrap();
        }
    });
    let (_, most) = demo.in_flight();
    let n_requests = demo.count("subvolblocks") - before;
    figure("R13", format!("{n_requests} requests for 1,000 readers, {most} at once at most"), "8 at once at most");
    assert!(most <= 8, "H5: {most} at once");
    survival.end(&mut mounted, 1000, &[], 1000 * 4096);
}

#[test]
fn an_unmount_under_a_reader_is_refused_or_lets_it_finish_or_is_an_error() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let demo = demo();
    let mut mounted = Mounted::new(&source(&demo), &OPTIONS);
    let files = files(&mounted);
    let survival = Survival::begin("H7", &mounted);
    let open = fs::File::open(&files[0].0).unwrap();
    let mut n_refused = 0;
    for program in [&["umount"][..], &["fusermount3", "-u"], &[env!("CARGO_BIN_EXE_dvidfs"), "umount"]] {
        let Ok(output) = Command::new(program[0]).args(&program[1..]).arg(mounted.root()).output() else { continue };
        assert!(!output.status.success() && mounted.is_mounted(), "H7: {program:?}");
        n_refused += 1;
    }
    let mut bytes = vec![0; files[0].1.len()];
    open.read_exact_at(&mut bytes, 0).unwrap();
    assert!(bytes == files[0].1, "H7");
    survival.end(&mut mounted, n_refused, &[], bytes.len() as u64);
    drop(open);

    // Detached, while a read waits for the server: it gets its bytes, and the daemon ends.
    let (path, expected) = files[1].clone();
    demo.set_delay(Duration::from_millis(1500));
    let reader = std::thread::spawn(move || {
        let file = fs::File::open(path).unwrap();
        let mut bytes = vec![0; expected.len()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert!(bytes == expected, "H8");
        bytes.len() as u64
    });
    wait_until("H8: the reader waits", || mounted.now("parked_reads") > 0);
    let detach = if is_root() { &["umount", "-l"][..] } else { &["fusermount3", "-uz"] };
    assert!(Command::new(detach[0]).args(&detach[1..]).arg(mounted.root()).status().unwrap().success(), "H8");
    let compared = reader.join().unwrap();
    assert_eq!(mounted.wait_for_end(), Some(0), "H8");
    assert!(mounted.log().contains("code=\"unmounted\""), "H8: {}", mounted.log());
    survival::report("H8", compared);
    demo.set_delay(Duration::ZERO);

    if !is_root() {
        return skipped("H9", "needs root");
    }
    for by_force in [true, false] {
        let mut mounted = Mounted::new(&source(&demo), &OPTIONS);
        demo.set_faults(vec![hang()]);
        let path = files[2].0.strip_prefix(files[2].0.ancestors().nth(6).unwrap()).unwrap();
        let path = mounted.root().join(path);
        let reader = std::thread::spawn(move || fs::read(path).unwrap_err().raw_os_error());
        wait_until("H9: the reader waits", || mounted.now("parked_reads") > 0);
        if by_force {
            // In use, so it stays mounted; its connection is aborted all the same.
            let _ = Command::new("umount").arg("-f").arg(mounted.root()).stderr(Stdio::null()).status();
        } else {
            abort(&mounted.root());
        }
        let errno = reader.join().unwrap();
        assert!([Some(libc::ECONNABORTED), Some(libc::ENOTCONN)].contains(&errno), "H9: {errno:?}");
        assert_eq!(mounted.wait_for_end(), Some(0), "H9: {}", mounted.log());
        assert!(mounted.log().contains("code=\"aborted\""), "H9: {}", mounted.log());
        demo.set_faults(Vec::new());
    }
    survival::report("H9", 0);
}

fn abort(root: &Path) {
    let entry = dvidfs::fuse::mounts().unwrap().into_iter().rfind(|entry| entry.mount_point == root).unwrap();
    fs::write(format!("/sys/fs/fuse/connections/{}/abort", entry.connection().unwrap()), "1").unwrap();
}

#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_mapped_read_that_fails_ends_its_program_and_no_other() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let demo = demo();
    let mut mounted =
        Mounted::new(&source(&demo), &[&OPTIONS[..], &["--patience", "1s", "--time-scale", "0.02"]].concat());
    let files = files(&mounted);
    let compared = compare(&files[1..2]);
    let survival = Survival::begin("H10", &mounted);
    demo.set_faults(vec![hang()]);
    let map =
        "import mmap,sys; f=open(sys.argv[1],'rb'); m=mmap.mmap(f.fileno(),0,prot=mmap.PROT_READ); print(m[70000])";
    let output = run(&mut python(map, &[&files[0].0]));
    assert_eq!(output.status.signal(), Some(libc::SIGBUS), "H10: {}", said(&output));
    assert_eq!(compare(&files[1..2]), compared, "H10: others are unharmed");
    demo.set_faults(Vec::new());
    wait_until("H10: right again", || fs::read(&files[0].0).ok().as_ref() == Some(&files[0].1));
    survival.end(&mut mounted, 1, &[], compared + files[0].1.len() as u64);
}

#[test]
fn odd_reads_give_what_is_there() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let demo = demo();
    let mut mounted = Mounted::new(&source(&demo), &OPTIONS);
    let (path, expected) = files(&mounted).swap_remove(0);
    let survival = Survival::begin("H11", &mounted);
    let size = expected.len();
    let mut compared = 0;
    for flags in [0, libc::O_DIRECT] {
        let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(&path).unwrap();
        for (offset, length) in [
            (0, 0),
            (0, 1),
            (1, 1),
            (4095, 2),
            (511, 4097),
            (131_071, 8194),
            (size - 1, 1),
            (size - 1, 4096),
            (size, 1),
            (size + 4096, 4096),
            (1 << 40, 4096),
            (0, 16 << 20),
            (12_345, 16 << 20),
        ] {
            let mut bytes = vec![0xEE; length];
            let mut n = 0;
            loop {
                match file.read_at(&mut bytes[n..], (offset + n) as u64).unwrap() {
                    0 => break,
                    more => n += more,
                }
            }
            let end = size.min(offset + length);
            let wanted = expected.get(offset.min(end)..end).unwrap_or_default();
            assert!(&bytes[..n] == wanted, "H11: {length} bytes at {offset}, flags {flags:o}: {n} came");
            compared += n as u64;
        }
    }
    survival.end(&mut mounted, 1, &[], compared);
}

/// Lists a directory, goes to each position that it was told, in another order, and names what comes there.
const SEEKING: &str = r#"
import ctypes, ctypes.util, random, sys
class Entry(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64), ("reclen", ctypes.c_ushort), ("type", ctypes.c_ubyte), ("name", ctypes.c_char * 256)]
libc = ctypes.CDLL(None, use_errno=True)
libc.opendir.restype = ctypes.c_void_p
libc.readdir64.restype = ctypes.POINTER(Entry)
libc.readdir64.argtypes = libc.telldir.argtypes = libc.rewinddir.argtypes = [ctypes.c_void_p]
libc.telldir.restype = ctypes.c_long
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
directory = libc.opendir(sys.argv[1].encode())
def drop():
    try:
        open("/proc/sys/vm/drop_caches", "w").write("2")
    except OSError:
        pass
def listing():
    found = []
    while True:
        at, entry = libc.telldir(directory), libc.readdir64(directory)
        if not entry:
            return found
        found.append((at, entry.contents.name))
        if len(found) == 7:
            drop()
first = listing()
names = [name for _, name in first]
assert len(set(names)) == len(names), "a name came twice"
random.seed(1)
for at, name in random.sample(first, len(first)):
    libc.seekdir(directory, at)
    assert libc.readdir64(directory).contents.name == name, name
libc.rewinddir(directory)
assert [name for _, name in listing()] == names
print(len(names))
"#;

#[test]
fn a_listing_can_be_entered_anywhere_and_names_each_once() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let demo = Demo::start(DemoOptions { dataset: Dataset::large(), ..DemoOptions::default() }).unwrap();
    let mut mounted = Mounted::new(&source(&demo), &OPTIONS);
    let survival = Survival::begin("H12", &mounted);
    let n_requests = demo.requests().len();
    let mut n_names = 0;
    for place in ["", "grayscale", "grayscale/volume.zarr/s0", "grayscale/volume.zarr/s0/0"] {
        let directory = mounted.root().join(place);
        let output = run(&mut python(SEEKING, &[&directory]));
        assert!(output.status.success(), "H12: {place}: {}", said(&output));
        let n: usize = said(&output).trim().parse().unwrap();
        assert_eq!(n, fs::read_dir(&directory).unwrap().count() + 2, "H12: {place}");
        n_names += n as u64;
    }
    println!("H12: {n_names} names");
    assert_eq!(demo.requests().len(), n_requests, "names are arithmetic");
    survival.end(&mut mounted, n_names, &[], 0);
}

#[test]
fn a_place_that_cannot_take_a_mount_is_refused_in_a_line() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let demo = demo();
    let place = Scratch::new();
    let at = |name: &str| place.path().join(name);
    fs::create_dir_all(at("full/below")).unwrap();
    fs::write(at("file"), "").unwrap();
    symlink(place.mountpoint(), at("link")).unwrap();
    let refused = |id: &str, words: &[&str], code: i32, part: &str| {
        let output = dvidfs(&[&["mount", "-f", &source(&demo)], words].concat());
        let said = said(&output);
        assert!(
            output.status.code() == Some(code) && said.contains(part) && said.lines().count() == 1,
            "{id} {words:?}: {said}"
        );
        assert!(!place.is_mounted(), "{id}");
    };
    for (name, part) in [
        ("missing", "does not exist"),
        ("file", "is not a directory"),
        ("link", "is a symbolic link"),
        ("full", "is not empty"),
    ] {
        refused("H15", &[at(name).to_str().unwrap()], 32, part);
    }
    refused("H15", &["/proc"], 32, "mountpoint of a proc file system");
    survival::report("H15", 0);

    let mountpoint = place.mountpoint();
    let inside = mountpoint.join("deep/er");
    let (mountpoint, inside) = (mountpoint.to_str().unwrap(), inside.to_str().unwrap());
    for option in ["--token-file", "--log-file", "--metadata"] {
        refused("H14", &[mountpoint, option, inside], 1, "lies below the mountpoint");
    }
    let through_link = at("link").join("log");
    refused("H14", &[mountpoint, "--log-file", through_link.to_str().unwrap()], 1, "lies below the mountpoint");
    survival::report("H14", 0);
}

#[test]
fn a_dead_mount_is_told_and_replaced_only_if_asked_and_ours() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let demo = demo();
    let mut mounted = Mounted::new(&source(&demo), &OPTIONS);
    mounted.signal(Signal::SIGKILL);
    mounted.wait_for_end();
    let root = mounted.root();
    let root = root.to_str().unwrap();
    let output = dvidfs(&["mount", "-f", &source(&demo), root]);
    assert!(output.status.code() == Some(32), "H16");
    assert!(said(&output).contains("has a dead dvidfs mount: clear it with `dvidfs umount"), "H16: {}", said(&output));
    let output = dvidfs(&["mount", "--replace", "--settle", "0", &source(&demo), root]);
    assert_eq!(output.status.code(), Some(0), "H16: {}", said(&output));
    let compared = compare(&files(&mounted)[..2]);
    let output = dvidfs(&["mount", "--replace", &source(&demo), root]);
    assert!(
        output.status.code() == Some(32) && said(&output).contains("already has a dvidfs mount"),
        "H16: a live one stays"
    );
    assert_eq!(dvidfs(&["umount", root]).status.code(), Some(0), "H16");
    assert!(!mounted.is_mounted(), "H16: one mount was there");
    survival::report("H16", compared);
}

#[test]
fn who_walks_the_tree_fetches_nothing_and_grows_nothing() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let demo = Demo::start(DemoOptions { dataset: Dataset::test(), ..DemoOptions::default() }).unwrap();
    let mut mounted = Mounted::new(&source(&demo), &OPTIONS);
    let survival = Survival::begin("H17", &mounted);
    let (n_requests, resident) = (demo.requests().len(), mounted.resident_bytes());
    let mut n_names = BTreeSet::new();
    for program in [&["find"][..], &["du", "-a"], &["ls", "-lRa"]] {
        let output = run(Command::new(program[0]).args(&program[1..]).arg(mounted.root()));
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "H17: {program:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        if program[0] != "ls" {
            n_names.insert(output.stdout.iter().filter(|&&byte| byte == b'\n').count());
        }
    }
    assert!(n_names.len() == 1 && n_names.first() > Some(&5000), "H17: both name as many: {n_names:?}");
    assert_eq!(demo.requests().len(), n_requests, "H17: names and sizes are arithmetic");
    survival.check(&mut mounted, n_names.len() as u64, &[]);
    let grown = mounted.resident_bytes().saturating_sub(resident);
    assert!(grown < 32 << 20, "H17: grown by {} MiB", grown >> 20);

    // A tree that nobody walks to its end streams.
    let large = Demo::start(DemoOptions { dataset: Dataset::large(), ..DemoOptions::default() }).unwrap();
    let mounted = Mounted::new(&source(&large), &OPTIONS);
    let (n_requests, resident) = (large.requests().len(), mounted.resident_bytes());
    let output = run(Command::new("timeout").args(["3", "find"]).arg(mounted.root()));
    let n_streamed = output.stdout.iter().filter(|&&byte| byte == b'\n').count();
    let grown = mounted.resident_bytes().saturating_sub(resident);
    println!("H17: {n_names:?} names, {n_streamed} in 3 s of a tree without end; grown by {} KiB", grown >> 10);
    assert!(n_streamed > 10_000 && grown < 64 << 20, "H17: {n_streamed} names, grown by {} MiB", grown >> 20);
    assert_eq!(large.requests().len(), n_requests, "H17");
    survival::report("H17", 0);

    let survival = Survival::begin("H19", &mounted);
    let resident = mounted.resident_bytes();
    let directories = ["", "grayscale", "grayscale/volume.zarr/s0", "grayscale/volume.zarr/s0/0/0"]
        .map(|place| mounted.root().join(place));
    for n in 0..65_536_usize {
        let name = directories[n % 4].join(format!("wrong-{n}"));
        assert_eq!(fs::symlink_metadata(name).unwrap_err().kind(), io::ErrorKind::NotFound, "H19");
    }
    assert_eq!(large.requests().len(), n_requests, "H19: a wrong name is known by arithmetic");
    let grown = mounted.resident_bytes().saturating_sub(resident);
    assert!(grown < 16 << 20, "H19: grown by {} KiB", grown >> 10);
    let mut mounted = mounted;
    survival.end(&mut mounted, 65_536, &[], 0);
}

/// `/dev/fuse` as udev makes it: everybody may open it. A machine without udev has it for root alone.
struct DeviceForAll(fs::Permissions);

impl DeviceForAll {
    const PATH: &str = "/dev/fuse";

    fn new() -> Self {
        let before = fs::metadata(Self::PATH).unwrap().permissions();
        fs::set_permissions(Self::PATH, fs::Permissions::from_mode(0o666)).unwrap();
        Self(before)
    }
}

impl Drop for DeviceForAll {
    fn drop(&mut self) {
        let _ = fs::set_permissions(Self::PATH, self.0.clone());
    }
}

#[test]
fn nobody_else_may_read() {
    if !can_mount() {
        return;
    }
    let setpriv = |words: &[&str]| {
        Command::new("setpriv").args(["--reuid=65534", "--regid=65534", "--clear-groups"]).args(words).output()
    };
    if !is_root() || !setpriv(&["true"]).is_ok_and(|output| output.status.success()) {
        return skipped("H18", "needs root and setpriv");
    }
    let _limit = time_limit(Duration::from_secs(60));
    let demo = demo();
    let mut mounted = Mounted::new(&source(&demo), &OPTIONS);
    let open = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    open(mounted.root().parent().unwrap(), 0o755);
    let file = files(&mounted).swap_remove(0);
    // In the kernel's cache, too.
    let compared = compare(std::slice::from_ref(&file));
    let survival = Survival::begin("H18", &mounted);
    let (root, path) = (mounted.root(), file.0.clone());
    let mut n_denied = 0;
    for words in [
        ["cat", path.to_str().unwrap()],
        ["stat", path.to_str().unwrap()],
        ["ls", root.to_str().unwrap()],
        ["stat", root.join("README.txt").to_str().unwrap()],
        ["cat", root.join(".dvidfs/errors.jsonl").to_str().unwrap()],
    ] {
        let output = setpriv(&words).unwrap();
        assert!(
            !output.status.success() && said(&output).contains("Permission denied"),
            "H18: {words:?}: {}",
            said(&output)
        );
        n_denied += 1;
    }
    survival.check(&mut mounted, n_denied, &[]);

    // And not root, where an ordinary user has mounted.
    let _device = DeviceForAll::new();
    let place = Scratch::new();
    open(&place.path(), 0o755);
    nix::unistd::chown(&place.mountpoint(), Some(65534.into()), Some(65534.into())).unwrap();
    let program = place.path().join("dvidfs");
    fs::copy(env!("CARGO_BIN_EXE_dvidfs"), &program).unwrap();
    let output =
        setpriv(&[program.to_str().unwrap(), "mount", &source(&demo), place.mountpoint().to_str().unwrap()]).unwrap();
    if !output.status.success() {
        return skipped("H18", &format!("an ordinary user cannot mount here: {}", said(&output).trim()));
    }
    let denied = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    assert!(denied(fs::read_dir(place.mountpoint()).unwrap_err()), "H18: root");
    assert!(denied(fs::read(place.mountpoint().join("README.txt")).unwrap_err()), "H18: root");
    figure("R41", format!("another user: {n_denied} of {n_denied} calls EACCES; root: 2 of 2"), "all EACCES");
    let by_user = setpriv(&["cat", place.mountpoint().join("README.txt").to_str().unwrap()]).unwrap();
    assert!(by_user.status.success(), "H18: its user may");
    let told = setpriv(&[program.to_str().unwrap(), "check", place.mountpoint().to_str().unwrap()]).unwrap();
    assert_eq!(told.status.code(), Some(0), "{}", said(&told));
    let output = setpriv(&[program.to_str().unwrap(), "umount", place.mountpoint().to_str().unwrap()]).unwrap();
    assert!(output.status.success(), "H18: {}", said(&output));
    survival::report("H18", compared);
}

#[test]
fn a_kernel_that_forgets_all_the_time_is_told_again() {
    if !can_mount() {
        return;
    }
    if !is_root() {
        return skipped("H20 I20", "needs root");
    }
    let _limit = time_limit(Duration::from_secs(120));
    let demo = Demo::start(DemoOptions { dataset: Dataset::standard(), ..DemoOptions::default() }).unwrap();
    let mut mounted = Mounted::new(&source(&demo), &["--settle", "0", "--memory", "64M"]);
    let files = chunk_files(&mounted.root(), demo.dataset(), 0, "grayscale");
    compare(&files);
    let survival = Survival::begin("H20", &mounted);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let (compared, n_dropped) = std::thread::scope(|scope| {
        let dropper = scope.spawn(|| {
            let mut n = 0;
            while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
                fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
                n += 1;
            }
            n
        });
        let readers: Vec<_> = (0..4)
            .map(|part| {
                let files = &files;
                scope.spawn(move || {
                    (0..2).map(|_| compare(&files[part * files.len() / 4..(part + 1) * files.len() / 4])).sum::<u64>()
                })
            })
            .collect();
        let compared: u64 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        is_over.store(true, std::sync::atomic::Ordering::SeqCst);
        (compared, dropper.join().unwrap())
    });
    println!("H20: {compared} bytes while the caches were dropped {n_dropped} times");
    survival.end(&mut mounted, n_dropped, &[], compared);

    // Beside a program that takes all the memory that it is given.
    let survival = Survival::begin("I20", &mounted);
    let mut pressing =
        python("a=[bytearray(b'x'*(1<<20)) for _ in range(400)]\nwhile True:\n for b in a: b[::4096]=b'y'*256\n", &[])
            .spawn()
            .unwrap();
    fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
    let compared = compare(&files);
    pressing.kill().unwrap();
    pressing.wait().unwrap();
    survival.end(&mut mounted, 1, &[], compared);
}
