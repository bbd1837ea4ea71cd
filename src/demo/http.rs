//! Requests and answers of HTTP/1.1 as values.

use std::io::{self, Read};
use std::net::TcpStream;

/// Go's default limit of request headers.
const MOST_HEADER_BYTES: usize = 1 << 20;

/// No endpoint here takes a larger body.
const MOST_BODY_BYTES: usize = 64 << 20;

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// Path and query, still percent-encoded.
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    /// The value of a header; names compare without case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// What the log and the fault script see.
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

/// An answer before it becomes bytes.
#[derive(Clone, Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Response {
    pub(super) fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("Content-Type".to_owned(), content_type.to_owned())];
        Self { status, headers, body: body.into() }
    }

    pub(super) fn json(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200, "application/json", body)
    }

    pub(super) fn voxels(body: Vec<u8>) -> Self {
        Self::new(200, "application/octet-stream", body)
    }

    /// DVID's 400: the message, the decoded path, a full stop.
    pub(super) fn bad(message: &str, path: &str) -> Self {
        Self::text(400, &format!("{message} ({path}).\n"))
    }

    pub(super) fn text(status: u16, text: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", text).with("X-Content-Type-Options", "nosniff")
    }

    pub(super) fn not_found() -> Self {
        Self::text(404, "404 page not found\n")
    }

    /// What DVID answers when its handler panics.
    pub(super) fn panic(cause: &str, path: &str) -> Self {
        let text = format!(
            "Panic detected on request localhost/demo-000001:\nruntime error: {cause}\nIP: 127.0.0.1:0, URL: {path}\n\n"
        );
        Self::text(500, &text)
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// What came of reading the next request of a connection.
pub(super) enum Incoming {
    Request(Request),
    /// The client closed between requests.
    Closed,
    /// The headers are longer than a megabyte.
    TooLong,
}

/// The next request of a connection; `pending` holds bytes that were read beyond the last one.
pub(super) fn read_request(stream: &mut TcpStream, pending: &mut Vec<u8>) -> io::Result<Incoming> {
    let (head, length) = loop {
        if let Some(parsed) = parse_head(pending)? {
            break parsed;
        }
        if pending.len() > MOST_HEADER_BYTES {
            return Ok(Incoming::TooLong);
        }
        if read_more(stream, pending)? == 0 {
            return Ok(Incoming::Closed);
        }
    };
    let mut request = head;
    let body: usize = request.header("Content-Length").and_then(|value| value.parse().ok()).unwrap_or(0);
    if body > MOST_BODY_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a request body beyond any endpoint"));
    }
    while pending.len() < length + body {
        if read_more(stream, pending)? == 0 {
            return Ok(Incoming::Closed);
        }
    }
    request.body = pending[length..length + body].to_vec();
    pending.drain(..length + body);
    Ok(Incoming::Request(request))
}

fn read_more(stream: &mut TcpStream, pending: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0; 16 << 10];
    let n = stream.read(&mut buffer)?;
    pending.extend_from_slice(&buffer[..n]);
    Ok(n)
}

/// The request line and headers, and how many bytes they took; `None` while they are not complete.
fn parse_head(bytes: &[u8]) -> io::Result<Option<(Request, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    let bad = |error: httparse::Error| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    let httparse::Status::Complete(length) = parsed.parse(bytes).map_err(bad)? else { return Ok(None) };
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        target: parsed.path.unwrap_or_default().to_owned(),
        headers: parsed.headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect(),
        body: Vec::new(),
    };
    Ok(Some((request, length)))
}

/// The reason phrase of a status that this server sends.
pub(super) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        416 => "Requested Range Not Satisfiable",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}
