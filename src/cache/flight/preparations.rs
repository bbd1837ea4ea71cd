//! Views that are made ready, and the reads that wait for them.

use std::sync::Arc;

use crate::dvid::{Attempts, Error, View};

use super::super::key::SourceId;
use super::super::read::{Failed, Read};
use super::super::sync::Instant;
use super::Flights;

impl Flights {
    /// How many views are being made ready.
    pub(in super::super) fn n_preparations(&self) -> usize {
        self.preparations.len()
    }

    /// A view is ready: the reads that wait for nothing more.
    pub(in super::super) fn prepared(&mut self, view: (SourceId, View)) -> Vec<Read> {
        let waiters = self.preparations.remove(&view).unwrap_or_default().waiters;
        let mut finished = Vec::new();
        for id in waiters {
            let Some(parked) = self.reads.get_mut(&id) else { continue };
            parked.n_awaited -= 1;
            if parked.n_awaited == 0 {
                finished.extend(self.reads.remove(&id).map(|parked| parked.read));
            }
        }
        finished
    }

    /// An attempt to make a view ready failed: how often that happened, and whether anybody waits for the next.
    pub(in super::super) fn preparation_failed(
        &mut self,
        view: (SourceId, View),
        error: &Arc<Error>,
    ) -> (Attempts, bool) {
        let Some(preparation) = self.preparations.get_mut(&view) else {
            return (Attempts::default().and(error.kind()), false);
        };
        preparation.attempts = preparation.attempts.and(error.kind());
        preparation.error = Some(Arc::clone(error));
        preparation.waiters.retain(|id| self.reads.contains_key(id));
        (preparation.attempts, !preparation.waiters.is_empty())
    }

    /// A view will not become ready: everybody who waits for it is told.
    pub(in super::super) fn give_up_preparation(
        &mut self,
        view: (SourceId, View),
        error: &Arc<Error>,
        now: Instant,
        until: Instant,
    ) -> Vec<Failed> {
        let preparation = self.preparations.remove(&view).unwrap_or_default();
        let attempts = preparation.attempts.n().max(1);
        self.unprepared.remember(view, error, attempts, until);
        let reads = preparation.waiters.iter().filter_map(|id| self.reads.remove(id)).map(|parked| parked.read);
        reads
            .map(|read| {
                let slot = read.missing().next().unwrap_or_default();
                let told = read.error(slot, Arc::clone(error), attempts, now);
                (read, told)
            })
            .collect()
    }
}
