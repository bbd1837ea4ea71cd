//! What `/proc/self/mountinfo` says.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One mount that this process sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountEntry {
    /// Device number of the file system, as `major:minor`. A FUSE mount has one of its own.
    pub device: String,
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// Its type, such as `ext4` or `fuse.dvidfs`.
    pub fs_type: String,
    /// What is mounted.
    pub source: String,
    /// The user who mounted it, if it is a FUSE mount.
    pub user: Option<u32>,
}

impl MountEntry {
    /// Whether this program made it.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.fs_type == "fuse.dvidfs"
    }

    /// The name of its directory in `/sys/fs/fuse/connections`, if it is a FUSE mount.
    #[must_use]
    pub fn connection(&self) -> Option<&str> {
        let (_major, minor) = self.device.split_once(':')?;
        self.fs_type.starts_with("fuse").then_some(minor)
    }
}

/// All mounts, in the order in which they were made.
///
/// # Errors
/// If `/proc` is not there.
pub fn mounts() -> io::Result<Vec<MountEntry>> {
    Ok(parse(&fs::read("/proc/self/mountinfo")?))
}

/// The mount that is seen at a path: the last one made there.
pub(super) fn mount_at(path: &Path) -> io::Result<Option<MountEntry>> {
    Ok(mounts()?.into_iter().rfind(|entry| entry.mount_point == path))
}

fn parse(text: &[u8]) -> Vec<MountEntry> {
    text.split(|&byte| byte == b'\n').filter_map(parse_line).collect()
}

/// `36 35 98:0 /root /mount/point rw,noatime master:1 - ext3 /dev/root rw`: any number of fields before the dash.
fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let fields: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let dash = fields.iter().skip(6).position(|field| *field == b"-")? + 6;
    let text = |field: &[u8]| String::from_utf8_lossy(&unescape(field)).into_owned();
    Some(MountEntry {
        device: text(fields[2]),
        mount_point: PathBuf::from(OsString::from_vec(unescape(fields[4]))),
        fs_type: text(fields.get(dash + 1)?),
        source: text(fields.get(dash + 2)?),
        user: fields.get(dash + 3).and_then(|options| {
            text(options).split(',').find_map(|option| option.strip_prefix("user_id=")?.parse().ok())
        }),
    })
}

/// Blanks, tabs, newlines and backslashes stand as `\040`: three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [b'\\', digits @ ..] if digits.len() >= 3 => {
                std::str::from_utf8(&digits[..3]).ok().and_then(|digits| u8::from_str_radix(digits, 8).ok())
            }
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &rest[4..] } else { tail };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_understood() {
        let text = b"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
            23 22 0:21 / /proc rw,nosuid shared:2 master:7 propagate_from:3 - proc proc rw\n\
            99 22 0:52 / /mnt/a\\040b\\134c\\012d ro,nosuid,nodev,noexec,noatime - fuse.dvidfs host:8000/28841c:master ro,user_id=1000,group_id=0\n\
            100 22 0:53 /sub\\040dir /x\\0 ro - fuse.rclone a\\040b rw\n\
            101 22 0:54 / /dash - - x y\n\
            short line\n\n";
        let entries = parse(text);
        let seen: Vec<_> = entries
            .iter()
            .map(|entry| (entry.device.as_str(), entry.mount_point.to_str().unwrap(), entry.fs_type.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                ("254:0", "/", "ext4"),
                ("0:21", "/proc", "proc"),
                ("0:52", "/mnt/a b\\c\nd", "fuse.dvidfs"),
                ("0:53", "/x\\0", "fuse.rclone"),
                ("0:54", "/dash", "x"), // the first dash stands for the options
            ]
        );
        assert_eq!(entries[2].source, "host:8000/28841c:master");
        assert_eq!((entries[2].is_ours(), entries[2].connection()), (true, Some("52")));
        assert_eq!((entries[3].is_ours(), entries[3].connection()), (false, Some("53")));
        assert_eq!((entries[0].is_ours(), entries[0].connection()), (false, None));
        assert_eq!(entries[3].source, "a b");
        assert_eq!((entries[2].user, entries[3].user), (Some(1000), None));
    }

    #[test]
    fn the_root_of_this_machine_is_mounted() {
        assert!(mount_at(Path::new("/")).unwrap().is_some());
    }
}
