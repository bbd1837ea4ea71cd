//! Faults J16-J19, J21: a cache that vanishes, is shared, is killed while it writes, or is very large.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::caches::{Caches, compare, compare_one, demo_of, disk_stats, wait_until_written, wanted};
use crate::support::survival::report;
use crate::support::{Survival, can_mount, figure, is_long, is_sandboxed, time_limit};

const NAMES: [&str; 3] = ["gray", "odd48", "holes"];

/// How many or how long: `usual`, `many` where tests may take long, or what the environment says.
fn from_environment(name: &str, usual: u64, many: u64) -> u64 {
    let unsaid = if is_long() { many } else { usual };
    std::env::var(name).map_or(unsaid, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// A row of numbers without order.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// J16: the whole directory is removed while the daemon runs.
#[test]
fn a_directory_that_is_removed_is_made_again() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let (demo, caches) = (demo_of(&NAMES), Caches::new());
    let mut mounted = caches.mount(&demo, &["--no-prefetch"]);
    let survival = Survival::begin("J16", &mounted);
    let all = wanted(&mounted, &demo, &NAMES);
    let (first, rest) = all.split_at(all.len() / 2);
    let mut bytes = compare(first);
    wait_until_written(&mounted);
    let n_before = caches.files().len();
    fs::remove_dir_all(caches.directory()).unwrap();
    bytes += compare(rest);
    wait_until_written(&mounted);
    bytes += compare(&all);
    // In a sandbox nothing is kept any more.
    assert!(n_before > 0 && caches.files().is_empty() == is_sandboxed(), "it is used again");
    let codes: &[&str] = if is_sandboxed() { &[] } else { &["cache_dir"] };
    survival.end(&mut mounted, n_before as u64, codes, bytes);
}

/// J17: files vanish one by one while another daemon reads them.
#[test]
fn entries_that_vanish_cost_no_byte() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let (demo, caches) = (demo_of(&NAMES), Caches::new());
    let first = caches.mount(&demo, &[]);
    compare(&wanted(&first, &demo, &NAMES));
    wait_until_written(&first);
    drop(first);
    let mut mounted = caches.mount(&demo, &[]);
    let survival = Survival::begin("J17", &mounted);
    let all = wanted(&mounted, &demo, &NAMES);
    let files = caches.files();
    let bytes = std::thread::scope(|scope| {
        scope.spawn(|| {
            for file in files.iter().step_by(2) {
                fs::remove_file(file).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        all.iter().rev().map(compare_one).sum()
    });
    survival.end(&mut mounted, files.len().div_ceil(2) as u64, &[], bytes);
}

/// The bytes that all entries take.
fn size_of(caches: &Caches) -> u64 {
    caches.files().iter().filter_map(|file| file.metadata().ok()).map(|found| found.len().next_multiple_of(4096)).sum()
}

/// J18: eight daemons share a directory that holds a third of what they read; now and then one is killed.
#[test]
fn eight_daemons_share_a_directory_and_keep_its_limit() {
    const LIMIT: u64 = 2 << 20;
    if !can_mount() {
        return;
    }
    let seconds = from_environment("DVIDFS_SHARING_SECONDS", 6, 600);
    let _limit = time_limit(Duration::from_secs(180 + 2 * seconds));
    let (demo, caches) = (demo_of(&NAMES), Caches::new());
    let size = LIMIT.to_string();
    let options = ["--cache-size", &size, "--memory", "16M", "--no-prefetch"];
    let end = Instant::now() + Duration::from_secs(seconds);
    let largest = std::sync::atomic::AtomicU64::new(0);
    let bytes: u64 = std::thread::scope(|scope| {
        let daemons: Vec<_> = (0..8_u64)
            .map(|number| {
                let (caches, demo, options, largest) = (&caches, &demo, &options, &largest);
                scope.spawn(move || {
                    let (mut bytes, mut state) = (0, number + 88);
                    let mut mounted = caches.mount(demo, options);
                    let mut all = wanted(&mounted, demo, &NAMES);
                    while bytes == 0 || Instant::now() < end {
                        for _ in 0..20 {
                            let at = usize::try_from(random(&mut state) % all.len() as u64).unwrap();
                            bytes += compare_one(&all[at]);
                        }
                        largest.fetch_max(size_of(caches), Ordering::Relaxed);
                        if random(&mut state).is_multiple_of(6) {
                            mounted.kill();
                            drop(mounted);
                            mounted = caches.mount(demo, options);
                            all = wanted(&mounted, demo, &NAMES);
                        }
                    }
                    assert_eq!(mounted.counter("disk_corrupt_entries"), 0);
                    bytes
                })
            })
            .collect();
        daemons.into_iter().map(|daemon| daemon.join().unwrap()).sum()
    });
    let largest = largest.into_inner();
    figure(
        "R32",
        format!(
            "8 daemons for {seconds} s, {} MiB compared, 0 wrong, {largest} bytes on disk, limit {LIMIT}",
            bytes >> 20
        ),
        "10 min, 0 wrong, limit kept",
    );
    assert!(largest > 0 && largest <= LIMIT + 8 * (1 << 20), "{largest}");
    report("J18", bytes);
}

/// J19: killed at any moment of writing; what is there afterwards is whole, and nothing else is.
#[test]
fn a_daemon_killed_while_it_writes_leaves_whole_entries() {
    if !can_mount() {
        return;
    }
    let kills = from_environment("DVIDFS_KILLS", 15, 200);
    let _limit = time_limit(Duration::from_secs(120 + 3 * kills));
    let (demo, caches) = (demo_of(&NAMES), Caches::new());
    let mut state = 20_261_125_u64;
    let (mut bytes, mut n_kept) = (0, 0);
    for kill in 0..kills {
        if kill % 4 == 0 {
            let _ = fs::remove_dir_all(caches.entries());
        }
        let mut mounted = caches.mount(&demo, &[]);
        let all = wanted(&mounted, &demo, &NAMES);
        let is_killed = AtomicBool::new(false);
        let delay = Duration::from_millis(random(&mut state) % 120);
        bytes += std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut bytes = 0;
                for wanted in &all {
                    match fs::read(&wanted.chunk.path) {
                        Ok(found) => {
                            assert!(found == wanted.bytes, "{}", wanted.chunk.path.display());
                            bytes += found.len() as u64;
                        }
                        Err(error) => assert!(is_killed.load(Ordering::SeqCst), "{error}"),
                    }
                }
                bytes
            });
            std::thread::sleep(delay);
            is_killed.store(true, Ordering::SeqCst);
            mounted.kill();
            reader.join().unwrap()
        });
        drop(mounted);
        n_kept += caches.files().len();
        let leftovers = caches.files().into_iter().filter(|file| is_unfinished(file));
        let leftover_bytes: u64 = leftovers.map(|file| file.metadata().map_or(0, |found| found.len())).sum();
        assert!(leftover_bytes <= 1 << 20, "{leftover_bytes}");
    }
    let after = caches.mount(&demo, &[]);
    bytes += compare(&wanted(&after, &demo, &NAMES));
    assert_eq!(after.counter("disk_corrupt_entries"), 0);
    figure(
        "R31",
        format!("{kills} of {kills} kills right, {n_kept} whole entries behind them"),
        "200 of 200, leftovers 1 MiB",
    );
    assert!(n_kept > 0, "something was written before the kills");
    report("J19", bytes);
}

fn is_unfinished(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

/// J21: a cache of very many entries delays no mount.
#[test]
fn a_cache_of_very_many_entries_delays_no_mount() {
    if !can_mount() {
        return;
    }
    let entries = from_environment("DVIDFS_ENTRIES", 100_000, 1_000_000);
    let _limit = time_limit(Duration::from_secs(120 + entries / 2000));
    let (demo, caches) = (demo_of(&["gray"]), Caches::new());
    drop(caches.mount(&demo, &[]));
    for shard in 0..256 {
        let directory = caches.entries().join(format!("{shard:02x}"));
        fs::create_dir_all(&directory).unwrap();
        fs::set_permissions(&directory, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        for n in 0..entries.div_ceil(256) {
            fs::write(directory.join(format!("{n:062x}")), b"").unwrap();
        }
    }
    let since = Instant::now();
    let mut mounted = caches.mount(&demo, &[]);
    let survival = Survival::begin("J21", &mounted);
    let ready = since.elapsed();
    fs::write(caches.entries().join("00").join(format!("{:062x}", u64::MAX)), vec![0; 123_456]).unwrap();
    let bytes = compare(&wanted(&mounted, &demo, &["gray"]));
    println!("J21: {entries} entries: mounted after {ready:?}, all read {:?} after the start", since.elapsed());
    assert!(ready < Duration::from_secs(5), "{ready:?}");
    survival.end(&mut mounted, entries, &[], bytes);
    wait_until_written(&mounted);
    assert_eq!(disk_stats(&mounted)["state"], "ok");
}
