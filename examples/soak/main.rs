//! A soak: a real daemon over a demo server that goes wrong again and again, and readers that compare every byte.
//!
//! `scripts/soak` builds and runs it. Server, daemons and readers are processes of one machine. Three mounts: one that is never
//! killed, one that is supervised and killed, and one of the open node that is killed and mounted again.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)] // what is shared with the suites; a report

mod daemon;
mod expected;
mod fsstore;
mod live;
#[allow(dead_code, unreachable_pub)]
#[path = "../../tests/suite/support/oracle.rs"]
mod oracle;
#[allow(dead_code, unreachable_pub)]
#[path = "../../tests/suite/support/random.rs"]
mod random;
mod readers;
mod report;
mod server;
mod sky;
mod soak;
mod weather;
#[allow(dead_code, unreachable_pub)]
#[path = "../../tests/suite/support/whole_files.rs"]
mod whole_files;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use server::Amount;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Whether Ctrl-C was pressed: the soak ends in order then, and tells what it has seen.
pub(crate) fn is_interrupted() -> bool {
    static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    let flag = INTERRUPTED.get_or_init(|| {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&flag)).unwrap();
        }
        flag
    });
    flag.load(Ordering::Relaxed)
}

/// How long it goes on.
pub(crate) struct Clock {
    pub(crate) began: Instant,
    end: Instant,
}

impl Clock {
    pub(crate) fn new(lasting: Duration) -> Self {
        let began = Instant::now();
        Self { began, end: began + lasting }
    }

    pub(crate) fn is_over(&self) -> bool {
        is_interrupted() || Instant::now() >= self.end
    }

    /// Waits; whether the time is not over then.
    pub(crate) fn sleep(&self, lasting: Duration) -> bool {
        let until = Instant::now() + lasting;
        while !self.is_over() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
        false
    }
}

impl Plan {
    /// To prepare much takes long.
    pub(crate) fn amount(&self) -> Amount {
        if self.lasting < Duration::from_secs(180) { Amount::Small } else { Amount::Large }
    }
}

/// What is asked for on the command line.
pub(crate) struct Plan {
    /// The program under test.
    pub(crate) program: PathBuf,
    pub(crate) lasting: Duration,
    /// The Python that has zarr 2, if its readers are to read.
    pub(crate) fsstore: Option<PathBuf>,
    /// What is given as `--patience`.
    pub(crate) patience: Option<String>,
    /// Something that must be found.
    pub(crate) plant: Option<String>,
    pub(crate) seed: u64,
}

const USAGE: &str =
    "usage: soak DVIDFS MINUTES [--fsstore PYTHON] [--patience TIME] [--plant wrong-byte] [--seed NUMBER]";

fn plan() -> Outcome<Plan> {
    let mut words = std::env::args().skip(1);
    let program = PathBuf::from(words.next().ok_or(USAGE)?);
    let minutes: f64 = words.next().ok_or(USAGE)?.parse()?;
    let lasting = Duration::try_from_secs_f64(minutes * 60.0)?;
    let mut plan = Plan { program, lasting, fsstore: None, patience: None, plant: None, seed: seed() };
    while let Some(word) = words.next() {
        let value = words.next().ok_or(USAGE)?;
        match word.as_str() {
            "--fsstore" => plan.fsstore = Some(value.into()),
            "--patience" => plan.patience = Some(value),
            "--plant" if value == "wrong-byte" => plan.plant = Some(value),
            "--seed" => plan.seed = value.parse()?,
            _ => return Err(USAGE.into()),
        }
    }
    Ok(plan)
}

/// Another one each time.
fn seed() -> u64 {
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    time.as_secs()
}

fn run() -> Outcome<bool> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [word, port, amount, edition] = &words[..]
        && word == "--server"
    {
        let amount = if amount == "small" { Amount::Small } else { Amount::Large };
        server::serve(port.parse()?, amount, edition.parse()?)?;
        return Ok(true);
    }
    let plan = plan()?;
    // From here on Ctrl-C is heard.
    let _ = is_interrupted();
    println!("seed {}", plan.seed);
    if plan.fsstore.is_some() { fsstore::run(&plan) } else { soak::run(&plan) }
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}
