//! Faults J10-J15: entries that are damaged between two mounts are noticed, and the bytes that are read are right.
//!
//! Here every kind of damage is seen through a mount; each bit and each length are tried in the unit tests of the cache.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dvidfs::demo::Demo;
use xxhash_rust::xxh3::xxh3_128;

use crate::support::caches::{Caches, compare, demo_of, wait_until_written, wanted};
use crate::support::survival::report;
use crate::support::{Survival, can_mount, figure, is_long, skipped, time_limit};

const NAMES: [&str; 3] = ["gray", "labelarray", "holes"];

struct Bench {
    demo: Demo,
    caches: Caches,
    whole: tempfile::TempDir,
    n_damaged: Cell<usize>,
}

impl Bench {
    /// A cache that holds all of some instances.
    fn new() -> Self {
        let (demo, caches) = (demo_of(&NAMES), Caches::new());
        let mounted = caches.mount(&demo, &[]);
        compare(&wanted(&mounted, &demo, &NAMES));
        wait_until_written(&mounted);
        drop(mounted);
        let whole = tempfile::tempdir().unwrap();
        copy(&caches.entries(), whole.path());
        Self { demo, caches, whole, n_damaged: Cell::new(0) }
    }

    /// Damages all entries, mounts, reads all, and sees that all was noticed and mended. The number that `damage` gets makes
    /// what each entry suffers different.
    fn check(&self, id: &'static str, damage: impl Fn(&Path, usize)) -> u64 {
        let _ = fs::remove_dir_all(self.caches.entries());
        copy(&self.whole.path().join("dvidfs-v1"), self.caches.directory());
        let files = self.caches.files();
        files.iter().enumerate().for_each(|(number, file)| damage(file, number));
        self.n_damaged.update(|n| n + files.len());
        let mut mounted = self.caches.mount(&self.demo, &[]);
        let survival = Survival::begin(id, &mounted);
        let bytes = compare(&wanted(&mounted, &self.demo, &NAMES));
        wait_until_written(&mounted);
        let corrupt = mounted.counter("disk_corrupt_entries");
        let n_files = files.len() as u64;
        assert!(corrupt >= n_files * 9 / 10, "{id}: {corrupt} of {n_files} were noticed");
        assert_eq!(mounted.counter("disk_hit_blocks"), 0, "{id}");
        survival.check(&mut mounted, corrupt, &["cache_corrupt"]);
        drop(mounted);
        let again = self.caches.mount(&self.demo, &[]);
        compare(&wanted(&again, &self.demo, &NAMES));
        assert_eq!(again.counter("disk_corrupt_entries"), 0, "{id}: mended");
        assert_eq!(again.counter("dvid_fetched_blocks"), 0, "{id}: mended");
        bytes
    }
}

fn copy(from: &Path, into: &Path) {
    let status = std::process::Command::new("cp").arg("-a").arg(from).arg(into.join("dvidfs-v1")).status().unwrap();
    assert!(status.success());
}

fn change(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).unwrap();
    change(&mut bytes);
    fs::write(file, bytes).unwrap();
}

#[test]
fn damaged_entries_are_noticed_and_fetched_anew() {
    if !can_mount() {
        return;
    }
    let n_rounds = if is_long() { 100 } else { 1 };
    let _limit = time_limit(Duration::from_secs(240 + 30 * n_rounds as u64));
    let bench = Bench::new();
    let mut bytes = [0; 2];
    for round in 0..n_rounds {
        bytes[0] += bench.check("J10", |file, n| {
            change(file, |bytes| {
                let bit = (n + 1009 * round) * 7919 % (bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            });
        });
        bytes[0] += bench.check("J10", |file, n| change(file, |bytes| bytes[(n + round) % 200] ^= 1 << (n % 8)));
        bytes[1] +=
            bench.check("J11", |file, n| change(file, |bytes| bytes.truncate((n + 7 * round) * 31 % bytes.len())));
        bytes[1] += bench.check("J11", |file, n| {
            let opened = fs::File::options().write(true).open(file).unwrap();
            let pages = opened.metadata().unwrap().len().div_ceil(4096);
            opened.write_all_at(&[0; 4096], (n + round) as u64 % pages * 4096).unwrap();
        });
    }
    report("J10", bytes[0]);
    report("J11", bytes[1]);
    let bytes = bench.check("J12", |file, n| {
        // The one before takes the place of this one: at the end all have moved by one.
        let shelf = file.ancestors().nth(3).unwrap();
        let (aside, before) = (shelf.join(format!("aside-{n}")), shelf.join(format!("aside-{}", n.wrapping_sub(1))));
        fs::rename(file, aside).unwrap();
        if n > 0 {
            fs::rename(before, file).unwrap();
        }
    });
    report("J12", bytes);
    report("J13", bench.check("J13", no_file));
    figure("R30", format!("{} damaged entries, 0 wrong bytes, 0 errors", bench.n_damaged.get()), "20,000, 0, 0");
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        skipped("fault J14: only root can give files away");
        return;
    }
    let bytes = bench.check("J14", |file, n| match n % 3 {
        0 => fs::set_permissions(file, fs::Permissions::from_mode(0o000)).unwrap(),
        1 => std::os::unix::fs::chown(file, Some(1), None).unwrap(),
        _ => fs::set_permissions(file, fs::Permissions::from_mode(0o666)).unwrap(),
    });
    report("J14", bytes);
}

/// Something else in the place of an entry.
fn no_file(file: &Path, number: usize) {
    let elsewhere: PathBuf = file.ancestors().nth(3).unwrap().join(format!("elsewhere-{number}"));
    fs::rename(file, &elsewhere).unwrap();
    match number % 6 {
        0 => symlink(&elsewhere, file).unwrap(),
        1 => fs::create_dir(file).unwrap(),
        2 => nix::unistd::mkfifo(file, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        3 => {
            // The path of a socket is short.
            let socket = elsewhere.with_file_name(format!("s{number}"));
            drop(UnixListener::bind(&socket).unwrap());
            fs::rename(socket, file).unwrap();
        }
        4 => fs::hard_link(&elsewhere, file).unwrap(),
        _ => {
            let null = nix::sys::stat::makedev(1, 3);
            let kind = nix::sys::stat::SFlag::S_IFCHR;
            if nix::sys::stat::mknod(file, kind, nix::sys::stat::Mode::S_IRUSR, null).is_err() {
                symlink("/dev/null", file).unwrap();
            }
        }
    }
}

/// J15: entries of another format are neither read nor removed.
#[test]
fn entries_of_another_format_are_left_alone() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let bench = Bench::new();
    let reformat = |file: &Path, format: u16| {
        change(file, |bytes| {
            let length = u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize;
            bytes[12..14].copy_from_slice(&format.to_le_bytes());
            let sum = xxh3_128(&bytes[..length - 16]).to_le_bytes();
            bytes[length - 16..length].copy_from_slice(&sum);
        });
    };
    let files = bench.caches.files();
    files.iter().enumerate().for_each(|(n, file)| reformat(file, [0, 2, 999][n % 3]));
    let before: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let mut mounted = bench.caches.mount(&bench.demo, &[]);
    let survival = Survival::begin("J15", &mounted);
    let bytes = compare(&wanted(&mounted, &bench.demo, &NAMES));
    wait_until_written(&mounted);
    assert_eq!((mounted.counter("disk_hit_blocks"), mounted.counter("disk_corrupt_entries")), (0, 0));
    let after: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(before == after, "left alone");
    survival.end(&mut mounted, before.len() as u64, &["cache_version"], bytes);
}
