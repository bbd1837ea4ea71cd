//! The words of the command line and of the environment. The only file that reads either.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::geometry::VoxelBox;

use super::failure::Failure;
use super::memory::{default_memory, memory};
use super::values::{duration, extents, volume};

mod cache;
mod check;
mod layouts;
mod paths;
mod place;

pub(super) use cache::{CacheArgs, CacheCommand, CachePlace, CacheWhat};
pub(super) use check::CheckArgs;
pub(super) use layouts::LayoutArgs;
pub(super) use place::PlaceArgs;

const EXAMPLES: &str = "\
Examples:
  dvidfs demo /tmp/demo                                   try it: a built-in server, mounted
  dvidfs http://dvid.example.org:8000/28841c:master /mnt/brain    mount the head of branch master
  ls /mnt/brain; cat /mnt/brain/README.txt                what is there and how to open it
  dvidfs info http://dvid.example.org:8000/28841c         what a node holds, without mounting
  dvidfs check /mnt/brain --since 2h                      whether a read has failed: the last line of a job
  dvidfs umount /mnt/brain                                unmount
  dvidfs cache ls                                         what is kept on disk of locked nodes

SOURCE is http(s)://HOST[:PORT]/UUID[:BRANCH]; the first letters of a UUID are enough.
All options of a command: `dvidfs mount --help`, `dvidfs umount --help`, and so on.
Exit codes: 0 success, 1 wrong use, refused credentials or failed reads, 2 this machine cannot mount, 32 server, node or mount.";

/// Commands that may stand first; anything else means `mount`.
const COMMANDS: [&str; 12] =
    ["mount", "umount", "unmount", "check", "info", "cache", "demo", "help", "-h", "--help", "-V", "--version"];

#[derive(Debug, Parser)]
#[command(
    name = "dvidfs",
    version,
    about = "Mounts one node of a DVID server as a read-only directory tree of array files",
    override_usage = "dvidfs [mount] [OPTIONS] SOURCE DIR\n       dvidfs umount DIR\n       dvidfs check DIR\n       dvidfs info SOURCE\n       dvidfs cache ls|verify|clear\n       dvidfs demo DIR",
    after_help = EXAMPLES
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Mount a node at an empty directory, and come back when it can be read. The word `mount` may be left out; all
    /// options are in `dvidfs mount --help`
    #[command(after_help = EXAMPLES)]
    Mount(MountArgs),
    /// Unmount a directory, also one whose daemon has died
    #[command(alias = "unmount")]
    Umount(UmountArgs),
    /// Whether every read of a mount went well: exit code 0 if so, 1 if not, 32 if it is no live mount
    Check(CheckArgs),
    /// Print what a node holds, without mounting it
    Info(InfoArgs),
    /// See, check or remove what is kept on disk
    Cache(CacheCommand),
    /// Mount a small built-in server: something to try things on
    Demo(DemoArgs),
}

/// `dvidfs mount`.
#[derive(Debug, Args)]
pub(super) struct MountArgs {
    /// The node: http(s)://HOST[:PORT]/UUID[:BRANCH]
    pub(super) source: String,
    /// An empty directory
    pub(super) dir: PathBuf,
    #[command(flatten)]
    pub(super) place: PlaceArgs,
    #[command(flatten)]
    pub(super) layouts: LayoutArgs,
    #[command(flatten)]
    pub(super) server: ServerArgs,
    #[command(flatten)]
    pub(super) cache: CacheArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

/// How the server is read.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Server and memory")]
pub(super) struct ServerArgs {
    /// Memory for blocks, such as 4G: at least 16M, at most the machine's [default: a quarter of it, at most 1G]
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    memory: Option<usize>,
    /// Requests to the server at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) max_connections: u16,
    /// How long a read waits for a server that does not answer, before it fails; 0: for ever
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "15m")]
    pub(super) patience: Duration,
    /// How long a server that does not answer is waited for at the mount; 0: it is asked once
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
    pub(super) mount_wait: Duration,
    /// How old data of a node that is still open may be
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5s")]
    pub(super) ttl: Duration,
    /// How long after its commit a node still counts as open
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "600s")]
    pub(super) settle: Duration,
    /// The box of an instance for which the server names none (repeatable)
    #[arg(long, value_name = "NAME=z0:z1,y0:y1,x0:x1", value_parser = extents)]
    pub(super) extents: Vec<(String, VoxelBox)>,
    /// Metadata to add: a JSON file {"INSTANCE": {"key": value}}
    #[arg(long, value_name = "FILE")]
    pub(super) metadata: Option<PathBuf>,
    /// A file with a bearer token, readable by its owner alone [env: DVID_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// Send the token over plain http to another machine
    #[arg(long)]
    pub(super) insecure_token: bool,
    /// Believe only servers whose certificate was signed by an authority in this file (PEM)
    #[arg(long, value_name = "FILE")]
    pub(super) cacert: Option<PathBuf>,
    /// Fetch one block of N a second time by another endpoint and compare, where no checksum tells that bits were
    /// flipped on the way; 0: none
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) verify: u32,
    /// A repo with more instances is not mounted
    #[arg(long, value_name = "N", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(super) max_instances: u32,
    /// Fetch nothing before it is asked for
    #[arg(long)]
    pub(super) no_prefetch: bool,
    /// All waits for the server are this many times as long: for tests
    #[arg(long, hide = true, value_name = "FACTOR", default_value_t = 1.0)]
    time_scale: f64,
}

/// What is told to whom.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Log")]
pub(super) struct LogArgs {
    /// Append the log to a file (a daemon without one is silent)
    #[arg(long, value_name = "FILE")]
    pub(super) log_file: Option<PathBuf>,
    /// More of it; twice for every request of the kernel [env: DVIDFS_LOG, such as dvidfs=debug]
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Errors alone
    #[arg(short, long, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// What the environment says, which wins.
    #[arg(skip)]
    from_environment: Option<String>,
}

/// `dvidfs umount`.
#[derive(Debug, Args)]
pub(super) struct UmountArgs {
    /// The directory of a dvidfs mount
    pub(super) dir: PathBuf,
    /// Also while files in it are open: they can be read to their end
    #[arg(short = 'z', long)]
    pub(super) lazy: bool,
}

/// `dvidfs info`.
#[derive(Debug, Args)]
pub(super) struct InfoArgs {
    /// The node: http(s)://HOST[:PORT]/UUID[:BRANCH]
    pub(super) source: String,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) server: ServerArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

/// `dvidfs demo`.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// An empty directory
    #[arg(required_unless_present = "serve")]
    pub(super) dir: Option<PathBuf>,
    /// Only serve on this port (0: any), and print the address of the node
    #[arg(long, hide = true, value_name = "PORT", conflicts_with = "dir")]
    pub(super) serve: Option<u16>,
    /// Serve an array of your own instead: uint64 as labels, other types (or four channels of uint8) as an image, with
    /// voxels of 8 nm [repeatable]
    #[arg(long = "volume", value_name = "NAME=FILE.npy", value_parser = volume, conflicts_with = "dataset")]
    pub(super) volumes: Vec<(String, PathBuf)>,
    /// Which data: standard, every odd case (test), or 10^15 voxels (petavoxel, large)
    #[arg(long, value_name = "NAME", default_value = "standard", hide_possible_values = true,
        value_parser = ["test", "standard", "petavoxel", "large"])]
    pub(super) dataset: String,
    /// The port of its server; any, if none is named
    #[arg(long, hide = true, value_name = "PORT", conflicts_with = "serve")]
    pub(super) port: Option<u16>,
    /// A JSON file of faults
    #[arg(long, hide = true, value_name = "FILE")]
    pub(super) faults: Option<PathBuf>,
    /// Delay of each voxel request in milliseconds
    #[arg(long, hide = true, value_name = "MS", default_value_t = 0)]
    pub(super) delay: u64,
    #[command(flatten)]
    pub(super) place: PlaceArgs,
    #[command(flatten)]
    pub(super) layouts: LayoutArgs,
    #[command(flatten)]
    pub(super) server: ServerArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

/// What the words come to.
#[derive(Debug)]
pub(super) enum Words {
    /// A command; the words that start the daemon with the same meaning.
    Do(Box<Command>, Vec<OsString>),
    /// A text that was asked for.
    Print(String),
}

/// Reads the command line and the environment of this process.
pub(super) fn words() -> Result<Words, Failure> {
    let environment = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let words = parse(std::env::args_os().skip(1).collect())?;
    let Words::Do(mut command, mut again) = words else { return Ok(words) };
    // An absolute one: what is relative there is to be ignored.
    let caches = environment("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| Some(PathBuf::from(environment("HOME")?).join(".cache")));
    let asks_a_server = match &mut *command {
        Command::Mount(args) => {
            args.cache.place.caches = caches;
            Some((&mut args.server, &mut args.log))
        }
        Command::Cache(args) => {
            args.place_mut().caches = caches;
            None
        }
        Command::Info(args) => Some((&mut args.server, &mut args.log)),
        Command::Demo(args) => Some((&mut args.server, &mut args.log)),
        Command::Umount(_) | Command::Check(_) => None,
    };
    if let Some((server, log)) = asks_a_server {
        if server.token_file.is_none() {
            server.token_file = environment("DVID_TOKEN_FILE").map(PathBuf::from);
        }
        log.from_environment = environment("DVIDFS_LOG").and_then(|filter| filter.into_string().ok());
    }
    from_here(&mut command, &mut again)?;
    Ok(Words::Do(command, again))
}

/// Makes the paths absolute, and lets the words that start the daemon mean the same ones.
fn from_here(command: &mut Command, again: &mut Vec<OsString>) -> Result<(), Failure> {
    let place = match command {
        Command::Mount(MountArgs { place, .. }) | Command::Demo(DemoArgs { place, .. }) => Some(place),
        Command::Umount(_) | Command::Check(_) | Command::Info(_) | Command::Cache(_) => None,
    };
    let (is_started, written_in) =
        place.map_or((true, None), |place| (place.written_in.is_some(), place.written_in.clone()));
    let from = match written_in.map_or_else(std::env::current_dir, Ok) {
        Ok(from) => from,
        Err(_) if !command.has_relative_path() => return Ok(()),
        Err(error) => {
            return Err(Failure::usage(format!(
                "the directory that this is called in cannot be named ({error}): give paths that begin with /"
            )));
        }
    };
    if !is_started {
        let mut word = OsString::from("--written-in=");
        word.push(&from);
        again.insert(1, word);
    }
    command.make_absolute(&from);
    Ok(())
}

/// The words behind the program's name.
fn parse(mut words: Vec<OsString>) -> Result<Words, Failure> {
    let is_command = |word: &OsString| word.to_str().is_some_and(|word| COMMANDS.contains(&word));
    match words.first() {
        None => return Err(Failure::usage("no SOURCE and no DIR: try `dvidfs --help`, or `dvidfs demo DIR`")),
        Some(first) if is_command(first) => {}
        Some(first) if is_neither(first) => {
            return Err(Failure::usage(format!(
                "{first:?} is neither a command nor an address such as http://HOST:PORT/UUID: try `dvidfs --help`"
            )));
        }
        Some(_) => words.insert(0, "mount".into()),
    }
    let all = std::iter::once(OsString::from("dvidfs")).chain(words.iter().cloned());
    match CommandLine::try_parse_from(all) {
        Ok(CommandLine { mut command }) => {
            match &mut command {
                Command::Mount(MountArgs { place, layouts, .. }) | Command::Demo(DemoArgs { place, layouts, .. }) => {
                    place.apply_options()?;
                    layouts.check()?;
                }
                Command::Umount(_) | Command::Check(_) | Command::Info(_) | Command::Cache(_) => {}
            }
            Ok(Words::Do(Box::new(command), words))
        }
        Err(error) if error.use_stderr() => Err(usage_failure(&error, &words)),
        Err(help) => Ok(Words::Print(help.to_string())),
    }
}

/// Whether a first word can be no address: it has neither a colon nor a slash, and is no option.
fn is_neither(word: &OsStr) -> bool {
    word.to_str().is_some_and(|word| !word.starts_with('-') && !word.contains([':', '/']))
}

/// The first paragraph of what clap says, on one line, and where the options of this command are told.
fn usage_failure(error: &clap::Error, words: &[OsString]) -> Failure {
    let text = error.to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let command = words.first().and_then(|word| word.to_str()).filter(|word| !word.starts_with('-')).unwrap_or("mount");
    let said = paragraph.trim_start_matches("error: ").trim_end();
    Failure::usage(format!("{said}: try `dvidfs {command} --help`"))
}

impl ServerArgs {
    /// How many times as long all waits are.
    pub(super) fn time_scale(&self) -> f64 {
        self.time_scale.clamp(0.001, 1000.0)
    }

    /// Memory for blocks, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory.unwrap_or_else(default_memory)
    }
}

impl LogArgs {
    /// Which events are logged, as the subscriber's filter has it.
    pub(super) fn filter(&self) -> String {
        let level = match (&self.from_environment, self.quiet, self.verbose) {
            (Some(filter), _, _) => return filter.clone(),
            (None, true, _) => "error",
            // Whom nobody asked for a log is told what goes wrong; a file tells the whole story.
            (None, false, 0) => {
                if self.log_file.is_some() {
                    "info"
                } else {
                    "warn"
                }
            }
            (None, false, 1) => "debug",
            (None, false, _) => "trace",
        };
        format!("dvidfs={level}")
    }
}

#[cfg(test)]
mod tests;
