//! Where log lines go: standard error, or a file. A line that cannot be written is lost and no more.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

use super::args::LogArgs;
use super::failure::Failure;

/// A place in the program that has more to say than this in a second is cut short: a fault must not fill a disk.
const LINES_PER_SECOND: u32 = 10;

/// Starts logging for the rest of the process.
pub(super) fn start(args: &LogArgs) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(args.filter()).map_err(|error| {
        Failure::usage(format!("DVIDFS_LOG is no filter ({error}): write one such as dvidfs=debug"))
    })?;
    let lines = fmt::layer().log_internal_errors(false);
    let registry = tracing_subscriber::registry().with(filter).with(Limit::default());
    let started = match &args.log_file {
        None => registry.with(lines.with_writer(io::stderr)).try_init(),
        Some(path) => {
            let open = || -> io::Result<File> { OpenOptions::new().create(true).append(true).mode(0o600).open(path) };
            let file = open().map_err(|error| {
                Failure::usage(format!(
                    "cannot write the log file {}: {error}: give another --log-file",
                    path.display()
                ))
            })?;
            registry.with(lines.with_writer(Mutex::new(file))).try_init()
        }
    };
    // A second start in one process keeps the first.
    drop(started);
    Ok(())
}

/// Lets no place of the program log more than [`LINES_PER_SECOND`], but for debugging.
#[derive(Debug, Default)]
struct Limit {
    /// When the second of each place began, and its lines since. No I/O happens under the lock.
    places: Mutex<HashMap<Identifier, (Instant, u32)>>,
}

impl Limit {
    fn allows(&self, place: Identifier, now: Instant) -> bool {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, lines) = places.entry(place).or_insert((now, 0));
        if now.duration_since(*since) >= Duration::from_secs(1) {
            (*since, *lines) = (now, 0);
        }
        *lines += 1;
        *lines <= LINES_PER_SECOND
    }
}

impl<S: Subscriber> Layer<S> for Limit {
    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        *metadata.level() > Level::INFO || self.allows(metadata.callsite(), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_logs_ten_lines_a_second() {
        let callsite = |place: &'static dyn tracing::callsite::Callsite| Identifier(place);
        struct Place;
        impl tracing::callsite::Callsite for Place {
            fn set_interest(&self, _interest: tracing::subscriber::Interest) {}
            fn metadata(&self) -> &tracing::Metadata<'_> {
                unreachable!("a place is only compared")
            }
        }
        let (limit, start) = (Limit::default(), Instant::now());
        let allowed = |at: u64| {
            let now = start + Duration::from_millis(at);
            (0..25).filter(|_| limit.allows(callsite(&Place), now)).count()
        };
        assert_eq!((allowed(0), allowed(999), allowed(1000), allowed(2500)), (10, 0, 10, 10));
    }
}
