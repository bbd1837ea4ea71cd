//! Final failures, remembered for a moment so that a crowd of readers does not repeat them one by one.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use crate::dvid::Error;

use super::sync::Instant;

/// What failed for good, why, and after how many attempts.
pub(super) struct Failures<K> {
    by_key: HashMap<K, Failure>,
}

struct Failure {
    until: Instant,
    error: Arc<Error>,
    attempts: u32,
}

impl<K> Default for Failures<K> {
    fn default() -> Self {
        Self { by_key: HashMap::new() }
    }
}

impl<K: Eq + Hash> Failures<K> {
    pub(super) fn remember(&mut self, key: K, error: &Arc<Error>, attempts: u32, until: Instant) {
        self.by_key.insert(key, Failure { until, error: Arc::clone(error), attempts });
    }

    /// Why this failed and after how many attempts, if that is still remembered.
    pub(super) fn get(&self, key: &K, now: Instant) -> Option<(Arc<Error>, u32)> {
        let failure = self.by_key.get(key).filter(|failure| now < failure.until)?;
        Some((Arc::clone(&failure.error), failure.attempts))
    }

    pub(super) fn forget_old(&mut self, now: Instant) {
        self.by_key.retain(|_, failure| now < failure.until);
    }
}
