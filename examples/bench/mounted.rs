//! Reads through a mount of its own daemon, as a program does: the chunk files of a Zarr array.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dvidfs::geometry::Coordinate;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::Outcome;
use super::plan::Chunk;

/// The tree whose chunks have 256^3 voxels.
pub(crate) const LARGE: &str = "volume-c256.zarr";

/// No read of this bench takes so long.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A mount that nobody has read from.
pub(crate) struct Mounted {
    daemon: Child,
    place: TempDir,
}

impl Mounted {
    pub(crate) fn open(program: &Path, url: &str, memory_mib: u64) -> Outcome<Self> {
        let place = tempfile::tempdir()?;
        let daemon = Command::new(program)
            .args(["mount", "-f", "-q", "--settle", "0", "--no-cache", "--memory", &format!("{memory_mib}M"), url])
            .arg(place.path())
            .stdin(Stdio::null())
            .spawn()?;
        let mount = Self { daemon, place };
        let start = Instant::now();
        while !mount.place.path().join("node.json").exists() {
            if start.elapsed() > LIMIT {
                return Err("the mount is not usable".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(mount)
    }

    /// The files of chunks, in their order. Labels are read as supervoxels, which is how they are stored.
    pub(crate) fn files(&self, (instance, tree): (&str, &str), chunks: &[Chunk]) -> Vec<PathBuf> {
        let home = self.place.path().join(instance);
        let view = if home.join("supervoxels").exists() { home.join("supervoxels") } else { home };
        let level = view.join(tree).join("s0");
        // Blocks of the demo data are chunks of 64^3; of those of 256^3 the ones that hold them, each once.
        let edge = if tree == LARGE { 4 } else { 1 };
        let mut indices: Vec<_> = chunks.iter().map(|chunk| chunk.0.div_floor(Coordinate::splat(edge))).collect();
        let mut seen = HashSet::new();
        indices.retain(|&index| seen.insert(index));
        indices.iter().map(|index| level.join(format!("{}/{}/{}", index.z(), index.y(), index.x()))).collect()
    }

    /// Reads all chunks by so many readers. The time it took.
    pub(crate) fn read(&self, of: (&str, &str), chunks: &[Chunk], readers: usize) -> Outcome<Duration> {
        read_files(&self.files(of, chunks), readers)
    }

    /// A counter of the daemon.
    pub(crate) fn counter(&self, name: &str) -> Outcome<u64> {
        let stats: serde_json::Value =
            serde_json::from_slice(&fs::read(self.place.path().join(".dvidfs/stats.json"))?)?;
        stats["counters"][name].as_u64().ok_or_else(|| format!("no counter {name}").into())
    }

    /// Ends the daemon. The most memory that it ever had resident, in MiB.
    pub(crate) fn close(mut self) -> Outcome<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.daemon.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
        let kib: u64 = peak.trim().trim_end_matches(" kB").parse()?;
        self.stop()?;
        Ok(kib >> 10)
    }

    fn stop(&mut self) -> Outcome<()> {
        if self.daemon.try_wait()?.is_none() {
            kill(Pid::from_raw(i32::try_from(self.daemon.id())?), Signal::SIGTERM)?;
            self.daemon.wait()?;
        }
        Ok(())
    }
}

impl Drop for Mounted {
    /// Also after an error: the next run needs no stale mount.
    fn drop(&mut self) {
        // Nothing more can be done here.
        let _ = self.stop();
    }
}

/// Reads whole files by so many readers, each a part of the list. The time it took.
pub(crate) fn read_files(files: &[PathBuf], readers: usize) -> Outcome<Duration> {
    let start = Instant::now();
    std::thread::scope(|scope| {
        let parts: Vec<_> =
            files.chunks(files.len().div_ceil(readers)).map(|part| scope.spawn(|| read_part(part))).collect();
        parts.into_iter().try_for_each(|part| {
            part.join().map_err(|_| "a reader panicked")?.map_err(|error| format!("a mounted read: {error}"))
        })
    })?;
    Ok(start.elapsed())
}

fn read_part(files: &[PathBuf]) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    for path in files {
        let file = File::open(path)?;
        let size = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        buffer.resize(size, 0);
        file.read_exact_at(&mut buffer, 0)?;
        std::hint::black_box(&buffer);
    }
    Ok(())
}

/// Copies of files in memory.
pub(crate) struct Copies {
    place: TempDir,
    count: usize,
}

impl Copies {
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        (0..self.count).map(|n| self.place.path().join(n.to_string())).collect()
    }
}

/// Copies files to tmpfs.
pub(crate) fn tmpfs_copy(files: &[PathBuf]) -> Outcome<Copies> {
    let copies = Copies { place: tempfile::tempdir_in("/dev/shm")?, count: files.len() };
    for (from, to) in files.iter().zip(copies.files()) {
        fs::copy(from, to)?;
    }
    Ok(copies)
}
