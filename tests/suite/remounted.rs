//! A supervisor that mounts again while the server does not tell everything: what programs have open is as it was, or an error.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dvidfs::demo::{Dataset, Demo, DemoOptions, Fault, FaultKind, VERSIONS};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use serde_json::Value;

use crate::support::{Mounted, Scratch, can_mount, chunk_files, refused, skipped, time_limit};

fn dataset() -> Dataset {
    Dataset::test().only(&["gray", "gray_1", "u16"])
}

fn refuses(place: &str) -> Fault {
    Fault::always(place, FaultKind::Status { status: 400, retry_after: None })
}

#[test]
fn a_supervised_demo_is_mounted_again() {
    if !can_mount() {
        return;
    }
    if !geteuid().is_root() {
        return skipped("fault I5: only root can supervise a mount");
    }
    let _limit = time_limit(Duration::from_secs(120));
    let scratch = Scratch::new();
    let root = scratch.mountpoint();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dvidfs"));
    command.args(["demo", "--foreground", "--supervise", "--mount-wait", "60s"]).arg(&root).stdin(Stdio::null());
    let mut demo = command.stderr(Stdio::null()).spawn().unwrap();
    let serving = || {
        let stats: Value = serde_json::from_slice(&fs::read(root.join(".dvidfs/stats.json")).ok()?).ok()?;
        let pid = i32::try_from(stats["pid"].as_i64()?).ok()?;
        // Only then its keeper knows of the mount.
        let is_told = fs::read_link(format!("/proc/{pid}/fd/1")).ok()? == Path::new("/dev/null");
        is_told.then_some(pid)
    };
    let wait_for_another = |before| {
        let end = Instant::now() + Duration::from_secs(60);
        while serving().is_none_or(|pid| Some(pid) == before) {
            assert!(Instant::now() < end, "not mounted");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    wait_for_another(None);
    let (before, chunk) = (serving().unwrap(), root.join("grayscale/volume.zarr/s0/0/0/0"));
    let bytes = fs::read(&chunk).unwrap();
    kill(Pid::from_raw(before), Signal::SIGKILL).unwrap();
    wait_for_another(Some(before));
    assert!(fs::read(&chunk).unwrap() == bytes);
    kill(Pid::from_raw(i32::try_from(demo.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(demo.wait().unwrap().success() && !scratch.is_mounted());
}

#[test]
fn a_mount_is_made_again_as_it_was_or_stays_an_error() {
    if !can_mount() {
        return;
    }
    if !geteuid().is_root() {
        return skipped("fault I5: only root can supervise a mount");
    }
    let _limit = time_limit(Duration::from_secs(240));
    let demo = Demo::start(DemoOptions { dataset: dataset(), ..DemoOptions::default() }).unwrap();
    let source = format!("{}/{}", demo.origin(), VERSIONS[0].uuid);
    let mounted = Mounted::new(&source, &["--settle", "0", "--no-prefetch", "--no-cache", "--supervise"]);
    let (chunk, expected) = chunk_files(&mounted.root(), &dataset(), 0, "u16").swap_remove(0);
    let coarse = mounted.root().join("gray/volume.zarr/s1/.zarray");
    let meta = fs::read(&coarse).unwrap();
    // Metadata of an instance, blocks that tell which levels there are, and an instance that has changed its shape.
    for faults in [vec![refuses("u16/info")], vec![refuses("/gray/subvolblocks")], vec![]] {
        if faults.is_empty() {
            demo.set_dataset(dataset().with("u16", |spec| spec.data = spec.data.translated([0, 0, -512].into())));
        }
        demo.set_faults(faults);
        let before = mounted.serving_pid().unwrap();
        kill(Pid::from_raw(before), Signal::SIGKILL).unwrap();
        let (mut seen, began) = (BTreeSet::new(), Instant::now());
        while began.elapsed() < Duration::from_secs(3) {
            for path in [&chunk, &coarse] {
                match fs::read(path) {
                    Ok(bytes) => assert!(bytes == expected || bytes == meta, "{} is another file", path.display()),
                    Err(error) => drop(seen.insert(error.raw_os_error())),
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let errors: BTreeSet<_> = [Some(nix::libc::ENOTCONN), Some(nix::libc::ECONNABORTED)].into();
        assert!(!seen.is_empty() && seen.is_subset(&errors), "{seen:?}");
        mounted.wait_for_code("remount_failed");
        demo.set_faults(Vec::new());
        demo.set_dataset(dataset());
        let end = Instant::now() + Duration::from_secs(60);
        while fs::read(&chunk).ok().as_ref() != Some(&expected) {
            assert!(Instant::now() < end, "not mounted again");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(fs::read(&coarse).unwrap(), meta);
        assert!(mounted.log().contains("would not be as they were before the crash"), "{}", mounted.log());
    }
}

/// A level of which nothing is known is not shown as if it were not there.
#[test]
fn a_pyramid_that_cannot_be_looked_at_is_no_mount() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let demo = Demo::start(DemoOptions { dataset: dataset(), ..DemoOptions::default() }).unwrap();
    let source = format!("{}/{}", demo.origin(), VERSIONS[0].uuid);
    for place in ["/gray/subvolblocks", "/gray_1/subvolblocks"] {
        demo.set_faults(vec![refuses(place)]);
        let command = std::process::Command::new(env!("CARGO_BIN_EXE_dvidfs"));
        let refusal = refused(command, &source, &["--settle", "0", "--mount-wait", "1s"]);
        assert!(refusal.code == Some(32) && refusal.line().contains("cannot look at the levels of"), "{refusal:?}");
    }
}
