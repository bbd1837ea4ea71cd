//! What is left of the system to a process that talks to a server: by Landlock for files and ports, by seccomp for calls, and
//! without what root alone may do.
//!
//! All of it holds for the calling thread and for those that it starts, for good. All or nothing: a process that could be
//! confined in part alone is told so.

mod calls;
mod powers;
mod reach;

use std::path::PathBuf;

/// What a confined process may reach beside what every one needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Files to be read.
    pub read: Vec<PathBuf>,
    /// Files to be written, which are there.
    pub write: Vec<PathBuf>,
    /// Directories below which files are read, made, written and removed.
    pub change: Vec<PathBuf>,
    /// The TCP port that may be connected to, of whatever host.
    pub connect: Option<u16>,
    /// The TCP port that may be listened on.
    pub listen: Option<u16>,
}

/// A process was not confined. Each text says what to do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // The texts say what each is.
pub enum SandboxError {
    #[error(
        "--sandbox is refused: this kernel has no Landlock that confines the network: use Linux 6.7 or newer with landlock in its list of security modules (lsm=), or leave it out"
    )]
    NoLandlock(#[source] landlock::RulesetError),
    #[error("--sandbox is refused: Landlock refuses its rules: check `dmesg`, or leave it out")]
    Rules(#[source] landlock::RulesetError),
    #[error("--sandbox is refused: {} cannot be let through: check that it can be opened, or leave --sandbox out", path.display())]
    Path {
        path: PathBuf,
        #[source]
        why: std::io::Error,
    },
    #[error("--sandbox is refused: rights of root cannot be laid down: run it as an ordinary user, or leave it out")]
    Powers(#[source] std::io::Error),
    #[error(
        "--sandbox is refused: system calls cannot be filtered here: use a kernel with seccomp (CONFIG_SECCOMP_FILTER) on x86_64, aarch64 or riscv64, or leave it out"
    )]
    NoSeccomp(#[source] seccompiler::Error),
}

/// Confines this thread and all that it will start. Gives the version of Landlock's interface.
///
/// # Errors
/// If any of it cannot be had. The thread may be confined in part then, and is of no use.
pub fn confine(allowed: &Allowed) -> Result<i32, SandboxError> {
    let abi = reach::restrict(allowed)?;
    powers::restrict().map_err(SandboxError::Powers)?;
    calls::restrict(allowed.listen.is_some()).map_err(SandboxError::NoSeccomp)?;
    Ok(abi)
}

#[cfg(test)]
mod tests;
