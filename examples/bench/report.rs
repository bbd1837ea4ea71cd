//! Medians of ratios, best in brackets, with the requests of both sides.

use std::collections::HashMap;
use std::time::Duration;

/// One repetition of one case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) mounted: Duration,
    pub(crate) direct: Duration,
    /// Voxels that were read.
    pub(crate) bytes: u64,
    /// Requests that the server saw from the mount and from the direct reader.
    pub(crate) requests: (usize, usize),
    /// Requests of the mount for what nobody read.
    pub(crate) beyond: usize,
    /// The two sides did not do the same.
    pub(crate) is_void: bool,
    pub(crate) bar: Option<f64>,
}

impl Row {
    fn ratio(&self) -> f64 {
        self.direct.as_secs_f64() / self.mounted.as_secs_f64()
    }
}

/// All repetitions so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: HashMap<&'static str, Vec<Row>>,
    peak_mib: u64,
}

impl Report {
    pub(crate) fn add(&mut self, name: &'static str, row: Row) {
        self.rows.entry(name).or_default().push(row);
    }

    /// The most memory that a daemon had resident.
    pub(crate) fn memory(&mut self, peak_mib: u64) {
        self.peak_mib = self.peak_mib.max(peak_mib);
    }

    /// The median ratio and the best one, of the repetitions that are not void.
    fn ratios(&self, name: &str) -> Option<(f64, f64)> {
        let mut ratios: Vec<f64> = self.rows.get(name)?.iter().filter(|row| !row.is_void).map(Row::ratio).collect();
        ratios.sort_by(f64::total_cmp);
        Some((*ratios.get(ratios.len() / 2)?, *ratios.last()?))
    }

    /// Median rates in MB/s, of the mount and of the other side.
    fn rates(&self, name: &str) -> (f64, f64) {
        let rows = self.rows.get(name).map_or(&[][..], Vec::as_slice);
        let median = |time: fn(&Row) -> Duration| {
            #[allow(clippy::cast_precision_loss)] // of a figure that is rounded anyway
            let mut rates: Vec<f64> = rows.iter().map(|row| row.bytes as f64 / 1e6 / time(row).as_secs_f64()).collect();
            rates.sort_by(f64::total_cmp);
            rates.get(rates.len() / 2).copied().unwrap_or_default()
        };
        (median(|row| row.mounted), median(|row| row.direct))
    }

    fn is_reached(&self, name: &str) -> bool {
        let bar = self.rows.get(name).and_then(|rows| rows.first()).and_then(|row| row.bar);
        match (self.ratios(name), bar) {
            (Some((median, _)), Some(bar)) => median >= bar,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    /// Whether every bar is reached, and memory kept.
    pub(crate) fn is_good(&self, memory_mib: u64) -> bool {
        self.peak_mib <= memory_mib && self.rows.keys().all(|name| self.is_reached(name))
    }

    pub(crate) fn print(&self, names: &[&str], memory_mib: u64) {
        println!("\nratio: direct time / mounted time; median of the repetitions that are not void, best in brackets");
        println!("{:<46}{:>13}{:>6}{:>14}{:>24}{:>6}", "mount/direct", "ratio", "bar", "MB/s", "requests", "void");
        for &name in names {
            let Some(rows) = self.rows.get(name) else { continue };
            let ratio =
                self.ratios(name).map_or("void".to_owned(), |(median, best)| format!("{median:.2} ({best:.2})"));
            let last = rows[rows.len() - 1];
            let bar = last.bar.map_or(String::new(), |bar| format!("{bar:.2}"));
            let beyond = if last.beyond == 0 { String::new() } else { format!(" (+{} ahead)", last.beyond) };
            let requests = format!("{}/{}{beyond}", last.requests.0, last.requests.1);
            let n_void = rows.iter().filter(|row| row.is_void).count();
            let verdict = if self.is_reached(name) { "" } else { "  MISSED" };
            let (mounted, direct) = self.rates(name);
            let rates = format!("{mounted:.0}/{direct:.0}");
            println!("{name:<46}{ratio:>13}{bar:>6}{rates:>14}{requests:>24}{n_void:>4}/{}{verdict}", rows.len());
        }
        let verdict = if self.peak_mib <= memory_mib { "" } else { "  MISSED" };
        println!("{:<46}{:>13}{:>6}{verdict}", "memory of a daemon, peak MiB", self.peak_mib, memory_mib);
    }
}
