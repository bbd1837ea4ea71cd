//! The program itself, mounted in a directory of its own.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
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
    pub fn new(source: &str, options: &[&str]) -> Self {
        Self::by(&[], source, options)
    }

    /// The same by a program that starts the words behind its own.
    pub fn by(starter: &[&str], source: &str, options: &[&str]) -> Self {
        let scratch = Scratch::new();
        let log = fs::File::create(scratch.path().join("log")).unwrap();
        Self::with_stderr(scratch, starter, source, options, log.into())
    }

    /// The same with its standard error somewhere else than in [`log`](Self::log).
    pub fn with_stderr(scratch: Scratch, starter: &[&str], source: &str, options: &[&str], stderr: Stdio) -> Self {
        let words = [starter, &[env!("CARGO_BIN_EXE_dvidfs"), "mount", "-f", source]].concat();
        let child = Command::new(words[0])
            .args(&words[1..])
            .arg(scratch.mountpoint())
            .args(options)
            .env("DVIDFS_LOG", "dvidfs=debug")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
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

    /// The process that serves the mount, if it can be read: another one than [`pid`](Self::pid) if that supervises it.
    pub fn serving_pid(&self) -> Option<i32> {
        let stats = fs::read(self.root().join(".dvidfs/stats.json")).ok()?;
        let stats: serde_json::Value = serde_json::from_slice(&stats).ok()?;
        i32::try_from(stats["pid"].as_i64()?).ok()
    }

    /// Whether anything is mounted at the directory.
    pub fn is_mounted(&self) -> bool {
        self.scratch.is_mounted()
    }

    /// The mounted directory.
    pub fn root(&self) -> PathBuf {
        self.scratch.mountpoint()
    }

    /// What the daemon has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }

    /// Waits until the daemon has logged a code: lines are written by a thread of their own.
    #[track_caller]
    pub fn wait_for_code(&self, code: &str) {
        let end = Instant::now() + Duration::from_secs(5);
        while !self.log().contains(&format!("code=\"{code}\"")) {
            assert!(Instant::now() < end, "no {code} in the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
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

    /// Sends the daemon a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Ends the daemon as a user does; gives its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        self.wait_for_end()
    }

    /// Waits until the daemon has ended, 10 s at most; gives its exit code.
    pub fn wait_for_end(&mut self) -> Option<i32> {
        self.wait_for_status()?.code()
    }

    /// The same, and also how it was killed.
    pub fn wait_for_status(&mut self) -> Option<std::process::ExitStatus> {
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
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
