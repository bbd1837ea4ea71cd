//! The words about how a mount is made.

use std::path::PathBuf;

use clap::Args;

use super::super::failure::Failure;
use super::super::values::{size, umask};

/// How the mount is made.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Mount")]
pub(in super::super) struct PlaceArgs {
    /// Stay in front instead of becoming a daemon; Ctrl-C unmounts
    #[arg(short, long)]
    pub(in super::super) foreground: bool,
    /// Let other users read the mount, too
    #[arg(long)]
    pub(in super::super) allow_other: bool,
    /// Permissions that nobody is given, such as 027: by itself everybody may read whom the mount lets in
    #[arg(long, value_name = "OCTAL", value_parser = umask, default_value = "000")]
    pub(in super::super) umask: u16,
    /// Mount again if the program dies: within two seconds, and until then the directory answers with an error. Only
    /// root can
    #[arg(long)]
    pub(in super::super) supervise: bool,
    /// Confine the process that talks to the server: it reaches its own files, its cache, the server's port and nothing
    /// else. Refused where the kernel cannot (it takes Linux 6.7). A --token-file is to be renewed in place then: a file
    /// that is renamed over it is another one
    #[arg(long)]
    pub(in super::super) sandbox: bool,
    /// Take away a dead dvidfs mount at the same directory first
    #[arg(long)]
    pub(in super::super) replace: bool,
    /// Name of the mount in the list of mounts [default: the SOURCE]
    #[arg(long, value_name = "NAME")]
    pub(in super::super) fsname: Option<String>,
    /// How far ahead the kernel reads a file; if that is less than a chunk (2M of labels), it reads on behind each. Only
    /// root can set it
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "4M")]
    pub(in super::super) read_ahead: usize,
    /// Threads that answer the kernel
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(in super::super) threads: u8,
    /// Options as in fstab: ro, allow_other, umask=OCTAL, fsname=NAME
    #[arg(short = 'o', value_name = "OPT,...", value_delimiter = ',')]
    options: Vec<String>,
    /// Set in all processes that are started for a mount: the directory in which the words were written
    #[arg(long, hide = true, value_name = "DIR")]
    pub(super) written_in: Option<PathBuf>,
    /// Set in the process that becomes the daemon
    #[arg(long, hide = true)]
    pub(in super::super) daemon_child: bool,
    /// Set in the process that a keeper starts
    #[arg(long, hide = true)]
    pub(in super::super) worker: bool,
    /// When the one before it died, in seconds since 1970
    #[arg(long, hide = true, value_name = "SECONDS")]
    pub(in super::super) died: Option<f64>,
}

impl PlaceArgs {
    /// Whether the mount is served by another process than the one that was started for it.
    pub(in super::super) fn is_kept(&self) -> bool {
        self.supervise || self.sandbox
    }

    /// Options that `/etc/fstab` and habit put behind `-o`.
    pub(super) fn apply_options(&mut self) -> Result<(), Failure> {
        for option in std::mem::take(&mut self.options) {
            let (name, value) = option.split_once('=').unwrap_or((&option, ""));
            match name {
                "allow_other" => self.allow_other = true,
                "umask" => {
                    self.umask = umask(value).map_err(|why| Failure::usage(format!("-o {option:?}: {why}")))?;
                }
                "fsname" if !value.is_empty() => self.fsname = Some(value.to_owned()),
                // What this mount is anyway, or what speaks to mount(8) alone.
                ""
                | "ro"
                | "rw"
                | "nosuid"
                | "nodev"
                | "noexec"
                | "noatime"
                | "nodiratime"
                | "relatime"
                | "default_permissions"
                | "defaults"
                | "async"
                | "auto"
                | "noauto"
                | "user"
                | "users"
                | "nouser"
                | "owner"
                | "group"
                | "nofail"
                | "_netdev"
                | "subtype"
                | "comment" => {}
                _ if name.starts_with("x-") => {}
                "auto_unmount" => {
                    return Err(Failure::usage(
                        "-o auto_unmount is refused: a crash would turn arrays into missing files, which read as zeros; leave it out",
                    ));
                }
                "allow_root" => {
                    return Err(Failure::usage("-o allow_root is refused: use -o allow_other, or mount as root"));
                }
                _ => return Err(Failure::usage(format!("-o {option:?} is not known: try `dvidfs mount --help`"))),
            }
        }
        Ok(())
    }
}
