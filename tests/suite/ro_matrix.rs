//! Every call that would change something, on a mounted tree: each is refused, whoever asks, and nothing has changed after it.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use dvidfs::demo::{Dataset, Demo, DemoOptions};
use nix::mount::{MsFlags, mount};
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, Gid, IFlags, Mode, OFlags, RenameFlags, Timespec, Timestamps, Uid,
    XattrFlags,
};
use rustix::io::Errno;

use crate::support::{Mounted, Survival, can_mount, figure, time_limit};

type Outcome = Result<(), Errno>;

/// A call by its name, and what it answers.
type Call = (&'static str, Box<dyn Fn(&Tree) -> Outcome>);

/// What the calls are tried on.
struct Tree {
    directory: PathBuf,
    file: PathBuf,
    /// A name that does not exist.
    new: PathBuf,
    /// A file outside the mount.
    outside: PathBuf,
}

impl Tree {
    fn reading(&self) -> Result<OwnedFd, Errno> {
        rustix::fs::open(&self.file, OFlags::RDONLY, Mode::empty())
    }
}

fn open(path: &Path, flags: OFlags) -> Outcome {
    rustix::fs::open(path, flags, Mode::from_raw_mode(0o600)).map(drop)
}

fn of_std(outcome: std::io::Result<()>) -> Outcome {
    outcome.map_err(|error| Errno::from_io_error(&error).unwrap())
}

fn call(name: &'static str, run: impl Fn(&Tree) -> Outcome + 'static) -> Call {
    (name, Box::new(run))
}

fn opens_and_names() -> Vec<Call> {
    vec![
        call("open for writing", |tree| open(&tree.file, OFlags::WRONLY)),
        call("open for both", |tree| open(&tree.file, OFlags::RDWR)),
        call("open to append", |tree| open(&tree.file, OFlags::WRONLY | OFlags::APPEND)),
        call("open and truncate", |tree| open(&tree.file, OFlags::RDONLY | OFlags::TRUNC)),
        call("create", |tree| open(&tree.new, OFlags::WRONLY | OFlags::CREATE)),
        call("create exclusively", |tree| open(&tree.new, OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL)),
        call("a file without a name", |tree| open(&tree.directory, OFlags::WRONLY | OFlags::TMPFILE)),
        call("mkdir", |tree| rustix::fs::mkdir(&tree.new, Mode::RWXU)),
        call("rmdir", |tree| rustix::fs::rmdir(&tree.directory)),
        call("unlink", |tree| rustix::fs::unlink(&tree.file)),
        call("rename", |tree| rustix::fs::rename(&tree.file, &tree.new)),
        call("exchange", |tree| {
            rustix::fs::renameat_with(CWD, &tree.file, CWD, tree.directory.join("info"), RenameFlags::EXCHANGE)
        }),
        call("link", |tree| rustix::fs::link(&tree.file, &tree.new)),
        call("symlink", |tree| of_std(symlink(&tree.outside, &tree.new))),
        call("mknod", |tree| rustix::fs::mknodat(CWD, &tree.new, FileType::RegularFile, Mode::RWXU, 0)),
        call("mkfifo", |tree| rustix::fs::mknodat(CWD, &tree.new, FileType::Fifo, Mode::RWXU, 0)),
    ]
}

fn attributes_and_contents() -> Vec<Call> {
    let now = Timestamps {
        last_access: Timespec { tv_sec: 1, tv_nsec: 0 },
        last_modification: Timespec { tv_sec: 1, tv_nsec: 0 },
    };
    vec![
        call("chmod", |tree| rustix::fs::chmod(&tree.file, Mode::RWXU)),
        call("fchmod", |tree| rustix::fs::fchmod(tree.reading()?, Mode::RWXU)),
        call("chown", |tree| rustix::fs::chown(&tree.file, Some(Uid::from_raw(1)), Some(Gid::from_raw(1)))),
        call("truncate", |tree| of_std(nix::unistd::truncate(&tree.file, 0).map_err(Into::into))),
        call("utimensat", move |tree| rustix::fs::utimensat(CWD, &tree.file, &now, AtFlags::empty())),
        call("setxattr", |tree| rustix::fs::setxattr(&tree.file, "user.a", b"b", XattrFlags::empty())),
        call("removexattr", |tree| rustix::fs::removexattr(&tree.file, "user.a")),
        call("fallocate", |tree| rustix::fs::fallocate(tree.reading()?, FallocateFlags::empty(), 0, 4096)),
        call("FS_IOC_SETFLAGS", |tree| rustix::fs::ioctl_setflags(tree.reading()?, IFlags::APPEND)),
        call("copy_file_range into it", |tree| {
            let from = File::open(&tree.outside).unwrap();
            rustix::fs::copy_file_range(from, None, tree.reading()?, None, 1).map(drop)
        }),
    ]
}

/// What the kernel answers to a call on a file that is open for reading, or where the file system knows no such thing.
fn may_answer(name: &str) -> &'static [Errno] {
    match name {
        "fallocate" | "copy_file_range into it" => &[Errno::BADF],
        "FS_IOC_SETFLAGS" => &[Errno::ROFS, Errno::ACCESS, Errno::NOTTY, Errno::OPNOTSUPP],
        "setxattr" | "removexattr" => &[Errno::ROFS, Errno::OPNOTSUPP],
        _ => &[Errno::ROFS, Errno::ACCESS],
    }
}

/// A program is told that it cannot.
fn is_refused(program: &str, words: &[&str]) -> bool {
    !Command::new(program).args(words).output().unwrap().status.success()
}

const WRITES_A_MAP: &str =
    "import mmap, os, sys; mmap.mmap(os.open(sys.argv[1], os.O_RDONLY), 1, mmap.MAP_SHARED, mmap.PROT_WRITE)";

#[test]
fn no_call_changes_anything() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let dataset = Dataset::test().only(&["gray"]);
    let demo = Demo::start(DemoOptions { dataset, ..DemoOptions::default() }).unwrap();
    let mut mounted = Mounted::new(&format!("{}/a40d", demo.origin()), &["--settle", "0"]);
    let directory = mounted.root().join("gray");
    let outside = mounted.root().parent().unwrap().join("outside");
    fs::write(&outside, b"x").unwrap();
    let (file, new) = (directory.join("volume.zarr/s0/.zarray"), directory.join("volume.zarr/new"));
    let tree = Tree { directory, file, new, outside };
    let survival = Survival::begin("H13", &mounted);
    let text = fs::read(&tree.file).unwrap();
    let status = fs::metadata(&tree.file).unwrap();
    let calls: Vec<Call> = opens_and_names().into_iter().chain(attributes_and_contents()).collect();
    for (name, run) in &calls {
        let errno = run(&tree).expect_err(name);
        assert!(may_answer(name).contains(&errno), "H13: {name}: {errno}");
    }
    let path = tree.file.to_str().unwrap();
    assert!(is_refused("python3", &["-c", WRITES_A_MAP, path]), "H13: a map that can be written");
    assert!(is_refused("swapon", &[path]), "H13: swapon");
    // A remount may be taken by the kernel; it makes nothing writable.
    for more in [MsFlags::MS_BIND, MsFlags::empty()] {
        let _ = mount(None::<&str>, &mounted.root(), None::<&str>, MsFlags::MS_REMOUNT | more, None::<&str>);
        for (name, run) in &calls {
            let errno = run(&tree).expect_err(name);
            // The daemon knows no such call.
            let is_unknown = [Errno::NOSYS, Errno::OPNOTSUPP, Errno::INVAL, Errno::PERM].contains(&errno);
            assert!(is_unknown || may_answer(name).contains(&errno), "H13: {name} after a remount: {errno}");
        }
    }
    let after = fs::metadata(&tree.file).unwrap();
    assert_eq!(fs::read(&tree.file).unwrap(), text);
    assert_eq!(
        (after.len(), after.permissions(), after.modified().unwrap()),
        (status.len(), status.permissions(), status.modified().unwrap())
    );
    assert!(!tree.new.exists());
    let n_calls = calls.len() as u64 + 3;
    assert!(n_calls >= 26, "only {n_calls} calls");
    figure("R22", format!("{n_calls} of {n_calls} mutating calls refused"), "26 of 26");
    survival.end(&mut mounted, n_calls, &[], text.len() as u64);
}
