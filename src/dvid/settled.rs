//! Whether the data of a mounted node will never change: known at the mount, or found out later, when it is committed.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::metrics::Counter;

use super::endpoint::encoded;
use super::error::{Error, ErrorKind};
use super::fetch_blocks::Freshness;
use super::http::Server;
use super::http_config::METADATA_LIMIT;
use super::json::parse_json;
use super::payload_error::PayloadError;
use super::repo_info::{NodeInfo, RepoInfo};
use super::server_info::{SERVER_INFO, ServerInfo};
use super::server_time::{now_seconds, unix_seconds};

/// An open node that is read is asked this often whether it was committed.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The question goes with a fetch that somebody waits for.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

/// The state of a node. Once settled, settled for ever.
pub(super) struct Settled {
    uuid: String,
    settle: Duration,
    ttl: Duration,
    since: Instant,
    is_settled: AtomicBool,
    /// Its commit was seen and logged.
    is_locked: AtomicBool,
    /// When to ask again, in milliseconds after `since`.
    next_look: AtomicU64,
    /// The newest connection when the server was last asked whether it lets committed nodes be written. A server that was
    /// started again has newer ones.
    asked_over: AtomicU64,
    /// It does since the mount: what was given for ever may be other data by now.
    is_broken: AtomicBool,
}

impl fmt::Debug for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Settled").field(&self.is_settled).finish()
    }
}

impl Settled {
    /// As of the mount.
    pub(super) fn new(node: &NodeInfo, server: &ServerInfo, settle: Duration, ttl: Duration) -> Self {
        if server.writes_committed_nodes() {
            tracing::warn!(target: "dvidfs", code = "mutable_server", "this server lets committed nodes be written: nothing of it is kept for longer than --ttl");
        }
        Self {
            uuid: node.uuid.clone(),
            settle,
            ttl,
            since: Instant::now(),
            is_settled: AtomicBool::new(is_settled(node, server, settle)),
            is_locked: AtomicBool::new(node.locked),
            next_look: AtomicU64::new(millis(pause(node, server, settle))),
            asked_over: AtomicU64::new(Server::last_connection()),
            is_broken: AtomicBool::new(false),
        }
    }

    /// A state that never changes.
    pub(super) fn fixed(freshness: Freshness) -> Self {
        let ttl = if let Freshness::For(ttl) = freshness { ttl } else { Duration::ZERO };
        Self {
            uuid: String::new(),
            settle: Duration::ZERO,
            ttl,
            since: Instant::now(),
            is_settled: AtomicBool::new(freshness == Freshness::Forever),
            is_locked: AtomicBool::new(true),
            next_look: AtomicU64::new(u64::MAX),
            asked_over: AtomicU64::new(u64::MAX),
            is_broken: AtomicBool::new(false),
        }
    }

    /// How long an answer of an instance stays right, if it comes now.
    pub(super) fn freshness(&self, versioned: bool) -> Freshness {
        let is_for_ever = versioned && self.is_settled.load(Ordering::Acquire);
        if is_for_ever { Freshness::Forever } else { Freshness::For(self.ttl) }
    }

    /// # Errors
    /// If the server was found to let committed nodes be written, which it did not when what is kept was given.
    pub(super) fn is_still(&self) -> Result<(), Error> {
        match self.is_broken.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err(Error::new(ErrorKind::IdentityChanged, SERVER_INFO)
                .with_detail("the server lets committed nodes be written since it was started again: mount again")),
        }
    }

    /// To be called after each answer that is to be right for ever, before it is believed.
    ///
    /// # Errors
    /// As [`is_still`](Self::is_still), and if the server does not tell.
    pub(super) fn confirm(&self, server: &Server) -> Result<(), Error> {
        self.is_still()?;
        let answered_over = Server::last_connection();
        if answered_over <= self.asked_over.load(Ordering::Acquire) {
            return Ok(());
        }
        if server.server_info()?.writes_committed_nodes() && !self.is_broken.swap(true, Ordering::AcqRel) {
            server.metrics().happened(Counter::IdentityChanges);
            tracing::warn!(target: "dvidfs", code = "mutable_server", "this server lets committed nodes be written now: every read fails from now on; mount again, and clear the disk cache if any were");
        }
        self.asked_over.fetch_max(answered_over.max(Server::last_connection()), Ordering::AcqRel);
        self.is_still()
    }

    /// To be called with each fetch: asks now and then whether the node was committed, and how long ago.
    ///
    /// What cannot be found out is asked again later: until then the node counts as open.
    pub(super) fn look(&self, server: &Server) {
        if self.is_settled.load(Ordering::Acquire) || !self.is_due() {
            return;
        }
        if let Err(error) = self.ask(&server.until(Instant::now() + LOOK_LIMIT)) {
            tracing::debug!(target: "dvidfs", code = error.kind().code(), op = "fetch", cause = %error, "the state of the node is not known");
        }
    }

    fn ask(&self, server: &Server) -> Result<(), Error> {
        let uuid = encoded(&self.uuid);
        if !self.is_locked.load(Ordering::Acquire) {
            let path = format!("/api/node/{uuid}/status");
            let answer = server.get(&path, METADATA_LIMIT)?;
            let status: Status = parse_json(&answer).map_err(|error| malformed(&path, error))?;
            if !status.locked {
                return Ok(());
            }
        }
        let path = format!("/api/repo/{uuid}/info");
        let repo = RepoInfo::parse(&server.get(&path, METADATA_LIMIT)?).map_err(|error| malformed(&path, error))?;
        let info = server.server_info()?;
        if let Some(node) = repo.nodes.iter().find(|node| node.uuid == self.uuid && node.locked) {
            self.note_commit(node, &info);
        }
        Ok(())
    }

    fn note_commit(&self, node: &NodeInfo, server: &ServerInfo) {
        let short = self.uuid.get(..8).unwrap_or(&self.uuid);
        if !self.is_locked.swap(true, Ordering::AcqRel) {
            tracing::info!(target: "dvidfs", code = "node_locked", node = short, settle = ?self.settle, "the node was committed: its data is kept without limit of time once it has settled");
        }
        if is_settled(node, server, self.settle) {
            self.is_settled.store(true, Ordering::Release);
            tracing::info!(target: "dvidfs", code = "node_settled", node = short, "its data is kept without limit of time from now on");
        } else {
            let next = millis(self.since.elapsed() + pause(node, server, self.settle));
            self.next_look.store(next, Ordering::Release);
        }
    }

    /// Whether it is time to look again. Only one of many threads is told so.
    fn is_due(&self) -> bool {
        let (now, due) = (millis(self.since.elapsed()), self.next_look.load(Ordering::Acquire));
        let next = now.saturating_add(millis(LOOK_EVERY));
        now >= due && self.next_look.compare_exchange(due, next, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

fn malformed(path: &str, error: PayloadError) -> Error {
    Error::new(ErrorKind::Malformed, path).with_source(error)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `GET node/<uuid>/status`.
#[derive(serde::Deserialize)]
struct Status {
    #[serde(rename = "Locked")]
    locked: bool,
}

/// Whether a node's data will never change: it was committed long enough ago, by the server's clock.
pub(super) fn is_settled(node: &NodeInfo, server: &ServerInfo, settle: Duration) -> bool {
    let is_old = age(node, server).is_some_and(|age| age >= settle);
    node.locked && is_old && !server.writes_committed_nodes()
}

/// How long ago a node was committed; `None` if that is not known, or lies in the future.
fn age(node: &NodeInfo, server: &ServerInfo) -> Option<Duration> {
    let now = server.time.unwrap_or_else(now_seconds);
    let seconds = u64::try_from(now - unix_seconds(&node.updated)?).ok()?;
    Some(Duration::from_secs(seconds))
}

/// When to ask again: a node that is committed, not before it has settled.
fn pause(node: &NodeInfo, server: &ServerInfo, settle: Duration) -> Duration {
    let left = age(node, server).filter(|_| node.locked).map_or(Duration::ZERO, |age| settle.saturating_sub(age));
    left.max(LOOK_EVERY)
}
