//! The kernel's side of a mount: requests become calls of `vfs`, errors become errnos, and mounts are made and ended.
//!
//! The only folder that names `fuser`. fuser reads and answers requests on a descriptor that we give it; it neither
//! mounts nor unmounts, because its own unmount can take away a mount of somebody else at the same path.

mod adapter;
mod answer;
mod device;
mod errno;
mod given_up;
mod keeper;
mod kept;
mod kill_poll;
mod mount;
mod mounter;
mod mountinfo;
mod serve;
mod session;

pub use keeper::{Keeper, Keeping, keeper_sockets};
pub use mount::{
    MountError, MountOptions, check_mountpoint, check_over_dead, clear_dead_mount, lies_below, live_mount, unmount,
};
pub use mounter::Mounter;
pub use mountinfo::{MountEntry, mounts};
pub use serve::Serve;
pub use session::{Ending, Mounted, Stopper, mount, mount_by, request_timeout};
