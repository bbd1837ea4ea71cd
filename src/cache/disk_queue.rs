//! What the disk is to do, and what it is doing: under the lock of the engine, so without any I/O.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::dvid::{Freshness, Received, View};
use crate::metrics::Counter;

use super::disk::{Change, Disk, DiskStatus, EntryKey, Health, Upkeep};
use super::disk_jobs::{Job, NodeNote, Question, Write};
use super::engine::{Engine, State};
use super::flight::First;
use super::key::{BlockKey, SourceId};
use super::queue::DiskPlace;
use super::read::Source;
use super::sync::{Instant, mpsc, thread};
use super::unconfirmed::Unconfirmed;

/// Blocks that are looked for at a time.
const LOOK_BLOCKS: usize = 512;
/// Threads that may write at once.
const MOST_WRITING: usize = 2;
/// Who waits for room in the queue looks again after this.
const TURN: Duration = Duration::from_millis(20);
/// Lines of one log code in a second.
const MOST_TOLD: u32 = 5;
/// Bytes that may wait to be written, and the part of the memory that they may take.
const MOST_QUEUED_BYTES: usize = 64 << 20;
const QUEUED_PART: usize = 16;

/// A job that a thread is at.
pub(super) struct DiskRunning {
    /// Blocks that are taken back if it takes too long.
    keys: Vec<BlockKey>,
    /// Memory that is reserved for it.
    bytes: usize,
    started: Instant,
    haste: Haste,
    is_late: bool,
}

/// Who suffers if a job takes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Haste {
    /// A reader, who is served by the server then.
    Read,
    /// Nobody; but a disk that takes nothing will soon give nothing.
    Write,
    /// Nobody: a shard of many entries may take its time.
    Upkeep,
}

/// What the disk is to do, and what it is doing.
pub(super) struct DiskQueue {
    pub(super) health: Health,
    pub(super) upkeep: Upkeep,
    running: HashMap<u64, DiskRunning>,
    n_started: u64,
    n_writing: usize,
    writes: VecDeque<Write>,
    /// What is to be written once its server has confirmed what it is.
    pub(super) unconfirmed: Unconfirmed,
    questions: VecDeque<Question>,
    pub(super) notes: VecDeque<NodeNote>,
    /// Entries that this mount has written about its node.
    pub(super) noted: Vec<EntryKey>,
    queued_bytes: usize,
    most_queued_bytes: usize,
    /// How often each log code was told in which second.
    told: HashMap<&'static str, (Instant, u32)>,
}

impl DiskQueue {
    pub(super) fn new(disk: Option<&Disk>, memory_bytes: usize) -> Self {
        let seed = u64::from(std::process::id()) << 32 | 0x9e37_79b9;
        Self {
            health: Health::new(disk.map(|disk| disk.config().times).unwrap_or_default()),
            upkeep: Upkeep::new(Instant::now(), seed),
            running: HashMap::new(),
            n_started: 0,
            n_writing: 0,
            writes: VecDeque::new(),
            unconfirmed: Unconfirmed::default(),
            questions: VecDeque::new(),
            notes: VecDeque::new(),
            noted: Vec::new(),
            queued_bytes: 0,
            told: HashMap::new(),
            most_queued_bytes: MOST_QUEUED_BYTES.min(memory_bytes / QUEUED_PART),
        }
    }

    /// Whether nothing has to be watched.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Something takes long just now.
    fn is_late(&self) -> bool {
        self.running.values().any(|running| running.is_late && running.haste == Haste::Read)
    }

    /// Whether something may be logged that can happen as often as blocks are read.
    pub(super) fn may_tell(&mut self, code: &'static str, now: Instant) -> bool {
        let (since, n) = self.told.entry(code).or_insert((now, 0));
        if now.saturating_duration_since(*since) >= Duration::from_secs(1) {
            (*since, *n) = (now, 0);
        }
        *n += 1;
        *n <= MOST_TOLD
    }

    /// What the disk is doing.
    pub(super) fn status(&self, disk: &Disk) -> DiskStatus {
        let state = if self.health.is_bypassed() {
            "bypassed"
        } else if self.is_late() {
            "late"
        } else if self.health.may_write(Instant::now()) {
            "ok"
        } else {
            "not written"
        };
        DiskStatus {
            directory: disk.path().to_owned(),
            state,
            held_bytes: disk.held_bytes(),
            queued_bytes: self.queued_bytes,
        }
    }

    fn begin(&mut self, keys: Vec<BlockKey>, bytes: usize, haste: Haste, now: Instant) -> u64 {
        self.n_started += 1;
        self.running.insert(self.n_started, DiskRunning { keys, bytes, started: now, haste, is_late: false });
        self.n_started
    }

    /// Takes a block out of a job, to do something about it. False if the job took too long, and the block was taken back.
    pub(super) fn claim(&mut self, number: u64, key: &BlockKey) -> bool {
        let Some(running) = self.running.get_mut(&number) else { return false };
        let n_before = running.keys.len();
        running.keys.retain(|of| of != key);
        running.keys.len() < n_before
    }

    /// Half of the room for what waits is taken.
    pub(super) fn is_half_full(&self) -> bool {
        2 * self.queued_bytes > self.most_queued_bytes
    }

    /// What waited for its server is written, or else forgotten.
    pub(super) fn confirmed(&mut self, engine: &Engine, write: Write, is_kept: bool) {
        if is_kept {
            self.writes.push_back(write);
        } else {
            self.queued_bytes -= write.held_bytes();
            engine.memory.release(write.held_bytes());
        }
    }

    fn next_write(&mut self, engine: &Engine, most_writing: usize, now: Instant) -> Option<(Job, u64)> {
        if self.n_writing >= most_writing {
            return None;
        }
        let write = self.writes.pop_front()?;
        self.queued_bytes -= write.held_bytes();
        engine.memory.release(write.held_bytes());
        self.n_writing += 1;
        Some((Job::Write(write), self.begin(Vec::new(), 0, Haste::Write, now)))
    }
}

/// The next job, and its number.
pub(super) fn next_job(engine: &Engine, disk: &Disk, state: &mut State, now: Instant) -> Option<(Job, u64)> {
    if let Some(note) = state.disk.notes.pop_front() {
        return Some((Job::Keep(note), state.disk.begin(Vec::new(), 0, Haste::Write, now)));
    }
    // At the end what was fetched is still written, and nothing else is done.
    if state.is_stopping {
        return state.disk.next_write(engine, MOST_WRITING, now);
    }
    if state.disk.upkeep.wants_room()
        && let Some(job) = next_chore(disk, state, now)
    {
        return Some(job);
    }
    if let Some(question) = state.disk.questions.pop_front() {
        return Some((Job::Answer(question), state.disk.begin(Vec::new(), 0, Haste::Read, now)));
    }
    // Readers have most of the threads, but not all.
    if let Some(job) = state.disk.next_write(engine, 1, now) {
        return Some(job);
    }
    next_read(engine, state, now)
        .or_else(|| state.disk.next_write(engine, MOST_WRITING, now))
        .or_else(|| next_chore(disk, state, now))
}

fn next_chore(disk: &Disk, state: &mut State, now: Instant) -> Option<(Job, u64)> {
    if state.disk.health.is_bypassed() {
        return None;
    }
    let chore = state.disk.upkeep.next(now, disk.held_bytes())?;
    Some((Job::Upkeep(chore), state.disk.begin(Vec::new(), 0, Haste::Upkeep, now)))
}

fn next_read(engine: &Engine, state: &mut State, now: Instant) -> Option<(Job, u64)> {
    loop {
        let (place, key) = state.flights.queue.first_on_disk()?;
        if !state.flights.is_wanted(&key) {
            state.flights.discard(&key);
            continue;
        }
        if matches!(place, DiskPlace::Sought | DiskPlace::SoughtAhead) {
            let keys: Vec<_> = state.flights.queue.on_disk(place).take(LOOK_BLOCKS).collect();
            keys.iter().for_each(|key| state.flights.take_off(key));
            return Some((Job::Look(keys.clone()), state.disk.begin(keys, 0, Haste::Read, now)));
        }
        let bytes = engine.source(key.source)?.block_bytes();
        let is_alone = state.disk.running.values().all(|running| running.bytes == 0);
        let forgotten = match engine.memory.reserve(bytes) {
            Ok(forgotten) => forgotten,
            // Reads hold all there is. They end only if they are given what they miss: one block at a time.
            Err(_) if is_alone => engine.memory.reserve_anyway(bytes),
            Err(_) => return None,
        };
        state.flights.take_off(&key);
        return Some((Job::Load(key, forgotten), state.disk.begin(vec![key], bytes, Haste::Read, now)));
    }
}

/// A job has ended: blocks that were not claimed go to the server.
pub(super) fn end(engine: &Engine, number: u64, was_write: bool) {
    let mut state = engine.lock();
    state.disk.n_writing -= usize::from(was_write);
    let Some(running) = state.disk.running.remove(&number) else { return };
    engine.memory.release(running.bytes);
    running.keys.iter().for_each(|key| state.flights.ask_server(key));
    drop(state);
    engine.work.notify_all();
    engine.disk_work.notify_all();
}

/// Jobs that take too long lose their blocks, and so do those that wait: the server is asked. Whether there were any.
pub(super) fn take_back_late(engine: &Engine, state: &mut State, now: Instant) -> bool {
    let Some(disk) = &engine.disk else { return false };
    let times = disk.config().times;
    let (mut taken, mut hangs) = (Vec::new(), false);
    for running in state.disk.running.values_mut().filter(|running| running.haste != Haste::Upkeep) {
        let age = now.saturating_duration_since(running.started);
        hangs |= age >= times.hang;
        if !running.is_late && age >= times.late {
            running.is_late = true;
            taken.append(&mut running.keys);
            engine.memory.release(std::mem::take(&mut running.bytes));
        }
    }
    if hangs && state.disk.health.hangs(now) == Change::Bypassed {
        engine.metrics.count(Counter::DiskErrors);
        tracing::warn!(code = "cache_hang", dir = %disk.path().display(), "the disk cache hangs and is left alone");
    }
    if state.disk.is_late() || state.disk.health.is_bypassed() {
        taken.extend(state.flights.queue.all_on_disk());
    }
    taken.iter().for_each(|key| state.flights.ask_server(key));
    !taken.is_empty()
}

/// Where the blocks of a source are looked for first.
pub(super) fn first(engine: &Engine, state: &mut State, source: &Source, view: View, now: Instant) -> First {
    let is_kept = || view == View::Stored && source.fetch.keeps().is_some();
    if engine.disk.is_some() && is_kept() && !state.disk.is_late() && state.disk.health.may_read(now) {
        First::Disk
    } else {
        First::Server
    }
}

/// Offers a block that was received to the disk, which takes it if it has time.
pub(super) fn offer(engine: &Engine, source: &Source, key: BlockKey, received: Received) {
    let Some((identity, _)) = source.fetch.keeps().filter(|_| source.fetch.freshness() == Freshness::Forever) else {
        return;
    };
    let write = Write {
        key: EntryKey::block(identity, key.scale, key.block),
        received,
        decoded_bytes: source.block_bytes() as u64,
    };
    if !push(engine, write, Some(key.source)) {
        engine.metrics.count(Counter::DiskDroppedBlocks);
    }
}

/// Queues something to be written, if there is room: what comes from a source, once that is confirmed. Whether there was.
fn push(engine: &Engine, write: Write, from: Option<SourceId>) -> bool {
    let mut state = engine.lock();
    let may_queue = state.disk.health.may_write(Instant::now())
        && state.disk.queued_bytes + write.held_bytes() <= state.disk.most_queued_bytes
        && (from.is_none() || state.disk.unconfirmed.is_attended)
        && !state.is_stopping;
    // Memory that is full of what is read has no room for what is only written down.
    let forgotten = if may_queue { engine.memory.reserve(write.held_bytes()).ok() } else { None };
    if forgotten.is_some() {
        state.disk.queued_bytes += write.held_bytes();
        match from {
            Some(source) => state.disk.unconfirmed.push(source, write, Instant::now()),
            None => state.disk.writes.push_back(write),
        }
        engine.wake_ticker(&mut state);
    }
    drop(state);
    if forgotten.is_some() {
        if from.is_some() { &engine.confirm } else { &engine.disk_work }.notify_one();
    }
    forgotten.is_some()
}

/// Has it written down what is known of a node, or that nothing is. If the disk takes nothing just now, what was written before
/// goes, since it may no longer be so.
pub(super) fn keep_node(engine: &Engine, node: NodeNote) {
    let mut state = engine.lock();
    if engine.disk.is_some() {
        let payload = node.payload.filter(|_| state.disk.health.may_write(Instant::now()));
        state.disk.notes.push_back(NodeNote { payload, ..node });
        engine.wake_ticker(&mut state);
    }
    drop(state);
    engine.disk_work.notify_one();
}

/// Gets an entry that is no block, within the time in which a disk is not late. Not for threads that must not wait.
pub(super) fn ask(engine: &Engine, key: EntryKey, most_bytes: usize) -> Option<(u8, Vec<u8>)> {
    let late = engine.disk.as_ref()?.config().times.late;
    let (answer, answered) = mpsc::sync_channel(1);
    let mut state = engine.lock();
    if state.is_stopping || state.disk.is_late() || !state.disk.health.may_read(Instant::now()) {
        return None;
    }
    state.disk.questions.push_back(Question { key, most_bytes, answer });
    engine.wake_ticker(&mut state);
    drop(state);
    engine.disk_work.notify_one();
    answered.recv_timeout(late).ok()
}

/// Has an entry written that is no block, and waits for its turn so long at most. Not for threads that must not wait.
pub(super) fn tell(engine: &Engine, write: &Write, until: Instant) -> bool {
    loop {
        let is_over = engine.lock().is_stopping || Instant::now() >= until;
        if is_over || push(engine, write.clone(), None) {
            return !is_over;
        }
        thread::sleep(TURN);
    }
}

/// When time alone gives the disk something to do.
pub(super) fn wake_in(state: &State, now: Instant) -> Duration {
    state.disk.upkeep.wake_time().saturating_duration_since(now).max(Duration::from_millis(1))
}

/// What the disk does now, for people.
pub(super) fn status(engine: &Engine, state: &State) -> Option<DiskStatus> {
    engine.disk.as_ref().map(|disk| state.disk.status(disk))
}
