//! Where the disk cache lies, whether it may be used, and `dvidfs cache`.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::warn;

use crate::cache::disk::{self, DirectoryError, Disk, DiskConfig, Inventory, Left, Look, Times};
use crate::logging::Chain;

use super::args::{CacheArgs, CacheCommand, CachePlace, CacheWhat};
use super::failure::{Failure, USAGE};
use super::run::{complain, print};

/// The directory in one that was named.
const IN_DIRECTORY: &str = "dvidfs-v1";
/// The directory in that of all caches.
const IN_CACHES: &str = "dvidfs/v1";
/// A shorter text could be guessed.
const LEAST_KEY_BYTES: usize = 16;
const MOST_KEY_BYTES: u64 = 64 << 10;
/// Without a server a block is waited for so long: there is nobody else to ask.
const OFFLINE_LATE: Duration = Duration::from_secs(600);
/// What is left of a cache is told by so many lines at most.
const MOST_LEFT_LINES: usize = 20;

/// The disk cache of a mount. One that was not asked for by name and cannot be had is done without.
pub(super) fn open(args: &CacheArgs, time_scale: f64) -> Result<Option<Disk>, Failure> {
    if args.no_cache {
        return Ok(None);
    }
    let without = |failure: Failure| Failure::usage(format!("{}; --no-cache does without", failure.line));
    let Some(directory) = directory(&args.place).map_err(without)? else {
        warn!(target: "dvidfs", code = "cache_dir", "neither HOME nor XDG_CACHE_HOME is set: nothing is kept on disk");
        return Ok(None);
    };
    let config = config(&args.place, directory)?;
    let config = if args.offline {
        // Nothing can be fetched again: nothing is removed to make room, and a slow disk is waited for.
        DiskConfig { times: Times { late: OFFLINE_LATE, hang: OFFLINE_LATE, ..Times::default() }, ..config }
    } else {
        let times = Times::default().scaled(time_scale);
        DiskConfig { limit_bytes: args.cache_size as u64, free_share: args.cache_free, times, ..config }
    };
    make_caches(&args.place);
    match Disk::open(config) {
        Ok(disk) => Ok(Some(disk)),
        Err(error) if args.place.cache_dir.is_some() => Err(without(refused(&error))),
        Err(error) => {
            warn!(target: "dvidfs", code = "cache_dir", cause = %Chain(&error), "nothing is kept on disk");
            Ok(None)
        }
    }
}

/// `dvidfs cache`.
pub(super) fn cache(command: &CacheCommand) -> Result<(), Failure> {
    let (CacheWhat::Ls(place) | CacheWhat::Verify(place) | CacheWhat::Clear(place)) = &command.what;
    let directory = directory(place)?
        .ok_or_else(|| Failure::usage("neither HOME nor XDG_CACHE_HOME is set: name the directory by --cache-dir"))?;
    let shown = directory.display().to_string();
    let config = config(place, directory)?;
    let nothing = || print(&format!("nothing is kept in {shown}"));
    match &command.what {
        CacheWhat::Ls(_) => match disk::take_inventory(config, Look::Headers).map_err(|error| refused(&error))? {
            None => nothing(),
            Some(inventory) => {
                print(&listed(&shown, &inventory));
                all_seen(&inventory.left, "could not be looked through")?;
            }
        },
        CacheWhat::Verify(_) => {
            match disk::take_inventory(config, Look::AllAndRepair).map_err(|error| refused(&error))? {
                None => nothing(),
                Some(inventory) => {
                    print(&verified(&inventory));
                    let removed = format!("{} damaged entries of {shown} were removed", inventory.removed);
                    let stay = "are damaged, or could not be looked through, and stay";
                    all_seen(&inventory.left, &format!("{stay}; {removed}"))?;
                    if inventory.damaged > 0 {
                        return Err(Failure::new(USAGE, removed));
                    }
                }
            }
        }
        CacheWhat::Clear(_) => match disk::clear(config).map_err(|error| refused(&error))? {
            None => nothing(),
            Some(cleared) => {
                let bytes = megabytes(cleared.bytes);
                print(&format!("{} entries, {bytes} were removed from {shown}", cleared.entries));
                all_seen(&cleared.left, "could not be removed")?;
            }
        },
    }
    Ok(())
}

/// A line for each of what is left, but not for very many, and then a failure: what stays must not be taken for gone.
fn all_seen(left: &[Left], what: &str) -> Result<(), Failure> {
    let lines: Vec<_> = left.iter().map(|left| format!("{}: {}", left.path.display(), left.why)).collect();
    lines.iter().take(MOST_LEFT_LINES).for_each(|line| complain(line));
    match left.len() {
        0 => Ok(()),
        n => Err(Failure::new(USAGE, format!("{n} entries or directories of entries {what}"))),
    }
}

fn listed(directory: &str, inventory: &Inventory) -> String {
    let (n, bytes) = inventory.sum();
    let mut lines = vec![format!("{directory}: {n} entries, {}", megabytes(bytes))];
    for (of, (n, bytes)) in &inventory.kept {
        let line = format!("{:>9}  {n:>8}  node {}  {} {}", megabytes(*bytes), of.version, of.typename, of.data_uuid);
        lines.push(line.replace(char::is_control, "\u{fffd}"));
    }
    lines.extend(rest(inventory));
    lines.join("\n")
}

fn verified(inventory: &Inventory) -> String {
    let (n, bytes) = inventory.sum();
    let first = format!("{n} entries, {} are whole", megabytes(bytes));
    std::iter::once(first).chain(rest(inventory)).collect::<Vec<_>>().join("\n")
}

fn rest(inventory: &Inventory) -> Vec<String> {
    let counted = |n: u64, what: &str| (n > 0).then(|| format!("{n} {what}"));
    [
        counted(inventory.damaged, "entries are damaged: they are not used"),
        counted(inventory.others, "entries are of another format, or sealed by another key"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MiB", bytes >> 20, ((bytes & ((1 << 20) - 1)) * 10) >> 20)
}

fn config(place: &CachePlace, directory: PathBuf) -> Result<DiskConfig, Failure> {
    let key = place.cache_key_file.as_deref().map(key).transpose()?;
    Ok(DiskConfig { directory, limit_bytes: u64::MAX, free_share: 0.0, key, times: Times::default() })
}

/// The directory of the entries: in the one that was named, or in the user's own.
fn directory(place: &CachePlace) -> Result<Option<PathBuf>, Failure> {
    let Some(named) = &place.cache_dir else {
        return Ok(place.caches.as_ref().map(|caches| caches.join(IN_CACHES)));
    };
    let refused = |why: String| {
        let named = named.display();
        Failure::usage(format!("--cache-dir {named}: {why}: name a directory that is there"))
    };
    let found = named.metadata().map_err(|error| refused(error.to_string()))?;
    if !found.is_dir() {
        return Err(refused("is not a directory".into()));
    }
    // A daemon leaves the directory that it was started in.
    let named = std::path::absolute(named).map_err(|error| refused(error.to_string()))?;
    Ok(Some(named.join(IN_DIRECTORY)))
}

/// The directory of the entries, made if it can be: whoever is confined later can make it no more.
pub(super) fn made_directory(args: &CacheArgs) -> Result<Option<PathBuf>, Failure> {
    let directory = if args.no_cache { None } else { directory(&args.place)? };
    if let Some(directory) = &directory {
        make_caches(&args.place);
        // If that fails, it is told when the cache is opened.
        let _ = std::fs::DirBuilder::new().mode(0o700).create(directory);
    }
    Ok(directory)
}

/// The directory of all caches is made if there is none. If that fails, so does what follows.
fn make_caches(place: &CachePlace) {
    if let (None, Some(caches)) = (&place.cache_dir, &place.caches) {
        let _ = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(caches.join("dvidfs"));
    }
}

fn refused(error: &DirectoryError) -> Failure {
    Failure::usage(format!("the disk cache cannot be used: {}", Chain(error)))
}

/// The key that the text of a file stands for.
fn key(path: &Path) -> Result<Box<[u8; 32]>, Failure> {
    let refused = |why: &str| Failure::usage(format!("--cache-key-file {}: {why}", path.display()));
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)
        .map_err(|error| refused(&error.to_string()))?;
    let found = file.metadata().map_err(|error| refused(&error.to_string()))?;
    if !found.is_file() || found.len() > MOST_KEY_BYTES {
        return Err(refused("is no file with a short text"));
    }
    if found.mode() & 0o077 != 0 || found.uid() != nix::unistd::geteuid().as_raw() {
        return Err(refused("others can read it: it must be yours, and `chmod 600`"));
    }
    let mut text = Vec::new();
    file.take(MOST_KEY_BYTES).read_to_end(&mut text).map_err(|error| refused(&error.to_string()))?;
    let secret = text.trim_ascii();
    if secret.len() < LEAST_KEY_BYTES {
        return Err(refused("is too short: write 16 characters or more, such as by `openssl rand -hex 32`"));
    }
    Ok(DiskConfig::key_of(secret))
}
