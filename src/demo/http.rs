//! HTTP/1.1 as DVID speaks it: keep-alive, chunks above 2048 bytes, and whatever the fault script wants.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::faults::FaultKind;

/// Larger bodies are sent in chunks, without a Content-Length.
const LONGEST_COUNTED: usize = 2048;
/// No request head is longer.
const LONGEST_HEAD: usize = 1 << 20;

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// Path and query as sent.
    pub(super) target: String,
    pub(super) authorization: Option<String>,
    pub(super) body: Vec<u8>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Response {
    pub(super) fn bytes(body: Vec<u8>) -> Self {
        Self { status: 200, content_type: "application/octet-stream", headers: Vec::new(), body }
    }

    pub(super) fn json(body: String) -> Self {
        Self { content_type: "application/json", ..Self::bytes(body.into_bytes()) }
    }

    pub(super) fn text(status: u16, body: &str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", headers: Vec::new(), body: body.as_bytes().to_vec() }
    }

    /// DVID's 400: its words, the path, a full stop and a newline.
    pub(super) fn bad_request(words: &str, path: &str) -> Self {
        Self::text(400, &format!("{words} ({path}).\n"))
    }

    fn head(&self, framing: &str) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\nContent-Type: {}\r\n", self.status, "Demo", self.content_type);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        (head + framing + "\r\n").into_bytes()
    }
}

/// Reads the next request; None if the connection ended between two.
pub(super) fn read_request(stream: &mut TcpStream, held: &mut Vec<u8>) -> io::Result<Option<Request>> {
    loop {
        if let Some(request) = parse_request(held)? {
            return Ok(Some(request));
        }
        if held.len() > LONGEST_HEAD {
            return Err(io::Error::other("the request is too long"));
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer)? {
            0 => return Ok(None),
            n => held.extend(&buffer[..n]),
        }
    }
}

fn parse_request(held: &mut Vec<u8>) -> io::Result<Option<Request>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Request::new(&mut headers);
    let head_bytes = match head.parse(held).map_err(io::Error::other)? {
        httparse::Status::Complete(n) => n,
        httparse::Status::Partial => return Ok(None),
    };
    let header = |name: &str| {
        let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| String::from_utf8_lossy(header.value).into_owned())
    };
    let body_bytes = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    if held.len() < head_bytes + body_bytes {
        return Ok(None);
    }
    let request = Request {
        method: head.method.unwrap_or_default().to_owned(),
        target: head.path.unwrap_or_default().to_owned(),
        authorization: header("authorization"),
        body: held[head_bytes..head_bytes + body_bytes].to_vec(),
    };
    held.drain(..head_bytes + body_bytes);
    Ok(Some(request))
}

/// Whether the connection can take another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Afterwards {
    Open,
    Closed,
}

/// Sends an answer as DVID does.
pub(super) fn send(stream: &mut TcpStream, response: &Response) -> io::Result<Afterwards> {
    if response.body.len() <= LONGEST_COUNTED {
        let mut whole = response.head(&format!("Content-Length: {}\r\n", response.body.len()));
        whole.extend(&response.body);
        stream.write_all(&whole)?;
    } else {
        let mut start = response.head("Transfer-Encoding: chunked\r\n");
        start.extend(format!("{:x}\r\n", response.body.len()).bytes());
        stream.write_all(&start)?;
        stream.write_all(&response.body)?;
        stream.write_all(b"\r\n0\r\n\r\n")?;
    }
    Ok(Afterwards::Open)
}

/// Sends an answer whose transport goes wrong; an answer without such a fault goes right.
pub(super) fn send_faulty(
    stream: &mut TcpStream,
    response: &Response,
    fault: &FaultKind,
    stopped: &AtomicBool,
) -> io::Result<Afterwards> {
    let (body, half) = (&response.body, response.body.len() / 2);
    let chunked = |part: &[u8], of: usize| {
        let mut bytes = response.head("Transfer-Encoding: chunked\r\n");
        bytes.extend(format!("{of:x}\r\n").bytes());
        bytes.extend(part);
        bytes
    };
    let counted = |length: usize| [response.head(&format!("Content-Length: {length}\r\n")), body.clone()].concat();
    #[allow(clippy::wildcard_enum_match_arm)] // every other kind is no fault of the transport
    match fault {
        FaultKind::HangBeforeHeaders { ms } => wait(*ms, stopped),
        FaultKind::HangAfterHeaders { ms } => {
            stream.write_all(&chunked(&body[..half.min(100)], body.len()))?;
            wait(*ms, stopped);
        }
        FaultKind::Drip { ms } => {
            stream.write_all(&chunked(&[], body.len()))?;
            for byte in body {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                stream.write_all(&[*byte])?;
                wait(*ms, stopped);
            }
        }
        FaultKind::LengthTooLarge => stream.write_all(&counted(body.len() + 10))?,
        FaultKind::LengthTooSmall => stream.write_all(&counted(body.len().saturating_sub(10)))?,
        FaultKind::NoLastChunk => stream.write_all(&[chunked(body, body.len()), b"\r\n".to_vec()].concat())?,
        FaultKind::CutInChunk => stream.write_all(&chunked(&body[..half], body.len()))?,
        FaultKind::Http10Cut => {
            let head =
                String::from_utf8_lossy(&response.head("Connection: close\r\n")).replacen("HTTP/1.1", "HTTP/1.0", 1);
            stream.write_all(&[head.as_bytes(), &body[..half]].concat())?;
        }
        FaultKind::EndlessBody => {
            stream.write_all(&response.head("Transfer-Encoding: chunked\r\n"))?;
            while !stopped.load(Ordering::SeqCst) {
                stream.write_all(&[b"10000\r\n".as_slice(), &[0; 0x10000], b"\r\n"].concat())?;
            }
        }
        FaultKind::Reset => {
            stream.write_all(&chunked(&body[..half], body.len()))?;
            nix::sys::socket::setsockopt(
                stream,
                nix::sys::socket::sockopt::Linger,
                &nix::libc::linger { l_onoff: 1, l_linger: 0 },
            )?;
        }
        _ => return send(stream, response),
    }
    Ok(Afterwards::Closed)
}

/// Waits, but no longer than the server lives.
pub(super) fn wait(ms: u64, stopped: &AtomicBool) {
    let end = Instant::now() + Duration::from_millis(ms);
    while !stopped.load(Ordering::SeqCst) && Instant::now() < end {
        let left = end.saturating_duration_since(Instant::now());
        std::thread::sleep(left.min(Duration::from_millis(10)));
    }
}
