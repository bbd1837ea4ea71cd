//! The same weather over the reader that turns every errno into fill value: with patience longer than any fault it must
//! not see one.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use dvidfs::demo::VERSIONS;
use serde_json::Value;

use super::daemon::Daemon;
use super::random::Random;
use super::report::Report;
use super::server::{Amount, Server};
use super::sky::Sky;
use super::soak::{directory, drop_caches, scratch};
use super::weather::{Met, Weather};
use super::{Clock, Outcome, Plan};

const N_READERS: u64 = 3;
/// No fault that is waited for lasts longer, and several may meet in one box.
const LONGEST: f64 = 60.0;
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/readers/fsstore.py");

/// A program that reads through FSStore until its standard input ends.
struct Reader {
    child: Child,
    input: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
}

impl Reader {
    fn start(python: &Path, url: &str, root: &Path, seed: u64) -> Outcome<Self> {
        let mut child = Command::new(python)
            .arg(SCRIPT)
            .arg(url)
            .arg(root)
            .arg(seed.to_string())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is for the soak alone.
            .process_group(0)
            .spawn()?;
        let input = child.stdin.take();
        let said = BufReader::new(child.stdout.take().ok_or("no pipe from the reader")?);
        Ok(Self { child, input, said })
    }

    fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        if line.is_empty() { Err("a reader ended without a word".into()) } else { Ok(line.trim().to_owned()) }
    }

    fn end(mut self) -> Outcome<Value> {
        drop(self.input.take());
        let told = serde_json::from_str(&self.line()?)?;
        let status = self.child.wait()?;
        if status.success() { Ok(told) } else { Err(format!("a reader ended with {status}").into()) }
    }
}

/// Whether all figures are as wanted.
pub(super) fn run(plan: &Plan) -> Outcome<bool> {
    let python = plan.fsstore.as_deref().ok_or("no Python for FSStore")?;
    let home = scratch()?;
    let server = Server::start(Amount::Small)?;
    let (url, cache) = (server.url(VERSIONS[0].uuid), directory(home.path(), "cache")?);
    // Far less than the data, so that the server is asked again and again.
    let patience: Vec<&str> = plan.patience.iter().flat_map(|time| ["--patience", time.as_str()]).collect();
    let options = [&["--cache-dir", cache.as_str(), "--cache-size", "1M", "--memory", "16M"], &patience[..]].concat();
    let mut mount = Daemon::start(&plan.program, home.path(), "fsstore", &url, &options)?;
    let mut readers: Vec<Reader> =
        (0..N_READERS).map(|n| Reader::start(python, &url, mount.root(), plan.seed + n)).collect::<Outcome<_>>()?;
    for reader in &mut readers {
        let line = reader.line()?;
        if line != "ready" {
            return Err(format!("a reader says {line:?}").into());
        }
    }
    let met = weather(plan, &Mutex::new(server), &Clock::new(plan.lasting))?;
    let told: Vec<Value> = readers.into_iter().map(Reader::end).collect::<Outcome<_>>()?;
    let mut report = Report::default();
    report.line("gone on to its end", !super::is_interrupted(), true, !super::is_interrupted());
    figures(&mut report, &told, &met);
    report.none("failed reads of the mount", mount.counter("failed_reads"), &[]);
    report.none("panics", mount.counter("panics"), &[]);
    report.none("stuck requests, 2 s after", mount.left_waiting(), &[]);
    let ended = mount.terminate()?;
    report.line("exit code of the daemon", format!("{ended:?}"), 0, ended.is_some_and(|(code, _)| code == Some(0)));
    Ok(report.n_missed() == 0)
}

/// Faults that are waited for, and no others: by the others a read fails at once, whatever the patience.
fn weather(plan: &Plan, server: &Mutex<Server>, clock: &Clock) -> Outcome<Met> {
    let sky = Sky::default();
    let weather = Weather { server, sky: &sky, with_failures: false, random: Random(plan.seed) };
    std::thread::scope(|scope| {
        let drops = scope.spawn(|| drop_caches(clock));
        let met = weather.go_on(clock)?;
        drops.join().map_err(|_| "a thread of the soak panicked")?;
        // The last fault may still be waited for.
        std::thread::sleep(Duration::from_secs(1));
        Ok(met)
    })
}

fn figures(report: &mut Report, told: &[Value], met: &Met) {
    let sum = |key: &str| told.iter().map(|of| of[key].as_u64().unwrap_or(u64::MAX)).fold(0, u64::saturating_add);
    let places: Vec<String> = told
        .iter()
        .flat_map(|of| of["places"].as_array().cloned().unwrap_or_default())
        .take(5)
        .map(|place| place.as_str().unwrap_or_default().to_owned())
        .collect();
    let (mib, reads) = (sum("bytes") >> 20, sum("reads"));
    report.none(&format!("wrong voxels in {mib} MiB through FSStore"), sum("wrong_voxels"), &places);
    report.none("silent zeros among them", sum("zeros"), &[]);
    report.line("reads and MiB", format!("{reads}, {mib}"), "> 0, > 0", reads > 0 && mib > 0);
    let longest = told.iter().filter_map(|of| of["longest_s"].as_f64()).fold(0.0, f64::max);
    report.line("longest read, s", format!("{longest:.1}"), format!("<= {LONGEST}"), longest <= LONGEST);
    let hits: u64 = met.values().map(|(_, hits)| hits).sum();
    report.line("injected faults met by requests", hits, "> 0", hits > 0);
    met.iter().for_each(|(name, (times, hits))| println!("    {times} times {name}, met {hits} times"));
}
