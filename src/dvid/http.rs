//! One request and its whole answer. The only file that names the HTTP library, and only GET leaves it.
//!
//! No retry by policy here, with two exceptions: a kept connection that the server closed meanwhile is replaced at
//! once, and a token file that changed is read again. ureq's global, per-call and resolve timeouts are not used: they
//! cost a thread each request. Its per-read timeout would count for the wait for the first byte too, so [`Patient`]
//! puts it in for bodies alone.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ureq::http::{Response, Uri, Version, header};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, NextTimeout, RustlsConnector, TcpConnector, Transport,
};
use ureq::{Agent, Body, Timeout};

use crate::metrics::{Counter, Metrics};

use super::address::{check_origin, host_and_port};
use super::addresses::{Addresses, is_unknown_host, note_descriptors};
use super::answer::{framing, kind_of_status, retry_after, words_of};
use super::endpoint::{encoded, is_allowed};
use super::error::{Error, ErrorKind};
use super::http_config::{Ask, HttpConfig, Until};
use super::pace::Paced;
use super::tls::tls_failure;
use super::token::{Token, TokenError, TokenKeeper, is_private};

/// So much of the body of an error is read, to keep the connection and to repeat the server's words.
const ERROR_BODY_LIMIT: u64 = 64 << 10;
/// Kept connections that are idle for longer are closed.
const MAX_IDLE: Duration = Duration::from_secs(15);

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
        let dial = Dial { addresses: Addresses::new(host, port), n_connections: AtomicU64::new(0) };
        let user = if config.user.is_empty() { String::new() } else { format!("&u={}", encoded(&config.user)) };
        let shared = Arc::new(Inner {
            origin: origin.to_owned(),
            agent: agent(&config, dial),
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
        LAST_CONNECTION.get()
    }

    /// One attempt at one request: the whole answer, at most `limit` bytes of it.
    ///
    /// # Errors
    /// Of every kind: whatever is not a complete answer with status 200 is one.
    pub fn get(&self, path_and_query: &str, limit: u64) -> Result<Vec<u8>, Error> {
        let mut body = vec![];
        self.get_into(path_and_query, limit, &mut body)?;
        Ok(body)
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
        let result = self.send(ask).and_then(|response| self.receive(ask, response, receive));
        match &result {
            Ok(received) => self.shared.metrics.add(Counter::DvidReceivedBytes, *received),
            Err(error) => {
                self.shared.metrics.count(Counter::DvidFailedRequests);
                tracing::debug!(target: "dvidfs", code = error.kind().code(), op = "fetch", path = ask.path, cause = %error);
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
        IS_NEW_CONNECTION.set(false);
        self.call(ask, token)
            .or_else(|error| {
                // The server had closed a kept connection, and we had not yet heard of it.
                let is_stale = matches!(error, ureq::Error::Io(_)) && !IS_NEW_CONNECTION.get();
                if is_stale { self.call(ask, token) } else { Err(error) }
            })
            .map_err(|error| {
                let (kind, detail) = kind_before_answer(&error);
                Error::new(kind, ask.path).with_detail(self.shared.token.redacted(&detail))
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
        let error = |kind, detail: String| Error::new(kind, ask.path).with_detail(self.shared.token.redacted(&detail));
        let header = |name: &str| Some(String::from_utf8_lossy(response.headers().get(name)?.as_bytes()).into_owned());
        let framing = framing(response.version() == Version::HTTP_11, header)
            .map_err(|detail| error(ErrorKind::Malformed, words_of(detail.as_bytes())))?;
        let (length, claimed) = framing.lengths();
        if length.is_some_and(|length| length > ask.limit) {
            return Err(error(ErrorKind::OverLimit, format!("{length:?} bytes in place of {} at most", ask.limit)));
        }
        let mut body = response.into_body();
        let mut counted = self.paced(&mut body).take(ask.limit + 1);
        receive(&mut counted, length).map_err(|cause| error(kind_of_body_error(&cause), cause.to_string()))?;
        let received = ask.limit + 1 - counted.limit();
        if received > ask.limit {
            return Err(error(ErrorKind::OverLimit, format!("more than {} bytes", ask.limit)));
        }
        match claimed {
            Some(claimed) if claimed != received => {
                Err(error(ErrorKind::Malformed, format!("{received} bytes where {claimed} were claimed")))
            }
            _ => Ok(received),
        }
    }

    /// A body that must go on, and not too slowly.
    fn paced<'a>(&self, body: &'a mut Body) -> Paced<impl Read + 'a> {
        PER_READ.set(self.until.limit(self.shared.config.per_read));
        let rate = self.shared.config.slow_rate;
        Paced::new(body.as_reader(), rate.within(self.until.limit(rate.window)))
    }

    /// The error that an answer with another status than 200 is.
    fn refusal(&self, ask: &Ask<'_>, response: Response<Body>) -> Error {
        let kind = kind_of_status(response.status().as_u16());
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after = header(header::RETRY_AFTER).and_then(retry_after);
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

fn agent(config: &HttpConfig, dial: Dial) -> Agent {
    let settings = Agent::config_builder()
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .accept_encoding("")
        .user_agent(concat!("dvidfs/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(config.connect))
        .timeout_send_request(Some(config.first_byte))
        .timeout_send_body(Some(config.first_byte))
        .timeout_recv_response(Some(config.first_byte))
        .max_idle_connections(config.max_connections)
        .max_idle_connections_per_host(config.max_connections)
        .max_idle_age(MAX_IDLE)
        .build();
    Agent::with_parts(settings, dial.chain(RustlsConnector::default()), NoResolver)
}

thread_local! {
    /// Whether the request that this thread sends has made a connection of its own.
    static IS_NEW_CONNECTION: Cell<bool> = const { Cell::new(false) };
    /// The number of the connection that this thread has sent a request over last.
    static LAST_CONNECTION: Cell<u64> = const { Cell::new(0) };
    /// How long the body that this thread reads may stand still.
    static PER_READ: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Names are looked up when a connection is made, not at each request.
#[derive(Debug)]
struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(&self, _: &Uri, _: &ureq::config::Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}

/// Makes TCP connections to the one server.
#[derive(Debug)]
struct Dial {
    addresses: Addresses,
    n_connections: AtomicU64,
}

impl Connector<()> for Dial {
    type Out = Patient;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Patient>, ureq::Error> {
        IS_NEW_CONNECTION.set(true);
        let tcp = self.addresses.connect(*details.timeout.after, |address, limit| {
            let mut addrs = details.resolver.empty();
            addrs.push(address);
            let timeout = NextTimeout { after: limit.into(), reason: Timeout::Connect, ..details.timeout };
            let one = ConnectionDetails {
                uri: details.uri,
                addrs,
                config: details.config,
                request_level: details.request_level,
                resolver: details.resolver,
                now: details.now,
                timeout,
                current_time: Arc::clone(&details.current_time),
                run_connector: Arc::clone(&details.run_connector),
                register_shutdown: Arc::clone(&details.register_shutdown),
            };
            TcpConnector::default().connect(&one, None::<()>).inspect_err(|error| note_descriptors(error))
        })?;
        let number = self.n_connections.fetch_add(1, Ordering::AcqRel) + 1;
        Ok(tcp.map(|tcp| Patient(tcp, number)))
    }
}

/// A TCP connection of ureq's.
type Tcp = <TcpConnector as Connector<()>>::Out;

/// A connection with its number, that waits longer for an answer to begin than for it to go on.
#[derive(Debug)]
struct Patient(Tcp, u64);

impl Transport for Patient {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        LAST_CONNECTION.set(self.1);
        self.0.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, mut timeout: NextTimeout) -> Result<bool, ureq::Error> {
        // The handshake and the wait for the answer have limits of their own; a body has none.
        if timeout.after.is_not_happening() {
            timeout.per_read = Some(PER_READ.get().into());
        }
        self.0.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }
}

/// What became of a request that got no answer, and why.
#[allow(clippy::wildcard_enum_match_arm)] // the library's list of errors is open
fn kind_before_answer(error: &ureq::Error) -> (ErrorKind, String) {
    let kind = match error {
        ureq::Error::Timeout(Timeout::Connect) => ErrorKind::Unreachable,
        ureq::Error::Timeout(_) => ErrorKind::Timeout,
        ureq::Error::Protocol(_)
        | ureq::Error::LargeResponseHeader(..)
        | ureq::Error::Http(_)
        | ureq::Error::BadUri(_) => ErrorKind::Malformed,
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => ErrorKind::TlsFailed,
        ureq::Error::Io(error) if is_unknown_host(error) => ErrorKind::UnknownHost,
        ureq::Error::Io(error) => match tls_failure(error) {
            Some(detail) => return (ErrorKind::TlsFailed, detail),
            None => ErrorKind::Unreachable,
        },
        _ => ErrorKind::Unreachable,
    };
    (kind, error.to_string())
}

/// What became of an answer that began well.
fn kind_of_body_error(error: &io::Error) -> ErrorKind {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<ureq::Error>());
    match cause {
        Some(ureq::Error::Timeout(_)) => ErrorKind::Timeout,
        Some(ureq::Error::Protocol(_)) => ErrorKind::Malformed,
        None if error.kind() == io::ErrorKind::TimedOut => ErrorKind::Timeout,
        _ => ErrorKind::Cut,
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
