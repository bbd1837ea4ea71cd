//! The connections to a server: how they are made, how long each may be silent, and which are trusted no more.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, NextTimeout, RustlsConnector, TcpConnector, Transport,
};
use ureq::{Agent, Timeout};

use super::super::addresses::{Addresses, note_descriptors};
use super::super::http_config::HttpConfig;

/// Kept connections that are idle for longer are closed.
const MAX_IDLE: Duration = Duration::from_secs(15);
/// Pieces in which the head of an answer may come: a server that says `100 Continue` for ever sends no head at all.
const MOST_PIECES_OF_A_HEAD: u32 = 1000;

/// What speaks HTTP to the one server.
pub(super) fn agent(config: &HttpConfig, (host, port): (&str, u16)) -> Agent {
    let dial = Dial { addresses: Addresses::new(host, port), n_connections: AtomicU64::new(0) };
    agent_over(config, dial)
}

/// The same over whatever connections.
pub(super) fn agent_over(config: &HttpConfig, connections: impl Connector<()>) -> Agent {
    let settings = Agent::config_builder()
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .accept_encoding("")
        .user_agent(concat!("dvidfs/", env!("CARGO_PKG_VERSION")))
        .tls_config(TlsConfig::builder().root_certs(roots(config)).build())
        .timeout_connect(Some(config.connect))
        .timeout_send_request(Some(config.first_byte))
        .timeout_send_body(Some(config.first_byte))
        .timeout_recv_response(Some(config.first_byte))
        .max_idle_connections(config.max_connections)
        .max_idle_connections_per_host(config.max_connections)
        .max_idle_age(MAX_IDLE)
        .build();
    Agent::with_parts(settings, connections.chain(RustlsConnector::default()), NoResolver)
}

/// The authorities that are believed: those that the user names, or else the public ones.
fn roots(config: &HttpConfig) -> RootCerts {
    if config.authorities.is_empty() {
        return RootCerts::WebPki;
    }
    let certificates: Vec<_> = config.authorities.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    RootCerts::new_with_certs(&certificates)
}

thread_local! {
    /// Whether the request that this thread sends has made a connection of its own.
    static IS_NEW: Cell<bool> = const { Cell::new(false) };
    /// The number of the connection that this thread has sent a request over last.
    static LAST_NUMBER: Cell<u64> = const { Cell::new(0) };
    /// How long the body that this thread reads may stand still.
    static PER_READ: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    /// Whether the connection that this thread used last is trusted to carry another request.
    static LAST: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// A request of this thread begins.
pub(super) fn begin() {
    IS_NEW.set(false);
}

/// Whether the request that this thread sends has made a connection of its own.
pub(super) fn is_new() -> bool {
    IS_NEW.get()
}

/// The number of the connection that this thread has sent a request over last.
pub(super) fn last_number() -> u64 {
    LAST_NUMBER.get()
}

/// The body that this thread reads next may stand still for so long.
pub(super) fn may_pause(limit: Duration) {
    PER_READ.set(limit);
}

/// The connection that this thread used last carries no further request: what came over it was no answer to what was
/// asked, and the next might be none either.
pub(super) fn distrust_last() {
    LAST.with_borrow(|last| last.iter().for_each(|is_trusted| is_trusted.store(false, Ordering::Release)));
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
    type Out = Patient<Tcp>;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Patient<Tcp>>, ureq::Error> {
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
        Ok(tcp.map(|tcp| Patient::new(tcp, number)))
    }
}

/// A TCP connection of ureq's.
type Tcp = <TcpConnector as Connector<()>>::Out;

/// A connection with its number, that waits longer for an answer to begin than for it to go on.
#[derive(Debug)]
pub(super) struct Patient<T> {
    tcp: T,
    number: u64,
    is_trusted: Arc<AtomicBool>,
    /// Pieces that came since the last request was sent, while the head of its answer was awaited.
    n_pieces: u32,
}

impl<T> Patient<T> {
    /// A connection that this thread has just made.
    pub(super) fn new(tcp: T, number: u64) -> Self {
        IS_NEW.set(true);
        Self { tcp, number, is_trusted: Arc::new(AtomicBool::new(true)), n_pieces: 0 }
    }
}

impl<T: Transport> Transport for Patient<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.tcp.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.n_pieces = 0;
        LAST_NUMBER.set(self.number);
        LAST.set(Some(Arc::clone(&self.is_trusted)));
        self.tcp.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, mut timeout: NextTimeout) -> Result<bool, ureq::Error> {
        // The handshake and the wait for the answer have limits of their own; a body has none.
        if timeout.after.is_not_happening() {
            timeout.per_read = Some(PER_READ.get().into());
        } else {
            self.n_pieces += 1;
            if self.n_pieces > MOST_PIECES_OF_A_HEAD {
                return Err(io::Error::new(io::ErrorKind::InvalidData, EndlessHead).into());
            }
        }
        self.tcp.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.is_trusted.load(Ordering::Acquire) && self.tcp.is_open()
    }
}

/// The head of an answer does not end.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndlessHead;

impl fmt::Display for EndlessHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the head of the answer does not end")
    }
}

impl std::error::Error for EndlessHead {}
