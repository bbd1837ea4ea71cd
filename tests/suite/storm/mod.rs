//! A storm: all that readers, users and the kernel do to a mount at once, while the server goes wrong, under a watchdog.

mod watchdog;
mod workers;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dvidfs::demo::{Dataset, Demo, DemoOptions, Fault, FaultKind};

use crate::support::faulty_dir::{FaultyDir, Trouble};
use crate::support::{Mounted, Random, can_mount, chunk_files, is_long, time_limit};

use watchdog::{Watchdog, Worker};
use workers::{Job, all};

const NAMES: [&str; 5] = ["gray", "u16", "holes", "neg", "segmentation"];
/// Nobody may stand still for longer beyond what was injected.
const LIMIT: Duration = Duration::from_secs(10);

/// What all workers share.
struct Storm {
    /// The locked root of the demo server, to be mounted once more.
    source: String,
    root: PathBuf,
    /// Files with all that they must hold.
    files: Vec<(PathBuf, Vec<u8>)>,
    /// Held while something is wrong, and while a mount is made: that looks at blocks, and gives up soon.
    calm: Mutex<()>,
    is_over: AtomicBool,
}

impl Storm {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    fn calm(&self) -> MutexGuard<'_, ()> {
        self.calm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Faults that have to be waited for, and some by which reads fail. Waits of these mounts are a tenth of the usual.
fn faults() -> Vec<FaultKind> {
    let status = |status| FaultKind::Status { status, retry_after: None };
    vec![
        FaultKind::HangBeforeHeaders { ms: 700 },
        FaultKind::HangAfterHeaders { ms: 700 },
        FaultKind::Stall { ms: 500 },
        FaultKind::Delay { ms: 300 },
        FaultKind::Closed,
        FaultKind::Reset,
        FaultKind::ResetAtOnce,
        FaultKind::CutInChunk,
        status(503),
        status(500),
        status(400),
        FaultKind::ErrorMidStream,
        FaultKind::OneShort,
        FaultKind::TextAppended,
    ]
}

/// Lets the server go wrong, part of the time. How often a fault was met.
fn go_wrong(storm: &Storm, demo: &Demo, watchdog: &Watchdog, until: Instant) -> u64 {
    let (mut random, kinds, mut n_met) = (Random(7), faults(), 0);
    while Instant::now() < until && watchdog.barked().is_none() {
        let kind = kinds[usize::try_from(random.below(kinds.len() as u64)).unwrap()].clone();
        let wrong = storm.calm();
        demo.set_faults(vec![Fault::always("blocks/", kind)]);
        watchdog.inject(true);
        std::thread::sleep(Duration::from_millis(200 + random.below(800)));
        n_met += demo.fault_hits(0);
        demo.set_faults(Vec::new());
        watchdog.inject(false);
        drop(wrong);
        std::thread::sleep(Duration::from_millis(200 + random.below(800)));
    }
    n_met
}

/// Storm: nobody stands still for 10 s beyond injected time, no byte is wrong, nothing is left waiting.
#[test]
fn a_storm_of_readers_kills_and_faults_leaves_nobody_behind() {
    if !can_mount() {
        return;
    }
    let lasting = Duration::from_secs(if is_long() { 600 } else { 20 });
    let _limit = time_limit(lasting + Duration::from_secs(300));
    let demo = Demo::start(DemoOptions { dataset: Dataset::test().only(&NAMES), ..DemoOptions::default() }).unwrap();
    let source = format!("{}/a40d", demo.origin());
    let options = ["--settle", "0", "--memory", "16M", "--time-scale", "0.1"];
    let mut mounted = Mounted::new(&source, &options);
    let files = NAMES[..4].iter().flat_map(|name| chunk_files(&mounted.root(), demo.dataset(), 0, name)).collect();
    let storm = Arc::new(Storm {
        source,
        root: mounted.root(),
        files,
        calm: Mutex::default(),
        is_over: AtomicBool::new(false),
    });
    let jobs: Vec<(Arc<Worker>, Job)> = all();
    let workers: Vec<Arc<Worker>> = jobs.iter().map(|(worker, _)| Arc::clone(worker)).collect();
    let watchdog = Watchdog::new(&storm.root, &workers, LIMIT);
    let threads: Vec<_> = (1..)
        .zip(jobs)
        .map(|(seed, (worker, job))| {
            let storm = Arc::clone(&storm);
            // The watchdog tells threads by their names.
            let thread = std::thread::Builder::new().name(worker.name.into());
            thread.spawn(move || job(&storm, &worker, Random(seed))).unwrap()
        })
        .collect();
    let n_met = go_wrong(&storm, &demo, &watchdog, Instant::now() + lasting);
    storm.is_over.store(true, Ordering::SeqCst);
    let ended: Vec<_> = threads.into_iter().map(std::thread::JoinHandle::join).collect();
    assert!(watchdog.barked().is_none(), "{}", watchdog.barked().unwrap());
    assert!(ended.iter().all(Result::is_ok), "a worker has failed");
    for worker in &workers {
        println!("{}: {} times", worker.name, worker.n_done());
        assert!(worker.n_done() > 0, "{} did nothing", worker.name);
    }
    assert!(n_met > 0, "no fault was met");
    let end = Instant::now() + Duration::from_secs(2);
    while mounted.waiting().is_some_and(|waiting| waiting > 0) {
        assert!(Instant::now() < end, "requests still wait");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(mounted.counter("panics"), 0);
    assert_eq!(mounted.terminate(), Some(0));
    assert!(!mounted.is_mounted());
}

/// The watchdog itself: a mount that answers nothing is found, told of, and let go.
#[test]
fn the_watchdog_finds_who_hangs_and_frees_him() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let hanging = FaultyDir::new();
    let file = hanging.path().join("file");
    fs::write(&file, b"bytes").unwrap();
    let workers = [Worker::new("gets on"), Worker::new("hangs")];
    let watchdog = Watchdog::new(&hanging.path(), &workers, Duration::from_secs(1));
    let is_over = Arc::new(AtomicBool::new(false));
    let getting_on = std::thread::spawn({
        let (worker, is_over) = (Arc::clone(&workers[0]), Arc::clone(&is_over));
        move || {
            while !is_over.load(Ordering::SeqCst) {
                worker.step();
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    });
    // Injected time does not count.
    watchdog.inject(true);
    hanging.set(Trouble::Hangs);
    let reading = std::thread::Builder::new().name("hanging-reader".into()).spawn(move || fs::read(file)).unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    assert!(watchdog.barked().is_none(), "{:?}", watchdog.barked());
    watchdog.inject(false);
    // It hangs until the watchdog aborts the connection.
    let read = reading.join().unwrap();
    assert!(read.is_err(), "{read:?}");
    is_over.store(true, Ordering::SeqCst);
    getting_on.join().unwrap();
    let seen = watchdog.barked().expect("it barked");
    assert!(seen.starts_with("hangs stands still for ") && seen.contains("waiting requests: 1"), "{seen}");
    assert!(seen.contains("hanging-reader: "), "{seen}");
}
