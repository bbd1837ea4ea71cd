//! A client that believes nothing: bytes of a socket, taken apart as HTTP/1.1 says.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::Demo;

/// A whole answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Frames as `(bx, by, bz)` and payload, in the order in which they came.
    pub(super) fn frames(&self) -> Vec<([i32; 3], Vec<u8>)> {
        let (mut frames, mut rest) = (Vec::new(), self.body.as_slice());
        while !rest.is_empty() {
            let field = |n: usize| i32::from_le_bytes(rest[4 * n..4 * n + 4].try_into().unwrap());
            let end = 16 + usize::try_from(field(3)).unwrap();
            frames.push(([field(0), field(1), field(2)], rest[16..end].to_vec()));
            rest = &rest[end..];
        }
        frames
    }
}

pub(super) struct Client {
    stream: TcpStream,
    pub(super) authorization: Option<String>,
}

impl Client {
    pub(super) fn new(demo: &Demo) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", demo.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { stream, authorization: None }
    }

    /// A client that takes silence for the end.
    pub(super) fn impatient(demo: &Demo, patience: Duration) -> Self {
        let client = Self::new(demo);
        client.stream.set_read_timeout(Some(patience)).unwrap();
        client
    }

    pub(super) fn send(&mut self, method: &str, target: &str, body: &[u8]) {
        let mut head =
            format!("{method} {target} HTTP/1.1\r\nHost: localhost:8100\r\nContent-Length: {}\r\n", body.len());
        if let Some(authorization) = &self.authorization {
            head.push_str(&format!("Authorization: {authorization}\r\n"));
        }
        // A server that has closed is seen when the answer is read.
        let _ = self.stream.write_all(&[head.as_bytes(), b"\r\n", body].concat());
    }

    /// The next answer; `None` if it does not come, or not whole.
    pub(super) fn receive(&mut self, is_head: bool) -> Option<Answer> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.byte()?);
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()?;
        let headers =
            lines.map(|line| line.split_once(": ").unwrap()).map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        if is_head || matches!(status, 204 | 304) {
            return Some(answer);
        }
        if let Some(length) = answer.header("Content-Length") {
            answer.body = self.exactly(length.parse().unwrap())?;
            return Some(answer);
        }
        assert_eq!(answer.header("Transfer-Encoding"), Some("chunked"));
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.push(self.byte()?);
            }
            let size = usize::from_str_radix(String::from_utf8(line).unwrap().trim_end(), 16).unwrap();
            let part = self.exactly(size)?;
            assert_eq!(self.exactly(2)?, b"\r\n");
            if size == 0 {
                return Some(answer);
            }
            answer.body.extend(part);
        }
    }

    pub(super) fn get(&mut self, target: &str) -> Option<Answer> {
        self.send("GET", target, &[]);
        self.receive(false)
    }

    /// At most so many of the bytes that come until the connection ends or falls silent, and whether it was reset.
    pub(super) fn everything(&mut self, most: usize) -> (Vec<u8>, bool) {
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        while bytes.len() < most {
            match self.stream.read(&mut buffer) {
                Ok(0) => return (bytes, false),
                Ok(n) => bytes.extend_from_slice(&buffer[..n]),
                Err(error) => return (bytes, error.kind() == std::io::ErrorKind::ConnectionReset),
            }
        }
        (bytes, false)
    }

    fn byte(&mut self) -> Option<u8> {
        self.exactly(1).map(|bytes| bytes[0])
    }

    fn exactly(&mut self, n: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; n];
        self.stream.read_exact(&mut bytes).ok().map(|()| bytes)
    }
}

/// One request on a connection of its own.
pub(super) fn get(demo: &Demo, target: &str) -> Answer {
    Client::new(demo).get(target).unwrap_or_else(|| panic!("no answer to {target}"))
}
