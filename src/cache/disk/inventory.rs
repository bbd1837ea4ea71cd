//! What lies in a cache: for people who want to know, to check, or to have it away.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::FileStat;

use super::config::DiskConfig;
use super::directory::{Directory, Trust};
use super::entry::{LONGEST_HEADER, Refused, is_sealed_otherwise, parse_any, parse_header};
use super::face::Disk;
use super::key::EntryKey;
use super::seal::{Name, Seal, shard_name};
use super::store::{occupied_bytes, read_whole, usable_length};

/// No entry is longer than this: what is, is damaged.
const LONGEST_ENTRY: usize = 1 << 32;

/// What stands for the type where an entry describes a node.
const DESCRIBED: &str = "its description, of";

/// The data that entries belong to: the blocks of an instance, or what is known of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kept {
    /// The node, or the ref that it was mounted by.
    pub version: String,
    /// The instance, or the server.
    pub data_uuid: String,
    /// The instance's type.
    pub typename: String,
}

/// What a cache holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Entries and the bytes that they take, by what they belong to.
    pub kept: BTreeMap<Kept, (u64, u64)>,
    /// Entries that were damaged.
    pub damaged: u64,
    /// Those of them that were removed.
    pub removed: u64,
    /// Entries of another format, or sealed by another key.
    pub others: u64,
    /// What is damaged and could not be removed, and directories that could not be looked through.
    pub left: Vec<Left>,
}

/// Something that stays although it was to be looked at or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// An entry, or a directory of entries.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

/// What came of removing everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// Entries that were removed.
    pub entries: u64,
    /// What they took.
    pub bytes: u64,
    /// What could not be removed.
    pub left: Vec<Left>,
}

impl Left {
    fn new(directory: &Path, name: &str, errno: Errno) -> Self {
        Self { path: directory.join(name), why: std::io::Error::from(errno).to_string() }
    }
}

impl Inventory {
    /// Entries, and the bytes that they take.
    #[must_use]
    pub fn sum(&self) -> (u64, u64) {
        self.kept.values().fold((0, 0), |(n, bytes), of| (n + of.0, bytes + of.1))
    }
}

/// How closely entries are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// At their headers.
    Headers,
    /// At every byte; what is damaged is removed.
    AllAndRepair,
}

/// What lies in a cache; `None` if there is none at this place.
///
/// # Errors
/// If the directory is not one that is used.
pub fn take_inventory(config: DiskConfig, look: Look) -> Result<Option<Inventory>, super::DirectoryError> {
    let Some(disk) = existing(config)? else { return Ok(None) };
    let directory = disk.store().directory();
    let mut inventory = Inventory::default();
    let mut left = Vec::new();
    each_entry(&directory, disk.path(), &mut left, |name, stat| {
        match data_of(&directory, disk.store().seal(), name, stat, look) {
            Ok(Some(kept)) => {
                let sum = inventory.kept.entry(kept).or_default();
                sum.0 += 1;
                sum.1 += occupied(stat);
            }
            Ok(None) => inventory.others += 1,
            Err(()) => {
                inventory.damaged += 1;
                if look == Look::AllAndRepair {
                    inventory.removed += u64::from(directory.remove_if(name, stat)?);
                }
            }
        }
        Ok(())
    });
    inventory.left = left;
    Ok(Some(inventory))
}

/// Removes all entries, also those of daemons that are at work.
///
/// # Errors
/// As [`take_inventory`].
pub fn clear(config: DiskConfig) -> Result<Option<Cleared>, super::DirectoryError> {
    let Some(disk) = existing(config)? else { return Ok(None) };
    let directory = disk.store().directory();
    let (mut cleared, mut left, mut left_bytes) = (Cleared::default(), Vec::new(), 0);
    each_entry(&directory, disk.path(), &mut left, |name, stat| {
        left_bytes += occupied(stat);
        if directory.remove_if(name, stat)? {
            cleared.entries += 1;
            cleared.bytes += occupied(stat);
        }
        left_bytes -= occupied(stat);
        Ok(())
    });
    cleared.left = left;
    disk.counted(left_bytes);
    Ok(Some(cleared))
}

/// The cache at a place, if there is one: none is made by looking.
fn existing(config: DiskConfig) -> Result<Option<Disk>, super::DirectoryError> {
    if config.directory.symlink_metadata().is_err() {
        return Ok(None);
    }
    Disk::open(config).map(Some)
}

/// Calls for each entry, and goes on to the next if that fails; what fails is told in `left`.
fn each_entry(
    directory: &Directory,
    path: &Path,
    left: &mut Vec<Left>,
    mut call: impl FnMut(&Name, &FileStat) -> nix::Result<()>,
) {
    for shard in 0..=u8::MAX {
        match entries_of(directory, shard) {
            Err(errno) => left.push(Left::new(path, &shard_name(shard), errno)),
            Ok(found) => {
                for (name, stat) in found {
                    if let Err(errno) = call(&name, &stat) {
                        left.push(Left::new(path, name.path(), errno));
                    }
                }
            }
        }
    }
}

fn entries_of(directory: &Directory, shard: u8) -> nix::Result<Vec<(Name, FileStat)>> {
    let mut found = Vec::new();
    if let Some(mut files) = directory.shard_files(shard)? {
        files.each(|file, stat| found.extend(Name::in_shard(shard, file).map(|name| (name, stat))))?;
    }
    Ok(found)
}

/// What an entry belongs to; `None` if it is of another format or seal, an error if it is damaged.
fn data_of(directory: &Directory, seal: &Seal, name: &Name, stat: &FileStat, look: Look) -> Result<Option<Kept>, ()> {
    let length = usable_length(stat, Trust::Anybody, LONGEST_ENTRY).map_err(drop)?;
    let wanted = if look == Look::Headers { length.min(LONGEST_HEADER) } else { length };
    let (file, _) = directory.open_entry(name).map_err(drop)?;
    let mut bytes = Vec::new();
    read_begin(&file, &mut bytes, wanted)?;
    // Such an entry may be open to others, too.
    if is_sealed_otherwise(seal, &bytes) {
        return Ok(None);
    }
    usable_length(stat, directory.trust(), LONGEST_ENTRY).map_err(drop)?;
    let key = match look {
        Look::Headers => parse_header(seal, &bytes).and_then(|header| {
            let is_long = header.stored_bytes == (length - header.length) as u64;
            is_long.then_some(header.key).ok_or(Refused::Damaged("it is cut"))
        }),
        Look::AllAndRepair => parse_any(seal, &bytes).map(|(key, _)| key),
    };
    match key {
        Ok(key) if seal.name(&key) == *name => kept(&key).map(Some).ok_or(()),
        Err(Refused::OtherFormat) => Ok(None),
        Ok(_) | Err(Refused::Damaged(_)) => Err(()),
    }
}

fn read_begin(file: &File, bytes: &mut Vec<u8>, wanted: usize) -> Result<(), ()> {
    if wanted < LONGEST_HEADER {
        return read_whole(file, bytes, wanted).map_err(drop);
    }
    file.take(wanted as u64).read_to_end(bytes).map(drop).map_err(drop)
}

fn kept(key: &EntryKey) -> Option<Kept> {
    if let Some((server, reference)) = key.as_node() {
        return Some(Kept { version: reference, data_uuid: server, typename: DESCRIBED.to_owned() });
    }
    let fields = key.fields()?;
    let text = |n: usize| fields.get(n).and_then(|field| String::from_utf8(field.to_vec()).ok());
    Some(Kept { data_uuid: text(3)?, version: text(4)?, typename: text(5)? })
}

fn occupied(stat: &FileStat) -> u64 {
    occupied_bytes(u64::try_from(stat.st_size).unwrap_or(0))
}
