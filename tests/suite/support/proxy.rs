//! A TCP proxy on loopback, plain or with TLS towards its clients, that does what no server does of its own accord.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection};

/// What a proxy does with connections, new ones and those that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All bytes both ways.
    Pass,
    /// Connections are reset as soon as they are made, and those that there are at once.
    Refuse,
    /// Connections are taken, and nothing is ever said.
    Silent,
    /// These bytes are sent and the connection is closed, as soon as the client has said something or at once.
    Say(Vec<u8>),
    /// Once, when a connection has brought so many bytes to its client: the lowest bit of the next byte is flipped.
    FlipAt(u64),
    /// Once, when a connection has brought so many bytes to its client: it is closed, without a word of TLS.
    CutAt(u64),
    /// A connection that was idle for so long is closed.
    CloseIdle(Duration),
}

struct Shared {
    upstream: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    /// The mode, and how often it was set.
    mode: Mutex<(Mode, u64)>,
    accepted: Mutex<Vec<Instant>>,
    hits: AtomicU64,
    is_over: AtomicBool,
}

/// A proxy. It ends when it is dropped.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

/// A file of the TLS fixtures.
pub fn tls_fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

impl Proxy {
    /// Before a server on loopback, on any port.
    pub fn plain(upstream: u16) -> Self {
        Self::start(upstream, None)
    }

    /// The same; clients speak TLS, and are shown this certificate.
    pub fn tls(upstream: u16, certificate: &str) -> Self {
        let file = |name: &str| std::fs::read(tls_fixture(name)).unwrap();
        let certificate = CertificateDer::from(file(certificate));
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(file("server-key.der")));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        Self::start(upstream, Some(Arc::new(config)))
    }

    fn start(upstream: u16, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            upstream: (Ipv4Addr::LOCALHOST, upstream).into(),
            tls,
            mode: Mutex::new((Mode::Pass, 0)),
            accepted: Mutex::default(),
            hits: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.is_over.load(Ordering::SeqCst) {
                    return;
                }
                accepting.accepted.lock().unwrap().push(Instant::now());
                let shared = Arc::clone(&accepting);
                // A connection that breaks is the client's to notice.
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on; the counts begin anew.
    pub fn set(&self, mode: Mode) {
        let mut current = self.shared.mode.lock().unwrap();
        *current = (mode, current.1 + 1);
        self.shared.hits.store(0, Ordering::SeqCst);
        self.shared.accepted.lock().unwrap().clear();
    }

    /// How often the mode has done something to a connection since it was set.
    pub fn hits(&self) -> u64 {
        self.shared.hits.load(Ordering::SeqCst)
    }

    /// When connections were made since the mode was set.
    pub fn accepted(&self) -> Vec<Instant> {
        self.shared.accepted.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn mode(&self) -> (Mode, u64) {
        self.mode.lock().unwrap().clone()
    }

    fn hit(&self) {
        self.hits.fetch_add(1, Ordering::SeqCst);
    }

    /// A mode that acts once has acted.
    fn done(&self, epoch: u64) {
        let mut mode = self.mode.lock().unwrap();
        if mode.1 == epoch {
            mode.0 = Mode::Pass;
        }
        self.hit();
    }
}

fn serve(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    client.set_nodelay(true)?;
    match shared.mode().0 {
        Mode::Refuse => {
            shared.hit();
            return reset(&client);
        }
        Mode::Silent => {
            shared.hit();
            while shared.mode().0 == Mode::Silent && !shared.is_over.load(Ordering::SeqCst) && !is_closed(&client) {
                std::thread::sleep(Duration::from_millis(20));
            }
            return client.shutdown(Shutdown::Both);
        }
        Mode::Say(words) => {
            shared.hit();
            client.set_read_timeout(Some(Duration::from_millis(300)))?;
            let _ = client.read(&mut [0; 4096]);
            client.write_all(&words)?;
            return client.shutdown(Shutdown::Both);
        }
        Mode::Pass | Mode::FlipAt(_) | Mode::CutAt(_) | Mode::CloseIdle(_) => {}
    }
    let upstream = TcpStream::connect(shared.upstream)?;
    upstream.set_nodelay(true)?;
    let mut tls = match &shared.tls {
        Some(config) => {
            let mut tls = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
            tls.complete_io(&mut client)?;
            Some(tls)
        }
        None => None,
    };
    relay(&mut client, upstream, tls.as_mut(), shared)
}

fn is_closed(stream: &TcpStream) -> bool {
    let _ = stream.set_read_timeout(Some(Duration::from_millis(1)));
    matches!(stream.peek(&mut [0]), Ok(0))
        || stream.peek(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}

fn reset(stream: &TcpStream) -> io::Result<()> {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    nix::sys::socket::setsockopt(&stream.as_fd(), nix::sys::socket::sockopt::Linger, &linger)?;
    Ok(())
}

fn readable(fds: [&TcpStream; 2]) -> io::Result<[bool; 2]> {
    let mut polled = fds.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
    poll(&mut polled, PollTimeout::from(20_u8))?;
    Ok(polled.map(|fd| fd.any().unwrap_or(false)))
}

#[allow(clippy::wildcard_enum_match_arm)] // other modes let the bytes pass
fn relay(
    client: &mut TcpStream,
    mut upstream: TcpStream,
    mut tls: Option<&mut ServerConnection>,
    shared: &Shared,
) -> io::Result<()> {
    let (mut brought, mut seen, mut last) = (0_u64, 0, Instant::now());
    let mut buffer = vec![0; 32 << 10];
    while !shared.is_over.load(Ordering::SeqCst) {
        let (mode, epoch) = shared.mode();
        if epoch != seen {
            (brought, seen) = (0, epoch);
        }
        match mode {
            Mode::Refuse => return reset(client),
            // What there is ends, so that what comes next is met.
            Mode::Say(_) | Mode::Silent => break,
            Mode::CloseIdle(limit) if last.elapsed() > limit => {
                shared.hit();
                break;
            }
            _ => {}
        }
        // What came with the handshake, or in the same record, is not told by the socket.
        let waiting = tls.as_deref_mut().map_or(0, |tls| tls.reader().read(&mut buffer).unwrap_or(0));
        upstream.write_all(&buffer[..waiting])?;
        let [from_client, from_upstream] = readable([client, &upstream])?;
        if from_client {
            last = Instant::now();
            let n = match tls.as_deref_mut() {
                None => client.read(&mut buffer)?,
                Some(tls) => {
                    if tls.read_tls(client)? == 0 {
                        return Ok(());
                    }
                    tls.process_new_packets().map_err(io::Error::other)?;
                    continue;
                }
            };
            if n == 0 {
                return Ok(());
            }
            upstream.write_all(&buffer[..n])?;
        }
        if from_upstream {
            last = Instant::now();
            let n = upstream.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            let end = brought + n as u64;
            match mode {
                Mode::FlipAt(at) if (brought..end).contains(&at) => {
                    buffer[usize::try_from(at - brought).unwrap()] ^= 1;
                    shared.done(epoch);
                }
                Mode::CutAt(at) if (brought..end).contains(&at) => {
                    send(tls, client, &buffer[..usize::try_from(at - brought).unwrap()])?;
                    shared.done(epoch);
                    return client.shutdown(Shutdown::Both);
                }
                _ => {}
            }
            brought = end;
            send(tls.as_deref_mut(), client, &buffer[..n])?;
        }
    }
    if let Some(tls) = tls {
        tls.send_close_notify();
        while tls.wants_write() {
            tls.write_tls(client)?;
        }
    }
    client.shutdown(Shutdown::Both)
}

fn send(tls: Option<&mut ServerConnection>, client: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let Some(tls) = tls else { return client.write_all(bytes) };
    // No more at once than the connection buffers.
    for part in bytes.chunks(16 << 10) {
        tls.writer().write_all(part)?;
        while tls.wants_write() {
            tls.write_tls(client)?;
        }
    }
    Ok(())
}
