//! A cache on disk in a directory of its own, and an entry to put into it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::disk::{Disk, DiskConfig, EntryKey, Sought, Times};
use crate::dvid::Identity;
use crate::geometry::{BlockIndex, Coordinate, Scale};

pub(super) const ENCODING: u8 = 16;
pub(super) const MOST_BYTES: usize = 1 << 20;

pub(super) struct Place {
    scratch: tempfile::TempDir,
    pub(super) disk: Disk,
}

impl Place {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut DiskConfig)) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let mut config = config(scratch.path());
        change(&mut config);
        let disk = Disk::open(config).unwrap();
        Self { scratch, disk }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.scratch.path().join("entries")
    }

    /// Where the entry of a key lies.
    pub(super) fn file_of(&self, key: &EntryKey) -> PathBuf {
        self.path().join(self.disk.store().seal().name(key).path())
    }

    pub(super) fn put(&self, key: &EntryKey, payload: &[u8]) {
        assert_eq!(self.disk.put(key, (ENCODING, payload), 4096), Ok(true));
    }

    /// What the cache says of a key.
    pub(super) fn get(&self, key: &EntryKey) -> Sought<Vec<u8>> {
        self.disk.get(key, MOST_BYTES, |encoding, payload| (encoding == ENCODING).then(|| payload.to_vec()))
    }
}

pub(super) fn config(parent: &Path) -> DiskConfig {
    DiskConfig {
        directory: parent.join("entries"),
        limit_bytes: 1 << 30,
        free_share: 0.0,
        key: None,
        times: Times::default(),
    }
}

pub(super) fn identity() -> Identity {
    Identity {
        root: "a7c1e0b2d9f34f0fb1f3f8f1a2b3c4d5".into(),
        data_uuid: "0f1e2d3c4b5a69788796a5b4c3d2e1f0".into(),
        version: "28841c8277e044a7b187dda03e18da13".into(),
        typename: "uint8blk".into(),
        values: "uint8x1 64,64,64".into(),
        encoding: ENCODING,
    }
}

pub(super) fn key(x: i64) -> EntryKey {
    EntryKey::block(&identity(), Scale(0), BlockIndex(Coordinate::new(-1, 70_000, x)))
}

/// A payload without any order, of a seed.
pub(super) fn payload(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// Files of entries, wherever they lie.
pub(super) fn n_files(directory: &Path) -> usize {
    let shards = fs::read_dir(directory).unwrap().map(|shard| shard.unwrap().path()).filter(|path| path.is_dir());
    shards.map(|shard| fs::read_dir(shard).unwrap().count()).sum()
}
