//! Threads that are counted, so that a cache can tell when the last of them has ended.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::engine::Engine;
use super::sync::Instant;
use super::sync::thread::{Builder, JoinHandle};

/// Counts a thread until it ends, by whatever way.
struct Counted(Arc<Engine>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.lock().n_threads -= 1;
        self.0.quiet.notify_all();
    }
}

/// Starts a thread of the cache.
///
/// # Errors
/// If the system gives no more threads.
pub(super) fn spawn(
    engine: &Arc<Engine>,
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    engine.lock().n_threads += 1;
    let counted = Counted(Arc::clone(engine));
    Builder::new().name(format!("dvidfs-{name}")).spawn(move || {
        let _counted = counted;
        work();
    })
}

/// Waits until all threads have ended but `n_left`, so long at most. Whether it came to that.
pub(super) fn wait_for_end(engine: &Engine, n_left: usize, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    let mut state = engine.lock();
    while state.n_threads > n_left {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        state = Engine::wait(&engine.quiet, state, Some(left));
    }
    true
}
