//! Random reads by every call that a program can make, of files of every layout, by many threads at once.
//!
//! Where a file's bytes follow from the pure function they must be those. Of the others (pictures, HDF5, headers) the
//! bytes that one plain read gave must be what every other call gives.

mod calls;
mod mapper;

use std::collections::BTreeMap;
use std::fs::File;
use std::time::{Duration, Instant};

use dvidfs::demo::{Dataset, Demo, DemoOptions, Kind};

use calls::{CALLS, Call, Range, Reading};
use mapper::Mapper;

use crate::support::{Mounted, Random, ViewOf, WholeFile, can_mount, figure, is_long, time_limit, whole_files};

const N_THREADS: u64 = 16;
/// Calls on the locked node and on the open one, for each seed.
const FEW: [u64; 2] = [16_000, 5_600];
const MANY: [u64; 2] = [108_000, 27_000];
/// Of each layout of a view so many files are read.
const MOST_FILES: usize = 10;

/// Every layout with one byte, two bytes, labels in two views, and four channels; coordinates below 0, and levels.
const NAMES: [&str; 7] = ["gray", "gray_1", "gray_2", "rgba", "rgba_1", "seg32", "u16"];

/// What was compared, by call: how often, and how many bytes.
type Tally = BTreeMap<Call, (u64, u64)>;

/// A number from the environment.
fn given(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Files of all layouts of all instances.
fn all_files(mounted: &Mounted, dataset: &Dataset, version: usize) -> Vec<WholeFile> {
    let mut files = Vec::new();
    for spec in dataset.instances() {
        let place = mounted.root().join(&spec.name);
        let labelmap = matches!(spec.kind, Kind::LabelMap(_));
        let view = ViewOf { place: &place, dataset, version, instance: &spec.name, bodies: labelmap };
        files.extend(whole_files(view, MOST_FILES));
        if labelmap {
            let place = place.join("supervoxels");
            files.extend(whole_files(ViewOf { place: &place, bodies: false, ..view }, MOST_FILES));
        }
    }
    files
}

/// One thread: so many calls on files that it changes now and then.
fn read_randomly(files: &[WholeFile], seed: u64, n_calls: u64, is_kept: bool) -> Tally {
    let mut random = Random(seed);
    let mut mapper = Mapper::start();
    let mut tally = Tally::new();
    let choose = |random: &mut Random| {
        let whole = &files[usize::try_from(random.below(files.len() as u64)).unwrap()];
        (whole, File::open(&whole.path).unwrap())
    };
    let (mut whole, mut file) = choose(&mut random);
    for n in 0..n_calls {
        if random.below(4) == 0 {
            (whole, file) = choose(&mut random);
        }
        let n_bytes = whole.bytes.len() as u64;
        // A process for each is dear.
        let mut call = CALLS[usize::try_from(random.below(CALLS.len() as u64)).unwrap()];
        if call == Call::Forked && random.below(8) > 0 {
            call = Call::Pread;
        }
        let range = Range::any(&mut random, n_bytes);
        let mut reading = Reading { path: &whole.path, file: &mut file, mapper: &mut mapper, n_bytes, is_kept };
        let what = || format!("seed {seed}, call {n}: {call:?} of {range:?} in {}", whole.path.display());
        let given = reading.run(call, range, &mut random).unwrap_or_else(|errno| panic!("{}: {errno}", what()));
        let counted = tally.entry(call).or_default();
        let Some(given) = given else { continue };
        let expected = &whole.bytes[Reading::asked(call, range).within(n_bytes)];
        assert_eq!(given.len(), expected.len(), "bytes of {}", what());
        if let Some(at) = given.iter().zip(expected).position(|(given, expected)| given != expected) {
            panic!("{}: byte {at} is {}, not {}", what(), given[at], expected[at]);
        }
        *counted = (counted.0 + 1, counted.1 + given.len() as u64);
    }
    tally
}

/// All threads on one mount; gives how many bytes were compared.
fn check_node(demo: &Demo, (source, version): (&str, usize), n_calls: u64, seed: u64) -> Tally {
    let is_kept = version == 0;
    let source = format!("{}/{source}", demo.origin());
    let mounted = Mounted::new(&source, &["--settle", "0"]);
    let files = all_files(&mounted, demo.dataset(), version);
    let layouts = |by_oracle| {
        let mut layouts: Vec<_> =
            files.iter().filter(|file| file.by_oracle == by_oracle).map(|file| &file.layout[..]).collect();
        layouts.sort_unstable();
        layouts.dedup();
        layouts.join(" ")
    };
    println!("{} files; by the pure function: {}; by one plain read: {}", files.len(), layouts(true), layouts(false));
    assert_eq!(layouts(true), "flat precomputed volume-c256.zarr volume-v3.zarr volume.n5 volume.zarr");
    // Of those layouts only metadata and headers are compared with a plain read: whatever is named by numbers is a chunk.
    let is_chunk = |file: &&WholeFile| {
        let name = file.path.file_name().unwrap().to_string_lossy();
        file.layout != "slices" && name.starts_with(|first: char| first == '-' || first.is_ascii_digit())
    };
    assert!(files.iter().filter(is_chunk).all(|file| file.by_oracle), "a chunk that the pure function does not know");
    for layout in ["slices", "volume.h5", "datasource-properties.json"] {
        assert!(files.iter().any(|file| file.layout == layout), "no file of {layout}");
    }
    let mut all = Tally::new();
    std::thread::scope(|scope| {
        let files = &files;
        let threads: Vec<_> = (0..N_THREADS)
            .map(|thread| scope.spawn(move || read_randomly(files, seed * 1000 + thread, n_calls / N_THREADS, is_kept)))
            .collect();
        for thread in threads {
            let tally = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            for (call, (n, bytes)) in tally {
                let sum = all.entry(call).or_default();
                *sum = (sum.0 + n, sum.1 + bytes);
            }
        }
    });
    all
}

#[test]
fn every_call_that_reads_gives_the_bytes_of_the_file() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(if is_long() { 7200 } else { 400 }));
    let seeds = match given("DVIDFS_FSX_SEED") {
        Some(seed) => seed..seed + 1,
        None if is_long() => 1..9,
        None => 1..2,
    };
    let calls = if is_long() { MANY } else { FEW };
    let demo = Demo::start(DemoOptions { dataset: Dataset::test().only(&NAMES), ..DemoOptions::default() }).unwrap();
    for seed in seeds {
        for (node, n_calls) in [("a40d", 0), ("a40d:master", 2)].into_iter().zip(calls) {
            let n_calls = given("DVIDFS_FSX_CALLS").unwrap_or(n_calls);
            let began = Instant::now();
            let tally = check_node(&demo, node, n_calls, seed);
            let (n, bytes) = tally.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            let about = format!("seed {seed}, {}: {n} reads, {} MiB compared, 0 wrong", node.0, bytes >> 20);
            figure("R18", format!("{about} in {:.0?}", began.elapsed()), "10^6 reads, 8 seeds, 0 wrong");
            println!("  {tally:?}");
            for call in CALLS.into_iter().filter(|&call| call != Call::CopyFileRange && n_calls >= 5600) {
                assert!(tally.get(&call).is_some_and(|&(_, bytes)| bytes > 0), "{call:?} compared nothing");
            }
        }
    }
}
