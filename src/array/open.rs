//! Opening one array by itself, for library users.

use std::sync::Arc;

use crate::cache::{BlockCache, CacheConfig};
use crate::dvid::{self, Address, HttpConfig, Node, NodeOptions, View};
use crate::metrics::Metrics;

use super::catalog::{Catalog, CatalogError, CatalogOptions};
use super::dvid_array::DvidArray;

/// An array could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The server or the node could not be opened.
    #[error("cannot open the node")]
    Node(#[from] dvid::OpenError),
    /// The levels of the instance could not be looked at.
    #[error("cannot open the instance")]
    Catalog(#[from] CatalogError),
    /// The node has no such instance, or the instance has no array; the reason stands in its `attrs.json`.
    #[error("{name} is no array of this node: {reason}")]
    NoArray {
        /// The instance that was asked for.
        name: String,
        /// Why there is none.
        reason: String,
    },
}

impl DvidArray {
    /// Opens an instance of a node with a cache of its own: a labelmap's bodies, or the voxels as stored.
    ///
    /// `server` is such as `http://dvid.example.org:8000`; `uuid` any reference to a node, such as the first letters of
    /// its UUID or `28841c:master`, pinned here to the full UUID.
    ///
    /// # Errors
    /// If the node cannot be opened, or has no such instance with voxels.
    pub fn open(server: &str, uuid: &str, name: &str) -> Result<Arc<Self>, OpenError> {
        Self::open_one(server, uuid, name, |arrays| arrays.first())
    }

    /// Opens one view of an instance: [`View::Stored`] of a labelmap are its supervoxels.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_view(server: &str, uuid: &str, name: &str, view: View) -> Result<Arc<Self>, OpenError> {
        Self::open_one(server, uuid, name, |arrays| arrays.iter().find(|array| array.view() == view))
    }

    fn open_one(
        server: &str,
        uuid: &str,
        name: &str,
        choose: impl Fn(&[Arc<Self>]) -> Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, OpenError> {
        let address: Address = format!("{server}/{uuid}").parse().map_err(dvid::OpenError::from)?;
        let metrics = Arc::new(Metrics::default());
        let mut node = Node::open(&address, HttpConfig::default(), NodeOptions::default(), Arc::clone(&metrics))?;
        // The instance itself, and siblings that may be its coarser levels.
        let siblings = format!("{name}_");
        node.instances.retain(|info| info.name == name || info.name.starts_with(&siblings));
        let cache = BlockCache::new(CacheConfig::default(), metrics);
        let catalog = Catalog::open(&node, &cache, &CatalogOptions::default())?;
        let entry = catalog.entries.iter().find(|entry| entry.name == name);
        entry.and_then(|entry| choose(&entry.arrays)).cloned().ok_or_else(|| {
            let reason = entry.and_then(|entry| entry.described["reason"].as_str()).unwrap_or("no such array");
            OpenError::NoArray { name: name.to_owned(), reason: reason.to_owned() }
        })
    }
}
