//! The program itself, mounted in a directory of its own.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::mounts::{Scratch, clear, clear_all};

/// Ends the whole test binary if a test takes longer than this: a wedged mount must not wedge the runner.
#[must_use]
pub fn time_limit(limit: Duration) -> TimeLimit {
    let (send, receive) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        if receive.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            eprintln!("a mount test took longer than {limit:?}: aborting its connections");
            clear_all();
            std::thread::sleep(Duration::from_secs(2));
            std::process::exit(101);
        }
    });
    TimeLimit { _send: send }
}

/// Lifted when it is dropped.
pub struct TimeLimit {
    _send: std::sync::mpsc::Sender<()>,
}

/// `dvidfs -f SOURCE DIR`, until it is dropped.
pub struct Mounted {
    child: Child,
    scratch: Scratch,
}

impl Mounted {
    /// Mounts a node; waits until it can be read.
    ///
    /// Without a disk cache, which would hide the server from the test: who wants one says where.
    pub fn new(source: &str, options: &[&str]) -> Self {
        let cache: &[&str] = if options.contains(&"--cache-dir") { &[] } else { &["--no-cache"] };
        Self::with_own_caches(source, &[options, cache].concat())
    }

    /// The same by a user whose directory of caches is the test's own.
    pub fn with_own_caches(source: &str, options: &[&str]) -> Self {
        Self::with_caches_at(source, options, None)
    }

    /// The same with another directory of caches.
    pub fn with_caches_at(source: &str, options: &[&str], caches: Option<&Path>) -> Self {
        let scratch = Scratch::new();
        let log = fs::File::create(scratch.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_dvidfs"))
            .args(["mount", "-f", source])
            .arg(scratch.mountpoint())
            .args(options)
            .env("XDG_CACHE_HOME", caches.map_or_else(|| scratch.path().join("caches"), Path::to_owned))
            .env("DVIDFS_LOG", "dvidfs=debug")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut mounted = Self { child, scratch };
        let end = Instant::now() + Duration::from_secs(100);
        while !mounted.root().join(".dvidfs/stats.json").exists() {
            let ended = mounted.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < end, "not mounted: {ended:?}\n{}", mounted.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        mounted
    }

    /// The mounted directory.
    pub fn root(&self) -> PathBuf {
        self.scratch.mountpoint()
    }

    /// What the daemon has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }

    /// The daemon's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the daemon still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Requests of the kernel that wait for an answer, if this kernel tells.
    pub fn waiting(&self) -> Option<u64> {
        let minor = nix::sys::stat::minor(fs::metadata(self.root()).ok()?.dev());
        let path = format!("/sys/fs/fuse/connections/{minor}/waiting");
        fs::read_to_string(path).ok()?.trim().parse().ok()
    }

    /// Threads and open files of the daemon.
    pub fn threads_and_files(&self) -> (usize, usize) {
        let count = |what: &str| fs::read_dir(format!("/proc/{}/{what}", self.pid())).map_or(0, Iterator::count);
        (count("task"), count("fd"))
    }

    /// Memory that the daemon holds, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) * 1024
    }

    /// A counter of `stats.json`.
    pub fn counter(&self, name: &str) -> u64 {
        self.stat("counters", name)
    }

    /// What goes on now, by `stats.json`.
    pub fn now(&self, name: &str) -> u64 {
        self.stat("now", name)
    }

    fn stat(&self, of: &str, name: &str) -> u64 {
        let stats = fs::read(self.root().join(".dvidfs/stats.json")).unwrap();
        let stats: serde_json::Value = serde_json::from_slice(&stats).unwrap();
        stats[of][name].as_u64().unwrap_or_else(|| panic!("no {name} in {stats}"))
    }

    /// Kills the daemon without a word; its mount is taken away later.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends the daemon as a user does; gives its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.is_alive() && self.terminate().is_none() {
            clear(&self.root());
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("last lines of the daemon's log:\n{}", lines[lines.len().saturating_sub(25)..].join("\n"));
        }
    }
}
