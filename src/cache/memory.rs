//! Blocks in memory: two tiers under one budget of bytes, least recently used first out.
//!
//! The stored tier keeps blocks as they were fetched, the decoded tier volumes that had to be decoded from them.
//! Volumes that a parked read holds too cannot be freed by forgetting them: they stay, and stay counted.

use std::sync::{Arc, PoisonError};

use lru::LruCache;

use crate::dvid::Block;
use crate::metrics::{Counter, Metrics};
use crate::voxels::Volume;

use super::key::{BlockKey, SourceId};
use super::sync::{Instant, Mutex, MutexGuard};

/// What an entry costs beside its voxels: key, links and its place in the table, rounded up.
pub(super) const ENTRY_BYTES: usize = 192;

/// Blocks in memory, bounded by bytes.
#[derive(Debug)]
pub(super) struct Memory {
    limit: usize,
    metrics: Arc<Metrics>,
    /// Guards both tiers. No I/O, no decoding and no freeing of voxels happens under it.
    tiers: Mutex<Tiers>,
}

/// What was forgotten. Freed by dropping it, which is best done outside every lock.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Forgotten {
    blocks: Vec<Block>,
    volumes: Vec<Arc<Volume>>,
}

#[derive(Debug)]
struct Tiers {
    stored: Tier<Block>,
    decoded: Tier<Arc<Volume>>,
    /// Bytes promised to blocks that are being fetched.
    reserved: usize,
    /// Counts uses, so that the tiers can tell which of their oldest entries is older.
    clock: u64,
}

#[derive(Debug)]
struct Tier<T> {
    entries: LruCache<BlockKey, Entry<T>>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry<T> {
    value: T,
    bytes: usize,
    used: u64,
    /// `None`: right for ever.
    expires: Option<Instant>,
}

impl Memory {
    pub(super) fn new(limit: usize, metrics: Arc<Metrics>) -> Self {
        let tiers = Tiers { stored: Tier::new(), decoded: Tier::new(), reserved: 0, clock: 0 };
        Self { limit, metrics, tiers: Mutex::new(tiers) }
    }

    /// A block as it was fetched, and until when it is right.
    pub(super) fn stored(&self, key: &BlockKey, now: Instant) -> Option<(Block, Option<Instant>)> {
        let mut tiers = self.lock();
        let clock = tiers.tick();
        let found = tiers.stored.get(key, now, clock).map(|entry| (entry.value.clone(), entry.expires));
        drop(tiers);
        found
    }

    /// Whether a block is there as it was fetched.
    pub(super) fn has_stored(&self, key: &BlockKey, now: Instant) -> bool {
        self.lock().stored.entries.peek(key).is_some_and(|entry| !entry.is_expired(now))
    }

    /// A decoded volume; `stored` is the key of the block that it came from, which counts as used too.
    pub(super) fn decoded(&self, key: &BlockKey, stored: &BlockKey, now: Instant) -> Option<Arc<Volume>> {
        let mut tiers = self.lock();
        let clock = tiers.tick();
        let found = tiers.decoded.get(key, now, clock).map(|entry| Arc::clone(&entry.value));
        if found.is_some() {
            tiers.stored.get(stored, now, clock);
        }
        drop(tiers);
        found
    }

    pub(super) fn put_stored(&self, key: BlockKey, block: Block, expires: Option<Instant>) {
        let bytes = block.held_bytes().saturating_add(ENTRY_BYTES);
        let mut tiers = self.lock();
        let used = tiers.tick();
        let replaced = tiers.stored.put(key, Entry { value: block, bytes, used, expires });
        let forgotten = self.shrink(&mut tiers);
        drop(tiers);
        drop((replaced, forgotten));
    }

    pub(super) fn put_decoded(&self, key: BlockKey, volume: Arc<Volume>, expires: Option<Instant>) {
        let bytes = volume.bytes().len().saturating_add(ENTRY_BYTES);
        let mut tiers = self.lock();
        let used = tiers.tick();
        let replaced = tiers.decoded.put(key, Entry { value: volume, bytes, used, expires });
        let forgotten = self.shrink(&mut tiers);
        drop(tiers);
        drop((replaced, forgotten));
    }

    /// Makes room for blocks that are about to be fetched.
    ///
    /// # Errors
    /// If what cannot be forgotten leaves none. Nothing is reserved then.
    pub(super) fn reserve(&self, bytes: usize) -> Result<Forgotten, Forgotten> {
        let mut tiers = self.lock();
        tiers.reserved = tiers.reserved.saturating_add(bytes);
        let forgotten = self.shrink(&mut tiers);
        if tiers.held().saturating_add(tiers.reserved) > self.limit {
            tiers.reserved -= bytes;
            return Err(forgotten);
        }
        Ok(forgotten)
    }

    /// Makes as much room as there is, and counts the bytes even if that was not enough.
    pub(super) fn reserve_anyway(&self, bytes: usize) -> Forgotten {
        let mut tiers = self.lock();
        tiers.reserved = tiers.reserved.saturating_add(bytes);
        self.shrink(&mut tiers)
    }

    /// Gives room back once the blocks have landed or failed.
    pub(super) fn release(&self, bytes: usize) {
        let mut tiers = self.lock();
        tiers.reserved = tiers.reserved.saturating_sub(bytes);
    }

    /// Forgets what was kept above the budget while reads held it. Whether all fits now.
    pub(super) fn trim(&self) -> bool {
        let mut tiers = self.lock();
        let forgotten = self.shrink(&mut tiers);
        let fits = tiers.held().saturating_add(tiers.reserved) <= self.limit;
        drop(tiers);
        drop(forgotten);
        fits
    }

    /// Forgets all blocks of a source, whoever holds some of them.
    pub(super) fn forget_source(&self, source: SourceId) {
        let mut tiers = self.lock();
        let stored = tiers.stored.take_all(|key| key.source == source);
        let decoded = tiers.decoded.take_all(|key| key.source == source);
        self.metrics.set(Counter::CacheHeldBytes, tiers.held() as u64);
        drop(tiers);
        drop((stored, decoded));
    }

    /// Bytes of all entries.
    pub(super) fn held_bytes(&self) -> usize {
        self.lock().held()
    }

    /// Bytes promised to blocks that are being fetched.
    pub(super) fn reserved_bytes(&self) -> usize {
        self.lock().reserved
    }

    fn lock(&self) -> MutexGuard<'_, Tiers> {
        // A panic between two statements leaves at worst a wrong count of bytes, which eviction corrects.
        self.tiers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shrink(&self, tiers: &mut Tiers) -> Forgotten {
        let mut forgotten = Forgotten::default();
        let decoded_limit = self.limit / 2;
        let mut tries = tiers.decoded.entries.len();
        while tiers.decoded.bytes > decoded_limit && tries > 0 {
            tries -= 1;
            tiers.forget_decoded(&mut forgotten);
        }
        let limit = self.limit.saturating_sub(tiers.reserved);
        let mut tries = tiers.stored.entries.len() + tiers.decoded.entries.len();
        while tiers.held() > limit && tries > 0 {
            tries -= 1;
            if tiers.decoded.oldest() < tiers.stored.oldest() {
                tiers.forget_decoded(&mut forgotten);
            } else {
                tiers.forget_stored(&mut forgotten);
            }
        }
        let n_forgotten = forgotten.blocks.len() + forgotten.volumes.len();
        self.metrics.add(Counter::CacheEvictedBlocks, n_forgotten as u64);
        self.metrics.set(Counter::CacheHeldBytes, tiers.held() as u64);
        forgotten
    }
}

impl Tiers {
    fn held(&self) -> usize {
        self.stored.bytes + self.decoded.bytes
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Forgets the oldest decoded volume, or makes it the newest if somebody holds it.
    fn forget_decoded(&mut self, forgotten: &mut Forgotten) {
        let clock = self.tick();
        let held = |volume: &Arc<Volume>| Arc::strong_count(volume) > 1;
        forgotten.volumes.extend(self.decoded.forget_oldest(clock, held));
    }

    /// Forgets the oldest block, or makes it the newest if somebody holds it.
    fn forget_stored(&mut self, forgotten: &mut Forgotten) {
        let clock = self.tick();
        let held = |block: &Block| match block {
            Block::Absent => false,
            Block::Dense(volume) => Arc::strong_count(volume) > 1,
            Block::Labels(labels) => Arc::strong_count(labels) > 1,
        };
        forgotten.blocks.extend(self.stored.forget_oldest(clock, held));
    }
}

impl<T> Tier<T> {
    fn new() -> Self {
        Self { entries: LruCache::unbounded(), bytes: 0 }
    }

    /// When the oldest entry was used last; never, if there is none.
    fn oldest(&self) -> u64 {
        self.entries.peek_lru().map_or(u64::MAX, |(_, entry)| entry.used)
    }

    fn get(&mut self, key: &BlockKey, now: Instant, clock: u64) -> Option<&Entry<T>> {
        let entry = self.entries.get_mut(key).filter(|entry| !entry.is_expired(now))?;
        entry.used = clock;
        Some(entry)
    }

    fn put(&mut self, key: BlockKey, entry: Entry<T>) -> Option<T> {
        self.bytes += entry.bytes;
        let old = self.entries.put(key, entry)?;
        self.bytes -= old.bytes;
        Some(old.value)
    }

    fn take_all(&mut self, is_meant: impl Fn(&BlockKey) -> bool) -> Vec<T> {
        let keys: Vec<_> = self.entries.iter().map(|(&key, _)| key).filter(is_meant).collect();
        let entries: Vec<_> = keys.iter().filter_map(|key| self.entries.pop(key)).collect();
        self.bytes -= entries.iter().map(|entry| entry.bytes).sum::<usize>();
        entries.into_iter().map(|entry| entry.value).collect()
    }

    fn forget_oldest(&mut self, clock: u64, is_held: impl Fn(&T) -> bool) -> Option<T> {
        let (key, mut entry) = self.entries.pop_lru()?;
        if is_held(&entry.value) {
            entry.used = clock;
            self.entries.put(key, entry);
            return None;
        }
        self.bytes -= entry.bytes;
        Some(entry.value)
    }
}

impl<T> Entry<T> {
    fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}
