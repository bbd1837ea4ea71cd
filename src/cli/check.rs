//! `dvidfs check`: whether every read of a mount went well. The last line of a job script.

use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fs, thread};

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
    let since = args.since.map(seconds);
    let Told { root, stats, errors } = told_within(&args.dir, ANSWER_LIMIT)?;
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

/// What a mount tells about itself.
struct Told {
    root: PathBuf,
    /// `stats.json`.
    stats: Vec<u8>,
    /// `errors.jsonl`.
    errors: Vec<u8>,
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

/// Asks the mount that a path lies in. A daemon that is stopped would let us wait for ever.
fn told_within(path: &Path, limit: Duration) -> Result<Told, Failure> {
    let (sender, receiver) = channel();
    let asked = path.to_owned();
    // Nobody listens any more if it took too long.
    thread::spawn(move || sender.send(ask(&asked)));
    receiver
        .recv_timeout(limit)
        .unwrap_or_else(|_| Err(unreadable(path, &format!("no answer within {} s", limit.as_secs()))))
}

fn ask(path: &Path) -> Result<Told, Failure> {
    let root = fuse::live_mount(path)?;
    let read =
        |name: &str| fs::read(root.join(".dvidfs").join(name)).map_err(|error| unreadable(&root, &error.to_string()));
    // The failures first: what fails in between is counted all the same.
    let errors = read("errors.jsonl")?;
    let stats = read("stats.json")?;
    Ok(Told { stats, errors, root })
}

/// A moment for people: to the second, in UTC.
fn moment(seconds: f64) -> String {
    #[allow(clippy::cast_possible_truncation)] // a time of this age
    time_of_unix_seconds(seconds as i64)
}
