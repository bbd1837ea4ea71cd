//! A mapping of bodies is kept on disk as soon as it has passed the gate, so that its price is paid once.

use std::time::Duration;

use crate::dvid::{FetchBlocks, Received};

use super::disk::EntryKey;
use super::disk_jobs::Write;
use super::disk_queue;
use super::engine::Engine;
use super::sync::Instant;

/// What the payload of such an entry is; no block has these codes.
const HEAD: u8 = 64;
const PART: u8 = 65;
/// No head or part is longer.
const MOST_BYTES: usize = 1 << 20;
/// How long the server may take to say that it is what was mounted.
const LIMIT: Duration = Duration::from_secs(2);
/// How long a mapping waits until all of it is queued to be written.
const PATIENCE: Duration = Duration::from_secs(120);

/// Takes the mapping of a source from the disk, if it is there and whole. Whether it was.
pub(super) fn restore(engine: &Engine, source: &dyn FetchBlocks) -> bool {
    let Some((identity, kept)) = source.keeps() else { return false };
    let payload = |key, code| Some(disk_queue::ask(engine, key, MOST_BYTES)?).filter(|found| found.0 == code);
    let Some((_, head)) = payload(EntryKey::mapping_head(identity), HEAD) else { return false };
    let Some(mut mapping) = kept.begin_mapping(&head) else { return false };
    for part in 0..mapping.n_parts() {
        match payload(EntryKey::mapping_part(identity, part), PART) {
            Some((_, part)) if mapping.add(&part) => {}
            Some(_) | None => return false,
        }
    }
    kept.adopt_mapping(mapping)
}

/// Has the mapping of a source written, if there is one that passed the gate. The head comes last.
pub(super) fn keep(engine: &Engine, source: &dyn FetchBlocks) {
    if engine.disk.is_none() {
        return;
    }
    let Some((identity, kept)) = source.keeps() else { return };
    let Some(head) = kept.mapping_head() else { return };
    // It was had from what bears the name now.
    if kept.confirm(LIMIT).is_err() {
        return;
    }
    let until = Instant::now() + PATIENCE;
    let write = |key, encoding, payload: Vec<u8>| {
        let decoded_bytes = payload.len() as u64;
        disk_queue::tell(engine, &Write { key, received: Received { encoding, payload }, decoded_bytes }, until)
    };
    for number in 0.. {
        let Some(part) = kept.mapping_part(number) else { break };
        if !write(EntryKey::mapping_part(identity, number), PART, part) {
            return;
        }
    }
    write(EntryKey::mapping_head(identity), HEAD, head);
}
