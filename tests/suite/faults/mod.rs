//! Faults of server and network through real mounts, by the groups of their list: A network, B HTTP, C TLS, D payload,
//! E metadata.
//!
//! A fault is survived if all eight conditions hold: it happened; its outcome is of its class; no byte is wrong; the same
//! daemon still runs; no request of the kernel waits; threads and files are as before; its log code is there; and after
//! it the same read succeeds within 5 s.

mod http;
mod metadata;
mod names;
mod network;
mod payload;
mod tls;

use std::fs;
use std::io;
use std::process::Command;
use std::time::{Duration, Instant};

use dvidfs::demo::{Dataset, Demo, DemoOptions, Fault, FaultKind};
use dvidfs::geometry::{Coordinate, VoxelBox};

use crate::support::{Chunk, Mounted, Survival, can_mount, chunk_of, figure, file_values, is_long, levels, time_limit};

/// What must come of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// The right bytes, after retries.
    Ok,
    /// EIO while it lasts.
    Eio,
    /// EACCES while it lasts.
    Eacces,
}

/// One fault of the list, or one of its sub-cases: those stand side by side.
struct Case {
    id: &'static str,
    kind: FaultKind,
    class: Class,
    /// Any of these log codes tells of it; none where it is legal.
    codes: &'static [&'static str],
    /// How often it happens.
    count: u64,
    /// The read takes at least so long.
    least: Duration,
    /// The daemon's memory grows by so much at most, if that is of interest.
    most_bytes: Option<u64>,
    /// The server is asked for each block so often, and for several of them once before, if that is of interest.
    tries: Option<usize>,
}

/// A count that lasts.
const ALWAYS: u64 = 1 << 40;

fn case(id: &'static str, kind: FaultKind, class: Class, codes: &'static [&'static str]) -> Case {
    let count = if class == Class::Ok { 1 } else { ALWAYS };
    Case { id, kind, class, codes, count, least: Duration::ZERO, most_bytes: None, tries: None }
}

fn ok(id: &'static str, kind: FaultKind, codes: &'static [&'static str]) -> Case {
    case(id, kind, Class::Ok, codes)
}

fn eio(id: &'static str, kind: FaultKind, codes: &'static [&'static str]) -> Case {
    case(id, kind, Class::Eio, codes)
}

impl Case {
    fn times(self, count: u64) -> Self {
        Self { count, ..self }
    }

    fn takes(self, least: Duration) -> Self {
        Self { least, ..self }
    }

    fn within_memory(self, most_bytes: u64) -> Self {
        Self { most_bytes: Some(most_bytes), ..self }
    }

    fn asked(self, tries: usize) -> Self {
        Self { tries: Some(tries), ..self }
    }
}

fn dvidfs() -> Command {
    Command::new(env!("CARGO_BIN_EXE_dvidfs"))
}

/// A mount whose waits are a twentieth of the usual, and whose readers are never cached ahead.
fn mounted(demo: &Demo, more: &[&str]) -> Mounted {
    let options =
        ["--settle", "0", "--no-prefetch", "--time-scale", "0.05", "--patience", "60s", "--mount-wait", "60s"];
    Mounted::new(&format!("{}/a40d", demo.origin()), &[&options, more].concat())
}

fn test_demo(names: &[&str]) -> Demo {
    Demo::start(DemoOptions { dataset: Dataset::test().only(names), ..DemoOptions::default() }).unwrap()
}

/// A chunk file, what it must hold, and the requests that it needs.
struct Target {
    chunk: Chunk,
    expected: Vec<u8>,
    matches: String,
    n_blocks: usize,
}

/// Chunks that nobody has read yet, each of blocks that are stored.
fn targets(mounted: &Mounted, dataset: &Dataset, names: &[&str], view: &str, endpoint: &str) -> Vec<Target> {
    let mut targets = Vec::new();
    for name in names {
        let level = &levels(&mounted.root().join(name).join(view))[0];
        let spec = dataset.instance(name).unwrap();
        let n_chunks = level.shape.div_ceil(level.chunk_shape);
        for index in VoxelBox::from_shape(Coordinate::ZERO, n_chunks).unwrap().indices() {
            let chunk = chunk_of(level, index);
            let expected = file_values(dataset, 0, &spec, level.scale, false, chunk.voxels);
            if expected.iter().any(|&byte| byte != 0) {
                let n_blocks = usize::try_from(chunk.voxels.shape().div_ceil(spec.block_shape).product()).unwrap();
                targets.push(Target { chunk, expected, matches: format!("/{name}/{endpoint}/"), n_blocks });
            }
        }
    }
    targets
}

/// Reads a file to its end; the errno if that fails.
fn read(target: &Target) -> Result<Vec<u8>, i32> {
    fs::read(&target.chunk.path).map_err(|error: io::Error| error.raw_os_error().unwrap())
}

/// After a fault the same read succeeds within 5 s; until then it fails, and is never wrong. Gives the bytes compared.
fn recovers(id: &str, target: &Target) -> u64 {
    let (path, end) = (target.chunk.path.display(), Instant::now() + Duration::from_secs(5));
    loop {
        match read(target) {
            Ok(bytes) => {
                assert!(bytes == target.expected, "{id}: wrong bytes of {path} after it");
                return bytes.len() as u64;
            }
            Err(errno) => assert!(Instant::now() < end, "{id}: {path} still fails 5 s after: errno {errno}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What came of a fault: how often it happened, and how many bytes were compared.
type Survived = (u64, u64);

/// What a read under a fault must come to. Gives the bytes compared: those of an error are none.
fn check_outcome(case: &Case, target: &Target, outcome: Result<Vec<u8>, i32>) -> u64 {
    let about = format!("{} {:?}: {}", case.id, case.kind, target.chunk.path.display());
    match case.class {
        Class::Ok => {
            assert!(outcome.as_deref() == Ok(&target.expected), "{about}: wrong outcome");
            return target.expected.len() as u64;
        }
        Class::Eio => assert_eq!(outcome.err(), Some(nix::libc::EIO), "{about}"),
        Class::Eacces => assert_eq!(outcome.err(), Some(nix::libc::EACCES), "{about}"),
    }
    0
}

/// Reads a target under a fault, and after it.
fn survive(case: &Case, target: &Target, demo: &Demo, mounted: &mut Mounted) -> Survived {
    let id = case.id;
    let logged = mounted.log().len();
    let peak = case.most_bytes.map(|_| mounted.forget_peak());
    demo.set_faults(vec![Fault {
        matches: target.matches.clone(),
        nth: 0,
        count: case.count,
        kind: case.kind.clone(),
    }]);
    let (began, asked) = (Instant::now(), demo.count(&target.matches));
    let outcome = read(target);
    let (took, asked) = (began.elapsed(), demo.count(&target.matches) - asked);
    let happened = demo.fault_hits(0);
    let about = format!("{id} {:?}", case.kind);
    let mut compared = check_outcome(case, target, outcome);
    assert!(happened > 0, "{about}: it never happened");
    assert!(took >= case.least, "{about}: it took {took:?} alone");
    if let (Some(most), Some(before)) = (case.most_bytes, peak) {
        let grown = mounted.peak_bytes().saturating_sub(before);
        assert!(grown <= most, "{about}: memory grew by {grown} bytes");
        figure("R28", format!("{id}: memory grew by {} KiB", grown >> 10), &format!("{} MiB", most >> 20));
    }
    if let Some(tries) = case.tries {
        // Blocks that one request asks for are asked for one by one after it has failed.
        let most = if target.n_blocks == 1 { tries } else { tries * target.n_blocks + 8 };
        assert!((tries..=most).contains(&asked), "{about}: {asked} requests for {} blocks", target.n_blocks);
    }
    demo.set_faults(Vec::new());
    compared += recovers(id, target);
    // Who got an errno is told at the level that nobody has to ask for.
    let is_told = |line: &str| case.class == Class::Ok || line.contains(" WARN ");
    let has_code =
        |line: &str| is_told(line) && case.codes.iter().any(|code| line.contains(&format!("code=\"{code}\"")));
    // Lines are written by a thread of their own.
    let end = Instant::now() + Duration::from_secs(5);
    while !case.codes.is_empty() && !mounted.log()[logged..].lines().any(has_code) {
        let log = &mounted.log()[logged..];
        assert!(Instant::now() < end, "{about}: none of {:?} in the log:\n{log}", case.codes);
        std::thread::sleep(Duration::from_millis(10));
    }
    (happened, compared)
}

/// Every case by a read of a target of its own.
fn survive_each(cases: &[Case], targets: &[Target], demo: &Demo, mounted: &mut Mounted) {
    assert!(targets.len() >= cases.len(), "{} chunks for {} faults", targets.len(), cases.len());
    let mut targets = targets.iter();
    for group in cases.chunk_by(|a, b| a.id == b.id) {
        let survival = Survival::begin(group[0].id, mounted);
        let (mut happened, mut compared) = (0, 0);
        for (case, target) in group.iter().zip(&mut targets) {
            let survived = survive(case, target, demo, mounted);
            (happened, compared) = (happened + survived.0, compared + survived.1);
        }
        survival.end(mounted, happened, group[0].codes, compared);
    }
}

/// The same by a mount of its own.
fn survive_all(cases: &[Case], names: &[&str], view: &str, endpoint: &str) {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(240));
    let demo = test_demo(names);
    let mut mounted = mounted(&demo, &[]);
    let targets = targets(&mounted, demo.dataset(), names, view, endpoint);
    survive_each(cases, &targets, &demo, &mut mounted);
}
