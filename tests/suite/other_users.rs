//! What other users of the machine may do with a mount that lets them in, and what calls for access lists are told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use rustix::io::Errno;

use crate::support::caches::{Wanted, compare, demo_of, wanted};
use crate::support::{Mounted, can_mount, skipped, time_limit};

/// A program run by a user of this group who is not the one who mounted, and no more than that.
fn by_other(group: u32, words: &[&str]) -> Output {
    Command::new("setpriv")
        .args(["--reuid=65534", &format!("--regid={group}"), "--clear-groups", "--"])
        .args(words)
        .output()
        .unwrap()
}

fn has_other_users() -> bool {
    let has = nix::unistd::geteuid().is_root()
        && Command::new("setpriv").args(["--reuid=65534", "true"]).status().is_ok_and(|status| status.success());
    if !has {
        skipped("fault H18: other users need root and setpriv");
    }
    has
}

fn let_through(mounted: &Mounted) {
    let above = mounted.root().parent().unwrap().to_owned();
    fs::set_permissions(above, fs::Permissions::from_mode(0o755)).unwrap();
}

#[track_caller]
fn is_denied(output: &Output, what: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("Permission denied"), "{what}: {said}");
}

/// What another user reads of a file is what it must hold.
#[track_caller]
fn reads(group: u32, of: &Wanted) {
    let output = by_other(group, &["cat", of.chunk.path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == of.bytes, "{} differs for another user", of.chunk.path.display());
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// The options of the mount, as the kernel lists them.
fn mount_options(mounted: &Mounted) -> Vec<String> {
    let root = mounted.root();
    let all = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = all.lines().find(|line| line.split(' ').nth(1) == root.to_str()).expect("it is listed");
    line.split(' ').nth(3).unwrap().split(',').map(str::to_owned).collect()
}

#[test]
fn others_read_what_allow_other_and_umask_leave_them() {
    if !can_mount() || !has_other_users() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let demo = demo_of(&["gray"]);
    let source = format!("{}/a40d", demo.origin());
    let root_group = nix::unistd::getegid().as_raw();
    //              words                             file   dir    its group  others
    for (words, file_mode, dir_mode, group_reads, others_read) in [
        (&["--allow-other"][..], 0o444, 0o555, true, true),
        (&["--allow-other", "--umask", "027"][..], 0o440, 0o550, true, false),
        (&["-o", "allow_other,umask=077"][..], 0o400, 0o500, false, false),
        (&["--umask", "022"][..], 0o444, 0o555, false, false),
    ] {
        let mounted = Mounted::new(&source, &[&["--settle", "0"][..], words].concat());
        let_through(&mounted);
        let options = mount_options(&mounted);
        let has = |wanted: &str| options.iter().any(|option| option == wanted);
        assert!(["ro", "nosuid", "nodev", "default_permissions"].iter().all(|option| has(option)), "{options:?}");
        assert_eq!(has("allow_other"), words.iter().any(|word| word.contains("allow")), "{options:?}");
        let all = wanted(&mounted, &demo, &["gray"]);
        // By its user first: what the kernel has then is read by nobody else either.
        assert!(compare(&all[..1]) > 0);
        let one = &all[0];
        assert_eq!(mode(&one.chunk.path), file_mode, "{words:?}");
        for dir in [mounted.root(), mounted.root().join("gray"), one.chunk.path.parent().unwrap().to_owned()] {
            assert_eq!(mode(&dir), dir_mode, "{words:?}: {}", dir.display());
        }
        assert_eq!(mode(&mounted.root().join(".dvidfs/stats.json")), file_mode, "{words:?}");
        for (group, may) in [(root_group, group_reads), (65534, others_read)] {
            if may {
                reads(group, one);
                reads(group, &all[1]);
                continue;
            }
            let chunk = one.chunk.path.to_str().unwrap();
            for program in [["cat", chunk], ["stat", chunk], ["ls", mounted.root().to_str().unwrap()]] {
                is_denied(&by_other(group, &program), &format!("{words:?}: group {group}: {program:?}"));
            }
        }
    }
}

/// Programs ask for access lists and labels of each file that they copy or list: no mount has any, and none fails.
#[test]
fn calls_for_attributes_and_access_lists_are_told_that_there_are_none() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let demo = demo_of(&["gray"]);
    let mounted = Mounted::new(&format!("{}/a40d", demo.origin()), &["--settle", "0"]);
    let one = wanted(&mounted, &demo, &["gray"]).swap_remove(0);
    let mut buffer = [0_u8; 256];
    let is_none = |errno: Errno| [Errno::OPNOTSUPP, Errno::NODATA].contains(&errno);
    for path in [mounted.root(), mounted.root().join("gray"), one.chunk.path.clone()] {
        for name in
            ["system.posix_acl_access", "system.posix_acl_default", "security.capability", "security.selinux", "user.a"]
        {
            for _ in 0..2 {
                let found = rustix::fs::lgetxattr(&path, name, &mut buffer[..]);
                assert!(found.is_err_and(is_none), "{} {name}: {found:?}", path.display());
            }
            // Nothing can be written, whichever call it is.
            let set = rustix::fs::lsetxattr(&path, name, b"x", rustix::fs::XattrFlags::empty());
            let refused = [Errno::ROFS, Errno::OPNOTSUPP, Errno::PERM, Errno::ACCESS];
            assert!(set.is_err_and(|errno| refused.contains(&errno)), "{} {name}: {set:?}", path.display());
        }
        let listed = rustix::fs::llistxattr(&path, &mut buffer[..]);
        assert!(listed == Ok(0) || listed.is_err_and(is_none), "{}: {listed:?}", path.display());
    }
    // Programs that copy attributes along say nothing.
    let copy = tempfile::tempdir().unwrap();
    for words in [vec!["cp", "-a", "--preserve=all"], vec!["ls", "-lZd"], vec!["ls", "-l"]] {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(&one.chunk.path);
        if words[0] == "cp" {
            command.arg(copy.path());
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(fs::read(copy.path().join(one.chunk.path.file_name().unwrap())).unwrap() == one.bytes);
    // Where they are installed, the programs for it as well.
    for program in ["getfacl", "getfattr"] {
        let Ok(output) = Command::new(program).arg(&one.chunk.path).output() else { continue };
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !said.contains("Input/output"), "{program}: {said}");
    }
    assert_eq!(mounted.counter("failed_reads"), 0);
}
