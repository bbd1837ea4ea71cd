//! Files and ports: Landlock.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort, PathBeneath, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, Scope,
};
use nix::sys::statfs::{FsType, fstatfs};

use super::{Allowed, SandboxError};

/// The first version that confines the network.
const LEAST: ABI = ABI::V4;
/// Signals and abstract sockets from 6 on; what older kernels do not have is done without.
const MOST: ABI = ABI::V6;

/// What every process here reads: readers of a mount in `/proc`, and how names of hosts are found.
const READ_BY_ALL: [&str; 14] = [
    "/proc",
    "/sys/fs/cgroup/memory.max",
    "/dev/urandom",
    "/etc/resolv.conf",
    "/run/systemd/resolve",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/ld.so.cache",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
];

/// Pipes and sockets without a name, such as `/dev/stderr` may be: Landlock lets them through, and takes no rule for them.
const NAMELESS: [FsType; 2] = [FsType(0x5049_5045), FsType(0x534f_434b)];

pub(super) fn restrict(allowed: &Allowed) -> Result<i32, SandboxError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(LEAST))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(LEAST)))
        .map(|rules| rules.set_compatibility(CompatLevel::BestEffort))
        .and_then(|rules| rules.handle_access(AccessFs::from_all(MOST)))
        .and_then(|rules| rules.scope(Scope::from_all(MOST)))
        .and_then(Ruleset::create)
        .map_err(SandboxError::NoLandlock)?;
    let read = AccessFs::ReadFile.into();
    for path in READ_BY_ALL.map(Path::new).into_iter().chain(allowed.read.iter().map(AsRef::as_ref)) {
        rules = with_path(rules, path, read)?;
    }
    rules = with_path(rules, Path::new("/dev/null"), AccessFs::ReadFile | AccessFs::WriteFile)?;
    for path in &allowed.write {
        rules = with_path(rules, path, AccessFs::WriteFile.into())?;
    }
    for path in &allowed.change {
        rules = with_path(rules, path, of_directories())?;
    }
    for (port, access) in [(allowed.connect, AccessNet::ConnectTcp), (allowed.listen, AccessNet::BindTcp)] {
        if let Some(port) = port {
            rules = rules.add_rule(NetPort::new(port, access)).map_err(SandboxError::Rules)?;
        }
    }
    let status = rules.restrict_self().map_err(SandboxError::Rules)?;
    Ok(match status.landlock {
        LandlockStatus::Available { effective_abi, kernel_abi } => kernel_abi.unwrap_or(effective_abi as i32),
        // The first rules were required.
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => 0,
    })
}

/// All that a cache does: no devices, pipes, sockets and links are made.
fn of_directories() -> BitFlags<AccessFs> {
    AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer
}

/// Lets a path through. What is not there is left out: whoever opens it says so.
fn with_path(rules: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> Result<RulesetCreated, SandboxError> {
    let failed = |why: io::Error| SandboxError::Path { path: path.to_owned(), why };
    let opened = match open(path) {
        Ok(opened) => opened,
        Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => {
            return Ok(rules);
        }
        Err(error) => return Err(failed(error)),
    };
    let found = fstatfs(&opened).map_err(|errno| failed(errno.into()))?;
    if NAMELESS.contains(&found.filesystem_type()) {
        return Ok(rules);
    }
    let is_directory = opened.metadata().map_err(failed)?.is_dir();
    let access = if is_directory { access } else { access & AccessFs::from_file(MOST) };
    rules.add_rule(PathBeneath::new(opened, access)).map_err(SandboxError::Rules)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_CLOEXEC).open(path)
}
