//! A mount without a server: what an earlier one has left on disk, and what this one leaves to later ones.

use std::sync::Arc;

use serde_json::{Value, json};
use tracing::{debug, info, warn};

use crate::cache::disk::Disk;
use crate::cache::{BlockCache, FoundNode};
use crate::dvid::{Address, HttpConfig, KeptNode, Node, NodeOptions, time_of_unix_seconds};
use crate::logging::Chain;
use crate::metrics::Metrics;

use super::failure::Failure;
use super::open::Asked;

/// The disk alone is asked, so there must be one.
pub(super) fn alone(disk: Option<Disk>) -> Result<Asked, Failure> {
    disk.map(Asked::DiskAlone)
        .ok_or_else(|| Failure::mount("--offline needs the disk cache, which cannot be used: name it by --cache-dir"))
}

/// The node as it was when a server was asked last.
pub(super) fn find_node(
    disk: &Disk,
    address: &Address,
    (http, options): (HttpConfig, NodeOptions),
    metrics: &Arc<Metrics>,
) -> Result<Node, Failure> {
    let refused = |why: &str| {
        info!(target: "dvidfs", code = "offline", op = "mount", cause = why, "not mounted");
        Failure::mount(format!(
            "{address}: --offline: {why}: mount it once with its server, by this same address; the node must be locked, and have settled (--settle)"
        ))
    };
    let contradictory = || refused("what was kept of this node contradicts itself");
    let find = |address: &Address| match disk.find_node(&address.origin, &address.reference) {
        FoundNode::Kept(bytes) => KeptNode::parse(&bytes, address).ok_or_else(contradictory),
        FoundNode::Nothing => Err(refused("nothing is kept on disk of such a node")),
        FoundNode::Damaged(why) => Err(refused(&format!("what was kept of this node is damaged ({why})"))),
        FoundNode::Failed(why) => Err(refused(&format!("what was kept of this node cannot be read ({why})"))),
    };
    let mut kept = find(address)?;
    if address.reference != kept.uuid() {
        // A ref tells which node it meant. What that node is, and whether it may be shown, the latest mount of it told, by
        // whatever ref.
        kept = find(&Address { reference: kept.uuid().to_owned(), ..address.clone() })?;
    }
    let node = Node::from_kept(kept, address, http, options, Arc::clone(metrics))
        .map_err(|error| Failure::mount(format!("{address}: {}", Chain(&error))))?
        .ok_or_else(contradictory)?;
    let (uuid, since) = (&node.info.uuid, node.offline_since().map(time_of_unix_seconds).unwrap_or_default());
    warn!(
        target: "dvidfs",
        code = "offline",
        op = "mount",
        node = %uuid,
        reference = %node.reference.escape_debug(),
        since,
        "no server is asked: this is the node that the reference meant then; what is not on disk cannot be read"
    );
    Ok(node)
}

/// Leaves to later mounts what they need to stand without the server. Of a node that may change they find nothing, also
/// not what the same ref meant before.
pub(super) fn keep_node(node: &Node, cache: &BlockCache) {
    if node.offline_since().is_some() {
        return;
    }
    let kept = node.to_keep().map(|kept| completed(kept, node, cache));
    let bytes = kept.as_ref().and_then(KeptNode::to_bytes);
    if kept.is_some() && bytes.is_none() {
        debug!(target: "dvidfs", code = "offline", op = "mount", "the metadata of this node are too large to be kept");
    }
    let both = || vec![node.reference.as_str(), node.info.uuid.as_str()];
    let references = kept.as_ref().map_or_else(both, KeptNode::references);
    cache.keep_node(&node.server, &references, bytes);
}

/// With what an earlier mount left of instances whose metadata the server did not give now.
fn completed(kept: KeptNode, node: &Node, cache: &BlockCache) -> KeptNode {
    if !kept.is_partial() {
        return kept;
    }
    let address = Address { origin: node.server.clone(), reference: node.info.uuid.clone() };
    let earlier = cache.kept_node(&address.origin, &address.reference);
    match earlier.and_then(|bytes| KeptNode::parse(&bytes, &address)) {
        Some(earlier) => kept.completed_by(&earlier),
        None => kept,
    }
}

/// What `node.json` tells: since when no server was asked, and what that means.
pub(super) fn told(node: &Node) -> Value {
    node.offline_since().map_or(Value::Null, |since| {
        json!({
            "since": time_of_unix_seconds(since),
            "meaning": "no server was asked at this mount: ref, history and instances are as they were then",
        })
    })
}

/// The same for README.txt, behind the address.
pub(super) fn in_words(node: &Node) -> String {
    let since = node.offline_since().map(time_of_unix_seconds);
    since.map_or_else(String::new, |since| format!(", without its server: as it was at {since}"))
}
