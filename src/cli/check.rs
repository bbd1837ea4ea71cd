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
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let since = args.since.map(|since| seconds(since, now)).transpose()?;
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

/// Clocks of two machines that are kept in time may differ by this.
const AHEAD_SECONDS: f64 = 2.0;

/// What a mount tells about itself.
struct Told {
    root: PathBuf,
    /// `stats.json`.
    stats: Vec<u8>,
    /// `errors.jsonl`.
    errors: Vec<u8>,
}

/// The moment in seconds since 1970. Of one that has not come, nothing can have failed: a clock elsewhere is ahead.
fn seconds(since: Since, now: f64) -> Result<f64, Failure> {
    let seconds = match since {
        Since::Time(seconds) => seconds,
        Since::Ago(duration) => (now - duration.as_secs_f64()).max(0.0),
    };
    if seconds > now + AHEAD_SECONDS {
        let (since, now) = (moment(seconds), moment(now));
        return Err(Failure::usage(format!(
            "--since {since} is later than now ({now} here): set both clocks right, or take the time from this machine"
        )));
    }
    Ok(seconds)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_has_not_come_is_refused() {
        for (since, told) in [
            (Since::Time(990.5), Some(990.5)),
            (Since::Time(1001.9), Some(1001.9)),
            (Since::Time(1002.1), None),
            (Since::Time(f64::INFINITY), None),
            (Since::Ago(Duration::from_secs(30)), Some(970.0)),
            (Since::Ago(Duration::from_secs(3000)), Some(0.0)),
        ] {
            assert_eq!(seconds(since, 1000.0).ok(), told, "{told:?}");
        }
        let refused = seconds(Since::Time(1100.0), 1000.0).unwrap_err();
        assert!(refused.code == 1 && refused.line.contains("1970-01-01T00:18:20Z is later than now"), "{refused:?}");
    }
}
