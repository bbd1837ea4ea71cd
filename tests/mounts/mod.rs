//! What all tests with real mounts share: a directory to mount at, and an end to whatever is mounted there.
#![allow(dead_code, unreachable_pub)] // each test binary uses its part

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dvidfs::fuse;

#[path = "../reports/mod.rs"]
pub mod reports;

/// The mountpoints that this process has made: other processes' mounts are none of our business.
static MADE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Whether mounts can be made here. Without `/dev/fuse` these tests fail, unless they are opted out of.
pub fn can_mount() -> bool {
    if std::env::var_os("DVIDFS_SKIP_MOUNT_TESTS").is_some_and(|value| value == "1") {
        reports::skipped("mount tests");
        return false;
    }
    assert!(Path::new("/dev/fuse").exists(), "no /dev/fuse: set DVIDFS_SKIP_MOUNT_TESTS=1 to skip the mount tests");
    true
}

/// Tests with their own deadline would disturb each other on few cores: one mount at a time.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A directory with an empty one in it to mount at. Whatever is mounted there is gone with this value.
#[derive(Debug)]
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    pub fn new() -> Self {
        let scratch = Self(tempfile::tempdir().unwrap());
        fs::create_dir(scratch.mountpoint()).unwrap();
        made().push(scratch.mountpoint());
        scratch
    }

    /// The directory round the mountpoint, without symbolic links.
    pub fn path(&self) -> PathBuf {
        self.0.path().canonicalize().unwrap()
    }

    pub fn mountpoint(&self) -> PathBuf {
        self.path().join("mount")
    }

    pub fn is_mounted(&self) -> bool {
        let mountpoint = self.mountpoint();
        fuse::mounts().unwrap().iter().any(|entry| entry.mount_point == mountpoint)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mountpoint = self.mountpoint();
        clear(&mountpoint);
        made().retain(|made| *made != mountpoint);
    }
}

fn made() -> MutexGuard<'static, Vec<PathBuf>> {
    MADE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Frees everybody who hangs in a mount that a failed test left behind, and takes the mount away.
pub fn clear(mountpoint: &Path) {
    for entry in fuse::mounts().unwrap().into_iter().filter(|entry| entry.mount_point == mountpoint) {
        if let Some(connection) = entry.connection() {
            let _ = fs::write(connections().join(connection).join("abort"), "1");
        }
        let _ = Command::new("umount").arg("-l").arg(mountpoint).stderr(Stdio::null()).status();
    }
}

/// Does so with all mounts of this process.
pub fn clear_all() {
    let made = made().clone();
    made.iter().for_each(|mountpoint| clear(mountpoint));
}

/// The control file system of FUSE, mounted if it is not.
pub fn connections() -> &'static Path {
    let path = Path::new("/sys/fs/fuse/connections");
    if !is_connections_mounted() {
        let _ = Command::new("mount").args(["-t", "fusectl", "fusectl"]).arg(path).status();
    }
    path
}

/// Whether it is mounted, or can be.
pub fn has_connections() -> bool {
    connections();
    is_connections_mounted()
}

fn is_connections_mounted() -> bool {
    fuse::mounts().unwrap().iter().any(|entry| entry.fs_type == "fusectl")
}
