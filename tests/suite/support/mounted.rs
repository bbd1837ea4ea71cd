//! The program itself, mounted in a directory of its own.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use super::mounts::reports::skipped;
use super::mounts::{Scratch, clear, clear_all, connections, has_connections};

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

/// A mount that is refused.
#[derive(Debug)]
pub struct Refusal {
    /// The exit code; `None` if it was mounted after all, or took longer than a minute.
    pub code: Option<i32>,
    /// All that it has said, at the level of debugging.
    pub said: String,
    /// The most memory that it held, in bytes.
    pub peak_bytes: u64,
    pub took: Duration,
}

impl Refusal {
    /// The line for the person who mounts.
    pub fn line(&self) -> &str {
        let lines: Vec<_> = self.said.lines().filter(|line| line.starts_with("dvidfs: ")).collect();
        assert_eq!(lines.len(), 1, "not one line: {}", self.said);
        lines[0]
    }

    /// Whether this log code was told.
    pub fn has_code(&self, code: &str) -> bool {
        self.said.contains(&format!("code=\"{code}\""))
    }
}

/// Mounts what must be refused.
pub fn refused(mut command: Command, source: &str, options: &[&str]) -> Refusal {
    let scratch = Scratch::new();
    let log = scratch.path().join("log");
    let mut child = command
        .args(["mount", "-f", source])
        .arg(scratch.mountpoint())
        .args(without_cache(options))
        .args(sandbox(options))
        .env("XDG_CACHE_HOME", scratch.path().join("caches"))
        .env("DVIDFS_LOG", "dvidfs=debug")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let (began, mut peak_bytes) = (Instant::now(), 0);
    let end = began + Duration::from_secs(60);
    let code = loop {
        peak_bytes = peak_bytes.max(status_bytes(child.id(), "VmHWM:"));
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if Instant::now() > end || scratch.is_mounted() {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let said = String::from_utf8_lossy(&fs::read(log).unwrap()).into_owned();
    Refusal { code, said, peak_bytes, took: began.elapsed() }
}

fn status_bytes(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The options with no disk cache, unless they say where it is.
fn without_cache<'a>(options: &[&'a str]) -> Vec<&'a str> {
    let cache: &[&str] =
        if options.iter().any(|option| ["--cache-dir", "--no-cache"].contains(option)) { &[] } else { &["--no-cache"] };
    [options, cache].concat()
}

/// Whether every mount of the suites is to be made with `--sandbox`: what holds without must hold with it.
pub fn is_sandboxed() -> bool {
    std::env::var_os("DVIDFS_TEST_SANDBOX").is_some_and(|value| value == "1")
}

fn sandbox(options: &[&str]) -> &'static [&'static str] {
    if is_sandboxed() && !options.contains(&"--sandbox") { &["--sandbox"] } else { &[] }
}

/// A demo server on a busy machine may take long to make the blocks that a mount looks at.
fn patience(options: &[&str]) -> &'static [&'static str] {
    if options.iter().any(|option| option.starts_with("--mount-wait")) { &[] } else { &["--mount-wait", "60s"] }
}

/// Lifted when it is dropped.
pub struct TimeLimit {
    _send: std::sync::mpsc::Sender<()>,
}

/// `dvidfs -f SOURCE DIR`, until it is dropped.
pub struct Mounted {
    child: Child,
    scratch: Scratch,
    has_own_mounts: bool,
    /// The process that serves it, if its keeper is not what a test means by the daemon.
    served_by: Option<u32>,
}

impl Mounted {
    /// Mounts a node; waits until it can be read.
    ///
    /// Without a disk cache, which would hide the server from the test: who wants one says where.
    pub fn new(source: &str, options: &[&str]) -> Self {
        Self::by(&[], source, options)
    }

    /// The same by a user whose directory of caches is the test's own.
    pub fn with_own_caches(source: &str, options: &[&str]) -> Self {
        Self::with_caches_at(source, options, None)
    }

    /// The same with another directory of caches.
    pub fn with_caches_at(source: &str, options: &[&str], caches: Option<&Path>) -> Self {
        let scratch = Scratch::new();
        let log = fs::File::create(scratch.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_dvidfs"));
        command.env("XDG_CACHE_HOME", caches.map_or_else(|| scratch.path().join("caches"), Path::to_owned));
        Self::start(command, (source, options), (scratch, false), log.into())
    }

    /// The same by a program that starts the words behind its own.
    pub fn by(starter: &[&str], source: &str, options: &[&str]) -> Self {
        let scratch = Scratch::new();
        let log = fs::File::create(scratch.path().join("log")).unwrap();
        Self::with_stderr(scratch, starter, source, options, log.into())
    }

    /// The same with its standard error somewhere else than in [`log`](Self::log).
    pub fn with_stderr(scratch: Scratch, starter: &[&str], source: &str, options: &[&str], stderr: Stdio) -> Self {
        let words = [starter, &[env!("CARGO_BIN_EXE_dvidfs")]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        Self::start(command, (source, &without_cache(options)), (scratch, false), stderr)
    }

    /// The same by a command that starts the program: its words come behind those of the command.
    pub fn started(command: Command, source: &str, options: &[&str]) -> Self {
        Self::logged(command, source, options, false)
    }

    /// The same by a command that gives the program mounts of its own: they are seen through its process.
    pub fn elsewhere(command: Command, source: &str, options: &[&str]) -> Self {
        Self::logged(command, source, options, true)
    }

    fn logged(command: Command, source: &str, options: &[&str], has_own_mounts: bool) -> Self {
        let scratch = Scratch::new();
        let log = fs::File::create(scratch.path().join("log")).unwrap();
        Self::start(command, (source, &without_cache(options)), (scratch, has_own_mounts), log.into())
    }

    fn start(
        mut command: Command,
        (source, options): (&str, &[&str]),
        (scratch, has_own_mounts): (Scratch, bool),
        stderr: Stdio,
    ) -> Self {
        if !command.get_envs().any(|(name, _)| name == "XDG_CACHE_HOME") {
            command.env("XDG_CACHE_HOME", scratch.path().join("caches"));
        }
        let child = command
            .args(["mount", "-f", source])
            .arg(scratch.mountpoint())
            .args(options)
            .args(patience(options))
            .args(sandbox(options))
            .env("DVIDFS_LOG", "dvidfs=debug")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut mounted = Self { child, scratch, has_own_mounts, served_by: None };
        let end = Instant::now() + Duration::from_secs(100);
        while !mounted.root().join(".dvidfs/stats.json").exists() {
            let ended = mounted.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < end, "not mounted: {ended:?}\n{}", mounted.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        let is_kept = is_sandboxed() || ["--supervise", "--sandbox"].iter().any(|option| options.contains(option));
        if is_kept && nix::unistd::geteuid().is_root() {
            mounted.wait_until_kept();
        }
        if !sandbox(options).is_empty() && !options.contains(&"--supervise") {
            mounted.served_by = mounted.serving_pid().and_then(|pid| u32::try_from(pid).ok());
        }
        mounted
    }

    /// The process that serves the mount, if it can be read: another one than [`pid`](Self::pid) if that supervises it.
    pub fn serving_pid(&self) -> Option<i32> {
        let stats = fs::read(self.root().join(".dvidfs/stats.json")).ok()?;
        let stats: serde_json::Value = serde_json::from_slice(&stats).ok()?;
        i32::try_from(stats["pid"].as_i64()?).ok()
    }

    /// Waits until the keeper knows that it is mounted: one that dies before could not be mounted at all.
    fn wait_until_kept(&self) {
        // It is told on what is closed then.
        let told = |pid| fs::read_link(format!("/proc/{pid}/fd/1")).is_ok_and(|to| to == Path::new("/dev/null"));
        let end = Instant::now() + Duration::from_secs(20);
        while !self.serving_pid().is_some_and(told) {
            assert!(Instant::now() < end, "nobody was told that it is mounted:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether anything is mounted at the directory.
    pub fn is_mounted(&self) -> bool {
        self.scratch.is_mounted()
    }

    /// The mounted directory.
    pub fn root(&self) -> PathBuf {
        let mountpoint = self.scratch.mountpoint();
        if self.has_own_mounts {
            return PathBuf::from(format!("/proc/{}/root{}", self.pid(), mountpoint.display()));
        }
        mountpoint
    }

    /// What the daemon has logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// The file of the log.
    pub fn log_path(&self) -> PathBuf {
        self.scratch.path().join("log")
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
        self.served_by.unwrap_or_else(|| self.child.id())
    }

    /// Whether the daemon still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Requests of the kernel that wait for an answer; `None`, which is told as a skip, where the kernel tells of none.
    pub fn waiting(&self) -> Option<u64> {
        static IS_TOLD: LazyLock<bool> = LazyLock::new(|| {
            let is_told = has_connections();
            if !is_told {
                skipped("requests that wait: no fusectl is mounted, nor can it be");
            }
            is_told
        });
        IS_TOLD.then(|| {
            let minor = nix::sys::stat::minor(fs::metadata(self.root()).unwrap().dev());
            let path = connections().join(minor.to_string()).join("waiting");
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            text.trim().parse().unwrap()
        })
    }

    /// Threads and open files of the daemon, without its connections: how many of those are kept differs.
    pub fn threads_and_files(&self) -> (usize, usize) {
        let (sockets, files) = self.sockets_and_files();
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).map_or(0, Iterator::count);
        (threads, files - sockets)
    }

    /// Connections of the daemon.
    pub fn connections(&self) -> usize {
        self.sockets_and_files().0
    }

    /// Connections that the daemon keeps at most, and two sockets of its own; two more lead to a keeper.
    pub fn most_connections(&self) -> usize {
        let config = fs::read(self.root().join(".dvidfs/config.json")).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        usize::try_from(config["max_connections"].as_u64().unwrap()).unwrap().max(8)
            + 2
            + if is_sandboxed() { 2 } else { 0 }
    }

    fn sockets_and_files(&self) -> (usize, usize) {
        let files: Vec<_> = fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or_else(
            |_| Vec::new(),
            |files| files.filter_map(|file| fs::read_link(file.ok()?.path()).ok()).collect(),
        );
        let sockets = files.iter().filter(|file| file.to_string_lossy().starts_with("socket:")).count();
        (sockets, files.len())
    }

    /// Memory that the daemon holds, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        status_bytes(self.pid(), "VmRSS:")
    }

    /// The most memory that the daemon held since [`forget_peak`](Self::forget_peak), in bytes.
    pub fn peak_bytes(&self) -> u64 {
        status_bytes(self.pid(), "VmHWM:")
    }

    /// Lets the peak begin at what the daemon holds now; that.
    pub fn forget_peak(&self) -> u64 {
        fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").unwrap();
        self.peak_bytes()
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
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.pid()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Kills the daemon without a word; its mount is taken away later.
    pub fn kill(&mut self) {
        self.signal(nix::sys::signal::Signal::SIGKILL);
        let _ = self.child.wait();
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
