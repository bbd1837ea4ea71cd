//! A daemon lives in another directory than the one that its words were written in: they mean the same there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use dvidfs::demo::{Dataset, Demo, DemoOptions, VERSIONS};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Scratch, can_mount, chunk_files, time_limit};

fn dataset() -> Dataset {
    Dataset::test().only(&["gray"])
}

/// A new file takes the place of the old one.
fn write_token(path: &Path, token: &str) {
    let new = path.with_extension("new");
    fs::write(&new, token).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, path).unwrap();
}

fn stats(root: &Path) -> Option<serde_json::Value> {
    serde_json::from_slice(&fs::read(root.join(".dvidfs/stats.json")).ok()?).ok()
}

#[track_caller]
fn wait_for(what: &str, log: &Path, is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(15);
    while !is_so() {
        assert!(Instant::now() < end, "{what}:\n{}", fs::read_to_string(log).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A daemon of which every path is relative.
struct Daemon {
    scratch: Scratch,
    demo: Demo,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Daemon {
    fn start(more: &[&str], token_option: bool) -> Self {
        let token = Some("first".to_owned());
        let demo = Demo::start(DemoOptions { dataset: dataset(), token, ..DemoOptions::default() }).unwrap();
        let scratch = Scratch::new();
        write_token(&scratch.path().join("token"), "first");
        fs::create_dir(scratch.path().join("cache")).unwrap();
        let name = scratch.path().file_name().unwrap().to_str().unwrap().to_owned();
        let within = |file: &str| format!("{name}/{file}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_dvidfs"));
        if token_option {
            command.args(["--token-file", &within("token")]);
        } else {
            command.env("DVID_TOKEN_FILE", within("token"));
        }
        let status = command
            .current_dir(scratch.path().parent().unwrap())
            .args(["--settle", "0", "--no-prefetch", "--mount-wait", "60s"])
            .args(["--log-file", &within("log"), "--cache-dir", &within("cache")])
            .args(more)
            .args(["--", &format!("{}/{}", demo.origin(), VERSIONS[0].uuid), &within("mount")])
            .status()
            .unwrap();
        assert!(status.success(), "{status}");
        let files = chunk_files(&scratch.mountpoint(), &dataset(), 0, "gray");
        Self { scratch, demo, files }
    }

    fn log(&self) -> PathBuf {
        self.scratch.path().join("log")
    }

    fn pid(&self) -> Option<i32> {
        i32::try_from(stats(&self.scratch.mountpoint())?["pid"].as_i64()?).ok()
    }

    fn reads(&self, n: usize) -> bool {
        fs::read(&self.files[n].0).ok().as_ref() == Some(&self.files[n].1)
    }

    /// Whether it uses what lies where the words were written, and follows a token that is renewed there.
    fn uses_its_own_files(&self, (first, second): (usize, usize), tokens: (&str, &str)) {
        assert!(self.reads(first));
        let told = stats(&self.scratch.mountpoint()).unwrap();
        let cache = self.scratch.path().join("cache/dvidfs-v1");
        assert!(told["disk_cache"]["directory"] == cache.to_str().unwrap() && cache.is_dir(), "{told}");
        self.demo.set_token(Some(tokens.1));
        assert!(!self.reads(second), "{} is refused", tokens.0);
        write_token(&self.scratch.path().join("token"), tokens.1);
        wait_for("the new token is taken", &self.log(), || self.reads(second));
    }

    fn end(self) {
        let log = fs::read_to_string(self.log()).unwrap();
        assert!(log.contains("code=\"mounted\""), "{log}");
        let status = Command::new(env!("CARGO_BIN_EXE_dvidfs"))
            .current_dir(self.scratch.path())
            .args(["umount", "mount"])
            .status()
            .unwrap();
        assert!(status.success(), "{status}");
        wait_for("dead mounts below it go with it", &self.log(), || !self.scratch.is_mounted());
    }
}

#[test]
fn a_daemon_finds_its_files_where_its_words_were_written() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    for token_option in [true, false] {
        let daemon = Daemon::start(&[], token_option);
        daemon.uses_its_own_files((0, 1), ("first", "second"));
        daemon.end();
    }
}

#[test]
fn a_supervised_daemon_mounts_again_where_its_words_were_written() {
    if !can_mount() {
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        crate::support::skipped("fault I5: only root can supervise a mount");
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let daemon = Daemon::start(&["--supervise"], true);
    let before = daemon.pid().unwrap();
    kill(Pid::from_raw(before), Signal::SIGKILL).unwrap();
    wait_for("mounted again", &daemon.log(), || daemon.pid().is_some_and(|pid| pid != before));
    daemon.uses_its_own_files((0, 1), ("first", "second"));
    wait_for("it is told", &daemon.log(), || {
        fs::read_to_string(daemon.log()).is_ok_and(|log| log.contains("code=\"remounted\""))
    });
    daemon.end();
}
