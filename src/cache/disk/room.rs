//! Making room: the entries that were used longest ago leave, shard by shard, in no order.

use std::time::SystemTime;

use nix::errno::Errno;
use nix::sys::stat::FileStat;

use super::directory::{Directory, UNFINISHED};
use super::seal::Name;
use super::store::occupied_bytes;

/// One part in so many of a shard is removed at a time.
const PART: usize = 8;
/// A file without its name is not finished any more after so long.
const UNFINISHED_SECONDS: i64 = 3600;

/// What a shard holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Shard {
    /// Entries.
    pub(in super::super) n_entries: u64,
    /// What they take.
    pub(in super::super) bytes: u64,
    /// What was removed of it just now.
    pub(in super::super) removed_entries: u64,
    /// What that took.
    pub(in super::super) removed_bytes: u64,
}

/// What a shard holds now. Files that were never finished are removed from it.
///
/// # Errors
/// If the file system fails.
pub(super) fn walk(directory: &Directory, shard: u8) -> Result<Shard, Errno> {
    let mut found = Shard::default();
    let Some(mut files) = directory.shard_files(shard)? else { return Ok(found) };
    let mut unfinished = Vec::new();
    files.each(|name, stat| {
        if Name::in_shard(shard, name).is_some() {
            found.n_entries += 1;
            found.bytes += occupied(&stat);
        } else if name.starts_with(UNFINISHED) && age_seconds(&stat) > UNFINISHED_SECONDS {
            unfinished.push((name.to_owned(), stat));
        }
    })?;
    for (name, stat) in unfinished {
        // The next walk tries again.
        let _ = files.remove_if(&name, &stat);
    }
    Ok(found)
}

/// Removes the oldest eighth of a shard, but no more than `most_bytes` and one entry; all of it, if `whole`.
///
/// `None` if another daemon is at it.
///
/// # Errors
/// If the file system fails.
pub(super) fn make_room(directory: &Directory, shard: u8, most_bytes: u64) -> Result<Option<Shard>, Errno> {
    let mut found = Shard::default();
    let Some(mut files) = directory.shard_files(shard)? else { return Ok(Some(found)) };
    let Some(_lock) = files.lock() else { return Ok(None) };
    let mut entries = Vec::new();
    files.each(|name, stat| {
        if Name::in_shard(shard, name).is_some() {
            found.n_entries += 1;
            found.bytes += occupied(&stat);
            entries.push(((stat.st_mtime, stat.st_mtime_nsec), name.to_owned(), stat));
        }
    })?;
    entries.sort_unstable_by_key(|entry| entry.0);
    for (_, name, stat) in entries.iter().take(entries.len().div_ceil(PART)) {
        if found.removed_bytes >= most_bytes {
            break;
        }
        if files.remove_if(name, stat)? {
            found.removed_entries += 1;
            found.removed_bytes += occupied(stat);
        }
    }
    Ok(Some(found))
}

fn occupied(stat: &FileStat) -> u64 {
    occupied_bytes(u64::try_from(stat.st_size).unwrap_or(0))
}

fn age_seconds(stat: &FileStat) -> i64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(stat.st_mtime)
}
