//! The program itself: what it prints, its exit codes, and daemons that come and go.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::cast_possible_truncation)]

mod mounts;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use dvidfs::demo::{Dataset, Demo, DemoOptions};

use mounts::{Scratch, alone, can_mount};

/// No step of these tests may take longer: the first mount waits for data to be made up.
const LIMIT: Duration = Duration::from_secs(120);

/// One server for all tests of this file.
static DEMO: LazyLock<Demo> = LazyLock::new(|| {
    Demo::start(DemoOptions { dataset: Dataset::test(), ..DemoOptions::default() }).expect("loopback has free ports")
});

fn source() -> String {
    format!("{}/{}", DEMO.origin(), DEMO.dataset().root())
}

fn dvidfs() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dvidfs"));
    command.env_remove("DVIDFS_LOG").env_remove("DVID_TOKEN_FILE").stdin(Stdio::null());
    // No test touches the caches of whoever runs it, nor those of another test.
    command.env("XDG_CACHE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("caches"));
    command
}

/// Runs to the end, or kills it at the limit.
fn run(command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = child.id();
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output().unwrap()));
    receiver.recv_timeout(LIMIT).unwrap_or_else(|_| {
        let _ = Command::new("kill").args(["-KILL", &id.to_string()]).status();
        panic!("{command:?} ends in time")
    })
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A failure is one line on standard error, with its exit code.
#[track_caller]
fn check_refusal(command: &mut Command, code: i32, words: &str) {
    let output = run(command);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
    assert!(said.contains(words), "{command:?}: {said}");
    assert!(said.starts_with("dvidfs: ") && said.lines().count() == 1, "{command:?}: {said}");
    assert!(output.stdout.is_empty());
}

fn mount_in_background(scratch: &Scratch, options: &[&str]) {
    let output = run(dvidfs().args(["--no-cache", &source()]).arg(scratch.mountpoint()).args(options));
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(scratch.mountpoint().join("README.txt").is_file(), "the mount can be read as soon as the command is back");
}

fn pid_of_daemon(scratch: &Scratch) -> i32 {
    let stats = fs::read_to_string(scratch.mountpoint().join(".dvidfs/stats.json")).unwrap();
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    i32::try_from(stats["pid"].as_i64().unwrap()).unwrap()
}

fn kill(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().unwrap().success());
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < LIMIT, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn has_ended(pid: i32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat"));
    !state.is_ok_and(|stat| !stat.contains(") Z "))
}

/// A mount in front of the terminal, once it can be read.
fn mount_in_front(scratch: &Scratch) -> Child {
    let child = dvidfs()
        .args(["-f", "-q"])
        .arg(source())
        .arg(scratch.mountpoint())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the mount can be read", || scratch.mountpoint().join("README.txt").is_file());
    child
}

#[test]
fn a_wrong_line_costs_one_line_and_exit_code_1() {
    let _alone = alone();
    let scratch = Scratch::new();
    check_refusal(&mut dvidfs(), 1, "dvidfs --help");
    check_refusal(dvidfs().arg("--nonsense"), 1, "--nonsense");
    check_refusal(dvidfs().args(["ftp://host/abc", "/tmp"]), 1, "http://");
    check_refusal(dvidfs().args(["host:1/abc", "/tmp", "--layouts", "n6"]), 1, "zarr, zarr3");
    check_refusal(dvidfs().args(["host:1/../abc", "/tmp"]), 1, "ref");
    let inside = scratch.mountpoint().join("log");
    check_refusal(
        dvidfs().arg("-f").arg(source()).arg(scratch.mountpoint()).arg("--token-file").arg(&inside),
        1,
        "below the mountpoint",
    );
    let no_json = scratch.path().join("metadata");
    fs::write(&no_json, "[]").unwrap();
    check_refusal(dvidfs().arg(source()).arg(scratch.mountpoint()).arg("--metadata").arg(&no_json), 1, "--metadata");
}

#[test]
fn help_and_version_go_to_standard_output() {
    for (option, words) in [("--help", "Examples:"), ("--version", env!("CARGO_PKG_VERSION"))] {
        let output = run(dvidfs().arg(option));
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8(output.stdout).unwrap().contains(words));
    }
}

#[test]
fn a_server_or_node_that_is_not_there_is_exit_code_32() {
    let _alone = alone();
    let scratch = Scratch::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for front in [true, false] {
        let mut command = dvidfs();
        command.arg(format!("http://{closed}/abc")).arg(scratch.mountpoint()).args(["--mount-wait", "200ms"]);
        if front {
            command.arg("-f");
        }
        check_refusal(&mut command, 32, "check the address");
        let mut command = dvidfs();
        command.arg(format!("{}/ffffffff", DEMO.origin())).arg(scratch.mountpoint());
        if front {
            command.arg("-f");
        }
        check_refusal(&mut command, 32, "check the UUID");
    }
    check_refusal(dvidfs().arg("info").arg(format!("{}/ffffffff", DEMO.origin())), 32, "check the UUID");
    assert!(!scratch.is_mounted());
}

#[test]
fn a_daemon_that_waits_for_its_server_ends_with_the_command() {
    let _alone = alone();
    let scratch = Scratch::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = dvidfs();
    command.arg(format!("http://{closed}/abc")).arg(scratch.mountpoint()).args(["--mount-wait", "100s"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let daemon = || fs::read_to_string(&children).unwrap_or_default().split_whitespace().next()?.parse::<i32>().ok();
    let name = |pid: i32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    wait_for("the daemon has its name", || daemon().is_some_and(|pid| name(pid) == "dvidfs\n"));
    let pid = daemon().unwrap();
    kill("INT", child.id());
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGINT));
    let since = Instant::now();
    wait_for("the daemon ends", || has_ended(pid));
    // Far less than it would wait.
    assert!(since.elapsed() < Duration::from_secs(20));
}

#[test]
fn what_is_not_a_dvid_is_told_in_a_short_line() {
    let _alone = alone();
    let scratch = Scratch::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let page = format!("<!DOCTYPE html><html>{}</html>", "much text ".repeat(100));
            let head = format!("HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\n\r\n", page.len());
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(format!("{head}{page}").as_bytes());
        }
    });
    let output = run(dvidfs().arg(format!("{origin}/abc")).arg(scratch.mountpoint()));
    let said = said(&output);
    assert_eq!(output.status.code(), Some(32), "{said}");
    assert!(said.contains("not a DVID server") && !said.contains("much text") && said.len() < 300, "{said}");
    let at = format!("{}/abc", origin.replace("http://", "https://"));
    check_refusal(dvidfs().arg(at).arg(scratch.mountpoint()).args(["--mount-wait", "100s"]), 32, "write http://");
}

#[test]
fn words_about_instances_that_come_to_nothing_are_told_before_the_command_is_back() {
    if !can_mount() {
        return;
    }
    let _alone = alone();
    let scratch = Scratch::new();
    let extents = ["--extents", "gray=0:8,0:8,0:8"];
    for (option, words, told) in [
        ("--extents", "grey=0:8,0:8,0:8", "\"gray\""),
        ("--box", "b=grey:0:8,0:8,0:8", "has no instance \"grey\""),
        ("--max-instances", "1", "raise --max-instances"),
    ] {
        let code = if option == "--max-instances" { 32 } else { 1 };
        check_refusal(dvidfs().arg(source()).arg(scratch.mountpoint()).args([option, words]), code, told);
    }
    let output = run(dvidfs().arg(source()).arg(scratch.mountpoint()).args(extents));
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(said(&output), "dvidfs: --extents for \"gray\" is ignored: the server knows its box\n");
}

#[test]
fn info_shows_a_node_without_a_mount() {
    let output = run(dvidfs().arg("info").arg(source()));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(
        text.contains(DEMO.dataset().root())
            && text.contains("SHAPE")
            && text.contains("OFFSET")
            && text.contains("uint8"),
        "{text}"
    );
    let output = run(dvidfs().args(["info", "--json"]).arg(source()));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["node"]["uuid"], DEMO.dataset().root());
    assert!(json["arrays"].as_array().unwrap().iter().any(|array| array["dtype"] == "uint8"));
}

#[test]
fn a_mountpoint_that_cannot_be_one_is_refused_with_exit_code_32() {
    if !can_mount() {
        return;
    }
    let _alone = alone();
    let scratch = Scratch::new();
    let full = scratch.path();
    let file = full.join("file");
    fs::write(&file, "").unwrap();
    for (dir, words) in [
        (full.join("missing"), "make the directory first"),
        (file, "is not a directory"),
        (full.clone(), "is not empty"),
        (PathBuf::from("/proc"), "mountpoint of a proc file system"),
    ] {
        for front in [true, false] {
            let mut command = dvidfs();
            command.arg(source()).arg(&dir);
            if front {
                command.arg("-f");
            }
            check_refusal(&mut command, 32, words);
        }
    }
    check_refusal(dvidfs().arg("umount").arg(scratch.mountpoint()), 32, "no mount");
    check_refusal(dvidfs().arg("umount").arg("/proc"), 32, "not one of dvidfs");
    check_refusal(dvidfs().arg("umount").arg(full.join("missing")), 32, "nothing to unmount");
}

/// A file that numpy wrote: uint8, 64^3.
const GRAY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/dvid-wire/truth/gray.npy");

#[test]
fn a_volume_that_cannot_be_served_is_refused_in_one_line() {
    let scratch = Scratch::new();
    let of = |volumes: &[&str]| {
        let mut command = dvidfs();
        command.arg("demo").arg(scratch.mountpoint());
        for volume in volumes {
            command.args(["--volume", volume]);
        }
        command
    };
    let file = |name: &str, bytes: &[u8]| {
        let path = scratch.path().join(name);
        fs::write(&path, bytes).unwrap();
        format!("mine={}", path.display())
    };
    check_refusal(&mut of(&["gray.npy"]), 1, "NAME=FILE.npy");
    check_refusal(&mut of(&["mine=/nonexistent/gray.npy"]), 1, "/nonexistent/gray.npy: No such file");
    check_refusal(&mut of(&[&file("text.npy", b"no array at all")]), 1, "no .npy file");
    let with = |old: &str, new: &str| {
        let bytes = fs::read(GRAY).unwrap();
        let header = String::from_utf8(bytes[10..128].to_vec()).unwrap();
        assert!(header.contains(old), "{header}");
        [&bytes[..10], header.replace(old, new).as_bytes(), &bytes[128..]].concat()
    };
    check_refusal(&mut of(&[&file("fortran.npy", &with("False", "True "))]), 1, "Fortran order");
    check_refusal(&mut of(&[&file("i1.npy", &with("|u1", "|i1"))]), 1, "its dtype is |i1");
    check_refusal(&mut of(&[&file("flat.npy", &with("(64, 64, 64)", "(4096,  64)"))]), 1, "its shape is (4096, 64)");
    check_refusal(&mut of(&[&file("cut.npy", &fs::read(GRAY).unwrap()[..5000])]), 1, "5000 bytes");
    let mine = format!("mine={GRAY}");
    check_refusal(&mut of(&[&mine, &mine]), 1, "two volumes have the name mine");
    check_refusal(of(&[&mine]).args(["--dataset", "test"]), 1, "--dataset");
    assert!(!scratch.is_mounted());
}

#[test]
fn an_array_of_ones_own_is_mounted() {
    if !can_mount() {
        return;
    }
    let _alone = alone();
    let scratch = Scratch::new();
    let mine = format!("my gray={GRAY}");
    let output = run(dvidfs().arg("demo").arg(scratch.mountpoint()).args(["--volume", &mine]));
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let instance = scratch.mountpoint().join("my gray");
    let attrs: serde_json::Value = serde_json::from_slice(&fs::read(instance.join("attrs.json")).unwrap()).unwrap();
    assert_eq!((&attrs["typename"], &attrs["shape"]), (&"uint8blk".into(), &serde_json::json!([64, 64, 64])));
    let chunk = fs::read(instance.join("volume.zarr/s0/0/0/0")).unwrap();
    assert!(chunk == fs::read(GRAY).unwrap()[128..], "the file's own bytes");
    assert_eq!(run(dvidfs().arg("umount").arg(scratch.mountpoint())).status.code(), Some(0));
}

#[test]
fn a_daemon_serves_until_it_is_unmounted() {
    if !can_mount() {
        return;
    }
    let _alone = alone();
    let scratch = Scratch::new();
    let log = scratch.path().join("log");
    mount_in_background(&scratch, &["--log-file", log.to_str().unwrap()]);
    let pid = pid_of_daemon(&scratch);
    check_refusal(dvidfs().arg(source()).arg(scratch.mountpoint()), 32, "already has a dvidfs mount");
    let open = fs::File::open(scratch.mountpoint().join("README.txt")).unwrap();
    check_refusal(dvidfs().arg("umount").arg(scratch.mountpoint()), 32, "--lazy");
    assert!(scratch.is_mounted());
    drop(open);
    let output = run(dvidfs().arg("umount").arg(scratch.mountpoint()));
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), ""));
    assert!(!scratch.is_mounted());
    wait_for("the daemon ends with its mount", || has_ended(pid));
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("mounted") && log.contains("unmounted"), "{log}");
}

#[test]
fn a_mount_shows_the_layouts_that_were_asked_for() {
    if !can_mount() {
        return;
    }
    let _alone = alone();
    let scratch = Scratch::new();
    mount_in_background(&scratch, &["--layouts", "zarr,webknossos", "--chunks", "128"]);
    let read = |path: &str| -> serde_json::Value {
        serde_json::from_slice(&fs::read(scratch.mountpoint().join(path)).unwrap()).unwrap()
    };
    let layouts = serde_json::json!(["volume.zarr", "volume-c128.zarr", "datasource-properties.json"]);
    assert_eq!(read(".dvidfs/config.json")["layouts"], layouts);
    let instances = fs::read_dir(scratch.mountpoint()).unwrap().map(|entry| entry.unwrap().file_name());
    let with_voxels = instances
        .map(|name| name.into_string().unwrap())
        .find(|name| scratch.mountpoint().join(name).join("volume.zarr").is_dir());
    let name = with_voxels.unwrap();
    assert_eq!(read(&format!("{name}/attrs.json"))["layouts"], layouts);
    assert!(!scratch.mountpoint().join(name).join("volume-v3.zarr").exists());
    let output = run(dvidfs().arg("umount").arg(scratch.mountpoint()));
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[test]
fn a_crash_stays_visible_until_it_is_cleared() {
    if !can_mount() {
        return;
    }
    let _alone = alone();
    let scratch = Scratch::new();
    let file = scratch.mountpoint().join("node.json");
    for replace in [false, true] {
        mount_in_background(&scratch, &[]);
        let pid = pid_of_daemon(&scratch);
        kill("KILL", pid.unsigned_abs());
        wait_for("the daemon is gone", || has_ended(pid));
        wait_for("the connection is closed", || {
            let errno = fs::read(&file).unwrap_err().raw_os_error();
            assert!(matches!(errno, Some(libc::ENOTCONN | libc::ECONNABORTED)), "a crash is not absence: {errno:?}");
            errno == Some(libc::ENOTCONN)
        });
        check_refusal(dvidfs().arg(source()).arg(scratch.mountpoint()), 32, "--replace");
        if replace {
            mount_in_background(&scratch, &["--replace"]);
        }
        let output = run(dvidfs().arg("umount").arg(scratch.mountpoint()));
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert!(!scratch.is_mounted());
    }
}

#[test]
fn signals_unmount_in_order() {
    if !can_mount() {
        return;
    }
    let _alone = alone();
    for signal in ["TERM", "INT", "HUP"] {
        let scratch = Scratch::new();
        let mut child = mount_in_front(&scratch);
        kill("USR1", child.id());
        let before = Instant::now();
        kill(signal, child.id());
        let status = child.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (Some(0), None), "{signal}");
        assert!(before.elapsed() < Duration::from_secs(2), "{signal}: {:?}", before.elapsed());
        assert!(!scratch.is_mounted(), "{signal}");
    }
}

#[test]
fn a_daemon_ends_on_sigterm_and_not_with_its_terminal() {
    if !can_mount() {
        return;
    }
    let _alone = alone();
    let scratch = Scratch::new();
    mount_in_background(&scratch, &[]);
    let pid = pid_of_daemon(&scratch);
    kill("HUP", pid.unsigned_abs());
    thread::sleep(Duration::from_millis(200));
    assert!(!has_ended(pid));
    kill("TERM", pid.unsigned_abs());
    wait_for("the daemon ends", || has_ended(pid));
    assert!(!scratch.is_mounted());
}

/// What stays in a cache is told, and is a failure: nobody is to believe that it is gone.
#[test]
fn a_cache_that_cannot_be_cleared_or_mended_is_not_said_to_be() {
    use std::os::unix::fs::DirBuilderExt;
    let place = tempfile::tempdir().unwrap();
    let entries = place.path().join("dvidfs-v1");
    let make = |path: &Path| std::fs::DirBuilder::new().mode(0o700).recursive(true).create(path).unwrap();
    let name = |shard: &str, digit: &str| entries.join(shard).join(digit.repeat(62));
    // One that can be removed; a directory with something in it where an entry should be; a file where a shard should be.
    make(&entries.join("ab"));
    std::fs::write(name("ab", "1"), "no entry").unwrap();
    make(&name("ab", "2").join("inside"));
    std::fs::write(entries.join("cd"), "no shard").unwrap();
    make(&entries.join("ef"));
    std::fs::write(name("ef", "3"), "no entry").unwrap();
    let cache = |what: &str| {
        let output = run(dvidfs().args(["cache", what, "--cache-dir", place.path().to_str().unwrap()]));
        (output.status.code(), String::from_utf8(output.stdout.clone()).unwrap(), said(&output))
    };
    let (code, out, said) = cache("ls");
    assert!(
        code == Some(1) && out.contains("3 entries are damaged") && said.contains("/cd: "),
        "{code:?} {out} {said}"
    );
    let (code, _, said) = cache("verify");
    let stays = |said: &str| {
        assert!(said.contains("/cd: ") && said.contains(&"2".repeat(62)), "{said}");
        assert!(!said.contains(&"1".repeat(62)) && !said.contains(&"3".repeat(62)), "{said}");
        assert!(said.contains("2 entries or directories of entries"), "{said}");
    };
    stays(&said);
    assert!(code == Some(1) && said.contains("2 damaged entries") && said.contains("were removed"), "{code:?} {said}");
    assert!(!name("ab", "1").exists() && !name("ef", "3").exists() && name("ab", "2").exists());
    std::fs::write(name("ef", "3"), "no entry").unwrap();
    let (code, out, said) = cache("clear");
    stays(&said);
    assert!(code == Some(1) && out.starts_with("1 entries, ") && said.contains("could not be removed"), "{out} {said}");
    assert!(!name("ef", "3").exists() && name("ab", "2").exists());
    // Once nothing is in the way, it is done, and said to be.
    std::fs::remove_dir(name("ab", "2").join("inside")).unwrap();
    std::fs::remove_file(entries.join("cd")).unwrap();
    let (code, out, said) = cache("clear");
    assert!(code == Some(0) && out.starts_with("1 entries, ") && said.is_empty(), "{code:?} {out} {said}");
    assert!(!name("ab", "2").exists());
}
