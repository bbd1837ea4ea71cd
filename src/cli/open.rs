//! The one place where the stack is built: node, cache, arrays.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tracing::{info, warn};

use crate::array::{Catalog, CatalogError, CatalogOptions};
use crate::cache::disk::Disk;
use crate::cache::{BlockCache, CacheConfig};
use crate::dvid::{Address, HttpConfig, InstanceKind, Node, NodeOptions, OpenError, certificates};
use crate::logging::Chain;
use crate::metrics::Metrics;

use super::args::ServerArgs;
use super::failure::{Failure, MOUNT, USAGE};
use super::offline;
use super::run::complain;

/// Requests at once while some are slow.
const MOST_CONNECTIONS: usize = 8;
/// The part of the memory that body mappings may take.
const MAPPING_SHARE: usize = 4;
/// Patience stays so much below a limit beyond which the kernel ends the whole mount.
const BELOW_LIMIT: Duration = Duration::from_secs(20);

/// A node and all that is read through it.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) node: Node,
    pub(super) catalog: Catalog,
    pub(super) cache: Arc<BlockCache>,
    pub(super) metrics: Arc<Metrics>,
}

/// Reads an address as people write it.
pub(super) fn address(text: &str) -> Result<Address, Failure> {
    text.parse().map_err(|error| {
        info!(target: "dvidfs", code = "bad_ref", op = "mount", cause = %Chain(&error));
        Failure::usage(Chain(&error).to_string())
    })
}

/// Who is asked for what a mount shows.
#[derive(Debug)]
pub(super) enum Asked {
    /// The server; and the disk, for what never changes, if there is one.
    Server(Option<Disk>),
    /// Nobody but the disk.
    DiskAlone(Disk),
}

/// Asks for all that a mount shows, and builds everything below the files.
pub(super) fn open(address: &Address, args: &ServerArgs, asked: Asked) -> Result<Opened, Failure> {
    let metrics = Arc::new(Metrics::default());
    let metadata = metadata(args.metadata.as_deref())?;
    let max_connections = usize::from(args.max_connections);
    let http = HttpConfig {
        max_connections: max_connections.max(MOST_CONNECTIONS),
        token_file: args.token_file.clone(),
        insecure_token: args.insecure_token,
        authorities: authorities(args.cacert.as_deref())?,
        ..HttpConfig::default()
    }
    .scaled(args.time_scale());
    let memory_bytes = args.memory_bytes();
    let options = NodeOptions {
        ttl: args.ttl,
        settle: args.settle,
        mapping_limit_bytes: memory_bytes / MAPPING_SHARE,
        max_instances: usize::try_from(args.max_instances).unwrap_or(usize::MAX),
        verify_every: args.verify,
        patience: args.mount_wait,
        ..NodeOptions::default()
    };
    let (node, disk) = match asked {
        Asked::Server(disk) => (ask_server(address, http, options, &metrics)?, disk),
        Asked::DiskAlone(disk) => (offline::find_node(&disk, address, (http, options), &metrics)?, Some(disk)),
    };
    let has_bodies = node
        .instances
        .iter()
        .any(|info| info.voxels.as_ref().is_ok_and(|voxels| voxels.kind == InstanceKind::LabelMap));
    let mapping_bytes = if has_bodies { memory_bytes / MAPPING_SHARE } else { 0 };
    let config = CacheConfig {
        memory_bytes: memory_bytes - mapping_bytes,
        max_connections,
        most_connections: MOST_CONNECTIONS.max(max_connections),
        patience: patience(args.patience),
        prefetch: !args.no_prefetch,
        ..CacheConfig::default()
    };
    let cache = BlockCache::try_new(config, disk, Arc::clone(&metrics)).map_err(|error| {
        warn!(target: "dvidfs", code = "thread_limit", cause = %error);
        Failure::mount(format!("the system gives no threads ({error}): allow more (ulimit -u, pids cgroup)"))
    })?;
    let options = CatalogOptions { extents: args.extents.iter().cloned().collect(), metadata };
    let catalog = Catalog::open(&node, &cache, &options)
        .map_err(|error| Failure::new(code_of(&error), format!("{address}: {}", Chain(&error))))?;
    offline::keep_node(&node, &cache);
    catalog.ignored.iter().for_each(|line| complain(line));
    Ok(Opened { node, catalog, cache, metrics })
}

fn ask_server(
    address: &Address,
    http: HttpConfig,
    options: NodeOptions,
    metrics: &Arc<Metrics>,
) -> Result<Node, Failure> {
    Node::open(address, http, options, Arc::clone(metrics)).map_err(|error| {
        let code = if error.is_usage() { USAGE } else { MOUNT };
        info!(target: "dvidfs", code = error.code(), op = "mount", cause = %Chain(&error));
        Failure::new(code, format!("{address}: {}: {}", Chain(&error), advice(&error)))
    })
}

/// Words of the user that cannot be followed are theirs to mend.
fn code_of(error: &CatalogError) -> u8 {
    match error {
        CatalogError::NoSuchInstance { .. } | CatalogError::Metadata { .. } => USAGE,
        CatalogError::Probe { .. } => MOUNT,
    }
}

/// What can be done about a node that does not open.
fn advice(error: &OpenError) -> &'static str {
    match error {
        OpenError::Address(_) => "write http://HOST:PORT/UUID",
        OpenError::Token(_) => "see --token-file in `dvidfs mount --help`",
        OpenError::Denied(_) => "ask who runs the server for a token",
        OpenError::Unreachable(_) => "check the address, and that the server runs; --mount-wait waits for longer",
        OpenError::Insecure(_) => "if its network can be trusted, http:// needs no certificate",
        OpenError::UnknownHost(_) => "check the name, and that this machine is in the right network",
        OpenError::NotDvid { .. } => "check host and port",
        OpenError::BadRef { .. } => "check the UUID and the branch",
        OpenError::TooManyInstances { .. } => "raise --max-instances if so many are wanted",
        OpenError::Failed(_) => "look into the server's log",
    }
}

/// The patience of reads: below the time after which an administrator's setting would abort the whole mount.
fn patience(wanted: Duration) -> Duration {
    let Some(limit) = crate::fuse::request_timeout() else { return wanted };
    let most = limit.saturating_sub(BELOW_LIMIT).max(Duration::from_secs(1));
    if !wanted.is_zero() && wanted <= most {
        return wanted;
    }
    warn!(
        target: "dvidfs",
        code = "request_timeout",
        "the kernel aborts a mount of which one request takes {limit:?} (fs.fuse.max_request_timeout): patience is {most:?}"
    );
    most
}

/// The certificates of a PEM file.
fn authorities(path: Option<&Path>) -> Result<Vec<Vec<u8>>, Failure> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let refused = |why: String| {
        let what_to_do = "give a file of certificates that begin with -----BEGIN CERTIFICATE-----";
        Failure::usage(format!("--cacert {}: {why}: {what_to_do}", path.display()))
    };
    let text = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
    certificates(&text).map_err(refused)
}

/// `{"INSTANCE": {"key": value}}`.
fn metadata(path: Option<&Path>) -> Result<BTreeMap<String, Value>, Failure> {
    let Some(path) = path else { return Ok(BTreeMap::new()) };
    let refused = |why: String| {
        Failure::usage(format!(
            "--metadata {}: {why}: write a file such as {{\"INSTANCE\": {{\"key\": 1}}}}",
            path.display()
        ))
    };
    let text = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
    let instances: Map<String, Value> = serde_json::from_slice(&text).map_err(|error| refused(error.to_string()))?;
    match instances.iter().find(|(_, value)| !value.is_object()) {
        Some((name, _)) => Err(refused(format!("{name:?} is not an object"))),
        None => Ok(instances.into_iter().collect()),
    }
}
