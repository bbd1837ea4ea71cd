//! What a thread of the disk can be told to do.

use crate::dvid::Received;

use super::disk::{Chore, EntryKey};
use super::key::BlockKey;
use super::memory::Forgotten;
use super::sync::mpsc;

/// What a write costs beside its payload: its key, and its place in the queue.
const WRITE_BYTES: usize = 512;

/// Something that waits to be written.
#[derive(Clone)]
pub(super) struct Write {
    pub(super) key: EntryKey,
    pub(super) received: Received,
    pub(super) decoded_bytes: u64,
}

impl Write {
    /// Memory that it takes.
    pub(super) fn held_bytes(&self) -> usize {
        self.received.payload.len() + WRITE_BYTES
    }
}

/// Something for a thread of the disk.
pub(super) enum Job {
    /// See which of these are on disk.
    Look(Vec<BlockKey>),
    /// Read this one. What had to leave memory for it is dropped first.
    Load(BlockKey, Forgotten),
    Write(Write),
    Answer(Question),
    Upkeep(Chore),
    Keep(NodeNote),
}

/// What is known of a node, to be kept under each of its names; or that nothing is to be kept there any more.
pub(super) struct NodeNote {
    pub(super) keys: Vec<EntryKey>,
    pub(super) payload: Option<Vec<u8>>,
}

/// An entry that is no block, and who waits for it.
pub(super) struct Question {
    pub(super) key: EntryKey,
    pub(super) most_bytes: usize,
    /// The code of its encoding, and its payload.
    pub(super) answer: mpsc::SyncSender<(u8, Vec<u8>)>,
}
