//! `--supervise` and `--sandbox`: a process that has a mount served by another one.
//!
//! It holds neither the mount nor a connection and talks to no server, so there is little that could end it or take it
//! over. With `--sandbox` it mounts and unmounts for the other one, which is confined and cannot. With `--supervise` it
//! mounts again when that dies: between a death and the next mount the directory answers ENOTCONN, since the new mount
//! is made over the dead one. Who cannot do that is refused.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use tracing::{error, warn};

use crate::fuse::{self, Keeping, MountOptions};
use crate::metrics::Clock;

use super::args::{LogArgs, PlaceArgs};
use super::failure::Failure;
use super::mount::mount_options;
use super::open::address;
use super::run::complain;
use super::{daemon, logs};

/// Deaths within this time count together.
const WINDOW: Duration = Duration::from_secs(60);
/// So many of them are a program that cannot live.
const MOST_DEATHS: usize = 10;
/// The first few are answered at once, later ones after a pause that doubles.
const AT_ONCE: usize = 4;
/// The first pause.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// A mount that cannot be made again, because the server is away as well, is tried this often.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A worker that was told to end needs 5 s for it, and more on a busy machine.
const LONGEST_END: Duration = Duration::from_secs(15);

/// The name of a demo in the list of mounts, if its keeper mounts.
const DEMO: &str = "dvidfs-demo";

/// What the thread that hears signals shares with the one that waits for the worker.
#[derive(Debug, Default)]
struct Watched {
    /// The worker's process; 0: none.
    worker: AtomicI32,
    is_stopping: AtomicBool,
}

impl Watched {
    fn stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        let worker = self.worker.load(Ordering::SeqCst);
        if worker != 0 {
            // One that has just ended needs no signal.
            let _ = kill(Pid::from_raw(worker), Signal::SIGTERM);
        }
    }

    /// Ends a worker that does not end by itself: it may be one that a server has taken over.
    fn kill(&self) {
        let worker = self.worker.load(Ordering::SeqCst);
        if worker != 0 {
            let _ = kill(Pid::from_raw(worker), Signal::SIGKILL);
        }
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }
}

/// What is kept: a mount, and how it is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept<'a> {
    pub(super) place: &'a PlaceArgs,
    pub(super) dir: &'a Path,
    pub(super) log: &'a LogArgs,
    /// What is mounted; none: a demo, whose worker chooses.
    pub(super) source: Option<&'a str>,
    /// Those that start a worker.
    pub(super) words: &'a [OsString],
}

/// What became of one worker.
enum Ended {
    /// It, and with it the mount.
    InOrder,
    /// It died, or its connection was aborted.
    Died(ExitStatus),
    /// It never mounted again what was mounted before.
    Refused,
}

/// Mounts by a worker until the mount ends in order; with `--supervise` by another one whenever it dies.
pub(super) fn keep(kept: Kept<'_>) -> Result<(), Failure> {
    let Kept { place, dir, log, .. } = kept;
    if place.supervise {
        fuse::check_over_dead()?;
    }
    let _logged = logs::start(log)?;
    let named = kept.source.map(address).transpose()?;
    let options = mount_options(place, &named.map_or_else(|| DEMO.into(), |address| address.to_string()));
    if place.sandbox {
        fuse::check_mountpoint(dir, place.replace)?;
    }
    if place.daemon_child {
        daemon::detach_from_session()?;
    }
    let watched = Arc::new(Watched::default());
    pass_on_signals(Arc::clone(&watched), place.foreground)?;
    let (clock, mut died, mut deaths, mut n_refused) = (Clock::default(), None, VecDeque::new(), 0);
    // The words of what was mounted first, once it was.
    let mut mounted: Option<Vec<String>> = None;
    loop {
        let options = MountOptions { over_dead: died.is_some(), ..options.clone() };
        match one_life(kept, (options, died), &watched, &mut mounted)? {
            Ended::InOrder if place.supervise || watched.is_stopping() => return clear(dir),
            Ended::InOrder => return Ok(()),
            Ended::Died(status) if !place.supervise => return Err(left_dead(dir, status)),
            // No program that cannot live: server or node are not as they were, and may be again.
            Ended::Refused => {
                n_refused += 1;
                wait(pause_after(AT_ONCE + n_refused), &watched);
            }
            Ended::Died(status) => {
                (died, n_refused) = (Some(clock.now_seconds()), 0);
                warn!(target: "dvidfs", code = "worker_died", op = "mount", path = %dir.display(), cause = %status, "reads fail until it is mounted again");
                deaths.push_back(Instant::now());
                pause(&mut deaths, &watched, dir)?;
            }
        }
        if watched.is_stopping() {
            return clear(dir);
        }
    }
}

/// Starts a worker, and waits for it to end.
fn one_life(
    kept: Kept<'_>,
    (options, died): (MountOptions, Option<f64>),
    watched: &Watched,
    mounted: &mut Option<Vec<String>>,
) -> Result<Ended, Failure> {
    let Kept { place, dir, words, .. } = kept;
    let before = mounted.as_deref().unwrap_or_default().join(" ");
    let keeping = Keeping { mountpoint: dir.to_owned(), options, words: before };
    let mut worker = daemon::spawn_worker(words, &worker_words(died), keeping)?;
    watched.worker.store(i32::try_from(worker.child.id()).unwrap_or(0), Ordering::SeqCst);
    if watched.is_stopping() {
        watched.stop();
    }
    let report = daemon::report_of(&mut worker.child);
    let is_refused = matches!(report, Some(Err(_)));
    match report {
        Some(Err(failure)) if mounted.is_none() => return Err(failure),
        Some(Err(failure)) => warn!(target: "dvidfs", code = "remount_failed", op = "mount", cause = %failure.line),
        Some(Ok(arrays)) if mounted.is_none() => {
            *mounted = Some(arrays);
            if place.daemon_child {
                daemon::report_ready(place, &[])?;
            }
        }
        Some(Ok(_)) => warn!(target: "dvidfs", code = "remounted", op = "mount", path = %dir.display()),
        None => {}
    }
    let status = worker.ended();
    watched.worker.store(0, Ordering::SeqCst);
    let status = status.map_err(|error| Failure::mount(format!("cannot wait for the worker: {error}")))?;
    if mounted.is_none() {
        // It may have been mounted, and nobody was told.
        clear(dir)?;
        return Err(match watched.is_stopping() {
            true => Failure::mount("ended by a signal before it was mounted"),
            false => daemon::ended_early(&status.to_string()),
        });
    }
    if status.success() || watched.is_stopping() {
        return Ok(Ended::InOrder);
    }
    Ok(if is_refused { Ended::Refused } else { Ended::Died(status) })
}

/// The mount of a worker that has died stays, as that of any daemon.
fn left_dead(dir: &Path, status: ExitStatus) -> Failure {
    let dir = dir.display();
    let words = format!("the program behind {dir} has ended ({status}): clear it with `dvidfs umount {dir}`");
    error!(target: "dvidfs", code = "worker_died", op = "mount", path = %dir, cause = %status, "reads fail until it is unmounted");
    Failure::mount(words)
}

fn worker_words(died: Option<f64>) -> Vec<OsString> {
    let mut words = vec![OsString::from("--worker")];
    words.extend(died.map(|seconds| OsString::from(format!("--died={seconds}"))));
    words
}

/// Waits before the next start, longer and longer; gives a program up that dies again and again.
fn pause(deaths: &mut VecDeque<Instant>, watched: &Watched, dir: &Path) -> Result<(), Failure> {
    deaths.retain(|death| death.elapsed() < WINDOW);
    let n = deaths.len();
    if n > MOST_DEATHS {
        let dir = dir.display();
        let words = format!(
            "the program behind {dir} died {n} times within {} s and is given up: {dir} answers with an error until `dvidfs umount {dir}`",
            WINDOW.as_secs()
        );
        error!(target: "dvidfs", code = "gave_up", op = "mount", "{words}");
        complain(&words);
        return Err(Failure::mount(words));
    }
    wait(pause_after(n), watched);
    Ok(())
}

/// Waits so long, or until the mount is to end.
fn wait(lasting: Duration, watched: &Watched) {
    let end = Instant::now() + lasting;
    while Instant::now() < end && !watched.is_stopping() {
        thread::sleep(Duration::from_millis(20));
    }
}

fn pause_after(n_deaths: usize) -> Duration {
    match n_deaths.checked_sub(AT_ONCE + 1) {
        None => Duration::ZERO,
        Some(n) => FIRST_PAUSE.saturating_mul(1 << n.min(8)).min(LONGEST_PAUSE),
    }
}

/// Takes away what dead workers have left: the mount has ended.
fn clear(dir: &Path) -> Result<(), Failure> {
    Ok(fuse::clear_dead_mount(dir)?)
}

/// What ends a mount ends the worker, and then this process.
fn pass_on_signals(watched: Arc<Watched>, foreground: bool) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2])
        .map_err(|error| Failure::mount(format!("cannot listen to signals: {error}")))?;
    let listen = move || {
        for signal in signals.forever() {
            if matches!(signal, SIGTERM | SIGINT) || (signal == SIGHUP && foreground) {
                watched.stop();
                let watched = Arc::clone(&watched);
                // Ends with the process, if not before.
                thread::spawn(move || {
                    thread::sleep(LONGEST_END);
                    watched.kill();
                });
            }
        }
    };
    let started = thread::Builder::new().name("signals".into()).spawn(listen);
    started.map(drop).map_err(|error| Failure::mount(format!("cannot listen to signals: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_dies_again_and_again_is_started_ever_later_and_then_given_up() {
        let pauses: Vec<u128> = (1..=MOST_DEATHS).map(|n| pause_after(n).as_millis()).collect();
        assert_eq!(pauses, [0, 0, 0, 0, 500, 1000, 2000, 4000, 8000, 10_000]);
        let watched = Watched::default();
        watched.is_stopping.store(true, Ordering::SeqCst);
        let mut deaths: VecDeque<_> = (0..=MOST_DEATHS).map(|_| Instant::now()).collect();
        let failure = pause(&mut deaths, &watched, Path::new("/mnt/brain")).unwrap_err();
        assert!(failure.code == 32 && failure.line.contains("dvidfs umount /mnt/brain"), "{failure:?}");
        deaths.pop_back();
        assert!(pause(&mut deaths, &watched, Path::new("/mnt/brain")).is_ok());
    }
}
