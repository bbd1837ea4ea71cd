//! The demo server: a thread a connection, counters, and an end as sudden as a kill.

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::damage;
use super::dataset::Dataset;
use super::delivery::{After, send, send_wrongly};
use super::faults::{Fault, FaultKind, Script};
use super::http::{Incoming, Request, Response, read_request};
use super::patience::Patience;
use super::routes::{answer, is_for_voxels};

/// Encoded blocks that are kept, in bytes: what a benchmark reads again should not cost the server anew.
const MOST_REMEMBERED: usize = 512 << 20;

/// How a demo server is started.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// What it serves.
    pub dataset: Dataset,
    /// The port of 127.0.0.1; any free one if None.
    pub port: Option<u16>,
    /// Time that each request for voxels takes at least.
    pub delay: Duration,
    /// The bearer token that every request must carry.
    pub token: Option<String>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// For so long after the start, body mappings are only partly loaded.
    pub mapping_loads_for: Duration,
    /// What `server/info` gives as `Mode`.
    pub mode: Option<String>,
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self {
            dataset: Dataset::standard(),
            port: None,
            delay: Duration::ZERO,
            token: None,
            faults: Vec::new(),
            mapping_loads_for: Duration::ZERO,
            mode: None,
        }
    }
}

/// Encoded blocks by what was asked for, and how many bytes they are.
type Remembered = (HashMap<String, Arc<Vec<u8>>>, usize);

/// What one connection of so many is served.
type OneOf = (Arc<Dataset>, u64);

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    /// What is served now, and what one connection of so many is served instead. The lock guards the pointers alone.
    datasets: RwLock<(Arc<Dataset>, Option<OneOf>)>,
    token: Mutex<Option<String>>,
    mode: Option<String>,
    started: Instant,
    mapping_loads_for: Duration,
    patience: Patience,
    delay_us: AtomicU64,
    /// The locks below guard plain data; no I/O happens under them.
    script: Mutex<Arc<Script>>,
    requests: Mutex<Vec<String>>,
    connections: Mutex<HashMap<u64, TcpStream>>,
    most_connections: AtomicU64,
    n_accepted: AtomicU64,
    in_flight: AtomicU64,
    most_in_flight: AtomicU64,
    turn: AtomicU64,
    blocks: Mutex<Remembered>,
}

thread_local! {
    /// The number of the connection that this thread serves.
    static CONNECTION: Cell<u64> = const { Cell::new(0) };
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// What this thread's connection is served.
    pub(super) fn dataset(&self) -> Arc<Dataset> {
        let datasets = self.datasets.read().unwrap_or_else(PoisonError::into_inner);
        let other = datasets.1.as_ref().filter(|(_, each)| CONNECTION.get() % each == 1);
        Arc::clone(other.map_or(&datasets.0, |(dataset, _)| dataset))
    }

    pub(super) fn mode(&self) -> Option<&str> {
        self.mode.as_deref()
    }

    /// Whether a request carries the token, if there is one.
    pub(super) fn admits(&self, request: &Request) -> bool {
        let given = request.header("Authorization").and_then(|value| value.strip_prefix("Bearer "));
        let token = lock(&self.token);
        token.is_none() || given == token.as_deref()
    }

    /// Another number each time: what comes in no order comes in another order each time.
    pub(super) fn next_turn(&self) -> u64 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether body mappings are still being loaded.
    pub(super) fn is_loading(&self) -> bool {
        self.uptime() < self.mapping_loads_for
    }

    /// The mapping as far as it is loaded: while it loads, it grows from a few pairs to all.
    pub(super) fn mapping(&self, version: usize, labelmap: &str) -> Arc<HashMap<u64, u64>> {
        let whole = self.dataset().mapping(version, labelmap);
        if !self.is_loading() {
            return whole;
        }
        let part = self.uptime().as_secs_f64() / self.mapping_loads_for.as_secs_f64();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to 1024
        let loaded = (part * 1024.0) as u64;
        let is_loaded = |supervoxel: u64| {
            super::texture::hash(crate::geometry::Coordinate::splat(supervoxel.cast_signed()), 23) % 1024 < loaded
        };
        Arc::new(
            whole.iter().filter(|pair| is_loaded(*pair.0)).map(|(&supervoxel, &body)| (supervoxel, body)).collect(),
        )
    }

    /// The block under this key, made by `make` if it is not there.
    pub(super) fn remembered(&self, key: &str, make: impl FnOnce() -> Option<Vec<u8>>) -> Option<Arc<Vec<u8>>> {
        if let Some(block) = lock(&self.blocks).0.get(key) {
            return Some(Arc::clone(block));
        }
        let block = Arc::new(make()?);
        let mut blocks = lock(&self.blocks);
        if blocks.1 + block.len() > MOST_REMEMBERED {
            *blocks = (HashMap::new(), 0);
        }
        blocks.1 += block.len();
        blocks.0.insert(key.to_owned(), Arc::clone(&block));
        Some(block)
    }
}

/// A DVID-compatible server on 127.0.0.1 over a pure function. It ends when it is dropped.
#[derive(Debug)]
pub struct Demo {
    address: SocketAddr,
    /// What it served first.
    dataset: Dataset,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

impl Demo {
    /// Starts a server.
    ///
    /// # Errors
    /// If it cannot listen.
    pub fn start(options: DemoOptions) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", options.port.unwrap_or(0)))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            datasets: RwLock::new((Arc::new(options.dataset.clone()), None)),
            token: Mutex::new(options.token),
            mode: options.mode,
            started: Instant::now(),
            mapping_loads_for: options.mapping_loads_for,
            patience: Patience::default(),
            delay_us: AtomicU64::new(microseconds(options.delay)),
            script: Mutex::new(Arc::new(Script::new(options.faults))),
            requests: Mutex::default(),
            connections: Mutex::default(),
            most_connections: AtomicU64::new(0),
            n_accepted: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            most_in_flight: AtomicU64::new(0),
            turn: AtomicU64::new(0),
            blocks: Mutex::default(),
        });
        let for_listener = Arc::clone(&shared);
        let listening =
            std::thread::Builder::new().name("demo".into()).spawn(move || listen(&listener, &for_listener))?;
        Ok(Self { address, dataset: options.dataset, shared, listening: Some(listening) })
    }

    /// The server as clients name it, such as `http://127.0.0.1:8000`.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The port, to start another on when this one has stopped.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What it served first.
    #[must_use]
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Serves something else from now on: the same repo, changed in any way.
    pub fn set_dataset(&self, dataset: Dataset) {
        self.shared.datasets.write().unwrap_or_else(PoisonError::into_inner).0 = Arc::new(dataset);
    }

    /// Serves one connection of so many (2 and more) something else, as a load balancer before so many servers does.
    pub fn set_other_dataset(&self, dataset: Dataset, each: u64) {
        self.shared.datasets.write().unwrap_or_else(PoisonError::into_inner).1 = Some((Arc::new(dataset), each.max(2)));
    }

    /// Sets the token that every request must carry from now on.
    pub fn set_token(&self, token: Option<&str>) {
        *lock(&self.shared.token) = token.map(str::to_owned);
    }

    /// Replaces the fault script; hits begin at 0 again.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        *lock(&self.shared.script) = Arc::new(Script::new(faults));
    }

    /// How often a line of the script was met.
    #[must_use]
    pub fn fault_hits(&self, line: usize) -> u64 {
        lock(&self.shared.script).hits(line)
    }

    /// Sets the time that each request for voxels takes at least.
    pub fn set_delay(&self, delay: Duration) {
        self.shared.delay_us.store(microseconds(delay), Ordering::SeqCst);
    }

    /// Every request so far: method, path and query.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        lock(&self.shared.requests).clone()
    }

    /// How many requests had this in method, path or query.
    #[must_use]
    pub fn count(&self, part: &str) -> usize {
        lock(&self.shared.requests).iter().filter(|request| request.contains(part)).count()
    }

    /// Connections that are open now, and the most that ever were.
    #[must_use]
    pub fn connections(&self) -> (usize, u64) {
        (lock(&self.shared.connections).len(), self.shared.most_connections.load(Ordering::SeqCst))
    }

    /// Connections that were ever made.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.n_accepted.load(Ordering::SeqCst)
    }

    /// Requests that are being answered now, and the most that ever were at once.
    #[must_use]
    pub fn in_flight(&self) -> (u64, u64) {
        (self.shared.in_flight.load(Ordering::SeqCst), self.shared.most_in_flight.load(Ordering::SeqCst))
    }

    /// Ends the server at once, as a kill does: connections are cut wherever they are.
    pub fn stop(&mut self) {
        self.shared.patience.end();
        for stream in lock(&self.shared.connections).values() {
            // Already closed by the other side, perhaps.
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
        if let Some(listening) = self.listening.take() {
            // A listener that panicked has stopped too.
            let _ = listening.join();
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.stop();
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Accepts until the server stops, then waits for the connections to end.
fn listen(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for (number, stream) in (0..).zip(listener.incoming()) {
        // A connection that is taken up now is either seen by `stop`, or sees that the server has stopped.
        let Ok((stream, kept)) = stream.and_then(|stream| Ok((stream.try_clone()?, stream))) else { continue };
        let open = {
            let mut connections = lock(&shared.connections);
            connections.insert(number, kept);
            connections.len()
        };
        if shared.patience.is_over() {
            lock(&shared.connections).remove(&number);
            break;
        }
        shared.n_accepted.fetch_add(1, Ordering::SeqCst);
        shared.most_connections.fetch_max(open as u64, Ordering::SeqCst);
        threads.retain(|thread| !thread.is_finished());
        let serving = Arc::clone(shared);
        let serve = move || {
            CONNECTION.set(number);
            // A connection that breaks is the client's to notice.
            let _ = converse(stream, &serving);
            // The last descriptor closes the connection: with FIN, or with RST if a fault said so.
            lock(&serving.connections).remove(&number);
        };
        match std::thread::Builder::new().name("demo-connection".into()).spawn(serve) {
            Ok(thread) => threads.push(thread),
            // Without a thread the connection is closed, as by a busy server.
            Err(_) => drop(lock(&shared.connections).remove(&number)),
        }
    }
    for thread in threads {
        // A connection that panicked has ended too.
        let _ = thread.join();
    }
}

fn converse(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut pending = Vec::new();
    while !shared.patience.is_over() {
        let request = match read_request(&mut stream, &mut pending)? {
            Incoming::Request(request) => request,
            Incoming::Closed => break,
            Incoming::TooLong => {
                send(&mut stream, &Response::text(431, "431 Request Header Fields Too Large"), false)?;
                break;
            }
        };
        let now = shared.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        shared.most_in_flight.fetch_max(now, Ordering::SeqCst);
        let afterwards = shared.respond(&mut stream, &request);
        shared.in_flight.fetch_sub(1, Ordering::SeqCst);
        let asked_to = request.header("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if afterwards? == After::Close || asked_to {
            break;
        }
    }
    Ok(())
}

impl Shared {
    fn respond(&self, stream: &mut TcpStream, request: &Request) -> io::Result<After> {
        let (name, is_head) = (request.line(), request.method == "HEAD");
        lock(&self.requests).push(name.clone());
        if is_for_voxels(&request.target) {
            self.patience.sleep(Duration::from_micros(self.delay_us.load(Ordering::SeqCst)));
        }
        let script = Arc::clone(&lock(&self.script));
        let Some((line, kind)) = script.meet(&name) else { return send(stream, &answer(self, request), is_head) };
        if let FaultKind::Delay { ms } = kind {
            script.hit(line);
            self.patience.sleep(Duration::from_millis(ms));
        }
        if let FaultKind::OtherAnswer { target } = kind {
            script.hit(line);
            return send(stream, &answer(self, &Request { target, ..request.clone() }), is_head);
        }
        let mut response = answer(self, request);
        if damage::apply(&kind, &mut response) {
            script.hit(line);
        } else if kind.is_of_the_connection() {
            // Counted first: who has seen the fault must also see its count.
            script.hit(line);
            return send_wrongly(stream, &response, &kind, &self.patience);
        }
        send(stream, &response, is_head)
    }
}
