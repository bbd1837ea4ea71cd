//! Becoming a daemon without a fork: the program starts itself once more, and waits until that says that it is ready.
//!
//! The child's standard output is a pipe on which it writes one line: `ready WORD...`, or `failed CODE TEXT`. The words of a
//! kept mount tell its arrays. The standard input of a worker is a socket, at the other end of which is its keeper.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::socket::{Shutdown, shutdown};

use crate::fuse::{Keeper, Keeping, keeper_sockets};
use crate::sys::close_inherited;

use super::args::PlaceArgs;
use super::failure::Failure;

const READY: &str = "ready";
const FAILED: &str = "failed";
/// Far more than the words of all arrays that a mount can have.
const LONGEST_REPORT: u64 = 64 << 20;

/// Starts the daemon with the same words, and comes back when its mount can be read.
///
/// The child's warnings go to the terminal until then.
pub(super) fn start(words: &[OsString]) -> Result<(), Failure> {
    let mut child = spawn(words, &["--daemon-child".into()], Stdio::null())?;
    let reported = report_of(&mut child).unwrap_or_else(|| {
        let how = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        Err(ended_early(&how))
    });
    reported.map(drop)
}

/// Starts this program once more, with these words behind that of the command: behind a `--` they would be none.
pub(super) fn spawn(words: &[OsString], more: &[OsString], input: Stdio) -> Result<Child, Failure> {
    Command::new("/proc/self/exe")
        .arg0("dvidfs")
        .args(words.iter().take(1).chain(more).chain(words.iter().skip(1)))
        // What the terminal sends to the one in front reaches only that.
        .process_group(if more.iter().any(|word| word == "--worker") { 0 } else { nix::unistd::getpgrp().as_raw() })
        .stdin(input)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::mount(format!("cannot start the daemon: {error}: try --foreground")))
}

/// Waits until the child says whether its mount can be read, and the words of its arrays; `None` if it ended without a word.
pub(super) fn report_of(child: &mut Child) -> Option<Result<Vec<String>, Failure>> {
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        // A broken pipe reads as an end, which is what it means.
        let _ = BufReader::new(stdout.take(LONGEST_REPORT)).read_line(&mut line);
    }
    parse_report(&line)
}

/// What is said of a child that ended without a word.
pub(super) fn ended_early(how: &str) -> Failure {
    Failure::mount(format!("the daemon ended before its mount was ready ({how}): try --foreground"))
}

fn parse_report(line: &str) -> Option<Result<Vec<String>, Failure>> {
    let line = line.strip_suffix('\n')?;
    let mut words = line.split(' ').map(str::to_owned);
    if words.next().as_deref() == Some(READY) {
        return Some(Ok(words.collect()));
    }
    let (code, text) = line.strip_prefix(FAILED)?.trim_start().split_once(' ')?;
    Some(Err(Failure::new(code.parse().ok()?, text)))
}

/// A process that serves a mount, and what its keeper does for it.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) child: Child,
    socket: OwnedFd,
    kept: JoinHandle<()>,
}

/// Starts a worker, and does what it asks for.
pub(super) fn spawn_worker(words: &[OsString], more: &[OsString], keeping: Keeping) -> Result<Worker, Failure> {
    let failed = |error: io::Error| Failure::mount(format!("cannot start the daemon: {error}: try --foreground"));
    let (ours, theirs) = keeper_sockets().map_err(failed)?;
    let socket = ours.try_clone().map_err(failed)?;
    let serve = move || keeping.serve(&ours);
    // Before the worker: if that is not started, its end of the socket is closed, which ends this.
    let kept = thread::Builder::new().name("keeper".into()).spawn(serve).map_err(failed)?;
    // What whoever started us had open is not the worker's.
    close_inherited();
    let child = spawn(words, more, Stdio::from(theirs))?;
    Ok(Worker { child, socket, kept })
}

impl Worker {
    /// Waits for it to end.
    pub(super) fn ended(mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait();
        // Whoever else may hold the other end, nothing more is done for it.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
        let _ = self.kept.join();
        status
    }
}

/// The process that has started this one.
pub(super) fn keeper() -> Result<Keeper, Failure> {
    let keeper = io::stdin().as_fd().try_clone_to_owned().and_then(Keeper::at);
    keeper.map_err(|error| Failure::mount(format!("no keeper has started this: {error}: leave out --worker")))
}

/// What the process that becomes the daemon does first: it takes the program's name, since it was started by that of
/// a link, and ends with its parent as long as that waits for it.
pub(super) fn begin() {
    // Neither is worth a mount that would do without.
    let _ = prctl::set_name(c"dvidfs");
    let _ = prctl::set_pdeathsig(Signal::SIGTERM);
}

/// Leaves the terminal's session, so that its end does not end the daemon.
pub(super) fn detach_from_session() -> Result<(), Failure> {
    // EPERM: it leads a session of its own already.
    match nix::unistd::setsid() {
        Ok(_) | Err(nix::errno::Errno::EPERM) => Ok(()),
        Err(errno) => Err(Failure::mount(format!("cannot leave the session: {errno}: try --foreground"))),
    }
}

/// Tells the parent that the mount can be read, and the words of its arrays, and lets go of directory and terminal; a worker in front keeps its
/// standard error.
///
/// # Errors
/// If the parent was interrupted: nobody wants the mount then.
pub(super) fn report_ready(place: &PlaceArgs, arrays: &[String]) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::mount(format!("cannot become a daemon: {error}"));
    // From here on a parent that has gone is known by its pipe.
    prctl::set_pdeathsig(None).map_err(|errno| failed(errno.into()))?;
    let nowhere = OpenOptions::new().read(true).write(true).open("/dev/null").map_err(failed)?;
    nix::unistd::chdir("/").map_err(|errno| failed(errno.into()))?;
    if place.daemon_child {
        nix::unistd::dup2_stderr(&nowhere).map_err(|errno| failed(errno.into()))?;
    }
    let mut stdout = io::stdout();
    let words = [&[READY.to_owned()], arrays].concat().join(" ");
    let said = writeln!(stdout, "{words}").and_then(|()| stdout.flush());
    nix::unistd::dup2_stdout(&nowhere).map_err(|errno| failed(errno.into()))?;
    said.map_err(failed)
}

/// Tells the parent why there is no mount.
pub(super) fn report_failure(failure: &Failure) -> ExitCode {
    // Without a parent there is nobody to tell.
    let _ = writeln!(io::stdout(), "{FAILED} {} {}", failure.code, failure.line);
    ExitCode::from(failure.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_tells_success_from_failure_from_a_crash() {
        assert_eq!(parse_report("ready\n"), Some(Ok(vec![])));
        assert_eq!(parse_report("ready a b\n"), Some(Ok(vec!["a".into(), "b".into()])));
        assert_eq!(parse_report("failed 32 no answer: try later\n"), Some(Err(Failure::mount("no answer: try later"))));
        for crashed in ["", "ready", "rea", "failed\n", "failed x y\n", "failed 32 cut", "noise\n"] {
            assert_eq!(parse_report(crashed), None, "{crashed:?}");
        }
    }
}
