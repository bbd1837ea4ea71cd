//! The threads of the disk: at most four, so that a disk that hangs takes no others.

use std::sync::Arc;

use crate::dvid::Freshness;
use crate::metrics::Counter;

use super::disk::{Change, Chore, Disk, EntryKey, Fault, Sought};
use super::disk_jobs::{Job, NodeNote, Question, Write};
use super::disk_queue;
use super::engine::Engine;
use super::kept_node;
use super::key::BlockKey;
use super::landing;
use super::memory::Forgotten;
use super::read::Source;
use super::sync::Instant;

/// Threads that wait for the disk.
pub(super) const N_THREADS: usize = 4;

/// The life of a thread of the disk.
pub(super) fn work(engine: &Arc<Engine>, disk: &Disk) {
    while let Some((job, number)) = wait_for_job(engine, disk) {
        let was_write = matches!(job, Job::Write(_));
        // A panic of ours costs its job, not the thread.
        let _ = engine.guarded("disk", || {
            do_job(engine, disk, job, number);
            Ok(())
        });
        disk_queue::end(engine, number, was_write);
    }
    // What was counted here is not known to the others yet.
    disk.tell();
}

fn wait_for_job(engine: &Engine, disk: &Disk) -> Option<(Job, u64)> {
    let mut state = engine.lock();
    loop {
        let now = Instant::now();
        if let Some(found) = disk_queue::next_job(engine, disk, &mut state, now) {
            engine.wake_ticker(&mut state);
            return Some(found);
        }
        if state.is_stopping && state.disk.unconfirmed.is_empty() {
            return None;
        }
        let wake_in = disk_queue::wake_in(&state, now);
        state = Engine::wait(&engine.disk_work, state, Some(wake_in));
    }
}

fn do_job(engine: &Arc<Engine>, disk: &Disk, job: Job, number: u64) {
    match job {
        Job::Look(keys) => look(engine, disk, keys, number),
        Job::Load(key, forgotten) => load(engine, disk, key, forgotten, number),
        Job::Write(write) => self::write(engine, disk, &write),
        Job::Answer(question) => self::answer(engine, disk, question),
        Job::Upkeep(chore) => look_after(engine, disk, chore),
        Job::Keep(node) => keep_node(engine, disk, node),
    }
}

/// The key of a block on disk, if its source is one that is kept.
fn entry_key(source: &Source, key: &BlockKey) -> Option<EntryKey> {
    let (identity, _) = source.fetch.keeps()?;
    Some(EntryKey::block(identity, key.scale, key.block))
}

/// Sees which blocks are on disk. Those that are not, go to the server all at once, so that neighbours stay together.
fn look(engine: &Arc<Engine>, disk: &Disk, keys: Vec<BlockKey>, number: u64) {
    let (mut found, mut fault) = (Vec::new(), None);
    for key in keys {
        let entry = engine.source(key.source).and_then(|source| entry_key(&source, &key));
        match entry.map(|entry| disk.has(&entry)) {
            Some(Ok(true)) => found.push(key),
            None | Some(Ok(false)) => {}
            Some(Err(failed)) => {
                fault = Some(failed);
                break;
            }
        }
    }
    let mut state = engine.lock();
    for key in &found {
        if state.disk.claim(number, key) {
            state.flights.found_on_disk(key);
        }
    }
    drop(state);
    // The others are handed to the server at the end of the job.
    note(engine, disk, fault);
}

/// Reads a block; whatever is wrong with it, it is asked of the server then.
fn load(engine: &Arc<Engine>, disk: &Disk, key: BlockKey, forgotten: Forgotten, number: u64) {
    drop(forgotten);
    let Some(source) = engine.source(key.source) else { return };
    let Some((_, kept)) = source.fetch.keeps() else { return };
    let Some(entry) = entry_key(&source, &key) else { return };
    // No answer of a server is larger either.
    let most_bytes = 2 * source.block_bytes() + (64 << 10);
    let sought = disk.get(&entry, most_bytes, |encoding, payload| kept.restore(encoding, payload).ok());
    let mut fault = None;
    match sought {
        Sought::Got(block) => {
            // What was kept for ever is right for ever, unless the server turned out to change it after all.
            let is_right = source.fetch.freshness() == Freshness::Forever;
            if is_right && engine.lock().disk.claim(number, &key) {
                engine.metrics.count(Counter::DiskHitBlocks);
                let landed = engine.guarded("land", || {
                    landing::land(engine, &source, key, &block, None);
                    Ok(())
                });
                if landed.is_err() {
                    engine.lock().flights.ask_server(&key);
                }
            }
        }
        Sought::Missing => {}
        Sought::Damaged(why) => {
            engine.metrics.count(Counter::DiskCorruptEntries);
            if may_tell(engine, "cache_corrupt") {
                let (scale, block) = (key.scale.0, key.block.0);
                tracing::warn!(code = "cache_corrupt", scale, %block, cause = why, "a damaged entry of the disk cache");
            }
        }
        Sought::OtherFormat if may_tell(engine, "cache_version") => {
            let (scale, block) = (key.scale.0, key.block.0);
            tracing::warn!(code = "cache_version", scale, %block, "an entry of another format is left alone");
        }
        Sought::OtherFormat => {}
        Sought::Failed(failed) => fault = Some(failed),
    }
    note(engine, disk, fault);
}

/// Reads an entry for who waits for it; without an answer, if it is not to be had.
fn answer(engine: &Arc<Engine>, disk: &Disk, question: Question) {
    let Question { key, most_bytes, answer } = question;
    let mut fault = None;
    match disk.get(&key, most_bytes, |encoding, payload| Some((encoding, payload.to_vec()))) {
        // Who has waited too long is gone.
        Sought::Got(found) => drop(answer.try_send(found)),
        Sought::Missing | Sought::OtherFormat => {}
        Sought::Damaged(why) => {
            engine.metrics.count(Counter::DiskCorruptEntries);
            if may_tell(engine, "cache_corrupt") {
                tracing::warn!(code = "cache_corrupt", cause = why, "a damaged entry of the disk cache");
            }
        }
        Sought::Failed(failed) => fault = Some(failed),
    }
    note(engine, disk, fault);
}

fn write(engine: &Arc<Engine>, disk: &Disk, write: &Write) {
    let Write { key, received, decoded_bytes } = write;
    let written = disk.put(key, (received.encoding, &received.payload), *decoded_bytes);
    match written {
        Ok(true) => {
            engine.metrics.count(Counter::DiskWrittenBlocks);
            engine.metrics.set(Counter::DiskHeldBytes, disk.held_bytes());
        }
        Ok(false) => {}
        Err(_) => engine.metrics.count(Counter::DiskDroppedBlocks),
    }
    note(engine, disk, written.err());
    if disk.wants_room() {
        engine.lock().disk.upkeep.want_room();
    }
}

/// Keeps what is known of a node. It is in use as long as this mount stands.
fn keep_node(engine: &Arc<Engine>, disk: &Disk, node: NodeNote) {
    let NodeNote { keys, payload } = node;
    for key in &keys {
        let entry = payload.as_deref().map(|payload| (kept_node::CODE, payload));
        match disk.replace(key, entry) {
            // One that is too large says nothing about blocks; what the same ref meant before must not outlive it.
            Err(Fault::Full) => {
                tracing::warn!(target: "dvidfs", code = "cache_full", "what is known of the node is not kept: --offline will not find it");
                note(engine, disk, disk.replace(key, None).err());
            }
            replaced => note(engine, disk, replaced.err()),
        }
    }
    engine.lock().disk.noted = if payload.is_some() { keys } else { Vec::new() };
}

fn look_after(engine: &Arc<Engine>, disk: &Disk, chore: Chore) {
    let found = match disk.look_after(chore) {
        Ok(found) => found,
        Err(fault) => {
            engine.lock().disk.upkeep.failed();
            return note(engine, disk, Some(fault));
        }
    };
    if matches!(chore, Chore::Sample(_)) {
        let noted = engine.lock().disk.noted.clone();
        noted.iter().for_each(|key| disk.touch(key));
    }
    engine.metrics.add(Counter::DiskEvictedEntries, found.removed_entries);
    let left = found.bytes.saturating_sub(found.removed_bytes);
    let (held, has_room) = (disk.held_bytes(), disk.has_room());
    let sum = engine.lock().disk.upkeep.done(chore, left, held, has_room);
    if let Some(sum) = sum {
        disk.counted(sum);
        if disk.wants_room() {
            engine.lock().disk.upkeep.want_room();
        }
    }
    engine.metrics.set(Counter::DiskHeldBytes, disk.held_bytes());
}

fn may_tell(engine: &Engine, code: &'static str) -> bool {
    engine.lock().disk.may_tell(code, Instant::now())
}

/// What the end of a job says about the disk.
fn note(engine: &Arc<Engine>, disk: &Disk, fault: Option<Fault>) {
    let now = Instant::now();
    let dir = disk.path().display();
    let mut state = engine.lock();
    let change = match fault {
        None => state.disk.health.succeeded(),
        Some(Fault::Full) => {
            let is_news = state.disk.health.pause_writes(now);
            state.disk.upkeep.want_room();
            drop(state);
            if is_news {
                tracing::warn!(code = "cache_full", %dir, "the disk cache has no room: blocks are not kept for a while");
            }
            return;
        }
        Some(Fault::ReadOnly) => {
            let is_news = state.disk.health.pause_writes(now);
            drop(state);
            if is_news {
                tracing::warn!(code = "cache_readonly", %dir, "the disk cache cannot be written: what it holds is used");
            }
            return;
        }
        Some(Fault::MadeAgain) => {
            state.disk.upkeep.recount();
            drop(state);
            tracing::warn!(code = "cache_dir", %dir, "the directory of the disk cache was gone: it was made again");
            return;
        }
        Some(Fault::Gone | Fault::Io(_)) => state.disk.health.failed(now),
    };
    drop(state);
    if let Some(fault) = fault {
        engine.metrics.count(Counter::DiskErrors);
        if may_tell(engine, "cache_io") {
            tracing::warn!(code = "cache_io", %dir, cause = ?fault, "the disk cache failed: the server is asked");
        }
    }
    match change {
        Change::None => {}
        Change::Bypassed => {
            tracing::warn!(code = "cache_io", %dir, "the disk cache fails: it is left alone for a while")
        }
        Change::Recovered => tracing::warn!(code = "cache_io", %dir, "the disk cache works again"),
    }
}
