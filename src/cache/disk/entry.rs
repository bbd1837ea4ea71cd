//! The bytes of an entry. Pure.
//!
//! ```text
//! 0   8  DVFSBLK1
//! 8   4  length of the header                     all numbers little-endian
//! 12  2  format
//! 14  1  how its sums are made: 0 XXH3-128 (16 bytes), 1 keyed BLAKE3 (32 bytes)
//! 15  1  what the payload is, by the codes of `dvid`
//! 16  4  length of the key
//! 20     the key: fields, each behind its length
//!     8  length of the payload
//!     8  what it was when it was decoded, in bytes
//!        sum of the payload
//!        sum of all before it
//!        the payload, as the server sent it
//! ```
//!
//! Nothing of it is believed that does not agree to the last byte.

use super::key::{EntryKey, FORMAT};
use super::seal::Seal;

/// How a file of this cache begins, of whatever format.
const MAGIC: &[u8] = b"DVFSBLK1";
/// All before the key.
const FIXED_BYTES: usize = 20;
/// The two lengths behind the key.
const LENGTHS_BYTES: usize = 16;
/// No header is longer: names of types and shapes are short.
pub(super) const LONGEST_HEADER: usize = 4096;

/// An entry whose every byte agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// What the payload is, by the codes of `dvid`.
    pub(super) encoding: u8,
    /// What it was when it was decoded, in bytes.
    pub(super) decoded_bytes: u64,
    /// As the server sent it.
    pub(super) payload: &'a [u8],
}

/// Why a file is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// A whole header of another format: not ours to read or to remove.
    OtherFormat,
    /// This does not agree.
    Damaged(&'static str),
}

/// All before the payload.
pub(super) fn header(seal: &Seal, key: &EntryKey, entry: Entry<'_>) -> Vec<u8> {
    let Entry { encoding, decoded_bytes, payload } = entry;
    let length = header_bytes(seal, key);
    let mut header = Vec::with_capacity(length);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&u32::try_from(length).expect("a header is short").to_le_bytes());
    header.extend_from_slice(&FORMAT.to_le_bytes());
    header.extend_from_slice(&[sum_kind(seal), encoding]);
    header.extend_from_slice(&u32::try_from(key.bytes().len()).expect("a key is short").to_le_bytes());
    header.extend_from_slice(key.bytes());
    header.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    header.extend_from_slice(&decoded_bytes.to_le_bytes());
    header.extend_from_slice(&seal.sum(payload));
    header.extend_from_slice(&seal.sum(&header));
    header
}

/// The length of a header with this key.
pub(super) fn header_bytes(seal: &Seal, key: &EntryKey) -> usize {
    FIXED_BYTES + key.bytes().len() + LENGTHS_BYTES + 2 * seal.sum_bytes()
}

/// The entry of a key, if the file is nothing else.
///
/// # Errors
/// See [`Refused`].
pub(super) fn parse<'a>(seal: &Seal, key: &EntryKey, file: &'a [u8]) -> Result<Entry<'a>, Refused> {
    let (found, entry) = parse_any(seal, file)?;
    if found == *key { Ok(entry) } else { Err(Refused::Damaged("it is the entry of something else")) }
}

/// The entry of whatever key, if the file is one.
///
/// # Errors
/// See [`Refused`].
pub(super) fn parse_any<'a>(seal: &Seal, file: &'a [u8]) -> Result<(EntryKey, Entry<'a>), Refused> {
    let Header { key, encoding, decoded_bytes, stored_bytes, payload_sum, length } = parse_header(seal, file)?;
    let payload = &file[length..];
    if stored_bytes != payload.len() as u64 {
        return Err(Refused::Damaged("it is not as long as its header says"));
    }
    if !seal.agrees(payload, payload_sum) {
        return Err(Refused::Damaged("its payload does not agree with its sum"));
    }
    Ok((key, Entry { encoding, decoded_bytes, payload }))
}

/// What a whole header says.
#[derive(Debug)]
pub(super) struct Header<'a> {
    pub(super) key: EntryKey,
    encoding: u8,
    decoded_bytes: u64,
    pub(super) stored_bytes: u64,
    payload_sum: &'a [u8],
    pub(super) length: usize,
}

/// The header at the begin of a file, of whatever key.
///
/// # Errors
/// See [`Refused`].
pub(super) fn parse_header<'a>(seal: &Seal, file: &'a [u8]) -> Result<Header<'a>, Refused> {
    let cut = Refused::Damaged("it is cut");
    let fixed = file.first_chunk::<FIXED_BYTES>().ok_or(cut)?;
    let number = |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]) as usize;
    if !fixed.starts_with(&MAGIC[..MAGIC.len() - 1]) {
        return Err(Refused::Damaged("it does not begin as an entry does"));
    }
    let length = number(8);
    if length < FIXED_BYTES + seal.sum_bytes() || length > LONGEST_HEADER {
        return Err(Refused::Damaged("the length of its header cannot be"));
    }
    let header = file.get(..length).ok_or(cut)?;
    let (summed, sum) = header.split_at(length - seal.sum_bytes());
    if !seal.agrees(summed, sum) {
        return Err(Refused::Damaged("its header does not agree with its sum"));
    }
    if !fixed.starts_with(MAGIC) || u16::from_le_bytes([fixed[12], fixed[13]]) != FORMAT {
        return Err(Refused::OtherFormat);
    }
    let inconsistent = Refused::Damaged("its lengths do not agree");
    if fixed[14] != sum_kind(seal) || length != FIXED_BYTES + number(16) + LENGTHS_BYTES + 2 * seal.sum_bytes() {
        return Err(inconsistent);
    }
    let (key, rest) = summed[FIXED_BYTES..].split_at_checked(number(16)).ok_or(inconsistent)?;
    let (stored_bytes, rest) = rest.split_first_chunk::<8>().ok_or(inconsistent)?;
    let (decoded_bytes, payload_sum) = rest.split_first_chunk::<8>().ok_or(inconsistent)?;
    Ok(Header {
        key: EntryKey::from_bytes(key),
        encoding: fixed[15],
        decoded_bytes: u64::from_le_bytes(*decoded_bytes),
        stored_bytes: u64::from_le_bytes(*stored_bytes),
        payload_sum,
        length,
    })
}

/// Whether an entry is sealed in another way: without its key nothing can be said about it.
pub(super) fn is_sealed_otherwise(seal: &Seal, file: &[u8]) -> bool {
    file.starts_with(MAGIC) && file.get(14).is_some_and(|&kind| kind <= 1 && kind != sum_kind(seal))
}

fn sum_kind(seal: &Seal) -> u8 {
    match seal {
        Seal::Plain => 0,
        Seal::Keyed(_) => 1,
    }
}
