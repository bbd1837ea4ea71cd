//! A server that holds other data than at the mount, and nodes whose data may change: F1-F9.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dvidfs::demo::{Dataset, Demo, DemoOptions, Fault, FaultKind, InstanceSpec, VERSIONS, lasting_port};
use dvidfs::geometry::{Coordinate, Scale};

use crate::support::{
    Mounted, Survival, can_mount, chunk_files, chunk_of, figure, file_values, levels, survival, time_limit,
};

const NAMES: [&str; 2] = ["gray", "u16"];
const OPTIONS: [&str; 4] = ["--settle", "0", "--no-prefetch", "--patience=30s"];

fn dataset() -> Dataset {
    Dataset::test().only(&NAMES)
}

/// Other voxels, under another data UUID.
fn other() -> Dataset {
    let change = |spec: &mut InstanceSpec| (spec.edition, spec.incarnation) = (1, 1);
    NAMES.iter().fold(dataset(), |dataset, name| dataset.with(name, change))
}

fn start(port: Option<u16>, dataset: Dataset) -> Demo {
    Demo::start(DemoOptions { dataset, port, ..DemoOptions::default() }).unwrap()
}

fn files(mounted: &Mounted, name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    chunk_files(&mounted.root(), &dataset(), 0, name)
}

fn direct(path: &Path) -> fs::File {
    fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_DIRECT).open(path).unwrap()
}

/// Reads the first page past the kernel's cache; the errno if that fails.
fn page(file: &fs::File) -> Result<Vec<u8>, i32> {
    let mut bytes = vec![0; 4096];
    file.read_exact_at(&mut bytes, 0).map_err(errno).map(|()| bytes)
}

fn read(path: &Path) -> Result<Vec<u8>, i32> {
    fs::read(path).map_err(errno)
}

fn errno(error: io::Error) -> i32 {
    error.raw_os_error().unwrap()
}

/// Waits for ESTALE, 5 s at most. Whatever is given until then must be what was mounted.
#[track_caller]
fn becomes_stale(id: &str, expected: &[u8], mut read: impl FnMut() -> Result<Vec<u8>, i32>) -> u64 {
    let (end, mut compared) = (Instant::now() + Duration::from_secs(5), 0);
    loop {
        match read() {
            Ok(bytes) => {
                assert!(bytes == expected[..bytes.len()], "{id}: bytes of other data");
                compared += bytes.len() as u64;
            }
            Err(errno) => {
                assert_eq!(errno, nix::libc::ESTALE, "{id}");
                return compared;
            }
        }
        assert!(Instant::now() < end, "{id}: not stale within 5 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What was read before, through the kernel's cache and past it, and what was not: all of it is refused in the end.
fn is_stale_everywhere(id: &'static str, change: impl FnOnce(&mut Option<Demo>, u16), instances: &[&str]) {
    let port = lasting_port().unwrap();
    let mut demo = Some(start(Some(port), dataset()));
    let mut mounted = Mounted::new(&format!("{}/a40d", demo.as_ref().unwrap().origin()), &OPTIONS);
    let all: Vec<_> = instances.iter().map(|name| files(&mounted, name)).collect();
    let mut compared = 0;
    for files in &all {
        let (path, expected) = &files[0];
        assert!(read(path).as_deref() == Ok(expected), "{id}: before");
        compared += expected.len() as u64;
    }
    let held: Vec<_> = all.iter().map(|files| (fs::File::open(&files[0].0).unwrap(), direct(&files[0].0))).collect();
    let survival = Survival::begin(id, &mounted);
    change(&mut demo, port);
    let changed = Instant::now();
    // The first fetch finds it out; it gives no byte of the other data.
    let (path, expected) = &all[0][1];
    compared += becomes_stale(id, expected, || read(path));
    let first = changed.elapsed();
    for (files, (buffered, direct)) in all.iter().zip(&held) {
        let (path, expected) = &files[0];
        compared += becomes_stale(id, expected, || page(direct));
        compared += becomes_stale(id, expected, || page(buffered));
        compared += becomes_stale(id, expected, || read(path));
        assert!(path.exists(), "{id}: the name stays");
    }
    figure("R40", format!("{id}: ESTALE {first:.2?} after the change, 0 bytes of other data"), "5 s, 0");
    assert_eq!(mounted.now("held_bytes"), 0, "{id}: memory holds old data");
    survival.end(&mut mounted, 1, &["identity_changed"], compared);
    let told = Command::new(env!("CARGO_BIN_EXE_dvidfs")).arg("check").arg(mounted.root()).output().unwrap();
    let said = String::from_utf8(told.stdout).unwrap();
    assert!(told.status.code() == Some(1) && said.contains("other data under the same name"), "{said}");
}

#[test]
fn a_server_started_again_with_other_data_is_stale_within_five_seconds() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let restart = |dataset: Dataset| {
        move |demo: &mut Option<Demo>, port: u16| {
            drop(demo.take());
            *demo = Some(start(Some(port), dataset));
        }
    };
    is_stale_everywhere("F1", restart(other()), &NAMES);
    let blocks = |spec: &mut InstanceSpec| spec.block_shape = Coordinate::splat(16);
    is_stale_everywhere("F2", restart(dataset().with("gray", blocks)), &["gray"]);
    // Deleted and made again while the connections stay: looked after once a second.
    let again = |demo: &mut Option<Demo>, _port: u16| {
        std::thread::sleep(Duration::from_millis(1100));
        demo.as_ref().unwrap().set_dataset(other());
    };
    is_stale_everywhere("F4", again, &["gray"]);
}

#[test]
fn an_instance_that_is_gone_keeps_what_was_read_of_it() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let demo = start(None, dataset());
    let mut mounted = Mounted::new(&format!("{}/a40d", demo.origin()), &OPTIONS);
    let all = files(&mounted, "gray");
    let ((seen, seen_expected), (new, expected)) = (&all[0], &all[1]);
    assert!(read(seen).as_deref() == Ok(seen_expected));
    let survival = Survival::begin("F3", &mounted);
    demo.set_dataset(dataset().only(&["u16"]));
    let before = demo.requests().len();
    assert_eq!(read(new), Err(nix::libc::EIO));
    assert!(demo.requests().len() > before);
    let told = fs::read_to_string(mounted.root().join(".dvidfs/errors.jsonl")).unwrap();
    assert!(told.contains(r#""code":"instance_lost""#), "{told}");
    assert!(read(seen).as_deref() == Ok(seen_expected) && page(&direct(seen)).as_deref() == Ok(&seen_expected[..4096]));
    let names = || fs::read_dir(mounted.root()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names().any(|name| name == "gray") && new.exists(), "names stay");
    demo.set_dataset(dataset());
    let end = Instant::now() + Duration::from_secs(5);
    while read(new).as_deref() != Ok(expected) {
        assert!(Instant::now() < end, "F3: not right 5 s after");
        std::thread::sleep(Duration::from_millis(50));
    }
    survival.end(&mut mounted, 1, &["instance_lost"], (seen_expected.len() + expected.len()) as u64);
}

/// The only connection is from now on one of even number, which leads to the mounted server: its reads succeed as long as
/// it lasts.
fn connect_to_the_mounted_one<'a>(demo: &Demo, files: &mut impl Iterator<Item = &'a (PathBuf, Vec<u8>)>) {
    let end = Instant::now() + Duration::from_secs(10);
    demo.set_faults(vec![Fault::always("", FaultKind::ClosedAfter)]);
    while demo.connections().0 > 0 {
        assert!(Instant::now() < end, "F9: {} connections stay", demo.connections().0);
        assert!(read(&files.next().unwrap().0).is_ok(), "F9: before");
        std::thread::sleep(Duration::from_millis(50));
    }
    if !demo.accepted().is_multiple_of(2) {
        let before = demo.accepted();
        drop(std::net::TcpStream::connect(("127.0.0.1", demo.port())).unwrap());
        while demo.accepted() == before {
            assert!(Instant::now() < end, "F9: nobody accepts");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    demo.set_faults(Vec::new());
    assert!(read(&files.next().unwrap().0).is_ok(), "F9: before");
}

/// Two servers that take turns, connection by connection: no byte of the other one, whichever connection brings it.
#[test]
fn of_two_servers_behind_one_address_only_the_mounted_one_is_believed() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let (mut compared, mut compared_last) = (0, 0);
    for (closes, is_alone) in [(false, false), (true, false), (false, true)] {
        let demo = start(None, dataset());
        let options = [&OPTIONS[..], if is_alone { &["--max-connections", "1"] } else { &[] }].concat();
        let mut mounted = Mounted::new(&format!("{}/a40d", demo.origin()), &options);
        let files = files(&mounted, "gray");
        let (all, unread) = files.split_at(files.len() / 2);
        let mut unread = unread.iter().cycle();
        if is_alone {
            connect_to_the_mounted_one(&demo, &mut unread);
        }
        let survival = Survival::begin("F9", &mounted);
        demo.set_other_dataset(other(), 2);
        if closes {
            demo.set_faults(vec![Fault::always("", FaultKind::ClosedAfter)]);
        }
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let readers: Vec<_> = all.iter().map(|(path, _)| scope.spawn(|| read(path))).collect();
            readers.into_iter().map(|reader| reader.join().unwrap()).collect()
        });
        for ((path, expected), outcome) in all.iter().zip(outcomes) {
            match outcome {
                Ok(bytes) => {
                    assert!(bytes == *expected, "F9: {} holds other data", path.display());
                    compared += bytes.len() as u64;
                }
                Err(errno) => assert_eq!(errno, nix::libc::ESTALE, "F9"),
            }
        }
        compared_last += becomes_stale("F9", &all[0].1, || {
            demo.set_faults(vec![Fault::always("", FaultKind::ClosedAfter)]);
            let (path, expected) = unread.next().unwrap();
            let new = page(&direct(path))?;
            assert!(new == expected[..4096], "F9: {} holds other data", path.display());
            page(&direct(&all[0].0))
        });
        survival.check(&mut mounted, 1, &["identity_changed"]);
    }
    assert!(compared_last > 0, "F9: every read was refused");
    survival::report("F9", compared + compared_last);
}

/// A voxel that may change: when each edition began to be served.
struct Editions {
    began: Vec<Instant>,
    pages: Vec<Vec<u8>>,
}

/// What may change, and why.
struct Changing {
    id: &'static str,
    version: usize,
    mode: Option<&'static str>,
    versioned: bool,
}

/// Reads 10,000 times while the data changes each second: no byte is older than the ttl and a second. `at_edition` is
/// called with the number of each. Gives the mount.
fn stays_fresh(what: &Changing, mount: impl Fn(&str, &[&str]) -> Mounted, at_edition: impl Fn(u8) + Sync) -> Mounted {
    let &Changing { id, version, mode, versioned } = what;
    const TTL: Duration = Duration::from_secs(1);
    const N_EDITIONS: u8 = 6;
    let kept = |dataset: Dataset| dataset.with("gray", |spec| spec.versioned = versioned);
    let edition = |n: u8| kept(dataset()).with("gray", |spec| spec.edition = n);
    let options = DemoOptions { dataset: edition(0), mode: mode.map(str::to_owned), ..DemoOptions::default() };
    let demo = Demo::start(options).unwrap();
    let source = format!("{}/{}", demo.origin(), VERSIONS[version].uuid);
    let mut mounted = mount(&source, &[&OPTIONS[..], &["--ttl", "1s"]].concat());
    let level = &levels(&mounted.root().join("gray"))[0];
    let chunk = chunk_of(level, Coordinate::ZERO);
    let page_of = |n: u8| {
        let dataset = edition(n);
        let spec = dataset.instance("gray").unwrap();
        file_values(&dataset, version, &spec, Scale::FULL, false, chunk.voxels)[..4096].to_vec()
    };
    let pages: Vec<_> = (0..N_EDITIONS).map(page_of).collect();
    let survival = Survival::begin(id, &mounted);
    let editions = std::sync::Mutex::new(Editions { began: vec![Instant::now()], pages });
    let (mut n_reads, mut oldest, mut seen) = (0_u64, Duration::ZERO, BTreeSet::new());
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 1..N_EDITIONS {
                std::thread::sleep(Duration::from_secs(1));
                at_edition(n);
                demo.set_dataset(edition(n));
                editions.lock().unwrap().began.push(Instant::now());
            }
        });
        let file = fs::File::open(&chunk.path).unwrap();
        while n_reads < 10_000 || !writer.is_finished() {
            let asked = Instant::now();
            let bytes = page(&file).unwrap();
            let editions = editions.lock().unwrap();
            let n = editions.pages.iter().position(|page| *page == bytes).unwrap_or_else(|| panic!("{id}: no edition"));
            // Since when it was no longer served; one that is not yet noted began a moment ago.
            let age = editions.began.get(n + 1).map_or(Duration::ZERO, |ended| asked.saturating_duration_since(*ended));
            (oldest, n_reads) = (oldest.max(age), n_reads + 1);
            seen.insert(n);
            drop(editions);
            std::thread::sleep(Duration::from_micros(300));
        }
    });
    figure(
        "R39",
        format!("{id}: {n_reads} reads, the oldest byte {oldest:.2?} old, ttl 1 s"),
        "ttl + 1 s over 10,000 reads",
    );
    assert!(oldest <= TTL + Duration::from_secs(1), "{id}: a byte was {oldest:?} old");
    assert!(seen.len() >= 4, "{id}: {seen:?}");
    let mutable = mounted.log().contains("code=\"mutable_server\"");
    assert_eq!(mutable, mode.is_some(), "{id}: {}", mounted.log());
    survival.end(&mut mounted, seen.len() as u64 - 1, &[], n_reads * 4096);
    mounted
}

#[test]
fn what_may_change_is_never_older_than_the_ttl() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let mode = Some("allow writes on committed nodes");
    std::thread::scope(|scope| {
        for what in [
            Changing { id: "F5", version: 2, mode: None, versioned: true },
            Changing { id: "F6", version: 0, mode: None, versioned: false },
            Changing { id: "F7", version: 0, mode, versioned: true },
        ] {
            scope.spawn(move || drop(stays_fresh(&what, Mounted::new, |_| ())));
        }
    });
}

/// The year of the first line of a log.
fn what_year(log: &str) -> Option<u32> {
    log.lines().find_map(|line| line.get(..4)?.parse().ok())
}

/// What a program of Debian's package faketime preloads.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

#[test]
fn a_wall_clock_that_jumps_or_runs_changes_no_freshness() {
    if !can_mount() {
        return;
    }
    // The false clock reads its file, which it may not in a sandbox.
    if crate::support::is_sandboxed() {
        return;
    }
    if !Path::new(FAKETIME).exists() {
        return crate::support::skipped(&format!("fault I16: needs {FAKETIME}"));
    }
    let _limit = time_limit(Duration::from_secs(120));
    let place = tempfile::tempdir().unwrap();
    let clock = place.path().join("clock");
    // Written whole, for it is read at any time.
    let set = |text: &str| {
        let new = place.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &clock).unwrap();
    };
    set("+0d");
    let mount = |source: &str, options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dvidfs"));
        command.env("LD_PRELOAD", FAKETIME).env("FAKETIME_TIMESTAMP_FILE", &clock).env("FAKETIME_NO_CACHE", "1");
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        Mounted::started(command, source, options)
    };
    let what = Changing { id: "I16", version: 2, mode: None, versioned: true };
    let clocks = ["+0d", "+400d", "-1d", "+0 x10", "-400d", "+1d x10"];
    let mut mounted = stays_fresh(&what, mount, |edition| set(clocks[usize::from(edition)]));
    // Its own last words show that it goes by this clock.
    set("+400d");
    mounted.terminate();
    let (log, began) = (mounted.log(), what_year(&mounted.log()));
    assert!(log.lines().rev().any(|line| what_year(line) > began), "the clock never jumped:\n{log}");
}

#[test]
fn a_node_that_is_committed_while_mounted_is_kept_once_it_has_settled() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let demo = start(None, dataset());
    let source = format!("{}/{}", demo.origin(), VERSIONS[2].uuid);
    let mut mounted = Mounted::new(&source, &["--settle", "4s", "--ttl", "500ms", "--no-prefetch"]);
    let level = &levels(&mounted.root().join("gray"))[0];
    let chunk = chunk_of(level, Coordinate::ZERO);
    let spec = demo.dataset().instance("gray").unwrap();
    let expected = file_values(demo.dataset(), 2, &spec, Scale::FULL, false, chunk.voxels);
    // Mapped, so that the kernel has pages of it that are as old as the ttl allows.
    let before = fs::File::open(&chunk.path).unwrap();
    let survival = Survival::begin("F8", &mounted);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    demo.set_dataset(demo.dataset().clone().with_commit(2, now));
    let end = Instant::now() + Duration::from_secs(60);
    while !survival.log(&mounted).contains("code=\"node_settled\"") {
        assert_eq!(page(&before).as_deref(), Ok(&expected[..4096]), "F8");
        assert!(Instant::now() < end, "F8: never settled:\n{}", survival.log(&mounted));
        std::thread::sleep(Duration::from_millis(100));
    }
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(at >= now + 4, "F8: kept {} s after the commit", at - now);
    // What was fetched before lasts no longer than it did; the next answer is the first that stays.
    std::thread::sleep(Duration::from_millis(700));
    assert!(read(&chunk.path).as_deref() == Ok(&expected));
    let asked = || demo.count("/gray/subvolblocks/");
    let n_asked = asked();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(page(&direct(&chunk.path)).as_deref(), Ok(&expected[..4096]), "F8");
    assert!(read(&chunk.path).as_deref() == Ok(&expected));
    assert_eq!(asked(), n_asked, "F8: what lasts is not asked for again");
    survival.end(&mut mounted, 1, &["node_locked"], 3 * expected.len() as u64);
}
