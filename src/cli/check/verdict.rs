//! What a mount tells about itself, judged. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::moment;

/// What failed, a line each, and all of it in a sentence.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) lines: Vec<String>,
    pub(super) summary: String,
}

/// A job that begins right after the first mount is made names its second, which begins before the mount.
const MOMENT_SECONDS: f64 = 1.0;

/// The failed reads of one file.
#[derive(Default)]
struct FailedFile {
    n: u64,
    last: f64,
    code: String,
    cause: String,
}

/// Judges `stats.json` and `errors.jsonl` of a mount, as of a moment (seconds since 1970) or of the mount.
pub(super) fn verdict(stats: &Value, errors: &str, since: Option<f64>) -> Verdict {
    let files = failed_files(errors, since);
    let n_named: u64 = files.values().map(|file| file.n).sum();
    let mut lines: Vec<String> = files.iter().map(|(path, file)| file_line(path, file)).collect();
    lines.extend(unnamed_reads(stats, errors, since, n_named));
    for (event, words) in [
        ("panics", "a fault of dvidfs itself was caught (panic); please report it with the log"),
        ("identity_changes", "the server holds other data under the same name; mount again"),
    ] {
        let (n, last) = event_of(stats, event);
        if n > 0 && last.is_none_or(|last| is_within(last, since)) {
            lines.push(format!("{n} times: {words}; the last {}", last.map_or("at some time".into(), at)));
        }
    }
    let mounted = stats["mounted"].as_f64();
    // Reads failed until it was mounted again.
    let meanwhile = |died: f64| is_within(died, since) || is_within(mounted.unwrap_or(f64::INFINITY), since);
    let died = stats["died_before"].as_f64().filter(|&died| meanwhile(died));
    if let Some(died) = died {
        lines.push(format!("the program died and was started again {}: reads meanwhile have failed", at(died)));
    }
    if let (None, Some(since), Some(mounted)) = (died, since, mounted)
        && mounted - since >= MOMENT_SECONDS
    {
        let (since, mounted) = (moment(since), moment(mounted));
        lines.push(format!(
            "reads between {since} and {mounted}, when the mount was made, are not known: if nothing was read before, give --since {mounted}"
        ));
    }
    if stats["now"]["server_is_away"] == true {
        lines.push("the server does not answer now: reads wait for it".to_owned());
    }
    // Of what was before the mount nothing is known.
    let from = match (since, mounted) {
        (Some(since), Some(mounted)) if since >= mounted => moment(since),
        (Some(since), None) => moment(since),
        (_, Some(mounted)) => format!("the mount was made {}", at(mounted)),
        (None, None) => "the mount was made".to_owned(),
    };
    let summary = match (lines.is_empty(), files.len()) {
        (true, _) => format!("no read has failed since {from}"),
        (false, 0) => format!("not everything went well since {from}: do not trust what was made from it"),
        (false, n) => format!("reads of {n} files failed since {from}: do not trust what was made from them"),
    };
    Verdict { lines, summary }
}

fn is_within(time: f64, since: Option<f64>) -> bool {
    // A moment given in whole seconds begins with them.
    since.is_none_or(|since| time >= since)
}

fn at(time: f64) -> String {
    format!("at {}", moment(time))
}

/// How often something happened, and when it did so last.
fn event_of(stats: &Value, name: &str) -> (u64, Option<f64>) {
    let event = &stats["events"][name];
    (event["n"].as_u64().unwrap_or(0), event["last"].as_f64())
}

/// The failures that are remembered one by one.
fn failures(errors: &str) -> impl Iterator<Item = Value> {
    errors.lines().filter_map(|line| serde_json::from_str(line).ok())
}

fn failed_files(errors: &str, since: Option<f64>) -> BTreeMap<String, FailedFile> {
    let mut files: BTreeMap<String, FailedFile> = BTreeMap::new();
    for failure in failures(errors) {
        let time = failure["time"].as_f64().unwrap_or(f64::INFINITY);
        if !is_within(time, since) {
            continue;
        }
        let text = |key: &str| failure[key].as_str().unwrap_or("?").to_owned();
        let file = files.entry(text("path")).or_default();
        *file = FailedFile { n: file.n + 1, last: time, code: text("code"), cause: text("cause") };
    }
    files
}

fn file_line(path: &str, file: &FailedFile) -> String {
    let FailedFile { n, last, code, cause } = file;
    let reads = if *n == 1 { "1 failed read".to_owned() } else { format!("{n} failed reads") };
    format!("{path}: {reads}, the last {}: {code}: {cause}", at(*last))
}

/// Reads that failed and are not among those remembered one by one: the oldest make room for others.
fn unnamed_reads(stats: &Value, errors: &str, since: Option<f64>, n_named: u64) -> Option<String> {
    let (n, last) = event_of(stats, "failed_reads");
    let n_remembered = failures(errors).count() as u64;
    let n_unnamed = n.saturating_sub(n_remembered);
    if n_unnamed == 0 {
        return None;
    }
    let first = stats["events"]["failed_reads"]["first"].as_f64();
    let oldest = failures(errors).filter_map(|failure| failure["time"].as_f64()).next();
    // All that is not remembered is older than the oldest that is, unless it never had a name.
    let may_be_within = match (since, oldest) {
        (None, _) => true,
        (Some(since), Some(oldest)) if oldest < since => n_named == 0 && last.is_some_and(|last| last >= since),
        (Some(since), _) => last.is_none_or(|last| last >= since),
    };
    let from = first.map_or(String::new(), |first| format!(", the first of all {}", at(first)));
    may_be_within.then(|| match since {
        None => format!("{n_unnamed} failed reads more, whose files are no longer remembered{from}"),
        Some(_) => format!("perhaps more: {n_unnamed} failed reads are no longer remembered by file and time{from}"),
    })
}

#[cfg(test)]
mod tests;
