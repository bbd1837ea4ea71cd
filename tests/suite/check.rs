//! `dvidfs check`: the gate at the end of a job.

use std::fs;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::process::{Command, Output};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dvidfs::demo::{Dataset, Demo, DemoOptions, Fault, FaultKind};
use nix::sys::signal::Signal;

use crate::support::{Mounted, can_mount, time_limit};

/// The lines of `errors.jsonl`.
fn told(mounted: &Mounted) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(mounted.root().join(".dvidfs/errors.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const BAD: FaultKind = FaultKind::Status { status: 400, retry_after: None };

fn check(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dvidfs")).arg("check").args(words).output().unwrap()
}

/// Exit code, lines on standard output, and what stands on standard error.
fn outcome(words: &[&str]) -> (Option<i32>, Vec<String>, String) {
    let Output { status, stdout, stderr } = check(words);
    let lines = String::from_utf8(stdout).unwrap().lines().map(str::to_owned).collect();
    (status.code(), lines, String::from_utf8(stderr).unwrap())
}

fn now() -> String {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64().to_string()
}

#[test]
fn a_job_is_told_whether_a_read_of_it_failed() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let dataset = Dataset::test().only(&["gray", "u16"]);
    let demo = Demo::start(DemoOptions { dataset, ..DemoOptions::default() }).unwrap();
    let source = format!("{}/a40d", demo.origin());
    let mut mounted = Mounted::new(&source, &["--settle", "0", "--no-prefetch"]);
    let (root, began) = (mounted.root(), now());
    let (dir, inside) = (root.to_str().unwrap(), root.join("gray/volume.zarr/s0/0/0/0"));
    let (code, lines, _) = outcome(&[dir, "--since", &began]);
    assert!(code == Some(0) && lines.len() == 1 && lines[0].contains("no read has failed since"), "{code:?} {lines:?}");

    let (code, lines, _) = outcome(&[dir, "--since", "10m"]);
    assert!(code == Some(1) && lines.len() == 1 && lines[0].contains("are not known"), "{code:?} {lines:?}");

    demo.set_faults(vec![Fault::always("/gray/subvolblocks", BAD)]);
    assert!(fs::read(&inside).is_err());
    demo.set_faults(Vec::new());
    assert!(fs::read(root.join("u16/volume.zarr/s0/0/0/0")).is_ok());
    for words in [&[dir][..], &[dir, "--since", &began], &[dir, "--since=-10m"], &[inside.to_str().unwrap()]] {
        let (code, lines, said) = outcome(words);
        // What was read ten minutes ago was not read of this mount.
        let n_lines = 1 + usize::from(words.contains(&"--since=-10m"));
        assert!(code == Some(1) && lines.len() == n_lines, "{words:?}: {code:?} {lines:?}");
        assert!(lines[0].starts_with("gray/volume.zarr/s0/0/0/0: ") && lines[0].contains("http_status"), "{lines:?}");
        assert!(said.contains("reads of 1 files failed since") && said.lines().count() == 1, "{said}");
    }
    let (code, lines, said) = outcome(&[dir, "--since", "2100-01-01T00:00:00Z"]);
    assert!(code == Some(1) && lines.is_empty() && said.contains("later than now"), "a clock that is ahead: {said}");
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(outcome(&[dir, "--since", &now()]).0, Some(0), "nothing failed since");
    assert_eq!(outcome(&[dir, "--since", "1970-01-01T00:00:00Z"]).0, Some(1), "all of the mount");

    // More failures than are remembered one by one: the count and the first time stay.
    demo.set_faults(vec![Fault::always("/u16/subvolblocks", BAD)]);
    let file = root.join("u16/volume.zarr/s0/0/1/1");
    let file = fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_DIRECT).open(file).unwrap();
    for _ in 0..600 {
        assert!(file.read_at(&mut [0; 4096], 0).is_err());
    }
    let n = mounted.counter("failed_reads");
    let (code, lines, _) = outcome(&[dir]);
    assert!(code == Some(1) && n > 600 && lines.len() == 2, "{n} {lines:?}");
    assert!(lines[0].starts_with("u16/volume.zarr/s0/0/1/1: 500 failed reads"), "{lines:?}");
    assert!(lines[1].starts_with(&format!("{} failed reads more", n - 500)), "{lines:?}");
    drop(file);

    // What is no live mount is never taken for one where all went well.
    for (path, words) in [("/", "is in no dvidfs mount"), ("/nowhere/at/all", "is in no dvidfs mount")] {
        let (code, _, said) = outcome(&[path]);
        assert!(code == Some(32) && said.contains(words), "{path}: {code:?} {said}");
    }
    mounted.signal(Signal::SIGKILL);
    mounted.wait_for_end();
    for path in [root.clone(), inside] {
        let (code, lines, said) = outcome(&[path.to_str().unwrap()]);
        assert!(
            code == Some(32) && lines.is_empty() && said.contains("has died") && said.contains("dvidfs umount"),
            "{said}"
        );
    }
}

/// What a program of Debian's package faketime preloads.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

#[test]
fn a_failure_after_the_clock_was_set_back_is_told() {
    if !can_mount() {
        return;
    }
    if !std::path::Path::new(FAKETIME).exists() {
        return crate::support::skipped(&format!("fault I16: needs {FAKETIME}"));
    }
    let _limit = time_limit(Duration::from_secs(60));
    let dataset = Dataset::test().only(&["gray"]);
    let demo = Demo::start(DemoOptions { dataset, ..DemoOptions::default() }).unwrap();
    let place = tempfile::tempdir().unwrap();
    let clock = place.path().join("clock");
    fs::write(&clock, "+0").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dvidfs"));
    command.env("LD_PRELOAD", FAKETIME).env("FAKETIME_TIMESTAMP_FILE", &clock).env("FAKETIME_NO_CACHE", "1");
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let source = format!("{}/a40d", demo.origin());
    let mounted = Mounted::started(command, &source, &["--settle", "0", "--no-prefetch"]);
    let (root, began) = (mounted.root(), now());
    // Written whole, for it is read at any time.
    fs::write(place.path().join("new"), "-30").unwrap();
    fs::rename(place.path().join("new"), &clock).unwrap();
    demo.set_faults(vec![Fault::always("/gray/subvolblocks", BAD)]);
    assert!(fs::read(root.join("gray/volume.zarr/s0/0/0/0")).is_err());
    let (code, lines, _) = outcome(&[root.to_str().unwrap(), "--since", &began]);
    assert!(code == Some(1) && lines.len() == 1 && lines[0].contains("failed read"), "{code:?} {lines:?}");
}

/// Where patience has ended, the same reader is refused the same bytes at once for a second: that read has failed, too.
#[test]
fn a_read_that_is_refused_right_after_its_failure_is_told_as_well() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(180));
    let dataset = Dataset::test().only(&["gray"]);
    let demo = Demo::start(DemoOptions { dataset, ..DemoOptions::default() }).unwrap();
    let patience = Duration::from_secs(3);
    let mounted =
        Mounted::new(&format!("{}/a40d", demo.origin()), &["--settle", "0", "--no-prefetch", "--patience", "3s"]);
    demo.set_faults(vec![Fault::always("/gray/subvolblocks", FaultKind::HangBeforeHeaders { ms: 3_600_000 })]);
    let path = "gray/volume.zarr/s0/0/0/0";
    let file = mounted.root().join(path);
    let file = fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_DIRECT).open(file).unwrap();
    let (mut n_failed, mut n_refused) = (0, 0);
    // On a busy machine a second may be over before the same bytes are asked for again.
    while n_refused == 0 && n_failed < 10 {
        let began = Instant::now();
        assert!(file.read_at(&mut [0; 8192], 4096).is_err());
        n_failed += 1;
        n_refused += usize::from(began.elapsed() < patience / 2);
    }
    assert_eq!(n_refused, 1, "of {n_failed}");
    let told = told(&mounted);
    assert_eq!(told.len(), n_failed, "{told:?}");
    for line in &told {
        assert!(line["path"] == path && line["offset"] == 4096 && line["size"] == 8192, "{line}");
        assert!(line["code"] == told[0]["code"] && line["cause"] == told[0]["cause"], "{line}");
    }
    assert_eq!(mounted.counter("failed_reads"), n_failed as u64);
    let (code, lines, _) = outcome(&[mounted.root().to_str().unwrap()]);
    assert!(code == Some(1) && lines[0].starts_with(&format!("{path}: {n_failed} failed reads, ")), "{lines:?}");
}
