use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::super::pace::SlowRate;
use super::super::scripted_server::{Act, ScriptedServer, answer, chunked};
use super::*;

const PATH: &str = "/api/node/ab/gray/info";

fn impatient() -> HttpConfig {
    HttpConfig {
        connect: Duration::from_millis(300),
        first_byte: Duration::from_millis(300),
        per_read: Duration::from_millis(150),
        slow_rate: SlowRate { bytes: 100, window: Duration::from_millis(200) },
        mapping_first_byte: Duration::from_secs(2),
        ..HttpConfig::default()
    }
}

fn server_at(origin: &str) -> Server {
    Server::new(origin, impatient(), Arc::default()).unwrap()
}

fn answer_to(acts: Vec<Act>) -> Result<Vec<u8>, Error> {
    server_at(&ScriptedServer::always(acts).origin).get(PATH, 10_000)
}

#[track_caller]
fn check_kind(what: &str, acts: Vec<Act>, kind: ErrorKind) {
    let error = answer_to(acts).expect_err(what);
    assert_eq!(error.kind(), kind, "{what}: {error} {:?}", std::error::Error::source(&error).map(ToString::to_string));
}

fn send(text: &str) -> Act {
    Act::Send(text.as_bytes().to_vec())
}

#[test]
fn a_whole_answer_is_given_whole() {
    let body: Vec<u8> = (0..9_999_u32).map(|n| (n * 7 % 251) as u8).collect();
    assert_eq!(answer_to(vec![Act::Send(answer(200, &body))]).unwrap(), body);
    assert_eq!(answer_to(vec![Act::Send(chunked(&body))]).unwrap(), body);
    assert_eq!(answer_to(vec![Act::Send(answer(200, b""))]).unwrap(), b"");
}

#[test]
fn connections_are_kept_and_say_who_asks() {
    let scripted = ScriptedServer::always(vec![Act::Send(answer(200, b"OK"))]);
    let config = HttpConfig { user: "a b&c".into(), ..impatient() };
    let server = Server::new(&scripted.origin, config, Arc::default()).unwrap();
    for _ in 0..5 {
        server.get("/api/heartbeat", 10).unwrap();
    }
    server.get("/api/node/ab/seg/mappings?format=binary", 10).unwrap();
    assert_eq!((scripted.n_connections(), Server::last_connection()), (1, 1));
    let asked = scripted.asked();
    assert_eq!(asked[0], "GET /api/heartbeat?app=dvidfs&u=a%20b%26c");
    assert_eq!(asked[5], "GET /api/node/ab/seg/mappings?format=binary&app=dvidfs&u=a%20b%26c");
    let request = scripted.requests()[0].to_lowercase();
    assert!(!request.contains("accept-encoding") && !request.contains("authorization"), "{request}");
    assert_eq!(server.metrics().get(Counter::DvidRequests), 6);
    assert_eq!(server.metrics().get(Counter::DvidReceivedBytes), 12);
}

#[test]
fn silence_and_drips_end_an_attempt_in_time() {
    let long = Duration::from_secs(5);
    let began = Instant::now();
    check_kind("B1: no answer", vec![Act::Wait(long)], ErrorKind::Timeout);
    check_kind(
        "B2: nothing behind the head",
        vec![send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), Act::Wait(long)],
        ErrorKind::Timeout,
    );
    check_kind(
        "B3: a byte now and then",
        vec![
            send("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"),
            Act::Drip(vec![b'x'; 900], Duration::from_millis(20)),
        ],
        ErrorKind::Timeout,
    );
    let drip = Act::Drip(
        b"HTTP/1.1 200 OK\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy".to_vec(),
        Duration::from_millis(20),
    );
    check_kind("a dripping head", vec![drip], ErrorKind::Timeout);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[test]
fn an_answer_may_begin_late_and_go_on_slowly_within_the_limits() {
    // Far from each other, for a machine that is busy: nothing here waits for a limit.
    let config = HttpConfig {
        first_byte: Duration::from_secs(10),
        per_read: Duration::from_millis(600),
        slow_rate: SlowRate { bytes: 100, window: Duration::from_secs(4) },
        ..impatient()
    };
    let answer_to = |acts| {
        let server = Server::new(&ScriptedServer::always(acts).origin, config.clone(), Arc::default()).unwrap();
        server.get(PATH, 10_000)
    };
    // Later than a body may pause, earlier than the first byte must come.
    let late = vec![Act::Wait(Duration::from_millis(800)), Act::Send(answer(200, b"late"))];
    assert_eq!(answer_to(late).unwrap(), b"late");
    let body = vec![b'x'; 2000];
    let mut acts = vec![send("HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n")];
    for _ in 0..10 {
        acts.extend([Act::Wait(Duration::from_millis(100)), Act::Send(vec![b'x'; 200])]);
    }
    assert_eq!(answer_to(acts).unwrap(), body);
}

#[test]
fn answers_that_break_off_are_cut() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let cut = ErrorKind::Cut;
    check_kind("B4: length too large", vec![send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), Act::Close], cut);
    check_kind(
        "A5: reset",
        vec![send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), Act::Wait(Duration::from_millis(50)), Act::Reset],
        cut,
    );
    check_kind("B6: no last chunk", vec![send(&format!("{head}3\r\nabc\r\n")), Act::Close], cut);
    check_kind("B7: cut in a chunk", vec![send(&format!("{head}9\r\nabc")), Act::Close], cut);
    check_kind("cut in the size of a chunk", vec![send(&format!("{head}3\r\nabc\r\n1")), Act::Close], cut);
    check_kind("no answer at all", vec![Act::Close], ErrorKind::Unreachable);
    check_kind("cut in the head", vec![send("HTTP/1.1 200 OK\r\nContent-"), Act::Close], ErrorKind::Unreachable);
}

#[test]
fn answers_that_cannot_be_right_are_malformed() {
    let bad = ErrorKind::Malformed;
    check_kind("B8: HTTP/1.0, ended by the end", vec![send("HTTP/1.0 200 OK\r\n\r\nabc"), Act::Close], bad);
    check_kind(
        "neither length nor chunks",
        vec![send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc"), Act::Close],
        bad,
    );
    check_kind("A18: not HTTP", vec![send("SSH-2.0-OpenSSH_9.2\r\n"), Act::Close], bad);
    check_kind(
        "B9: endless head",
        vec![send("HTTP/1.1 200 OK\r\n"), Act::Repeat(b"X: yyyyyyyyyyyyyyyyy\r\n".to_vec())],
        bad,
    );
    check_kind(
        "B12: two lengths",
        vec![send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd")],
        bad,
    );
    let both = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    check_kind("B13: length and chunks", vec![send(both)], bad);
    check_kind(
        "B28: encoded",
        vec![send("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc")],
        bad,
    );
    check_kind(
        "a chunk of no size",
        vec![send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n")],
        bad,
    );
    assert_eq!(answer_to(vec![send(&both.replace('9', "3"))]).unwrap(), b"abc");
}

#[test]
fn a_flood_of_100_continue_ends() {
    let began = Instant::now();
    assert!(answer_to(vec![Act::Repeat(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec())]).is_err());
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[test]
fn answers_over_their_limit_are_not_read() {
    let endless =
        vec![send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), Act::Repeat(b"4\r\nabcd\r\n".to_vec())];
    check_kind("B10: endless", endless, ErrorKind::OverLimit);
    check_kind("a claim", vec![send("HTTP/1.1 200 OK\r\nContent-Length: 10001\r\n\r\n")], ErrorKind::OverLimit);
    assert_eq!(answer_to(vec![Act::Send(answer(200, &[1; 10_000]))]).unwrap().len(), 10_000);
}

#[test]
fn a_status_says_what_became_of_the_request() {
    let of = |head: &str, body: &str| {
        let text = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        answer_to(vec![send(&text)]).unwrap_err()
    };
    let error = of("400 Bad Request", "more than one UUID matches \x1b[2J a\n");
    assert_eq!(error.kind(), ErrorKind::Status(400));
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "more than one UUID matches \\u{1b}[2J a");
    assert_eq!(of("401 Who", "").kind(), ErrorKind::Denied);
    assert_eq!(of("403 No", "").kind(), ErrorKind::Denied);
    let busy = of("503 Busy\r\nRetry-After: 2", "Server already running 1 throttled operations");
    assert_eq!((busy.kind(), busy.retry_after()), (ErrorKind::Busy, Some(Duration::from_secs(2))));
    assert_eq!(of("429 Slow\r\nRetry-After: 1000000000", "").retry_after(), Some(Duration::from_secs(60)));
    assert_eq!(of("502 Gate", "").kind(), ErrorKind::Busy);
    assert_eq!(of("404 None", "").kind(), ErrorKind::Status(404));
    assert_eq!(of("206 Part", "abc").kind(), ErrorKind::Status(206));
    check_kind("B27", vec![send("HTTP/1.1 204 No Content\r\n\r\n")], ErrorKind::Status(204));
    check_kind("B27", vec![send("HTTP/1.1 304 Not Modified\r\n\r\n")], ErrorKind::Status(304));
}

#[test]
fn a_redirect_is_refused_and_its_target_never_asked() {
    let target = ScriptedServer::always(vec![Act::Send(answer(200, b"stolen"))]);
    for status in [301, 302, 303, 307, 308] {
        for location in [format!("{}/x", target.origin), "file:///etc/passwd".into(), "https://h/".into(), PATH.into()]
        {
            let text = format!("HTTP/1.1 {status} Gone\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
            check_kind(&text, vec![send(&text)], ErrorKind::Redirected);
        }
    }
    assert_eq!(target.n_connections(), 0);
}

#[test]
fn a_kept_connection_that_the_server_closed_is_replaced_at_once() {
    // Closed after the answer, and reset when the next request comes: the client cannot know it earlier.
    let scripted = ScriptedServer::start(|_, before| match before {
        1 => vec![Act::Reset],
        _ => vec![Act::Send(answer(200, b"OK"))],
    });
    let server = server_at(&scripted.origin);
    for _ in 0..3 {
        assert_eq!(server.get(PATH, 10).unwrap(), b"OK");
    }
    assert_eq!(scripted.asked().len(), 4);
    assert_eq!(server.metrics().get(Counter::DvidFailedRequests), 0);
    // A connection that is new and closed at once is a failure.
    let scripted = ScriptedServer::always(vec![Act::Reset]);
    assert_eq!(server_at(&scripted.origin).get(PATH, 10).unwrap_err().kind(), ErrorKind::Unreachable);
    assert_eq!(scripted.asked().len(), 1);
}

#[test]
fn nobody_listening_is_unreachable() {
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(server_at(&format!("http://{dead}")).get(PATH, 10).unwrap_err().kind(), ErrorKind::Unreachable);
    assert!(Server::new("ftp://h", impatient(), Arc::default()).is_err());
}

#[test]
fn a_request_that_is_not_listed_does_not_leave() {
    let scripted = ScriptedServer::always(vec![Act::Send(answer(200, b"OK"))]);
    let server = server_at(&scripted.origin);
    for path in [
        "/api/node/ab/seg/extents",
        "/api/node/ab/../x",
        "@evil.example/api/server/info",
        "/api/node/ab/x/raw/0_1/1_1/0_0_0",
    ] {
        assert_eq!(server.get(path, 10).unwrap_err().kind(), ErrorKind::Malformed, "{path}");
    }
    assert_eq!(scripted.n_connections(), 0);
}

#[test]
fn a_batch_call_is_a_get_with_a_body() {
    let scripted = ScriptedServer::always(vec![Act::Send(answer(200, b"[1]"))]);
    let server = server_at(&scripted.origin);
    let ask = Ask {
        path: "/api/node/ab/seg/mapping?nolookup=true",
        body: Some(b"[7]"),
        first_byte: Duration::from_secs(1),
        limit: 99,
    };
    let mut body = vec![];
    server.ask_into(&ask, &mut body).unwrap();
    server.get(PATH, 99).unwrap();
    assert_eq!(body, b"[1]");
    let request = &scripted.requests()[0];
    assert!(request.starts_with("GET ") && request.ends_with("\r\n\r\n[7]"), "{request}");
    assert_eq!(scripted.n_connections(), 1, "requests with limits of their own share the connections");
}

fn a_token_file(directory: &tempfile::TempDir, token: &str) -> PathBuf {
    let path = directory.path().join("token");
    fs::write(&path, token).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

#[test]
fn a_token_is_sent_and_read_again_when_it_is_refused() {
    let scripted = ScriptedServer::start(|request, _| {
        let is_right = request.to_lowercase().contains("authorization: bearer right\r\n");
        vec![Act::Send(if is_right { answer(200, b"in") } else { answer(401, b"your token wrong is wrong") })]
    });
    let directory = tempfile::tempdir().unwrap();
    let config = HttpConfig { token_file: Some(a_token_file(&directory, "wrong\n")), ..impatient() };
    let server = Server::new(&scripted.origin, config, Arc::default()).unwrap();
    let error = server.get(PATH, 99).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    let shown = format!("{server:?} {error:?} {}", std::error::Error::source(&error).unwrap());
    assert!(!shown.contains("wrong") && shown.contains("[token]"), "{shown}");
    assert_eq!(scripted.asked().len(), 1, "the same token is not tried twice");
    a_token_file(&directory, "right");
    assert_eq!(server.get(PATH, 99).unwrap(), b"in");
    assert_eq!(server.get(PATH, 99).unwrap(), b"in");
    assert_eq!(scripted.asked().len(), 4);
}

#[test]
fn a_token_does_not_go_over_the_network_in_the_clear() {
    let directory = tempfile::tempdir().unwrap();
    let config = HttpConfig { token_file: Some(a_token_file(&directory, "secret")), ..impatient() };
    let error = Server::new("http://dvid.example.org", config.clone(), Arc::default()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert!(source.downcast_ref::<TokenError>().is_some() && source.to_string().contains("--insecure-token"));
    for config in
        [HttpConfig { insecure_token: true, ..config.clone() }, HttpConfig { token_file: None, ..config.clone() }]
    {
        assert!(Server::new("http://dvid.example.org", config, Arc::default()).is_ok());
    }
    assert!(Server::new("https://dvid.example.org", config, Arc::default()).is_ok());
}
