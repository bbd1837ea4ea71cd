//! What the workers of a storm do, again and again.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Mounted, Random};

use super::Storm;
use super::watchdog::Worker;

pub(super) type Job = fn(&Storm, &Worker, Random);

/// Every kind of worker, readers twice.
pub(super) fn all() -> Vec<(Arc<Worker>, Job)> {
    let named: [(&'static str, Job); 10] = [
        ("whole files", read_whole),
        ("whole files too", read_whole),
        ("direct pieces", read_direct),
        ("readers are killed", kill_readers),
        ("readers get signals", signal_readers),
        ("wrong names", look_up_wrong_names),
        ("listings", list),
        ("opens and closes", open_and_close),
        ("caches dropped", drop_caches),
        ("another mount taken away", take_another_away),
    ];
    named.into_iter().map(|(name, job)| (Worker::new(name), job)).collect()
}

fn pick<'a, T>(list: &'a [T], random: &mut Random) -> &'a T {
    &list[usize::try_from(random.below(list.len() as u64)).unwrap()]
}

/// The right bytes, or EIO while the server gives wrong answers: no other error, and nothing that looks like absence.
#[track_caller]
fn check(read: io::Result<Vec<u8>>, wanted: &[u8], path: &Path) {
    match read {
        Ok(bytes) => assert!(bytes == wanted, "{}: {} wrong bytes", path.display(), bytes.len()),
        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EIO), "{}", path.display()),
    }
}

fn read_whole(storm: &Storm, worker: &Worker, mut random: Random) {
    while !storm.is_over() {
        let (path, wanted) = pick(&storm.files, &mut random);
        check(fs::read(path), wanted, path);
        worker.step();
    }
}

fn direct(path: &Path) -> File {
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).unwrap()
}

fn read_direct(storm: &Storm, worker: &Worker, mut random: Random) {
    while !storm.is_over() {
        let (path, wanted) = pick(&storm.files, &mut random);
        let at = usize::try_from(random.below(wanted.len() as u64)).unwrap() & !4095;
        let mut bytes = vec![0; usize::try_from(4096 * (1 + random.below(32))).unwrap()];
        let end = wanted.len().min(at + bytes.len());
        let read = direct(path).read_at(&mut bytes, at as u64).map(|n| bytes[..n].to_vec());
        check(read, &wanted[at..end], path);
        worker.step();
    }
}

fn reader(path: &Path, is_direct: bool) -> Child {
    let mut dd = Command::new("dd");
    dd.arg(format!("if={}", path.display())).args(["of=/dev/null", "bs=64K"]);
    if is_direct {
        dd.arg("iflag=direct");
    }
    dd.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn send(child: &Child, signal: Signal) {
    // One that has ended needs no signal: it was not waited for, so the number is still its own.
    let _ = kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal);
}

fn kill_readers(storm: &Storm, worker: &Worker, mut random: Random) {
    while !storm.is_over() {
        let mut child = reader(&pick(&storm.files, &mut random).0, random.below(2) == 0);
        std::thread::sleep(Duration::from_millis(random.below(150)));
        send(&child, if random.below(2) == 0 { Signal::SIGKILL } else { Signal::SIGTERM });
        child.wait().unwrap();
        worker.step();
    }
}

/// Stopped, continued and woken readers read on.
fn signal_readers(storm: &Storm, worker: &Worker, mut random: Random) {
    while !storm.is_over() {
        let mut child = reader(&pick(&storm.files, &mut random).0, random.below(2) == 0);
        while child.try_wait().unwrap().is_none() {
            let signal = *pick(&[Signal::SIGWINCH, Signal::SIGSTOP, Signal::SIGCONT, Signal::SIGURG], &mut random);
            send(&child, signal);
            std::thread::sleep(Duration::from_millis(random.below(20)));
            send(&child, Signal::SIGCONT);
        }
        worker.step();
    }
}

fn look_up_wrong_names(storm: &Storm, worker: &Worker, mut random: Random) {
    while !storm.is_over() {
        let (path, _) = pick(&storm.files, &mut random);
        let name = format!("{:x}", random.next());
        let wrong = match random.below(3) {
            0 => path.with_file_name(name),
            1 => path.join(name),
            _ => storm.root.join(name).join("volume.zarr"),
        };
        let error = fs::metadata(&wrong).unwrap_err();
        let errno = error.raw_os_error();
        assert!(errno == Some(libc::ENOENT) || errno == Some(libc::ENOTDIR), "{}: {error}", wrong.display());
        worker.step();
    }
}

/// A listing is complete each time.
fn list(storm: &Storm, worker: &Worker, mut random: Random) {
    while !storm.is_over() {
        let (path, _) = pick(&storm.files, &mut random);
        let directory = path.parent().unwrap();
        let names: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(names.iter().any(|name| Some(name.as_os_str()) == path.file_name()), "{}", directory.display());
        assert!(fs::read_dir(&storm.root).unwrap().any(|entry| entry.unwrap().file_name() == OsStr::new(".dvidfs")));
        worker.step();
    }
}

fn open_and_close(storm: &Storm, worker: &Worker, mut random: Random) {
    while !storm.is_over() {
        let (path, wanted) = pick(&storm.files, &mut random);
        assert_eq!(File::open(path).unwrap().metadata().unwrap().len(), wanted.len() as u64);
        let stats = fs::read(storm.root.join(".dvidfs/stats.json")).unwrap();
        assert!(serde_json::from_slice::<serde_json::Value>(&stats).is_ok(), "{} bytes", stats.len());
        worker.step();
    }
}

/// Without root the kernel keeps what it has, which is no fault of the mount. How long it takes is the whole machine's
/// matter.
fn drop_caches(storm: &Storm, worker: &Worker, mut random: Random) {
    while !storm.is_over() {
        let what = if random.below(2) == 0 { "2" } else { "3" };
        let _ = worker.away(|| fs::write("/proc/sys/vm/drop_caches", what));
        std::thread::sleep(Duration::from_millis(1000 + random.below(1000)));
    }
}

/// `umount -l` of another mount of the same server while it is read: its reads end, and its daemon with exit code 0.
fn take_another_away(storm: &Storm, worker: &Worker, mut random: Random) {
    while !storm.is_over() {
        let calm = storm.calm();
        let options = ["--settle", "0", "--memory", "16M", "--time-scale", "0.1"];
        let mut other = worker.away(|| Mounted::new(&storm.source, &options));
        drop(calm);
        let (path, wanted) = pick(&storm.files, &mut random);
        let path = other.root().join(path.strip_prefix(&storm.root).unwrap());
        let child = reader(&path, true);
        check(fs::read(&path), wanted, &path);
        worker.step();
        assert!(Command::new("umount").arg("-l").arg(other.root()).status().unwrap().success());
        assert!(!other.is_mounted());
        { child }.wait().unwrap();
        let code = worker.away(|| other.wait_for_end().or_else(|| other.wait_for_end()));
        assert_eq!(code, Some(0), "{}", other.log());
    }
}
