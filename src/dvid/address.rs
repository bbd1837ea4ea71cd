//! Where a node is: the server and the ref, as people write them.

use std::fmt;
use std::str::FromStr;

/// A ref longer than this is none.
const MAX_REFERENCE: usize = 1000;

/// A server and a ref to one of its nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `http://host:port` or `https://host:port`, without a slash at its end.
    pub origin: String,
    /// `UUID`, `UUID:branch`, `UUID:branch~n` (also a prefix of a UUID, or a tag): only `[0-9a-zA-Z:~_.-]`.
    pub reference: String,
}

/// An address that cannot be one, in one line that says what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Another scheme than http or https.
    #[error("{0:?}: only http:// and https:// are spoken; write http://HOST:PORT/UUID")]
    Scheme(String),
    /// No host, or one that has letters which no host has.
    #[error("{0:?} names no host; write http://HOST:PORT/UUID")]
    Host(String),
    /// A user or password before the host.
    #[error("an address holds no user or password: a token belongs into a file (--token-file)")]
    Credentials,
    /// No port where there is no scheme.
    #[error("{0:?} has no port; write http://HOST:PORT/UUID")]
    NoPort(String),
    /// A port that is none.
    #[error("{0:?} is no port: ports are 1 to 65535; write http://HOST:PORT/UUID")]
    Port(String),
    /// Nothing behind the host.
    #[error("no node is named; write {0}/UUID, or {0}/UUID:BRANCH for the newest node of a branch")]
    NoReference(String),
    /// A ref that could mean something else in a URL, or of which DVID makes nothing.
    #[error("{0:?} is no ref: write UUID, UUID:BRANCH or UUID:BRANCH~N, of letters, digits and _ . - alone")]
    Reference(String),
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads `http(s)://host[:port]/REF` or `host:port/REF`.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (Some(scheme), rest),
            Some((scheme, _)) => return Err(AddressError::Scheme(shortened(scheme))),
            None => (None, text),
        };
        let (authority, reference) = rest.split_once('/').unwrap_or((rest, ""));
        check_authority(authority, scheme.is_none())?;
        let origin = format!("{}://{}", scheme.unwrap_or("http"), authority.to_ascii_lowercase());
        let reference = reference.strip_suffix('/').unwrap_or(reference);
        if reference.is_empty() {
            return Err(AddressError::NoReference(origin));
        }
        if !is_reference(reference) {
            return Err(AddressError::Reference(shortened(reference)));
        }
        Ok(Self { origin, reference: reference.to_owned() })
    }
}

impl Address {
    /// The TCP port of its server.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        host_and_port(&self.origin).map(|(_, port)| port)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.origin, self.reference)
    }
}

/// Checks an origin by itself: `http(s)://host[:port]`.
///
/// # Errors
/// As those of an address.
pub(super) fn check_origin(origin: &str) -> Result<(), AddressError> {
    match origin.split_once("://") {
        Some(("http" | "https", authority)) => check_authority(authority, false),
        _ => Err(AddressError::Scheme(shortened(origin))),
    }
}

/// The host of an origin, without the brackets of an IPv6 address, and its port.
pub(super) fn host_and_port(origin: &str) -> Option<(&str, u16)> {
    let (scheme, authority) = origin.split_once("://")?;
    let (host, port) = split_port(authority);
    let default = if scheme == "https" { 443 } else { 80 };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((host, port.map_or(Some(default), |port| port.parse().ok())?))
}

fn check_authority(authority: &str, needs_port: bool) -> Result<(), AddressError> {
    if authority.contains('@') {
        return Err(AddressError::Credentials);
    }
    let (host, port) = split_port(authority);
    let is_name = |host: &str| host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    let is_v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = is_v6.map_or_else(|| is_name(host), |host| host.parse::<std::net::Ipv6Addr>().is_ok());
    if host.is_empty() || !is_host {
        return Err(AddressError::Host(shortened(authority)));
    }
    match port {
        Some(port) if port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(()),
        None if !needs_port => Ok(()),
        None | Some("") => Err(AddressError::NoPort(shortened(authority))),
        Some(port) => Err(AddressError::Port(shortened(port))),
    }
}

/// `host:port` in two; the colons of an IPv6 address in brackets are none of its port.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// Whether this is a ref that may stand in a path: the server must neither clean it away nor panic at it (`~-1`).
fn is_reference(text: &str) -> bool {
    let (uuid, branch) = text.split_once(':').map_or((text, None), |(uuid, branch)| (uuid, Some(branch)));
    let (name, above) = branch.unwrap_or("").split_once('~').map_or((branch, None), |(name, n)| (Some(name), Some(n)));
    let is_word = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    let is_count = |text: &str| (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text.len() <= MAX_REFERENCE
        && text.bytes().any(|b| b != b'.')
        && is_word(uuid)
        && is_word(name.unwrap_or(""))
        && above.is_none_or(is_count)
}

/// Enough of a text to know it again.
fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_address(text: &str, origin: &str, reference: &str) {
        let address: Address = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((address.origin.as_str(), address.reference.as_str()), (origin, reference), "{text}");
    }

    #[test]
    fn addresses_are_read_as_people_write_them() {
        check_address("http://dvid.example.org:8000/28841c:master", "http://dvid.example.org:8000", "28841c:master");
        check_address("https://Emdata5.example.org/abc/", "https://emdata5.example.org", "abc");
        check_address("localhost:8000/v1.0", "http://localhost:8000", "v1.0");
        check_address("127.0.0.1:8000/ab:master~3", "http://127.0.0.1:8000", "ab:master~3");
        check_address("http://[::1]:8000/ab:", "http://[::1]:8000", "ab:");
        check_address("http://h:1/:master", "http://h:1", ":master");
        check_address("http://h:1/ab:~2", "http://h:1", "ab:~2");
    }

    #[test]
    fn what_is_no_address_is_refused_before_any_request() {
        let long = format!("h:1/{}", "a".repeat(10_000));
        for text in [
            "",
            "h",
            "h:1",
            "h:1/",
            "h:99999/a",
            "h:/a",
            ":8000/a",
            "h/a",
            "ftp://h/a",
            "file:///etc/passwd",
            "http:///a",
            "h h:1/a",
            "http://user:secret@h:1/a",
            "h:1/a/../b",
            "h:1/..",
            "h:1/a?b",
            "h:1/a#b",
            "h:1/a%2e",
            "h:1/a\nb",
            "h:1/a b",
            "h:1/a/b",
            "h:1/a:b~-1",
            "h:1/a:b~x",
            "h:1/a:b~",
            "h:1/a:b~1~2",
            "h:1/a~1",
            "h:1/a:b:c",
            "http://[zz]:1/a",
            "h:1/é",
            &long,
        ] {
            let error = text.parse::<Address>().expect_err(text).to_string();
            assert!(!error.contains('\n') && error.len() < 250, "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_port_out_of_range_is_not_a_missing_one() {
        for (text, words) in [
            ("http://h:99999/a", "\"99999\" is no port: ports are 1 to 65535"),
            ("h:0/a", "is no port"),
            ("h:x/a", "is no port"),
            ("h:/a", "has no port"),
            ("h/a", "has no port"),
        ] {
            let said = text.parse::<Address>().unwrap_err().to_string();
            assert!(said.contains(words), "{text}: {said}");
        }
    }

    #[test]
    fn host_and_port_of_an_origin_are_known() {
        assert_eq!(host_and_port("http://[::1]:8000"), Some(("::1", 8000)));
        assert_eq!(host_and_port("https://h"), Some(("h", 443)));
        assert_eq!(host_and_port("http://h"), Some(("h", 80)));
    }
}
