//! Random faults of one to five seconds, one after the other: the fault script, and a server that is stopped or killed.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::random::Random;
use super::server::Server;
use super::sky::{Sky, What};
use super::{Clock, Outcome};

/// Faults of the script that a read waits for, however long they last.
const PATIENT: [&str; 11] = [
    "hang_before_headers",
    "hang_after_headers",
    "delay",
    "stall",
    "status 503",
    "status 429",
    "status 502",
    "reset_at_once",
    "reset",
    "closed",
    "cut_in_chunk",
];
/// Faults that a read fails by if they last.
const FAILING: [&str; 9] = [
    "status 400",
    "error_mid_stream",
    "text_appended",
    "one_short",
    "one_long",
    "empty_frame",
    "strange_block",
    "duplicate_block",
    "html",
];

/// How often each fault was set, and how many requests met it.
pub(crate) type Met = BTreeMap<String, (u64, u64)>;

pub(crate) struct Weather<'a> {
    pub(crate) server: &'a Mutex<Server>,
    pub(crate) sky: &'a Sky,
    /// Whether there are also faults by which reads fail.
    pub(crate) with_failures: bool,
    pub(crate) random: Random,
}

impl Weather<'_> {
    /// Lets it go wrong until the time is over.
    pub(crate) fn go_on(mut self, clock: &Clock) -> Outcome<Met> {
        let mut met = Met::new();
        while clock.sleep(Duration::from_millis(300 + self.random.below(1500))) {
            let lasting = Duration::from_millis(1000 + self.random.below(4000));
            let (name, hits) = match self.random.below(10) {
                0 => ("server killed and started again".to_owned(), self.restart(lasting / 2)?),
                1 => ("server stopped".to_owned(), self.stop(lasting)?),
                2..=5 if self.with_failures => {
                    let name = self.one_of(&FAILING);
                    self.fault(name, What::Fails, lasting)?
                }
                _ => {
                    let name = self.one_of(&PATIENT);
                    self.fault(name, What::Patient, lasting)?
                }
            };
            let (times, requests) = met.entry(name).or_default();
            (*times, *requests) = (*times + 1, *requests + hits);
        }
        Ok(met)
    }

    fn one_of(&mut self, names: &[&'static str]) -> &'static str {
        names[usize::try_from(self.random.below(names.len() as u64)).unwrap_or(0)]
    }

    fn restart(&mut self, after: Duration) -> Outcome<u64> {
        let window = self.sky.begin(What::Patient);
        self.locked(|server| server.restart(after))?;
        self.sky.end(window, Duration::ZERO);
        Ok(1)
    }

    fn stop(&mut self, lasting: Duration) -> Outcome<u64> {
        let window = self.sky.begin(What::Patient);
        // Nobody gives a stopped server orders.
        self.locked(|server| {
            server.signal(Signal::SIGSTOP)?;
            std::thread::sleep(lasting);
            server.signal(Signal::SIGCONT)
        })?;
        self.sky.end(window, Duration::ZERO);
        Ok(1)
    }

    fn fault(&mut self, name: &str, what: What, lasting: Duration) -> Outcome<(String, u64)> {
        let ms = u64::try_from(lasting.as_millis())?;
        let window = self.sky.begin(what);
        let faults = json!([fault(name, ms)]);
        self.locked(|server| server.set_faults(&faults))?;
        std::thread::sleep(lasting);
        let hits = self.locked(|server| server.set_faults(&json!([])))?;
        // Whoever met it last waits for so long.
        let lasts_on = ["hang_before_headers", "hang_after_headers", "delay", "stall"].contains(&name);
        self.sky.end(window, if lasts_on { lasting } else { Duration::ZERO });
        Ok((name.to_owned(), hits))
    }

    fn locked<T>(&self, order: impl FnOnce(&mut Server) -> Outcome<T>) -> Outcome<T> {
        let mut server = self.server.lock().map_err(|_| "a thread panicked with the server")?;
        order(&mut server)
    }
}

/// A line of the fault script: for half of the voxels' requests or for all.
fn fault(name: &str, ms: u64) -> Value {
    let (kind, status) = name.split_once(' ').unwrap_or((name, "0"));
    let mut line = json!({"match": "blocks/", "count": 1_u64 << 40, "kind": kind, "ms": ms});
    if kind == "status" {
        line["status"] = status.parse::<u16>().unwrap_or(500).into();
    }
    line
}
