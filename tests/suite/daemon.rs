//! Signals, crashes and a machine that is short of everything: I1-I20.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dvidfs::demo::{Dataset, Demo, DemoOptions, Fault, FaultKind, VERSIONS, lasting_port};
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{
    Mounted, Scratch, Survival, can_mount, chunk_files, compare, figure, is_long, is_sandboxed, promised, survival,
    time_limit,
};

const OPTIONS: [&str; 3] = ["--settle", "0", "--no-prefetch"];

fn dataset() -> Dataset {
    Dataset::test().only(&["gray", "u16"])
}

fn demo() -> Demo {
    Demo::start(DemoOptions { dataset: dataset(), ..DemoOptions::default() }).unwrap()
}

/// 192 chunks of gray.
fn large() -> Demo {
    Demo::start(DemoOptions { dataset: Dataset::standard(), ..DemoOptions::default() }).unwrap()
}

fn source(demo: &Demo) -> String {
    format!("{}/{}", demo.origin(), VERSIONS[0].uuid)
}

fn files(mounted: &Mounted) -> Vec<(PathBuf, Vec<u8>)> {
    chunk_files(&mounted.root(), &dataset(), 0, "gray")
}

fn hang() -> Fault {
    Fault::always("blocks", FaultKind::HangBeforeHeaders { ms: 3_600_000 })
}

fn direct(path: &Path) -> fs::File {
    fs::OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).unwrap()
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether a mount can be supervised here; `a_supervisor_is_refused_who_could_not_mount_over_a_dead_mount` is about the others.
fn can_supervise(fault: &str) -> bool {
    if !is_root() {
        skipped(fault, "only root can supervise a mount");
    }
    can_mount() && is_root()
}

fn has_program(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn skipped(fault: &str, why: &str) {
    crate::support::skipped(&format!("fault {fault}: {why}"));
}

/// Readers that hang in a mount, and what becomes of them.
pub(crate) fn pending(
    files: &[(PathBuf, Vec<u8>)],
    n: usize,
    mounted: &Mounted,
) -> Vec<std::thread::JoinHandle<Option<i32>>> {
    let path = |n: usize| files[n % files.len()].0.clone();
    let read = |path: PathBuf| move || direct(&path).read_at(&mut [0; 4096], 0).err().and_then(|e| e.raw_os_error());
    let readers = (0..n).map(|n| std::thread::spawn(read(path(n)))).collect();
    let end = Instant::now() + Duration::from_secs(20);
    while mounted.waiting().is_some_and(|waiting| waiting < n as u64) {
        assert!(Instant::now() < end, "readers wait");
        std::thread::sleep(Duration::from_millis(10));
    }
    readers
}

#[test]
fn a_mount_is_there_at_once_and_gone_at_once() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let demo = demo();
    let (mut start, mut stop) = (Duration::MAX, Duration::MAX);
    // The quickest of a few, since other tests run beside this one.
    for _ in 0..5 {
        let place = Scratch::new();
        let dvidfs =
            |words: &[&str]| Command::new(env!("CARGO_BIN_EXE_dvidfs")).args(words).status().unwrap().success();
        let directory = place.mountpoint();
        let directory = directory.to_str().unwrap();
        let since = Instant::now();
        assert!(dvidfs(&["mount", "--settle", "0", "--no-cache", &source(&demo), directory]));
        let chunk = Path::new(directory).join("gray/volume.zarr/s0/0/0/0");
        fs::File::open(chunk).unwrap().read_exact(&mut [0]).unwrap();
        start = start.min(since.elapsed());
        let since = Instant::now();
        assert!(dvidfs(&["umount", directory]));
        stop = stop.min(since.elapsed());
    }
    figure("R51", format!("first byte {start:.2?} after the start, unmounted in {stop:.2?}"), "0.3 s, 0.5 s");
    assert!(start < promised(Duration::from_millis(300)), "{start:?}");
    assert!(stop < promised(Duration::from_millis(500)), "{stop:?}");
}

#[test]
fn a_signal_ends_a_mount_in_order_whoever_reads() {
    if !can_mount() {
        return;
    }
    let n_repeats = if is_long() { 50 } else { 2 };
    let _limit = time_limit(Duration::from_secs(180 + 10 * n_repeats));
    let demo = demo();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut mounted = Mounted::new(&source(&demo), &OPTIONS);
        let since = Instant::now();
        mounted.signal(signal);
        assert_eq!(mounted.wait_for_end(), Some(0), "I1: {signal}");
        assert!(since.elapsed() < promised(Duration::from_secs(1)), "I1: {:?}", since.elapsed());
        assert!(!mounted.is_mounted(), "I1");
        assert!(mounted.log().contains("code=\"unmounted\""), "I1: {}", mounted.log());
    }
    survival::report("I1", 0);
    let mut slowest = Duration::ZERO;
    let pending_ones = (0..n_repeats).map(|_| ("I2", 1, 5));
    for (id, n_signals, limit) in pending_ones.chain([("I3", 2, 1)]) {
        let mut mounted = Mounted::new(&source(&demo), &OPTIONS);
        let files = files(&mounted);
        demo.set_faults(vec![hang()]);
        let readers = pending(&files, 100, &mounted);
        let listed = std::thread::spawn({
            let (path, root) = (files[0].0.clone(), mounted.root());
            // As long as it is mounted its names are there.
            move || while fs::read_dir(&root).is_ok_and(|names| names.count() > 2) && path.exists() {}
        });
        mounted.signal(Signal::SIGTERM);
        if n_signals == 2 {
            std::thread::sleep(Duration::from_millis(300));
            mounted.signal(Signal::SIGTERM);
        }
        let since = Instant::now();
        assert_eq!(mounted.wait_for_end(), Some(0), "{id}");
        let took = since.elapsed();
        slowest = slowest.max(took);
        assert!(took < promised(Duration::from_secs(limit)), "{id}: {took:?}");
        let outcomes: BTreeSet<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        assert_eq!(outcomes, BTreeSet::from([Some(libc::EIO)]), "{id}: every reader is told");
        assert!(!mounted.is_mounted() && mounted.log().contains("code=\"shutdown\""), "{id}");
        listed.join().unwrap();
        demo.set_faults(Vec::new());
    }
    figure(
        "R15",
        format!("{n_repeats} ends under 100 pending reads: exit code 0 within {slowest:.1?}, each reader EIO"),
        "50 of 50 within 5 s",
    );
    survival::report("I2", 0);
    survival::report("I3", 0);
}

#[test]
fn other_signals_change_nothing() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let demo = demo();
    let mut mounted = Mounted::new(&source(&demo), &OPTIONS);
    let files = files(&mounted);
    let survival = Survival::begin("I4", &mounted);
    let mut compared = 0;
    for (n, signal) in [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGPIPE, Signal::SIGALRM].into_iter().enumerate() {
        // The last one ends a program that does not expect it.
        if signal != Signal::SIGALRM {
            mounted.signal(signal);
        }
        std::thread::sleep(Duration::from_millis(50));
        compared += compare(&files[n..=n]);
    }
    survival.end(&mut mounted, 3, &[], compared);
    // A daemon outlives its terminal; in front SIGHUP unmounts, which `a_daemon_ends_on_sigterm_and_not_with_its_terminal` holds.
    let scratch = Scratch::new();
    let started =
        Command::new(env!("CARGO_BIN_EXE_dvidfs")).arg(source(&demo)).arg(scratch.mountpoint()).status().unwrap();
    assert!(started.success());
    let stats: serde_json::Value =
        serde_json::from_slice(&fs::read(scratch.mountpoint().join(".dvidfs/stats.json")).unwrap()).unwrap();
    let pid = Pid::from_raw(i32::try_from(stats["pid"].as_i64().unwrap()).unwrap());
    kill(pid, Signal::SIGHUP).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(scratch.mountpoint().join("README.txt").exists());
    kill(pid, Signal::SIGTERM).unwrap();
}

/// What a path shows while its daemon dies and another one takes over: an error or all that is there.
struct Witness {
    is_over: std::sync::Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(BTreeSet<String>, Duration)>,
}

impl Witness {
    fn of(root: PathBuf, path: PathBuf, expected: Vec<u8>) -> Self {
        let is_over = std::sync::Arc::new(AtomicBool::new(false));
        let over = std::sync::Arc::clone(&is_over);
        let watch = move || {
            let (mut seen, mut longest, mut good) = (BTreeSet::new(), Duration::ZERO, Instant::now());
            while !over.load(Ordering::SeqCst) {
                match fs::read(&path) {
                    Ok(bytes) => {
                        assert!(bytes == expected, "wrong bytes");
                        longest = longest.max(good.elapsed());
                        good = Instant::now();
                    }
                    Err(error) => drop(
                        seen.insert(format!("read: {:?}", nix::errno::Errno::from_raw(error.raw_os_error().unwrap()))),
                    ),
                }
                match fs::read_dir(&root).and_then(|names| names.collect::<Result<Vec<_>, _>>()) {
                    Ok(names) => assert!(names.len() > 3, "a directory with {} names", names.len()),
                    Err(error) => drop(
                        seen.insert(format!("list: {:?}", nix::errno::Errno::from_raw(error.raw_os_error().unwrap()))),
                    ),
                }
                std::thread::sleep(Duration::from_micros(200));
            }
            (seen, longest)
        };
        Self { is_over, thread: std::thread::spawn(watch) }
    }

    /// The errors that were seen, and the longest time without a good read.
    fn end(self) -> (BTreeSet<String>, Duration) {
        self.is_over.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

fn is_only(seen: &BTreeSet<String>, allowed: &[&str]) -> bool {
    seen.iter().all(|one| allowed.iter().any(|errno| one.ends_with(errno)))
}

#[test]
fn a_crash_is_an_error_until_the_supervisor_has_mounted_again() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(if is_long() { 900 } else { 180 }));
    let demo = demo();
    // Without a supervisor it stays.
    let mut mounted = Mounted::new(&source(&demo), &OPTIONS);
    let (path, expected) = files(&mounted).swap_remove(0);
    mounted.signal(Signal::SIGKILL);
    mounted.wait_for_end();
    for _ in 0..100 {
        assert_eq!(fs::read(&path).unwrap_err().raw_os_error(), Some(libc::ENOTCONN), "I5");
        assert_eq!(fs::read_dir(mounted.root()).unwrap_err().raw_os_error(), Some(libc::ENOTCONN), "I5");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(mounted);

    if !can_supervise("I5") {
        return;
    }
    // Ten deaths within a minute are a program that cannot live: each supervisor meets three.
    let n_supervisors = if is_long() { 17 } else { 1 };
    let (mut seen, mut slowest, mut longest) = (BTreeSet::new(), Duration::ZERO, Duration::ZERO);
    for _ in 0..n_supervisors {
        let crashes = crash_thrice(&demo, &path, &expected);
        seen.extend(crashes.seen);
        (slowest, longest) = (slowest.max(crashes.slowest), longest.max(crashes.longest));
    }
    let n_crashes = 3 * n_supervisors;
    figure(
        "R14",
        format!(
            "{n_crashes} crashes, mounted again within {slowest:.1?}, no good read for {longest:.1?}, seen {seen:?}"
        ),
        "50 of 50 never ENOENT, 2 s",
    );
    survival::report("I5", n_crashes * expected.len() as u64);
}

/// What a reader saw of crashes.
struct Crashes {
    seen: BTreeSet<String>,
    /// The longest time until it was mounted again.
    slowest: Duration,
    /// The longest time without a good read.
    longest: Duration,
}

/// Mounts under a supervisor, and kills the program behind the mount in three ways. `path` is of another mount.
fn crash_thrice(demo: &Demo, path: &Path, expected: &[u8]) -> Crashes {
    let mut mounted = Mounted::new(&source(demo), &[&OPTIONS[..], &["--supervise"]].concat());
    let path = mounted.root().join(path.strip_prefix(path.ancestors().nth(6).unwrap()).unwrap());
    let witness = Witness::of(mounted.root(), path.clone(), expected.to_vec());
    let mut slowest = Duration::ZERO;
    for signal in [Signal::SIGKILL, Signal::SIGABRT, Signal::SIGQUIT] {
        let before = mounted.serving_pid().unwrap();
        assert_ne!(before, i32::try_from(mounted.pid()).unwrap(), "another process serves");
        let since = Instant::now();
        kill(Pid::from_raw(before), signal).unwrap();
        while fs::read(&path).ok().as_deref() != Some(expected) || mounted.serving_pid().is_none_or(|pid| pid == before)
        {
            let is_late = since.elapsed() > promised(Duration::from_secs(2));
            assert!(!is_late, "I5: not mounted again after {signal}: {}", mounted.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        slowest = slowest.max(since.elapsed());
    }
    let (seen, longest) = witness.end();
    assert!(is_only(&seen, &["ENOTCONN", "ECONNABORTED"]) && !seen.is_empty(), "I5: {seen:?}");
    mounted.wait_for_code("remounted");
    let told = Command::new(env!("CARGO_BIN_EXE_dvidfs")).arg("check").arg(mounted.root()).output().unwrap();
    let said = String::from_utf8(told.stdout).unwrap();
    assert!(told.status.code() == Some(1) && said.contains("died and was started again"), "{said}");
    // An unmount ends both, and no dead mount is left below.
    assert!(Command::new(env!("CARGO_BIN_EXE_dvidfs")).arg("umount").arg(mounted.root()).status().unwrap().success());
    assert_eq!(mounted.wait_for_end(), Some(0), "I5");
    assert!(!mounted.is_mounted() && fs::read_dir(mounted.root()).unwrap().count() == 0);
    Crashes { seen, slowest, longest }
}

/// What the program says to an ordinary user, and its exit code.
fn by_ordinary_user(program: &Path, words: &[&str]) -> (Option<i32>, String) {
    let mut command = if is_root() { Command::new("setpriv") } else { Command::new(program) };
    if is_root() {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(program);
    }
    let output = command.args(words).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Their new mount could not be made over the dead one, and without the dead one every chunk would be a missing file.
#[test]
fn a_supervisor_is_refused_who_could_not_mount_over_a_dead_mount() {
    if !can_mount() {
        return;
    }
    if is_root() && !has_program("setpriv") {
        return skipped("I5", "no setpriv");
    }
    let _limit = time_limit(Duration::from_secs(60));
    let (demo, place) = (demo(), tempfile::tempdir().unwrap());
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(place.path(), everybody).unwrap();
    let (program, dir) = (place.path().join("dvidfs"), place.path().join("mnt"));
    fs::copy(env!("CARGO_BIN_EXE_dvidfs"), &program).unwrap();
    fs::create_dir(&dir).unwrap();
    let (source, dir) = (source(&demo), dir.to_str().unwrap());
    for words in [
        &["mount", "-f", "--no-cache", "--supervise", &source, dir][..],
        &["mount", "--no-cache", "--supervise", &source, dir],
        &["demo", "--supervise", dir],
    ] {
        let (code, said) = by_ordinary_user(&program, words);
        assert!(code == Some(2) && said.lines().count() == 1, "{words:?}: {code:?} {said}");
        assert!(said.starts_with("dvidfs: --supervise is refused") && said.contains("run as root, or leave it out"));
    }
    assert_eq!(demo.count("/api"), 0, "nothing is asked for");
}

#[test]
fn a_supervised_mount_that_is_aborted_never_looks_empty() {
    if !can_supervise("I5") {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let demo = demo();
    let mut mounted = Mounted::new(&source(&demo), &[&OPTIONS[..], &["--supervise"]].concat());
    let (path, expected) = files(&mounted).swap_remove(0);
    let witness = Witness::of(mounted.root(), path.clone(), expected.clone());
    let before = mounted.serving_pid().unwrap();
    let device = fs::metadata(mounted.root()).unwrap().dev();
    fs::write(format!("/sys/fs/fuse/connections/{}/abort", libc::minor(device)), "1").unwrap();
    let end = Instant::now() + promised(Duration::from_secs(2));
    while fs::read(&path).ok().as_ref() != Some(&expected) || mounted.serving_pid().is_none_or(|pid| pid == before) {
        assert!(Instant::now() < end, "not mounted again:\n{}", mounted.log());
        std::thread::sleep(Duration::from_millis(5));
    }
    let (seen, _) = witness.end();
    assert!(is_only(&seen, &["ENOTCONN", "ECONNABORTED"]), "{seen:?}");
    assert_eq!(mounted.terminate(), Some(0));
    assert!(!mounted.is_mounted());
}

#[test]
fn a_supervised_daemon_ends_with_its_signal_and_gives_up_loudly() {
    if !can_supervise("I5") {
        return;
    }
    let _limit = time_limit(Duration::from_secs(180));
    let demo = demo();
    // As a daemon, that is, in the background.
    let scratch = Scratch::new();
    let log = scratch.path().join("log");
    let started = Command::new(env!("CARGO_BIN_EXE_dvidfs"))
        .args(["mount", "--supervise", "--log-file", log.to_str().unwrap(), &source(&demo)])
        .arg(scratch.mountpoint())
        .status()
        .unwrap();
    assert!(started.success());
    let pid = || -> Option<i32> {
        let stats: serde_json::Value =
            serde_json::from_slice(&fs::read(scratch.mountpoint().join(".dvidfs/stats.json")).ok()?).ok()?;
        i32::try_from(stats["pid"].as_i64()?).ok()
    };
    let status = fs::read_to_string(format!("/proc/{}/status", pid().unwrap())).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse::<i32>().unwrap();
    kill(Pid::from_raw(parent), Signal::SIGTERM).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while scratch.is_mounted() || Path::new(&format!("/proc/{parent}")).exists() {
        assert!(Instant::now() < end, "the signal ends both");
        std::thread::sleep(Duration::from_millis(20));
    }

    let mut mounted = Mounted::new(&source(&demo), &[&OPTIONS[..], &["--supervise"]].concat());
    let end = Instant::now() + Duration::from_secs(100);
    let mut killed = 0;
    while mounted.is_alive() {
        assert!(Instant::now() < end, "given up:\n{}", mounted.log());
        match mounted.serving_pid().filter(|&pid| pid != killed) {
            Some(pid) => {
                killed = pid;
                // It may have died of it before.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    assert_eq!(mounted.wait_for_end(), Some(32));
    assert!(
        mounted.log().contains("code=\"gave_up\"") && mounted.log().contains("dvidfs: the program behind"),
        "{}",
        mounted.log()
    );
    assert_eq!(fs::read_dir(mounted.root()).unwrap_err().raw_os_error(), Some(libc::ENOTCONN));
    assert!(Command::new(env!("CARGO_BIN_EXE_dvidfs")).arg("umount").arg(mounted.root()).status().unwrap().success());
    assert!(!mounted.is_mounted());
}

/// A control group of the first version, for as long as this lives.
struct Group(PathBuf);

impl Group {
    /// `None` if this machine has none, or we may not make one.
    fn new(controller: &str) -> Option<Self> {
        let path = Path::new("/sys/fs/cgroup").join(controller).join(format!(
            "dvidfs-test-{}-{}",
            std::process::id(),
            line!()
        ));
        fs::create_dir(&path).ok().map(|()| Self(path))
    }

    fn set(&self, file: &str, value: &str) {
        fs::write(self.0.join(file), value).unwrap_or_else(|error| panic!("{file}={value}: {error}"));
    }

    fn get(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).unwrap()
    }

    /// What starts a program in it.
    fn starter(&self) -> [String; 4] {
        let procs = self.0.join("cgroup.procs");
        ["sh".into(), "-c".into(), format!("echo $$ > {}; exec \"$@\"", procs.display()), "sh".into()]
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let end = Instant::now() + Duration::from_secs(5);
        while fs::remove_dir(&self.0).is_err() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn words(starter: &[String]) -> Vec<&str> {
    starter.iter().map(String::as_str).collect()
}

#[test]
fn too_little_memory_is_survived() {
    if !can_mount() {
        return;
    }
    let Some(group) = Group::new("memory") else { return skipped("I9 I10", "no memory control group can be made") };
    let _limit = time_limit(Duration::from_secs(180));
    let large = large();
    group.set("memory.limit_in_bytes", "134217728");
    let n_kills = |group: &Group| {
        let told = group.get("memory.oom_control");
        told.lines().find_map(|line| line.strip_prefix("oom_kill ")).map_or(0, |n| n.trim().parse::<u64>().unwrap())
    };
    let source = source(&large);
    {
        let mut mounted = Mounted::by(&words(&group.starter()), &source, &["--settle", "0", "--memory", "64M"]);
        let survival = Survival::begin("I9", &mounted);
        let all = chunk_files(&mounted.root(), large.dataset(), 0, "grayscale");
        let all = &all;
        let compared: u64 = std::thread::scope(|scope| {
            let readers: Vec<_> = (0..16)
                .map(|n| scope.spawn(move || compare(&all[n * all.len() / 16..(n + 1) * all.len() / 16])))
                .collect();
            readers.into_iter().map(|reader| reader.join().unwrap()).sum()
        });
        assert_eq!(n_kills(&group), 0, "I9: killed for memory");
        let most = group.get("memory.max_usage_in_bytes").trim().parse::<u64>().unwrap();
        figure(
            "R34",
            format!("0 killed, at most {} MiB, {} MiB read", most >> 20, compared >> 20),
            "0 killed, 128 MiB",
        );
        survival.end(&mut mounted, 1, &[], compared);
    }
    let mut mounted =
        Mounted::by(&words(&group.starter()), &source, &["--settle", "0", "--memory", "256M", "--supervise"]);
    let (path, expected) = chunk_files(&mounted.root(), large.dataset(), 0, "grayscale").swap_remove(0);
    let witness = Witness::of(mounted.root(), path, expected.clone());
    let files = chunk_files(&mounted.root(), large.dataset(), 0, "grayscale");
    group.set("memory.limit_in_bytes", "12582912");
    let end = Instant::now() + Duration::from_secs(30);
    for (path, _) in files.iter().cycle() {
        let _ = fs::read(path);
        if n_kills(&group) > 0 || Instant::now() > end {
            break;
        }
    }
    assert!(n_kills(&group) > 0, "I10: never killed");
    group.set("memory.limit_in_bytes", "1073741824");
    let end = Instant::now() + promised(Duration::from_secs(5));
    while fs::read(&files[1].0).ok().as_ref() != Some(&files[1].1) {
        assert!(Instant::now() < end, "I10: not right again\n{}", mounted.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    let (seen, _) = witness.end();
    assert!(is_only(&seen, &["ENOTCONN", "ECONNABORTED"]), "I10: {seen:?}");
    mounted.wait_for_code("remounted");
    assert_eq!(mounted.terminate(), Some(0));
    survival::report("I10", files[1].1.len() as u64);
}

#[test]
fn too_few_descriptors_and_threads_are_survived() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let demo = demo();
    if has_program("prlimit") {
        let large = large();
        let options = [&OPTIONS[..], &["--max-connections", "40", "--patience", "60s"]].concat();
        let mut mounted = Mounted::by(&["prlimit", "--nofile=32:32"], &source(&large), &options);
        let all = chunk_files(&mounted.root(), large.dataset(), 0, "grayscale");
        large.set_delay(Duration::from_millis(400));
        // The first round opens all the connections that there can be.
        let round = |files: &[(PathBuf, Vec<u8>)]| -> u64 {
            std::thread::scope(|scope| {
                let readers: Vec<_> =
                    files.iter().map(|file| scope.spawn(|| compare(std::slice::from_ref(file)))).collect();
                readers.into_iter().map(|reader| reader.join().unwrap()).sum()
            })
        };
        let first = round(&all[..60]);
        let survival = Survival::begin("I11", &mounted);
        let compared = first + round(&all[60..120]);
        survival.end(&mut mounted, 1, &["fd_limit"], compared);
    } else {
        skipped("I11", "no prlimit");
    }

    let Some(group) = Group::new("pids") else { return skipped("I12", "no pids control group can be made") };
    let mut n_refused = 0;
    for most in [1, 2, 3, 5, 9, 14, 16] {
        group.set("pids.max", &most.to_string());
        n_refused += u32::from(is_refused(&group, &source(&demo), &format!("I12: {most} threads")));
    }
    assert!(n_refused >= 4, "I12: {n_refused}");
    group.set("pids.max", "max");
    let mut mounted = Mounted::by(&words(&group.starter()), &source(&demo), &OPTIONS);
    let survival = Survival::begin("I12", &mounted);
    group.set("pids.max", group.get("pids.current").trim());
    let compared = compare(&files(&mounted));
    // A picture's checksums want a thread of their own.
    let picture = mounted.root().join("gray/slices/s0/xy/000000.png");
    let refused = fs::read(&picture);
    group.set("pids.max", "max");
    assert!(refused.is_err(), "I12: it needs a thread");
    assert!(fs::read(&picture).is_ok(), "I12: as soon as there are threads again");
    survival.end(&mut mounted, 1, &["thread_limit"], compared);
}

/// A mount that is short of threads is refused in one line, or works with fewer.
fn is_refused(group: &Group, source: &str, id: &str) -> bool {
    let (scratch, starter) = (Scratch::new(), group.starter());
    let mut child = Command::new(&starter[0])
        .args(&starter[1..])
        .args([env!("CARGO_BIN_EXE_dvidfs"), "mount", "-f", "-q", source])
        .arg(scratch.mountpoint())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let readme = scratch.mountpoint().join("README.txt");
    let end = Instant::now() + Duration::from_secs(20);
    while child.try_wait().unwrap().is_none() && !readme.exists() {
        assert!(Instant::now() < end, "{id}: neither refused nor mounted");
        std::thread::sleep(Duration::from_millis(10));
    }
    let is_mounted = child.try_wait().unwrap().is_none();
    if is_mounted {
        compare(&chunk_files(&scratch.mountpoint(), &dataset(), 0, "gray"));
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(if is_mounted { 0 } else { 32 }), "{id}: {said}");
    assert!(!said.contains("panicked") && !scratch.is_mounted(), "{id}: {said}");
    assert!(is_mounted || (said.lines().count() == 1 && said.starts_with("dvidfs: ")), "{id}: {said}");
    !is_mounted
}

#[test]
fn a_daemon_that_is_stopped_leaves_what_the_kernel_has() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let port = lasting_port().unwrap();
    let start = || Demo::start(DemoOptions { dataset: dataset(), port: Some(port), ..DemoOptions::default() }).unwrap();
    let mut demo = start();
    let mut mounted = Mounted::new(&source(&demo), &OPTIONS);
    let mut files = files(&mounted);
    let (new, new_expected) = files.pop().unwrap();
    let mut compared = compare(&files);
    let opened: Vec<_> = files.iter().map(|(path, expected)| (fs::File::open(path).unwrap(), expected)).collect();
    // What is for ever is in the kernel's cache from now on.
    for (file, expected) in &opened {
        file.read_exact_at(&mut vec![0; expected.len()], 0).unwrap();
    }
    let survival = Survival::begin("I15", &mounted);
    mounted.signal(Signal::SIGSTOP);
    let stopped = Instant::now();
    let checked = Command::new(env!("CARGO_BIN_EXE_dvidfs"))
        .arg("check")
        .arg(mounted.root())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let waiting = std::thread::spawn(move || fs::read(&new).unwrap() == new_expected);
    let mut slowest = Duration::ZERO;
    for n in 0..100 {
        let (file, expected) = &opened[n % opened.len()];
        let mut bytes = vec![0; expected.len()];
        let since = Instant::now();
        file.read_exact_at(&mut bytes, 0).unwrap();
        slowest = slowest.max(since.elapsed());
        assert!(bytes == **expected, "I15");
        compared += bytes.len() as u64;
    }
    assert!(slowest < Duration::from_secs(1), "I15: {slowest:?}");
    let output = checked.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(32) && said.contains("no answer within"),
        "a stopped daemon is not well: {said}"
    );
    figure(
        "R9",
        format!("100 of 100 cached reads within {slowest:.1?}, daemon stopped for {:.1?}", stopped.elapsed()),
        "100 of 100, 1 s",
    );
    mounted.signal(Signal::SIGCONT);
    assert!(waiting.join().unwrap(), "I15: who waited gets the right bytes");
    survival.end(&mut mounted, 1, &[], compared);

    // As after a suspend: stopped, and every connection cut meanwhile.
    let survival = Survival::begin("I17", &mounted);
    mounted.signal(Signal::SIGSTOP);
    demo.stop();
    std::thread::sleep(Duration::from_secs(2));
    let demo = start();
    mounted.signal(Signal::SIGCONT);
    let since = Instant::now();
    let u16_files = chunk_files(&mounted.root(), &dataset(), 0, "u16");
    let compared = compare(&u16_files[..1]);
    assert!(since.elapsed() < Duration::from_secs(5), "I17: {:?}", since.elapsed());
    assert!(demo.count("/u16/") > 0);
    survival.end(&mut mounted, 1, &[], compared);
}

#[test]
fn a_second_daemon_finds_the_place_taken() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let demo = demo();
    let mut mounted = Mounted::new(&source(&demo), &OPTIONS);
    let survival = Survival::begin("I18", &mounted);
    for more in [&[][..], &["--replace"], &["--supervise"]].into_iter().take(if is_root() { 3 } else { 2 }) {
        let output = Command::new(env!("CARGO_BIN_EXE_dvidfs"))
            .args(["mount", "-f", &source(&demo)])
            .arg(mounted.root())
            .args(more)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(32) && said.contains("already has a dvidfs mount"),
            "I18: {more:?}: {said}"
        );
    }
    let compared = compare(&files(&mounted)[..2]);
    survival.end(&mut mounted, 3, &[], compared);
}

#[test]
fn memory_is_never_dumped() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let demo = demo();
    let unlimited = ["sh", "-c", "ulimit -c unlimited; cd \"$0\"; exec \"$@\""];
    let place = tempfile::tempdir().unwrap();
    let starter = [&unlimited[..], &[place.path().to_str().unwrap()]].concat();
    let scratch = Scratch::new();
    let log = fs::File::create(scratch.path().join("log")).unwrap();
    let mut mounted = Mounted::with_stderr(scratch, &starter, &source(&demo), &OPTIONS, log.into());
    let limits = fs::read_to_string(format!("/proc/{}/limits", mounted.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "I19: {core}");
    mounted.signal(Signal::SIGABRT);
    let status = mounted.wait_for_status().unwrap();
    // In a sandbox it is the keeper's.
    let ended = if is_sandboxed() { status.code() == Some(32) } else { status.signal() == Some(libc::SIGABRT) };
    assert!(ended && !status.core_dumped(), "I19: {status}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "I19: no file");
    // Files of a process that may not be looked at belong to root, whoever runs it.
    if !is_root() || !has_program("setpriv") {
        return skipped("I19", "needs root");
    }
    let copy = tempfile::tempdir().unwrap();
    fs::set_permissions(copy.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let program = copy.path().join("dvidfs");
    fs::copy(env!("CARGO_BIN_EXE_dvidfs"), &program).unwrap();
    let mut child = Command::new("setpriv")
        .args(["--reuid=65534", "--clear-groups", program.to_str().unwrap(), "demo", "--serve", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It has begun when it says where it serves.
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 7]).unwrap();
    let owner = fs::metadata(format!("/proc/{}/environ", child.id())).unwrap().uid();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(owner, 0, "I19: dumpable");
    survival::report("I19", 0);
}
