//! A read on its way: what it wants, what it has, and whom it answers.

use std::sync::Arc;

use crate::dvid::{BlockForm, Error, FetchBlocks, Freshness, View};
use crate::voxels::Volume;

use super::key::{BlockKey, BlockRequest, FetchError, Then};
use super::reader::Reader;
use super::sync::Instant;

/// A source of blocks with what never changes about it.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) fetch: Arc<dyn FetchBlocks>,
    pub(super) form: BlockForm,
}

impl Source {
    /// Memory of a decoded block, in bytes.
    pub(super) fn block_bytes(&self) -> usize {
        self.form.block_bytes().max(1)
    }
}

/// A read that is not yet answered.
pub(super) struct Read {
    pub(super) source: Source,
    pub(super) request: BlockRequest,
    /// The view that the wanted one is decoded from.
    pub(super) stored_view: View,
    /// What it has of each block asked for: `None` is missing, `Some(None)` is not stored by the server.
    pub(super) slots: Vec<Option<Option<Arc<Volume>>>>,
    pub(super) since: Instant,
    /// When its patience ends.
    pub(super) deadline: Option<Instant>,
    /// Who waits for it, if that can be told.
    pub(super) reader: Option<Reader>,
    pub(super) then: Then,
}

impl Read {
    /// The key of the block that slot `slot` is decoded from.
    pub(super) fn stored_key(&self, slot: usize) -> BlockKey {
        self.key(self.stored_view, slot)
    }

    /// The key of the voxels that slot `slot` wants.
    pub(super) fn decoded_key(&self, slot: usize) -> BlockKey {
        self.key(self.request.view, slot)
    }

    fn key(&self, view: View, slot: usize) -> BlockKey {
        let BlockRequest { source, scale, ref blocks, .. } = self.request;
        BlockKey { source, view, scale, block: blocks[slot] }
    }

    /// The moment at which a block must have been right to serve this read: now, or for what was fetched since the
    /// read began, when it began. Else a read of slow requests would never have all its blocks at once.
    pub(super) fn as_of(&self, now: Instant) -> Instant {
        match self.source.fetch.freshness() {
            Freshness::Forever => now,
            Freshness::For(ttl) => now.min(self.since + ttl),
        }
    }

    /// Whom it answers. What it has is let go of first.
    pub(super) fn into_then(self) -> Then {
        self.then
    }

    /// Whether nobody waits for it any more, or has waited for too long.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.is_left() || self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Whether its reader is gone.
    pub(super) fn is_left(&self) -> bool {
        self.reader.as_ref().is_some_and(Reader::has_left)
    }

    /// The slots that are still empty.
    pub(super) fn missing(&self) -> impl Iterator<Item = usize> {
        self.slots.iter().enumerate().filter(|(_, slot)| slot.is_none()).map(|(slot, _)| slot)
    }

    /// The error that this read is given because of a slot.
    pub(super) fn error(&self, slot: usize, source: Arc<Error>, attempts: u32, now: Instant) -> FetchError {
        let waited = now.saturating_duration_since(self.since);
        FetchError {
            source,
            scale: self.request.scale,
            block: self.request.blocks[slot],
            attempts,
            waited,
            gave_up: false,
        }
    }
}

/// A read that was given up, and why.
pub(super) type Failed = (Read, FetchError);
