//! What is known of a node, found on disk by the names that people mount it by.

use super::disk::{Disk, EntryKey, Sought};

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
