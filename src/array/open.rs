//! One array without a mount, for users of the library.

use std::sync::Arc;

use crate::cache::{BlockCache, CacheConfig};
use crate::dvid::{Address, AddressError, HttpConfig, Node, NodeOptions, OpenError};
use crate::metrics::Metrics;

use super::catalog::{Catalog, CatalogError, CatalogOptions};
use super::dvid_array::DvidArray;

/// An array could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenArrayError {
    /// Server and node are not written as they must be.
    #[error("no address of a node")]
    Address(#[source] AddressError),
    /// The node could not be opened.
    #[error("cannot open the node")]
    Node(#[source] OpenError),
    /// The arrays of the node could not be described.
    #[error("cannot describe the arrays of the node")]
    Catalog(#[source] CatalogError),
    /// The node shows no such instance, or it holds no voxels.
    #[error("{0} is no instance with voxels here")]
    NoVoxels(String),
}

impl DvidArray {
    /// Opens an instance at a node: bodies for a labelmap, else the voxels as they are stored. `uuid` may be any ref.
    ///
    /// The array has a block cache and fetch threads of its own, which end with it.
    ///
    /// # Errors
    /// If the server cannot be reached, the ref means no node, or the instance has no voxels there.
    pub fn open(server: &str, uuid: &str, name: &str) -> Result<Arc<Self>, OpenArrayError> {
        let address: Address =
            format!("{}/{uuid}", server.trim_end_matches('/')).parse().map_err(OpenArrayError::Address)?;
        let metrics = Arc::new(Metrics::default());
        let node = Node::open(&address, HttpConfig::default(), NodeOptions::default(), Arc::clone(&metrics))
            .map_err(OpenArrayError::Node)?;
        let cache = BlockCache::new(CacheConfig::default(), metrics);
        let catalog = Catalog::open(&node, &cache, &CatalogOptions::default()).map_err(OpenArrayError::Catalog)?;
        let entry = catalog.entries.iter().find(|entry| entry.name == name);
        entry
            .and_then(|entry| entry.arrays.first())
            .map(Arc::clone)
            .ok_or_else(|| OpenArrayError::NoVoxels(name.to_owned()))
    }
}
