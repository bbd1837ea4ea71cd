//! `dvidfs check`: whether every read of a mount went well. The last line of a job script.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fs, io, thread};

use crate::dvid::time_of_unix_seconds;
use crate::fuse;

use super::args::CheckArgs;
use super::failure::{Failure, USAGE};
use super::run::print;
use super::values::Since;

mod verdict;

use verdict::{Verdict, verdict};

/// A mount that does not tell about itself within this does not live.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Prints what failed, a line each.
pub(super) fn check(args: &CheckArgs) -> Result<(), Failure> {
    let root = fuse::live_mount(&args.dir)?;
    let since = args.since.map(seconds);
    let (stats, errors) = read_within(&root, ANSWER_LIMIT)?;
    let stats = serde_json::from_slice(&stats).map_err(|error| unreadable(&root, &error.to_string()))?;
    let Verdict { lines, summary } = verdict(&stats, &String::from_utf8_lossy(&errors), since);
    let is_well = lines.is_empty();
    lines.iter().for_each(|line| print(&line.replace(char::is_control, "\u{fffd}")));
    let text = format!("{}: {summary}", root.display());
    if !is_well {
        return Err(Failure::new(USAGE, text));
    }
    print(&text);
    Ok(())
}

/// The moment in seconds since 1970.
fn seconds(since: Since) -> f64 {
    match since {
        Since::Time(seconds) => seconds,
        Since::Ago(duration) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            now.saturating_sub(duration).as_secs_f64()
        }
    }
}

fn unreadable(root: &Path, why: &str) -> Failure {
    let root = root.display();
    Failure::mount(format!(
        "{root} does not tell how it is ({why}): unmount it with `dvidfs umount {root}` and mount again"
    ))
}

/// `stats.json` and `errors.jsonl`. A daemon that is stopped would let us wait for ever.
fn read_within(root: &Path, limit: Duration) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    let (sender, receiver) = channel();
    let control: PathBuf = root.join(".dvidfs");
    thread::spawn(move || {
        // The failures first: what fails in between is counted all the same.
        let read = || -> io::Result<_> {
            let errors = fs::read(control.join("errors.jsonl"))?;
            Ok((fs::read(control.join("stats.json"))?, errors))
        };
        // Nobody listens any more if it took too long.
        let _ = sender.send(read());
    });
    match receiver.recv_timeout(limit) {
        Ok(read) => read.map_err(|error| unreadable(root, &error.to_string())),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            Err(unreadable(root, &format!("no answer within {} s", limit.as_secs())))
        }
    }
}

/// A moment for people: to the second, in UTC.
fn moment(seconds: f64) -> String {
    #[allow(clippy::cast_possible_truncation)] // a time of this age
    time_of_unix_seconds(seconds as i64)
}
