//! Damage of every kind: action, place, and what is there afterwards. Never a wrong byte, never an error.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::stat::Mode;

use super::reports::skipped;
use super::support::{Place, key, payload};
use crate::cache::disk::{DiskConfig, EntryKey, Sought};

const PAYLOAD_BYTES: usize = 700;

/// What may be found after damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// Nothing: it is fetched again, and kept again.
    Removed,
    /// It cannot be removed, and is not believed.
    Stays,
}

struct Bench {
    place: Place,
    key: EntryKey,
    payload: Vec<u8>,
    whole: Vec<u8>,
    n_mutations: usize,
}

impl Bench {
    fn new(change: impl FnOnce(&mut DiskConfig)) -> Self {
        let (place, key, payload) = (Place::with(change), key(5), payload(1, PAYLOAD_BYTES));
        place.put(&key, &payload);
        let whole = fs::read(place.file_of(&key)).unwrap();
        Self { place, key, payload, whole, n_mutations: 0 }
    }

    /// Damages a whole entry, looks for it, and sees that it can be had again.
    #[track_caller]
    fn check(&mut self, what: &str, after: After, damage: impl FnOnce(&Path)) {
        let file = self.place.file_of(&self.key);
        damage(&file);
        self.n_mutations += 1;
        match self.place.get(&self.key) {
            Sought::Damaged(_) => {}
            Sought::Missing if after == After::Removed => {}
            Sought::Got(found) => {
                panic!("{what}: {} bytes were believed, wrong: {}", found.len(), found != self.payload)
            }
            other @ (Sought::Missing | Sought::OtherFormat | Sought::Failed(_)) => panic!("{what}: {other:?}"),
        }
        let is_left = file.symlink_metadata().is_ok();
        assert_eq!(is_left, after == After::Stays, "{what}");
        if after == After::Removed {
            self.restore();
        }
    }

    #[track_caller]
    fn restore(&self) {
        self.place.put(&self.key, &self.payload);
        assert!(matches!(self.place.get(&self.key), Sought::Got(found) if found == self.payload));
    }

    /// Other bytes in the same file.
    #[track_caller]
    fn check_bytes(&mut self, what: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.whole.clone();
        change(&mut bytes);
        if bytes != self.whole {
            self.check(what, After::Removed, |file| fs::write(file, &bytes).unwrap());
        }
    }

    fn header_bytes(&self) -> usize {
        self.whole.len() - PAYLOAD_BYTES
    }
}

fn every_change_of_bytes(bench: &mut Bench) {
    for bit in 0..bench.header_bytes() * 8 {
        bench.check_bytes(&format!("bit {bit} of the header"), |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
    }
    let begin = bench.header_bytes();
    for bit in (0..4096).map(|n| n * PAYLOAD_BYTES * 8 / 4096) {
        bench.check_bytes(&format!("bit {bit} of the payload"), |bytes| bytes[begin + bit / 8] ^= 1 << (bit % 8));
    }
    for length in 0..bench.whole.len() {
        bench.check_bytes(&format!("cut to {length}"), |bytes| bytes.truncate(length));
    }
    for more in [1, 16, 4096] {
        bench.check_bytes(&format!("{more} bytes more"), |bytes| bytes.extend(vec![0; more]));
    }
    for at in 0..bench.whole.len() {
        bench.check_bytes(&format!("zeros from {at}"), |bytes| bytes[at..].fill(0));
    }
    for (number, byte) in payload(7, 6000).into_iter().enumerate() {
        let seed = number as u64 + 100;
        bench.check_bytes(&format!("random bytes {seed}"), |bytes| {
            let changed = payload(seed, usize::from(byte % 32) + 1);
            let at = usize::from(u16::from_le_bytes([byte, changed[0]])) % (bytes.len() - changed.len());
            bytes[at..at + changed.len()].copy_from_slice(&changed);
        });
    }
}

#[test]
fn no_change_of_an_entry_is_believed_and_each_is_mended() {
    let mut plain = Bench::new(|_| {});
    every_change_of_bytes(&mut plain);
    let mut keyed = Bench::new(|config| config.key = Some(DiskConfig::key_of(b"a secret of some length")));
    every_change_of_bytes(&mut keyed);
    let n = plain.n_mutations + keyed.n_mutations;
    println!("mutations of an entry: {n}, none was believed, each was mended");
    assert!(n >= 20_000, "{n}");
}

#[test]
fn a_page_that_was_never_written_is_not_believed() {
    let place = Place::new();
    let (key, payload) = (key(9), payload(3, 40_000));
    place.put(&key, &payload);
    let file = place.file_of(&key);
    for page in 0..9 {
        File::options().write(true).open(&file).unwrap().write_all_at(&[0; 4096], page * 4096).unwrap();
        assert!(matches!(place.get(&key), Sought::Damaged(_)), "page {page}");
        assert!(!file.exists());
        place.put(&key, &payload);
    }
}

#[test]
fn what_is_no_file_of_ours_is_neither_followed_nor_waited_for() {
    use After::{Removed, Stays};
    let mut bench = Bench::new(|_| {});
    let elsewhere = bench.place.path().join("elsewhere");
    fs::write(&elsewhere, &bench.whole).unwrap();
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o600)).unwrap();
    let replaced = |file: &Path| fs::remove_file(file).unwrap();
    bench.check("a link to the same bytes", Removed, |file| {
        replaced(file);
        symlink(&elsewhere, file).unwrap();
    });
    bench.check("a link to nowhere", Removed, |file| {
        replaced(file);
        symlink("/nowhere", file).unwrap();
    });
    bench.check("a hard link", Removed, |file| {
        replaced(file);
        fs::hard_link(&elsewhere, file).unwrap();
    });
    bench.check("a pipe", Removed, |file| {
        replaced(file);
        nix::unistd::mkfifo(file, Mode::S_IRWXU).unwrap();
    });
    bench.check("a socket", Removed, |file| {
        replaced(file);
        drop(UnixListener::bind(file).unwrap());
    });
    bench.check("an empty directory", Removed, |file| {
        replaced(file);
        fs::create_dir(file).unwrap();
    });
    for mode in [0o000, 0o400, 0o644, 0o666, 0o660] {
        bench.check(&format!("mode {mode:o}"), Removed, |file| {
            fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
        });
    }
    bench.check("a directory with something in it", Stays, |file| {
        replaced(file);
        fs::create_dir_all(file.join("x")).unwrap();
    });
    assert_eq!(fs::read(&elsewhere).unwrap(), bench.whole, "what a link names stays");
}

#[test]
fn a_file_of_another_owner_and_a_device_are_not_believed() {
    if !nix::unistd::geteuid().is_root() {
        return skipped("only root can give files away");
    }
    let mut bench = Bench::new(|_| {});
    bench.check("another owner", After::Removed, |file| std::os::unix::fs::chown(file, Some(1), None).unwrap());
    bench.check("a device", After::Removed, |file| {
        fs::remove_file(file).unwrap();
        let null = nix::sys::stat::makedev(1, 5);
        nix::sys::stat::mknod(file, nix::sys::stat::SFlag::S_IFCHR, Mode::S_IRUSR | Mode::S_IWUSR, null).unwrap();
    });
}

#[test]
fn an_entry_under_the_name_of_another_is_not_believed() {
    let place = Place::new();
    let (ours, theirs) = (key(1), key(2));
    place.put(&ours, b"ours");
    place.put(&theirs, b"theirs");
    let (one, two, aside) = (place.file_of(&ours), place.file_of(&theirs), place.path().join("aside"));
    fs::create_dir_all(one.parent().unwrap()).unwrap();
    fs::rename(&one, &aside).unwrap();
    fs::rename(&two, &one).unwrap();
    fs::rename(&aside, &two).unwrap();
    assert!(matches!(place.get(&ours), Sought::Damaged(_)));
    assert!(matches!(place.get(&theirs), Sought::Damaged(_)));
    assert!(!one.exists() && !two.exists());
}

#[test]
fn an_entry_of_another_format_is_left_alone() {
    let bench = Bench::new(|_| {});
    let file = bench.place.file_of(&bench.key);
    for format in [0_u16, 2, 0xffff] {
        let mut bytes = bench.whole.clone();
        let length = bench.header_bytes();
        bytes[12..14].copy_from_slice(&format.to_le_bytes());
        let sum = xxhash_rust::xxh3::xxh3_128(&bytes[..length - 16]).to_le_bytes();
        bytes[length - 16..length].copy_from_slice(&sum);
        fs::write(&file, &bytes).unwrap();
        assert!(matches!(bench.place.get(&bench.key), Sought::OtherFormat), "{format}");
        assert_eq!(fs::read(&file).unwrap(), bytes);
    }
}

#[test]
fn who_does_not_know_the_key_can_make_no_entry() {
    let plain = Bench::new(|_| {});
    let keyed = Bench::new(|config| config.key = Some(DiskConfig::key_of(b"a secret of some length")));
    let other = Bench::new(|config| config.key = Some(DiskConfig::key_of(b"another secret of some length")));
    let name = keyed.place.file_of(&keyed.key);
    for forged in [&plain.whole, &other.whole] {
        fs::write(&name, forged).unwrap();
        assert!(matches!(keyed.place.get(&keyed.key), Sought::Damaged(_)));
        assert!(!name.exists());
        keyed.restore();
    }
}

#[test]
fn a_payload_that_cannot_be_decoded_is_removed() {
    let place = Place::new();
    place.put(&key(1), b"nonsense");
    assert!(matches!(place.disk.get(&key(1), 100, |_, _| None::<()>), Sought::Damaged(_)));
    assert!(matches!(place.get(&key(1)), Sought::Missing));
}
