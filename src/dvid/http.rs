//! One request and its whole answer. The only file that names the HTTP library, and only GET leaves it.
//!
//! No retry by policy here, with two exceptions: a kept connection that the server closed meanwhile is replaced at
//! once, and a token file that changed is read again. ureq's global, per-call and resolve timeouts are not used: they
//! cost a thread each request. Its per-read timeout would count for the wait for the first byte too, so [`Patient`]
//! puts it in for bodies alone.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Instant;

use ureq::http::{Response, Version, header};
use ureq::{Agent, Body, Timeout};

use crate::metrics::{Counter, Metrics};

use super::address::{check_origin, host_and_port};
use super::addresses::{is_silent_resolver, is_unknown_host, is_unresolved};
use super::answer::{framing, kind_of_status, retry_after, words_of};
use super::endpoint::{encoded, is_allowed};
use super::error::{Error, ErrorKind};
use super::http_config::{Ask, HttpConfig, Until};
use super::pace::Paced;
use super::tls::{is_of_tls, tls_failure};
use super::token::{Token, TokenError, TokenKeeper, is_private};

mod connection;

use connection::EndlessHead;

/// So much of the body of an error is read, to keep the connection and to repeat the server's words.
const ERROR_BODY_LIMIT: u64 = 64 << 10;

/// A server and the connections to it. Clones share them.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Inner>,
    until: Until,
}

struct Inner {
    origin: String,
    agent: Agent,
    config: HttpConfig,
    /// Who we are, at the end of each query.
    signature: String,
    token: TokenKeeper,
    metrics: Arc<Metrics>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.shared.origin).finish()
    }
}

impl Server {
    /// A server by its origin, `http(s)://host[:port]`. No request is made.
    ///
    /// # Errors
    /// If the origin is none, or the token file is unfit, or the token would be read by others
    /// ([`TokenError`] as the source).
    pub fn new(origin: &str, config: HttpConfig, metrics: Arc<Metrics>) -> Result<Self, Error> {
        let denied = |error: TokenError| Error::new(ErrorKind::Denied, origin).with_source(error);
        check_origin(origin).map_err(|error| Error::new(ErrorKind::Unreachable, origin).with_source(error))?;
        let (host, port) = host_and_port(origin).ok_or_else(|| Error::new(ErrorKind::Unreachable, origin))?;
        let token = TokenKeeper::open(config.token_file.as_deref()).map_err(denied)?;
        if token.current().is_some() && !config.insecure_token && !is_private(origin) {
            return Err(denied(TokenError::Insecure { origin: origin.to_owned() }));
        }
        let user = if config.user.is_empty() { String::new() } else { format!("&u={}", encoded(&config.user)) };
        let shared = Arc::new(Inner {
            origin: origin.to_owned(),
            agent: connection::agent(&config, (host, port)),
            config,
            signature: format!("app=dvidfs{user}"),
            token,
            metrics,
        });
        Ok(Self { shared, until: Until::default() })
    }

    /// The same server and connections; attempts end at this moment, or within a second if it is past.
    #[must_use]
    pub(super) fn until(&self, until: Instant) -> Self {
        Self { shared: Arc::clone(&self.shared), until: Until(Some(until)) }
    }

    /// `http(s)://host[:port]`.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.shared.origin
    }

    pub(super) fn config(&self) -> &HttpConfig {
        &self.shared.config
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// The connection that this thread's last request went over: they are numbered from 1 in the order of their making.
    pub(super) fn last_connection() -> u64 {
        connection::last_number()
    }

    /// What this thread received last was no answer to what it asked: the connection is not used again.
    pub(super) fn distrust_connection(&self) {
        connection::distrust_last();
    }

    /// One attempt at one request: the whole answer, at most `limit` bytes of it.
    ///
    /// # Errors
    /// Of every kind: whatever is not a complete answer with status 200 is one.
    pub fn get(&self, path_and_query: &str, limit: u64) -> Result<Vec<u8>, Error> {
        let mut body = vec![];
        self.get_into(path_and_query, limit, &mut body)?;
        // Words of metadata are shown, in files and in errors.
        Ok(self.shared.token.redacted_bytes(body))
    }

    /// As [`get`](Self::get), into a buffer that is cleared first and used again.
    pub(super) fn get_into(&self, path_and_query: &str, limit: u64, body: &mut Vec<u8>) -> Result<(), Error> {
        self.ask_into(&Ask { path: path_and_query, body: None, first_byte: self.shared.config.first_byte, limit }, body)
    }

    /// As [`get_into`](Self::get_into), for a request with limits or a body of its own.
    pub(super) fn ask_into(&self, ask: &Ask<'_>, body: &mut Vec<u8>) -> Result<(), Error> {
        self.ask(ask, |reader, length| {
            body.clear();
            // What the server claims is believed up to the limit; the buffer grows with what comes.
            body.reserve(usize::try_from(length.unwrap_or(0).min(ask.limit)).unwrap_or(0));
            reader.read_to_end(body).map(drop)
        })
    }

    /// One attempt, whose answer `receive` reads to its end as it comes; it also gets the length that is claimed.
    pub(super) fn ask(
        &self,
        ask: &Ask<'_>,
        receive: impl FnOnce(&mut dyn Read, Option<u64>) -> io::Result<()>,
    ) -> Result<(), Error> {
        if self.shared.config.offline {
            return Err(Error::new(ErrorKind::Offline, ask.path));
        }
        let result = self.send(ask).and_then(|response| self.receive(ask, response, receive));
        match &result {
            Ok(received) => self.shared.metrics.add(Counter::DvidReceivedBytes, *received),
            Err(error) => {
                self.shared.metrics.count(Counter::DvidFailedRequests);
                tracing::debug!(target: "dvidfs", code = error.code(), op = "fetch", path = ask.path, cause = %error);
            }
        }
        result.map(drop)
    }

    /// Sends a request and returns the answer if its status is 200.
    fn send(&self, ask: &Ask<'_>) -> Result<Response<Body>, Error> {
        if !is_allowed(ask.path) {
            return Err(Error::new(ErrorKind::Malformed, ask.path).with_detail("not on the list of requests"));
        }
        let token = self.shared.token.current();
        let mut response = self.send_once(ask, token.as_ref())?;
        if matches!(response.status().as_u16(), 401 | 403)
            && let Some(newer) = self.shared.token.newer_than(token.as_ref())
        {
            response = self.send_once(ask, Some(&newer))?;
        }
        let status = response.status().as_u16();
        self.shared.token.note(!matches!(status, 401 | 403));
        if status == 200 { Ok(response) } else { Err(self.refusal(ask, response)) }
    }

    fn send_once(&self, ask: &Ask<'_>, token: Option<&Token>) -> Result<Response<Body>, Error> {
        connection::begin();
        self.call(ask, token)
            .or_else(|error| {
                // The server had closed a kept connection, and we had not yet heard of it.
                let is_stale = matches!(&error, ureq::Error::Io(error) if !is_of_tls(error)) && !connection::is_new();
                if is_stale { self.call(ask, token) } else { Err(error) }
            })
            .map_err(|error| {
                let (kind, code, detail) = kind_before_answer(&error);
                Error::new(kind, ask.path).with_code(code).with_detail(self.shared.token.redacted(&detail))
            })
    }

    fn call(&self, ask: &Ask<'_>, token: Option<&Token>) -> Result<Response<Body>, ureq::Error> {
        self.shared.metrics.count(Counter::DvidRequests);
        let separator = if ask.path.contains('?') { '&' } else { '?' };
        let url = format!("{}{}{separator}{}", self.shared.origin, ask.path, self.shared.signature);
        let mut request = self.shared.agent.get(url);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, token.header());
        }
        let first_byte = self.until.limit(ask.first_byte);
        if first_byte != self.shared.config.first_byte {
            let connect = self.until.limit(self.shared.config.connect);
            let settings = request.config().timeout_connect(Some(connect)).timeout_recv_response(Some(first_byte));
            request = settings.build();
        }
        match ask.body {
            None => request.call(),
            Some(body) => request.force_send_body().send(body),
        }
    }

    /// Reads the body of an answer. The number of its bytes.
    fn receive(
        &self,
        ask: &Ask<'_>,
        response: Response<Body>,
        receive: impl FnOnce(&mut dyn Read, Option<u64>) -> io::Result<()>,
    ) -> Result<u64, Error> {
        let error = |kind, code, detail: String| {
            Error::new(kind, ask.path).with_code(code).with_detail(self.shared.token.redacted(&detail))
        };
        // Before anything changes its letters.
        let header = |name: &str| {
            let value = String::from_utf8_lossy(response.headers().get(name)?.as_bytes());
            Some(self.shared.token.redacted(&value))
        };
        let framing = framing(response.version() == Version::HTTP_11, header)
            .map_err(|(code, detail)| error(ErrorKind::Malformed, code, words_of(detail.as_bytes())))?;
        let (length, claimed) = framing.lengths();
        if length.is_some_and(|length| length > ask.limit) {
            let detail = format!("{} bytes in place of {} at most", length.unwrap_or_default(), ask.limit);
            return Err(error(ErrorKind::OverLimit, "over_limit", detail));
        }
        let mut body = response.into_body();
        let mut counted = self.paced(&mut body).take(ask.limit + 1);
        receive(&mut counted, length).map_err(|cause| {
            let (kind, code) = kind_of_body_error(&cause);
            error(kind, code, cause.to_string())
        })?;
        let received = ask.limit + 1 - counted.limit();
        if received > ask.limit {
            return Err(error(ErrorKind::OverLimit, "over_limit", format!("more than {} bytes", ask.limit)));
        }
        match claimed {
            Some(claimed) if claimed != received => {
                let detail = format!("{received} bytes where {claimed} were claimed");
                Err(error(ErrorKind::Malformed, "bad_length", detail))
            }
            _ => Ok(received),
        }
    }

    /// A body that must go on, and not too slowly.
    fn paced<'a>(&self, body: &'a mut Body) -> Paced<impl Read + 'a> {
        connection::may_pause(self.until.limit(self.shared.config.per_read));
        let rate = self.shared.config.slow_rate;
        Paced::new(body.as_reader(), rate.within(self.until.limit(rate.window)))
    }

    /// The error that an answer with another status than 200 is.
    fn refusal(&self, ask: &Ask<'_>, response: Response<Body>) -> Error {
        let kind = kind_of_status(response.status().as_u16());
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let longest = self.shared.config.longest_retry_after;
        let retry_after = header(header::RETRY_AFTER).and_then(retry_after).map(|asked| asked.min(longest));
        let target = header(header::LOCATION).map(|location| format!("to {location}"));
        let (mut words, mut body) = (vec![], response.into_body());
        // Words that do not come are no reason for another error.
        let _ = self.paced(&mut body).take(ERROR_BODY_LIMIT).read_to_end(&mut words);
        let words = target.unwrap_or_else(|| String::from_utf8_lossy(&words).into_owned());
        let detail = words_of(self.shared.token.redacted(&words).as_bytes());
        let error = Error::new(kind, ask.path).with_retry_after(retry_after);
        if detail.is_empty() { error } else { error.with_detail(detail) }
    }
}

/// What became of a request that got no answer, its log code, and why.
#[allow(clippy::wildcard_enum_match_arm)] // the library's list of errors is open
fn kind_before_answer(error: &ureq::Error) -> (ErrorKind, &'static str, String) {
    let (kind, code) = match error {
        ureq::Error::Timeout(Timeout::Connect) => (ErrorKind::Unreachable, "connect_timeout"),
        ureq::Error::Timeout(_) => (ErrorKind::Timeout, "fetch_timeout"),
        ureq::Error::Protocol(_)
        | ureq::Error::LargeResponseHeader(..)
        | ureq::Error::Http(_)
        | ureq::Error::BadUri(_) => (ErrorKind::Malformed, "bad_http"),
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => (ErrorKind::TlsFailed, "tls_failed"),
        ureq::Error::Io(error) => return kind_of_io(error),
        _ => (ErrorKind::Unreachable, "server_lost"),
    };
    (kind, code, error.to_string())
}

fn kind_of_io(error: &io::Error) -> (ErrorKind, &'static str, String) {
    if let Some(detail) = tls_failure(error) {
        return (ErrorKind::TlsFailed, "tls_failed", detail);
    }
    let (kind, code) = if is_unknown_host(error) {
        (ErrorKind::UnknownHost, "dns_failed")
    } else if is_silent_resolver(error) {
        (ErrorKind::UnknownHost, "dns_timeout")
    } else if is_unresolved(error) {
        (ErrorKind::Unreachable, "dns_failed")
    } else if is_of_tls(error) {
        // A record that came damaged: the next connection may bring it whole.
        (ErrorKind::Unreachable, "tls_failed")
    } else if error.get_ref().is_some_and(|cause| cause.is::<EndlessHead>()) {
        (ErrorKind::Malformed, "bad_http")
    } else {
        (ErrorKind::Unreachable, "server_lost")
    };
    (kind, code, error.to_string())
}

/// What became of an answer that began well, and its log code.
fn kind_of_body_error(error: &io::Error) -> (ErrorKind, &'static str) {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<ureq::Error>());
    match cause {
        Some(ureq::Error::Timeout(_)) => (ErrorKind::Timeout, "fetch_timeout"),
        Some(ureq::Error::Protocol(_)) => (ErrorKind::Malformed, "bad_http"),
        Some(ureq::Error::Io(io)) if is_of_tls(io) => (ErrorKind::Cut, "tls_failed"),
        None if is_of_tls(error) => (ErrorKind::Cut, "tls_failed"),
        None if error.kind() == io::ErrorKind::TimedOut => (ErrorKind::Timeout, "fetch_timeout"),
        _ => (ErrorKind::Cut, "fetch_cut"),
    }
}

#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
