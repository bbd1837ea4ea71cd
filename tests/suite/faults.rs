//! Faults of a server, through a real mount: each is proven to have happened, and none gives a wrong byte.
//!
//! A fault is survived if all eight conditions hold: it happened; its outcome is of its class; no byte is wrong; the same
//! daemon still runs; no request of the kernel waits; threads and files are as before; its log code is there; and after
//! it the same read succeeds within 5 s.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use dvidfs::demo::{Dataset, Demo, DemoOptions, Fault, FaultKind, LabelDamage};
use dvidfs::geometry::{Coordinate, VoxelBox};

use crate::support::{Chunk, Mounted, Survival, can_mount, chunk_of, file_values, levels, survival, time_limit};

/// What must come of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// The right bytes, after retries.
    Ok,
    /// EIO while it lasts.
    Eio,
}

/// One fault of the list.
struct Case {
    id: &'static str,
    kind: FaultKind,
    class: Class,
    /// Any of these log codes tells of it; none where it is legal.
    codes: &'static [&'static str],
}

/// A count that lasts.
const ALWAYS: u64 = 1 << 40;

fn ok(id: &'static str, kind: FaultKind, codes: &'static [&'static str]) -> Case {
    Case { id, kind, class: Class::Ok, codes }
}

fn eio(id: &'static str, kind: FaultKind, codes: &'static [&'static str]) -> Case {
    Case { id, kind, class: Class::Eio, codes }
}

fn image_faults() -> Vec<Case> {
    let hang = 60_000;
    vec![
        // First, for it needs an answer of more than one frame, which chunks with holes do not give.
        ok("D9", FaultKind::Permuted, &[]),
        ok("B1", FaultKind::HangBeforeHeaders { ms: hang }, &["fetch_timeout"]),
        ok("B2", FaultKind::HangAfterHeaders { ms: hang }, &["fetch_timeout"]),
        ok("B3", FaultKind::Drip { ms: 200 }, &["fetch_timeout"]),
        eio("B4", FaultKind::LengthTooLarge, &["fetch_cut", "bad_frame", "bad_length"]),
        eio("B5", FaultKind::LengthTooSmall, &["bad_frame", "bad_length", "fetch_cut"]),
        ok("B6", FaultKind::NoLastChunk, &["fetch_cut"]),
        ok("B7", FaultKind::CutInChunk, &["fetch_cut"]),
        eio("B8", FaultKind::Http10Cut, &["bad_length", "bad_frame"]),
        eio("B15", FaultKind::TextAppended, &["bad_frame"]),
        eio("B20", FaultKind::Status { status: 404, retry_after: None }, &["http_status"]),
        eio("D1", FaultKind::OneShort, &["bad_frame"]),
        eio("D2", FaultKind::OneLong, &["bad_frame"]),
        eio("D3", FaultKind::CutHeader { left: 1 }, &["bad_frame"]),
        eio("D3", FaultKind::CutHeader { left: 15 }, &["bad_frame"]),
        eio("D4", FaultKind::StrangeBlock, &["bad_frame"]),
        eio("D5", FaultKind::DuplicateBlock, &["bad_frame"]),
        eio("D6", FaultKind::FrameLength { length: -1 }, &["bad_frame"]),
        eio("D6", FaultKind::FrameLength { length: i32::MAX }, &["bad_frame"]),
        eio("D7", FaultKind::FrameLength { length: 0 }, &["bad_frame"]),
    ]
}

fn label_faults() -> Vec<Case> {
    let damage = |id, damage| eio(id, FaultKind::LabelBlock { damage }, &["bad_block", "bad_frame"]);
    vec![
        damage("D15", LabelDamage::Shape),
        damage("D16", LabelDamage::NoLabels),
        damage("D16", LabelDamage::TooManyLabels),
        damage("D16", LabelDamage::OverflowingLabels),
        damage("D17", LabelDamage::TooManyInSubBlock),
        damage("D17", LabelDamage::IndexOutOfRange),
        damage("D18", LabelDamage::BitsShort),
        damage("D18", LabelDamage::BytesLeft),
    ]
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
                targets.push(Target { chunk, expected, matches: format!("/{name}/{endpoint}/") });
            }
        }
    }
    targets
}

/// Reads a file to its end; the errno if that fails.
fn read(target: &Target) -> Result<Vec<u8>, i32> {
    fs::read(&target.chunk.path).map_err(|error: io::Error| error.raw_os_error().unwrap())
}

fn survive(case: &Case, target: &Target, demo: &Demo, mounted: &mut Mounted) {
    let (id, path) = (case.id, target.chunk.path.display());
    let survival = Survival::begin(id, mounted);
    let count = if case.class == Class::Eio { ALWAYS } else { 1 };
    demo.set_faults(vec![Fault { matches: target.matches.clone(), nth: 0, count, kind: case.kind.clone() }]);
    let outcome = read(target);
    let happened = demo.fault_hits(0);
    match case.class {
        Class::Ok => assert!(outcome.as_deref() == Ok(&target.expected), "{id}: wrong outcome of {path}"),
        Class::Eio => assert_eq!(outcome.err(), Some(nix::libc::EIO), "{id}: {path}"),
    }
    demo.set_faults(Vec::new());
    let end = Instant::now() + Duration::from_secs(5);
    while read(target).as_deref() != Ok(&target.expected) {
        assert!(Instant::now() < end, "{id}: {path} is still not right 5 s after");
        std::thread::sleep(Duration::from_millis(50));
    }
    survival.check(mounted, happened, case.codes);
    let log = survival.log(mounted);
    // Who got an errno is told at the level that nobody has to ask for.
    let is_told = |line: &str| case.class == Class::Ok || line.contains(" WARN ");
    let has_code = |line: &str| is_told(line) && case.codes.iter().any(|code| line.contains(code));
    let told = case.codes.is_empty() || log.lines().any(has_code);
    assert!(told, "{id}: none of {:?} in the log:\n{log}", case.codes);
}

fn survive_all(cases: &[Case], names: &[&str], view: &str, endpoint: &str) {
    let _limit = time_limit(Duration::from_secs(240));
    let demo = test_demo(names);
    let mut mounted = mounted(&demo, &[]);
    let targets = targets(&mounted, demo.dataset(), names, view, endpoint);
    assert!(targets.len() >= cases.len(), "{} chunks for {} faults", targets.len(), cases.len());
    let pid = mounted.pid();
    for (case, target) in cases.iter().zip(&targets) {
        survive(case, target, &demo, &mut mounted);
    }
    assert_eq!(mounted.pid(), pid);
    // A fault of several kinds is one of the list.
    for (n, case) in cases.iter().enumerate().filter(|(n, case)| cases[n + 1..].iter().all(|later| later.id != case.id))
    {
        survival::report(case.id, targets[n].expected.len() as u64);
    }
}

#[test]
fn every_fault_of_an_answer_with_image_blocks_is_survived() {
    if can_mount() {
        survive_all(&image_faults(), &["u16", "u32", "u64", "f32", "holes"], "", "subvolblocks");
    }
}

#[test]
fn every_fault_of_a_label_block_is_survived() {
    if can_mount() {
        survive_all(&label_faults(), &["segmentation"], "supervoxels", "blocks");
    }
}

#[test]
fn a_block_that_a_clean_stream_leaves_out_is_the_fill_value() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let demo = test_demo(&["gray"]);
    let mut mounted = mounted(&demo, &[]);
    let target = &targets(&mounted, demo.dataset(), &["gray"], "", "subvolblocks")[0];
    let survival = Survival::begin("D8", &mounted);
    demo.set_faults(vec![Fault {
        matches: target.matches.clone(),
        nth: 0,
        count: ALWAYS,
        kind: FaultKind::BlockLeftOut,
    }]);
    assert_eq!(read(target), Ok(vec![0; target.expected.len()]), "D8");
    survival.end(&mut mounted, demo.fault_hits(0), &[], target.expected.len() as u64);
}

#[test]
fn a_mapping_that_is_still_loaded_gives_no_wrong_body() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let loading = Duration::from_secs(12);
    let dataset = Dataset::test().only(&["segmentation"]);
    let options = DemoOptions { dataset, mapping_loads_for: loading, ..DemoOptions::default() };
    let demo = Demo::start(options).unwrap();
    let started = Instant::now();
    let source = format!("{}/a40d", demo.origin());
    let mounted = Mounted::new(&source, &["--settle", "0"]);
    let level = &levels(&mounted.root().join("segmentation"))[0];
    let spec = demo.dataset().instance("segmentation").unwrap();
    assert!(started.elapsed() < loading, "the mapping must still be loading when the reads begin");
    let n_chunks = level.shape.div_ceil(level.chunk_shape);
    let mut compared = 0;
    for index in VoxelBox::from_shape(Coordinate::ZERO, n_chunks).unwrap().indices() {
        let chunk = chunk_of(level, index);
        let expected = file_values(demo.dataset(), 0, &spec, level.scale, true, chunk.voxels);
        if chunk.path.exists() {
            assert!(fs::read(&chunk.path).unwrap() == expected, "D23: wrong bodies in {}", chunk.path.display());
            compared += expected.len() as u64;
        }
    }
    // Two downloads open the gate; more of them show that it was kept closed.
    assert!(demo.count("mappings") > 2, "the mapping was never seen half loaded");
    survival::report("D23", compared);
}
