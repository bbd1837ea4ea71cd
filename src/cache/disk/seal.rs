//! Checksums of entries, and the names under which they lie.

use xxhash_rust::xxh3::xxh3_128;

use super::key::EntryKey;

/// Two characters that name the shard, then the rest.
const SHARD_CHARS: usize = 2;
/// Hexadecimal digits of a whole name.
const NAME_CHARS: usize = 64;

/// How entries are proved to be whole: against accidents, or also against others who can write where they lie.
#[derive(Clone)]
pub(super) enum Seal {
    /// XXH3-128.
    Plain,
    /// BLAKE3 with a key that only we know.
    Keyed(Box<[u8; 32]>),
}

/// Where an entry lies: `hh/` and 62 more hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Name(String);

impl Seal {
    /// The name of the entry of this key. Those of another seal have other names.
    pub(super) fn name(&self, key: &EntryKey) -> Name {
        let hash = match self {
            Self::Plain => blake3::hash(key.bytes()),
            Self::Keyed(secret) => blake3::keyed_hash(secret, key.bytes()),
        };
        let hex = hash.to_hex();
        Name(format!("{}/{}", &hex[..SHARD_CHARS], &hex[SHARD_CHARS..]))
    }

    /// Bytes of a sum.
    pub(super) fn sum_bytes(&self) -> usize {
        match self {
            Self::Plain => 16,
            Self::Keyed(_) => 32,
        }
    }

    /// The sum of these bytes.
    pub(super) fn sum(&self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => xxh3_128(bytes).to_le_bytes().to_vec(),
            Self::Keyed(secret) => blake3::keyed_hash(secret, bytes).as_bytes().to_vec(),
        }
    }

    /// Whether this is the sum of these bytes.
    pub(super) fn agrees(&self, bytes: &[u8], sum: &[u8]) -> bool {
        match self {
            Self::Plain => sum == xxh3_128(bytes).to_le_bytes(),
            // Compares in constant time.
            Self::Keyed(secret) => {
                <[u8; 32]>::try_from(sum).is_ok_and(|sum| blake3::keyed_hash(secret, bytes) == blake3::Hash::from(sum))
            }
        }
    }
}

impl std::fmt::Debug for Seal {
    /// Never the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            Self::Keyed(_) => "Keyed",
        })
    }
}

impl Name {
    /// The name of a file in a shard, if it is that of an entry.
    pub(super) fn in_shard(shard: u8, file: &str) -> Option<Self> {
        let is_hex = file.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (is_hex && file.len() == NAME_CHARS - SHARD_CHARS).then(|| Self(format!("{}/{file}", shard_name(shard))))
    }

    /// `hh/…`, below the directory of the cache.
    pub(super) fn path(&self) -> &str {
        &self.0
    }

    /// The shard that it lies in.
    pub(super) fn shard(&self) -> &str {
        &self.0[..SHARD_CHARS]
    }

    /// Its name in the shard.
    pub(super) fn file(&self) -> &str {
        &self.0[SHARD_CHARS + 1..]
    }
}

/// The directory of a shard.
pub(super) fn shard_name(shard: u8) -> String {
    format!("{shard:02x}")
}
