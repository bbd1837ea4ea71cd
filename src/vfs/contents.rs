//! What a mount shows: everything the tree is made from, gathered before it is made.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::array::{Freshness, ReadVoxels};
use crate::layout::LayoutOptions;
use crate::metrics::Metrics;

/// Gives the current `stats.json`.
pub type Stats = Box<dyn Fn() -> Value + Send + Sync>;

/// Everything that a mount shows.
pub struct Contents {
    /// Server, reference and full UUID in words for README.txt, such as `http://host:8000/28841c:master`.
    pub source: String,
    /// `node.json`.
    pub node: Value,
    /// `.dvidfs/config.json`.
    pub config: Value,
    /// When the node was last updated, in seconds since 1970: the mtime of every file.
    pub updated_s: i64,
    /// The instances in any order.
    pub instances: Vec<InstanceFiles>,
    /// Boxes of instances, each shown as an instance of its own in `boxes/`.
    pub boxes: Vec<InstanceFiles>,
    /// Which layouts each array is shown in.
    pub layouts: LayoutOptions,
    /// Asked for at each open of `stats.json`.
    pub stats: Stats,
    /// `.dvidfs/metrics`; failed reads are counted here.
    pub metrics: Arc<Metrics>,
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, node: _, config: _, updated_s, instances, boxes, layouts, stats: _, metrics: _ } = self;
        f.debug_struct("Contents")
            .field("source", source)
            .field("updated_s", updated_s)
            .field("instances", instances)
            .field("boxes", boxes)
            .field("layouts", layouts)
            .finish_non_exhaustive()
    }
}

/// What the directory of one instance shows.
#[derive(Debug)]
pub struct InstanceFiles {
    /// The instance's own name, not escaped.
    pub name: String,
    /// DVID's word for its type.
    pub typename: String,
    /// `info`: DVID's own bytes.
    pub info: Arc<[u8]>,
    /// How long its metadata stays right.
    pub freshness: Freshness,
    /// What stands in the instance's directory itself: bodies, for a labelmap.
    pub view: ViewFiles,
    /// What stands in `supervoxels/`: a labelmap alone has it.
    pub supervoxels: Option<ViewFiles>,
}

/// One view of an instance.
#[derive(Debug)]
pub struct ViewFiles {
    /// `attrs.json`.
    pub attrs: Value,
    /// `neuroglancer.json`, if there are voxels and this program can write it.
    pub neuroglancer: Option<Value>,
    /// The voxels, if there are any.
    pub array: Option<Arc<dyn ReadVoxels>>,
}
