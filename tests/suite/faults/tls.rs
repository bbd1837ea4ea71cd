//! C: secure connections that cannot be, or that break.

use super::*;
use crate::support::{Mode, Proxy, refused, survival, tls_fixture};

fn authority() -> String {
    tls_fixture("authority.pem").to_str().unwrap().to_owned()
}

/// A mount over TLS, with waits of a twentieth.
fn mounted_over(port: u16, more: &[&str]) -> Mounted {
    let options = [
        "--settle",
        "0",
        "--no-prefetch",
        "--time-scale",
        "0.05",
        "--patience",
        "60s",
        "--mount-wait",
        "60s",
        "--cacert",
        &authority(),
    ];
    Mounted::new(&format!("https://localhost:{port}/a40d"), &[&options, more].concat())
}

/// A mount that is refused, by one line with these words behind the log.
#[track_caller]
fn check_refused(source: &str, options: &[&str], code: &str, words: &str) {
    let refusal = refused(dvidfs(), source, &[&["--mount-wait", "2s"], options].concat());
    assert_eq!(refusal.code, Some(32), "{source}: {refusal:?}");
    assert!(refusal.has_code(code), "{source}: no {code} in {refusal:?}");
    assert!(refusal.line().contains(words), "{source}: {words:?} is not told: {refusal:?}");
}

#[test]
fn a_certificate_that_proves_nothing_is_refused_with_its_reason() {
    let _limit = time_limit(Duration::from_secs(120));
    let demo = test_demo(&["u16"]);
    let cases = [
        ("C1", "expired.der", true, "by the clock of this machine it is"),
        ("C2", "elsewhere.der", true, "use the name that the certificate is for"),
        ("C3", "good.der", false, "--cacert"),
    ];
    for (id, certificate, with_authority, words) in cases {
        let proxy = Proxy::tls(demo.port(), certificate);
        let source = format!("https://localhost:{}/a40d", proxy.port());
        let authority = authority();
        let options: &[&str] = if with_authority { &["--cacert", &authority] } else { &[] };
        check_refused(&source, options, "tls_failed", words);
        assert!(!proxy.accepted().is_empty(), "{id}: it never happened");
        assert_eq!(demo.count("api"), 0, "{id}: a request was sent");
        if id != "C3" {
            survival::report(id, 0);
        }
    }
    if !can_mount() {
        return;
    }
    // The same server is believed when its authority is.
    let proxy = Proxy::tls(demo.port(), "good.der");
    let mounted = mounted_over(proxy.port(), &[]);
    let target = targets(&mounted, demo.dataset(), &["u16"], "", "subvolblocks").swap_remove(0);
    assert_eq!(read(&target).as_ref(), Ok(&target.expected));
    survival::report("C3", target.expected.len() as u64);
}

/// The hello of a server that takes this version and this cipher.
fn server_hello(version: [u8; 2], cipher: [u8; 2]) -> Vec<u8> {
    let mut hello = version.to_vec();
    hello.extend([7; 32]);
    hello.push(0);
    hello.extend(cipher);
    hello.push(0);
    let mut record = vec![0x16, 3, 1, 0, u8::try_from(hello.len() + 4).unwrap(), 2, 0, 0];
    record.push(u8::try_from(hello.len()).unwrap());
    record.extend(hello);
    record
}

#[test]
fn a_server_of_old_or_empty_tls_is_refused() {
    let _limit = time_limit(Duration::from_secs(60));
    let proxy = Proxy::plain(1);
    let source = format!("https://localhost:{}/a40d", proxy.port());
    for words in [
        server_hello([3, 2], [0, 0x2f]), // TLS 1.1
        server_hello([3, 3], [0, 1]),    // TLS 1.2 without encryption
        vec![0x15, 3, 1, 0, 2, 2, 70],   // the alert "protocol version"
    ] {
        proxy.set(Mode::Say(words));
        check_refused(&source, &["--cacert", &authority()], "tls_failed", "");
        assert!(proxy.hits() > 0, "C4: it never happened");
    }
    survival::report("C4", 0);
}

/// Reads a target while a connection breaks in some way; the bytes are right after all.
fn broken(
    id: &'static str,
    (proxy, mode): (&Proxy, Mode),
    target: &Target,
    mounted: &mut Mounted,
    codes: &[&'static str],
) {
    let survival = Survival::begin(id, mounted);
    proxy.set(mode);
    assert!(read(target).as_deref() == Ok(&target.expected), "{id}: wrong outcome of {}", target.chunk.path.display());
    let happened = proxy.hits();
    proxy.set(Mode::Pass);
    survival.end(mounted, happened, codes, target.expected.len() as u64);
}

/// What is told of a damaged record: a length that is too large is waited for.
const BROKEN: &[&str] = &["tls_failed", "fetch_cut", "fetch_timeout"];

#[test]
fn a_secure_connection_that_breaks_costs_a_retry_and_no_byte() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let demo = test_demo(&["gray", "u16"]);
    let secure = Proxy::tls(demo.port(), "good.der");
    // What is between the two, where records can be damaged.
    let wire = Proxy::plain(secure.port());
    let mut mounted = mounted_over(wire.port(), &[]);
    let targets = targets(&mounted, demo.dataset(), &["gray", "u16"], "", "subvolblocks");
    broken("C5", (&secure, Mode::CutAt(5000)), &targets[0], &mut mounted, &["fetch_cut"]);
    let flips = [3_u64, 20, 700, 5000, 20_000];
    for (n, at) in flips.into_iter().enumerate() {
        let survival = Survival::begin("C8", &mounted);
        wire.set(Mode::FlipAt(at));
        let target = &targets[n + 1];
        assert!(read(target).as_deref() == Ok(&target.expected), "C8: wrong bytes after a flip at {at}");
        survival.check(&mut mounted, wire.hits(), BROKEN);
    }
    flip_many(&demo, &wire);
    broken("C8", (&wire, Mode::FlipAt(9000)), &targets[flips.len() + 1], &mut mounted, BROKEN);
}

/// Flips a bit at many places of raw voxels on their way over TLS, by single attempts: an error, or the same bytes.
fn flip_many(demo: &Demo, wire: &Proxy) {
    use dvidfs::dvid::{HttpConfig, Server, certificates};
    let authorities = certificates(&fs::read(authority()).unwrap()).unwrap();
    let config = HttpConfig { authorities, ..HttpConfig::default() }.scaled(0.05);
    let server = Server::new(&format!("https://localhost:{}", wire.port()), config, Default::default()).unwrap();
    let root = demo.dataset().root();
    let path = format!("/api/node/{root}/u16/raw/0_1_2/32_16_8/0_0_0");
    let right = server.get(&path, 1 << 20).unwrap();
    let (places, mut refused) = (if crate::support::is_long() { 4096 } else { 512 }, 0);
    for n in 0..places {
        wire.set(Mode::FlipAt(n * 8_192 / places));
        match server.get(&path, 1 << 20) {
            Ok(body) => assert!(body == right, "C8: wrong bytes after a flip at place {n}"),
            Err(_) => refused += 1,
        }
    }
    wire.set(Mode::Pass);
    figure("R29", format!("over TLS {refused} of {places} flipped bytes refused, 0 wrong bytes"), "4,096, 0 wrong");
    assert!(refused > places / 2, "{refused}");
}

#[test]
fn a_handshake_that_is_silent_is_given_up_and_tried_again() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let demo = test_demo(&["gray"]);
    let secure = Proxy::tls(demo.port(), "good.der");
    let mut mounted = mounted_over(secure.port(), &[]);
    let target = targets(&mounted, demo.dataset(), &["gray"], "", "subvolblocks").swap_remove(0);
    let survival = Survival::begin("C6", &mounted);
    // Those that there are break, and new ones are silent.
    secure.set(Mode::Refuse);
    std::thread::sleep(Duration::from_millis(200));
    secure.set(Mode::Silent);
    let happened = std::thread::scope(|scope| {
        let reader = scope.spawn(|| read(&target));
        std::thread::sleep(Duration::from_millis(1500));
        let happened = secure.hits();
        assert!(!reader.is_finished(), "C6: it was not waited for");
        secure.set(Mode::Pass);
        assert!(reader.join().unwrap().as_deref() == Ok(&target.expected), "C6: wrong outcome");
        happened
    });
    survival.end(&mut mounted, happened, &["connect_timeout"], target.expected.len() as u64);
}

#[test]
fn a_redirect_from_tls_to_plain_http_is_refused_and_takes_no_token_along() {
    if !can_mount() {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let _limit = time_limit(Duration::from_secs(60));
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    fs::write(&token, "canary").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let demo = test_demo(&["gray"]);
    let secure = Proxy::tls(demo.port(), "good.der");
    // Where the redirect leads.
    let plain = Proxy::plain(demo.port());
    let mut mounted = mounted_over(secure.port(), &["--token-file", token.to_str().unwrap()]);
    let targets = targets(&mounted, demo.dataset(), &["gray"], "", "subvolblocks");
    let to = format!("http://localhost:{}/api", plain.port());
    let case = eio("C7", FaultKind::Redirect { to }, &["redirect_refused"]).asked(1);
    let happened = plain.accepted().len();
    survive_each(&[case], &targets, &demo, &mut mounted);
    assert_eq!(plain.accepted().len(), happened, "C7: the redirect was followed");
    assert!(!mounted.log().contains("canary"));
}
