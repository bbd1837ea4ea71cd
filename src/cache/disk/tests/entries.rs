//! What lies where, to the byte.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::support::{Place, config, identity, key, n_files, payload};
use crate::cache::disk::{DirectoryError, Disk, EntryKey, Look, Sought, clear, take_inventory};
use crate::dvid::Identity;
use crate::geometry::{BlockIndex, Coordinate, Scale};

/// The fixture was written by `make.py` beside it, which uses other implementations of the sums.
#[test]
fn the_bytes_of_an_entry_are_those_of_format_1() {
    let place = Place::new();
    place.put(&key(5), b"0123456789abcdef");
    let file = place.file_of(&key(5));
    let golden = include_bytes!("../../../../tests/fixtures/disk-cache/entry-v1.bin");
    assert_eq!(fs::read(&file).unwrap(), golden, "a changed format needs another directory");
    let name = file.strip_prefix(place.path()).unwrap();
    let wanted = include_str!("../../../../tests/fixtures/disk-cache/entry-v1.name");
    assert_eq!(name.to_str(), Some(wanted.trim_end()));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_was_written_is_read_and_nothing_else_is_there() {
    let place = Place::new();
    assert!(matches!(place.get(&key(1)), Sought::Missing));
    assert_eq!(place.disk.has(&key(1)), Ok(false));
    for length in [0, 1, 4096, 300_000] {
        let x = i64::try_from(length).unwrap();
        place.put(&key(x), &payload(2, length));
        assert_eq!(place.disk.has(&key(x)), Ok(true));
        assert!(matches!(place.get(&key(x)), Sought::Got(found) if found == payload(2, length)), "{length}");
        assert_eq!(place.disk.put(&key(x), (16, b"other"), 4), Ok(false), "the first stays");
    }
    assert!(matches!(place.disk.get(&key(300_000), 299_999, |_, _| Some(())), Sought::Damaged(_)), "too long");
    assert!(
        fs::read(place.path().join("CACHEDIR.TAG"))
            .unwrap()
            .starts_with(b"Signature: 8a477f597d28d172789f06886806bc55")
    );
    assert_eq!(fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn every_part_of_a_key_tells_entries_apart() {
    let block = BlockIndex(Coordinate::new(1, 2, 3));
    let of = |identity: &Identity| EntryKey::block(identity, Scale(0), block);
    let changed = |change: fn(&mut Identity)| {
        let mut identity = identity();
        change(&mut identity);
        of(&identity)
    };
    let mut keys = vec![
        of(&identity()),
        changed(|of| of.root.push('0')),
        changed(|of| of.data_uuid = of.version.clone()),
        changed(|of| of.version = "28841c8277e044a7b187dda03e18da14".into()),
        changed(|of| of.typename = "labelmap".into()),
        changed(|of| of.values = "uint8x1 32,64,64".into()),
        changed(|of| of.encoding = 19),
        // Where one field ends and the next begins is told, too.
        changed(|of| {
            of.typename = "uint8".into();
            of.values.insert_str(0, "blk");
        }),
        EntryKey::block(&identity(), Scale(1), block),
    ];
    for other in [[2, 2, 3], [1, 3, 3], [1, 2, 4], [3, 2, 1], [-1, 2, 3]] {
        keys.push(EntryKey::block(&identity(), Scale(0), BlockIndex(Coordinate::from(other))));
    }
    let place = Place::new();
    let names: std::collections::BTreeSet<_> = keys.iter().map(|key| place.file_of(key)).collect();
    assert_eq!(names.len(), keys.len());
}

#[test]
fn a_directory_that_others_could_change_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let (config, entries) = (config(scratch.path()), scratch.path().join("entries"));
    let open = || Disk::open(config.clone());
    let mode = |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    open().unwrap();
    for bits in [0o777, 0o750, 0o701, 0o720] {
        mode(&entries, bits);
        assert!(matches!(open(), Err(DirectoryError::OpenToOthers(_))), "{bits:o}");
    }
    mode(&entries, 0o700);
    mode(scratch.path(), 0o777);
    assert!(matches!(open(), Err(DirectoryError::ParentOpenToOthers(_))));
    mode(scratch.path(), 0o1777);
    open().unwrap();
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(&entries, Some(1), None).unwrap();
        assert!(matches!(open(), Err(DirectoryError::NotOurs(_))));
    }
    fs::rename(&entries, scratch.path().join("real")).unwrap();
    symlink(scratch.path().join("real"), &entries).unwrap();
    assert!(matches!(open(), Err(DirectoryError::Link(_))));
    fs::remove_file(&entries).unwrap();
    fs::write(&entries, b"").unwrap();
    assert!(matches!(open(), Err(DirectoryError::NotDirectory(_))));
    let missing = scratch.path().join("no/such");
    assert!(matches!(Disk::open(super::support::config(&missing)), Err(DirectoryError::Io(..))));
}

#[test]
fn a_shard_that_is_something_else_is_put_right() {
    let place = Place::new();
    let shard = place.file_of(&key(1)).parent().unwrap().to_owned();
    fs::write(&shard, b"no directory").unwrap();
    assert!(matches!(place.get(&key(1)), Sought::Missing));
    place.put(&key(1), b"payload");
    fs::remove_dir_all(&shard).unwrap();
    symlink("/tmp", &shard).unwrap();
    assert!(!matches!(place.get(&key(1)), Sought::Got(_)));
    place.put(&key(1), b"payload");
    assert!(matches!(place.get(&key(1)), Sought::Got(_)));
}

#[test]
fn an_inventory_counts_by_data_and_finds_damage() {
    let place = Place::new();
    let config = place.disk.config().clone();
    for x in 0..30 {
        place.put(&key(x), &payload(1, 5000));
    }
    let other = Identity { typename: "labelmap".into(), ..identity() };
    place.put(&EntryKey::block(&other, Scale(0), BlockIndex(Coordinate::ZERO)), b"x");
    let taken = take_inventory(config.clone(), Look::Headers).unwrap().unwrap();
    assert_eq!(taken.sum(), (31, 30 * 8192 + 4096));
    let counts: Vec<_> = taken.kept.iter().map(|(kept, &(n, _))| (kept.typename.as_str(), n)).collect();
    assert_eq!(counts, [("labelmap", 1), ("uint8blk", 30)]);
    // The last byte of one, the first of another, one that is cut.
    let damage = |x: i64, change: fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(place.file_of(&key(x))).unwrap();
        change(&mut bytes);
        fs::write(place.file_of(&key(x)), bytes).unwrap();
    };
    damage(3, |bytes| *bytes.last_mut().unwrap() ^= 1);
    damage(4, |bytes| bytes[0] ^= 1);
    damage(5, |bytes| bytes.truncate(3000));
    assert_eq!(take_inventory(config.clone(), Look::Headers).unwrap().unwrap().damaged, 2);
    assert_eq!(take_inventory(config.clone(), Look::AllAndRepair).unwrap().unwrap().damaged, 3);
    let repaired = take_inventory(config.clone(), Look::AllAndRepair).unwrap().unwrap();
    assert_eq!((repaired.sum().0, repaired.damaged), (28, 0));
    assert_eq!(clear(config.clone()).unwrap().unwrap().entries, 28);
    assert_eq!(n_files(&place.path()), 0);
    fs::remove_dir_all(place.path()).unwrap();
    assert_eq!(take_inventory(config, Look::Headers).unwrap(), None);
    assert!(!place.path().exists(), "looking makes nothing");
}

#[test]
fn entries_of_another_key_are_left_alone_by_who_checks() {
    let place = Place::with(|config| config.key = Some(super::super::DiskConfig::key_of(b"a secret")));
    place.put(&key(1), b"sealed");
    let keyed = place.disk.config().clone();
    let plain = super::super::DiskConfig { key: None, ..keyed.clone() };
    let seen = take_inventory(plain, Look::AllAndRepair).unwrap().unwrap();
    assert_eq!((seen.sum().0, seen.damaged, seen.others), (0, 0, 1));
    assert_eq!(take_inventory(keyed, Look::AllAndRepair).unwrap().unwrap().sum().0, 1);
}
