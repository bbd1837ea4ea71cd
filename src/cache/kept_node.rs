//! What is known of a node, found on disk by the names that people mount it by.

use super::block_cache::BlockCache;
use super::disk::{Disk, EntryKey, Sought};
use super::disk_jobs::NodeNote;
use super::disk_queue;

/// What the payload of such an entry is; no block has this code.
pub(super) const CODE: u8 = 66;
/// No such payload is longer.
const MOST_BYTES: usize = 64 << 20;

/// What looking for a node came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundNode {
    /// As it was kept, to the last byte.
    Kept(Vec<u8>),
    /// Nothing was kept, or it has left since.
    Nothing,
    /// It was damaged, and is removed.
    Damaged(&'static str),
    /// It cannot be read.
    Failed(String),
}

impl Disk {
    /// What was kept of the node that this ref of a server meant. Waits for the disk.
    #[must_use]
    pub fn find_node(&self, server: &str, reference: &str) -> FoundNode {
        let key = EntryKey::node(server, reference);
        match self.get(&key, MOST_BYTES, |code, payload| (code == CODE).then(|| payload.to_vec())) {
            Sought::Got(payload) => FoundNode::Kept(payload),
            Sought::Missing => FoundNode::Nothing,
            Sought::Damaged(why) => FoundNode::Damaged(why),
            Sought::OtherFormat => FoundNode::Failed("it is of another format".to_owned()),
            Sought::Failed(fault) => FoundNode::Failed(format!("{fault:?}")),
        }
    }
}

impl BlockCache {
    /// Has kept on disk, under each of these refs of a server, what is known of a node; or lets nothing stand there.
    pub fn keep_node(&self, server: &str, references: &[&str], payload: Option<Vec<u8>>) {
        let keys = references.iter().map(|reference| EntryKey::node(server, reference)).collect();
        disk_queue::keep_node(&self.engine, NodeNote { keys, payload });
    }

    /// What an earlier mount kept of the node that this ref of a server meant, if the disk is quick to tell.
    #[must_use]
    pub fn kept_node(&self, server: &str, reference: &str) -> Option<Vec<u8>> {
        let (code, payload) = disk_queue::ask(&self.engine, EntryKey::node(server, reference), MOST_BYTES)?;
        (code == CODE).then_some(payload)
    }
}
