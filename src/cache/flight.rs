//! One fetch for each block, and the reads that are parked on it. Data only: no locks, no threads, no I/O.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::dvid::{Attempts, Error, ErrorKind, View};
use crate::voxels::Volume;

mod on_disk;
mod preparations;

use super::failures::Failures;
use super::key::{BlockKey, FetchError, SourceId};
use super::queue::{DiskPlace, Place, Queue};
use super::read::{Failed, Read};
use super::sync::Instant;

/// A parked read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ReadId(u64);

struct Parked {
    read: Read,
    /// Flights and preparations that it still waits for.
    n_awaited: usize,
    /// It waits for something that may take long, so it holds no blocks meanwhile: they stay where they can be
    /// forgotten, and it looks for them again at the end.
    is_stuck: bool,
}

struct Waiter {
    read: ReadId,
    slot: usize,
}

/// One block that is to be fetched or is being fetched.
pub(super) struct Flight {
    waiters: Vec<Waiter>,
    /// `None` while it is being fetched.
    place: Option<Place>,
    /// Attempts that failed.
    pub(super) attempts: Attempts,
    error: Option<Arc<Error>>,
    /// It is asked for by itself, because a request for it and others failed.
    pub(super) is_alone: bool,
    /// It was expected before it was read.
    pub(super) was_ahead: bool,
}

/// A view of a source that is being made ready.
#[derive(Default)]
struct Preparation {
    waiters: Vec<ReadId>,
    attempts: Attempts,
    error: Option<Arc<Error>>,
}

/// What was queued by parking a read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Queued {
    /// There are blocks that were not waited for before, to be asked of the server.
    pub(super) blocks: usize,
    /// And so many to be looked for on disk.
    pub(super) on_disk: usize,
    /// This view has to be made ready.
    pub(super) preparation: Option<(SourceId, View)>,
}

/// All flights, all parked reads, and the queue between them.
#[derive(Default)]
pub(super) struct Flights {
    flights: HashMap<BlockKey, Flight>,
    reads: HashMap<ReadId, Parked>,
    preparations: HashMap<(SourceId, View), Preparation>,
    /// Blocks that could not be had.
    pub(super) failures: Failures<BlockKey>,
    /// Views that could not be made ready.
    pub(super) unprepared: Failures<(SourceId, View)>,
    pub(super) queue: Queue,
    n_reads: u64,
}

/// Where a block is looked for first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    Disk,
    Server,
}

/// A failed block whose backoff is long is asked for again this soon after a new read wants it.
const LONGEST_DELAY_OF_A_NEW_READ: Duration = Duration::from_millis(500);

impl Flights {
    pub(super) fn n_reads(&self) -> usize {
        self.reads.len()
    }

    pub(super) fn is_flying(&self, key: &BlockKey) -> bool {
        self.flights.contains_key(key)
    }

    pub(super) fn get(&self, key: &BlockKey) -> Option<&Flight> {
        self.flights.get(key)
    }

    /// Whether this block waits in the queue and may be asked for together with its neighbours.
    pub(super) fn may_join(&self, key: &BlockKey, ahead: bool) -> bool {
        self.flights.get(key).is_some_and(|flight| {
            !flight.is_alone
                && match flight.place {
                    Some(Place::Demanded(_)) => true,
                    Some(Place::Ahead(_)) => ahead,
                    Some(Place::Delayed(..) | Place::Disk(..)) | None => false,
                }
        })
    }

    /// Parks a read on the blocks of these slots, and on its view if that has to be made ready.
    pub(super) fn park(&mut self, read: Read, slots: &[usize], prepare: bool, first: First, now: Instant) -> Queued {
        self.n_reads += 1;
        let id = ReadId(self.n_reads);
        let mut queued = Queued::default();
        let mut is_stuck = prepare;
        for &slot in slots {
            let key = read.stored_key(slot);
            let flight = self.flights.entry(key).or_insert_with(|| match first {
                First::Server => {
                    queued.blocks += 1;
                    Flight::new(Some(self.queue.demand(key)))
                }
                First::Disk => {
                    queued.on_disk += 1;
                    Flight::new(Some(self.queue.seek(key, DiskPlace::Sought)))
                }
            });
            flight.waiters.push(Waiter { read: id, slot });
            is_stuck |= flight.attempts.n() > 0;
            match flight.place {
                Some(place @ Place::Ahead(_)) => {
                    self.queue.remove(place);
                    flight.place = Some(self.queue.demand(key));
                    queued.blocks += 1;
                }
                Some(place @ Place::Disk(on_disk, _)) if on_disk.is_ahead() => {
                    self.queue.remove(place);
                    flight.place = Some(self.queue.seek(key, on_disk.demanded()));
                    queued.on_disk += 1;
                }
                Some(place @ Place::Delayed(until, _)) if until > now + LONGEST_DELAY_OF_A_NEW_READ => {
                    if flight.error.as_ref().is_none_or(|error| error.retry_after().is_none()) {
                        self.queue.remove(place);
                        flight.place = Some(self.queue.delay(key, now + LONGEST_DELAY_OF_A_NEW_READ));
                        queued.blocks += 1;
                    }
                }
                Some(Place::Demanded(_) | Place::Delayed(..) | Place::Disk(..)) | None => {}
            }
        }
        if prepare {
            let view = (read.request.source, read.request.view);
            let preparation = self.preparations.entry(view).or_insert_with(|| {
                queued.preparation = Some(view);
                Preparation::default()
            });
            preparation.waiters.push(id);
        }
        self.reads.insert(id, Parked { read, n_awaited: slots.len() + usize::from(prepare), is_stuck });
        queued
    }

    /// Queues a block that nobody reads yet. False if it is on its way already.
    pub(super) fn expect(&mut self, key: BlockKey, first: First, now: Instant) -> bool {
        if self.flights.contains_key(&key) || self.failures.get(&key, now).is_some() {
            return false;
        }
        let mut flight = Flight::new(Some(match first {
            First::Server => self.queue.ahead(key),
            First::Disk => self.queue.seek(key, DiskPlace::SoughtAhead),
        }));
        flight.was_ahead = true;
        self.flights.insert(key, flight);
        true
    }

    /// Drops the block that was expected first, to make room for others.
    pub(super) fn forget_expected(&mut self) {
        if let Some(key) = self.queue.first_expected() {
            self.discard(&key);
        }
    }

    /// Takes a block out of the queue: it is being fetched from now on.
    pub(super) fn take_off(&mut self, key: &BlockKey) {
        if let Some(place) = self.flights.get_mut(key).and_then(|flight| flight.place.take()) {
            self.queue.remove(place);
        }
    }

    /// Whether a read waits for this block, or it is fetched ahead.
    pub(super) fn is_wanted(&mut self, key: &BlockKey) -> bool {
        let Some(flight) = self.flights.get_mut(key) else { return false };
        let is_ahead = match flight.place {
            Some(Place::Ahead(_)) => true,
            Some(Place::Disk(place, _)) => place.is_ahead(),
            Some(Place::Demanded(_) | Place::Delayed(..)) | None => false,
        };
        is_ahead || flight.keep_live_waiters(&self.reads)
    }

    /// Gives up a block that nobody waits for.
    pub(super) fn discard(&mut self, key: &BlockKey) {
        if let Some(place) = self.flights.remove(key).and_then(|flight| flight.place) {
            self.queue.remove(place);
        }
    }

    /// The views in which a block is waited for.
    pub(super) fn awaited_views(&self, key: &BlockKey) -> Vec<View> {
        let waiters = self.flights.get(key).map_or(&[][..], |flight| &flight.waiters);
        let mut views: Vec<View> =
            waiters.iter().filter_map(|waiter| Some(self.reads.get(&waiter.read)?.read.request.view)).collect();
        views.sort_unstable();
        views.dedup();
        views
    }

    /// Hands a block to all who wait for it. `volume` gives it in a view, or `None` if it is not decoded in that one.
    /// Whoever began to read after it had expired looks for it once more: it may be older than a read may see.
    ///
    /// Gives the reads that wait for nothing more, and whether nobody waited.
    pub(super) fn land(
        &mut self,
        key: &BlockKey,
        expires: Option<Instant>,
        volume: impl Fn(View) -> Option<Option<Arc<Volume>>>,
    ) -> (Vec<Read>, bool) {
        let Some(flight) = self.flights.remove(key) else { return (Vec::new(), false) };
        let mut finished = Vec::new();
        for waiter in &flight.waiters {
            let Some(parked) = self.reads.get_mut(&waiter.read) else { continue };
            parked.n_awaited -= 1;
            let is_fresh = expires.is_none_or(|expires| parked.read.since < expires);
            if is_fresh && (!parked.is_stuck || parked.n_awaited == 0) {
                parked.read.slots[waiter.slot] = volume(parked.read.request.view);
            }
            if parked.n_awaited == 0 {
                finished.extend(self.reads.remove(&waiter.read).map(|parked| parked.read));
            }
        }
        (finished, flight.waiters.is_empty())
    }

    /// Puts a block back into the queue after a failed attempt; `None` as time means at once.
    ///
    /// If nobody waits for it any more it is given up instead.
    pub(super) fn retry(&mut self, key: &BlockKey, error: &Arc<Error>, until: Option<Instant>, alone: bool) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        if !flight.keep_live_waiters(&self.reads) {
            return self.discard(key);
        }
        flight.attempts = flight.attempts.and(error.kind());
        flight.error = Some(Arc::clone(error));
        flight.is_alone |= alone;
        flight.place = Some(match until {
            Some(until) => self.queue.delay(*key, until),
            None => self.queue.demand(*key),
        });
        self.let_go_of_blocks(key);
    }

    /// Lets the reads that wait for this block hold no others meanwhile: it may take long.
    pub(super) fn let_go_of_blocks(&mut self, key: &BlockKey) {
        let Some(flight) = self.flights.get(key) else { return };
        for waiter in &flight.waiters {
            if let Some(parked) = self.reads.get_mut(&waiter.read).filter(|parked| !parked.is_stuck) {
                parked.is_stuck = true;
                parked.read.slots.iter_mut().for_each(|slot| *slot = None);
            }
        }
    }

    /// Gives a block up: how often it failed, and the reads that waited for it, each with the slot of the block.
    pub(super) fn release(&mut self, key: &BlockKey) -> (u32, Vec<(Read, usize)>) {
        let Some(flight) = self.flights.remove(key) else { return (0, Vec::new()) };
        flight.place.into_iter().for_each(|place| self.queue.remove(place));
        let read_of = |waiter: &Waiter| Some((self.reads.remove(&waiter.read)?.read, waiter.slot));
        (flight.attempts.n(), flight.waiters.iter().filter_map(read_of).collect())
    }

    /// Gives a block up for good: everybody who waits for it is told, and so is everybody who asks until `until`.
    pub(super) fn fail(&mut self, key: &BlockKey, error: &Arc<Error>, now: Instant, until: Instant) -> Vec<Failed> {
        let (attempts, reads) = self.release(key);
        let attempts = attempts + 1;
        if !reads.is_empty() {
            self.failures.remember(*key, error, attempts, until);
        }
        let told = |(read, slot): (Read, usize)| {
            let told = read.error(slot, Arc::clone(error), attempts, now);
            (read, told)
        };
        reads.into_iter().map(told).collect()
    }

    /// Failed blocks that are due are asked for again.
    pub(super) fn wake_delayed(&mut self, now: Instant) {
        while let Some((_, key)) = self.queue.first_delayed().filter(|&(until, _)| until <= now) {
            self.demand_again(&key);
        }
    }

    /// Failed blocks are asked for again at once, if their last failure was of such a kind.
    pub(super) fn wake_all(&mut self, of_kind: impl Fn(ErrorKind) -> bool) {
        let keys: Vec<_> = self.queue.delayed().collect();
        for key in keys {
            let error = self.flights.get(&key).and_then(|flight| flight.error.as_ref());
            if error.is_some_and(|error| of_kind(error.kind())) {
                self.demand_again(&key);
            }
        }
    }

    fn demand_again(&mut self, key: &BlockKey) {
        self.take_off(key);
        if let Some(flight) = self.flights.get_mut(key) {
            flight.place = Some(self.queue.demand(*key));
        }
    }

    /// Gives up the reads whose patience has ended or whose reader is gone, and what only they waited for.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Failed> {
        self.failures.forget_old(now);
        self.unprepared.forget_old(now);
        let is_over = |parked: &Parked| parked.read.is_over(now);
        let over: Vec<_> = self.reads.iter().filter(|(_, parked)| is_over(parked)).map(|(&id, _)| id).collect();
        let over: Vec<_> = over.iter().filter_map(|id| self.reads.remove(id)).map(|parked| parked.read).collect();
        over.into_iter().map(|read| self.give_up(read, now)).collect()
    }

    fn give_up(&mut self, read: Read, now: Instant) -> Failed {
        let slots: Vec<_> = read.missing().collect();
        let preparation = self.preparations.get(&(read.request.source, read.request.view));
        let mut cause = preparation.and_then(|it| Some((0, Arc::clone(it.error.as_ref()?), it.attempts.n())));
        let mut awaited = slots.first().copied().unwrap_or_default();
        for slot in slots {
            let key = read.stored_key(slot);
            let Some(flight) = self.flights.get_mut(&key) else { continue };
            awaited = slot;
            if let Some(error) = &flight.error {
                cause = Some((slot, Arc::clone(error), flight.attempts.n()));
            }
            let is_queued = flight.place.is_some();
            if is_queued && !self.is_wanted(&key) {
                self.discard(&key);
            }
        }
        let (slot, source, attempts) = cause.unwrap_or_else(|| {
            let error =
                Error::new(ErrorKind::Timeout, "blocks").with_detail("patience ended before the server answered");
            (awaited, Arc::new(error), 0)
        });
        let told = FetchError { gave_up: true, ..read.error(slot, source, attempts, now) };
        (read, told)
    }

    /// Ends everything that is queued, and gives all parked reads.
    pub(super) fn take_all(&mut self) -> Vec<Read> {
        self.queue = Queue::default();
        self.flights.retain(|_, flight| flight.place.is_none());
        self.reads.drain().map(|(_, parked)| parked.read).collect()
    }
}

impl Flight {
    fn new(place: Option<Place>) -> Self {
        Self {
            waiters: Vec::new(),
            place,
            attempts: Attempts::default(),
            error: None,
            is_alone: false,
            was_ahead: false,
        }
    }

    /// Forgets waiters that were answered meanwhile. Whether any is left.
    fn keep_live_waiters(&mut self, reads: &HashMap<ReadId, Parked>) -> bool {
        self.waiters.retain(|waiter| reads.contains_key(&waiter.read));
        !self.waiters.is_empty()
    }

    /// What became of its last attempt.
    pub(super) fn last_kind(&self) -> Option<ErrorKind> {
        self.error.as_ref().map(|error| error.kind())
    }
}
