//! The demo server in a process of its own, so that it can be stopped and killed as a real one can.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use dvidfs::demo::{Dataset, Demo, DemoOptions, Fault, InstanceSpec, lasting_port};
use dvidfs::geometry::{Scale, VoxelBox};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::Outcome;

/// What is served: several types, block shapes, odd places, holes, labels with bodies, and levels.
const NAMES: [&str; 6] = ["gray", "gray_1", "gray_2", "gray_none", "u16", "seg32"];
/// And in a long run.
const MORE: [&str; 6] = ["gray_jpeg", "f32", "rgba", "neg", "holes", "odd48"];
/// The instance whose voxels all change again and again.
pub(crate) const LIVE: &str = "live";
/// The version at which that is so: the open head.
pub(crate) const OPEN: usize = 2;

/// How much is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    /// What is prepared within seconds.
    Small,
    /// What no cache of the mounts can hold.
    Large,
}

/// What the server holds when the counter of the changing instance stands here.
pub(crate) fn dataset(amount: Amount, edition: u8) -> Dataset {
    let all = Dataset::test();
    let gray = all.instance("gray_none").expect("a part of the test data");
    let live = InstanceSpec { name: LIVE.into(), edition, ..(*gray).clone() };
    if amount == Amount::Small {
        return all.only(&NAMES).with_instance(live);
    }
    let data = VoxelBox::new([0, 0, 0].into(), [160, 190, 250].into()).expect("in order");
    let sized = |dataset: Dataset, k: u8| {
        let name = if k == 0 { "gray".to_owned() } else { format!("gray_{k}") };
        dataset.with(&name, |spec| spec.data = data.at_scale(Scale(k)))
    };
    (0..3).fold(all.only(&[&NAMES[..], &MORE].concat()), sized).with_instance(live)
}

/// Serves until its standard input ends. A line of JSON there is an order, and is answered with a line.
pub(crate) fn serve(port: u16, amount: Amount, edition: u8) -> Outcome<()> {
    let demo =
        Demo::start(DemoOptions { dataset: dataset(amount, edition), port: Some(port), ..DemoOptions::default() })?;
    println!("{}", demo.origin());
    for line in std::io::stdin().lines() {
        let order: Value = serde_json::from_str(&line?)?;
        let hits = demo.fault_hits(0);
        if let Some(edition) = order["edition"].as_u64() {
            demo.set_dataset(dataset(amount, u8::try_from(edition)?));
        }
        if let Some(faults) = order.get("faults") {
            demo.set_faults(serde_json::from_value::<Vec<Fault>>(faults.clone())?);
        }
        println!("{hits}");
    }
    Ok(())
}

/// The process that serves.
pub(crate) struct Server {
    program: PathBuf,
    port: u16,
    amount: Amount,
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Where the counter of the changing instance stands, also when the server starts again.
    edition: u8,
    /// Faults that last from one start to the next.
    planted: Value,
}

impl Server {
    pub(crate) fn start(amount: Amount) -> Outcome<Self> {
        let port = lasting_port().ok_or("no free port")?;
        let program = std::env::current_exe()?;
        let (child, orders, answers) = spawn(&program, (port, amount), 0)?;
        Ok(Self { program, port, amount, child, orders, answers, edition: 0, planted: json!([]) })
    }

    pub(crate) fn url(&self, reference: &str) -> String {
        format!("http://127.0.0.1:{}/{reference}", self.port)
    }

    /// Sets what goes wrong besides what was planted. Gives how often the first fault so far has happened.
    pub(crate) fn set_faults(&mut self, faults: &Value) -> Outcome<u64> {
        let all: Vec<Value> =
            [faults, &self.planted].into_iter().flat_map(|list| list.as_array().cloned().unwrap_or_default()).collect();
        self.order(&json!({ "faults": all }))
    }

    /// Something that goes wrong from now on.
    pub(crate) fn plant(&mut self, faults: Value) -> Outcome<u64> {
        self.planted = faults;
        self.set_faults(&json!([]))
    }

    /// Moves the counter of the changing instance.
    pub(crate) fn set_edition(&mut self, edition: u8) -> Outcome<u64> {
        self.edition = edition;
        self.order(&json!({ "edition": edition }))
    }

    fn order(&mut self, order: &Value) -> Outcome<u64> {
        writeln!(self.orders, "{order}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim().parse().map_err(|_| format!("the server says {line:?} to {order}"))?)
    }

    pub(crate) fn signal(&self, signal: Signal) -> Outcome<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?)
    }

    /// Kills the process, and starts another one on the same port after a while.
    pub(crate) fn restart(&mut self, after: Duration) -> Outcome<()> {
        self.child.kill()?;
        self.child.wait()?;
        std::thread::sleep(after);
        (self.child, self.orders, self.answers) = spawn(&self.program, (self.port, self.amount), self.edition)?;
        self.set_faults(&json!([]))?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(
    program: &PathBuf,
    (port, amount): (u16, Amount),
    edition: u8,
) -> Outcome<(Child, ChildStdin, BufReader<ChildStdout>)> {
    let end = Instant::now() + Duration::from_secs(60);
    let amount = if amount == Amount::Small { "small" } else { "large" };
    loop {
        let mut child = Command::new(program)
            .args(["--server", &port.to_string(), amount, &edition.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is for the soak alone.
            .process_group(0)
            .spawn()?;
        let orders = child.stdin.take().ok_or("no pipe to the server")?;
        let mut answers = BufReader::new(child.stdout.take().ok_or("no pipe from the server")?);
        let mut line = String::new();
        if answers.read_line(&mut line)? > 0 {
            return Ok((child, orders, answers));
        }
        // The port of a killed server may be in use for a moment.
        child.wait()?;
        if Instant::now() > end {
            return Err("the server does not start".into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
