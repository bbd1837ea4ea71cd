//! From an answer to bytes on a connection, right or wrong.

use std::io::{self, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::Duration;

use super::faults::FaultKind;
use super::http::{Response, reason};
use super::patience::Patience;

/// DVID's Go server tells the length of bodies up to this size, and sends longer ones in chunks.
const MOST_WITH_LENGTH: usize = 2048;

/// Whether the connection can carry another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    Keep,
    Close,
}

/// Sends an answer as DVID does.
pub(super) fn send(stream: &mut TcpStream, answer: &Response, is_head: bool) -> io::Result<After> {
    let chunked = answer.body.len() > MOST_WITH_LENGTH;
    let mut bytes = head(answer, "1.1", &framing(answer, chunked));
    if !is_head && chunked {
        // A large body is not copied once more.
        bytes.extend_from_slice(format!("{:x}\r\n", answer.body.len()).as_bytes());
        stream.write_all(&bytes)?;
        stream.write_all(&answer.body)?;
        stream.write_all(b"\r\n0\r\n\r\n")?;
        return Ok(After::Keep);
    }
    if !is_head {
        bytes.extend_from_slice(&answer.body);
    }
    stream.write_all(&bytes)?;
    Ok(After::Keep)
}

fn framing(answer: &Response, chunked: bool) -> String {
    match answer.status {
        204 | 304 => String::new(),
        _ if chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
        _ => format!("Content-Length: {}\r\n", answer.body.len()),
    }
}

fn head(answer: &Response, version: &str, framing: &str) -> Vec<u8> {
    let mut head = format!("HTTP/{version} {} {}\r\n", answer.status, reason(answer.status));
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("Date: Tue, 24 Nov 2026 12:00:00 GMT\r\n");
    head.push_str(framing);
    head.push_str("\r\n");
    head.into_bytes()
}

fn chunk(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
    bytes.extend_from_slice(part);
    bytes.extend_from_slice(b"\r\n");
}

/// Sends an answer with a fault of the connection; with any other kind, as it is.
#[allow(clippy::wildcard_enum_match_arm)] // every other kind is about the body
pub(super) fn send_wrongly(
    stream: &mut TcpStream,
    answer: &Response,
    kind: &FaultKind,
    patience: &Patience,
) -> io::Result<After> {
    let half = answer.body.len() / 2;
    let length = answer.body.len();
    match kind {
        FaultKind::HangBeforeHeaders { ms } => patience.until_closed(stream, Duration::from_millis(*ms)),
        FaultKind::HangAfterHeaders { ms } => {
            stream.write_all(&head(answer, "1.1", "Transfer-Encoding: chunked\r\n"))?;
            patience.until_closed(stream, Duration::from_millis(*ms));
        }
        FaultKind::Drip { ms } => trickle(stream, answer, Duration::from_millis(*ms), patience)?,
        FaultKind::Stall { ms } => {
            first_half(stream, answer)?;
            patience.sleep(Duration::from_millis(*ms));
            stream.write_all(&answer.body[half..])?;
            return Ok(After::Keep);
        }
        FaultKind::LengthTooLarge => whole(stream, answer, &format!("Content-Length: {}\r\n", length + 10))?,
        FaultKind::LengthTooSmall => {
            whole(stream, answer, &format!("Content-Length: {}\r\n", length.saturating_sub(10)))?
        }
        FaultKind::TwoLengths => {
            whole(stream, answer, &format!("Content-Length: {length}\r\nContent-Length: {}\r\n", length + 1))?
        }
        FaultKind::NoLastChunk | FaultKind::LengthAndChunked | FaultKind::CutInChunk => {
            in_chunks(stream, answer, kind)?
        }
        FaultKind::Http10Cut => {
            stream.write_all(&head(answer, "1.0", ""))?;
            stream.write_all(&answer.body[..half])?;
        }
        FaultKind::EndlessHeaders => {
            forever(stream, b"HTTP/1.1 200 OK\r\n", b"X-More: and more and more and more\r\n", patience)?
        }
        FaultKind::ContinueFlood => forever(stream, b"", b"HTTP/1.1 100 Continue\r\n\r\n", patience)?,
        FaultKind::EndlessBody => endless_chunks(stream, answer, patience)?,
        FaultKind::BadHeader => whole(stream, answer, &format!("X-Bad: a\0b\r\nContent-Length: {length}\r\n"))?,
        FaultKind::BareLineFeeds | FaultKind::EightBitHeader => odd_head(stream, answer, kind)?,
        FaultKind::Banner => stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n")?,
        FaultKind::Closed => first_half(stream, answer)?,
        FaultKind::Reset => {
            first_half(stream, answer)?;
            // Let it arrive: a reset throws away what is still under way.
            patience.sleep(Duration::from_millis(20));
            reset(stream)?;
        }
        FaultKind::ResetAtOnce => reset(stream)?,
        FaultKind::ClosedAfter => drop(send(stream, answer, false)?),
        _ => return send(stream, answer, false),
    }
    Ok(After::Close)
}

/// A head that is not quite HTTP, and the whole body.
#[allow(clippy::wildcard_enum_match_arm)] // as above
fn odd_head(stream: &mut TcpStream, answer: &Response, kind: &FaultKind) -> io::Result<()> {
    let head = head(answer, "1.1", &format!("X-Odd: ~~\r\nContent-Length: {}\r\n", answer.body.len()));
    let odd: Vec<u8> = match kind {
        FaultKind::EightBitHeader => head.iter().map(|&byte| if byte == b'~' { 0x9b } else { byte }).collect(),
        _ => head.into_iter().filter(|&byte| byte != b'\r').collect(),
    };
    stream.write_all(&odd)?;
    stream.write_all(&answer.body)
}

fn endless_chunks(stream: &mut TcpStream, answer: &Response, patience: &Patience) -> io::Result<()> {
    let mut part = Vec::new();
    chunk(&mut part, &[0; 64 << 10]);
    forever(stream, &head(answer, "1.1", "Transfer-Encoding: chunked\r\n"), &part, patience)
}

fn first_half(stream: &mut TcpStream, answer: &Response) -> io::Result<()> {
    let length = answer.body.len();
    stream.write_all(&head(answer, "1.1", &format!("Content-Length: {length}\r\n")))?;
    stream.write_all(&answer.body[..length / 2])
}

fn whole(stream: &mut TcpStream, answer: &Response, framing: &str) -> io::Result<()> {
    stream.write_all(&head(answer, "1.1", framing))?;
    stream.write_all(&answer.body)
}

fn in_chunks(stream: &mut TcpStream, answer: &Response, kind: &FaultKind) -> io::Result<()> {
    let (length, half) = (answer.body.len(), answer.body.len() / 2);
    let mut body = Vec::new();
    let mut framing = "Transfer-Encoding: chunked\r\n".to_owned();
    if *kind == FaultKind::CutInChunk {
        body.extend_from_slice(format!("{length:x}\r\n").as_bytes());
        body.extend_from_slice(&answer.body[..half]);
    } else {
        chunk(&mut body, &answer.body);
    }
    if *kind == FaultKind::LengthAndChunked {
        framing.push_str(&format!("Content-Length: {}\r\n", length + 7));
        body.extend_from_slice(b"0\r\n\r\n");
    }
    stream.write_all(&head(answer, "1.1", &framing))?;
    stream.write_all(&body)
}

fn trickle(stream: &mut TcpStream, answer: &Response, pause: Duration, patience: &Patience) -> io::Result<()> {
    stream.write_all(&head(answer, "1.1", &format!("Content-Length: {}\r\n", answer.body.len())))?;
    for byte in &answer.body {
        if patience.is_over() {
            break;
        }
        stream.write_all(&[*byte])?;
        patience.sleep(pause);
    }
    Ok(())
}

/// Until the client closes or the server stops.
fn forever(stream: &mut TcpStream, first: &[u8], again: &[u8], patience: &Patience) -> io::Result<()> {
    stream.write_all(first)?;
    while !patience.is_over() {
        stream.write_all(again)?;
    }
    Ok(())
}

/// Closing sends RST instead of FIN.
fn reset(stream: &TcpStream) -> io::Result<()> {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    nix::sys::socket::setsockopt(&stream.as_fd(), nix::sys::socket::sockopt::Linger, &linger)?;
    Ok(())
}
