//! Fuzz targets `http_reply` and `cli_ref`: what comes over a connection, and what ever goes over one.

use super::super::address::Address;
use super::super::endpoint::instance_path;
use super::super::resolve::resolve;
use crate::fuzz::{Input, KIB, Peak, Target};

mod script;

use script::{End, Script, with_script};

/// The most that is wanted, in two bytes; how the answer ends, and in pieces of how many bytes it comes; the answer.
pub(crate) const HTTP_REPLY: Target = Target { name: "http_reply", run: http_reply, seeds: reply_seeds };

/// The length of an address, in two bytes; the address; the name of an instance.
pub(crate) const CLI_REF: Target = Target { name: "cli_ref", run: cli_ref, seeds: ref_seeds };

const PATH: &str = "/api/node/ab/gray/info";
/// Heads, buffers and errors.
const OF_A_CLIENT: usize = 512 * KIB;
/// Pieces in which the head of an answer may come; nothing is waited for more often than once for each byte beyond it.
const WAITS: usize = 1001;

/// Whatever the other side says: the whole answer, or an error, within bounds.
fn http_reply(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let limit = usize::from(input.u16());
    let end = input.pick(&[End::Close, End::Silence, End::Reset]);
    let piece = input.pick(&[usize::MAX, 1, 2, 3, 7, 16, 100]);
    let answer = input.rest();
    let script = Script { answer: answer.to_vec(), piece, end };
    let (result, seen) = with_script(script, |server| {
        Peak::of(|| server.get(PATH, limit as u64)).at_most(2 * limit + 4 * answer.len() + OF_A_CLIENT)
    });
    assert!(seen.n_waits <= answer.len() + WAITS, "{} waits for {} bytes", seen.n_waits, answer.len());
    let Ok(body) = result else { return };
    assert!(body.len() <= limit, "{} bytes where {limit} were wanted", body.len());
    assert_eq!(Some(body), whole_answer(answer), "another answer than was sent");
}

/// The body of an answer, read the slowest way: `None` if it is cut or says not exactly where it ends.
fn whole_answer(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let (is_chunked, length) = loop {
        let mut headers = [httparse::EMPTY_HEADER; 256];
        let mut head = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(n) = head.parse(bytes).ok()? else { return None };
        bytes = &bytes[n..];
        match head.code? {
            100..=199 => {}
            200 => {
                let all = |name: &str| {
                    let of_name = head.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
                    of_name.map(|header| header.value.trim_ascii().to_ascii_lowercase()).collect::<Vec<_>>()
                };
                let mut lengths = all("content-length");
                lengths.dedup();
                let length = match lengths.as_slice() {
                    [] => None,
                    [one] => Some(std::str::from_utf8(one).ok()?.parse::<usize>().ok()?),
                    _ => return None,
                };
                break (all("transfer-encoding").iter().any(|encoding| encoding == b"chunked"), length);
            }
            _ => return None,
        }
    };
    let body = if is_chunked { unchunked(bytes)? } else { bytes.get(..length?)?.to_vec() };
    length.is_none_or(|length| length == body.len()).then_some(body)
}

/// Chunks up to the last one and the empty line behind it.
fn unchunked(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = line(&mut bytes)?;
        let digits = line.split(|&byte| byte == b';').next()?;
        let n = usize::from_str_radix(std::str::from_utf8(digits).ok()?.trim(), 16).ok()?;
        if n == 0 {
            break;
        }
        body.extend_from_slice(bytes.get(..n)?);
        bytes = bytes.get(n..)?.strip_prefix(b"\r\n")?;
    }
    while !line(&mut bytes)?.is_empty() {}
    Some(body)
}

/// The text up to the end of the line, behind which `bytes` then begins.
fn line<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    let line = &bytes[..end];
    *bytes = &bytes[end + 2..];
    Some(line)
}

/// Whatever people write: it is refused, or requests name that ref and nothing else.
fn cli_ref(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let n = usize::from(input.u16());
    let [text, name] = [input.bytes(n), input.rest()].map(String::from_utf8_lossy);
    let uuid = match text.parse::<Address>() {
        Ok(address) => {
            assert_eq!(address.to_string().parse::<Address>().as_ref(), Ok(&address), "written and read again");
            asked_for(&address);
            address.reference
        }
        Err(_) => "28841c8277e044a7b187dda03e18da13".to_owned(),
    };
    let Ok(path) = instance_path(&uuid, &name) else {
        assert!(name.is_empty() || name.contains('/'), "{name:?} is refused");
        return;
    };
    let lines = request_lines(|server| drop(server.get(&format!("{path}/info"), 10)));
    let [line] = lines.as_slice() else { panic!("{lines:?} for an instance") };
    let parts: Vec<_> = line.split(['?', '/']).collect();
    let ["", "api", "node", node, instance, "info", "app=dvidfs"] = parts.as_slice() else { panic!("{line}") };
    assert_eq!((decoded(node), decoded(instance)), (uuid.into_bytes(), name.as_bytes().to_vec()));
}

/// What is asked for a ref is that ref.
fn asked_for(address: &Address) {
    let reference = &address.reference;
    assert!(!reference.is_empty() && reference.bytes().all(is_of_a_ref), "{reference:?}");
    let authority = address.origin.strip_prefix("http://").or_else(|| address.origin.strip_prefix("https://"));
    let is_of_a_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    assert!(authority.is_some_and(|host| !host.is_empty() && host.bytes().all(is_of_a_host)), "{}", address.origin);
    let lines = request_lines(|server| drop(resolve(server, reference)));
    assert!(!lines.is_empty(), "nothing was asked for {reference:?}");
    for line in lines {
        let asked = line.strip_prefix("/api/repo/").and_then(|line| line.strip_suffix("/info?app=dvidfs"));
        let asked = decoded(asked.unwrap_or_else(|| panic!("{line} was asked for {reference:?}")));
        // A server that knows no `~n` is asked without it.
        let without = reference.split('~').next().unwrap_or_default();
        assert!(asked == reference.as_bytes() || asked == without.as_bytes(), "{line} was asked for {reference:?}");
    }
}

fn is_of_a_ref(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b":~_.-".contains(&byte)
}

/// What the requests ask for, none of which the server knows.
fn request_lines(call: impl FnOnce(&super::Server)) -> Vec<String> {
    let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno".to_vec();
    let ((), seen) = with_script(Script { answer, piece: usize::MAX, end: End::Close }, call);
    let sent = String::from_utf8(seen.sent).expect("requests are ASCII");
    let requests = sent.split_terminator("\r\n\r\n").map(|request| {
        let line = request.lines().next().unwrap_or_default();
        let asked = line.strip_prefix("GET ").and_then(|line| line.strip_suffix(" HTTP/1.1"));
        asked.unwrap_or_else(|| panic!("{request:?} is no GET")).to_owned()
    });
    requests.collect()
}

/// The bytes that a part of a path stands for.
fn decoded(part: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = part.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| first == b'%');
        bytes.push(digits.map_or(first, |digits| {
            u8::from_str_radix(std::str::from_utf8(digits).expect("ASCII"), 16).expect("two digits")
        }));
        rest = &after[if digits.is_some() { 2 } else { 0 }..];
    }
    bytes
}

fn reply_seeds() -> Vec<Vec<u8>> {
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello and more",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n and again.\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 4\r\n\r\nbusy",
        "HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\nhello",
    ];
    let mut seeds = Vec::new();
    for (answer, n) in answers.iter().zip(0..) {
        seeds.push([&[100, 0, n % 3, 0][..], answer.as_bytes()].concat());
        seeds.push([&[5, 0, 0, 1 + n % 6][..], answer.as_bytes()].concat());
    }
    seeds
}

fn ref_seeds() -> Vec<Vec<u8>> {
    let pairs = [
        ("http://dvid.example.org:8000/28841c:master", "grayscale"),
        ("https://h/28841c8277e044a7b187dda03e18da13", "odd name"),
        ("h:8000/ab12:exp~2", "a%2Fb"),
        ("http://[::1]:80/v1.0/", ".."),
        ("http://H:1/:master", "seg?x#y"),
        ("http://h:1/ab:..", "a/b"),
        ("http://h:1/ab:~0", "\u{202e}\n"),
        ("http://u:p@h:1/ab", ""),
        ("http://h:0/ab", "~tilde-_"),
        ("ftp://h/ab", "node"),
        ("http://h:1/../ab", "."),
        ("http://h:1/ab?x=1", "é"),
        ("h/ab", "x"),
    ];
    let pair = |(text, name): (&str, &str)| {
        let n = u16::try_from(text.len()).expect("a short address");
        [&n.to_le_bytes(), text.as_bytes(), name.as_bytes()].concat()
    };
    pairs.map(pair).into()
}
