//! One node of a server, pinned at the mount: what it is, and the instances that are visible at it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::geometry::{BlockBox, BlockIndex, Scale};
use crate::metrics::{Counter, Metrics};

use super::address::Address;
use super::endpoint::instance_path;
use super::error::{Error, ErrorKind};
use super::fetch_blocks::Freshness;
use super::gate::MappingMemory;
use super::head::Head;
use super::http::Server;
use super::http_config::{HttpConfig, METADATA_LIMIT};
use super::info::{InstanceInfo, NoVoxels};
use super::instance::{Instance, MappingOptions, NodeState, info_at};
use super::open_error::OpenError;
use super::repo_info::MAX_ENTRIES as MAX_INSTANCES;
use super::repo_info::{InstanceEntry, NodeInfo, RepoInfo};
use super::resolve::{RefError, branch_of, resolve};
use super::retry::{Attempts, Decision, decide, jitter};
use super::server_info::{SERVER_INFO, ServerInfo};
use super::server_time::unix_seconds;
use super::settled::Settled;

mod kept;

pub use kept::KeptNode;
use kept::{Look, Looks};

/// A server that does not answer at the mount is asked again at least this often: somebody waits for it to come up.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Metadata of all instances together, as they came.
const ALL_INFOS_BYTES: usize = 128 << 20;
/// Threads that ask for infos, however many connections are allowed.
const MAX_INFO_THREADS: usize = 16;

/// How a node is opened, and what is believed of it.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// How long an answer stays right where data can change.
    pub ttl: Duration,
    /// A node counts as locked so long after its commit: computations of its last writes may still land.
    pub settle: Duration,
    /// Memory that the mappings of all labelmaps may take.
    pub mapping_limit_bytes: usize,
    /// Between the two downloads of a mapping that must agree.
    pub mapping_apart: Duration,
    /// A repo with more instances is not opened; no repo with more than 65,536 is.
    pub max_instances: usize,
    /// One block of so many is fetched twice, by two endpoints, and compared; 0: none.
    pub verify_every: u32,
    /// How long a server that does not answer is waited for when the node is opened; zero: it is asked once.
    pub patience: Duration,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(5),
            settle: Duration::from_secs(600),
            mapping_limit_bytes: 256 << 20,
            mapping_apart: Duration::from_secs(2),
            max_instances: MAX_INSTANCES,
            verify_every: 0,
            patience: Duration::from_secs(10),
        }
    }
}

/// A node, as it was when it was opened.
#[derive(Clone, Debug)]
pub struct Node {
    /// `http(s)://host[:port]`.
    pub server: String,
    /// The ref by which it was found.
    pub reference: String,
    /// What its repo says of it.
    pub info: NodeInfo,
    /// The first node of its repo.
    pub root: String,
    /// What people call the repo.
    pub alias: String,
    /// The instances that are visible at this node, by name.
    pub instances: Vec<InstanceInfo>,
    state: NodeState,
    http: Server,
    mapping_memory: Arc<MappingMemory>,
    options: NodeOptions,
    looks: Looks,
    /// When its server was asked, in seconds since 1970, if that was before this mount.
    offline_since: Option<i64>,
}

impl Node {
    /// Finds a node and asks for all that is visible at it.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        address: &Address,
        http: HttpConfig,
        options: NodeOptions,
        metrics: Arc<Metrics>,
    ) -> Result<Self, OpenError> {
        let n_threads = http.max_connections.clamp(1, MAX_INFO_THREADS);
        let server = Server::new(&address.origin, http, metrics)?;
        let asked = Patience { server: &server, limit: options.patience };
        let info = asked.wait_for(server_info).map_err(|error| not_dvid(&server, error))?;
        let found = asked.wait_for(|server| match resolve(server, &address.reference) {
            Ok(found) => Ok(Ok(found)),
            Err(RefError::NoNode(words)) => Ok(Err(words)),
            Err(RefError::Failed(error)) => Err(error),
        })?;
        let bad_ref =
            |words| OpenError::BadRef { server: address.origin.clone(), reference: address.reference.clone(), words };
        let (repo, uuid) = found.map_err(bad_ref)?;
        if repo.instances.len() > options.max_instances {
            return Err(OpenError::TooManyInstances { n: repo.instances.len(), limit: options.max_instances });
        }
        let node = repo.nodes.iter().find(|node| node.uuid == uuid).cloned();
        let node = node.ok_or_else(|| bad_ref(format!("the server does not show node {uuid}")))?;
        let entries = visible_entries(&repo, &uuid);
        let instances = infos(&asked, &uuid, &entries, n_threads)?;
        let settled = Arc::new(Settled::new(&node, &info, options.settle, options.ttl));
        Ok(Self {
            server: address.origin.clone(),
            reference: address.reference.clone(),
            info: node,
            root: repo.root,
            alias: repo.alias,
            instances,
            state: NodeState { settled, suspicion: Arc::default() },
            http: server,
            mapping_memory: Arc::new(MappingMemory::new(options.mapping_limit_bytes)),
            options,
            looks: Looks::default(),
            offline_since: None,
        })
    }

    /// How long what an instance holds at this node stays right, as far as is known now.
    #[must_use]
    pub fn freshness(&self, info: &InstanceInfo) -> Freshness {
        self.state.settled.freshness(info.versioned)
    }

    /// An instance as a source of blocks.
    ///
    /// # Errors
    /// If it has no voxels.
    pub fn instance(&self, info: &InstanceInfo) -> Result<Arc<Instance>, Error> {
        let mapping = MappingOptions { apart: self.options.mapping_apart, memory: Arc::clone(&self.mapping_memory) };
        let instance = Instance::new(self.http.clone(), &self.info.uuid, info, &self.state, mapping)?;
        let instance = instance.in_repo(&self.root, &self.info.uuid, info);
        Ok(Arc::new(instance.verified_every(self.options.verify_every)))
    }

    /// Which blocks of a box an instance of this node stores, asked as patiently as everything at the mount.
    ///
    /// # Errors
    /// If the server does not tell in time.
    pub fn stored_blocks(&self, of: &Instance, scale: Scale, blocks: BlockBox) -> Result<Vec<BlockIndex>, Error> {
        let look = Look::new(of, scale, blocks);
        if self.offline_since.is_some() {
            return self.looks.found(&look).ok_or_else(|| Error::new(ErrorKind::Offline, of.path()));
        }
        let found = Patience { server: &self.http, limit: self.options.patience }
            .wait_for(|server| of.stored_blocks_by(server, scale, blocks))?;
        self.looks.remember(look, &found);
        Ok(found)
    }

    /// The branch by which this node was found as its newest, if it was, and if that can be looked at again.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        if self.offline_since.is_some() {
            return None;
        }
        let branch = branch_of(&self.reference)?;
        Some(Head::new(self.http.clone(), &self.root, branch, &self.info.uuid))
    }

    /// When the node last changed, as unix seconds: the time of its files.
    #[must_use]
    pub fn updated_seconds(&self) -> i64 {
        unix_seconds(&self.info.updated).or_else(|| unix_seconds(&self.info.created)).unwrap_or(0)
    }
}

/// The info of one instance, once, without opening its node. `uuid` may be any ref.
///
/// # Errors
/// As those of a request, and if the answer is no metadata.
pub fn fetch_info(server: &str, uuid: &str, name: &str) -> Result<InstanceInfo, Error> {
    let server = Server::new(server, HttpConfig::default(), Arc::default())?;
    info_at(&server, &instance_path(uuid, name)?, name)
}

/// Asks who is there. Servers too old for `server/info` have a heartbeat all the same.
fn server_info(server: &Server) -> Result<ServerInfo, Error> {
    match server.server_info() {
        Err(error) if matches!(error.kind(), ErrorKind::Status(400 | 404)) => {
            let heartbeat = server.get("/api/heartbeat", METADATA_LIMIT)?;
            if heartbeat == b"OK" {
                Ok(ServerInfo { time: None, mode: String::new(), start: None })
            } else {
                Err(Error::new(ErrorKind::Malformed, SERVER_INFO).with_source(error))
            }
        }
        answer => answer,
    }
}

fn not_dvid(server: &Server, error: Error) -> OpenError {
    match error.kind() {
        ErrorKind::Malformed | ErrorKind::OverLimit | ErrorKind::Status(_) | ErrorKind::Redirected => {
            OpenError::NotDvid { server: server.origin().to_owned(), source: error }
        }
        ErrorKind::Unreachable
        | ErrorKind::UnknownHost
        | ErrorKind::TlsFailed
        | ErrorKind::Timeout
        | ErrorKind::Cut
        | ErrorKind::Busy
        | ErrorKind::Denied
        | ErrorKind::IdentityChanged
        | ErrorKind::MappingLoading
        | ErrorKind::Abandoned
        | ErrorKind::Offline => error.into(),
    }
}

/// Instances that were made at this node or at one that it follows; the repo lists those of all branches.
fn visible_entries<'a>(repo: &'a RepoInfo, uuid: &str) -> Vec<&'a InstanceEntry> {
    let find = |uuid: &str| repo.nodes.iter().find(|node| node.uuid == uuid);
    let mut ancestry = HashSet::new();
    let mut ahead: Vec<_> = find(uuid).into_iter().collect();
    while let Some(node) = ahead.pop() {
        if ancestry.insert(node.uuid.as_str()) {
            ahead.extend(node.parents.iter().filter_map(|parent| find(parent)));
        }
    }
    // An instance whose origin nobody knows (a copy from another repo) is not hidden.
    let is_visible =
        |entry: &&InstanceEntry| ancestry.contains(entry.repo_uuid.as_str()) || find(&entry.repo_uuid).is_none();
    repo.instances.iter().filter(is_visible).collect()
}

/// The infos of all these instances, asked for by several threads at once.
fn infos(
    asked: &Patience<'_>,
    uuid: &str,
    entries: &[&InstanceEntry],
    n_threads: usize,
) -> Result<Vec<InstanceInfo>, OpenError> {
    let next = AtomicUsize::new(0);
    let (found, n_bytes) = (Mutex::new(vec![]), AtomicUsize::new(0));
    let failed = Mutex::new(None);
    let work = || {
        while let Some(entry) = entries.get(next.fetch_add(1, Ordering::Relaxed)) {
            match info_of(asked, uuid, entry) {
                Ok(info) => {
                    let all = n_bytes.fetch_add(info.json.len(), Ordering::Relaxed) + info.json.len();
                    let info = if all > ALL_INFOS_BYTES { too_large(entry) } else { info };
                    found.lock().unwrap_or_else(PoisonError::into_inner).push(info);
                }
                Err(error) => {
                    next.store(entries.len(), Ordering::Relaxed);
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..n_threads.min(entries.len()) {
            // With fewer threads it takes longer.
            if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error.into());
    }
    let mut infos: Vec<InstanceInfo> = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    infos.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(infos)
}

/// The info of one instance. One that the server does not give out is shown without voxels; only a server that is
/// gone fails the whole.
fn info_of(asked: &Patience<'_>, uuid: &str, entry: &InstanceEntry) -> Result<InstanceInfo, Error> {
    let answer =
        instance_path(uuid, &entry.name).and_then(|path| asked.wait_for(|server| info_at(server, &path, &entry.name)));
    match answer {
        Ok(info) => {
            let info = info.checked_against(entry);
            info.log_oddities();
            Ok(info)
        }
        Err(error) => match error.kind() {
            ErrorKind::Status(_)
            | ErrorKind::Denied
            | ErrorKind::Redirected
            | ErrorKind::Malformed
            | ErrorKind::OverLimit => {
                tracing::info!(target: "dvidfs", code = error.code(), op = "mount", cause = %error, "no metadata of an instance");
                Ok(without_voxels(entry, &error))
            }
            ErrorKind::Unreachable
            | ErrorKind::UnknownHost
            | ErrorKind::TlsFailed
            | ErrorKind::Timeout
            | ErrorKind::Cut
            | ErrorKind::Busy
            | ErrorKind::IdentityChanged
            | ErrorKind::MappingLoading
            | ErrorKind::Abandoned
            | ErrorKind::Offline => Err(error),
        },
    }
}

/// An instance that comes behind more metadata than any repo has.
fn too_large(entry: &InstanceEntry) -> InstanceInfo {
    let detail = format!("the metadata of all instances are more than {ALL_INFOS_BYTES} bytes");
    let error = Error::new(ErrorKind::OverLimit, "info").with_detail(detail);
    tracing::info!(target: "dvidfs", code = error.code(), op = "mount", "metadata of an instance are left out");
    without_voxels(entry, &error)
}

fn without_voxels(entry: &InstanceEntry, error: &Error) -> InstanceInfo {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    let unknown = NoVoxels::Unknown(format!("{error}{cause}"));
    // Who may not see it now does not see what was kept of it either.
    let is_for_good = error.kind() == ErrorKind::Denied;
    InstanceInfo {
        name: entry.name.clone(),
        typename: entry.typename.clone(),
        data_uuid: entry.data_uuid.clone(),
        versioned: false,
        json: Arc::from(&b""[..]),
        voxels: Err(if is_for_good { NoVoxels::Unserved(unknown.to_string()) } else { unknown }),
    }
}

/// Repeats requests of the mount until they succeed or the time is over.
#[derive(Clone, Copy, Debug)]
struct Patience<'a> {
    server: &'a Server,
    limit: Duration,
}

impl Patience<'_> {
    /// The time counts from the last answer, for each request by itself; no attempt goes on beyond it.
    fn wait_for<T>(self, attempt: impl Fn(&Server) -> Result<T, Error>) -> Result<T, Error> {
        let until = Instant::now() + self.limit;
        let server = self.server.until(until);
        let mut attempts = Attempts::default();
        loop {
            let error = match attempt(&server) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            attempts = attempts.and(error.kind());
            let left = until.saturating_duration_since(Instant::now());
            let pause = match decide(&error, attempts, jitter()) {
                Decision::Stop => return Err(error),
                // A server that asks for time gets it; one that comes up is found soon.
                Decision::After(delay) if error.retry_after().is_some() => delay,
                Decision::After(delay) => delay.min(LONGEST_PAUSE),
            };
            // The person who waits at the mount has most probably mistyped the name.
            if left.is_zero() || error.kind() == ErrorKind::UnknownHost {
                return Err(error);
            }
            self.server.metrics().count(Counter::DvidRetriedRequests);
            let code = if error.kind() == ErrorKind::Unreachable { "connect_retry" } else { error.code() };
            tracing::debug!(target: "dvidfs", code, op = "mount", attempt = attempts.n(), cause = %error);
            thread::sleep(pause.min(left));
        }
    }
}

#[cfg(test)]
mod tests;
