//! Faults J1-J9, J20, J22, J23: a disk that cannot be used, is full, fails or hangs costs time and no byte.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dvidfs::demo::Demo;

use crate::support::caches::{Caches, Wanted, compare, compare_one, demo_of, disk_stats, wait_until_written, wanted};
use crate::support::faulty_dir::{EIO, FaultyDir, Trouble};
use crate::support::survival::report;
use crate::support::tmpfs::{Tmpfs, run};
use crate::support::{Mounted, Survival, can_mount, figure, is_sandboxed, skipped, time_limit};

const NAME: &str = "gray";
const LIMIT: Duration = Duration::from_secs(120);

/// What is read before a fault, and what during it.
fn halves(mounted: &Mounted, demo: &Demo) -> (Vec<Wanted>, Vec<Wanted>) {
    let mut all = wanted(mounted, demo, &[NAME]);
    assert!(all.len() >= 8, "{}", all.len());
    let rest = all.split_off(all.len() / 2);
    (all, rest)
}

/// A mount that is refused: the exit code, and the one line that says why.
#[track_caller]
fn check_refused(demo: &Demo, directory: &Path, words: &str) {
    let scratch = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_dvidfs"))
        .args(["mount", "-f", &format!("{}/a40d", demo.origin())])
        .arg(scratch.path())
        .arg("--cache-dir")
        .arg(directory)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(words) && said.lines().count() == 1, "{words}: {said}");
    assert!(said.contains("--no-cache"), "it says what to do: {said}");
}

/// J1: a directory that was asked for and cannot be used refuses the mount; the user's own is done without.
#[test]
fn a_directory_that_cannot_be_used_is_refused_if_it_was_asked_for() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(LIMIT);
    let Some(tmpfs) = Tmpfs::new("J1", "size=1m") else { return };
    let demo = demo_of(&[NAME]);
    let missing = tmpfs.path().join("missing");
    check_refused(&demo, &missing, "No such file");
    let file = tmpfs.path().join("file");
    fs::write(&file, b"").unwrap();
    check_refused(&demo, &file, "is not a directory");
    let taken = tmpfs.path().join("taken");
    fs::create_dir(&taken).unwrap();
    fs::write(taken.join("dvidfs-v1"), b"").unwrap();
    check_refused(&demo, &taken, "is not a directory");
    let readonly = tmpfs.path().join("readonly");
    fs::create_dir(&readonly).unwrap();
    tmpfs.remount("ro");
    check_refused(&demo, &readonly, "Read-only");
    tmpfs.remount("rw");
    let mounted = Mounted::with_caches_at(&format!("{}/a40d", demo.origin()), &["--settle", "0"], Some(&file));
    let bytes = compare(&wanted(&mounted, &demo, &[NAME]));
    assert!(mounted.log().contains("code=\"cache_dir\""), "{}", mounted.log());
    report("J1", bytes);
}

/// J2: what others could change is not used.
#[test]
fn a_directory_that_others_could_change_refuses_the_mount() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(LIMIT);
    let (demo, scratch) = (demo_of(&[NAME]), tempfile::tempdir().unwrap());
    let entries = scratch.path().join("dvidfs-v1");
    fs::create_dir(&entries).unwrap();
    fs::set_permissions(&entries, fs::Permissions::from_mode(0o777)).unwrap();
    check_refused(&demo, scratch.path(), "other users can read or write");
    fs::set_permissions(&entries, fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o777)).unwrap();
    check_refused(&demo, scratch.path(), "other users can rename");
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::rename(&entries, scratch.path().join("elsewhere")).unwrap();
    symlink("elsewhere", &entries).unwrap();
    check_refused(&demo, scratch.path(), "symbolic link");
    fs::remove_file(&entries).unwrap();
    fs::create_dir(&entries).unwrap();
    if std::os::unix::fs::chown(&entries, Some(1), None).is_err() {
        skipped("fault J2: only root can give a directory away");
        return;
    }
    fs::set_permissions(&entries, fs::Permissions::from_mode(0o700)).unwrap();
    check_refused(&demo, scratch.path(), "belongs to another user");
    report("J2", 0);
}

/// Reads all of a mount whose disk takes no more.
fn check_full(id: &'static str, options: &str) {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(LIMIT);
    let Some(tmpfs) = Tmpfs::new(id, options) else { return };
    let (demo, caches) = (demo_of(&[NAME, "gray_none", "odd48"]), Caches::at(&tmpfs.path()));
    let mut mounted = caches.mount(&demo, &["--cache-free", "0"]);
    let survival = Survival::begin(id, &mounted);
    let all = wanted(&mounted, &demo, &[NAME, "gray_none", "odd48"]);
    let bytes = compare(&all);
    wait_until_written(&mounted);
    let dropped = mounted.counter("disk_dropped_blocks");
    drop(all);
    survival.end(&mut mounted, dropped, &["cache_full"], bytes);
    drop(mounted);
    let again = caches.mount(&demo, &["--cache-free", "0"]);
    compare(&wanted(&again, &demo, &[NAME, "gray_none", "odd48"]));
    assert_eq!(again.counter("disk_corrupt_entries"), 0, "what was written is whole");
}

#[test]
fn a_full_disk_costs_no_byte() {
    check_full("J3", "size=1m");
}

#[test]
fn a_disk_without_inodes_costs_no_byte() {
    check_full("J4", "size=64m,nr_inodes=16");
}

#[test]
fn a_disk_that_turns_read_only_is_still_read() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(LIMIT);
    let Some(tmpfs) = Tmpfs::new("J5", "size=64m") else { return };
    let (demo, caches) = (demo_of(&[NAME]), Caches::at(&tmpfs.path()));
    let first = caches.mount(&demo, &["--no-prefetch"]);
    compare(&halves(&first, &demo).0);
    wait_until_written(&first);
    drop(first);
    let mut mounted = caches.mount(&demo, &["--no-prefetch"]);
    let survival = Survival::begin("J5", &mounted);
    tmpfs.remount("ro");
    let (kept, others) = halves(&mounted, &demo);
    let mut bytes = compare(&kept);
    let hits = mounted.counter("disk_hit_blocks");
    assert!(hits > 0 && mounted.counter("dvid_fetched_blocks") == 0);
    bytes += compare(&others);
    wait_until_written(&mounted);
    let dropped = mounted_dropped(&mounted);
    survival.end(&mut mounted, dropped, &["cache_readonly"], bytes);
}

fn mounted_dropped(mounted: &Mounted) -> u64 {
    mounted.counter("disk_dropped_blocks")
}

/// A cache in a directory that has trouble while all is read: from the disk if `is_warm`, else from the server.
fn check_trouble(id: &'static str, trouble: &[Trouble], is_warm: bool, codes: &[&str]) {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(LIMIT);
    let (demo, faulty) = (demo_of(&[NAME]), FaultyDir::new());
    let caches = Caches::at(&faulty.path());
    let (mut bytes, mut n_troubled) = (0, 0);
    for &trouble in trouble {
        if is_warm {
            let first = caches.mount(&demo, &[]);
            compare(&wanted(&first, &demo, &[NAME]));
            wait_until_written(&first);
            assert!(!caches.files().is_empty());
        }
        let mut mounted = caches.mount(&demo, &[]);
        let survival = Survival::begin(id, &mounted);
        let before = faulty.n_troubled();
        faulty.set(trouble);
        let all = wanted(&mounted, &demo, &[NAME]);
        bytes += compare(&all);
        wait_until_written(&mounted);
        faulty.set(Trouble::None);
        n_troubled += faulty.n_troubled() - before;
        compare(&all);
        survival.check(&mut mounted, faulty.n_troubled() - before, codes);
    }
    assert!(n_troubled > 0);
    report(id, bytes);
}

#[test]
fn a_disk_that_cannot_be_read_costs_no_byte() {
    check_trouble("J6", &[Trouble::Fails("read", EIO)], true, &["cache_io"]);
}

#[test]
fn a_disk_that_cannot_be_written_costs_no_byte() {
    check_trouble("J7", &[Trouble::Fails("write", EIO), Trouble::ShortWrites], false, &["cache_io"]);
}

#[test]
fn a_disk_that_takes_no_name_costs_no_byte() {
    check_trouble("J9", &[Trouble::Fails("rename", EIO)], false, &["cache_io"]);
}

/// J8: late is a tenth of a second here, and a hang one second.
#[test]
fn a_disk_that_hangs_costs_a_moment_and_four_threads() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(LIMIT);
    let (demo, faulty) = (demo_of(&[NAME]), FaultyDir::new());
    let caches = Caches::at(&faulty.path());
    let first = caches.mount(&demo, &["--no-prefetch"]);
    compare(&halves(&first, &demo).0);
    wait_until_written(&first);
    drop(first);
    let mut mounted = caches.mount(&demo, &["--no-prefetch"]);
    let survival = Survival::begin("J8", &mounted);
    let (kept, others) = halves(&mounted, &demo);
    faulty.set(Trouble::Hangs);
    let (mut bytes, mut slowest) = (0, Duration::ZERO);
    for wanted in kept.iter().chain(&others) {
        let since = Instant::now();
        bytes += compare_one(wanted);
        slowest = slowest.max(since.elapsed());
    }
    figure("R33", format!("all reads right, the slowest {slowest:.1?} beside a disk that hangs"), "100 %, 2 s once");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    let n_hanging = faulty.n_hanging();
    assert!((1..=4).contains(&n_hanging), "{n_hanging} threads wait for the disk");
    let end = Instant::now() + Duration::from_secs(20);
    while !survival.log(&mounted).contains("cache_hang") {
        assert!(Instant::now() < end, "{}", mounted.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(disk_stats(&mounted)["state"], "bypassed");
    faulty.set(Trouble::None);
    bytes += compare(&others);
    survival.end(&mut mounted, n_hanging as u64, &["cache_hang"], bytes);
    drop(mounted);
    // Its mount ends in time even so; its process as soon as the disk lets go of it.
    let mut mounted = caches.mount(&demo, &["--no-prefetch"]);
    faulty.set(Trouble::Hangs);
    compare(&halves(&mounted, &demo).0);
    let pid = nix::unistd::Pid::from_raw(i32::try_from(mounted.pid()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    while mounted.root().join("README.txt").exists() {
        assert!(Instant::now() < end, "still mounted");
        std::thread::sleep(Duration::from_millis(50));
    }
    faulty.set(Trouble::None);
    assert_eq!(mounted.terminate(), Some(0));
}

/// J20: nothing fits.
#[test]
fn a_limit_smaller_than_a_block_costs_no_byte() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(LIMIT);
    let (demo, caches) = (demo_of(&[NAME]), Caches::new());
    let mut mounted = caches.mount(&demo, &["--cache-size", "100"]);
    let survival = Survival::begin("J20", &mounted);
    let bytes = compare(&wanted(&mounted, &demo, &[NAME]));
    wait_until_written(&mounted);
    let dropped = mounted_dropped(&mounted);
    survival.end(&mut mounted, dropped, &["cache_full"], bytes);
    assert_eq!(caches.files().len(), 0);
}

/// J22: others fill the disk while the cache is in use.
#[test]
fn space_that_others_take_is_given_up() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(LIMIT);
    let Some(tmpfs) = Tmpfs::new("J22", "size=16m") else { return };
    let (demo, caches) = (demo_of(&[NAME, "gray_none", "odd48"]), Caches::at(&tmpfs.path()));
    let mut mounted = caches.mount(&demo, &["--no-prefetch"]);
    let survival = Survival::begin("J22", &mounted);
    let all = wanted(&mounted, &demo, &[NAME]);
    let mut bytes = compare(&all);
    wait_until_written(&mounted);
    let before = caches.files().len();
    let free = || nix::sys::statvfs::statvfs(&tmpfs.path()).unwrap();
    let stat = free();
    let left = stat.blocks_available() * stat.fragment_size();
    fs::write(tmpfs.path().join("others"), vec![1; usize::try_from(left - (100 << 10)).unwrap()]).unwrap();
    bytes += compare(&wanted(&mounted, &demo, &["gray_none", "odd48"]));
    let end = Instant::now() + Duration::from_secs(30);
    while free().blocks_available() * 20 < free().blocks() {
        assert!(Instant::now() < end, "{} of {} blocks are free", free().blocks_available(), free().blocks());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(caches.files().len() < before);
    let dropped = mounted_dropped(&mounted);
    survival.end(&mut mounted, dropped, &["cache_full"], bytes);
}

/// J23: the directory moves to another file system, or another one is mounted over it.
#[test]
fn a_directory_that_moves_costs_no_byte() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(LIMIT);
    let Some(other) = Tmpfs::new("J23", "size=64m") else { return };
    let (demo, caches) = (demo_of(&[NAME]), Caches::new());
    let mut mounted = caches.mount(&demo, &["--no-prefetch"]);
    let survival = Survival::begin("J23", &mounted);
    let (first, rest) = halves(&mounted, &demo);
    let mut bytes = compare(&first[..first.len() / 2]);
    wait_until_written(&mounted);
    run("mount", &["--bind", other.path().to_str().unwrap()], caches.directory());
    bytes += compare(&first[first.len() / 2..]);
    wait_until_written(&mounted);
    run("umount", &[], caches.directory());
    let moved = Command::new("mv").arg(caches.entries()).arg(other.path()).status().unwrap();
    assert!(moved.success());
    bytes += compare(&rest);
    wait_until_written(&mounted);
    bytes += compare(&first);
    // In a sandbox nothing is kept any more.
    let codes: &[&str] = if is_sandboxed() { &[] } else { &["cache_dir"] };
    survival.end(&mut mounted, 1, codes, bytes);
    assert_eq!(caches.entries().is_dir(), !is_sandboxed(), "it was made again");
}
