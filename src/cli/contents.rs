//! What a mount shows, gathered from the node and its arrays.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::array::{DvidArray, Entry, ReadVoxels};
use crate::cache::BlockCache;
use crate::dvid::{Head, Node};
use crate::layout::LayoutOptions;
use crate::metrics::Metrics;
use crate::vfs::{Contents, InstanceFiles, ViewFiles, escape};

use super::offline;
use super::open::Opened;

/// What `stats.json` tells beside counters.
#[derive(Debug)]
pub(super) struct Told {
    /// When the process before this one died, if this one was started in its place: seconds since 1970.
    pub(super) died: Option<f64>,
    /// Lines of the log that could not be written.
    pub(super) lost_lines: Arc<AtomicU64>,
    /// The branch by which the node was found, if it was its newest.
    pub(super) head: Option<Arc<Head>>,
}

/// Everything that the tree is made from.
pub(super) fn contents(
    opened: &Opened,
    config: Value,
    (layouts, boxes): (LayoutOptions, Vec<InstanceFiles>),
    told: Told,
) -> Contents {
    let Opened { node, catalog, cache, metrics } = opened;
    Contents {
        source: format!("{}/{}{}", node.server, node.reference, offline::in_words(node)),
        node: node_json(node),
        config,
        updated_s: node.updated_seconds(),
        instances: catalog
            .entries
            .iter()
            .zip(&node.instances)
            .map(|(entry, info)| files(entry, &info.typename))
            .collect(),
        boxes,
        layouts,
        stats: stats(cache, metrics, told),
        metrics: Arc::clone(metrics),
    }
}

fn files(entry: &Entry, typename: &str) -> InstanceFiles {
    let mut views = entry.arrays.iter().map(view);
    let first =
        views.next().unwrap_or_else(|| ViewFiles { attrs: entry.described.clone(), neuroglancer: None, array: None });
    InstanceFiles {
        name: entry.name.clone(),
        typename: typename.to_owned(),
        info: Arc::clone(&entry.info),
        freshness: entry.freshness,
        view: first,
        supervoxels: views.next(),
    }
}

fn view(array: &Arc<DvidArray>) -> ViewFiles {
    ViewFiles {
        attrs: array.described(),
        neuroglancer: neuroglancer(array),
        array: Some(Arc::clone(array) as Arc<dyn ReadVoxels>),
    }
}

/// A layer and a whole state to paste; none if that was not compiled in.
fn neuroglancer(array: &DvidArray) -> Option<Value> {
    use crate::array::Array;
    let (layer, state) = (array.neuroglancer_layer().ok()?, array.neuroglancer_state().ok()?);
    Some(json!({"layer": layer, "state": state}))
}

/// `node.json`.
pub(super) fn node_json(node: &Node) -> Value {
    let instances: Vec<_> = node
        .instances
        .iter()
        .map(|info| json!({"name": info.name, "typename": info.typename, "path": escape(&info.name)}))
        .collect();
    json!({
        "server": node.server,
        "uuid": node.info.uuid,
        "ref": node.reference,
        "alias": node.alias,
        "root": node.root,
        "branch": node.info.branch,
        "locked": node.info.locked,
        "parents": node.info.parents,
        "children": node.info.children,
        "note": node.info.note,
        "log": node.info.log,
        "created": node.info.created,
        "updated": node.info.updated,
        "offline": offline::told(node),
        "instances": instances,
    })
}

/// `stats.json`: what was counted since the mount, and what goes on now.
fn stats(cache: &Arc<BlockCache>, metrics: &Arc<Metrics>, told: Told) -> crate::vfs::Stats {
    let (cache, metrics) = (Arc::clone(cache), Arc::clone(metrics));
    // A clock that was set back does not make this mount earlier than the end of the one before.
    let mounted = metrics.clock().now_seconds().max(told.died.unwrap_or(0.0));
    Box::new(move || {
        let status = cache.status();
        json!({
            "pid": std::process::id(),
            "mounted": mounted,
            "died_before": told.died,
            "branch": told.head.as_ref().map(|head| json!({"name": head.branch(), "moved_to": head.moved_to()})),
            "counters": metrics.to_json(),
            "events": metrics.events_to_json(),
            "now": {
                "parked_reads": status.parked_reads,
                "requests_in_flight": status.in_flight,
                "mappings_in_preparation": status.preparing,
                "queued_blocks": status.queued,
                "held_bytes": status.held_bytes,
                "server_is_away": status.is_server_away,
                "lost_log_lines": told.lost_lines.load(Ordering::Relaxed),
            },
            "disk_cache": cache.disk_status().map(|disk| json!({
                "directory": disk.directory.to_string_lossy(),
                "state": disk.state,
                "held_bytes": disk.held_bytes,
                "queued_bytes": disk.queued_bytes,
            })),
        })
    })
}
