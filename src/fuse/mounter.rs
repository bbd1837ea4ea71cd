//! Who makes a mount and takes it away: the process that serves it, or the one that keeps it, if the first is confined.

use std::path::Path;

use super::device::{detach, set_read_ahead};
use super::keeper::Keeper;
use super::mount::{MountError, MountOptions, NewMount, check_mountpoint, detach_own, make_mount};

/// Who mounts.
#[derive(Debug)]
pub enum Mounter {
    /// The process that serves the mount.
    Ourselves,
    /// The one that has started it, which knows place and options by itself.
    Keeper(Keeper),
}

impl Mounter {
    /// Whether a mount can be made at a directory, as far as that can be known before. A keeper has looked already.
    ///
    /// # Errors
    /// As those of the mount itself.
    pub fn check(&self, mountpoint: &Path, replace: bool) -> Result<(), MountError> {
        match self {
            Self::Ourselves => check_mountpoint(mountpoint, replace),
            Self::Keeper(_) => Ok(()),
        }
    }

    pub(super) fn mount(&self, mountpoint: &Path, options: &MountOptions) -> Result<NewMount, MountError> {
        match self {
            Self::Ourselves => make_mount(mountpoint, options),
            Self::Keeper(keeper) => keeper.mount(),
        }
    }

    /// Only root may; a mount without it is slower by a quarter and as right.
    pub(super) fn set_read_ahead(&self, device_number: &str, options: &MountOptions) {
        match (self, options.read_ahead_kb) {
            (Self::Ourselves, Some(kb)) => set_read_ahead(device_number, kb),
            (Self::Keeper(keeper), Some(_)) => keeper.set_read_ahead(),
            (_, None) => {}
        }
    }

    /// Takes the mount with this device number away, and no other.
    pub(super) fn detach(&self, mountpoint: &Path, device_number: &str) -> Result<(), String> {
        match self {
            Self::Ourselves => detach_own(mountpoint, device_number),
            Self::Keeper(keeper) => keeper.unmount().map_err(|error| error.to_string()),
        }
    }

    /// Takes away what was just made and cannot be served.
    pub(super) fn abandon(&self, mountpoint: &Path) -> Result<(), String> {
        match self {
            Self::Ourselves => detach(mountpoint).map_err(|failed| failed.to_string()),
            Self::Keeper(keeper) => keeper.unmount().map_err(|error| error.to_string()),
        }
    }
}
