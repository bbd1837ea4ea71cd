//! How a fault is counted: what must hold whichever fault it was, and the report that `scripts/faults` adds up.

use std::time::{Duration, Instant};

use super::Mounted;
use super::mounts::reports::append;

/// A daemon before a fault.
#[derive(Debug)]
pub struct Survival {
    id: &'static str,
    pid: u32,
    threads_and_files: (usize, usize),
    logged: usize,
}

impl Survival {
    /// Remembers how the daemon is now.
    pub fn begin(id: &'static str, mounted: &Mounted) -> Self {
        let (pid, threads_and_files) = (mounted.pid(), mounted.threads_and_files());
        Self { id, pid, threads_and_files, logged: mounted.log().len() }
    }

    /// What the daemon has logged since.
    pub fn log(&self, mounted: &Mounted) -> String {
        mounted.log()[self.logged..].to_owned()
    }

    /// Asserts all that is the same for each fault: it happened, the same daemon runs, nothing of the kernel waits, threads
    /// and files are as before, and one of the log codes is there (any will do; none is asked for if the list is empty).
    pub fn check(&self, mounted: &mut Mounted, happened: u64, codes: &[&str]) {
        let id = self.id;
        assert!(happened > 0, "{id}: it never happened");
        assert!(mounted.is_alive(), "{id}: the daemon ended");
        assert_eq!(mounted.pid(), self.pid, "{id}: another daemon");
        let end = Instant::now() + Duration::from_secs(2);
        while mounted.waiting().is_some_and(|waiting| waiting > 0) {
            assert!(Instant::now() < end, "{id}: requests still wait");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.check_threads_and_files(mounted);
        assert_eq!(mounted.counter("panics"), 0, "{id}: the daemon panicked");
        // Lines are written by a thread of their own.
        let is_told =
            |log: &str| codes.is_empty() || codes.iter().any(|code| log.contains(&format!("code=\"{code}\"")));
        let end = Instant::now() + Duration::from_secs(2);
        while !is_told(&self.log(mounted)) {
            assert!(Instant::now() < end, "{id}: none of {codes:?} in the log:\n{}", self.log(mounted));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The same, and reports the fault as survived.
    pub fn end(self, mounted: &mut Mounted, happened: u64, codes: &[&str], compared_bytes: u64) {
        self.check(mounted, happened, codes);
        report(self.id, compared_bytes);
    }

    /// A connection that is closed late is given a moment.
    fn check_threads_and_files(&self, mounted: &Mounted) {
        let before = self.threads_and_files;
        let end = Instant::now() + Duration::from_secs(2);
        loop {
            let after = mounted.threads_and_files();
            let is_as_before = after.0.abs_diff(before.0) <= 2 && after.1.abs_diff(before.1) <= 2;
            if is_as_before && mounted.connections() <= mounted.most_connections() {
                return;
            }
            assert!(Instant::now() < end, "{}: threads and files {before:?} became {after:?}", self.id);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Reports a fault as survived, with the bytes that were compared and found right.
pub fn report(id: &str, compared_bytes: u64) {
    println!("fault {id} survived");
    append("DVIDFS_FAULTS_REPORT", &format!("{id} {compared_bytes}"));
}
