//! Whether the server still holds the instance that was mounted, asked again and again as long as it is read.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::geometry::Coordinate;
use crate::metrics::Counter;
use crate::voxels::Dtype;

use super::error::{Error, ErrorKind};
use super::http::Server;
use super::info::{InstanceInfo, InstanceKind, VoxelInfo};
use super::instance::info_at;

/// An instance that is read is looked after this often: one that is deleted and made again needs no new connection.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// No answer is worth more questions than this: as many as there are connections.
const MOST_QUESTIONS: usize = 8;
/// So many connections are remembered. Not so many are ever open at once, but for `--max-connections`.
const MOST_CONFIRMED: usize = 512;

/// What all instances of a mounted node share: one that was replaced makes the others suspect.
#[derive(Debug, Default)]
pub(super) struct Suspicion(AtomicU64);

/// What blocks of an instance are like: other ones cannot be told from right ones by their bytes.
type Form = (InstanceKind, Dtype, Option<usize>, Coordinate);

/// The identity of one instance, as it was mounted.
#[derive(Debug)]
pub(super) struct Identity {
    /// `/api/node/<uuid>/<instance>`.
    path: String,
    name: String,
    typename: String,
    data_uuid: String,
    form: Form,
    since: Instant,
    suspicion: Arc<Suspicion>,
    /// Suspicions that had been raised when it was last seen to be the same.
    unsuspected: AtomicU64,
    /// Connections, the latest last, over which the server was seen to hold it: behind another one there may be another
    /// server, after a restart or because a load balancer chose it. No I/O under the lock.
    confirmed: Mutex<VecDeque<u64>>,
    /// When it is to be looked after again, in milliseconds after `since`.
    next_look: AtomicU64,
    /// Counts answers that had to be confirmed.
    turn: AtomicU64,
    /// The server holds another instance under this name. For good.
    is_replaced: AtomicBool,
    /// The server knew no instance of this name when it was last asked.
    is_lost: AtomicBool,
}

impl Identity {
    pub(super) fn new(path: &str, info: &InstanceInfo, voxels: &VoxelInfo, suspicion: Arc<Suspicion>) -> Self {
        Self {
            path: path.to_owned(),
            name: info.name.clone(),
            typename: info.typename.clone(),
            data_uuid: info.data_uuid.clone(),
            form: form(voxels),
            since: Instant::now(),
            unsuspected: AtomicU64::new(suspicion.0.load(Ordering::Acquire)),
            suspicion,
            confirmed: Mutex::default(),
            next_look: AtomicU64::new(millis(LOOK_EVERY)),
            turn: AtomicU64::new(0),
            is_replaced: AtomicBool::new(false),
            is_lost: AtomicBool::new(false),
        }
    }

    /// Whether what is kept of this instance may be given without asking the server first.
    ///
    /// # Errors
    /// If the server was found to hold other data under this name.
    pub(super) fn is_trusted(&self) -> Result<bool, Error> {
        if self.is_replaced.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::IdentityChanged, &self.path));
        }
        Ok(self.unsuspected.load(Ordering::Acquire) == self.suspicion.0.load(Ordering::Acquire))
    }

    /// To be called after each answer, before it is believed: asks for the identity if the answer came over a connection over
    /// which that was not asked, if another instance was replaced, or if nobody has asked for a while.
    ///
    /// # Errors
    /// If the server holds another instance, or does not tell.
    pub(super) fn confirm(&self, server: &Server) -> Result<(), Error> {
        let answered_over = Server::last_connection();
        let is_known = self.is_trusted()? && self.is_confirmed(answered_over);
        if is_known && !self.is_due() {
            return Ok(());
        }
        let (mut n_new, enough) = (0, 2 + self.turn.fetch_add(1, Ordering::Relaxed) % 2);
        for _ in 0..MOST_QUESTIONS {
            let asked_over = self.ask(server)?;
            n_new += u64::from(asked_over > answered_over);
            // Which connection a question takes is not ours to choose. A server that closes each after its answer is asked
            // two and three times in turn: of several that take turns, each is met soon.
            if self.is_confirmed(answered_over) || n_new == enough {
                break;
            }
        }
        Ok(())
    }

    /// Asks once, and gives the connection over which the server was found to hold the same instance.
    pub(super) fn ask(&self, server: &Server) -> Result<u64, Error> {
        let suspicions = self.suspicion.0.load(Ordering::Acquire);
        let now = info_at(server, &self.path, &self.name).inspect_err(|error| self.note(error))?;
        if !self.is_same(&now) {
            return Err(self.replaced(server, &now));
        }
        self.is_lost.store(false, Ordering::Release);
        self.unsuspected.store(suspicions, Ordering::Release);
        let over = Server::last_connection();
        let mut confirmed = self.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        if !confirmed.contains(&over) {
            confirmed.push_back(over);
        }
        while confirmed.len() > MOST_CONFIRMED {
            confirmed.pop_front();
        }
        Ok(over)
    }

    fn is_confirmed(&self, connection: u64) -> bool {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner).contains(&connection)
    }

    /// Why a request failed: what cannot be right may be right for another instance.
    pub(super) fn cause_of(&self, server: &Server, error: Error) -> Error {
        self.note(&error);
        let is_wrong = matches!(error.kind(), ErrorKind::Malformed | ErrorKind::OverLimit | ErrorKind::Status(_));
        if !is_wrong {
            return error;
        }
        match self.confirm(server) {
            Err(changed) if changed.kind() == ErrorKind::IdentityChanged => changed,
            Ok(()) | Err(_) if is_unknown(&error) => error.with_code(LOST),
            Ok(()) | Err(_) => error,
        }
    }

    /// Says once that the server does not know the instance any more. What is kept of it stays right.
    pub(super) fn note(&self, error: &Error) {
        if is_unknown(error) && !self.is_lost.swap(true, Ordering::AcqRel) {
            let inst = self.name.escape_debug();
            tracing::warn!(target: "dvidfs", code = LOST, %inst, cause = %words_of(error), "what is in memory stays; nothing more can be fetched");
        }
    }

    /// Whether it is time to look again. Only one of many threads is told so.
    fn is_due(&self) -> bool {
        let (now, due) = (millis(self.since.elapsed()), self.next_look.load(Ordering::Acquire));
        let next = now + millis(LOOK_EVERY);
        now >= due && self.next_look.compare_exchange(due, next, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn is_same(&self, now: &InstanceInfo) -> bool {
        let same_form = now.voxels.as_ref().is_ok_and(|voxels| form(voxels) == self.form);
        now.data_uuid == self.data_uuid && now.typename == self.typename && same_form
    }

    fn replaced(&self, server: &Server, now: &InstanceInfo) -> Error {
        let detail = Replaced { was: &self.data_uuid, now }.to_string();
        if !self.is_replaced.swap(true, Ordering::AcqRel) {
            self.suspicion.0.fetch_add(1, Ordering::AcqRel);
            server.metrics().happened(Counter::IdentityChanges);
            let inst = self.name.escape_debug();
            tracing::warn!(target: "dvidfs", code = "identity_changed", %inst, cause = %detail, "every read of it fails from now on: mount again");
        }
        Error::new(ErrorKind::IdentityChanged, &self.path).with_detail(detail)
    }
}

/// The code of a request about an instance that the server does not know.
const LOST: &str = "instance_lost";

fn is_unknown(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Status(400 | 404)) && words_of(error).contains("invalid data instance")
}

/// What the server said.
fn words_of(error: &Error) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}

/// In which way an instance is another one.
struct Replaced<'a> {
    was: &'a str,
    now: &'a InstanceInfo,
}

impl fmt::Display for Replaced<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { was, now } = self;
        if now.data_uuid == *was {
            write!(f, "type or blocks are others than at the mount, under data UUID {was:?}")
        } else {
            write!(f, "data UUID {:?} in place of {was:?}", now.data_uuid)
        }
    }
}

fn form(of: &VoxelInfo) -> Form {
    (of.kind, of.dtype, of.channels, of.block_shape)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
