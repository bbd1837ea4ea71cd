//! Several daemons with one directory, and its limit.

use std::fs;
use std::time::{Duration, SystemTime};

use super::support::{ENCODING, Place, key, n_files, payload};
use crate::cache::disk::{Chore, Disk, Fault, Sought};

/// Makes room as the threads of the disk do.
fn make_room(disk: &Disk) {
    for shard in 0..=u8::MAX {
        if !disk.wants_room() {
            return;
        }
        disk.look_after(Chore::MakeRoom(shard)).unwrap();
    }
}

#[test]
fn the_limit_is_kept_and_the_oldest_leave_first() {
    let place = Place::with(|config| config.limit_bytes = 1 << 20);
    for x in 0..1000 {
        place.put(&key(x), &payload(1, 4000));
        if place.disk.wants_room() {
            // Old ones are old by an hour.
            make_room(&place.disk);
        }
        assert!(place.disk.held_bytes() <= (1 << 20) + 8192, "{x}");
    }
    let taken: u64 = (0..1000).filter(|&x| place.disk.has(&key(x)) == Ok(true)).count() as u64 * 8192;
    assert_eq!(taken, place.disk.held_bytes());
    assert!(taken > 1 << 19, "{taken}");
}

#[test]
fn what_was_used_lately_stays() {
    let place = Place::new();
    let long_ago = SystemTime::now() - Duration::from_secs(7200);
    for x in 0..4000 {
        place.put(&key(x), b"");
        fs::File::options().write(true).open(place.file_of(&key(x))).unwrap().set_modified(long_ago).unwrap();
    }
    let used: Vec<i64> = (0..4000).step_by(10).collect();
    for &x in &used {
        assert!(matches!(place.get(&key(x)), Sought::Got(_)));
    }
    for shard in 0..=u8::MAX {
        place.disk.look_after(Chore::MakeRoom(shard)).unwrap();
    }
    let left = (0..4000).filter(|&x| place.disk.has(&key(x)) == Ok(true)).count();
    let used_left = used.iter().filter(|&&x| place.disk.has(&key(x)) == Ok(true)).count();
    assert!(left < 3700, "{left}");
    // A shard that holds nothing else may lose one of them.
    assert!(used_left >= used.len() - 4, "{used_left} of {}", used.len());
}

#[test]
fn daemons_see_each_others_entries_and_know_the_sum() {
    let place = Place::with(|config| config.limit_bytes = 64 << 20);
    let others: Vec<_> = (0..7).map(|_| Disk::open(place.disk.config().clone()).unwrap()).collect();
    std::thread::scope(|scope| {
        for disk in others.iter().chain([&place.disk]) {
            scope.spawn(|| {
                for x in 0..300 {
                    disk.put(&key(x), (ENCODING, &payload(9, 20_000)), 0).unwrap();
                    let found = disk.get(&key(x), 1 << 20, |_, found| Some(found.to_vec()));
                    assert!(matches!(found, Sought::Got(found) if found == payload(9, 20_000)));
                }
                disk.tell();
            });
        }
    });
    assert_eq!(n_files(&place.path()), 300, "each entry was written once");
    let one_more = Disk::open(place.disk.config().clone()).unwrap();
    assert!(one_more.put(&key(1000), (ENCODING, b""), 0).unwrap());
    assert_eq!(one_more.held_bytes(), 300 * 20_480 + 4096);
}

#[test]
fn an_entry_larger_than_the_limit_is_not_written() {
    let place = Place::with(|config| config.limit_bytes = 1000);
    assert_eq!(place.disk.put(&key(1), (ENCODING, &payload(1, 1000)), 0), Err(Fault::Full));
    assert_eq!(n_files(&place.path()), 0);
}

#[test]
fn space_that_others_need_is_left_free() {
    let place = Place::with(|config| config.free_share = 0.999_999);
    assert_eq!(place.disk.put(&key(1), (ENCODING, b"x"), 0), Err(Fault::Full));
}

#[test]
fn a_directory_that_was_removed_is_made_again() {
    let place = Place::new();
    place.put(&key(1), b"x");
    fs::remove_dir_all(place.path()).unwrap();
    assert!(matches!(place.get(&key(1)), Sought::Missing));
    assert_eq!(place.disk.put(&key(1), (ENCODING, b"x"), 0), Err(Fault::MadeAgain));
    place.put(&key(1), b"x");
    assert!(matches!(place.get(&key(1)), Sought::Got(_)));
}

#[test]
fn a_number_that_makes_no_sense_is_put_right_by_counting() {
    let place = Place::new();
    place.put(&key(1), &payload(1, 10_000));
    for nonsense in ["", "x", "-5", "99999999999999999999999999", "\0\0\0\0"] {
        fs::write(place.path().join("usage"), nonsense).unwrap();
        place.disk.tell();
        place.disk.counted(12_288);
        assert_eq!(place.disk.held_bytes(), 12_288, "{nonsense:?}");
        assert_eq!(fs::read_to_string(place.path().join("usage")).unwrap(), "00000000000000012288\n");
    }
}

#[test]
fn files_that_were_never_finished_are_swept_up() {
    let place = Place::new();
    place.put(&key(1), b"x");
    let shard_path = place.file_of(&key(1)).parent().unwrap().to_owned();
    let shard = u8::from_str_radix(shard_path.file_name().unwrap().to_str().unwrap(), 16).unwrap();
    let (old, new) = (shard_path.join(".unfinished-1-2-3"), shard_path.join(".unfinished-4-5-6"));
    fs::write(&old, b"half").unwrap();
    fs::write(&new, b"half").unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(7200);
    fs::File::options().write(true).open(&old).unwrap().set_modified(long_ago).unwrap();
    let found = place.disk.look_after(Chore::Count(shard)).unwrap();
    assert_eq!((found.n_entries, found.bytes), (1, 4096));
    assert!(!old.exists() && new.exists());
}
