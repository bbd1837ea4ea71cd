//! Readers that compare every byte, and what came of their reads.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::Clock;
use super::expected::Expected;
use super::random::Random;
use super::sky::Sky;

/// What came of all reads.
#[derive(Default)]
pub(crate) struct Tally(Mutex<Sums>);

#[derive(Default)]
pub(crate) struct Sums {
    /// Bytes that were compared with the pure function.
    pub(crate) oracle_bytes: u64,
    /// Bytes that were compared with a first read.
    pub(crate) other_bytes: u64,
    pub(crate) reads: u64,
    /// Failed reads by their reason.
    pub(crate) failed: BTreeMap<&'static str, u64>,
    /// Reads that failed without a reason; the first few of them.
    pub(crate) unexplained: (u64, Vec<String>),
    /// Bytes that were not those that they had to be; the first few places.
    pub(crate) wrong: (u64, Vec<String>),
    /// The longest that a read took beyond what was injected.
    pub(crate) longest: (Duration, String),
}

/// So many places are told.
const TOLD: usize = 8;

impl Tally {
    pub(crate) fn add(&self, change: impl FnOnce(&mut Sums)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn wrong(&self, bytes: u64, place: String) {
        self.add(|sums| {
            sums.wrong.0 += bytes;
            note(&mut sums.wrong.1, place);
        });
    }

    /// Files a failed read under its reason.
    pub(crate) fn failed(&self, excuse: Option<&'static str>, place: String) {
        self.add(|sums| match excuse {
            Some(reason) => *sums.failed.entry(reason).or_default() += 1,
            None => {
                sums.unexplained.0 += 1;
                note(&mut sums.unexplained.1, place);
            }
        });
    }

    pub(crate) fn took(&self, beyond: Duration, place: impl FnOnce() -> String) {
        self.add(|sums| {
            sums.reads += 1;
            if beyond > sums.longest.0 {
                sums.longest = (beyond, place());
            }
        });
    }

    pub(crate) fn sums(self) -> Sums {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note(places: &mut Vec<String>, place: String) {
    if places.len() < TOLD {
        places.push(place);
    }
}

/// One reader of a mount.
pub(crate) struct Reader<'a> {
    /// The number of the mount, and its root.
    pub(crate) mount: (usize, &'a Path),
    pub(crate) files: &'a [Expected],
    pub(crate) sky: &'a Sky,
    pub(crate) tally: &'a Tally,
    pub(crate) random: Random,
}

impl Reader<'_> {
    /// Reads until the time is over.
    pub(crate) fn go_on(mut self, clock: &Clock) {
        while !clock.is_over() {
            let file = &self.files[usize::try_from(self.random.below(self.files.len() as u64)).unwrap_or(0)];
            self.read(file);
        }
    }

    fn read(&mut self, file: &Expected) {
        let path = self.mount.1.join(&file.path);
        let is_direct = self.random.below(3) == 0;
        let began = Instant::now();
        let opened = open(&path, is_direct);
        self.judge(file, (began, "open"), opened.as_ref().err(), 0);
        let Ok(opened) = opened else { return std::thread::sleep(Duration::from_millis(20)) };
        if !is_direct && self.random.below(4) != 0 {
            // What the kernel keeps tells nothing about the daemon.
            let _ = posix_fadvise(opened.as_fd(), 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        }
        let whole = file.bytes.len() as u64;
        let (begin, end) = if is_direct || whole > 4 << 20 {
            let begin = self.random.below(whole.max(1)) & !4095;
            (begin, whole.min(begin + 4096 * (1 + self.random.below(256))))
        } else {
            (0, whole)
        };
        let mut at = begin;
        let step = if is_direct { 1 << 20 } else { 4096 + self.random.below(1 << 20) };
        while at < end {
            let size = if is_direct { (end - at).next_multiple_of(4096) } else { step.min(end - at) };
            let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
            let began = Instant::now();
            let read = read_full(&opened, &mut bytes, at);
            self.judge(file, (began, "read"), read.as_ref().err(), at);
            let Ok(n) = read else { return };
            self.compare(file, at, &bytes[..n], size.min(whole - at));
            at += size;
        }
    }

    fn judge(&self, file: &Expected, (began, what): (Instant, &str), error: Option<&io::Error>, at: u64) {
        let until = Instant::now();
        let beyond = self.sky.clear_time(self.mount.0, began, until);
        let place = || format!("{what} {} at {at}", self.mount.1.join(&file.path).display());
        self.tally.took(beyond, place);
        if let Some(error) = error {
            let excuse = self.sky.excuse(self.mount.0, (began, until), error.raw_os_error().unwrap_or(0));
            self.tally.failed(excuse, format!("{}: {error}", place()));
        }
    }

    fn compare(&self, file: &Expected, at: u64, got: &[u8], wanted: u64) {
        let from = usize::try_from(at).unwrap_or(usize::MAX);
        let expected = &file.bytes[from..from + usize::try_from(wanted).unwrap_or(0)];
        if got != expected {
            let differ = got.iter().zip(expected).filter(|(got, expected)| got != expected).count();
            let n = (differ + got.len().abs_diff(expected.len())) as u64;
            let zeros = if got.iter().all(|&byte| byte == 0) { ", all zeros" } else { "" };
            let place = format!("{} at {at}: {n} of {wanted}, got {}{zeros}", file.path.display(), got.len());
            self.tally.wrong(n, place);
        }
        self.tally.add(|sums| {
            let bytes = if file.by_oracle { &mut sums.oracle_bytes } else { &mut sums.other_bytes };
            *bytes += got.len() as u64;
        });
    }
}

pub(crate) fn open(path: &Path, is_direct: bool) -> io::Result<File> {
    let flags = if is_direct { libc::O_DIRECT } else { 0 };
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Reads until the buffer is full or the file ends.
fn read_full(file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    let mut n = 0;
    while n < bytes.len() {
        match file.read_at(&mut bytes[n..], at + n as u64)? {
            0 => break,
            more => n += more,
        }
    }
    Ok(n)
}
