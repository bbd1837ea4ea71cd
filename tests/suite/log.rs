//! A log that cannot be written, and one under a storm of failures: I13, I14, R36.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dvidfs::demo::{Dataset, Demo, DemoOptions, Fault, FaultKind, VERSIONS};

use crate::support::{
    Mounted, Scratch, Survival, can_mount, chunk_files, compare, figure, skipped, survival, time_limit,
};

const OPTIONS: [&str; 3] = ["--settle", "0", "--no-prefetch"];

/// 192 chunks of gray.
fn demo() -> Demo {
    Demo::start(DemoOptions { dataset: Dataset::standard(), ..DemoOptions::default() }).unwrap()
}

fn source(demo: &Demo) -> String {
    format!("{}/{}", demo.origin(), VERSIONS[0].uuid)
}

#[test]
fn a_log_that_cannot_be_written_delays_nobody() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let demo = demo();
    let (pipe, full): (OwnedFd, _) = {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
        // Never read, and never closed before the test ends.
        std::mem::forget(reader);
        (writer, fs::OpenOptions::new().write(true).open("/dev/full").unwrap())
    };
    let closed: [&str; 4] = ["sh", "-c", "exec \"$@\" 2>&-", "sh"];
    let mut compared = 0;
    for (name, starter, stderr, loses) in [
        ("closed", &closed[..], Stdio::inherit(), false),
        ("full", &[], full.into(), true),
        ("blocked", &[], pipe.into(), true),
    ] {
        let mut mounted = Mounted::with_stderr(Scratch::new(), starter, &source(&demo), &OPTIONS, stderr);
        compared += logs_much("I13", &demo, &mut mounted, loses);
        assert_eq!(mounted.terminate(), Some(0), "I13: {name}");
    }
    survival::report("I13", compared);

    let disk = tempfile::tempdir().unwrap();
    let mounted_disk = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16k", "tmpfs"]).arg(disk.path()).status();
    if !nix::unistd::geteuid().is_root() || !mounted_disk.is_ok_and(|status| status.success()) {
        return skipped("fault I14: no small disk can be mounted");
    }
    let log = disk.path().join("log");
    let mut mounted = Mounted::new(&source(&demo), &[&OPTIONS[..], &["--log-file", log.to_str().unwrap()]].concat());
    let compared = logs_much("I14", &demo, &mut mounted, true);
    assert_eq!(mounted.terminate(), Some(0), "I14");
    let _ = Command::new("umount").arg(disk.path()).status();
    survival::report("I14", compared);
}

/// Has every chunk fail once, which makes hundreds of lines; then all of them are right, and lines were lost.
fn logs_much(id: &'static str, demo: &Demo, mounted: &mut Mounted, loses: bool) -> u64 {
    let files = chunk_files(&mounted.root(), demo.dataset(), 0, "grayscale");
    let survival = Survival::begin(id, mounted);
    demo.set_faults(vec![Fault::always("subvolblocks", FaultKind::Status { status: 400, retry_after: None })]);
    let files = &files;
    let fail =
        |part: usize| files.iter().skip(part).step_by(8).for_each(|(path, _)| assert!(fs::read(path).is_err(), "{id}"));
    std::thread::scope(|scope| (0..8).for_each(|part| drop(scope.spawn(move || fail(part)))));
    demo.set_faults(Vec::new());
    assert_eq!(loses, mounted.now("lost_log_lines") > 0, "{id}: lost lines are counted");
    std::thread::sleep(Duration::from_millis(1100));
    let compared = compare(files);
    survival.check(mounted, 1, &[]);
    compared
}

#[test]
fn a_log_under_a_storm_of_failures_is_short_and_clean() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let dataset = Dataset::test().only(&["gray"]);
    let demo = Demo::start(DemoOptions { dataset, ..DemoOptions::default() }).unwrap();
    let mounted = Mounted::by(&["env", "DVIDFS_LOG=dvidfs=info"], &source(&demo), &OPTIONS);
    let files = chunk_files(&mounted.root(), demo.dataset(), 0, "gray");
    let nasty = FaultKind::Status { status: 400, retry_after: None };
    demo.set_faults(vec![Fault::always("subvolblocks", nasty)]);
    let (since, logged) = (Instant::now(), mounted.log().len());
    let failed: u64 = std::thread::scope(|scope| {
        let read = |part: usize| {
            let files = &files;
            move || {
                let mine = files.iter().cycle().skip(part);
                let in_time = mine.take_while(|_| since.elapsed() < Duration::from_secs(5));
                in_time.filter(|(path, _)| fs::read(path).is_err()).count() as u64
            }
        };
        let readers: Vec<_> = (0..64).map(|part| scope.spawn(read(part))).collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).sum()
    });
    let seconds = since.elapsed().as_secs_f64();
    std::thread::sleep(Duration::from_millis(300));
    let log = mounted.log()[logged..].to_owned();
    let mut of_code = BTreeMap::<&str, u64>::new();
    for line in log.lines() {
        let code = line.split_once("code=\"").map_or("", |(_, rest)| rest.split('"').next().unwrap());
        *of_code.entry(code).or_default() += 1;
    }
    let most = of_code.values().copied().max().unwrap_or(0);
    let per_second = most as f64 / seconds.ceil();
    let n_bad = log.bytes().filter(|&byte| byte < 0x20 && byte != b'\n').count();
    let rate = failed as f64 / seconds;
    figure(
        "R36",
        format!("{rate:.0} failed reads/s: {per_second:.1} lines/s of a code, {n_bad} control bytes"),
        "10 lines/s, 0",
    );
    assert!(most > 0 && failed > 100, "{failed} failed reads, {most} lines");
    assert!(per_second <= 10.0 && n_bad == 0, "{of_code:?} in {seconds} s");
}
