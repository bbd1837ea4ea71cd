//! `dvidfs umount`.

use crate::fuse;

use super::args::UmountArgs;
use super::failure::Failure;

/// Unmounts a directory, also a dead one.
pub(super) fn umount(args: &UmountArgs) -> Result<(), Failure> {
    Ok(fuse::unmount(&args.dir, args.lazy)?)
}
