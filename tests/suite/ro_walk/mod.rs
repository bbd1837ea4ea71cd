//! Directories, inodes and names: each once, the same at every look, and no other is found.

mod listing;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::mem::MaybeUninit;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dvidfs::demo::{Dataset, Demo, DemoOptions, InstanceSpec};
use dvidfs::geometry::{Coordinate, VoxelBox};
use nix::libc;

use listing::{Name, Status, each_name, name_at, names, status};

use crate::support::{Mounted, Random, can_mount, figure, is_long, promised, time_limit};

const OPTIONS: [&str; 4] = ["--settle", "0", "--no-prefetch", "--no-cache"];

/// A directory with more names is entered at so many of them only.
const MOST_ENTERED: usize = 40;

fn start(dataset: Dataset) -> Demo {
    Demo::start(DemoOptions { dataset, ..DemoOptions::default() }).unwrap()
}

fn mount(demo: &Demo) -> Mounted {
    Mounted::new(&format!("{}/a40d", demo.origin()), &OPTIONS)
}

/// What was seen of a tree.
#[derive(Debug, Default)]
struct Walk {
    /// Each path with what `stat` tells and where its listing goes on.
    found: BTreeMap<PathBuf, (Status, u64)>,
    n_asked: u64,
    n_wrong: u64,
}

impl Walk {
    /// Walks the tree below a mount; control files, which change, are only counted.
    fn of(root: &Path, seed: u64) -> Self {
        let (mut walk, mut random) = (Self::default(), Random(seed));
        let mut inodes = HashMap::new();
        let mut queue = vec![root.to_owned()];
        while let Some(directory) = queue.pop() {
            let listed = walk.directory(&directory, &mut random);
            let own = status(&directory).ino;
            assert_eq!((&listed[0].name, listed[0].ino), (&OsString::from("."), own), "{}", directory.display());
            assert_eq!(listed[1].name, "..", "{}", directory.display());
            let n_folders = listed.iter().filter(|name| name.is_dir).count() as u64;
            assert_eq!(status(&directory).nlink, n_folders, "{}: links", directory.display());
            for name in &listed[2..] {
                let path = directory.join(&name.name);
                let status = status(&path);
                assert_eq!(name.ino, status.ino, "{}", path.display());
                assert_eq!(name.is_dir, status.mode & libc::S_IFMT == libc::S_IFDIR, "{}", path.display());
                assert_eq!(inodes.insert(status.ino, path.clone()), None, "{} shares an inode", path.display());
                if name.is_dir {
                    queue.push(path.clone());
                }
                if !directory.ends_with(".dvidfs") {
                    walk.found.insert(path.strip_prefix(root).unwrap().to_owned(), (status, name.next));
                }
            }
        }
        walk
    }

    /// One directory: its names, and those that it has not.
    fn directory(&mut self, path: &Path, random: &mut Random) -> Vec<Name> {
        let directory = File::open(path).unwrap();
        let listed = names(&directory);
        let all: BTreeSet<&OsStr> = listed.iter().map(|name| name.name.as_os_str()).collect();
        assert_eq!(all.len(), listed.len(), "{}: a name came twice", path.display());
        let positions: BTreeSet<u64> = listed.iter().map(|name| name.next).collect();
        assert_eq!(positions.len(), listed.len(), "{}: two names have one position", path.display());
        // Entered anywhere, in any order.
        for _ in 0..listed.len().min(MOST_ENTERED) {
            let at = usize::try_from(random.below(listed.len() as u64)).unwrap();
            let next = listed.get(at + 1).map(|name| name.name.clone());
            assert_eq!(name_at(&directory, listed[at].next), next, "{} after {:?}", path.display(), listed[at].name);
        }
        for name in &listed {
            self.n_asked += 1;
            for wrong in mutated(&name.name, random) {
                self.n_wrong += 1;
                let found = path.join(&wrong).symlink_metadata();
                match found {
                    Ok(_) => assert!(all.contains(wrong.as_os_str()), "{} has {wrong:?}, not listed", path.display()),
                    Err(error) => {
                        let expected = if wrong.len() > 255 { libc::ENAMETOOLONG } else { libc::ENOENT };
                        assert_eq!(error.raw_os_error(), Some(expected), "{} {wrong:?}", path.display());
                        assert!(!all.contains(wrong.as_os_str()), "{} has no {wrong:?}, but lists it", path.display());
                    }
                }
            }
        }
        listed
    }
}

/// Names near a name, a few of them by chance: most are no names of anything.
fn mutated(name: &OsStr, random: &mut Random) -> Vec<OsString> {
    if name == "." || name == ".." {
        return Vec::new();
    }
    let bytes = name.as_bytes();
    let text = name.to_str().unwrap();
    let with = |bytes: &[&[u8]]| OsString::from_vec(bytes.concat());
    let mut all = vec![
        with(&[b"0", bytes]),
        with(&[b"+", bytes]),
        with(&[b"-", bytes]),
        with(&[b" ", bytes]),
        with(&[bytes, b" "]),
        with(&[bytes, b"."]),
        with(&[bytes, b"0"]),
        with(&[bytes, b"\n"]),
        with(&[bytes, &[0xFF]]),
        with(&[bytes, "٣".as_bytes()]),
        with(&[bytes, &[b'x'; 256]]),
        with(&[b"%", bytes]),
        text.replace('-', "_").into(),
        text.replace('_', "-").into(),
        text.replace('.', "").into(),
        text.to_uppercase().into(),
        text.to_lowercase().into(),
        text.replacen(['0', '1', '2', '3'], "9", 1).into(),
        text.replace("%2", "%02").into(),
        with(&[&bytes[..bytes.len() / 2]]),
        with(&[&bytes[1..]]),
        with(&[b"18446744073709551616"]),
        with(&[b"9223372036854775807"]),
    ];
    // A path of nothing is the directory itself, and that of dots is another.
    all.retain(|wrong| !wrong.is_empty() && wrong != "." && wrong != ".." && wrong != name);
    if is_long() {
        return all;
    }
    (0..3).map(|_| all[usize::try_from(random.below(all.len() as u64)).unwrap()].clone()).collect()
}

#[test]
fn names_and_inodes_are_the_same_at_every_mount_and_no_other_name_is_found() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(if is_long() { 1800 } else { 400 }));
    let demo = start(Dataset::test());
    let walk = |seed| {
        let mounted = mount(&demo);
        let n_requests = demo.requests().len();
        let walk = Walk::of(&mounted.root(), seed);
        assert_eq!(demo.requests().len(), n_requests, "a walk asked the server");
        walk
    };
    let (first, second) = (walk(1), walk(2));
    for (path, seen) in &first.found {
        assert_eq!(second.found.get(path), Some(seen), "{} at the second mount", path.display());
    }
    assert_eq!(first.found.len(), second.found.len());
    let (n_right, n_wrong) = (first.n_asked + second.n_asked, first.n_wrong + second.n_wrong);
    figure("R24", format!("0 requests for {n_right} lookups of names and {n_wrong} of wrong names"), "0 for 100,000");
    assert!(n_right + n_wrong > 100_000, "only {n_right} and {n_wrong} names");
}

/// Gray whose level in `precomputed` is one directory of so many chunks along each axis.
fn of_chunks(chunks: [i64; 3]) -> Dataset {
    let data = VoxelBox::from_shape(Coordinate::ZERO, Coordinate::from(chunks) * Coordinate::splat(64)).unwrap();
    Dataset::large().only(&["grayscale"]).with("grayscale", |spec| spec.data = data)
}

/// The number of a chunk of `precomputed` from its name, if it is one of a cube of so many along each axis.
fn number(name: &OsStr, side: usize) -> Option<usize> {
    let axis = |part: &str| {
        let (begin, end) = part.split_once('-')?;
        let (begin, end): (usize, usize) = (begin.parse().ok()?, end.parse().ok()?);
        (begin % 64 == 0 && end == begin + 64 && end <= 64 * side).then_some(begin / 64)
    };
    let axes: Vec<usize> = name.to_str()?.split('_').map(axis).collect::<Option<_>>()?;
    let [x, y, z] = axes[..] else { return None };
    Some((z * side + y) * side + x)
}

#[test]
fn a_million_names_are_listed_each_once_in_bounded_memory() {
    if !can_mount() {
        return;
    }
    const SIDE: usize = 100;
    let _limit = time_limit(Duration::from_secs(240));
    let demo = start(of_chunks([100; 3]));
    let mounted = mount(&demo);
    let path = mounted.root().join("grayscale/precomputed/8_8_8");
    let n_requests = demo.requests().len();
    let directory = File::open(&path).unwrap();
    let mut buffer = vec![MaybeUninit::uninit(); 32 << 10];
    let before = mounted.forget_peak();
    let (mut inodes, mut quickest) = (Vec::new(), Duration::MAX);
    for round in 0..3 {
        let (mut seen, began) = (vec![false; SIDE.pow(3)], Instant::now());
        inodes.clear();
        each_name(&directory, 0, &mut buffer, |name| {
            match number(&name.name, SIDE) {
                Some(number) => assert!(!std::mem::replace(&mut seen[number], true), "{name:?} came twice"),
                None => assert!(name.name == "." || name.name == "..", "{name:?}"),
            }
            inodes.push(name.ino);
            true
        })
        .unwrap();
        assert!(seen.iter().all(|&seen| seen), "round {round}: a name is missing");
        quickest = quickest.min(began.elapsed());
    }
    inodes.sort_unstable();
    inodes.dedup();
    assert_eq!(inodes.len(), SIDE.pow(3) + 2, "two names have one inode");
    let grown = mounted.peak_bytes().saturating_sub(before);
    figure(
        "R25",
        format!("10^6 names each once in {quickest:.2?}, the daemon grew by {} KiB", grown >> 10),
        "1 s, 1 MiB",
    );
    assert!(grown <= 1 << 20, "the daemon grew by {} KiB", grown >> 10);
    // 1 s where nothing else runs.
    assert!(quickest < promised(Duration::from_secs(10)), "{quickest:?}");
    assert_eq!(demo.requests().len(), n_requests, "a listing asked the server");
    let listed = std::process::Command::new("ls").args(["-U"]).arg(&path).output().unwrap();
    assert!(listed.status.success());
    assert_eq!(listed.stdout.iter().filter(|&&byte| byte == b'\n').count(), SIDE.pow(3));
}

#[test]
fn a_directory_too_long_to_list_is_an_error_and_its_files_are_there() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let demo = start(of_chunks([101, 100, 100]));
    let mounted = mount(&demo);
    let path = mounted.root().join("grayscale/precomputed/8_8_8");
    let directory = File::open(&path).unwrap();
    let mut n_names = 0;
    let ended = each_name(&directory, 0, &mut vec![MaybeUninit::uninit(); 4096], |_| {
        n_names += 1;
        true
    });
    assert_eq!((ended, n_names), (Err(rustix::io::Errno::FBIG), 0));
    assert_eq!(path.join("0-64_0-64_0-64").metadata().unwrap().len(), 64 * 64 * 64);
    assert!(path.join("6336-6400_6336-6400_6400-6464").exists());
    assert!(!path.join("6336-6400_6336-6400_6464-6528").exists());
}

/// Any name that a server may give, the worse the likelier.
fn hostile_name(random: &mut Random) -> String {
    const PARTS: [&str; 30] = [
        "/",
        "%",
        "%2F",
        ".",
        "..",
        "\0",
        "\n",
        "\u{1b}[2J",
        "\u{7f}",
        "\u{85}",
        "?",
        "*",
        "\\",
        "\u{202e}",
        "\u{200b}",
        "\u{feff}",
        "e\u{301}",
        "é",
        "日本",
        "😀",
        " ",
        "a",
        "B",
        "b",
        "info",
        ".zgroup",
        "\u{e000}",
        "~",
        "-",
        "\u{ad}",
    ];
    let n_parts = 1 + random.below(6);
    let name: String =
        (0..n_parts).map(|_| PARTS[usize::try_from(random.below(PARTS.len() as u64)).unwrap()]).collect();
    if random.below(50) == 0 { name.repeat(60) } else { name }
}

/// The name that an escaped one stands for, by the rule of the documentation; `None` for a shortened one.
fn unescaped(name: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), name.as_bytes());
    while let Some((&byte, behind)) = rest.split_first() {
        if byte == b'%' {
            let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok())?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &behind[2..];
        } else {
            bytes.push(byte);
            rest = behind;
        }
    }
    String::from_utf8(bytes).ok()
}

#[test]
fn thousands_of_hostile_names_are_listed_as_they_can_be_and_told_apart() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(240));
    let mut random = Random(26);
    let n_names = if is_long() { 20_000 } else { 3_000 };
    let mut wanted = BTreeSet::new();
    while wanted.len() < n_names {
        wanted.insert(hostile_name(&mut random));
    }
    let spec = Dataset::test().instance("kv").unwrap();
    let named = |name: &String| InstanceSpec { name: name.clone(), ..spec.as_ref().clone() };
    let dataset = wanted.iter().fold(Dataset::test().only(&[]), |dataset, name| dataset.with_instance(named(name)));
    let demo = start(dataset);
    let mounted = mount(&demo);
    let listed = names(&File::open(mounted.root()).unwrap());
    let (mut shown, mut n_short) = (BTreeSet::new(), 0);
    for name in listed.iter().filter(|name| name.is_dir) {
        let text = name.name.to_str().expect("UTF-8");
        assert!(text.len() <= 255 && !text.chars().any(char::is_control), "{text:?}");
        if [".", "..", ".dvidfs"].contains(&text) {
            continue;
        }
        assert_eq!(status(&mounted.root().join(text)).ino, name.ino, "{text:?}");
        // A name with a slash can be in no request: of such an instance there is no more than this.
        let attrs = fs::read(mounted.root().join(text).join("attrs.json"));
        assert!(attrs.is_ok_and(|attrs| !attrs.is_empty()), "{text:?} has no attrs.json");
        match unescaped(text).filter(|name| wanted.contains(name)) {
            Some(name) => assert!(shown.insert(name), "{text:?} is another name's, too"),
            None => n_short += 1,
        }
    }
    figure(
        "R26",
        format!("{n_names} hostile names shown, {} told back, {n_short} shortened", shown.len()),
        "10^6 names, 0 lost",
    );
    assert_eq!(shown.len() + n_short, n_names, "a name is missing");
    let shortest_lost = wanted.iter().filter(|name| !shown.contains(*name)).map(String::len).min();
    assert!(shortest_lost.is_none_or(|length| length > 84), "a name of {shortest_lost:?} bytes cannot be told back");
}
