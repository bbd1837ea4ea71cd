//! B: answers that are not HTTP as it should be, or that say no.

use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// One block a chunk first, where the number of requests can be told.
const IMAGES: [&str; 7] = ["gray", "neg", "u16", "u32", "u64", "f32", "holes"];

fn status(status: u16) -> FaultKind {
    FaultKind::Status { status, retry_after: None }
}

fn busy(retry_after: &str) -> FaultKind {
    FaultKind::Status { status: 503, retry_after: Some(retry_after.into()) }
}

fn answer(status: u16, headers: &[(&str, &str)]) -> FaultKind {
    let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    FaultKind::Answer { status, headers, body: String::new() }
}

fn broken_off() -> Vec<Case> {
    let hang = 60_000;
    vec![
        ok("B1", FaultKind::HangBeforeHeaders { ms: hang }, &["fetch_timeout"]),
        ok("B2", FaultKind::HangAfterHeaders { ms: hang }, &["fetch_timeout"]),
        ok("B3", FaultKind::Drip { ms: 200 }, &["fetch_timeout"]),
        eio("B5", FaultKind::LengthTooSmall, &["bad_frame", "bad_length", "fetch_cut"]),
        ok("B6", FaultKind::NoLastChunk, &["fetch_cut"]),
        ok("B7", FaultKind::CutInChunk, &["fetch_cut"]),
        eio("B8", FaultKind::Http10Cut, &["bad_length"]).asked(3),
    ]
}

fn not_http() -> Vec<Case> {
    vec![
        eio("B9", FaultKind::EndlessHeaders, &["bad_http"]).within_memory(16 << 20),
        eio("B10", FaultKind::EndlessBody, &["over_limit"]).within_memory(16 << 20),
        eio("B11", FaultKind::ContinueFlood, &["bad_http"]).within_memory(16 << 20),
        eio("B12", FaultKind::TwoLengths, &["bad_http"]).asked(3),
        eio("B13", FaultKind::LengthAndChunked, &["bad_length"]),
        eio("B14", FaultKind::Html, &["bad_frame", "bad_length"]),
        eio("B15", FaultKind::TextAppended, &["bad_frame"]),
        eio("B15", FaultKind::ErrorMidStream, &["bad_frame"]),
        // An answer without frames says that no block is stored, so that this is no fault of this endpoint: see below.
        eio("B17", status(400), &["http_status"]).asked(3),
        eio("B28", FaultKind::Encoded, &["bad_encoding"]),
        eio("B28", FaultKind::ReallyEncoded, &["bad_encoding"]),
        eio("B28", answer(200, &[("Content-Encoding", "br")]), &["bad_encoding"]),
        eio("B30", FaultKind::BadHeader, &["bad_http"]),
        ok("B30", FaultKind::BareLineFeeds, &[]),
        ok("B30", FaultKind::EightBitHeader, &[]),
    ]
}

fn refusals() -> Vec<Case> {
    let codes = &["http_status"];
    vec![
        case("B19", status(403), Class::Eacces, &["auth_failed"]).asked(1),
        eio("B20", status(404), codes).asked(3),
        ok("B21", FaultKind::Status { status: 429, retry_after: Some("2".into()) }, &["throttled"])
            .takes(Duration::from_secs(2)),
        // A minute at most, of which the time scale leaves three seconds.
        ok("B22", busy("1000000000"), &["throttled"]).takes(Duration::from_millis(2900)),
        ok("B22", busy("Thu, 01 Jan 1970 00:00:10 GMT"), &["throttled"]),
        ok("B23", busy("0"), &["throttled"]).times(5),
        ok("B25", status(500), codes),
        ok("B25", status(502), &["throttled"]),
        ok("B25", status(504), &["throttled"]),
        eio("B27", answer(204, &[]), codes),
        eio("B27", answer(206, &[("Content-Range", "bytes 0-1/2")]), codes),
        eio("B27", answer(304, &[]), codes),
    ]
}

#[test]
fn answers_that_break_off_or_stand_still_are_survived() {
    survive_all(&broken_off(), &IMAGES, "", "subvolblocks");
}

#[test]
fn answers_that_are_not_http_as_it_should_be_are_survived() {
    survive_all(&not_http(), &IMAGES, "", "subvolblocks");
}

#[test]
fn a_server_that_says_no_is_survived() {
    survive_all(&refusals(), &IMAGES, "", "subvolblocks");
}

/// Where an empty body cannot say that nothing is stored: the metadata of a mount, and voxels that have no frames.
#[test]
fn an_empty_answer_for_voxels_without_frames_is_an_error() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let demo = test_demo(&["u16"]);
    let mut mounted = mounted(&demo, &["--verify", "1"]);
    let mut target = targets(&mounted, demo.dataset(), &["u16"], "", "raw").swap_remove(0);
    target.matches = "/u16/raw/".into();
    survive_each(&[eio("B16", FaultKind::Empty, &["bad_length"])], &[target], &demo, &mut mounted);
}

/// Counts connections and closes them.
fn counting_listener() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, n) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&n);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = stream.read(&mut [0]);
        }
    });
    (port, n)
}

#[test]
fn a_redirect_is_refused_and_nobody_is_asked_in_its_place() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let (port, n_connections) = counting_listener();
    let demo = test_demo(&["u16", "u32", "u64", "f32"]);
    let mut mounted = mounted(&demo, &[]);
    let targets = targets(&mounted, demo.dataset(), &["u16", "u32", "u64", "f32"], "", "subvolblocks");
    let mut cases = Vec::new();
    for (status, to) in [
        (301, format!("http://127.0.0.1:{port}/api")),
        (302, format!("http://localhost:{port}/api")),
        (303, format!("//127.0.0.1:{port}/api")),
        (307, format!("https://127.0.0.1:{port}/api")),
        (308, "file:///etc/passwd".to_owned()),
        (302, "/api/node/a40d/u16/subvolblocks/32_32_32/0_0_0".to_owned()), // a loop
    ] {
        cases.push(eio("B26", answer(status, &[("Location", &to)]), &["redirect_refused"]).asked(1));
    }
    survive_each(&cases, &targets, &demo, &mut mounted);
    assert_eq!(n_connections.load(Ordering::SeqCst), 0, "B26: the target was asked");
    figure("R38", format!("{} redirects refused, 0 connections to their targets", cases.len()), "0");
}

#[test]
fn an_answer_to_another_request_is_refused_with_its_connection() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let demo = test_demo(&["u16", "u32"]);
    let mut mounted = mounted(&demo, &[]);
    let targets = targets(&mounted, demo.dataset(), &["u16", "u32"], "", "subvolblocks");
    let (first, rest) = targets.split_first().unwrap();
    assert_eq!(read(first).as_ref(), Ok(&first.expected));
    let requests = demo.requests();
    let other = requests.iter().rfind(|request| request.contains(&first.matches)).unwrap();
    let other = FaultKind::OtherAnswer { target: other.trim_start_matches("GET ").to_owned() };
    let before = demo.accepted();
    let cases = [ok("B29", other.clone(), &["bad_frame"]), eio("B29", other, &["bad_frame"])];
    survive_each(&cases, rest, &demo, &mut mounted);
    assert!(demo.accepted() >= before + 4, "B29: {} connections became {}", before, demo.accepted());
}

/// EIO when patience ends, for twenty readers: not before, and not much later. Gives the earliest and the latest.
fn given_up(id: &'static str, kind: FaultKind, codes: &'static [&'static str], seconds: u64) -> [Duration; 2] {
    let demo = test_demo(&["u16"]);
    let patience = Duration::from_secs(seconds);
    let options = ["--settle", "0", "--no-prefetch", "--patience", &format!("{seconds}s")];
    let mut mounted = Mounted::new(&format!("{}/a40d", demo.origin()), &options);
    let target = targets(&mounted, demo.dataset(), &["u16"], "", "subvolblocks").swap_remove(0);
    let survival = Survival::begin(id, &mounted);
    demo.set_faults(vec![Fault { matches: target.matches.clone(), nth: 0, count: ALWAYS, kind }]);
    // Past the kernel's cache: there, readers of one page would wait for each other.
    let direct =
        std::fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_DIRECT).open(&target.chunk.path).unwrap();
    let give_up = &|n: u64| {
        let began = Instant::now();
        let error = direct.read_at(&mut [0; 4096], n * 4096).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(nix::libc::EIO));
        began.elapsed()
    };
    let took: Vec<_> = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..20).map(|n| scope.spawn(move || give_up(n))).collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    let range = [*took.iter().min().unwrap(), *took.iter().max().unwrap()];
    assert!(range[0] >= patience && range[1] <= patience + Duration::from_secs(2), "{id}: {range:?}");
    let happened = demo.fault_hits(0);
    demo.set_faults(Vec::new());
    let compared = recovers(id, &target);
    survival.end(&mut mounted, happened, codes, compared);
    range
}

#[test]
fn a_busy_server_is_given_up_when_patience_ends_and_not_before() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let patiences = if is_long() { &[2, 5, 20][..] } else { &[3] };
    for &seconds in patiences {
        let [first, last] = given_up("B24", status(503), &["gave_up"], seconds);
        figure(
            "R10",
            format!("patience {seconds} s: 20 of 20 EIO after {first:.2?} to {last:.2?}"),
            "2 s later at most",
        );
    }
    // Each such answer looks like one that was cut, and the next might be whole.
    given_up("B4", FaultKind::LengthTooLarge, &["fetch_cut"], 3);
}

/// The kernel asks for a chunk of 2 MiB in several pieces, and for a page of it once more when they have failed.
#[test]
fn a_read_in_several_pieces_is_given_up_once() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let demo = test_demo(&["segmentation"]);
    let options = ["--settle", "0", "--no-prefetch", "--patience", "3s"];
    let mounted = Mounted::new(&format!("{}/a40d", demo.origin()), &options);
    let targets = targets(&mounted, demo.dataset(), &["segmentation"], "supervoxels", "blocks");
    demo.set_faults(vec![Fault::always("/blocks/", status(503))]);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for target in &targets[..4] {
            assert!(target.expected.len() > 1 << 20, "it is one piece");
            scope.spawn(|| assert_eq!(read(target), Err(nix::libc::EIO)));
        }
    });
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(5), "{took:?} at a patience of 3 s");
}

#[test]
fn a_refused_token_is_read_anew_once_and_then_the_read_is_refused() {
    if !can_mount() {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let _limit = time_limit(Duration::from_secs(60));
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    let write = |text: &str| {
        fs::write(&token, text).unwrap();
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("first");
    let demo = test_demo(&["u16"]);
    let mut mounted = mounted(&demo, &["--token-file", token.to_str().unwrap()]);
    let targets = targets(&mounted, demo.dataset(), &["u16"], "", "subvolblocks");
    let survival = Survival::begin("B18", &mounted);
    // The same token is not tried twice.
    let refused = case("B18", status(401), Class::Eacces, &["auth_failed"]).asked(1);
    let first = survive(&refused, &targets[0], &demo, &mut mounted);
    // Another one is, at once.
    write("second");
    let n_blocks = 4;
    assert!(targets[1].expected.len() <= n_blocks * 64 * 64 * 64 * 2);
    let second = survive(&ok("B18", status(401), &[]), &targets[1], &demo, &mut mounted);
    survival.end(&mut mounted, first.0 + second.0, &["auth_failed"], first.1 + second.1);
}

/// Whatever a server says in a header or in its words, no line of the log holds a control character.
#[test]
fn the_words_of_a_server_are_never_logged_unescaped() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let demo = test_demo(&["u16"]);
    let mut mounted = mounted(&demo, &[]);
    let targets = targets(&mounted, demo.dataset(), &["u16"], "", "subvolblocks");
    let words = "\u{1b}[2J\u{9b}31m\u{7f}\u{202e}evil\n2026-01-01 ERROR forged".to_owned();
    for (kind, target) in [
        FaultKind::Answer { status: 400, headers: Vec::new(), body: words.clone() },
        FaultKind::Answer { status: 302, headers: vec![("Location".into(), words.replace('\n', ""))], body: words },
    ]
    .into_iter()
    .zip(&targets)
    {
        survive(&eio("words", kind, &[]), target, &demo, &mut mounted);
    }
    let log = fs::read(mounted.log_path()).unwrap();
    let odd = log.iter().filter(|&&byte| (byte < 0x20 && byte != b'\n') || byte == 0x7f).count();
    assert_eq!(odd, 0, "control characters in the log");
    let text = String::from_utf8(log).unwrap();
    assert!(!text.contains('\u{9b}') && !text.contains('\u{202e}') && !text.contains("\n2026-01-01 ERROR"), "{text}");
}
