//! The files of `.dvidfs/` that change while the mount lives.

use std::fmt;
use std::sync::Arc;

use crate::metrics::Metrics;

use super::contents::Stats;
use super::journal::Journal;

/// Sizes are a multiple of this, so that a file has the same size at `stat` and at the `open` that follows.
const PADDED_TO: usize = 512;

/// A file whose bytes are those of the moment in which it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ControlFile {
    /// Counters and gauges as JSON.
    Stats,
    /// Counters as Prometheus text.
    Metrics,
    /// The last failed reads, a line of JSON each.
    Errors,
}

impl ControlFile {
    pub(super) const ALL: [Self; 3] = [Self::Stats, Self::Metrics, Self::Errors];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stats => "stats.json",
            Self::Metrics => "metrics",
            Self::Errors => "errors.jsonl",
        }
    }
}

/// What the control files are rendered from.
pub(super) struct Control {
    pub(super) stats: Stats,
    pub(super) metrics: Arc<Metrics>,
    pub(super) journal: Arc<Journal>,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("journal", &self.journal).finish_non_exhaustive()
    }
}

impl Control {
    /// The bytes of a control file as of now.
    pub(super) fn render(&self, file: ControlFile) -> Arc<[u8]> {
        match file {
            ControlFile::Stats => padded(format!("{:#}", (self.stats)())),
            ControlFile::Metrics => padded(self.metrics.to_prometheus()),
            ControlFile::Errors => self.journal.render(padded),
        }
    }
}

/// The text with blanks before its last newline, up to a multiple of 512 bytes. No text stays empty.
fn padded(mut text: String) -> Arc<[u8]> {
    if text.ends_with('\n') {
        text.pop();
    }
    if !text.is_empty() {
        let n_blanks = (text.len() + 1).next_multiple_of(PADDED_TO) - text.len() - 1;
        text.extend(std::iter::repeat_n(' ', n_blanks));
        text.push('\n');
    }
    text.into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_padded_within_its_last_line() {
        for n in [1, 510, 511, 512, 513] {
            let padded = padded("x".repeat(n) + "\n");
            assert_eq!(padded.len(), (n + 1).div_ceil(512) * 512, "{n}");
            assert!(padded.ends_with(b"\n") && !padded.ends_with(b"\n\n"));
            assert_eq!(padded.trim_ascii_end().len(), n);
        }
        assert!(padded(String::new()).is_empty());
    }
}
