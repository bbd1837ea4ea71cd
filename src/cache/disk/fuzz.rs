//! Fuzz target `cache_entry`: a file is believed only if it is what was written for its key, to the last byte.

use crate::dvid::Identity;
use crate::fuzz::{Input, KIB, Peak, Target};
use crate::geometry::{BlockIndex, Coordinate, Scale};

use super::config::DiskConfig;
use super::entry::{self, Entry, LONGEST_HEADER};
use super::key::EntryKey;
use super::seal::Seal;

/// What is tried, in one byte; which key; then the file, or what it is made and spoilt by.
pub(crate) const CACHE_ENTRY: Target = Target { name: "cache_entry", run, seeds };

fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let what = input.u8();
    let key = key(&mut input);
    let seal = if what & 4 == 0 { Seal::Plain } else { Seal::Keyed(DiskConfig::key_of(b"a secret")) };
    match what % 4 {
        0 => any_file(&seal, &key, input.rest()),
        1 => any_header(&seal, &key, input),
        2 => another_key(&seal, &key, input),
        _ => spoilt(&seal, &key, input),
    }
}

/// One of many keys.
fn key(input: &mut Input<'_>) -> EntryKey {
    let [kind, scale, x] = input.array::<3>();
    let identity = Identity {
        root: "a7c1".into(),
        data_uuid: "0f1e".into(),
        version: "2884".into(),
        typename: if kind & 8 == 0 { "uint8blk".into() } else { "labelmap".into() },
        values: "uint8x1 64,64,64".into(),
        encoding: 16,
    };
    match kind % 3 {
        0 => EntryKey::block(&identity, Scale(scale), BlockIndex(Coordinate::new(0, -1, i64::from(x)))),
        1 => EntryKey::mapping_head(&identity),
        _ => EntryKey::mapping_part(&identity, x.into()),
    }
}

/// The whole file of an entry.
fn written(seal: &Seal, key: &EntryKey, entry: Entry<'_>) -> Vec<u8> {
    [&entry::header(seal, key, entry), entry.payload].concat()
}

/// Whatever the file: what is found in it makes the same file again.
fn any_file(seal: &Seal, key: &EntryKey, file: &[u8]) {
    let of_this = Peak::of(|| entry::parse(seal, key, file).ok()).at_most(LONGEST_HEADER + 64 * KIB);
    let of_any = entry::parse_any(seal, file).ok();
    if let Some(found) = of_this {
        assert_eq!(written(seal, key, found), file);
        assert_eq!(of_any, Some((key.clone(), found)));
    }
    if let Some((other, found)) = &of_any {
        assert_eq!(written(seal, other, *found), file);
        assert_eq!(of_this.is_some(), other == key);
        let _ = other.fields();
    }
    if let Ok(header) = entry::parse_header(seal, file) {
        assert!(header.length <= LONGEST_HEADER && header.length <= file.len());
        assert_eq!(header.length, entry::header_bytes(seal, &header.key));
    }
    if entry::is_sealed_otherwise(seal, file) {
        assert_eq!(of_any, None);
    }
}

/// A header of any fields, behind which its right sum stands: no checksum keeps it from being looked at.
fn any_header(seal: &Seal, key: &EntryKey, mut input: Input<'_>) {
    let payload = input.bytes(16).to_vec();
    let right = Entry { encoding: input.u8(), decoded_bytes: input.u64(), payload: &payload };
    let mut header = entry::header(seal, key, right);
    header.truncate(header.len() - seal.sum_bytes());
    let n = header.len();
    // Up to four places are overwritten, and the length may be another.
    for _ in 0..input.u8() % 5 {
        let (at, new) = (input.below(n), input.u16().to_le_bytes());
        header[at] = new[0];
        if let Some(next) = header.get_mut(at + 1) {
            *next = new[1];
        }
    }
    let claimed = u32::from_le_bytes(header[8..12].try_into().expect("four bytes"));
    let summed = usize::try_from(claimed).unwrap_or(0).saturating_sub(seal.sum_bytes());
    header.resize(if (20..5000).contains(&summed) { summed } else { n }, input.u8());
    header.extend_from_slice(&seal.sum(&header));
    any_file(seal, key, &[&header, &payload[..]].concat());
}

/// The entry of a key is none of another.
fn another_key(seal: &Seal, wanted: &EntryKey, mut input: Input<'_>) {
    let other = key(&mut input);
    let (encoding, decoded_bytes) = (input.u8(), input.u64());
    let entry = Entry { encoding, decoded_bytes, payload: input.rest() };
    let file = written(seal, &other, entry);
    let found = entry::parse(seal, wanted, &file).ok();
    assert_eq!(found, (other == *wanted).then_some(entry));
    assert_eq!(seal.name(&other) == seal.name(wanted), other == *wanted);
    let fields = other.fields().expect("a key of ours has whole fields");
    let joined = fields
        .iter()
        .flat_map(|field| [&u32::to_le_bytes(u32::try_from(field.len()).expect("short")), *field].concat());
    assert_eq!(joined.collect::<Vec<_>>(), other.bytes());
    any_file(seal, wanted, &file);
}

/// A right file with one edit is right no more.
fn spoilt(seal: &Seal, key: &EntryKey, mut input: Input<'_>) {
    let (at, n, edit, with) = (input.below(1 << 16), 1 + input.below(40), input.u8(), input.array::<4>());
    let entry = Entry { encoding: 16, decoded_bytes: 4096, payload: input.rest() };
    let right = written(seal, key, entry);
    assert_eq!(entry::parse(seal, key, &right), Ok(entry));
    let mut file = right.clone();
    let at = at % (right.len() + 1);
    let end = (at + n).min(right.len());
    match edit % 6 {
        0 => file.truncate(at),
        1 => file.extend_from_slice(&with),
        2 => drop(file.drain(at..end)),
        3 => drop(file.splice(at..at, with)),
        4 if at < right.len() => file[at] ^= 1 << (n % 8),
        _ => {
            let n = with.len().min(right.len() - at);
            file[at..at + n].copy_from_slice(&with[..n]);
        }
    }
    assert_eq!(entry::parse(seal, key, &file).is_ok(), file == right);
    any_file(seal, key, &file);
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for what in 0..8 {
        for kind in 0..3 {
            let head = [what, kind, 0, 5];
            let seal = if what & 4 == 0 { Seal::Plain } else { Seal::Keyed(DiskConfig::key_of(b"a secret")) };
            let key = key(&mut Input::new(&head[1..]));
            let file = written(&seal, &key, Entry { encoding: 16, decoded_bytes: 64, payload: b"0123456789abcdef" });
            seeds.push([&head[..], &file].concat());
            seeds.push([&head[..], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]].concat());
        }
    }
    seeds
}
