//! How many bytes the entries take, all daemons' together: one number in a file beside the shards.
//!
//! Each daemon adds what it writes. A number that was lost or damaged is put right when the shards are walked.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use super::directory::Directory;

const FILE: &str = "usage";
/// Another daemon holds the lock for microseconds; one that is stopped may hold it for ever.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// Bytes of all entries, as far as it is known here.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// What was last seen in the file.
    seen: AtomicU64,
    /// What this daemon has added since.
    own: AtomicI64,
}

impl Usage {
    /// Bytes of all entries, as far as it is known here.
    pub(super) fn bytes(&self) -> u64 {
        self.seen.load(Ordering::Relaxed).saturating_add_signed(self.own.load(Ordering::Relaxed))
    }

    /// Bytes were written, or removed.
    pub(super) fn add(&self, bytes: i64) {
        self.own.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What this daemon has added since it last told the others.
    pub(super) fn untold(&self) -> u64 {
        self.own.load(Ordering::Relaxed).unsigned_abs()
    }

    /// Tells the others what this one has added, and learns what they have.
    pub(super) fn tell(&self, directory: &Directory) {
        self.update(directory, |of_all, own| of_all.saturating_add_signed(own));
    }

    /// All shards were walked: they hold so many bytes.
    pub(super) fn correct(&self, directory: &Directory, bytes: u64) {
        self.update(directory, |_, _| bytes);
    }

    fn update(&self, directory: &Directory, sum: impl FnOnce(u64, i64) -> u64) {
        // Where the others cannot be told, this one goes on by what it knows.
        let Ok(file) = directory.open_beside(FILE) else { return };
        let Some(mut file) = locked(file) else { return };
        let own = self.own.load(Ordering::Relaxed);
        let sum = sum(read_number(&mut file).unwrap_or_else(|| self.seen.load(Ordering::Relaxed)), own);
        if write_number(&mut file, sum).is_ok() {
            self.own.fetch_sub(own, Ordering::Relaxed);
            self.seen.store(sum, Ordering::Relaxed);
        }
    }
}

fn locked(mut file: File) -> Option<Flock<File>> {
    for _ in 0..LOCK_TRIES {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Some(locked),
            Err((again, _)) => file = again,
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    None
}

fn read_number(file: &mut File) -> Option<u64> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_number(file: &mut File, number: u64) -> std::io::Result<()> {
    file.rewind()?;
    // One write of always the same length: a reader sees the old number or the new one.
    let text = format!("{number:020}\n");
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}
