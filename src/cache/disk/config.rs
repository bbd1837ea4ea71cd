//! How large a cache on disk may be and where it lies, and what it is doing.

use std::path::PathBuf;

use super::health::Times;

/// How large a cache on disk may be, and where it lies.
#[derive(Clone)]
pub struct DiskConfig {
    /// Its directory: made if it is not there, its parent is not.
    pub directory: PathBuf,
    /// Bytes of all entries.
    pub limit_bytes: u64,
    /// The part of the file system that is left free, whoever fills it.
    pub free_share: f64,
    /// Seals the entries where others can write.
    pub key: Option<Box<[u8; 32]>>,
    /// How patient it is with the disk.
    pub times: Times,
}

impl DiskConfig {
    /// The key that a secret text stands for.
    #[must_use]
    pub fn key_of(secret: &[u8]) -> Box<[u8; 32]> {
        Box::new(blake3::derive_key("dvidfs 2026-11-25 disk cache entries", secret))
    }
}

impl std::fmt::Debug for DiskConfig {
    /// Never the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { directory, limit_bytes, .. } = self;
        f.debug_struct("DiskConfig").field("directory", directory).field("limit_bytes", limit_bytes).finish()
    }
}

/// What a cache on disk is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskStatus {
    /// Its directory.
    pub directory: PathBuf,
    /// `ok`, `late` (it takes long just now), `bypassed` (it failed or hangs), or `not written` (full or read-only).
    pub state: &'static str,
    /// Bytes of all entries, all daemons' together, as far as it is known.
    pub held_bytes: u64,
    /// Bytes that wait to be written.
    pub queued_bytes: usize,
}
