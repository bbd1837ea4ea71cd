//! The soak itself: three mounts, sixteen readers, faults, kills, and what is left of it all at the end.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use serde_json::json;

use super::daemon::{Daemon, clear};
use super::expected::{Expected, expected};
use super::live::{Editions, Live, TTL};
use super::random::Random;
use super::readers::{Reader, Sums, Tally};
use super::report::{Report, busiest_second, slope_an_hour};
use super::server::Server;
use super::sky::{Sky, What};
use super::weather::{Met, Weather};
use super::{Clock, Outcome, Plan};

/// The mounts by number.
const STEADY: usize = 0;
const KILLED: usize = 1;
const LIVE: usize = 2;
/// Readers of each mount: sixteen together.
const READERS: [u64; 3] = [7, 6, 3];
/// Memory for blocks of each daemon, far less than the data.
const MEMORY_MIB: u64 = 16;
/// What a daemon may take beyond.
const BEYOND_MIB: u64 = 64;
/// Each of the two mounts is killed so often, if the run is long enough.
const KILL_EACH: Duration = Duration::from_secs(60);
const DROP_EACH: Duration = Duration::from_secs(20);
/// A slope over less time is the noise of an allocator.
const SLOPE_JUDGED: Duration = Duration::from_secs(30 * 60);
/// Nobody may wait longer beyond what was injected.
const LONGEST_STALL: Duration = Duration::from_secs(10);
/// Two of the log's own seconds, of ten lines each, may meet in a second of the clock.
const LINES_PER_SECOND: u64 = 20;

/// What all threads share.
struct Stage {
    server: Mutex<Server>,
    sky: Sky,
    tally: Tally,
    files: Vec<Expected>,
    editions: Editions,
    gate: RwLock<()>,
    cache_limit: u64,
}

/// What the helpers have seen.
struct Seen {
    met: Met,
    n_editions: u64,
    n_kills: u64,
    slowest_return: Duration,
    n_drops: u64,
    samples: Vec<(f64, f64)>,
    most_resident: u64,
    pieces: (u64, Duration),
}

/// Whether all figures are as wanted.
pub(super) fn run(plan: &Plan) -> Outcome<bool> {
    let home = scratch()?;
    let (stage, mut mounts) = prepare(plan, home.path())?;
    let calm = calm_of(&mounts[STEADY]);
    let guard = watchdog(plan.lasting, &mounts);
    let seen = go_on(plan, &stage, &mut mounts)?;
    let mut report = Report::default();
    told(&mut report, &stage, &mut mounts, calm)?;
    let Stage { tally, .. } = stage;
    report.line("gone on to its end", !super::is_interrupted(), true, !super::is_interrupted());
    figures(&mut report, &tally.sums(), &seen, plan);
    ends(&mut report, &mut mounts)?;
    drop(guard);
    Ok(report.n_missed() == 0)
}

pub(super) fn scratch() -> Outcome<tempfile::TempDir> {
    let below = std::env::var_os("DVIDFS_TEST_TMP").map_or_else(std::env::temp_dir, Into::into);
    Ok(tempfile::Builder::new().prefix("dvidfs-soak-").tempdir_in(fs::canonicalize(below)?)?)
}

/// A new directory, as a word for the program.
pub(super) fn directory(home: &Path, name: &str) -> Outcome<String> {
    let directory = home.join(name);
    fs::create_dir(&directory)?;
    Ok(directory.display().to_string())
}

/// Starts the server, reads everything once while nothing is wrong, and mounts.
fn prepare(plan: &Plan, home: &Path) -> Outcome<(Stage, [Daemon; 3])> {
    let mut server = Server::start(plan.amount())?;
    let (locked, open) = (server.url("a40d"), server.url("c334"));
    let memory = format!("{MEMORY_MIB}M");
    let patience: Vec<&str> = plan.patience.iter().flat_map(|time| ["--patience", time.as_str()]).collect();
    let began = Instant::now();
    let whole = directory(home, "whole")?;
    let options = [&["--cache-dir", whole.as_str(), "--memory", &memory], &patience[..]].concat();
    let quiet = Daemon::start(&plan.program, home, "quiet", &locked, &options)?;
    let files = expected(quiet.root(), plan.amount())?;
    let n_data = read_all(&quiet, &files)?;
    let cached = settled_cache(&quiet)?;
    drop(quiet);
    let limit = cached / 4;
    let (n_files, oracle) = (files.len(), files.iter().filter(|file| file.by_oracle).count());
    println!(
        "{n_files} files of {:.1} MiB, {oracle} of them by the pure function; {:.1} MiB in the disk cache, of which {:.1} are allowed; prepared in {:?}",
        mib(n_data),
        mib(cached),
        mib(limit),
        began.elapsed()
    );
    let (cache, limit_word) = (directory(home, "cache")?, limit.to_string());
    let options =
        [&["--cache-dir", cache.as_str(), "--cache-size", &limit_word, "--memory", &memory], &patience[..]].concat();
    let supervised = [&options[..], &["--supervise"]].concat();
    let ttl = format!("{}s", TTL.as_secs());
    let changing = [&["--no-cache", "--ttl", ttl.as_str(), "--memory", &memory], &patience[..]].concat();
    let mounts = [
        Daemon::start(&plan.program, home, "steady", &locked, &options)?,
        Daemon::start(&plan.program, home, "killed", &locked, &supervised)?,
        Daemon::start(&plan.program, home, "open", &open, &changing)?,
    ];
    if plan.plant.is_some() {
        // Without a checksum nobody can know of it.
        let flipped =
            json!([{"match": "/gray_none/subvolblocks", "nth": 2, "count": 1, "kind": "flipped_bit", "bit": 4099}]);
        server.plant(flipped)?;
    }
    let stage = Stage {
        server: Mutex::new(server),
        sky: Sky::default(),
        tally: Tally::default(),
        files,
        editions: Editions::default(),
        gate: RwLock::default(),
        cache_limit: limit,
    };
    Ok((stage, mounts))
}

#[allow(clippy::cast_precision_loss)] // for people
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Compares every file once. Their bytes.
fn read_all(quiet: &Daemon, files: &[Expected]) -> Outcome<u64> {
    for file in files {
        let path = quiet.root().join(&file.path);
        if fs::read(&path)? != file.bytes {
            return Err(format!("{} is wrong before anything went wrong", path.display()).into());
        }
    }
    Ok(files.iter().map(|file| file.bytes.len() as u64).sum())
}

/// What the disk cache holds when all is written.
fn settled_cache(quiet: &Daemon) -> Outcome<u64> {
    let end = Instant::now() + Duration::from_secs(60);
    while quiet.stats().is_none_or(|stats| stats["disk_cache"]["queued_bytes"] != 0) {
        if Instant::now() > end {
            return Err("the disk cache is not written".into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    match quiet.counter("disk_held_bytes") {
        0 => Err("nothing is in the disk cache".into()),
        bytes => Ok(bytes),
    }
}

fn calm_of(steady: &Daemon) -> Option<(usize, usize, usize)> {
    steady.threads_files_sockets()
}

/// Ends the program if it does not end by itself: whoever hangs in a mount is freed.
fn watchdog(lasting: Duration, mounts: &[Daemon; 3]) -> std::sync::mpsc::Sender<()> {
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let roots: Vec<_> = mounts.iter().map(|mount| mount.root().to_owned()).collect();
    std::thread::spawn(move || {
        let limit = lasting + Duration::from_secs(300);
        if receiver.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            eprintln!("soak: does not end: its mounts are aborted");
            roots.iter().for_each(|root| clear(root));
            std::process::exit(101);
        }
    });
    sender
}

/// Readers, faults, kills and everything else, until the time is over.
fn go_on(plan: &Plan, stage: &Stage, mounts: &mut [Daemon; 3]) -> Outcome<Seen> {
    let roots = mounts.each_ref().map(|mount| mount.root().to_owned());
    let live = Live::new((LIVE, &roots[LIVE]), &stage.gate, &stage.editions, (&stage.sky, &stage.tally));
    let clock = Arc::new(Clock::new(plan.lasting));
    let (clock, live, seed) = (&*clock, &live, plan.seed);
    let [steady, killed, open] = mounts;
    std::thread::scope(|scope| {
        for n in 0..READERS.iter().sum() {
            let random = Random(seed.wrapping_mul(1000) + n);
            if n >= READERS[STEADY] + READERS[KILLED] {
                scope.spawn(move || live.go_on(clock, random));
                continue;
            }
            let number = if n < READERS[STEADY] { STEADY } else { KILLED };
            let mount = (number, roots[number].as_path());
            let reader = Reader { mount, files: &stage.files, sky: &stage.sky, tally: &stage.tally, random };
            scope.spawn(move || reader.go_on(clock));
        }
        let server = &stage.server;
        let weather = Weather { server, sky: &stage.sky, with_failures: true, random: Random(seed ^ 0x5eed) };
        let weather = scope.spawn(move || weather.go_on(clock));
        let editions = scope.spawn(move || stage.editions.move_on(server, clock, Random(seed ^ 0xed)));
        let drops = scope.spawn(move || drop_caches(clock));
        let steady: &Daemon = steady;
        let sampler = scope.spawn(move || sample(clock, steady));
        let kills = scope.spawn(move || kill_each(clock, plan.lasting, stage, killed, open));
        let (n_kills, slowest_return) = joined(kills.join())??;
        let (samples, most_resident) = joined(sampler.join())?;
        Ok(Seen {
            met: joined(weather.join())??,
            n_editions: joined(editions.join())??,
            n_kills,
            slowest_return,
            n_drops: joined(drops.join())?,
            samples,
            most_resident,
            pieces: live.oldest(),
        })
    })
}

fn joined<T>(result: std::thread::Result<T>) -> Outcome<T> {
    result.map_err(|_| "a thread of the soak panicked".into())
}

/// Takes from the kernel what it keeps; how often that went.
pub(super) fn drop_caches(clock: &Clock) -> u64 {
    let mut n = 0;
    while clock.sleep(DROP_EACH) {
        n += u64::from(fs::write("/proc/sys/vm/drop_caches", "3").is_ok());
    }
    n
}

/// Seconds and resident bytes, and the most of those.
fn sample(clock: &Clock, daemon: &Daemon) -> (Vec<(f64, f64)>, u64) {
    let (mut samples, mut most) = (Vec::new(), 0);
    while clock.sleep(Duration::from_secs(1)) {
        let Some(bytes) = daemon.resident_bytes() else { continue };
        #[allow(clippy::cast_precision_loss)] // far below 2^52
        samples.push((clock.began.elapsed().as_secs_f64(), bytes as f64));
        most = most.max(bytes);
    }
    (samples, most)
}

/// Kills the supervised daemon and the one of the open node in turn. How often, and the longest until a mount was back.
fn kill_each(
    clock: &Clock,
    lasting: Duration,
    stage: &Stage,
    killed: &mut Daemon,
    open: &mut Daemon,
) -> Outcome<(u64, Duration)> {
    let (mut n, mut slowest) = (0, Duration::ZERO);
    while clock.sleep(KILL_EACH.min(lasting / 2) / 2) {
        let is_supervised = n % 2 == 0;
        let window = stage.sky.begin(What::Dead(if is_supervised { KILLED } else { LIVE }));
        let began = Instant::now();
        if is_supervised {
            let pid = killed.kill()?;
            killed.wait_until_usable(Some(pid))?;
        } else {
            open.kill()?;
            // Readers see the dead mount; while there is none at all, the directory would look empty to them.
            std::thread::sleep(Duration::from_secs(1));
            let _gate = stage.gate.write().map_err(|_| "a reader panicked")?;
            // A mount looks at blocks and is refused if it gets wrong ones: nothing goes wrong meanwhile.
            let mut server = stage.server.lock().map_err(|_| "a thread panicked with the server")?;
            server.set_faults(&json!([]))?;
            open.replace()?;
        }
        stage.sky.end(window, Duration::ZERO);
        (n, slowest) = (n + 1, slowest.max(began.elapsed()));
    }
    Ok((n, slowest))
}

/// What the mounts tell of themselves when nobody reads any more.
fn told(
    report: &mut Report,
    stage: &Stage,
    mounts: &mut [Daemon; 3],
    calm: Option<(usize, usize, usize)>,
) -> Outcome<()> {
    let stuck = mounts.iter().map(Daemon::left_waiting).fold(0, u64::saturating_add);
    report.none("stuck requests, 2 s after", stuck, &[]);
    let steady = &mounts[STEADY];
    let (mut after, end) = (None, Instant::now() + Duration::from_secs(10));
    let before = calm.ok_or("no threads are seen")?;
    while Instant::now() < end {
        after = steady.threads_files_sockets();
        if after.is_some_and(|after| after.0.abs_diff(before.0) <= 2 && after.1.abs_diff(before.1) <= 2) {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let after = after.ok_or("no threads are seen")?;
    report.line("threads", after.0, format!("{} +- 2", before.0), after.0.abs_diff(before.0) <= 2);
    report.line("open files but sockets", after.1, format!("{} +- 2", before.1), after.1.abs_diff(before.1) <= 2);
    let failed = steady.counter("failed_reads");
    let lines = fs::read_to_string(steady.root().join(".dvidfs/errors.jsonl"))?.lines().count() as u64;
    report.line("failed reads that stand in errors.jsonl", lines, failed.min(500), lines == failed.min(500));
    let panics: u64 = mounts.iter().map(|mount| mount.counter("panics")).sum();
    let logs: Vec<&Path> = mounts.iter().map(Daemon::log).collect();
    let (most, which, logged) = busiest_second(&logs)?;
    report.none("panics", panics.max(logged), &[]);
    report.line(
        "log lines of a code in a second",
        format!("{most} ({which})"),
        LINES_PER_SECOND,
        most <= LINES_PER_SECOND,
    );
    let held = steady.counter("disk_held_bytes");
    // Two daemons write to it, each up to 64 MiB beyond.
    let limit = stage.cache_limit + (128 << 20);
    report.line("disk cache, MiB", format!("{:.1}", mib(held)), format!("{:.1}", mib(limit)), held <= limit);
    println!("given by the mount that was never killed: {:.2} GiB", mib(steady.counter("fuse_read_bytes")) / 1024.0);
    Ok(())
}

/// What the readers and the helpers have seen.
fn figures(report: &mut Report, sums: &Sums, seen: &Seen, plan: &Plan) {
    let gib = |bytes: u64| format!("{:.2} GiB", mib(bytes) / 1024.0);
    let compared = gib(sums.oracle_bytes);
    report.none(&format!("wrong bytes of {compared} compared with the pure function"), sums.wrong.0, &sums.wrong.1);
    report.line("bytes compared with it", sums.oracle_bytes, "> 0", sums.oracle_bytes > 0);
    println!("    and of {} compared with a first read, by {} reads", gib(sums.other_bytes), sums.reads);
    report.none("reads failed without a reason", sums.unexplained.0, &sums.unexplained.1);
    sums.failed.iter().for_each(|(reason, n)| println!("    {n} with a reason: {reason}"));
    let (stall, place) = &sums.longest;
    report.line(
        "longest stall beyond injected time, s",
        format!("{:.1} ({place})", stall.as_secs_f64()),
        LONGEST_STALL.as_secs(),
        *stall <= LONGEST_STALL,
    );
    let (pieces, oldest) = seen.pieces;
    report.line("open node: pieces of one current version", pieces, "> 0", pieces > 0);
    println!(
        "    {} versions; the oldest had ended {:.2} s before a read began, ttl {} s",
        seen.n_editions,
        oldest.as_secs_f64(),
        TTL.as_secs()
    );
    let most = seen.most_resident >> 20;
    report.line("most resident, MiB", most, MEMORY_MIB + BEYOND_MIB, most <= MEMORY_MIB + BEYOND_MIB);
    let slope = slope_an_hour(&seen.samples[seen.samples.len() / 3..]) / f64::from(1 << 20);
    let is_judged = plan.lasting >= SLOPE_JUDGED;
    let wanted = if is_judged { "1.0" } else { "1.0, not judged in less than 30 min" };
    report.line("resident memory grows, MiB an hour", format!("{slope:.1}"), wanted, !is_judged || slope <= 1.0);
    let hits: u64 = seen.met.values().map(|(_, hits)| hits).sum();
    report.line("injected faults met by requests", hits, "> 0", hits > 0);
    seen.met.iter().for_each(|(name, (times, hits))| println!("    {times} times {name}, met {hits} times"));
    report.line("daemons killed", seen.n_kills, "> 1", seen.n_kills > 1);
    println!("    back after {:?} at most", seen.slowest_return);
    report.line("times the kernel's caches were dropped", seen.n_drops, "> 0", seen.n_drops > 0);
}

/// All daemons end in order.
fn ends(report: &mut Report, mounts: &mut [Daemon; 3]) -> Outcome<()> {
    for mount in mounts {
        let ended = mount.terminate()?;
        let is_gone = !dvidfs::fuse::mounts()?.iter().any(|entry| entry.mount_point == mount.root());
        let holds = is_gone && ended.is_some_and(|(code, took)| code == Some(0) && took < Duration::from_secs(5));
        let name = mount.root().file_name().unwrap_or_default().display().to_string();
        report.line(&format!("{name}: exit code, time"), format!("{ended:?}"), "0, < 5 s", holds);
    }
    Ok(())
}
