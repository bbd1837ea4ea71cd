//! The life of a mount: made, served, ended in an order in which no reader takes the end for missing data.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use fuser::{Config, Session, SessionACL};
use tracing::{info, warn};

use crate::metrics::Metrics;
use crate::vfs;

use super::adapter::Adapter;
use super::kept::KeptPages;
use super::kill_poll::ParkedReads;
use super::mount::{MountError, MountOptions, NewMount};
use super::mounter::Mounter;
use super::mountinfo::mount_at;
use super::serve::Serve;

/// How long parked reads may still be answered with bytes after the first request to stop. All of it within 5 s.
const DRAIN: Duration = Duration::from_millis(4000);
/// How long the session may take to end after its mount is detached: it waits for files that are open.
const LINGER: Duration = Duration::from_millis(500);

/// How the life of a mount ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was asked to stop and has unmounted itself.
    Stopped,
    /// Somebody unmounted it.
    Unmounted,
    /// Somebody aborted its connection. Its directory answers ENOTCONN until it is unmounted.
    Aborted,
    /// Its threads failed. Its directory answers ENOTCONN until it is unmounted.
    Failed(String),
}

/// What the loop of a mount waits for.
#[derive(Debug)]
enum Event {
    Stop,
    Ended(io::Result<()>),
}

/// Asks a mount to stop. A second request ends it without waiting for its readers.
#[derive(Clone, Debug)]
pub struct Stopper {
    events: Sender<Event>,
    requests: Arc<AtomicUsize>,
}

impl Stopper {
    /// Asks once more.
    pub fn stop(&self) {
        self.requests.fetch_add(1, Ordering::SeqCst);
        // A mount that has ended does not listen any more, and need not.
        let _ = self.events.send(Event::Stop);
    }

    fn is_urgent(&self) -> bool {
        self.requests.load(Ordering::SeqCst) > 1
    }
}

/// A mount that is being served.
#[derive(Debug)]
#[must_use]
pub struct Mounted {
    mounter: Mounter,
    mountpoint: PathBuf,
    device_number: String,
    events: Receiver<Event>,
    stopper: Stopper,
    stopping: Arc<AtomicBool>,
    parked: Arc<ParkedReads>,
    kept: Arc<KeptPages>,
    kill_poll: Option<JoinHandle<()>>,
    session: Option<JoinHandle<()>>,
}

/// Mounts a tree at a directory and serves it from threads of its own.
///
/// # Errors
/// If the directory cannot take a mount or this machine cannot make one. Nothing stays mounted then.
pub fn mount(
    tree: Arc<dyn Serve>,
    mountpoint: &Path,
    options: &MountOptions,
    metrics: Arc<Metrics>,
) -> Result<Mounted, MountError> {
    mount_by(Mounter::Ourselves, tree, (mountpoint, options), metrics)
}

/// The same where another process may make the mount.
///
/// # Errors
/// As there.
pub fn mount_by(
    mounter: Mounter,
    tree: Arc<dyn Serve>,
    (mountpoint, options): (&Path, &MountOptions),
    metrics: Arc<Metrics>,
) -> Result<Mounted, MountError> {
    rehearse(options.threads.max(1) + 4).map_err(MountError::NoThreads)?;
    let NewMount { device, mountpoint } = mounter.mount(mountpoint, options)?;
    let (parked, stopping) = (Arc::new(ParkedReads::default()), Arc::new(AtomicBool::new(false)));
    let kept = Arc::new(KeptPages::default());
    let counted = Arc::clone(&metrics);
    let adapter = Adapter {
        tree,
        parked: Arc::clone(&parked),
        kept: Arc::clone(&kept),
        stopping: Arc::clone(&stopping),
        metrics,
        given_up: Arc::default(),
        owner: (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw()),
        umask: options.umask,
    };
    let acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    let mut config = Config::default();
    config.acl = acl;
    config.n_threads = Some(options.threads.max(1));
    let started = Session::from_fd(adapter, device, acl, config).and_then(|session| {
        let entry = mount_at(&mountpoint)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        let (sender, events) = channel();
        let stopper = Stopper { events: sender.clone(), requests: Arc::default() };
        kept.start(session.notifier(), counted)?;
        let kill_poll = Some(parked.start_poll()?);
        let session = Some(start_session(session, sender)?);
        let device_number = entry.device;
        Ok((device_number, events, stopper, kill_poll, session))
    });
    let (device_number, events, stopper, kill_poll, session) = started.map_err(|why| {
        parked.close();
        kept.close();
        if let Err(why) = mounter.abandon(&mountpoint) {
            warn!(target: "dvidfs", op = "unmount", cause = %why);
        }
        MountError::Session { mountpoint: mountpoint.clone(), why }
    })?;
    mounter.set_read_ahead(&device_number, options);
    info!(target: "dvidfs", code = "mounted", op = "mount", path = %mountpoint.display());
    Ok(Mounted { mounter, mountpoint, device_number, events, stopper, stopping, parked, kept, kill_poll, session })
}

/// Whether the system gives so many threads at once. If the session found out, there would be a dead mount.
fn rehearse(n_threads: usize) -> io::Result<()> {
    let (sender, receiver) = channel::<()>();
    let receiver = Arc::new(Mutex::new(receiver));
    let wait = || {
        let receiver = Arc::clone(&receiver);
        Builder::new().spawn(move || {
            // Until the sender is gone.
            let _ = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        })
    };
    let threads: Vec<_> = (0..n_threads).map(|_| wait()).collect();
    drop(sender);
    threads.into_iter().try_for_each(|thread| thread.map(|thread| drop(thread.join())))
}

fn start_session(session: Session<Adapter>, events: Sender<Event>) -> io::Result<JoinHandle<()>> {
    Builder::new().name("fuse-session".into()).spawn(move || {
        let ended = catch_unwind(AssertUnwindSafe(|| session.run()));
        let ended = ended.unwrap_or_else(|_| Err(io::Error::other("the session panicked")));
        // Nobody listens once the mount was given up.
        let _ = events.send(Event::Ended(ended));
    })
}

impl Mounted {
    /// The directory, without symbolic links.
    #[must_use]
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// What ends this mount, from any thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Serves until somebody asks to stop, unmounts or aborts.
    ///
    /// On a request to stop new reads are refused with EIO, waiting ones get up to 4 s for their bytes and then EIO,
    /// and only then the mount is taken away: a name that vanished under a reader would look like missing data.
    /// Comes back within 5 s of the first request, 1 s of the second.
    #[must_use]
    pub fn run(mut self) -> Ending {
        let ending = match self.events.recv() {
            Ok(Event::Stop) | Err(_) => self.stop(),
            Ok(Event::Ended(ended)) => self.ended(ended),
        };
        let path = self.mountpoint.display();
        match &ending {
            Ending::Aborted => {
                warn!(target: "dvidfs", code = "aborted", op = "unmount", %path, "the directory answers with an error until it is unmounted");
            }
            Ending::Stopped | Ending::Unmounted | Ending::Failed(_) => {
                info!(target: "dvidfs", code = "unmounted", op = "unmount", %path, ?ending);
            }
        }
        ending
    }

    fn stop(&mut self) -> Ending {
        info!(target: "dvidfs", code = "shutdown", op = "unmount");
        self.stopping.store(true, Ordering::SeqCst);
        self.parked.drain(Instant::now() + DRAIN, || self.stopper.is_urgent());
        self.parked.fail_all(&vfs::Error::ShuttingDown);
        if let Err(why) = self.mounter.detach(&self.mountpoint, &self.device_number) {
            return Ending::Failed(format!("cannot unmount {}: {why}", self.mountpoint.display()));
        }
        let until = Instant::now() + LINGER;
        loop {
            match self.events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Event::Stop) => {}
                Ok(Event::Ended(ended)) => {
                    self.ended(ended);
                    return Ending::Stopped;
                }
                // A file is still open. The end of the process closes the connection, and its reader gets an error.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ending::Stopped,
            }
        }
    }

    fn ended(&mut self, ended: io::Result<()>) -> Ending {
        self.parked.close();
        self.kept.close();
        for thread in [self.session.take(), self.kill_poll.take()].into_iter().flatten() {
            if thread.join().is_err() {
                warn!(target: "dvidfs", code = "panic", op = "unmount");
            }
        }
        match ended {
            Ok(()) => match mount_at(&self.mountpoint) {
                Ok(Some(entry)) if entry.device == self.device_number => Ending::Aborted,
                _ => Ending::Unmounted,
            },
            Err(error) if error.raw_os_error() == Some(libc::ECONNABORTED) => Ending::Aborted,
            Err(error) => Ending::Failed(error.to_string()),
        }
    }
}

impl Drop for Mounted {
    /// Frees the readers and the poll. The mount itself stays visible unless it was stopped.
    fn drop(&mut self) {
        self.parked.fail_all(&vfs::Error::ShuttingDown);
        self.parked.close();
        self.kept.close();
    }
}

/// The longest time that an administrator lets a FUSE request take before the whole mount is aborted, if any.
#[must_use]
pub fn request_timeout() -> Option<Duration> {
    ["default_request_timeout", "max_request_timeout"]
        .into_iter()
        .filter_map(|name| fs::read_to_string(format!("/proc/sys/fs/fuse/{name}")).ok())
        .filter_map(|text| text.trim().parse().ok())
        .filter(|&seconds| seconds > 0)
        .min()
        .map(Duration::from_secs)
}
