//! Tokens: what happens when one expires, is refused or echoed, and that none is ever seen: G1-G6.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use dvidfs::demo::{Dataset, Demo, DemoOptions, Fault, FaultKind, VERSIONS};
use nix::libc;

use crate::support::{Mounted, Scratch, Survival, can_mount, chunk_files, figure, is_sandboxed, survival, time_limit};

const OPTIONS: [&str; 3] = ["--settle", "0", "--no-prefetch"];
/// Nothing else in the world says this.
const CANARY: &str = "Canary-7f3A9c1e5B2d8046";

fn dataset() -> Dataset {
    Dataset::test().only(&["gray", "u16"])
}

fn demo(token: &str) -> Demo {
    Demo::start(DemoOptions { dataset: dataset(), token: Some(token.to_owned()), ..DemoOptions::default() }).unwrap()
}

fn source(demo: &Demo) -> String {
    format!("{}/{}", demo.origin(), VERSIONS[0].uuid)
}

fn token_file(place: &Path, token: &str) -> PathBuf {
    let path = place.join("token");
    if is_sandboxed() {
        // Where another file could not be read.
        fs::write(&path, token).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        return path;
    }
    // As an administrator does it: a new file takes the place of the old one.
    let new = place.join("token.new");
    fs::write(&new, token).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, &path).unwrap();
    path
}

fn files(mounted: &Mounted, name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    chunk_files(&mounted.root(), &dataset(), 0, name)
}

fn errno(path: &Path) -> Option<i32> {
    fs::read(path).err().and_then(|error| error.raw_os_error())
}

/// `dvidfs mount` in front, which is to be refused.
fn refused(id: &str, source: &str, words: &[&str], code: i32, part: &str) {
    let scratch = Scratch::new();
    let Output { status, stderr, .. } = Command::new(env!("CARGO_BIN_EXE_dvidfs"))
        .env_remove("DVID_TOKEN_FILE")
        .args(["mount", "-f", "--mount-wait", "1s", source])
        .arg(scratch.mountpoint())
        .args(words)
        .output()
        .unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert!(status.code() == Some(code) && said.contains(part), "{id} {words:?}: {status} {said}");
    assert!(said.lines().count() == 1 && !said.contains(CANARY) && !scratch.is_mounted(), "{id} {words:?}: {said}");
}

#[test]
fn a_token_that_expires_is_an_error_until_its_file_has_a_new_one() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let place = tempfile::tempdir().unwrap();
    let file = token_file(place.path(), "first\n");
    let demo = demo("first");
    let mut mounted = Mounted::new(&source(&demo), &[&OPTIONS[..], &["--token-file", file.to_str().unwrap()]].concat());
    let all = files(&mounted, "gray");
    let ((seen, seen_expected), (new, expected)) = (&all[0], &all[1]);
    assert!(fs::read(seen).unwrap() == *seen_expected);
    let survival = Survival::begin("G1", &mounted);
    demo.set_token(Some("second"));
    assert_eq!(errno(new), Some(libc::EACCES), "G1");
    assert!(new.exists() && fs::read(seen).unwrap() == *seen_expected, "G1: what was read stays");
    // A file that is unfit is not taken either, and said so.
    token_file(place.path(), "second");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(errno(new), Some(libc::EACCES), "G1: a file that others can read");
    mounted.wait_for_code("token_file");
    token_file(place.path(), "second");
    let end = Instant::now() + Duration::from_secs(5);
    while fs::read(new).ok().as_ref() != Some(expected) {
        assert!(Instant::now() < end, "G1: not right 5 s after the new token");
        std::thread::sleep(Duration::from_millis(50));
    }
    mounted.wait_for_code("auth_ok");
    survival.end(&mut mounted, 1, &["auth_failed"], (seen_expected.len() + expected.len()) as u64);
}

#[test]
fn a_token_that_is_not_private_or_not_taken_is_refused_at_the_mount() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let make = |name: &str, bytes: &[u8], mode: u32| {
        fs::write(at(name), bytes).unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    make("good", CANARY.as_bytes(), 0o600);
    make("readable", CANARY.as_bytes(), 0o644);
    make("of-the-group", CANARY.as_bytes(), 0o640);
    make("empty", b"", 0o600);
    symlink(at("good"), at("link")).unwrap();
    nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    fs::File::create(at("large")).unwrap().set_len(1 << 30).unwrap();
    fs::set_permissions(at("large"), fs::Permissions::from_mode(0o600)).unwrap();
    let demo = demo(CANARY);
    let mut all = vec![
        ("readable", "chmod 600 it"),
        ("of-the-group", "chmod 600 it"),
        ("empty", "holds no token"),
        ("link", "cannot be read"),
        ("pipe", "is not a regular file"),
        ("large", "is too long for a token"),
        ("missing", "cannot be read"),
    ];
    if nix::unistd::geteuid().is_root() {
        make("strange", CANARY.as_bytes(), 0o600);
        nix::unistd::chown(&at("strange"), Some(65534.into()), None).unwrap();
        all.push(("strange", "belongs to another user"));
    }
    for (name, part) in all {
        refused("G2", &source(&demo), &["--token-file", at(name).to_str().unwrap()], 1, part);
    }
    assert!(demo.requests().is_empty(), "G2: nothing was sent");
    // A newline at the end is how editors leave it, and the environment names the file as well.
    make("newline", format!("{CANARY}\n").as_bytes(), 0o400);
    let starter = ["env", &format!("DVID_TOKEN_FILE={}", at("newline").display())].map(str::to_owned);
    let mut mounted = Mounted::by(&[&starter[0], &starter[1]], &source(&demo), &OPTIONS);
    let (path, expected) = files(&mounted, "gray").swap_remove(0);
    assert!(fs::read(path).unwrap() == expected, "G2");
    assert_eq!(mounted.terminate(), Some(0));
    survival::report("G2", expected.len() as u64);

    make("wrong", b"another", 0o600);
    refused("G3", &source(&demo), &["--token-file", at("wrong").to_str().unwrap()], 1, "access denied");
    refused("G3", &source(&demo), &[], 1, "ask who runs the server for a token");
    survival::report("G3", 0);

    let elsewhere = "http://192.0.2.1:8000/abc";
    let good = at("good");
    let good = good.to_str().unwrap();
    refused("G6", elsewhere, &["--token-file", good], 1, "--insecure-token");
    // With it the token would go there: it is the server that cannot be reached then.
    refused("G6", elsewhere, &["--token-file", good, "--insecure-token", "--time-scale", "0.1"], 32, "");
    survival::report("G6", 0);
}

#[test]
fn one_forbidden_instance_keeps_no_other_from_being_read() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let place = tempfile::tempdir().unwrap();
    let file = token_file(place.path(), CANARY);
    let demo = demo(CANARY);
    let mut mounted = Mounted::new(&source(&demo), &[&OPTIONS[..], &["--token-file", file.to_str().unwrap()]].concat());
    let (gray, u16_files) = (files(&mounted, "gray"), files(&mounted, "u16"));
    let mut compared = 0;
    for status in [403, 401] {
        let survival = Survival::begin("G4", &mounted);
        demo.set_faults(vec![Fault::always("/u16/", FaultKind::Status { status, retry_after: None })]);
        let n = usize::from(status == 401);
        assert_eq!(errno(&u16_files[n].0), Some(libc::EACCES), "G4: {status}");
        assert!(u16_files[n].0.exists(), "G4: its names stay");
        assert!(fs::read(&gray[n].0).unwrap() == gray[n].1, "G4: {status}");
        compared += gray[n].1.len() as u64;
        let happened = demo.fault_hits(0);
        demo.set_faults(Vec::new());
        survival.check(&mut mounted, happened, &["auth_failed"]);
    }
    survival::report("G4", compared);
}

/// Every byte that anybody can read of a mount and of its process.
fn everything(mounted: &Mounted) -> Vec<(String, Vec<u8>)> {
    let mut found = vec![("log".to_owned(), mounted.log().into_bytes())];
    for name in ["cmdline", "environ", "status", "maps", "mountinfo", "comm"] {
        found.push((name.to_owned(), fs::read(format!("/proc/{}/{name}", mounted.pid())).unwrap_or_default()));
    }
    for place in ["", ".dvidfs", "gray", "u16"] {
        for entry in fs::read_dir(mounted.root().join(place)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let bytes = fs::read(&path).unwrap_or_default();
                found.push((path.display().to_string(), bytes));
            }
        }
    }
    found
}

#[test]
fn a_token_is_never_seen_whoever_echoes_it() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let place = tempfile::tempdir().unwrap();
    let file = token_file(place.path(), CANARY);
    let demo = demo(CANARY);
    let words = ["--token-file", file.to_str().unwrap(), "-vv"];
    // The harness asks for less: all there is, of every crate.
    let starter = ["env", "DVIDFS_LOG=trace"];
    let mut mounted = Mounted::by(&starter, &source(&demo), &[&OPTIONS[..], &words[..]].concat());
    let gray = files(&mounted, "gray");
    // As many connections as there will be.
    std::thread::scope(|scope| {
        files(&mounted, "u16").into_iter().for_each(|(path, _)| drop(scope.spawn(move || fs::read(path))))
    });
    let pid = mounted.pid();
    let echo = format!("no right for Authorization: Bearer {CANARY} here, {CANARY}");
    let answer = |status, headers: Vec<(String, String)>| FaultKind::Answer { status, headers, body: echo.clone() };
    let location = vec![("Location".to_owned(), format!("http://elsewhere/?token={CANARY}"))];
    let mut happened = 0;
    for (n, kind) in [
        answer(400, Vec::new()),
        answer(500, Vec::new()),
        answer(403, Vec::new()),
        answer(302, location),
        answer(200, Vec::new()),
        answer(200, vec![("Content-Encoding".to_owned(), CANARY.to_owned())]),
        answer(200, vec![("Transfer-Encoding".to_owned(), CANARY.to_owned())]),
        answer(200, vec![("Content-Type".to_owned(), CANARY.to_owned())]),
        answer(401, vec![("WWW-Authenticate".to_owned(), format!("Bearer realm=\"{CANARY}\""))]),
        answer(400, vec![("X-Echo".to_owned(), CANARY.to_owned()), (CANARY.to_owned(), CANARY.to_owned())]),
        answer(400, vec![("Retry-After".to_owned(), CANARY.to_owned())]),
        // A name of a header, and a value, that no header can have: the HTTP library says so in words of its own.
        answer(200, vec![(format!("bad name {CANARY}"), CANARY.to_owned())]),
        answer(200, vec![("X-Bad".to_owned(), format!("\u{1}{CANARY}\u{7f}"))]),
        answer(301, vec![("Location".to_owned(), format!("http://{CANARY}/{CANARY}"))]),
        answer(307, vec![("Location".to_owned(), format!("not a place {CANARY}"))]),
        FaultKind::TextAppended,
    ]
    .into_iter()
    .enumerate()
    {
        demo.set_faults(vec![Fault::always("subvolblocks", kind)]);
        // A failure is remembered for a second; there are not so many files.
        if n >= gray.len() {
            std::thread::sleep(Duration::from_millis(1100));
        }
        assert!(fs::read(&gray[n % gray.len()].0).is_err(), "G5: answer {n}");
        happened += demo.fault_hits(0);
    }
    demo.set_faults(Vec::new());
    let errors = fs::read_to_string(mounted.root().join(".dvidfs/errors.jsonl")).unwrap();
    assert!(errors.contains("[token]"), "the server's words are repeated without it: {errors}");
    let checked = Command::new(env!("CARGO_BIN_EXE_dvidfs")).arg("check").arg(mounted.root()).output().unwrap();
    let mut seen = everything(&mounted);
    seen.push(("check".into(), [checked.stdout, checked.stderr].concat()));
    let n_bytes: usize = seen.iter().map(|(_, bytes)| bytes.len()).sum();
    for (name, bytes) in &seen {
        let has = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
        assert!(!has, "G5: the token stands in {name}: {}", String::from_utf8_lossy(bytes));
    }
    std::thread::sleep(Duration::from_millis(1100));
    assert!(fs::read(&gray[0].0).unwrap() == gray[0].1, "G5: right after it");
    figure("R37", format!("0 hits of the token in {n_bytes} bytes of {} places", seen.len()), "0 hits");
    assert!(happened > 0 && mounted.is_alive() && mounted.pid() == pid, "G5");
    mounted.wait_for_code("http_status");
    survival::report("G5", gray[0].1.len() as u64);

    // Nor in a refusal at the mount, where the words of metadata are repeated, too.
    let json = |text: &str| FaultKind::Answer { status: 200, headers: Vec::new(), body: text.to_owned() };
    for (of, kind, code, part) in [
        ("server/info", json(&format!("{{\"who\": \"{CANARY}\"}}")), 32, "[token]"),
        ("repo/", json(&format!("{{\"DAG\": \"{CANARY}\"}}")), 32, "[token]"),
        ("", answer(403, vec![("WWW-Authenticate".to_owned(), CANARY.to_owned())]), 1, "access denied"),
    ] {
        demo.set_faults(vec![Fault::always(of, kind)]);
        refused("G5", &source(&demo), &["--token-file", file.to_str().unwrap()], code, part);
    }
    let output = Command::new(env!("CARGO_BIN_EXE_dvidfs"))
        .args(["info", &source(&demo), "--token-file", file.to_str().unwrap(), "--mount-wait", "0", "-vv"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(!output.status.success() && !said.contains(CANARY), "{said}");
}
