//! Mounts with a disk cache, and what they must hold.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dvidfs::demo::{Dataset, Demo, DemoOptions};
use dvidfs::geometry::{Coordinate, VoxelBox};
use serde_json::Value;

use super::mounted::Mounted;
use super::oracle::{Chunk, chunk_of, file_values, levels};

/// A directory for a disk cache, and how mounts are made that use it.
pub struct Caches {
    directory: PathBuf,
    /// Removed at the end.
    _scratch: Option<tempfile::TempDir>,
}

/// A file of the mount and what it must hold.
pub struct Wanted {
    pub chunk: Chunk,
    pub bytes: Vec<u8>,
}

impl Caches {
    pub fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        Self { directory: scratch.path().canonicalize().unwrap(), _scratch: Some(scratch) }
    }

    /// One that somebody else takes away.
    pub fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), _scratch: None }
    }

    /// What is given as `--cache-dir`.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the entries lie.
    pub fn entries(&self) -> PathBuf {
        self.directory.join("dvidfs-v1")
    }

    /// All files of entries of blocks and mappings.
    pub fn files(&self) -> Vec<PathBuf> {
        self.all_files().into_iter().filter(|file| !is_of_node(file)).collect()
    }

    /// All files of entries that describe a node.
    pub fn nodes(&self) -> Vec<PathBuf> {
        self.all_files().into_iter().filter(|file| is_of_node(file)).collect()
    }

    fn all_files(&self) -> Vec<PathBuf> {
        let Ok(shards) = fs::read_dir(self.entries()) else { return Vec::new() };
        let shards = shards.flatten().map(|shard| shard.path()).filter(|path| path.is_dir());
        let mut files: Vec<_> = shards
            .flat_map(|shard| fs::read_dir(shard).into_iter().flatten().flatten())
            .map(|file| file.path())
            .collect();
        files.sort();
        files
    }

    /// A mount of the demo's root whose waits for the disk and the server are a tenth of the usual.
    pub fn mount(&self, demo: &Demo, more: &[&str]) -> Mounted {
        self.mount_scaled(demo, "0.1", more)
    }

    /// The same with another factor.
    pub fn mount_scaled(&self, demo: &Demo, scale: &str, more: &[&str]) -> Mounted {
        let directory = self.directory.to_str().unwrap();
        // Connections stay open: with one of them, the open files of a daemon are the same before and after.
        let server = ["--max-connections", "1", "--mount-wait", "60s"];
        let options = ["--settle", "0", "--time-scale", scale, "--cache-dir", directory];
        Mounted::new(&format!("{}/a40d", demo.origin()), &[&options, &server[..], more].concat())
    }
}

/// Whether the key of an entry, whole or not, begins as that of a node: behind the format.
fn is_of_node(file: &Path) -> bool {
    fs::read(file).is_ok_and(|bytes| bytes.get(26..34) == Some(b"\x04\0\0\0node"))
}

/// A demo server of these instances of the test dataset.
pub fn demo_of(names: &[&str]) -> Demo {
    Demo::start(DemoOptions { dataset: Dataset::test().only(names), ..DemoOptions::default() }).unwrap()
}

/// Requests for voxels that the server has had.
pub fn voxel_requests(demo: &Demo) -> Vec<String> {
    let is_of_voxels = |request: &String| request.contains("/subvolblocks/") || request.contains("/blocks/");
    demo.requests().into_iter().filter(is_of_voxels).collect()
}

/// Every chunk file of the finest level of these instances.
pub fn wanted(mounted: &Mounted, demo: &Demo, names: &[&str]) -> Vec<Wanted> {
    names.iter().flat_map(|name| wanted_of(mounted, demo, name)).collect()
}

fn wanted_of(mounted: &Mounted, demo: &Demo, name: &str) -> Vec<Wanted> {
    let dataset = demo.dataset();
    let spec = dataset.instance(name).unwrap();
    let mut found = Vec::new();
    for (place, bodies) in [(mounted.root().join(name), true), (mounted.root().join(name).join("supervoxels"), false)] {
        if !place.exists() {
            continue;
        }
        let is_labelmap = place.join("supervoxels").exists();
        let level = &levels(&place)[0];
        let n_chunks = level.shape.div_ceil(level.chunk_shape);
        for index in VoxelBox::from_shape(Coordinate::ZERO, n_chunks).unwrap().indices() {
            let chunk = chunk_of(level, index);
            let bytes = file_values(dataset, 0, &spec, level.scale, bodies && is_labelmap, chunk.voxels);
            if chunk.path.exists() {
                found.push(Wanted { chunk, bytes });
            }
        }
    }
    assert!(!found.is_empty(), "no chunks of {name}");
    found
}

/// Compares files with what they must hold; gives the bytes compared.
#[track_caller]
pub fn compare(wanted: &[Wanted]) -> u64 {
    wanted.iter().map(compare_one).sum()
}

/// Compares one file.
#[track_caller]
pub fn compare_one(wanted: &Wanted) -> u64 {
    let path = &wanted.chunk.path;
    let found = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(found == wanted.bytes, "{} differs", path.display());
    found.len() as u64
}

/// What `stats.json` says of the disk cache.
pub fn disk_stats(mounted: &Mounted) -> Value {
    let stats = fs::read(mounted.root().join(".dvidfs/stats.json")).unwrap();
    serde_json::from_slice::<Value>(&stats).unwrap()["disk_cache"].clone()
}

/// Waits until everything that was offered to the disk was written or dropped.
pub fn wait_until_written(mounted: &Mounted) {
    let end = Instant::now() + Duration::from_secs(60);
    let n_written = || mounted.counter("disk_written_blocks") + mounted.counter("disk_dropped_blocks");
    loop {
        let before = n_written();
        std::thread::sleep(Duration::from_millis(60));
        if disk_stats(mounted)["queued_bytes"] == 0 && n_written() == before {
            return;
        }
        assert!(Instant::now() < end, "the disk cache is not written: {}", disk_stats(mounted));
    }
}
