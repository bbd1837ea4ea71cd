//! A mapping of bodies beyond this process: in parts, each small, under a head that tells when they are all there.
//!
//! Only a mapping that passed the gate, of a node that is locked, is ever given out.

use std::sync::Arc;

use super::gate::{Gate, MappingMemory, Way};
use super::mapping::{Digest, Table};

/// Entries of one part: 256 KiB.
const PART_ENTRIES: usize = 1 << 14;
/// Supervoxel and body, each u64 little-endian.
const ENTRY_BYTES: usize = 16;

/// A mapping that is put together from its parts, in their order.
#[derive(Debug)]
pub struct KeptMapping {
    digest: Digest,
    entries: Vec<(u64, u64)>,
    memory: Arc<MappingMemory>,
    /// Taken of the memory for mappings, and given back with this value unless the mapping is used.
    taken_bytes: usize,
}

impl KeptMapping {
    /// How many parts there are.
    #[must_use]
    pub fn n_parts(&self) -> u64 {
        self.digest.n_entries.div_ceil(PART_ENTRIES as u64)
    }

    /// Adds the next part. False if it cannot be one: nothing of the mapping is to be believed then.
    pub fn add(&mut self, part: &[u8]) -> bool {
        let (entries, rest) = part.as_chunks::<ENTRY_BYTES>();
        let left = self.digest.n_entries.saturating_sub(self.entries.len() as u64);
        if !rest.is_empty() || entries.len() as u64 != left.min(PART_ENTRIES as u64) {
            return false;
        }
        self.entries.extend(entries.iter().map(|entry| {
            let (supervoxel, body) = entry.split_at(8);
            (number(supervoxel), number(body))
        }));
        true
    }
}

impl Drop for KeptMapping {
    fn drop(&mut self) {
        self.memory.give_back(self.taken_bytes);
    }
}

impl Gate {
    /// The head of the mapping that is held here, if one is.
    pub(super) fn kept_head(&self) -> Option<Vec<u8>> {
        let Digest { n_entries, sum, xor } = self.table()?.digest();
        Some([n_entries, sum, xor].map(u64::to_le_bytes).concat())
    }

    /// A part of it.
    pub(super) fn kept_part(&self, part: u64) -> Option<Vec<u8>> {
        let table = self.table()?;
        let entries = table.entries().chunks(PART_ENTRIES).nth(usize::try_from(part).ok()?)?;
        Some(entries.iter().flat_map(|&(supervoxel, body)| [supervoxel, body]).flat_map(u64::to_le_bytes).collect())
    }

    /// Begins to put a mapping together, if there is memory for it.
    pub(super) fn begin_kept(&self, head: &[u8]) -> Option<KeptMapping> {
        // Number of entries, and the two sums of a digest.
        let (numbers, rest) = head.as_chunks::<8>();
        let &[n_entries, sum, xor] = numbers else { return None };
        let [n_entries, sum, xor] = [n_entries, sum, xor].map(u64::from_le_bytes);
        let taken_bytes = usize::try_from(n_entries).ok()?.checked_mul(ENTRY_BYTES)?;
        let is_taken = rest.is_empty() && self.memory().take(taken_bytes);
        is_taken.then(|| KeptMapping {
            digest: Digest { n_entries, sum, xor },
            entries: Vec::with_capacity(taken_bytes / ENTRY_BYTES),
            memory: Arc::clone(self.memory()),
            taken_bytes,
        })
    }

    /// Uses a mapping that was kept, if it is whole. Whether bodies can be had now.
    pub(super) fn adopt(&self, mut kept: KeptMapping) -> bool {
        let Some(table) = Table::new(std::mem::take(&mut kept.entries)) else { return false };
        if table.digest() != kept.digest {
            return false;
        }
        if self.open_with(table) {
            kept.taken_bytes = 0;
        }
        true
    }

    fn table(&self) -> Option<Arc<Table>> {
        match self.way()? {
            Way::Table(table) => Some(table),
            Way::LookUp(_) | Way::Server(_) => None,
        }
    }
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("half an entry is 8 bytes"))
}
