//! A small file system of its own, for those who may mount one.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::mounts::reports::skipped;

/// A mounted tmpfs, until it is dropped.
pub struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// `None`, with a word about it, if this process may not mount.
    pub fn new(fault: &str, options: &str) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            skipped(&format!("fault {fault}: only root can mount a tmpfs"));
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        run("mount", &["-t", "tmpfs", "-o", options, "dvidfs-test"], directory.path());
        Some(Self(directory))
    }

    pub fn path(&self) -> PathBuf {
        self.0.path().canonicalize().unwrap()
    }

    pub fn remount(&self, options: &str) {
        run("mount", &["-o", &format!("remount,{options}")], self.0.path());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Runs a command that has to succeed.
#[track_caller]
pub fn run(command: &str, arguments: &[&str], path: &Path) {
    let status = Command::new(command).args(arguments).arg(path).status().unwrap();
    assert!(status.success(), "{command} {arguments:?} {}", path.display());
}
