//! Reads through a mount and directly from the same server, side by side in one run, and prints ratios.
//!
//! `scripts/bench` builds and runs it. Direct means this crate's own client, with the request plan, block size and concurrency that the
//! mount used; a row whose request counts differ is void. Server, daemon and reader share one machine.

#![allow(clippy::print_stdout)] // A report is what this program is for.

mod direct;
mod mounted;
mod plan;
mod report;

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use dvidfs::demo::{Dataset, Demo, DemoOptions};

use direct::Direct;
use mounted::{Mounted, tmpfs_copy};
use plan::{Chunk, random_chunks, region};
use report::{Report, Row};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Memory that each mount is allowed, and what it may take beyond.
const MEMORY_MIB: u64 = 128;
const BEYOND_MIB: u64 = 64;

/// A server that was asked for nothing so long is idle.
const IDLE: Duration = Duration::from_millis(20);

/// One thing that is measured.
struct Case {
    name: &'static str,
    /// The instance, and its directory that is read.
    of: (&'static str, &'static str),
    delay_ms: u64,
    readers: usize,
    access: Access,
    /// The ratio that is to be reached.
    bar: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    /// A whole volume in order, x fastest; direct repeats the requests that the mount made.
    Sequential,
    /// Chunk files far apart; direct asks for one block a chunk.
    Random,
    /// Chunk files that were read before, against copies of them on tmpfs.
    Warm,
}

const fn case(
    name: &'static str,
    of: (&'static str, &'static str),
    delay_ms: u64,
    readers: usize,
    access: Access,
    bar: Option<f64>,
) -> Case {
    Case { name, of, delay_ms, readers, access, bar }
}

/// Chunk files of 64^3 voxels: the kernel opens and reads each anew.
const GRAY: (&str, &str) = ("grayscale", "volume.zarr");
const LABELS: (&str, &str) = ("segmentation", "volume.zarr");
/// Files of 16 MiB, in which what is read in order is a run of bytes.
const LARGE_FILES: (&str, &str) = ("grayscale", mounted::LARGE);

const CASES: &[Case] = &[
    case("gray, cold sequential in large files, 4 ms", LARGE_FILES, 4, 1, Access::Sequential, Some(0.7)),
    case("gray, cold sequential, 4 ms a request", GRAY, 4, 1, Access::Sequential, None),
    case("gray, cold sequential, 1 ms a request", GRAY, 1, 1, Access::Sequential, None),
    case("gray, cold sequential, no delay", GRAY, 0, 1, Access::Sequential, None),
    case("labels, cold sequential, 4 ms a request", LABELS, 4, 1, Access::Sequential, None),
    case("gray, cold random 64^3, 1 reader, 1 ms", GRAY, 1, 1, Access::Random, None),
    case("gray, cold random 64^3, 4 readers, 1 ms", GRAY, 1, 4, Access::Random, Some(0.5)),
    case("gray, cold random 64^3, 4 readers, no delay", GRAY, 0, 4, Access::Random, None),
    case("labels, cold random 64^3, 1 reader, 1 ms", LABELS, 1, 1, Access::Random, None),
    case("labels, cold random 64^3, 4 readers, 1 ms", LABELS, 1, 4, Access::Random, None),
    case("gray, warm against tmpfs", GRAY, 0, 1, Access::Warm, Some(0.5)),
];

/// Bytes of the voxels of these chunks.
fn bytes_of(case: &Case, chunks: &[Chunk]) -> u64 {
    let per_voxel = if case.of == LABELS { 8 } else { 1 };
    chunks.len() as u64 * 64 * 64 * 64 * per_voxel
}

struct Bench {
    /// One of volumes without end, and one of a volume that is read from its first voxel to its last.
    demos: [Demo; 2],
    /// Which of them the present case is about.
    current: usize,
    program: PathBuf,
    report: Report,
}

impl Bench {
    fn demo(&self) -> &Demo {
        &self.demos[self.current]
    }

    fn url(&self) -> String {
        format!("{}/{}", self.demo().origin(), self.demo().dataset().root())
    }

    /// Requests for voxels of an instance since the log had `from` lines.
    fn voxel_requests(&self, instance: &str, from: usize) -> Vec<String> {
        let part = format!("/{instance}/");
        let is_voxels = |line: &String| line.contains(&part) && line.contains("blocks");
        self.demo().requests().split_off(from).into_iter().filter(is_voxels).collect()
    }

    /// Waits until the server is idle: what was fetched ahead in vain must not cost the next reader.
    fn wait_until_idle(&self) -> Outcome<()> {
        let start = Instant::now();
        let mut busy = start;
        while busy.elapsed() < IDLE {
            if self.demo().in_flight().0 > 0 {
                busy = Instant::now();
            }
            if start.elapsed() > mounted::LIMIT {
                return Err("the server does not become idle".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Reads through a mount without measuring. The server makes its blocks when they are first asked for, those that
    /// are fetched ahead too, which takes much longer than to send them: a real server has them stored.
    fn rehearse(&mut self, case: &'static Case, chunks: &[Chunk]) -> Outcome<()> {
        self.demo().set_delay(Duration::ZERO);
        let mount = Mounted::open(&self.program, &self.url(), MEMORY_MIB)?;
        mount.read(case.of, chunks, 1)?;
        self.wait_until_idle()?;
        self.report.memory(mount.close()?);
        Ok(())
    }

    fn run(&mut self, case: &'static Case, seed: u64) -> Outcome<()> {
        self.current = usize::from(case.access == Access::Sequential);
        match case.access {
            Access::Sequential => self.sequential(case),
            Access::Random => self.random(case, seed),
            Access::Warm => self.warm(case),
        }
    }

    fn sequential(&mut self, case: &'static Case) -> Outcome<()> {
        let chunks = region();
        let direct = Direct::open(&self.url(), case.of.0, 4)?;
        self.rehearse(case, &chunks)?;
        self.demo().set_delay(Duration::from_millis(case.delay_ms));
        let mount = Mounted::open(&self.program, &self.url(), MEMORY_MIB)?;
        let before = self.demo().requests().len();
        let mounted = mount.read(case.of, &chunks, 1)?;
        let asked = self.voxel_requests(case.of.0, before);
        self.report.memory(mount.close()?);
        self.wait_until_idle()?;
        let boxes = plan::boxes(&asked)?;
        let (inside, beyond) = plan::within(&boxes, &chunks);
        let before = self.demo().requests().len();
        let direct_time = direct.fetch_boxes(&inside, 4)?;
        let repeated = self.voxel_requests(case.of.0, before).len();
        let is_void = repeated != inside.len() || !plan::each_once(&inside, &chunks);
        self.report.add(
            case.name,
            Row {
                mounted,
                direct: direct_time,
                bytes: bytes_of(case, &chunks),
                requests: (inside.len(), repeated),
                beyond,
                is_void,
                bar: case.bar,
            },
        );
        Ok(())
    }

    fn random(&mut self, case: &'static Case, seed: u64) -> Outcome<()> {
        let chunks = random_chunks(seed);
        let direct = Direct::open(&self.url(), case.of.0, case.readers)?;
        self.demo().set_delay(Duration::ZERO);
        direct.fetch_chunks(&chunks, case.readers)?;
        self.demo().set_delay(Duration::from_millis(case.delay_ms));
        let before = self.demo().requests().len();
        let direct_time = direct.fetch_chunks(&chunks, case.readers)?;
        let asked_direct = self.voxel_requests(case.of.0, before).len();
        let mount = Mounted::open(&self.program, &self.url(), MEMORY_MIB)?;
        let before = self.demo().requests().len();
        let mounted = mount.read(case.of, &chunks, case.readers)?;
        let asked = self.voxel_requests(case.of.0, before).len();
        self.report.memory(mount.close()?);
        let is_void = asked != asked_direct;
        self.report.add(
            case.name,
            Row {
                mounted,
                direct: direct_time,
                bytes: bytes_of(case, &chunks),
                requests: (asked, asked_direct),
                beyond: 0,
                is_void,
                bar: case.bar,
            },
        );
        Ok(())
    }

    fn warm(&mut self, case: &'static Case) -> Outcome<()> {
        let chunks: Vec<Chunk> = region();
        self.demo().set_delay(Duration::ZERO);
        let mount = Mounted::open(&self.program, &self.url(), MEMORY_MIB)?;
        mount.read(case.of, &chunks, 1)?;
        let copies = tmpfs_copy(&mount.files(case.of, &chunks))?;
        let before = (self.demo().requests().len(), mount.counter("fuse_reads")?);
        let mounted = mount.read(case.of, &chunks, 1)?;
        let asked = self.voxel_requests(case.of.0, before.0).len();
        let reads = mount.counter("fuse_reads")?.saturating_sub(before.1);
        let direct_time = mounted::read_files(&copies.files(), 1)?;
        self.report.memory(mount.close()?);
        // The stats file is read as well: a few reads are the bench's own.
        let is_void = asked != 0 || reads > 8;
        self.report.add(
            case.name,
            Row {
                mounted,
                direct: direct_time,
                bytes: bytes_of(case, &chunks),
                requests: (asked, 0),
                beyond: 0,
                is_void,
                bar: case.bar,
            },
        );
        Ok(())
    }
}

fn main() -> Outcome<()> {
    let mut words = std::env::args().skip(1);
    let program = PathBuf::from(words.next().ok_or("usage: bench DVIDFS [REPETITIONS [PART-OF-A-NAME]]")?);
    let repetitions: u64 = words.next().map_or(Ok(5), |word| word.parse())?;
    let part = words.next().unwrap_or_default();
    let start = |dataset| Demo::start(DemoOptions { dataset, ..DemoOptions::default() });
    let whole =
        |dataset: Dataset, (name, _): (&str, &str)| dataset.with(name, |spec| spec.data = plan::region_voxels());
    let demos = [start(Dataset::large())?, start(whole(whole(Dataset::large(), GRAY), LABELS))?];
    let mut bench = Bench { demos, current: 0, program, report: Report::default() };
    let mut order: Vec<usize> = (0..CASES.len()).filter(|&n| CASES[n].name.contains(&part)).collect();
    for repetition in 0..repetitions {
        plan::shuffle(&mut order, repetition);
        for &n in &order {
            bench.run(&CASES[n], repetition)?;
        }
        println!("repetition {} of {repetitions} done", repetition + 1);
    }
    let names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
    bench.report.print(&names, MEMORY_MIB + BEYOND_MIB);
    if bench.report.is_good(MEMORY_MIB + BEYOND_MIB) { Ok(()) } else { Err("a bar was missed or a row is void".into()) }
}
