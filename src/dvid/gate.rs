//! The gate of bodies: no body is believed before the server is known to have its mapping loaded.
//!
//! A server that still loads the mapping of a version answers 200 with wrong bodies, and with a part of the mapping. So
//! two whole downloads that lie apart must agree, within one run of the server, and sample blocks must be the same
//! mapped here and there. On a locked node the mapping is then held here for good. Where the server must be
//! asked again (an open node, or a mapping too large to hold), each answer is believed only while the run goes on.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::thread::sleep;
use std::time::Duration;

use lru::LruCache;

use crate::metrics::Counter;

use super::error::{Error, ErrorKind};
use super::http::Server;
use super::mapping::{Digest, Table, download_digest, download_table, look_up};
use super::server_info::{SERVER_INFO, ServerStart};

/// What an entry of the table costs.
const TABLE_ENTRY_BYTES: usize = 16;
/// What an entry of the LRU costs: key, value, two links, and its place in a hash table.
const LRU_ENTRY_BYTES: usize = 96;
/// How often a server must look restarted before it is taken for that.
const RUN_CHECKS: usize = 3;
/// Supervoxels in one question.
const MAX_LOOKUP: usize = 20_000;

/// How bodies are had, since the gate is open.
#[derive(Clone, Debug)]
pub(super) enum Way {
    /// Mapped here by the whole mapping.
    Table(Arc<Table>),
    /// Mapped here, supervoxel by supervoxel as they are met; right as long as this run of the server goes on.
    LookUp(ServerStart),
    /// Mapped by the server; right as long as this run of it goes on.
    Server(ServerStart),
}

/// Who maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mapper {
    /// We do: the mapping of a locked node does not change.
    Client,
    /// The server does: the mapping may change at any time.
    Server,
}

/// What is left of the memory that the mappings of all labelmaps of a node share.
#[derive(Debug)]
pub(super) struct MappingMemory(AtomicUsize);

impl MappingMemory {
    pub(super) fn new(bytes: usize) -> Self {
        Self(AtomicUsize::new(bytes))
    }

    /// Takes so much of it, if there is so much.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let less = |left: usize| left.checked_sub(bytes);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).is_ok()
    }

    /// Takes half of what is left: how much that was.
    fn take_half(&self) -> usize {
        let half = |left: usize| Some(left - left / 2);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, half).map_or(0, |left| left / 2)
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::AcqRel);
    }
}

/// Gives the bodies of a list of supervoxels, in its order.
pub(super) type MapLabels<'a> = dyn Fn(&[u64]) -> Result<Vec<u64>, Error> + 'a;

/// Whether the bodies of one labelmap may be believed, and how they are had.
#[derive(Debug)]
pub(super) struct Gate {
    server: Server,
    /// `/api/node/<uuid>/<instance>`.
    instance: String,
    mapper: Mapper,
    memory: Arc<MappingMemory>,
    /// Between two downloads.
    apart: Duration,
    /// How bodies are had; `None` while the gate is closed. No I/O under this lock.
    way: RwLock<Option<Way>>,
    /// Held by the one who checks, all through it, so that the mapping is not downloaded by many at once.
    checking: Mutex<()>,
    /// The mapping is larger than its memory, for good: a block that was mapped when it was fetched must never be
    /// mapped again.
    is_too_large: AtomicBool,
    /// Bodies that were looked up, at most `most_met` of them. No I/O under this lock.
    met: Mutex<LruCache<u64, u64>>,
    /// Its memory is taken when it is first known that the mapping is too large.
    most_met: OnceLock<usize>,
}

impl Gate {
    pub(super) fn new(
        server: Server,
        instance: String,
        mapper: Mapper,
        memory: Arc<MappingMemory>,
        apart: Duration,
    ) -> Self {
        Self {
            server,
            instance,
            mapper,
            memory,
            apart,
            way: RwLock::default(),
            checking: Mutex::default(),
            is_too_large: AtomicBool::new(false),
            // One with a capacity takes all its memory at once, whether or not anything is ever looked up.
            met: Mutex::new(LruCache::unbounded()),
            most_met: OnceLock::new(),
        }
    }

    /// How bodies are had, if the gate is open.
    pub(super) fn way(&self) -> Option<Way> {
        self.way.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The memory that its mapping takes of.
    pub(super) fn memory(&self) -> &Arc<MappingMemory> {
        &self.memory
    }

    /// Opens the gate by a whole mapping that passed it in another process. False if it is open already, or if the
    /// mapping of this node may change.
    pub(super) fn open_with(&self, table: Table) -> bool {
        let _checking = self.checking.lock().unwrap_or_else(PoisonError::into_inner);
        if self.mapper == Mapper::Server || self.way().is_some() {
            return false;
        }
        *self.way.write().unwrap_or_else(PoisonError::into_inner) = Some(Way::Table(Arc::new(table)));
        true
    }

    /// That the gate is closed, as an error.
    pub(super) fn closed(&self) -> Error {
        Error::new(ErrorKind::MappingLoading, &self.instance)
    }

    fn loading(&self, detail: String) -> Error {
        self.closed().with_detail(detail)
    }

    /// Opens the gate, if the server has its mapping loaded. Takes at least the time between two downloads.
    ///
    /// `agrees` compares sample blocks, mapped by the given function, with those that the server maps.
    ///
    /// # Errors
    /// [`ErrorKind::MappingLoading`] if downloads differ, the server was restarted meanwhile or samples differ; else
    /// those of the requests.
    pub(super) fn open(&self, agrees: impl Fn(&MapLabels<'_>) -> Result<bool, Error>) -> Result<(), Error> {
        let _checking = self.checking.lock().unwrap_or_else(PoisonError::into_inner);
        if self.way().is_some() {
            return Ok(());
        }
        // Also what a check looked up that then failed: nobody has believed it.
        self.met().clear();
        let start = self.server_start()?;
        let first = download_digest(&self.server, &self.instance)?;
        self.server.metrics().count(Counter::MappingChecks);
        sleep(self.apart);
        let table_bytes = self.take_table_memory(first);
        let opened = self.open_after(start, first, table_bytes, agrees);
        if let (Err(_), Some(bytes)) = (&opened, table_bytes) {
            self.memory.give_back(bytes);
        }
        opened
    }

    /// The second download, and all that must agree then. The mapping is kept if it has memory.
    fn open_after(
        &self,
        start: ServerStart,
        first: Digest,
        table_bytes: Option<usize>,
        agrees: impl Fn(&MapLabels<'_>) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let (second, table) = match table_bytes {
            None => (download_digest(&self.server, &self.instance)?, None),
            Some(bytes) => {
                let (second, table) = download_table(&self.server, &self.instance, bytes / TABLE_ENTRY_BYTES)?;
                (second, Some(table))
            }
        };
        self.server.metrics().count(Counter::MappingChecks);
        let is_same = if self.mapper == Mapper::Server { first.is_near(second) } else { first == second };
        if !is_same {
            let counts = format!("{} entries, then {}", first.n_entries, second.n_entries);
            return Err(self.loading(format!("two downloads of the mapping differ: {counts}")));
        }
        self.check_run(start)?;
        let way = match (self.mapper, table) {
            (Mapper::Server, _) => Way::Server(start),
            (Mapper::Client, Some(table)) => Way::Table(Arc::new(table)),
            (Mapper::Client, None) => {
                self.is_too_large.store(true, Ordering::Release);
                Way::LookUp(start)
            }
        };
        if self.mapper != Mapper::Server && !agrees(&|labels| self.bodies_by(&way, labels))? {
            return Err(self.loading("sample blocks that the server maps differ from ours".to_owned()));
        }
        self.check_run(start)?;
        *self.way.write().unwrap_or_else(PoisonError::into_inner) = Some(way);
        Ok(())
    }

    /// Memory for the whole mapping, if it is to be held here and there is so much.
    fn take_table_memory(&self, first: Digest) -> Option<usize> {
        if self.mapper == Mapper::Server || self.is_too_large.load(Ordering::Acquire) {
            return None;
        }
        let bytes = usize::try_from(first.n_entries).ok()?.checked_mul(TABLE_ENTRY_BYTES)?;
        self.memory.take(bytes).then_some(bytes)
    }

    /// To be called after an answer that the server mapped: whether it was the run that passed the gate.
    ///
    /// # Errors
    /// [`ErrorKind::MappingLoading`] if the server was restarted, and the gate is closed again; else those of the
    /// request.
    pub(super) fn confirm(&self, start: ServerStart) -> Result<(), Error> {
        self.check_run(start).inspect_err(|error| {
            if error.kind() == ErrorKind::MappingLoading {
                *self.way.write().unwrap_or_else(PoisonError::into_inner) = None;
            }
        })
    }

    /// The bodies of a list of supervoxels, in its order.
    ///
    /// # Errors
    /// If the server had to be asked and did not answer, or was restarted.
    pub(super) fn bodies(&self, start: ServerStart, supervoxels: &[u64]) -> Result<Vec<u64>, Error> {
        let mut unmet: Vec<u64> = {
            let met = self.met();
            supervoxels.iter().copied().filter(|&label| label != 0 && !met.contains(&label)).collect()
        };
        unmet.sort_unstable();
        unmet.dedup();
        let mut found = vec![];
        for question in unmet.chunks(MAX_LOOKUP) {
            let bodies = look_up(&self.server, &self.instance, question)?;
            found.extend(question.iter().copied().zip(bodies));
        }
        if !found.is_empty() {
            self.confirm(start)?;
        }
        // What was just found may be more than the LRU holds: it is taken from the sorted list.
        let fresh = |label: u64| found.binary_search_by_key(&label, |&(key, _)| key).ok().map(|at| found[at].1);
        let most_met = *self.most_met.get_or_init(|| self.memory.take_half() / LRU_ENTRY_BYTES);
        let mut met = self.met();
        let bodies: Option<Vec<_>> = supervoxels
            .iter()
            .map(|&label| if label == 0 { Some(0) } else { fresh(label).or_else(|| met.get(&label).copied()) })
            .collect();
        for (label, body) in found {
            met.put(label, body);
            if met.len() > most_met {
                met.pop_lru();
            }
        }
        // Another thread may have pushed out what was met a moment ago.
        bodies.ok_or_else(|| self.loading("the looked-up bodies were pushed out".to_owned()))
    }

    fn bodies_by(&self, way: &Way, supervoxels: &[u64]) -> Result<Vec<u64>, Error> {
        match way {
            Way::Table(table) => Ok(table.bodies_of(supervoxels)),
            Way::LookUp(start) | Way::Server(start) => self.bodies(*start, supervoxels),
        }
    }

    fn check_run(&self, start: ServerStart) -> Result<(), Error> {
        // A slow answer looks like a short uptime; a restart looks like one each time.
        for _ in 0..RUN_CHECKS {
            if start.is_same_run(self.server_start()?) {
                return Ok(());
            }
        }
        Err(self.loading("the server was restarted".to_owned()))
    }

    fn server_start(&self) -> Result<ServerStart, Error> {
        let info = self.server.server_info()?;
        info.start.ok_or_else(|| Error::new(ErrorKind::Malformed, SERVER_INFO).with_detail("no uptime"))
    }

    fn met(&self) -> MutexGuard<'_, LruCache<u64, u64>> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::http_config::HttpConfig;
    use super::*;

    fn resident_bytes() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }

    #[test]
    fn a_gate_that_was_never_asked_takes_no_memory() {
        let server = Server::new("http://127.0.0.1:1", HttpConfig::default(), Arc::default()).unwrap();
        let before = resident_bytes();
        let memory = Arc::new(MappingMemory::new(1 << 30));
        let gate = || Gate::new(server.clone(), String::new(), Mapper::Client, Arc::clone(&memory), Duration::ZERO);
        let gates: Vec<_> = (0..20).map(|_| gate()).collect();
        // Other tests run beside this one.
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown < 64 << 20, "{} gates take {grown} bytes", gates.len());
    }
}
