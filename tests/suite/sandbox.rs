//! `--sandbox`: the process that talks to the server is confined, and the mount is made, served and ended as any other.
//! What a confined thread can do, call by call, is held by the tests of the room `sandbox`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use dvidfs::demo::{Dataset, Demo, DemoOptions, Fault, FaultKind, VERSIONS};
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use crate::daemon::pending;
use crate::support::caches::{self, Caches, wait_until_written, wanted};
use crate::support::{
    Mounted, Scratch, can_mount, chunk_files, compare, figure, promised, refused, skipped, time_limit,
};

const OPTIONS: [&str; 4] = ["--settle", "0", "--no-prefetch", "--sandbox"];

fn dataset() -> Dataset {
    Dataset::test().only(&["gray", "u16"])
}

fn demo() -> Demo {
    Demo::start(DemoOptions { dataset: dataset(), ..DemoOptions::default() }).unwrap()
}

fn source(demo: &Demo) -> String {
    format!("{}/{}", demo.origin(), VERSIONS[0].uuid)
}

fn files(mounted: &Mounted) -> Vec<(PathBuf, Vec<u8>)> {
    chunk_files(&mounted.root(), &dataset(), 0, "gray")
}

fn dvidfs(words: &[&str], dir: &Path) -> Option<i32> {
    Command::new(env!("CARGO_BIN_EXE_dvidfs")).args(words).arg(dir).status().unwrap().code()
}

fn pid_of(id: i32) -> Pid {
    Pid::from_raw(id)
}

fn is_there(pid: i32) -> bool {
    // A zombie has ended.
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| !status.contains("State:\tZ"))
}

#[track_caller]
fn wait_until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + promised(limit);
    while !holds() {
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Every thread of a process has these lines in its status.
#[track_caller]
fn is_confined(pid: i32, confined: bool) {
    let tasks: Vec<_> = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten().collect();
    assert!(!tasks.is_empty());
    for task in tasks {
        // One that has just ended.
        let Ok(status) = fs::read_to_string(task.path().join("status")) else { continue };
        let has = |line: &str| status.lines().any(|found| found == line);
        let as_wanted = if confined { has("Seccomp:\t2") && has("NoNewPrivs:\t1") } else { !has("Seccomp:\t2") };
        assert!(as_wanted, "{pid}: {status}");
    }
}

fn parent_of(pid: i32) -> i32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap()
}

#[test]
fn a_sandboxed_mount_reads_right_and_every_thread_of_it_is_confined() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let demo = demo();
    let mounted = Mounted::new(&source(&demo), &OPTIONS);
    let n_bytes = compare(&files(&mounted));
    assert!(n_bytes > 0);
    let worker = mounted.serving_pid().unwrap();
    let keeper = parent_of(worker);
    assert_ne!(worker, keeper);
    is_confined(worker, true);
    is_confined(keeper, false);
    mounted.wait_for_code("sandboxed");
    let config: serde_json::Value =
        serde_json::from_slice(&fs::read(mounted.root().join(".dvidfs/config.json")).unwrap()).unwrap();
    assert_eq!(config["sandbox"], true);
    assert_eq!(mounted.counter("panics"), 0);
    figure("R50", format!("0 wrong of {n_bytes} bytes, every thread confined"), "all of it inside one");
}

#[test]
fn a_disk_cache_is_written_and_read_in_the_sandbox() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let demo = caches::demo_of(&["gray", "u16"]);
    let caches = Caches::new();
    let source = format!("{}/a40d", demo.origin());
    let directory = ["--cache-dir", caches.directory().to_str().unwrap()];
    let of = |mounted: &Mounted| caches::compare(&wanted(mounted, &demo, &["gray", "u16"]));
    let mounted = Mounted::new(&source, &[&OPTIONS[..], &directory].concat());
    assert!(of(&mounted) > 0);
    wait_until_written(&mounted);
    assert!(mounted.counter("disk_written_blocks") > 0 && mounted.counter("disk_errors") == 0);
    drop(mounted);
    for more in [&["--settle", "0"][..], &["--offline"]] {
        let n_asked = demo.count("subvolblocks") + demo.count("/raw/") + demo.count("/blocks/");
        let mounted = Mounted::new(&source, &[more, &["--no-prefetch", "--sandbox"], &directory].concat());
        assert!(of(&mounted) > 0);
        assert!(mounted.counter("disk_hit_blocks") > 0 && mounted.counter("disk_errors") == 0, "{more:?}");
        assert_eq!(mounted.counter("failed_reads"), 0, "{more:?}");
        assert_eq!(demo.count("subvolblocks") + demo.count("/raw/") + demo.count("/blocks/"), n_asked, "{more:?}");
    }
}

#[test]
fn a_sandboxed_mount_ends_in_order_whoever_ends_it() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(240));
    let demo = demo();
    let supervised: &[&[&str]] = if geteuid().is_root() { &[&[], &["--supervise"]] } else { &[&[]] };
    for more in supervised {
        for end in ["keeper", "worker", "dvidfs umount", "dvidfs umount -z", "umount -l"] {
            let mut mounted = Mounted::new(&source(&demo), &[&OPTIONS[..], more].concat());
            assert!(compare(&files(&mounted)[..1]) > 0);
            let worker = mounted.serving_pid().unwrap();
            let keeper = parent_of(worker);
            match end {
                "keeper" => kill(pid_of(keeper), Signal::SIGTERM).unwrap(),
                "worker" => kill(pid_of(worker), Signal::SIGTERM).unwrap(),
                "dvidfs umount" => assert_eq!(dvidfs(&["umount"], &mounted.root()), Some(0)),
                "dvidfs umount -z" => assert_eq!(dvidfs(&["umount", "-z"], &mounted.root()), Some(0)),
                _ if geteuid().is_root() => {
                    assert!(Command::new("umount").arg("-l").arg(mounted.root()).status().unwrap().success());
                }
                _ => assert!(Command::new("fusermount3").arg("-u").arg(mounted.root()).status().unwrap().success()),
            }
            assert_eq!(mounted.wait_for_end(), Some(0), "{end} {more:?}: {}", mounted.log());
            assert!(!mounted.is_mounted() && !is_there(worker) && !is_there(keeper), "{end} {more:?}");
            assert_eq!(fs::read_dir(mounted.root()).unwrap().count(), 0, "{end} {more:?}: nothing is left below");
            assert!(mounted.log().contains("code=\"unmounted\""), "{end}: {}", mounted.log());
        }
    }
    // In the background.
    for by_signal in [true, false] {
        let scratch = Scratch::new();
        let words = ["mount", "--no-cache", "--mount-wait", "60s", "--sandbox", &source(&demo)];
        assert_eq!(dvidfs(&words, &scratch.mountpoint()), Some(0));
        let stats = fs::read(scratch.mountpoint().join(".dvidfs/stats.json")).unwrap();
        let stats: serde_json::Value = serde_json::from_slice(&stats).unwrap();
        let worker = i32::try_from(stats["pid"].as_i64().unwrap()).unwrap();
        let keeper = parent_of(worker);
        is_confined(worker, true);
        if by_signal {
            kill(pid_of(keeper), Signal::SIGTERM).unwrap();
        } else {
            assert_eq!(dvidfs(&["umount"], &scratch.mountpoint()), Some(0));
        }
        let is_gone = || !is_there(worker) && !is_there(keeper) && !scratch.is_mounted();
        wait_until("both have ended", Duration::from_secs(10), is_gone);
    }
}

#[test]
fn a_sandboxed_mount_ends_in_order_under_a_hundred_pending_reads() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let demo = demo();
    let mut mounted = Mounted::new(&source(&demo), &OPTIONS);
    let files = files(&mounted);
    demo.set_faults(vec![Fault::always("blocks", FaultKind::HangBeforeHeaders { ms: 3_600_000 })]);
    let readers = pending(&files, 100, &mounted);
    let since = Instant::now();
    kill(pid_of(parent_of(mounted.serving_pid().unwrap())), Signal::SIGTERM).unwrap();
    assert_eq!(mounted.wait_for_end(), Some(0));
    let took = since.elapsed();
    assert!(took < promised(Duration::from_secs(5)), "{took:?}");
    let outcomes: BTreeSet<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    assert_eq!(outcomes, BTreeSet::from([Some(libc::EIO)]), "every reader is told");
    assert!(!mounted.is_mounted());
    figure("R50", format!("ended under 100 pending reads within {took:.1?}, each reader EIO"), "R15: 5 s");
}

#[test]
fn a_sandboxed_daemon_that_is_killed_stays_an_error_until_it_is_cleared() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let demo = demo();
    let mut mounted = Mounted::new(&source(&demo), &OPTIONS);
    let path = files(&mounted).swap_remove(0).0;
    kill(pid_of(mounted.serving_pid().unwrap()), Signal::SIGKILL).unwrap();
    assert_eq!(mounted.wait_for_end(), Some(32), "{}", mounted.log());
    assert_eq!(fs::read(&path).unwrap_err().raw_os_error(), Some(libc::ENOTCONN));
    assert_eq!(fs::read_dir(mounted.root()).unwrap_err().raw_os_error(), Some(libc::ENOTCONN));
    let log = mounted.log();
    assert!(log.contains("code=\"worker_died\"") && log.contains("clear it with `dvidfs umount"), "{log}");
    assert_eq!(dvidfs(&["umount"], &mounted.root()), Some(0));
    assert_eq!(fs::read_dir(mounted.root()).unwrap().count(), 0);
    // Aborted by force, it ends as any other daemon.
    if !geteuid().is_root() {
        return skipped("fault H9: needs root");
    }
    let mut mounted = Mounted::new(&source(&demo), &OPTIONS);
    let device = std::os::unix::fs::MetadataExt::dev(&fs::metadata(mounted.root()).unwrap());
    fs::write(crate::support::connections().join(format!("{}/abort", libc::minor(device))), "1").unwrap();
    assert_eq!(mounted.wait_for_end(), Some(0), "{}", mounted.log());
    assert_eq!(fs::read_dir(mounted.root()).unwrap_err().raw_os_error(), Some(libc::ENOTCONN), "never an empty one");
    assert!(mounted.log().contains("code=\"aborted\""), "{}", mounted.log());
}

/// As one that a server has taken over might.
#[test]
fn a_sandboxed_daemon_that_does_not_end_is_killed_and_its_mount_taken_away() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let demo = demo();
    let mut mounted = Mounted::new(&source(&demo), &OPTIONS);
    let worker = mounted.serving_pid().unwrap();
    kill(pid_of(worker), Signal::SIGSTOP).unwrap();
    mounted.signal(Signal::SIGTERM);
    wait_until("the end of both", Duration::from_secs(40), || !mounted.is_alive());
    assert_eq!(mounted.wait_for_end(), Some(0), "{}", mounted.log());
    assert!(!mounted.is_mounted() && !is_there(worker));
}

#[test]
fn a_sandboxed_mount_is_made_again_and_confined_again() {
    if !can_mount() {
        return;
    }
    if !geteuid().is_root() {
        return skipped("fault I5: only root can supervise a mount");
    }
    let _limit = time_limit(Duration::from_secs(120));
    let demo = demo();
    let mut mounted = Mounted::new(&source(&demo), &[&OPTIONS[..], &["--supervise"]].concat());
    let all = files(&mounted);
    let mut slowest = Duration::ZERO;
    for _ in 0..3 {
        let before = mounted.serving_pid().unwrap();
        is_confined(before, true);
        let since = Instant::now();
        kill(pid_of(before), Signal::SIGKILL).unwrap();
        let mut seen = BTreeSet::new();
        wait_until("mounted again", Duration::from_secs(2), || {
            match fs::read(&all[0].0) {
                Ok(bytes) => assert!(bytes == all[0].1, "wrong bytes"),
                Err(error) => drop(seen.insert(error.raw_os_error())),
            }
            mounted.serving_pid().is_some_and(|pid| pid != before)
        });
        slowest = slowest.max(since.elapsed());
        assert!(seen.is_subset(&BTreeSet::from([Some(libc::ENOTCONN), Some(libc::ECONNABORTED)])), "{seen:?}");
        is_confined(mounted.serving_pid().unwrap(), true);
        assert!(compare(&all) > 0);
    }
    mounted.wait_for_code("remounted");
    figure("R50", format!("3 crashes, mounted and confined again within {slowest:.1?}"), "R14: 2 s");
    // No dead one is left below.
    assert_eq!(dvidfs(&["umount"], &mounted.root()), Some(0));
    assert_eq!(mounted.wait_for_end(), Some(0), "{}", mounted.log());
    assert!(!mounted.is_mounted() && fs::read_dir(mounted.root()).unwrap().count() == 0);
}

#[test]
fn a_sandboxed_daemon_goes_on_without_its_keeper_and_says_what_it_cannot() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let demo = demo();
    for by_signal in [false, true] {
        let mounted = Mounted::new(&source(&demo), &OPTIONS);
        let all = files(&mounted);
        let worker = mounted.serving_pid().unwrap();
        kill(pid_of(parent_of(worker)), Signal::SIGKILL).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        assert!(compare(&all) > 0, "it serves on");
        if by_signal {
            kill(pid_of(worker), Signal::SIGTERM).unwrap();
            wait_until("the worker has ended", Duration::from_secs(10), || !is_there(worker));
            // Its last thread closes the connection.
            let is_dead =
                || fs::read_dir(mounted.root()).is_err_and(|error| error.raw_os_error() == Some(libc::ENOTCONN));
            wait_until("the mount is dead", Duration::from_secs(5), is_dead);
            let log = mounted.log();
            assert!(log.contains("the process that mounts for this one is gone"), "{log}");
            assert!(log.contains(&format!("clear it with `dvidfs umount {}`", mounted.root().display())), "{log}");
        }
        assert_eq!(dvidfs(&["umount"], &mounted.root()), Some(0));
        wait_until("the worker has ended", Duration::from_secs(10), || !is_there(worker));
        assert!(!mounted.is_mounted());
    }
}

/// As long as it is not mounted, nobody wants a worker whose keeper is gone.
#[test]
fn a_worker_ends_with_its_keeper_before_it_is_mounted() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let (demo, scratch) = (demo(), Scratch::new());
    demo.set_faults(vec![Fault::always("/api", FaultKind::HangBeforeHeaders { ms: 3_600_000 })]);
    let mut keeper = Command::new(env!("CARGO_BIN_EXE_dvidfs"))
        .args(["mount", "-f", "--no-cache", "--sandbox", "--mount-wait", "1h", &source(&demo)])
        .arg(scratch.mountpoint())
        .spawn()
        .unwrap();
    let id = i32::try_from(keeper.id()).unwrap();
    let processes =
        || fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let has_parent = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| status.contains(&format!("PPid:\t{id}\n")))
    };
    wait_until("the server is asked", Duration::from_secs(20), || demo.count("/api") > 0);
    let worker: Option<i32> = processes().find(has_parent);
    keeper.kill().unwrap();
    keeper.wait().unwrap();
    let worker = worker.expect("a worker");
    wait_until("the worker has ended", Duration::from_secs(10), || !is_there(worker));
    assert!(!scratch.is_mounted());
}

/// With a device that they may open, in mounts of their own.
#[test]
fn an_ordinary_user_mounts_in_a_sandbox() {
    if !can_mount() {
        return;
    }
    let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !geteuid().is_root() || !["setpriv", "unshare", "fusermount3"].into_iter().all(has) {
        return skipped("fault H18: other users need root and setpriv");
    }
    let _limit = time_limit(Duration::from_secs(120));
    let (demo, place) = (demo(), tempfile::tempdir().unwrap());
    let expected = files(&Mounted::new(&source(&demo), &OPTIONS));
    let expected = expected.into_iter().find(|(path, _)| path.ends_with("s0/0/0/0")).expect("the first chunk").1;
    let at = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_dvidfs"), at("dvidfs")).unwrap();
    let theirs = "set -e
        mkdir mnt
        ./dvidfs mount --sandbox --no-cache --settle 0 --mount-wait 60s --log-file log \"$1\" mnt
        cat mnt/gray/volume.zarr/s0/0/0/0 >chunk
        pid=$(grep -o '\"pid\": *[0-9]*' mnt/.dvidfs/stats.json | grep -o '[0-9]*')
        grep -hE '^(Seccomp|NoNewPrivs|Uid):' /proc/$pid/task/*/status | sort -u >status
        grep ' fuse.dvidfs ' /proc/self/mounts >mounts
        case $2 in
            umount) ./dvidfs umount mnt ;;
            *) kill $pid ;;
        esac
        for n in $(seq 200); do [ -e /proc/$pid ] || exit 0; sleep 0.05; done
        exit 9";
    let ours = "set -e
        cd \"$1\"
        mknod -m 666 fuse c 10 229
        mount --make-rprivate /
        mount --bind fuse /dev/fuse
        exec setpriv --reuid=65534 --regid=65534 --clear-groups -- sh -c \"$4\" sh \"$2\" \"$3\"";
    for end in ["umount", "kill"] {
        for left in ["fuse", "mnt", "log", "chunk", "status", "mounts"] {
            let _ = fs::remove_file(at(left)).or_else(|_| fs::remove_dir(at(left)));
        }
        let output = Command::new("unshare")
            .args(["-m", "sh", "-c", ours, "sh", place.path().to_str().unwrap(), &source(&demo), end, theirs])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let log = fs::read_to_string(at("log")).unwrap_or_default();
        assert!(output.status.success(), "{end}: {} {said}\n{log}", output.status);
        assert!(fs::read(at("chunk")).unwrap() == expected, "{end}: wrong bytes");
        let status = fs::read_to_string(at("status")).unwrap();
        let uid = "Uid:\t65534\t65534\t65534\t65534";
        assert_eq!(status.lines().collect::<BTreeSet<_>>(), BTreeSet::from(["NoNewPrivs:\t1", "Seccomp:\t2", uid]));
        assert!(fs::read_to_string(at("mounts")).unwrap().contains("user_id=65534"));
        assert!(log.contains("code=\"unmounted\"") && log.contains("code=\"sandboxed\""), "{end}: {log}");
    }
}

/// A program that is started by a thread for which the kernel has no Landlock.
#[test]
fn a_kernel_without_landlock_refuses_the_sandbox() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let demo = demo();
    let source = source(&demo);
    let attempt = |call: libc::c_long| {
        let without = || {
            let unknown = seccompiler::SeccompAction::Errno(u32::try_from(libc::ENOSYS).unwrap());
            let rules = [(call, Vec::new())].into();
            let machine = std::env::consts::ARCH.try_into().unwrap();
            let filter =
                seccompiler::SeccompFilter::new(rules, seccompiler::SeccompAction::Allow, unknown, machine).unwrap();
            let program: seccompiler::BpfProgram = filter.try_into().unwrap();
            seccompiler::apply_filter(&program).unwrap();
            refused(Command::new(env!("CARGO_BIN_EXE_dvidfs")), &source, &["--sandbox"])
        };
        std::thread::scope(|scope| scope.spawn(without).join().unwrap())
    };
    for (call, words) in [
        (libc::SYS_landlock_create_ruleset, "use Linux 6.7 or newer"),
        (libc::SYS_seccomp, "system calls cannot be filtered here"),
    ] {
        let refusal = attempt(call);
        assert_eq!(refusal.code, Some(2), "{refusal:?}");
        let line = refusal.line();
        assert!(
            line.contains("--sandbox is refused") && line.contains(words) && line.contains("leave it out"),
            "{line}"
        );
    }
    assert_eq!(demo.count("/api"), 0, "nothing is asked for");
}

#[test]
fn a_token_that_is_renewed_in_place_is_read_in_the_sandbox_and_another_file_is_not() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let place = tempfile::tempdir().unwrap();
    let write = |name: &str, token: &str| {
        fs::write(place.path().join(name), token).unwrap();
        fs::set_permissions(place.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
        place.path().join(name)
    };
    let file = write("token", "first");
    let options = DemoOptions { dataset: dataset(), token: Some("first".to_owned()), ..DemoOptions::default() };
    let demo = Demo::start(options).unwrap();
    let options = [&OPTIONS[..], &["--token-file", file.to_str().unwrap()]].concat();
    let mounted = Mounted::new(&source(&demo), &options);
    let all = files(&mounted);
    assert!(compare(&all[..1]) > 0);
    demo.set_token(Some("second"));
    write("token", "second");
    let is_read = |n: usize| fs::read(&all[n].0).ok().as_ref() == Some(&all[n].1);
    wait_until("the new token is taken", Duration::from_secs(5), || is_read(1));
    demo.set_token(Some("third"));
    fs::rename(write("token.new", "third"), &file).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(fs::read(&all[2].0).unwrap_err().raw_os_error(), Some(libc::EACCES), "an error, and no other file");
    mounted.wait_for_code("token_file");
    let log = mounted.log();
    assert!(log.contains("cannot be read") && log.contains("Permission denied"), "{log}");
}

/// Reads from the memory of the daemon, past that of the kernel: nothing of it is slower.
#[test]
fn reads_in_the_sandbox_give_the_same_bytes() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let demo = demo();
    let mounts = [&OPTIONS[..3], &OPTIONS[..]].map(|options| Mounted::new(&source(&demo), options));
    let opened = mounts.each_ref().map(|mounted| {
        let path = files(mounted).swap_remove(0).0;
        let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).unwrap();
        file.read_at(&mut vec![0; 1 << 20], 0).unwrap();
        file
    });
    let mut took = [Vec::new(), Vec::new()];
    let mut buffers = [vec![0; 64 << 10], vec![0; 64 << 10]];
    for n in 0..4000 {
        // Whoever comes second meets another machine.
        for at in [n % 2, 1 - n % 2] {
            let since = Instant::now();
            opened[at].read_at(&mut buffers[at], n as u64 % 8 * (16 << 10)).unwrap();
            took[at].push(since.elapsed());
        }
        assert!(buffers[0] == buffers[1], "{n}");
    }
    // The quicker ones, since other programs run beside this one.
    let [without, within] = took.map(|mut took| {
        took.sort_unstable();
        took[took.len() / 10]
    });
    figure("R50", format!("a warm read of 64 KiB takes {within:.1?} in it and {without:.1?} outside"), "no difference");
}
