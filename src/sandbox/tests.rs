//! What a confined thread can do, and what it cannot. The thread that starts it stays free.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::thread;

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::ptrace;
use nix::sys::signal::kill;
use nix::sys::socket::{MsgFlags, SockaddrIn, sendto};
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Pid, setpgid};
use rustix::net::{AddressFamily, SocketType, ipproto};
use rustix::process::Resource;

use super::*;

/// Does something in a confined thread.
fn confined<T: Send>(allowed: &Allowed, act: impl FnOnce() -> T + Send) -> T {
    let confined = || {
        let abi = confine(allowed).unwrap();
        assert!(abi >= 4, "{abi}");
        act()
    };
    thread::scope(|scope| scope.spawn(confined).join().unwrap())
}

#[track_caller]
fn is_denied<T: std::fmt::Debug>(result: io::Result<T>, what: &str) {
    let kind = result.as_ref().map_err(io::Error::kind).err();
    assert_eq!(kind, Some(ErrorKind::PermissionDenied), "{what}: {result:?}");
}

#[track_caller]
fn is_refused<T: std::fmt::Debug + PartialEq>(result: nix::Result<T>, what: &str) {
    assert_eq!(result, Err(Errno::EPERM), "{what}");
}

#[test]
fn who_is_confined_reaches_its_own_files_and_no_other() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    for name in ["token", "other", "log", "cache/old"] {
        fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        fs::write(at(name), name).unwrap();
    }
    std::os::unix::fs::symlink(at("other"), at("cache/link")).unwrap();
    let allowed = Allowed {
        read: vec![at("token"), at("missing")],
        write: vec![at("log")],
        change: vec![at("cache"), at("no cache")],
        ..Allowed::default()
    };
    confined(&allowed, || {
        for path in ["token", "cache/old"] {
            assert_eq!(fs::read_to_string(at(path)).unwrap(), path.rsplit('/').next().map_or("", |_| path));
        }
        // As the log is opened.
        let log = OpenOptions::new().create(true).append(true).open(at("log"));
        log.unwrap().write_all(b" line").unwrap();
        fs::create_dir(at("cache/00")).unwrap();
        fs::write(at("cache/00/new"), "1").unwrap();
        fs::rename(at("cache/00/new"), at("cache/moved")).unwrap();
        fs::hard_link(at("cache/moved"), at("cache/00/linked")).unwrap();
        fs::remove_file(at("cache/moved")).unwrap();
        assert_eq!(fs::read_dir(at("cache")).unwrap().count(), 3);
        assert!(fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" / "));
        assert!(fs::read_to_string(format!("/proc/{}/status", std::process::id())).unwrap().contains("SigPnd"));
        OpenOptions::new().read(true).write(true).open("/dev/null").unwrap();
        assert!(fs::metadata(at("other")).is_ok(), "what is there can be known");

        for path in ["/etc/passwd", "/dev/zero", at("other").to_str().unwrap(), at("cache/link").to_str().unwrap()] {
            is_denied(File::open(path), path);
        }
        is_denied(fs::read(at("log")), "the log is written alone");
        is_denied(File::create(at("log")), "and not cut");
        is_denied(OpenOptions::new().write(true).open(at("token")), "what is read is not written");
        is_denied(fs::write(at("new"), ""), "nothing is made elsewhere");
        is_denied(fs::remove_file(at("other")), "nothing is removed elsewhere");
        is_denied(fs::rename(at("cache/old"), at("taken")), "nothing leaves the cache");
        is_denied(std::os::unix::fs::symlink("/etc", at("cache/etc")), "no links");
        is_denied(fs::read_dir("/").map(drop), "a listing");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        is_denied(fs::set_permissions(at("token"), open), "modes");
        let now = TimeSpec::new(1, 1);
        is_refused(utimensat(AT_FDCWD, &at("other"), &now, &now, UtimensatFlags::FollowSymlink), "times");
        File::open(at("cache/00/linked")).unwrap().set_modified(std::time::UNIX_EPOCH).expect("times of what is open");
    });
    assert_eq!(fs::read_to_string(at("log")).unwrap(), "log line");
    assert_eq!(fs::read_to_string(at("other")).unwrap(), "other");
    File::open("/etc/passwd").expect("the thread beside it is free");
}

#[test]
fn a_log_may_be_a_pipe_without_a_name() {
    let (reader, writer) = io::pipe().unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&writer)));
    confined(&Allowed { write: vec![path.clone()], ..Allowed::default() }, || {
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"line").unwrap();
    });
    drop(writer);
    assert_eq!(io::read_to_string(reader).unwrap(), "line");
}

#[test]
fn who_is_confined_connects_to_its_server_and_nowhere_else() {
    let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (server, other) = (listen(), listen());
    let port = |of: &TcpListener| of.local_addr().unwrap().port();
    let listened = crate::demo::lasting_port().unwrap();
    let allowed = Allowed { connect: Some(port(&server)), listen: Some(listened), ..Allowed::default() };
    confined(&allowed, || {
        TcpStream::connect(server.local_addr().unwrap()).unwrap();
        is_denied(TcpStream::connect(other.local_addr().unwrap()), "another port");
        is_denied(TcpListener::bind("127.0.0.1:0"), "a port of its own");
        TcpListener::bind(("127.0.0.1", listened)).expect("what a demo does");
        UdpSocket::bind("127.0.0.1:0").expect("names are asked for so");
        // One that connects while it sends.
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        let SocketAddr::V4(to) = other.local_addr().unwrap() else { panic!("an address of version 4") };
        let flags = MsgFlags::from_bits_retain(libc::MSG_FASTOPEN);
        let sent = sendto(std::os::fd::AsRawFd::as_raw_fd(&socket), b"x", &SockaddrIn::from(to), flags);
        is_refused(sent, "a fast open");
    });
    confined(&Allowed::default(), || {
        is_denied(TcpStream::connect(server.local_addr().unwrap()), "none is allowed");
        // It would take a port that nobody has named.
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        assert_eq!(rustix::net::listen(&socket, 1), Err(rustix::io::Errno::PERM), "any port");
    });
}

#[test]
fn who_is_confined_opens_no_other_kind_of_socket() {
    use AddressFamily as Family;
    confined(&Allowed::default(), || {
        is_denied(UnixDatagram::unbound(), "a local one");
        for (family, kind, protocol) in [
            (Family::UNIX, SocketType::STREAM, None),
            (Family::NETLINK, SocketType::RAW, None),
            (Family::PACKET, SocketType::RAW, None),
            (Family::INET, SocketType::RAW, Some(ipproto::ICMP)),
            (Family::INET6, SocketType::SEQPACKET, None),
            (Family::INET, SocketType::STREAM, Some(ipproto::MPTCP)),
            (Family::INET6, SocketType::STREAM, Some(ipproto::SCTP)),
        ] {
            let made = rustix::net::socket(family, kind, protocol).map(drop);
            assert_eq!(made, Err(rustix::io::Errno::PERM), "{family:?} {kind:?} {protocol:?}");
        }
        for family in [Family::INET, Family::INET6] {
            for kind in [SocketType::STREAM, SocketType::DGRAM] {
                let made = rustix::net::socket_with(family, kind, rustix::net::SocketFlags::CLOEXEC, None).map(drop);
                // A machine may have no IPv6.
                assert!(made.is_ok() || made == Err(rustix::io::Errno::AFNOSUPPORT), "{family:?} {kind:?}: {made:?}");
            }
        }
    });
}

#[test]
fn who_is_confined_runs_no_program_and_mounts_nothing() {
    let status = confined(&Allowed::default(), || {
        let ran = Command::new("/bin/true").status();
        assert_eq!(ran.as_ref().map_err(io::Error::raw_os_error).err(), Some(Some(libc::EPERM)), "{ran:?}");
        // It would take the place of the tests, and fail for them.
        is_refused(nix::unistd::execve(c"/bin/false", &[c"false"], &[c""]).map(drop), "another program here");
        let none = None::<&Path>;
        is_refused(mount(Some("none"), "/nowhere", Some("tmpfs"), MsFlags::empty(), none), "mount");
        is_refused(umount2("/nowhere", MntFlags::MNT_DETACH), "umount");
        is_refused(ptrace::traceme(), "ptrace");
        is_refused(unshare(CloneFlags::CLONE_NEWUSER), "a namespace");
        is_refused(kill(Pid::parent(), None), "a signal to another process");
        assert_eq!(kill(Pid::this(), None), Ok(()), "one to itself");
        is_refused(setpgid(Pid::from_raw(0), Pid::parent()), "the group of its keeper");
        let (limit, none) = (rustix::process::getrlimit(Resource::Nofile), rustix::process::getppid());
        let set = rustix::process::prlimit(none, Resource::Nofile, limit).map(drop);
        assert_eq!(set, Err(rustix::io::Errno::PERM), "limits of another process");
        rustix::process::setrlimit(Resource::Nofile, limit).expect("its own are");
        assert_eq!(rustix::process::setpriority_process(none, 0), Err(rustix::io::Errno::PERM), "who runs first");
        // Threads can be started, and are confined as well.
        let of_thread = thread::spawn(|| File::open("/etc/passwd")).join().unwrap();
        is_denied(of_thread, "a thread of a confined one");
        fs::read_to_string("/proc/thread-self/status").unwrap()
    });
    let has = |line: &str| status.lines().any(|found| found == line);
    assert!(has("Seccomp:\t2") && has("NoNewPrivs:\t1"), "{status}");
    // Files of others can be read and written by root, and that is all.
    for set in ["CapEff:", "CapPrm:"] {
        let held = status.lines().find_map(|line| line.strip_prefix(set)).unwrap().trim();
        assert_eq!(u64::from_str_radix(held, 16).unwrap() & !0b110, 0, "{status}");
    }
}

#[test]
fn names_of_hosts_are_found_in_confinement() {
    confined(&Allowed::default(), || {
        let found: Vec<_> = ("localhost", 80).to_socket_addrs().unwrap().collect();
        assert!(!found.is_empty() && found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
        // One that is nobody's is told so, by whichever server of names there is.
        assert!(("a.name.that.is.invalid", 80).to_socket_addrs().is_err());
    });
}

/// A kernel that has not this call.
fn without(call: libc::c_long, act: impl FnOnce() + Send) {
    let act = || {
        calls::refuse_as_unknown(call).unwrap();
        act();
    };
    thread::scope(|scope| scope.spawn(act).join().unwrap());
}

#[test]
fn a_kernel_that_cannot_confine_is_an_error() {
    without(libc::SYS_landlock_create_ruleset, || {
        let refused = confine(&Allowed::default()).unwrap_err();
        assert!(matches!(refused, SandboxError::NoLandlock(_)), "{refused:?}");
        assert!(refused.to_string().contains("or leave it out"), "{refused}");
        File::open("/etc/passwd").expect("nothing is confined");
    });
    without(libc::SYS_landlock_restrict_self, || {
        assert!(matches!(confine(&Allowed::default()), Err(SandboxError::Rules(_))));
    });
    without(libc::SYS_seccomp, || {
        assert!(matches!(confine(&Allowed::default()), Err(SandboxError::NoSeccomp(_))));
    });
}
