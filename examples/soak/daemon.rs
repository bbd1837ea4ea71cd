//! The program itself, mounted: started, killed, looked at.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::Outcome;

/// No mount takes so long, on a busy machine either.
const LIMIT: Duration = Duration::from_secs(100);

/// A daemon and its mount.
pub(crate) struct Daemon {
    program: PathBuf,
    words: Vec<String>,
    child: Child,
    root: PathBuf,
    log: PathBuf,
}

impl Daemon {
    /// Mounts below `home`; waits until the mount can be read.
    pub(crate) fn start(program: &Path, home: &Path, name: &str, source: &str, options: &[&str]) -> Outcome<Self> {
        let (root, log) = (home.join(name), home.join(format!("{name}.log")));
        fs::create_dir(&root)?;
        let (root_word, log_word) = (root.display().to_string(), log.display().to_string());
        let words: Vec<String> = ["mount", "-f", source, &root_word, "--log-file", &log_word, "--settle", "0"]
            .iter()
            .chain(&["--mount-wait", "60s"])
            .chain(options)
            .map(|&word| word.to_owned())
            .collect();
        let child = spawn(program, &words, &log)?;
        let mut daemon = Self { program: program.to_owned(), words, child, root, log };
        daemon.wait_until_usable(None)?;
        Ok(daemon)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// `stats.json`, if the mount lives.
    pub(crate) fn stats(&self) -> Option<Value> {
        serde_json::from_slice(&fs::read(self.root.join(".dvidfs/stats.json")).ok()?).ok()
    }

    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.stats().and_then(|stats| stats["counters"][name].as_u64()).unwrap_or(0)
    }

    /// The process that serves the mount, if that lives.
    pub(crate) fn serving_pid(&self) -> Option<i32> {
        i32::try_from(self.stats()?["pid"].as_i64()?).ok()
    }

    /// Waits until another process than this one serves the mount.
    pub(crate) fn wait_until_usable(&mut self, not: Option<i32>) -> Outcome<()> {
        let end = Instant::now() + LIMIT;
        while self.serving_pid().is_none_or(|pid| Some(pid) == not) {
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > end {
                let said = fs::read_to_string(self.log.with_extension("stderr")).unwrap_or_default();
                return Err(format!("{} is not usable: {ended:?} {}", self.root.display(), said.trim()).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Kills the process that serves the mount, without a word. Which it was.
    pub(crate) fn kill(&self) -> Outcome<i32> {
        let pid = self.serving_pid().ok_or("the mount to be killed does not live")?;
        kill(Pid::from_raw(pid), Signal::SIGKILL)?;
        Ok(pid)
    }

    /// Mounts again where a killed daemon has left its mount. A server that goes wrong just now refuses that, perhaps.
    pub(crate) fn replace(&mut self) -> Outcome<()> {
        let words: Vec<String> = self.words.iter().cloned().chain(["--replace".to_owned()]).collect();
        let end = Instant::now() + LIMIT;
        loop {
            self.child.wait()?;
            self.child = spawn(&self.program, &words, &self.log)?;
            let usable = self.wait_until_usable(None);
            if usable.is_ok() || Instant::now() > end {
                return usable;
            }
        }
    }

    /// Requests of the kernel that wait for an answer.
    fn waiting(&self) -> Option<u64> {
        let minor = nix::sys::stat::minor(fs::metadata(&self.root).ok()?.dev());
        fs::read_to_string(format!("/sys/fs/fuse/connections/{minor}/waiting")).ok()?.trim().parse().ok()
    }

    /// The same when nobody reads any more, at once or 2 s later.
    pub(crate) fn left_waiting(&self) -> u64 {
        let end = Instant::now() + Duration::from_secs(2);
        loop {
            match self.waiting() {
                Some(0) => return 0,
                waiting if Instant::now() > end => return waiting.unwrap_or(u64::MAX),
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.serving_pid()?)).ok()?;
        let kb = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(kb.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
    }

    /// Threads of the daemon, its open files, and its connections among them.
    pub(crate) fn threads_files_sockets(&self) -> Option<(usize, usize, usize)> {
        let pid = self.serving_pid()?;
        let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?.count();
        let files: Vec<PathBuf> = fs::read_dir(format!("/proc/{pid}/fd"))
            .ok()?
            .filter_map(|file| fs::read_link(file.ok()?.path()).ok())
            .collect();
        let sockets = files.iter().filter(|file| file.to_string_lossy().starts_with("socket:")).count();
        Some((threads, files.len() - sockets, sockets))
    }

    /// Ends it as a user does. Its exit code, and how long that took; `None` if it does not end.
    pub(crate) fn terminate(&mut self) -> Outcome<Option<(Option<i32>, Duration)>> {
        let began = Instant::now();
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?;
        while began.elapsed() < Duration::from_secs(20) {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some((status.code(), began.elapsed())));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(None)
    }
}

impl Drop for Daemon {
    /// Whoever hangs in the mount is freed, and the mount is gone.
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // What cannot be ended in order is killed.
            let _ = self.terminate();
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        clear(&self.root);
    }
}

/// Aborts the connection of whatever is mounted here, and takes the mount away.
pub(crate) fn clear(root: &Path) {
    for entry in dvidfs::fuse::mounts().unwrap_or_default().into_iter().filter(|entry| entry.mount_point == root) {
        if let Some(connection) = entry.connection() {
            let _ = fs::write(Path::new("/sys/fs/fuse/connections").join(connection).join("abort"), "1");
        }
        let _ = Command::new("umount").arg("-l").arg(root).stderr(Stdio::null()).status();
    }
}

fn spawn(program: &Path, words: &[String], log: &Path) -> Outcome<Child> {
    let said = fs::OpenOptions::new().create(true).append(true).open(log.with_extension("stderr"))?;
    Ok(Command::new(program)
        .args(words)
        .env("DVIDFS_LOG", "dvidfs=info")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said)
        // Ctrl-C is for the soak alone.
        .process_group(0)
        .spawn()?)
}
