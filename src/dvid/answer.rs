//! What an answer's status and headers mean, apart from how it came.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::ErrorKind;
use super::server_time::http_date_seconds;

/// No server is waited for longer than this, whatever it asks.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Characters of the server's words that an error repeats.
const DETAIL_CHARS: usize = 200;

/// What a status other than 200 means. No request of ours is answered by 204, 206 or 304.
pub(super) fn kind_of_status(status: u16) -> ErrorKind {
    match status {
        401 | 403 => ErrorKind::Denied,
        429 | 502 | 503 | 504 => ErrorKind::Busy,
        304 => ErrorKind::Status(status),
        300..=399 => ErrorKind::Redirected,
        _ => ErrorKind::Status(status),
    }
}

/// The time of a `Retry-After`: seconds, or a date. At most a minute.
pub(super) fn retry_after(value: &str) -> Option<Duration> {
    let value = value.trim();
    let seconds = if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        value.parse().unwrap_or(u64::MAX)
    } else {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        u64::try_from(http_date_seconds(value)?).ok()?.saturating_sub(now)
    };
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}

/// The server's words on one line, so that no log or terminal is harmed by them.
pub(super) fn words_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    if text.trim_start().starts_with('<') {
        return "a web page".to_owned();
    }
    let text: String = text.trim().chars().take(DETAIL_CHARS).collect();
    text.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'")
}

/// How an answer says where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// `Content-Length`.
    Length(u64),
    /// Chunked, and the length that it claims beside that, if it does.
    Chunked(Option<u64>),
}

impl Framing {
    /// The length that is known before the answer comes, and the one that it must have in the end.
    pub(super) fn lengths(self) -> (Option<u64>, Option<u64>) {
        match self {
            Self::Length(length) => (Some(length), Some(length)),
            Self::Chunked(claimed) => (None, claimed),
        }
    }
}

/// How an answer ends, from its headers.
///
/// # Errors
/// If only the end of the connection ends it, so that a cut could not be seen; or if it is encoded in any way. The log
/// code, and why.
pub(super) fn framing(
    is_http_1_1: bool,
    header: impl Fn(&str) -> Option<String>,
) -> Result<Framing, (&'static str, String)> {
    let header = |name| header(name).map(|value| value.trim().to_ascii_lowercase());
    if let Some(encoding) = header("content-encoding").filter(|encoding| encoding != "identity") {
        return Err(("bad_encoding", format!("content-encoding {encoding:?} that was not asked for")));
    }
    let length = match header("content-length") {
        Some(text) => Some(text.parse().map_err(|_| ("bad_http", format!("content-length {text:?}")))?),
        None => None,
    };
    match (header("transfer-encoding"), length) {
        (Some(encoding), length) if encoding == "chunked" && is_http_1_1 => Ok(Framing::Chunked(length)),
        (Some(encoding), _) => Err(("bad_encoding", format!("transfer-encoding {encoding:?}"))),
        (None, Some(length)) => Ok(Framing::Length(length)),
        (None, None) => Err(("bad_length", "neither a length nor chunks: a cut would not be seen".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_have_their_kinds() {
        for (status, kind) in [
            (401, ErrorKind::Denied),
            (403, ErrorKind::Denied),
            (429, ErrorKind::Busy),
            (503, ErrorKind::Busy),
            (302, ErrorKind::Redirected),
            (304, ErrorKind::Status(304)),
            (204, ErrorKind::Status(204)),
            (206, ErrorKind::Status(206)),
            (400, ErrorKind::Status(400)),
            (404, ErrorKind::Status(404)),
            (500, ErrorKind::Status(500)),
        ] {
            assert_eq!(kind_of_status(status), kind, "{status}");
        }
    }

    #[test]
    fn a_server_may_ask_for_a_minute_at_most() {
        for (value, seconds) in [
            ("2", Some(2)),
            (" 7 ", Some(7)),
            ("1000000000", Some(60)),
            ("99999999999999999999999", Some(60)),
            ("Thu, 01 Jan 1970 00:00:10 GMT", Some(0)),
            ("Fri, 31 Dec 2999 00:00:00 GMT", Some(60)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(retry_after(value), seconds.map(Duration::from_secs), "{value:?}");
        }
    }

    #[test]
    fn words_of_a_server_stay_on_one_line() {
        assert_eq!(words_of(b"more than one UUID matches \"a\"\n"), "more than one UUID matches \"a\"");
        assert_eq!(words_of(b"a\nb\x1b[2J"), "a\\nb\\u{1b}[2J");
        assert_eq!(words_of(&[b'x'; 1000]).len(), 200);
        assert_eq!(words_of(b"\n<!DOCTYPE HTML>\n<html>much"), "a web page");
    }

    #[test]
    fn an_answer_must_say_where_it_ends() {
        let of = |http_1_1, headers: &[(&str, &str)]| {
            framing(http_1_1, |name| headers.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(of(true, &[("content-length", "12")]), Ok(Framing::Length(12)));
        assert_eq!(of(false, &[("content-length", "12")]), Ok(Framing::Length(12)));
        assert_eq!(of(true, &[("transfer-encoding", "Chunked")]), Ok(Framing::Chunked(None)));
        let both = [("transfer-encoding", "chunked"), ("content-length", "3")];
        assert_eq!(of(true, &both), Ok(Framing::Chunked(Some(3))));
        for refused in [
            of(true, &[]),
            of(false, &[("transfer-encoding", "chunked")]),
            of(true, &[("transfer-encoding", "gzip, chunked")]),
            of(true, &[("content-length", "12"), ("content-encoding", "gzip")]),
            of(true, &[("content-length", "-1")]),
        ] {
            assert!(refused.is_err(), "{refused:?}");
        }
    }
}
