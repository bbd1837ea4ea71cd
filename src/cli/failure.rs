//! Why a command ended without success: one line, and an exit code as `mount(8)` has them.

use crate::fuse::MountError;
use crate::logging::Chain;
use crate::sandbox::SandboxError;

/// A wrong command line, credentials that were refused, or reads that failed.
pub(super) const USAGE: u8 = 1;
/// This machine cannot do it: no `/dev/fuse`.
pub(super) const SYSTEM: u8 = 2;
/// The server, the node or the mount.
pub(super) const MOUNT: u8 = 32;

/// What is printed once, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: u8,
    /// One line that says what to do.
    pub(super) line: String,
}

impl Failure {
    /// Any text becomes one line without control characters: a server's words must not steer a terminal.
    pub(super) fn new(code: u8, text: impl AsRef<str>) -> Self {
        let words: Vec<_> = text.as_ref().split_whitespace().collect();
        let line = words.join(" ").chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect();
        Self { code, line }
    }

    pub(super) fn usage(text: impl AsRef<str>) -> Self {
        Self::new(USAGE, text)
    }

    pub(super) fn mount(text: impl AsRef<str>) -> Self {
        Self::new(MOUNT, text)
    }
}

impl From<MountError> for Failure {
    fn from(error: MountError) -> Self {
        Self::new(if error.is_of_the_system() { SYSTEM } else { MOUNT }, Chain(&error).to_string())
    }
}

impl From<SandboxError> for Failure {
    fn from(error: SandboxError) -> Self {
        Self::new(SYSTEM, Chain(&error).to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn each_failure_is_one_line_with_the_code_of_mount_8() {
        let of = |error: MountError| Failure::from(error).code;
        assert_eq!(of(MountError::NoDevice), 2);
        assert_eq!(of(MountError::DeviceDenied), 2);
        assert_eq!(of(MountError::NoHelper("is not installed")), 2);
        assert_eq!(of(MountError::AllowOtherDenied), 2);
        assert_eq!(of(MountError::Missing(PathBuf::from("/m"))), 32);
        assert_eq!(of(MountError::Dead(PathBuf::from("/m"))), 32);
        let failure = Failure::usage(" two\n\tlines \u{1b}[31mred ");
        assert_eq!(failure, Failure { code: 1, line: "two lines \u{fffd}[31mred".into() });
    }
}
