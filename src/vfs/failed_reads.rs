//! Where a failed read is told: every one that a reader learns of is counted and stands in `errors.jsonl`.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::metrics::{Counter, Metrics};

use super::journal::{Failure, Journal};
use super::tree::Tree;

/// Tells of failed reads, from any thread.
#[derive(Clone, Debug)]
pub(super) struct FailedReads {
    pub(super) tree: Arc<Tree>,
    pub(super) journal: Arc<Journal>,
    pub(super) metrics: Arc<Metrics>,
}

impl FailedReads {
    /// Tells of one, before its reader learns of it.
    pub(super) fn tell(&self, ino: u64, window: Range<u64>, (code, cause): (&'static str, String)) {
        let failure = Failure {
            time: self.metrics.clock().now_seconds(),
            path: self.tree.path(ino),
            offset: window.start,
            size: window.end.saturating_sub(window.start),
            code,
            cause,
        };
        self.journal.record(failure);
        self.metrics.happened(Counter::FailedReads);
    }
}

/// Time since 1970, by the wall clock.
pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
