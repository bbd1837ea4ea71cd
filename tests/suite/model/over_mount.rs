//! The program itself, mounted.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Barrier;
use std::time::Duration;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::ops::Setting;
use super::world::{Failed, Outcome, Part, Tree};
use crate::support::Mounted;
use crate::support::caches::wait_until_written;

pub(super) struct OverMount {
    mounted: Mounted,
    has_disk: bool,
}

fn errno(error: &std::io::Error) -> i32 {
    error.raw_os_error().unwrap_or(-1)
}

fn failed(error: &std::io::Error) -> Failed {
    Failed { errno: errno(error), why: error.to_string() }
}

fn read_part(root: &Path, part: &Part) -> Outcome {
    let flags = if part.direct { nix::libc::O_DIRECT } else { 0 };
    let file = OpenOptions::new().read(true).custom_flags(flags).open(root.join(&part.path));
    let file = file.map_err(|error| failed(&error))?;
    let mut bytes = vec![0; part.size as usize];
    let mut n = 0;
    while n < bytes.len() {
        match file.read_at(&mut bytes[n..], part.offset + n as u64) {
            Ok(0) => break,
            Ok(got) => n += got,
            Err(error) => return Err(failed(&error)),
        }
    }
    bytes.truncate(n);
    Ok(bytes)
}

fn read_all(root: &Path, parts: &[Part], meanwhile: impl FnOnce()) -> Vec<Outcome> {
    let begin = Barrier::new(parts.len() + 1);
    std::thread::scope(|scope| {
        let read = |part| {
            begin.wait();
            read_part(root, part)
        };
        let readers: Vec<_> = parts.iter().map(|part| scope.spawn(move || read(part))).collect();
        begin.wait();
        meanwhile();
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    })
}

impl Tree for OverMount {
    const KEEPS_PAGES: bool = true;
    const FAILURE_MEMORY: Duration = Duration::from_secs(1);

    fn make(source: &str, setting: Setting, caches: &Path) -> Self {
        let ttl = format!("{}ms", setting.ttl_ms);
        let mut options = vec!["--settle", "0", "--ttl", &ttl, "--patience", "120s", "--layouts", "zarr,flat"];
        options.extend(["--mount-wait", "60s"]);
        if setting.is_tight {
            options.extend(["--memory", "16M"]);
        }
        if !setting.prefetch {
            options.push("--no-prefetch");
        }
        if setting.has_disk {
            options.extend(["--cache-dir", caches.to_str().unwrap()]);
        }
        Self { mounted: Mounted::new(source, &options), has_disk: setting.has_disk }
    }

    fn read(&self, parts: &[Part], meanwhile: impl FnOnce()) -> Vec<Outcome> {
        read_all(&self.mounted.root(), parts, meanwhile)
    }

    fn list(&self, path: &str) -> Result<Vec<String>, i32> {
        let entries = fs::read_dir(self.mounted.root().join(path)).map_err(|error| errno(&error))?;
        entries.map(|entry| Ok(entry.map_err(|error| errno(&error))?.file_name().into_string().unwrap())).collect()
    }

    fn size(&self, path: &str) -> Result<u64, i32> {
        fs::metadata(self.mounted.root().join(path)).map(|found| found.size()).map_err(|error| errno(&error))
    }

    fn drop_caches(&self, paths: &[String]) -> bool {
        for path in paths {
            let file = fs::File::open(self.mounted.root().join(path)).unwrap();
            posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
        }
        true
    }

    fn settle(&self) {
        if self.has_disk {
            wait_until_written(&self.mounted);
        }
    }

    fn kill(mut self, parts: &[Part]) -> Vec<Outcome> {
        let root = self.mounted.root();
        let outcomes = read_all(&root, parts, || self.mounted.kill());
        // The kernel keeps the attributes of what never changes, and of this file nothing.
        let left = fs::metadata(root.join(".dvidfs/stats.json")).map(drop).map_err(|error| errno(&error));
        assert_eq!(left, Err(nix::libc::ENOTCONN), "a dead mount looks like something else");
        outcomes
    }

    fn is_quiet(&self) -> bool {
        let goes_on = ["parked_reads", "requests_in_flight", "mappings_in_preparation"];
        goes_on.iter().all(|of| self.mounted.now(of) == 0) && self.mounted.waiting().is_none_or(|waiting| waiting == 0)
    }
}
