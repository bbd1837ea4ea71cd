//! Where log lines go: standard error, or a file. A line that cannot be written is lost and no more.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{panic, thread};

use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

use super::args::LogArgs;
use super::failure::Failure;

/// A place in the program that has more to say than this in a second is cut short: a fault must not fill a disk.
const LINES_PER_SECOND: u32 = 10;

/// Lines that wait to be written; beyond them, lines are lost.
const MOST_WAITING: usize = 256;
/// So long the end of the program waits for the last lines to be written.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Starts logging for the rest of the process. The last lines are written when what it gives is dropped.
///
/// Lines are written by a thread of their own: who reads our standard error may have stopped, and a full pipe must
/// delay no read.
pub(super) fn start(args: &LogArgs) -> Result<Logged, Failure> {
    let filter = EnvFilter::try_new(args.filter()).map_err(|error| {
        Failure::usage(format!("DVIDFS_LOG is no filter ({error}): write one such as dvidfs=debug"))
    })?;
    let target: Box<dyn Write + Send> = match &args.log_file {
        None => Box::new(io::stderr()),
        Some(path) => {
            let open = || -> io::Result<File> { OpenOptions::new().create(true).append(true).mode(0o600).open(path) };
            let file = open().map_err(|error| {
                Failure::usage(format!(
                    "cannot write the log file {}: {error}: give another --log-file",
                    path.display()
                ))
            })?;
            Box::new(file)
        }
    };
    let no_thread =
        |error: io::Error| Failure::mount(format!("cannot start the log's thread: {error}: allow more threads"));
    let (lines, logged) = Lines::to(target).map_err(no_thread)?;
    let lines = fmt::layer().log_internal_errors(false).with_writer(move || lines.clone());
    // A second start in one process keeps the first.
    drop(tracing_subscriber::registry().with(filter).with(Limit::default()).with(lines).try_init());
    panic::set_hook(Box::new(|info| tracing::error!(target: "dvidfs", code = "panic", cause = %info)));
    Ok(logged)
}

/// Where lines go: each write is a whole line.
#[derive(Clone, Debug)]
struct Lines {
    queue: SyncSender<Vec<u8>>,
    logged: Counts,
}

#[derive(Clone, Debug, Default)]
struct Counts {
    waiting: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
}

/// The log of this process. Dropped, it waits a moment for the last lines to be written.
#[derive(Debug)]
pub(super) struct Logged(Counts);

impl Logged {
    /// How many lines could not be written: the reader stands still, or the disk is full.
    pub(super) fn lost_lines(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.0.lost)
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let end = Instant::now() + LAST_LINES;
        while self.0.waiting.load(Ordering::Acquire) > 0 && Instant::now() < end {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Lines {
    fn to(mut target: Box<dyn Write + Send>) -> io::Result<(Self, Logged)> {
        let (queue, lines) = sync_channel::<Vec<u8>>(MOST_WAITING);
        let counts = Counts::default();
        let written = counts.clone();
        let write = move || {
            for line in lines {
                if target.write_all(&line).and_then(|()| target.flush()).is_err() {
                    written.lost.fetch_add(1, Ordering::Relaxed);
                }
                written.waiting.fetch_sub(1, Ordering::AcqRel);
            }
        };
        thread::Builder::new().name("log".into()).spawn(write)?;
        Ok((Self { queue, logged: counts.clone() }, Logged(counts)))
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.logged.waiting.fetch_add(1, Ordering::AcqRel);
        if self.queue.try_send(line.to_vec()).is_err() {
            self.logged.waiting.fetch_sub(1, Ordering::AcqRel);
            self.logged.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
    fn lines_that_nobody_takes_are_lost_and_counted_and_delay_nobody() {
        struct Stuck(std::sync::mpsc::Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                // Until the test ends.
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (reader, stuck) = std::sync::mpsc::channel();
        let (mut lines, logged) = Lines::to(Box::new(Stuck(stuck))).unwrap();
        let since = Instant::now();
        for _ in 0..MOST_WAITING + 100 {
            lines.write_all(b"a line\n").unwrap();
        }
        assert!(since.elapsed() < Duration::from_secs(5));
        assert!((99..=100).contains(&logged.lost_lines().load(Ordering::Relaxed)));
        drop(reader);
        let (mut lines, logged) = Lines::to(Box::new(File::create("/dev/full").unwrap())).unwrap();
        lines.write_all(b"a line\n").unwrap();
        let lost = logged.lost_lines();
        drop(logged);
        assert_eq!(lost.load(Ordering::Relaxed), 1, "a full disk");
    }

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
