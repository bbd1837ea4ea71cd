//! Where a mount may be made, how it is made and how one is taken away, in words for the person who asked.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::statfs::statfs;

use super::device::{NotDetached, check_device, detach, mount_device, mounts_directly, unmount_unused};
use super::mountinfo::{MountEntry, mount_at, mounts};

/// How a mount is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountOptions {
    /// What the list of mounts calls it. Anybody may see it: no credentials.
    pub fsname: String,
    /// Whether other users may read it, as far as modes let them: all of it, but for `umask`.
    pub allow_other: bool,
    /// Permissions that nobody has, such as 0o027: nothing for others, and reading alone for the group.
    pub umask: u16,
    /// Threads that take the kernel's requests.
    pub threads: usize,
    /// How far ahead the kernel reads, in KiB; only root can set it. `None` leaves it.
    pub read_ahead_kb: Option<u32>,
    /// Whether a dead mount of ours at the same directory is taken away first.
    pub replace: bool,
    /// Whether the mount is made over a dead one of ours, if there is one, so that its error shows until then: only for
    /// whom [`check_over_dead`] lets.
    pub over_dead: bool,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self {
            fsname: "dvidfs".into(),
            allow_other: false,
            umask: 0,
            threads: 3,
            read_ahead_kb: None,
            replace: false,
            over_dead: false,
        }
    }
}

/// A mount could not be made or taken away. Each text says what to do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // The texts say what each is.
pub enum MountError {
    #[error(
        "no /dev/fuse on this machine: load the kernel's module with `modprobe fuse`, or give the container --device /dev/fuse"
    )]
    NoDevice,
    #[error("/dev/fuse may not be opened by this user: make it mode 0666 (`chmod 666 /dev/fuse`) or run as root")]
    DeviceDenied,
    #[error("/dev/fuse cannot be opened: check that the fuse module works")]
    Device(#[source] io::Error),
    #[error("fusermount3 {0}: install the package fuse3, or run as root")]
    NoHelper(&'static str),
    #[error("--allow-other is not allowed here: add the line user_allow_other to /etc/fuse.conf, or run as root")]
    AllowOtherDenied,
    #[error(
        "--supervise is refused: only root can mount over a dead mount, and without that a crash would turn arrays into missing files, which read as zeros: run as root, or leave it out"
    )]
    NotOverDead,
    #[error("the system gives no threads: allow more of them (ulimit -u, pids cgroup)")]
    NoThreads(#[source] io::Error),
    #[error("{} does not exist: make the directory first", .0.display())]
    Missing(PathBuf),
    #[error("{} is not a directory: give an empty directory", .0.display())]
    NotADirectory(PathBuf),
    #[error("{} is a symbolic link: give the directory that it points to", .0.display())]
    SymbolicLink(PathBuf),
    #[error("{} is not empty: give an empty directory", .0.display())]
    NotEmpty(PathBuf),
    #[error("{} already has a dvidfs mount of {source_name}: unmount it with `dvidfs umount {}`, or give another directory", mountpoint.display(), mountpoint.display())]
    AlreadyOurs { mountpoint: PathBuf, source_name: String },
    #[error("{} is the mountpoint of a {fs_type} file system: give another directory", mountpoint.display())]
    AlreadyMounted { mountpoint: PathBuf, fs_type: String },
    #[error("{} has a dead dvidfs mount: clear it with `dvidfs umount {}`, or mount with --replace", .0.display(), .0.display())]
    Dead(PathBuf),
    #[error("{} has a dead {fs_type} mount that is not ours: clear it with `fusermount3 -u {}`", mountpoint.display(), mountpoint.display())]
    DeadStranger { mountpoint: PathBuf, fs_type: String },
    #[error("another mount at {} is being made: wait for it, or give another directory", .0.display())]
    Busy(PathBuf),
    #[error("{} cannot be looked at: give a directory of your own", mountpoint.display())]
    Unusable {
        mountpoint: PathBuf,
        #[source]
        why: io::Error,
    },
    #[error("cannot mount at {}: {why}", mountpoint.display())]
    Refused { mountpoint: PathBuf, why: String },
    #[error("{} has no mount: nothing to unmount", .0.display())]
    NotMounted(PathBuf),
    #[error("{} is in no dvidfs mount: mount it first, or give its directory", .0.display())]
    NoMountHere(PathBuf),
    #[error("the program behind the mount {} has died: reads since then have failed; clear it with `dvidfs umount {}`, or mount with --replace", .0.display(), .0.display())]
    Died(PathBuf),
    #[error("{} does not exist: there is nothing to unmount", .0.display())]
    NothingThere(PathBuf),
    #[error("{} is a mount of {user}: only they or root can unmount it", mountpoint.display())]
    OfAnother { mountpoint: PathBuf, user: String },
    #[error("{} is a mount of {user}, who alone may read it: ask as {user}, or mount it with --allow-other", mountpoint.display())]
    OnlyFor { mountpoint: PathBuf, user: String },
    #[error("{} is a {fs_type} mount, not one of dvidfs: unmount it with `umount`", mountpoint.display())]
    NotOurs { mountpoint: PathBuf, fs_type: String },
    #[error("cannot unmount {}: {why}: close what uses it, or add --lazy", mountpoint.display())]
    InUse { mountpoint: PathBuf, why: String },
    #[error("cannot unmount {}: {why}", mountpoint.display())]
    NotUnmounted { mountpoint: PathBuf, why: String },
    /// What went wrong in the process that mounts, as it tells it.
    #[error("{line}")]
    OfKeeper { line: String, is_of_the_system: bool },
    #[error("the process that mounts for this one is gone or does not answer")]
    NoKeeper,
    #[error("the kernel and this program could not agree on a session at {}: check `dmesg`", mountpoint.display())]
    Session {
        mountpoint: PathBuf,
        #[source]
        why: io::Error,
    },
}

impl MountError {
    /// Whether this machine cannot mount at all, whatever is asked for.
    #[must_use]
    pub fn is_of_the_system(&self) -> bool {
        matches!(
            self,
            Self::NoDevice
                | Self::DeviceDenied
                | Self::Device(_)
                | Self::NoHelper(_)
                | Self::AllowOtherDenied
                | Self::NotOverDead
                | Self::OfKeeper { is_of_the_system: true, .. }
        )
    }
}

/// A mount that was made and is not yet served.
#[derive(Debug)]
pub(super) struct NewMount {
    pub(super) device: OwnedFd,
    /// Without symbolic links.
    pub(super) mountpoint: PathBuf,
}

/// Checks the directory and mounts there. Whatever fails, nothing stays mounted.
pub(super) fn make_mount(mountpoint: &Path, options: &MountOptions) -> Result<NewMount, MountError> {
    if options.over_dead && is_dead(mountpoint) {
        let resolved = resolve_parent(mountpoint)?;
        if entry_at(&resolved)?.is_some_and(|entry| entry.is_ours()) {
            // Whatever comes of it, the dead one stays: without it the directory would look empty.
            return Ok(NewMount { device: mount_device(&resolved, options)?, mountpoint: resolved });
        }
    }
    if options.replace {
        clear_dead_mount(mountpoint)?;
    }
    let resolved = check_directory(mountpoint)?;
    // Two that start at once both find the directory empty: only one of them gets the lock.
    let directory = File::open(&resolved).map_err(|why| unusable(&resolved, why))?;
    let _locked =
        Flock::lock(directory, FlockArg::LockExclusiveNonblock).map_err(|_| MountError::Busy(resolved.clone()))?;
    check_free(&resolved)?;
    let device = mount_device(&resolved, options)?;
    Ok(NewMount { device, mountpoint: resolved })
}

/// Whether a mount can be made at a directory, as far as that can be known before; made for early words.
///
/// # Errors
/// As those of the mount itself.
pub fn check_mountpoint(mountpoint: &Path, replace: bool) -> Result<(), MountError> {
    match check_directory(mountpoint) {
        Err(MountError::Dead(_)) if replace => {}
        checked => drop(checked?),
    }
    check_device()
}

/// Whether this user can mount over a dead mount, so that its directory never looks empty in between.
///
/// # Errors
/// If not.
pub fn check_over_dead() -> Result<(), MountError> {
    // The helper looks at the directory first, and a dead mount lets nobody do that.
    if mounts_directly() { Ok(()) } else { Err(MountError::NotOverDead) }
}

/// Takes away the mounts of ours at a directory whose programs have died. Any other directory is left alone.
///
/// # Errors
/// If a dead mount is not ours, or cannot be taken away.
pub fn clear_dead_mount(mountpoint: &Path) -> Result<(), MountError> {
    while is_dead(mountpoint) {
        let resolved = resolve_parent(mountpoint)?;
        match entry_at(&resolved)? {
            Some(entry) if entry.is_ours() => detach_for(&entry, &resolved)?,
            Some(entry) => return Err(MountError::DeadStranger { mountpoint: resolved, fs_type: entry.fs_type }),
            None => return Ok(()),
        }
    }
    Ok(())
}

/// Unmounts a directory, also one whose program has died; `lazy` also one that is in use.
///
/// # Errors
/// If there is no mount of ours, or it is in use.
pub fn unmount(mountpoint: &Path, lazy: bool) -> Result<(), MountError> {
    let dead = is_dead(mountpoint);
    let resolved = match if dead { resolve_parent(mountpoint) } else { resolve(mountpoint) } {
        Err(MountError::Missing(path)) => return Err(MountError::NothingThere(path)),
        // The kernel lets nobody look at the mount of another user.
        Err(MountError::Unusable { .. }) => resolve_parent(mountpoint)?,
        resolved => resolved?,
    };
    let entry = entry_at(&resolved)?.ok_or_else(|| MountError::NotMounted(resolved.clone()))?;
    if !entry.is_ours() {
        return Err(MountError::NotOurs { mountpoint: resolved, fs_type: entry.fs_type });
    }
    if dead || lazy {
        detach_for(&entry, &resolved)?;
        // Dead ones below it were there before a supervisor mounted again.
        return clear_dead_mount(&resolved);
    }
    refuse_another(&entry, &resolved)?;
    unmount_unused(&resolved).map_err(|failed| match failed {
        NotDetached::NoHelper(why) => MountError::NoHelper(why),
        NotDetached::Why(why) => MountError::InUse { mountpoint: resolved, why },
    })
}

/// The directory of the mount of ours that a path lies in, if its program lives.
///
/// # Errors
/// If the path lies in no mount of ours, or in a dead one, or in one that this user may not look at.
pub fn live_mount(path: &Path) -> Result<PathBuf, MountError> {
    // In a dead mount, and in one of another user, no name can be resolved.
    let absolute = || std::path::absolute(path).map_err(|why| unusable(path, why));
    let (resolved, why) = match path.canonicalize() {
        Ok(resolved) => (resolved, None),
        Err(why) => (resolve_parent(path).or_else(|_| absolute())?, Some(why)),
    };
    let all = mounts().map_err(|why| unusable(&resolved, why))?;
    let found = all.into_iter().filter(|entry| resolved.starts_with(&entry.mount_point));
    // Of those at one place the last one is seen.
    let entry = found.max_by_key(|entry| entry.mount_point.as_os_str().len()).filter(MountEntry::is_ours);
    let entry = entry.ok_or(MountError::NoMountHere(resolved))?;
    // The name of a mount itself can be resolved by everybody.
    match (is_dead(&entry.mount_point), why.or_else(|| fs::metadata(&entry.mount_point).err())) {
        (true, _) => Err(MountError::Died(entry.mount_point)),
        (false, Some(why)) => Err(match another(&entry) {
            Some(user) => MountError::OnlyFor { mountpoint: entry.mount_point, user },
            None => unusable(path, why),
        }),
        (false, None) => Ok(entry.mount_point),
    }
}

/// Detaches a mount for the person who asked.
fn detach_for(entry: &MountEntry, resolved: &Path) -> Result<(), MountError> {
    refuse_another(entry, resolved)?;
    detach(resolved).map_err(|failed| match failed {
        NotDetached::NoHelper(why) => MountError::NoHelper(why),
        NotDetached::Why(why) => MountError::NotUnmounted { mountpoint: resolved.to_owned(), why },
    })
}

/// Says whose a mount is that this user cannot take away: the helper only says that it is not in `/etc/mtab`.
fn refuse_another(entry: &MountEntry, resolved: &Path) -> Result<(), MountError> {
    match another(entry) {
        Some(user) if !nix::unistd::getuid().is_root() => {
            Err(MountError::OfAnother { mountpoint: resolved.to_owned(), user })
        }
        _ => Ok(()),
    }
}

/// Who mounted it, if somebody else did.
fn another(entry: &MountEntry) -> Option<String> {
    let user = entry.user.filter(|&user| user != nix::unistd::getuid().as_raw())?;
    let name = nix::unistd::User::from_uid(user.into()).ok().flatten().map(|user| user.name);
    Some(name.unwrap_or_else(|| format!("user {user}")))
}

/// Takes the mount with this device number away, and no other that may have come to the same place.
pub(super) fn detach_own(mountpoint: &Path, device_number: &str) -> Result<(), String> {
    match mount_at(mountpoint) {
        Ok(Some(entry)) if entry.is_ours() && entry.device == device_number => {
            detach(mountpoint).map_err(|failed| failed.to_string())
        }
        Ok(_) => Ok(()), // Somebody else unmounted ours already.
        Err(error) => Err(error.to_string()),
    }
}

/// Whether a path, existing or not, lies below a directory: the daemon must not use files of its own mount.
#[must_use]
pub fn lies_below(path: &Path, directory: &Path) -> bool {
    let Ok(directory) = resolve_parent(directory) else { return false };
    let Ok(absolute) = std::path::absolute(path) else { return false };
    let existing = absolute.ancestors().find_map(|ancestor| Some((ancestor, ancestor.canonicalize().ok()?)));
    let Some((ancestor, resolved)) = existing else { return false };
    let rest = absolute.strip_prefix(ancestor).unwrap_or(Path::new(""));
    resolved.join(rest).starts_with(directory)
}

fn check_directory(mountpoint: &Path) -> Result<PathBuf, MountError> {
    if is_dead(mountpoint) {
        let resolved = resolve_parent(mountpoint)?;
        return Err(match entry_at(&resolved)? {
            Some(entry) if !entry.is_ours() => {
                MountError::DeadStranger { mountpoint: resolved, fs_type: entry.fs_type }
            }
            _ => MountError::Dead(resolved),
        });
    }
    let metadata = fs::symlink_metadata(mountpoint).map_err(|why| unusable(mountpoint, why))?;
    if metadata.is_symlink() {
        return Err(MountError::SymbolicLink(mountpoint.to_owned()));
    }
    if !metadata.is_dir() {
        return Err(MountError::NotADirectory(mountpoint.to_owned()));
    }
    let resolved = resolve(mountpoint)?;
    check_free(&resolved)?;
    Ok(resolved)
}

/// The kernel would mount over another mount, or over files, without a word.
fn check_free(resolved: &Path) -> Result<(), MountError> {
    match entry_at(resolved)? {
        Some(MountEntry { fs_type, source, .. }) if fs_type == "fuse.dvidfs" => {
            return Err(MountError::AlreadyOurs { mountpoint: resolved.to_owned(), source_name: source });
        }
        Some(MountEntry { fs_type, .. }) => {
            return Err(MountError::AlreadyMounted { mountpoint: resolved.to_owned(), fs_type });
        }
        None => {}
    }
    let mut names = fs::read_dir(resolved).map_err(|why| unusable(resolved, why))?;
    if names.next().is_some() { Err(MountError::NotEmpty(resolved.to_owned())) } else { Ok(()) }
}

/// Whether the program behind a mount has died. `stat` may still answer from what the kernel remembers, `statfs` asks.
fn is_dead(path: &Path) -> bool {
    statfs(path).is_err_and(|errno| errno == Errno::ENOTCONN)
}

fn entry_at(resolved: &Path) -> Result<Option<MountEntry>, MountError> {
    mount_at(resolved).map_err(|why| unusable(resolved, why))
}

fn resolve(path: &Path) -> Result<PathBuf, MountError> {
    path.canonicalize().map_err(|why| unusable(path, why))
}

/// Resolves all but the last name, which a dead mount does not let one look at.
fn resolve_parent(path: &Path) -> Result<PathBuf, MountError> {
    let absolute = std::path::absolute(path).map_err(|why| unusable(path, why))?;
    match (absolute.parent(), absolute.file_name()) {
        (Some(parent), Some(name)) => Ok(resolve(parent)?.join(OsStr::new(name))),
        _ => Ok(absolute),
    }
}

fn unusable(path: &Path, why: io::Error) -> MountError {
    if why.kind() == io::ErrorKind::NotFound {
        MountError::Missing(path.to_owned())
    } else if why.kind() == io::ErrorKind::NotADirectory {
        MountError::NotADirectory(path.to_owned())
    } else {
        MountError::Unusable { mountpoint: path.to_owned(), why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_cannot_take_a_mount_is_refused_with_a_reason() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        fs::create_dir(at("full")).unwrap();
        fs::write(at("full/file"), "").unwrap();
        fs::create_dir(at("empty")).unwrap();
        std::os::unix::fs::symlink(at("empty"), at("link")).unwrap();
        for (name, words) in [
            ("missing", "does not exist: make the directory first"),
            ("full/file", "is not a directory"),
            ("full/file/below", "is not a directory"),
            ("full", "is not empty"),
            ("link", "is a symbolic link"),
        ] {
            let error = check_directory(&at(name)).unwrap_err();
            assert!(error.to_string().contains(words), "{name}: {error}");
            assert!(!error.is_of_the_system());
        }
        assert!(check_directory(&at("empty")).is_ok());
        let error = check_directory(Path::new("/proc")).unwrap_err();
        assert!(error.to_string().contains("mountpoint of a proc file system"), "{error}");
        assert!(matches!(unmount(Path::new("/proc"), true), Err(MountError::NotOurs { .. })));
        assert!(matches!(unmount(&at("empty"), false), Err(MountError::NotMounted(_))));
        let error = unmount(&at("missing"), false).unwrap_err().to_string();
        assert!(error.contains("does not exist: there is nothing to unmount"), "{error}");
    }

    #[test]
    fn a_path_below_a_directory_is_known_whether_it_exists_or_not() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        fs::create_dir_all(at("mount/in")).unwrap();
        std::os::unix::fs::symlink(at("mount"), at("link")).unwrap();
        for (path, below) in [
            ("mount", true),
            ("mount/in/log", true),
            ("mount/none/of/these", true),
            ("link/log", true),
            ("mount2/log", false),
            ("log", false),
            ("", false),
        ] {
            assert_eq!(lies_below(&at(path), &at("mount")), below, "{path}");
        }
    }

    #[test]
    fn a_mount_of_another_user_is_told_to_be_theirs() {
        let entry = |user| MountEntry {
            device: "0:1".into(),
            mount_point: "/m".into(),
            fs_type: "fuse.dvidfs".into(),
            source: "s".into(),
            user,
        };
        let point = Path::new("/m");
        let own = nix::unistd::getuid();
        assert!(refuse_another(&entry(Some(own.as_raw())), point).is_ok());
        assert!(refuse_another(&entry(None), point).is_ok());
        let other = refuse_another(&entry(Some(own.as_raw() + 1)), point);
        assert_eq!(other.is_ok(), own.is_root(), "root may unmount everything: {other:?}");
    }
}
