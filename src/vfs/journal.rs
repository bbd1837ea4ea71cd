//! The last failed reads, for `.dvidfs/errors.jsonl`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// So many failures are remembered; the oldest go first.
const MAX_FAILURES: usize = 500;
/// A cause is cut to so many characters: a server may answer an error with a whole page.
const MAX_CAUSE_CHARS: usize = 1000;

/// One read that was answered with an error.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Failure {
    /// Seconds since 1970.
    pub time: f64,
    /// Path in the mount.
    pub path: String,
    /// Byte of the file where the read began.
    pub offset: u64,
    /// Bytes asked for.
    pub size: u64,
    /// The log code.
    pub code: &'static str,
    /// The whole chain of causes.
    pub cause: String,
}

/// A ring of the last failures.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Guards the ring; no I/O happens under it.
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<String>,
    /// What the lines come to, until the next failure: all who have the file open share it.
    rendered: Option<Arc<[u8]>>,
}

impl Journal {
    /// Remembers a failure.
    pub(super) fn record(&self, mut failure: Failure) {
        if let Some((end, _)) = failure.cause.char_indices().nth(MAX_CAUSE_CHARS) {
            failure.cause.truncate(end);
            failure.cause.push('…');
        }
        let line = serde_json::to_string(&failure).expect("a failure has string keys and finite numbers");
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.lines.len() == MAX_FAILURES {
            ring.lines.pop_front();
        }
        ring.lines.push_back(line);
        ring.rendered = None;
    }

    /// All remembered failures, a line of JSON each, through `finish`.
    pub(super) fn render(&self, finish: impl FnOnce(String) -> Arc<[u8]>) -> Arc<[u8]> {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rendered) = &ring.rendered {
            return Arc::clone(rendered);
        }
        let text = ring.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        let rendered = finish(text);
        ring.rendered = Some(Arc::clone(&rendered));
        rendered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(offset: u64, cause: &str) -> Failure {
        Failure { time: 1.5, path: "gray/x".into(), offset, size: 7, code: "fetch_cut", cause: cause.into() }
    }

    fn lines(journal: &Journal) -> Vec<serde_json::Value> {
        let text = journal.render(|text| text.into_bytes().into());
        std::str::from_utf8(&text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn the_last_failures_are_kept_in_order() {
        let journal = Journal::default();
        assert!(lines(&journal).is_empty());
        for offset in 0..MAX_FAILURES as u64 + 10 {
            journal.record(failure(offset, "no \"answer\"\n"));
        }
        let lines = lines(&journal);
        assert_eq!(lines.len(), MAX_FAILURES);
        assert_eq!(lines[0]["offset"], 10);
        assert_eq!(lines[MAX_FAILURES - 1]["offset"], MAX_FAILURES as u64 + 9);
        assert_eq!(lines[0]["cause"], "no \"answer\"\n");
        assert_eq!(lines[0]["code"], "fetch_cut");
    }

    #[test]
    fn a_page_of_a_cause_is_cut() {
        let journal = Journal::default();
        journal.record(failure(0, &"é".repeat(1_000_000)));
        assert_eq!(lines(&journal)[0]["cause"].as_str().unwrap().chars().count(), MAX_CAUSE_CHARS + 1);
    }
}
