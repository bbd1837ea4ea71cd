//! A mounted `/dev/fuse` descriptor: by `mount(2)` where that is allowed, else by `fusermount3`.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSliceMut, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::mount::{MntFlags, MsFlags, umount2};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, recvmsg, socketpair};

use crate::sys::received_descriptor;

use super::mount::{MountError, MountOptions};

const DEVICE: &str = "/dev/fuse";
const FUSERMOUNT: &str = "fusermount3";
/// The largest read that the kernel sends: 256 pages, what it does by itself since 4.20.
const MAX_READ_BYTES: u32 = 1 << 20;

/// Mounts at a directory that has been checked, and gives the descriptor on which the kernel will ask.
pub(super) fn mount_device(mountpoint: &Path, options: &MountOptions) -> Result<OwnedFd, MountError> {
    let device = open_device()?;
    match mount_directly(&device, mountpoint, options) {
        Ok(()) => Ok(device.into()),
        Err(Errno::EPERM) => {
            drop(device);
            mount_by_helper(mountpoint, options)
        }
        Err(errno) => Err(MountError::Refused { mountpoint: mountpoint.to_owned(), why: errno.desc().to_owned() }),
    }
}

/// Why a mount was not taken away.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotDetached {
    /// Without root that takes the helper, and it cannot be used.
    #[error("{FUSERMOUNT} {0}")]
    NoHelper(&'static str),
    #[error("{0}")]
    Why(String),
}

/// Takes a mount away from its directory. Files that are open stay open.
pub(super) fn detach(mountpoint: &Path) -> Result<(), NotDetached> {
    match umount2(mountpoint, MntFlags::MNT_DETACH) {
        Ok(()) => Ok(()),
        Err(Errno::EPERM) => unmount_by_helper(mountpoint, &["-u", "-q", "-z"]),
        Err(errno) => Err(NotDetached::Why(errno.desc().to_owned())),
    }
}

/// Unmounts unless a file in it is open.
pub(super) fn unmount_unused(mountpoint: &Path) -> Result<(), NotDetached> {
    match umount2(mountpoint, MntFlags::empty()) {
        Ok(()) => Ok(()),
        Err(Errno::EPERM) => unmount_by_helper(mountpoint, &["-u"]),
        Err(Errno::EBUSY) => Err(NotDetached::Why("a file or directory in it is in use".to_owned())),
        Err(errno) => Err(NotDetached::Why(errno.desc().to_owned())),
    }
}

/// Whether this user can open the device at all.
pub(super) fn check_device() -> Result<(), MountError> {
    open_device().map(drop)
}

/// Only root may; a mount without it is slower by a quarter and as right.
pub(super) fn set_read_ahead(device_number: &str, kb: u32) {
    let path = format!("/sys/class/bdi/{device_number}/read_ahead_kb");
    if let Err(error) = fs::write(&path, kb.to_string()) {
        tracing::debug!(target: "dvidfs", op = "mount", path, cause = %error, "read-ahead stays as it is");
    }
}

/// Whether this process may mount without the helper.
pub(super) fn mounts_directly() -> bool {
    // Without a descriptor nothing is mounted: the kernel says that, unless it says first that we may not.
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let refused = nix::mount::mount(Some("dvidfs"), "/", Some("fuse.dvidfs"), flags, Some(""));
    refused != Err(Errno::EPERM)
}

fn open_device() -> Result<File, MountError> {
    OpenOptions::new().read(true).write(true).open(DEVICE).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            MountError::NoDevice
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            MountError::DeviceDenied
        } else {
            MountError::Device(error)
        }
    })
}

fn mount_directly(device: &File, mountpoint: &Path, options: &MountOptions) -> Result<(), Errno> {
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_NOATIME;
    let data = format!(
        "fd={},rootmode=40000,user_id={},group_id={},{}",
        device.as_raw_fd(),
        nix::unistd::getuid(),
        nix::unistd::getgid(),
        kernel_options(options)
    );
    nix::mount::mount(Some(options.fsname.as_str()), mountpoint, Some("fuse.dvidfs"), flags, Some(data.as_str()))
}

fn kernel_options(options: &MountOptions) -> String {
    let allow_other = if options.allow_other { ",allow_other" } else { "" };
    format!("default_permissions,max_read={MAX_READ_BYTES}{allow_other}")
}

fn mount_by_helper(mountpoint: &Path, options: &MountOptions) -> Result<OwnedFd, MountError> {
    let refused = |why: String| MountError::Refused { mountpoint: mountpoint.to_owned(), why };
    let system = |errno: Errno| refused(errno.desc().to_owned());
    // The helper's end has no close-on-exec flag, ours has: the helper must see the end of our side.
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::empty()).map_err(system)?;
    fcntl(&ours, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(system)?;
    let list = format!(
        "ro,nosuid,nodev,noexec,noatime,fsname={},subtype=dvidfs,{}",
        escape_commas(&options.fsname),
        kernel_options(options)
    );
    let mut helper = Command::new(FUSERMOUNT)
        .args([OsStr::new("-o"), OsStr::new(&list), OsStr::new("--"), mountpoint.as_os_str()])
        .env("_FUSE_COMMFD", theirs.as_raw_fd().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| unusable_helper(&error).map_or_else(|| refused(error.to_string()), MountError::NoHelper))?;
    drop(theirs);
    let device = receive_device(&ours);
    let mut said = String::new();
    if let Some(stderr) = &mut helper.stderr {
        // What it said only serves the message below.
        let _ = stderr.read_to_string(&mut said);
    }
    let status = helper.wait().map_err(|error| refused(error.to_string()))?;
    match device {
        Some(device) if status.success() => {
            fcntl(&device, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(system)?;
            Ok(device)
        }
        _ => Err(explained(&said, mountpoint)),
    }
}

/// What the helper's words mean for the user.
fn explained(said: &str, mountpoint: &Path) -> MountError {
    if said.contains("user_allow_other") {
        return MountError::AllowOtherDenied;
    }
    if said.contains(DEVICE) && said.contains("denied") {
        return MountError::DeviceDenied;
    }
    if said.contains("mount failed: Operation not permitted") {
        return MountError::NoHelper("may not mount: it is not set-user-ID root");
    }
    let said = said.trim().lines().collect::<Vec<_>>().join("; ");
    MountError::Refused {
        mountpoint: mountpoint.to_owned(),
        why: if said.is_empty() { format!("{FUSERMOUNT} failed") } else { said },
    }
}

/// Why the helper could not even be started, if that is for good.
fn unusable_helper(error: &io::Error) -> Option<&'static str> {
    if error.kind() == io::ErrorKind::NotFound {
        Some("is not installed")
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        Some("may not be run by this user")
    } else {
        None
    }
}

fn receive_device(socket: &OwnedFd) -> Option<OwnedFd> {
    let mut byte = [0_u8];
    let mut parts = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!(RawFd);
    loop {
        match recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
            Ok(message) => return received_descriptor(message.cmsgs().ok()?),
            Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}

fn unmount_by_helper(mountpoint: &Path, options: &[&str]) -> Result<(), NotDetached> {
    let output =
        Command::new(FUSERMOUNT).args(options).arg("--").arg(mountpoint).stdin(Stdio::null()).output().map_err(
            |error| {
                let other = || NotDetached::Why(format!("{FUSERMOUNT}: {error}"));
                unusable_helper(&error).map_or_else(other, NotDetached::NoHelper)
            },
        )?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().lines().collect::<Vec<_>>().join("; ");
    Err(NotDetached::Why(if said.is_empty() { format!("{FUSERMOUNT} failed") } else { said }))
}

/// The helper takes a list with commas; one within a value has a backslash before it, and so has a backslash.
fn escape_commas(text: &str) -> String {
    text.replace('\\', "\\\\").replace(',', "\\,")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_helper_become_one_clear_error() {
        let point = Path::new("/m");
        let say = |said| explained(said, point);
        let other = "fusermount3: option allow_other only allowed if 'user_allow_other' is set in /etc/fuse.conf\n";
        assert!(matches!(say(other), MountError::AllowOtherDenied));
        let denied = "fusermount3: failed to open /dev/fuse: Permission denied\n";
        assert!(matches!(say(denied), MountError::DeviceDenied));
        let weak = say("fusermount3: mount failed: Operation not permitted\n");
        assert!(weak.is_of_the_system() && weak.to_string().contains("install the package fuse3"), "{weak}");
        assert!(say("a\nb\n").to_string().contains("a; b"));
        assert!(say("").to_string().contains("fusermount3 failed"));
    }

    #[test]
    fn a_helper_that_is_missing_or_forbidden_is_the_system() {
        for kind in [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied] {
            let error = MountError::NoHelper(unusable_helper(&kind.into()).unwrap());
            assert!(error.is_of_the_system() && error.to_string().contains("install the package fuse3"), "{error}");
        }
        assert_eq!(unusable_helper(&io::ErrorKind::OutOfMemory.into()), None);
    }

    #[test]
    fn commas_do_not_end_a_name() {
        assert_eq!(escape_commas(r"a,b\c"), r"a\,b\\c");
    }
}
