//! One cache on disk, as the threads of the cache in memory use it. Every call may take as long as the disk does.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;

use super::config::DiskConfig;
use super::directory::DirectoryError;
use super::entry::Entry;
use super::key::EntryKey;
use super::room;
use super::seal::Seal;
use super::store::{Found, Store, Written};
use super::upkeep::Chore;
use super::usage::Usage;

/// Free space and the sum of all daemons are looked at whenever so much was written.
const LOOK_EVERY_BYTES: u64 = 1 << 20;
/// More than this above the limit nothing is written before there is room again.
const MOST_ABOVE_LIMIT: u64 = 32 << 20;
/// So much room is made at once, at most this part of the limit.
const ROOM_PART: u64 = 64;

/// A cache on disk.
#[derive(Debug)]
pub struct Disk {
    config: DiskConfig,
    store: Store,
    usage: Usage,
    written_since_look: AtomicU64,
}

/// What became of an attempt to get an entry.
#[derive(Debug)]
pub(in super::super) enum Sought<T> {
    /// It is there.
    Got(T),
    /// It is not.
    Missing,
    /// It was damaged; why.
    Damaged(&'static str),
    /// It is of another format.
    OtherFormat,
    /// The disk failed.
    Failed(Fault),
}

/// How a disk failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Fault {
    /// There is no room: for any, or for this one.
    Full,
    /// It takes nothing.
    ReadOnly,
    /// The directory was gone, and was made again.
    MadeAgain,
    /// The directory is gone.
    Gone,
    /// Anything else.
    Io(Errno),
}

impl Disk {
    /// Opens or makes the directory.
    ///
    /// # Errors
    /// If it cannot be had, or must not be trusted.
    pub fn open(config: DiskConfig) -> Result<Self, DirectoryError> {
        let seal = config.key.clone().map_or(Seal::Plain, Seal::Keyed);
        let store = Store::open(&config.directory, seal)?;
        // The first write looks.
        let written_since_look = AtomicU64::new(LOOK_EVERY_BYTES);
        Ok(Self { config, store, usage: Usage::default(), written_since_look })
    }

    /// How it was configured.
    pub(in super::super) fn config(&self) -> &DiskConfig {
        &self.config
    }

    /// Its entries.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Where it lies.
    pub(in super::super) fn path(&self) -> &Path {
        self.store.path()
    }

    /// Bytes of all entries, as far as it is known.
    pub(in super::super) fn held_bytes(&self) -> u64 {
        self.usage.bytes()
    }

    /// Whether there may be an entry.
    pub(in super::super) fn has(&self, key: &EntryKey) -> Result<bool, Fault> {
        self.store.has(key).map_err(Fault::Io)
    }

    /// Gets an entry whose payload has at most so many bytes; `use_it` is told what the payload is, and refuses it if
    /// it cannot be decoded.
    pub(in super::super) fn get<T>(
        &self,
        key: &EntryKey,
        most_bytes: usize,
        use_it: impl FnOnce(u8, &[u8]) -> Option<T>,
    ) -> Sought<T> {
        match self.store.read(key, most_bytes, use_it) {
            Found::Entry(used) => Sought::Got(used),
            Found::Missing => Sought::Missing,
            Found::Damaged(why) => Sought::Damaged(why),
            Found::OtherFormat => Sought::OtherFormat,
            Found::Failed(errno) => Sought::Failed(Fault::Io(errno)),
        }
    }

    /// Writes an entry, if there is none and there is room. Whether it is new.
    pub(in super::super) fn put(
        &self,
        key: &EntryKey,
        (encoding, payload): (u8, &[u8]),
        decoded_bytes: u64,
    ) -> Result<bool, Fault> {
        let bytes = payload.len() as u64;
        if bytes >= self.config.limit_bytes || self.usage.bytes() > self.config.limit_bytes + self.most_above_limit() {
            return Err(Fault::Full);
        }
        if self.written_since_look.fetch_add(bytes, Ordering::Relaxed) >= LOOK_EVERY_BYTES {
            self.written_since_look.store(0, Ordering::Relaxed);
            self.usage.tell(&self.store.directory());
            if self.lacks_free_space() {
                return Err(Fault::Full);
            }
        }
        match self.store.write(key, Entry { encoding, decoded_bytes, payload }) {
            Ok(Written::New(bytes)) => {
                self.usage.add(i64::try_from(bytes).unwrap_or(i64::MAX));
                Ok(true)
            }
            Ok(Written::WasThere) => Ok(false),
            Err(error) => Err(self.fault_of(&error)),
        }
    }

    /// Writes an entry in place of the one that is there, or removes it if there is none to be written.
    pub(in super::super) fn replace(&self, key: &EntryKey, entry: Option<(u8, &[u8])>) -> Result<(), Fault> {
        let more = match entry {
            None => self.store.remove(key).map(|bytes| -bytes.cast_signed()),
            Some((_, payload)) if payload.len() as u64 >= self.config.limit_bytes => return Err(Fault::Full),
            Some(_) if self.lacks_free_space() => return Err(Fault::Full),
            Some((encoding, payload)) => {
                self.store.replace(key, Entry { encoding, decoded_bytes: payload.len() as u64, payload })
            }
        };
        self.usage.add(more.map_err(|error| self.fault_of(&error))?);
        Ok(())
    }

    /// Writes down that an entry is in use.
    pub(in super::super) fn touch(&self, key: &EntryKey) {
        self.store.touch(key);
    }

    /// Whether entries have to leave before others can come.
    pub(in super::super) fn wants_room(&self) -> bool {
        self.usage.bytes() > self.config.limit_bytes || (self.usage.bytes() > 0 && self.lacks_free_space())
    }

    /// Whether enough of them have left.
    pub(in super::super) fn has_room(&self) -> bool {
        let limit = self.config.limit_bytes;
        self.usage.bytes() == 0 || (self.usage.bytes() <= limit - limit / ROOM_PART && !self.lacks_free_space())
    }

    /// Looks through one shard, to remove the oldest of it or to count.
    pub(in super::super) fn look_after(&self, chore: Chore) -> Result<room::Shard, Fault> {
        let directory = self.store.directory();
        let failed = |errno: Errno| self.fault_of(&errno.into());
        match chore {
            Chore::Count(shard) | Chore::Sample(shard) => room::walk(&directory, shard).map_err(failed),
            Chore::MakeRoom(shard) => {
                let most_bytes = (self.config.limit_bytes / ROOM_PART).max(1);
                let found = room::make_room(&directory, shard, most_bytes).map_err(failed)?.unwrap_or_default();
                self.usage.add(-i64::try_from(found.removed_bytes).unwrap_or(i64::MAX));
                Ok(found)
            }
        }
    }

    /// All shards were counted: they hold so many bytes.
    pub(in super::super) fn counted(&self, bytes: u64) {
        self.usage.correct(&self.store.directory(), bytes);
    }

    /// The others are told what this one has written.
    pub(in super::super) fn tell(&self) {
        if self.usage.untold() > 0 {
            self.usage.tell(&self.store.directory());
        }
    }

    fn most_above_limit(&self) -> u64 {
        MOST_ABOVE_LIMIT.min(self.config.limit_bytes / 8)
    }

    fn lacks_free_space(&self) -> bool {
        let Ok((free, all)) = self.store.directory().free_bytes() else { return false };
        #[allow(clippy::cast_precision_loss)] // A share of petabytes need not be exact.
        let share = free as f64 / (all as f64).max(1.0);
        // What has no size has no free part of it either.
        all > 0 && share < self.config.free_share
    }

    fn fault_of(&self, error: &io::Error) -> Fault {
        let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
        if matches!(errno, Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG) {
            return Fault::Full;
        }
        if matches!(errno, Errno::EROFS | Errno::EACCES | Errno::EPERM) {
            return Fault::ReadOnly;
        }
        if !matches!(errno, Errno::ENOENT | Errno::ESTALE) {
            return Fault::Io(errno);
        }
        match self.store.reopen() {
            Ok(true) => Fault::MadeAgain,
            Ok(false) => Fault::Io(errno),
            Err(_) => Fault::Gone,
        }
    }
}
