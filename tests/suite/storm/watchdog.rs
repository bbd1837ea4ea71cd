//! Sees that every worker gets on. A deadlock is found by nobody who waits for it.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often it looks.
const PERIOD: Duration = Duration::from_millis(50);

/// What a worker has got done.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) name: &'static str,
    n_done: AtomicU64,
    /// It does something whose time is nobody's fault.
    is_away: AtomicBool,
}

impl Worker {
    pub(super) fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self { name, n_done: AtomicU64::new(0), is_away: AtomicBool::new(false) })
    }

    /// One step further.
    pub(super) fn step(&self) {
        self.n_done.fetch_add(1, Ordering::Relaxed);
    }

    /// Does something that may take long on a busy machine, such as the start of a program.
    pub(super) fn away<T>(&self, errand: impl FnOnce() -> T) -> T {
        self.is_away.store(true, Ordering::SeqCst);
        let done = errand();
        self.step();
        self.is_away.store(false, Ordering::SeqCst);
        done
    }

    pub(super) fn n_done(&self) -> u64 {
        self.n_done.load(Ordering::Relaxed)
    }
}

struct Shared {
    workers: Vec<Arc<Worker>>,
    /// The directory of the connection in the kernel's control file system.
    connection: PathBuf,
    limit: Duration,
    /// While something that has to be waited for is injected, nobody's time counts.
    is_injected: AtomicBool,
    is_over: AtomicBool,
    /// What it has seen when it barked.
    barked: Mutex<Option<String>>,
}

/// The watchdog of one mount. It barks once: then the connection is aborted, so that nobody hangs any more.
pub(super) struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Watches workers of the mount at `root`: none may stand still for longer than `limit`.
    pub(super) fn new(root: &Path, workers: &[Arc<Worker>], limit: Duration) -> Self {
        let minor = nix::sys::stat::minor(fs::metadata(root).unwrap().dev());
        let shared = Arc::new(Shared {
            workers: workers.to_vec(),
            connection: crate::support::connections().join(minor.to_string()),
            limit,
            is_injected: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            barked: Mutex::default(),
        });
        let watching = Arc::clone(&shared);
        let thread = Some(std::thread::spawn(move || watching.watch()));
        Self { shared, thread }
    }

    /// From now on time counts, or not.
    pub(super) fn inject(&self, is_injected: bool) {
        self.shared.is_injected.store(is_injected, Ordering::SeqCst);
    }

    /// What was seen, if somebody stood still so far.
    pub(super) fn barked(&self) -> Option<String> {
        self.shared.barked.lock().unwrap().clone()
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn watch(&self) {
        let mut last: Vec<(u64, Duration)> = self.workers.iter().map(|_| (u64::MAX, Duration::ZERO)).collect();
        let mut looked = Instant::now();
        while !self.is_over.load(Ordering::SeqCst) {
            std::thread::sleep(PERIOD);
            // A machine that lets nobody run for seconds is no deadlock: a look counts for twice its time at most.
            let passed = looked.elapsed().min(2 * PERIOD);
            looked = Instant::now();
            for (worker, (n_done, idle)) in self.workers.iter().zip(&mut last) {
                let n = worker.n_done();
                if n != *n_done {
                    (*n_done, *idle) = (n, Duration::ZERO);
                } else if !self.is_injected.load(Ordering::SeqCst) && !worker.is_away.load(Ordering::SeqCst) {
                    *idle += passed;
                }
                if *idle > self.limit {
                    return self.bark(worker.name, *idle);
                }
            }
        }
    }

    fn bark(&self, name: &str, idle: Duration) {
        let waiting = fs::read_to_string(self.connection.join("waiting")).unwrap_or_else(|error| error.to_string());
        let mut seen = format!("{name} stands still for {idle:?}; waiting requests: {}\n", waiting.trim());
        for worker in &self.workers {
            writeln!(seen, "  {}: {} done", worker.name, worker.n_done()).unwrap();
        }
        for task in fs::read_dir("/proc/self/task").unwrap().flatten() {
            let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default().trim().to_owned();
            writeln!(seen, "  task {} {}: {}", task.file_name().display(), read("comm"), read("wchan")).unwrap();
        }
        eprintln!("{seen}");
        *self.barked.lock().unwrap() = Some(seen);
        let _ = fs::write(self.connection.join("abort"), "1");
    }
}
