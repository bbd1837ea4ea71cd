//! A server that goes away, readers that are killed, and many readers at once.

use std::fs;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dvidfs::demo::{Dataset, Demo, DemoOptions, Fault, FaultKind, lasting_port};
use dvidfs::geometry::{Coordinate, VoxelBox};

use crate::support::{
    Chunk, Mounted, can_mount, chunk_of, figure, file_values, is_long, levels, promised, survival, time_limit,
};

const NAMES: [&str; 7] = ["gray", "holes", "odd48", "u16", "f32", "neg", "labelarray"];

fn dataset() -> Dataset {
    Dataset::test().only(&NAMES)
}

fn test_demo() -> Demo {
    Demo::start(DemoOptions { dataset: dataset(), ..DemoOptions::default() }).unwrap()
}

fn hang(matches: &str) -> Fault {
    Fault { matches: matches.into(), nth: 0, count: 1 << 40, kind: FaultKind::HangBeforeHeaders { ms: 3_600_000 } }
}

fn chunks(mounted: &Mounted, name: &str) -> Vec<Chunk> {
    let level = &levels(&mounted.root().join(name))[0];
    let n_chunks = level.shape.div_ceil(level.chunk_shape);
    let all = VoxelBox::from_shape(Coordinate::ZERO, n_chunks).unwrap().indices().map(|index| chunk_of(level, index));
    all.filter(|chunk| chunk.path.exists()).collect()
}

#[test]
fn a_server_killed_under_eight_readers_and_started_again_costs_no_byte() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(180));
    let port = lasting_port();
    let mut demo = Demo::start(DemoOptions { dataset: dataset(), port, ..DemoOptions::default() }).unwrap();
    demo.set_delay(Duration::from_millis(30));
    let mounted = Mounted::new(&format!("{}/a40d", demo.origin()), &["--settle", "0", "--memory", "64M"]);
    let mut work = Vec::new();
    for name in &NAMES[..6] {
        let spec = demo.dataset().instance(name).unwrap();
        for chunk in chunks(&mounted, name) {
            let expected =
                file_values(demo.dataset(), 0, &spec, levels(&mounted.root().join(name))[0].scale, false, chunk.voxels);
            work.push((chunk.path, expected));
        }
    }
    let (work, next) = (Arc::new(work), Arc::new(AtomicUsize::new(0)));
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let (work, next) = (Arc::clone(&work), Arc::clone(&next));
            std::thread::spawn(move || {
                let mut n = 0;
                while let Some((path, expected)) = work.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let read = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                    assert!(read == *expected, "{} differs", path.display());
                    n += 1;
                }
                n
            })
        })
        .collect();
    while next.load(Ordering::SeqCst) < work.len() / 3 {
        std::thread::sleep(Duration::from_millis(5));
    }
    demo.stop();
    let at_death = next.load(Ordering::SeqCst);
    assert!(at_death < work.len(), "the readers were still reading");
    std::thread::sleep(Duration::from_secs(3));
    let again = Demo::start(DemoOptions { dataset: dataset(), port, ..DemoOptions::default() }).unwrap();
    let n: usize = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
    assert_eq!(n, work.len());
    assert!(again.count("blocks") > 0, "the rest came from the server that was started again");
    println!("{n} files right; the server was killed after about {at_death}");
}

/// Starts a reader of one file, by another process.
fn reader(path: &std::path::Path, direct: bool) -> std::process::Child {
    let mut dd = Command::new("dd");
    dd.arg(format!("if={}", path.display())).args(["of=/dev/null", "bs=64K"]);
    if direct {
        dd.arg("iflag=direct");
    }
    dd.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_killed_reader_is_gone_at_once() {
    if !can_mount() {
        return;
    }
    let n_readers = if is_long() { 200 } else { 12 };
    let _limit = time_limit(Duration::from_secs(60 + n_readers as u64));
    let demo = test_demo();
    let mounted = Mounted::new(&format!("{}/a40d", demo.origin()), &["--settle", "0", "--no-prefetch"]);
    let files = chunks(&mounted, "gray");
    demo.set_faults(vec![hang("subvolblocks")]);
    let mut slowest = Duration::ZERO;
    for (n, chunk) in files.iter().cycle().take(n_readers).enumerate() {
        let mut child = reader(&chunk.path, n % 2 == 1);
        std::thread::sleep(Duration::from_millis(250));
        assert!(child.try_wait().unwrap().is_none(), "the reader waits");
        let signal = if n % 4 < 2 { nix::sys::signal::Signal::SIGKILL } else { nix::sys::signal::Signal::SIGTERM };
        let killed = Instant::now();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
        child.wait().unwrap();
        slowest = slowest.max(killed.elapsed());
    }
    figure("R6", format!("{n_readers} killed readers, the slowest gone after {slowest:.1?}"), "200 of 200 in 0.2 s");
    assert!(slowest < promised(Duration::from_millis(200)), "{slowest:?}");
    let end = Instant::now() + Duration::from_secs(5);
    let now = || (mounted.now("parked_reads"), mounted.now("queued_blocks"));
    while now() != (0, 0) {
        assert!(Instant::now() < end, "reads of dead readers are parked, or their blocks asked for: {:?}", now());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(mounted.counter("failed_reads"), 0, "a killed reader is no failed read");
    assert!(demo.fault_hits(0) > 0);
    mounted.wait_for_code("reader_killed");
    survival::report("H1", 0);
    survival::report("H2", 0);
}

#[test]
fn four_thousand_readers_of_a_cold_block_cost_one_fetch() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let demo = test_demo();
    let mounted = Mounted::new(&format!("{}/a40d", demo.origin()), &["--settle", "0", "--no-prefetch"]);
    demo.set_delay(Duration::from_millis(1500));
    let chunk = chunks(&mounted, "labelarray").swap_remove(0);
    let spec = demo.dataset().instance("labelarray").unwrap();
    let expected = Arc::new(file_values(demo.dataset(), 0, &spec, dvidfs::geometry::Scale::FULL, false, chunk.voxels));
    let before = demo.count("/labelarray/blocks/");
    let path = Arc::new(chunk.path);
    let readers: Vec<_> = (0..4000)
        .map(|n| {
            let (path, expected) = (Arc::clone(&path), Arc::clone(&expected));
            let read = move || {
                let file = fs::File::open(&*path).unwrap();
                let (offset, mut buffer) = (n % 512 * 4096, [0; 4096]);
                file.read_exact_at(&mut buffer, offset as u64).unwrap();
                assert!(buffer == expected[offset..offset + 4096]);
            };
            std::thread::Builder::new().stack_size(64 << 10).spawn(read).unwrap()
        })
        .collect();
    for reader in readers {
        reader.join().unwrap();
    }
    assert_eq!(demo.count("/labelarray/blocks/") - before, 1, "H4");
    survival::report("H4", 4000 * 4096);
    figure("R12", "4,000 readers of one cold block, 1 request", "1 request");
}

#[test]
fn cached_reads_are_quick_beside_hanging_fetches() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let demo = Demo::start(DemoOptions { dataset: Dataset::large(), ..DemoOptions::default() }).unwrap();
    let mounted = Mounted::new(&format!("{}/a40d", demo.origin()), &["--settle", "0", "--no-prefetch"]);
    let level = &levels(&mounted.root().join("grayscale"))[0];
    let cached = chunk_of(level, Coordinate::ZERO);
    let spec = demo.dataset().instance("grayscale").unwrap();
    let expected = file_values(demo.dataset(), 0, &spec, level.scale, false, cached.voxels);
    assert!(fs::read(&cached.path).unwrap() == expected);
    demo.set_faults(vec![hang("subvolblocks")]);
    // Past the kernel's cache, so that each has one read that waits, and none is read ahead.
    let mut hanging: Vec<_> =
        (0..256).map(|n| reader(&chunk_of(level, Coordinate::new(n + 7, 3, 5)).path, true)).collect();
    let end = Instant::now() + Duration::from_secs(60);
    while mounted.now("parked_reads") < 256 {
        assert!(Instant::now() < end, "{} of 256 fetches hang", mounted.now("parked_reads"));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(demo.fault_hits(0) > 0);
    // O_DIRECT goes past the kernel's own cache, to the daemon.
    let file = fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_DIRECT).open(&cached.path).unwrap();
    let mut times: Vec<Duration> = (0..10_000)
        .map(|n| {
            let mut buffer = vec![0; 4096];
            let (begin, offset) = (Instant::now(), n % 64 * 4096);
            file.read_exact_at(&mut buffer, offset as u64).unwrap();
            assert!(buffer == expected[offset..offset + 4096]);
            begin.elapsed()
        })
        .collect();
    assert_eq!(mounted.now("parked_reads"), 256, "all of them hung beside it");
    times.sort();
    let (p99, most) = (times[9_900], times[9_999]);
    figure(
        "R8",
        format!("10,000 cached reads beside 256 hanging fetches: p99 {p99:.1?}, max {most:.1?}"),
        "p99 50 ms, max 200 ms",
    );
    assert!(p99 < promised(Duration::from_millis(50)), "{p99:?}");
    assert!(most < promised(Duration::from_millis(200)), "{most:?}");
    survival::report("H6", 10_000 * 4096);
    for child in &mut hanging {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_read_that_is_given_up_is_an_error_and_not_absence() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let mut demo = test_demo();
    let mounted = Mounted::new(&format!("{}/a40d", demo.origin()), &["--settle", "0", "--patience", "2s"]);
    let chunk = chunks(&mounted, "gray").swap_remove(0);
    demo.stop();
    let begin = Instant::now();
    let error = fs::read(&chunk.path).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(nix::libc::EIO));
    assert!(begin.elapsed() > Duration::from_millis(1900), "never before patience ends: {:?}", begin.elapsed());
    assert!(chunk.path.exists(), "it is still there");
    let errors = fs::read_to_string(mounted.root().join(".dvidfs/errors.jsonl")).unwrap();
    assert!(errors.contains("gray/volume.zarr/s0/0/0/0"), "{errors}");
    assert!(mounted.counter("failed_reads") > 0);
}

#[test]
fn memory_stays_within_its_budget() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(180));
    let demo = Demo::start(DemoOptions { dataset: Dataset::large(), ..DemoOptions::default() }).unwrap();
    let mounted = Mounted::new(&format!("{}/a40d", demo.origin()), &["--settle", "0", "--memory", "64M"]);
    let mut most = 0;
    for (name, n_chunks) in [("grayscale", 400_i64), ("segmentation", 100)] {
        let level = &levels(&mounted.root().join(name))[0];
        let read = |n: i64| fs::read(chunk_of(level, Coordinate::new(9, n % 20, n / 20)).path).unwrap();
        std::thread::scope(|scope| {
            for part in 0..4 {
                scope.spawn(move || (0..n_chunks).filter(|n| n % 4 == part).map(read).for_each(drop));
            }
            for _ in 0..20 {
                most = most.max(mounted.resident_bytes());
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        most = most.max(mounted.resident_bytes());
    }
    println!("resident at most {} MiB of a budget of 64 MiB", most >> 20);
    assert!(most < (64 + 64) << 20, "{} MiB", most >> 20);
}
