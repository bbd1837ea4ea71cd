//! Which body a supervoxel belongs to: the mapping of one labelmap at one version, as it is downloaded.
//!
//! Whether a mapping may be believed is the matter of `gate.rs`.

use std::collections::HashSet;
use std::io::{self, Read};

use super::error::{Error, ErrorKind};
use super::http::Server;
use super::http_config::Ask;

/// Supervoxel and body, each u64 little-endian.
const ENTRY_BYTES: usize = 16;
/// Bytes read at a time; a whole number of entries.
const PIECE_BYTES: usize = 1 << 20;
/// No mapping has more entries: 2^38 supervoxels.
const MAX_DOWNLOAD_BYTES: u64 = 1 << 42;

/// What two downloads of a mapping have in common if they are the same: the server sends the entries in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest {
    /// Entries.
    pub(super) n_entries: u64,
    pub(super) sum: u64,
    pub(super) xor: u64,
}

impl Digest {
    fn add(&mut self, supervoxel: u64, body: u64) {
        let mixed = mix(mix(supervoxel) ^ body.rotate_left(32));
        self.n_entries += 1;
        self.sum = self.sum.wrapping_add(mixed);
        self.xor ^= mix(mixed);
    }

    /// Whether two downloads of a mapping that is edited meanwhile are both whole: their counts differ by less than
    /// one in a thousand.
    pub(super) fn is_near(self, other: Self) -> bool {
        let larger = self.n_entries.max(other.n_entries);
        self.n_entries == other.n_entries || self.n_entries.abs_diff(other.n_entries).saturating_mul(1000) < larger
    }
}

/// The finalizer of splitmix64: every bit of the result depends on every bit of the input.
fn mix(mut n: u64) -> u64 {
    n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// A whole mapping in memory, 16 bytes an entry, sorted by supervoxel.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Table(Vec<(u64, u64)>);

impl Table {
    /// `None` if a supervoxel stands there twice.
    pub(super) fn new(mut entries: Vec<(u64, u64)>) -> Option<Self> {
        entries.sort_unstable_by_key(|&(supervoxel, _)| supervoxel);
        let is_repeated = entries.windows(2).any(|pair| pair[0].0 == pair[1].0);
        (!is_repeated).then_some(Self(entries))
    }

    /// What a download of this mapping has in common with others of it.
    pub(super) fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        self.0.iter().for_each(|&(supervoxel, body)| digest.add(supervoxel, body));
        digest
    }

    /// All of it, sorted by supervoxel.
    pub(super) fn entries(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// The body of a supervoxel: 0 of 0, the one that is listed (0 included), itself if none is.
    pub(super) fn body_of(&self, supervoxel: u64) -> u64 {
        if supervoxel == 0 {
            return 0;
        }
        match self.0.binary_search_by_key(&supervoxel, |&(key, _)| key) {
            Ok(position) => self.0[position].1,
            Err(_) => supervoxel,
        }
    }

    /// The bodies of these supervoxels, in their order.
    pub(super) fn bodies_of(&self, supervoxels: &[u64]) -> Vec<u64> {
        supervoxels.iter().map(|&supervoxel| self.body_of(supervoxel)).collect()
    }
}

/// Downloads the mapping of an instance (`/api/node/<uuid>/<instance>`) once, without holding it.
pub(super) fn download_digest(server: &Server, instance: &str) -> Result<Digest, Error> {
    let mut digest = Digest::default();
    download(server, instance, |supervoxel, body| digest.add(supervoxel, body))?;
    Ok(digest)
}

/// Downloads the mapping of an instance once and keeps it: the digest of all, and the first `n_entries`.
pub(super) fn download_table(server: &Server, instance: &str, n_entries: usize) -> Result<(Digest, Table), Error> {
    let mut digest = Digest::default();
    let mut entries = Vec::with_capacity(n_entries);
    download(server, instance, |supervoxel, body| {
        digest.add(supervoxel, body);
        if entries.len() < n_entries {
            entries.push((supervoxel, body));
        }
    })?;
    let table = Table::new(entries).ok_or_else(|| {
        Error::new(ErrorKind::Malformed, mappings_path(instance)).with_detail("a supervoxel is listed twice")
    })?;
    Ok((digest, table))
}

fn mappings_path(instance: &str) -> String {
    format!("{instance}/mappings?format=binary")
}

fn download(server: &Server, instance: &str, mut entry: impl FnMut(u64, u64)) -> Result<(), Error> {
    let path = mappings_path(instance);
    let ask =
        Ask { path: &path, body: None, first_byte: server.config().mapping_first_byte, limit: MAX_DOWNLOAD_BYTES };
    let mut left_over = 0;
    server.ask(&ask, |reader, _| {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let filled = fill(reader, &mut piece)?;
            let (entries, rest) = piece[..filled].as_chunks::<ENTRY_BYTES>();
            for bytes in entries {
                let (supervoxel, body) = bytes.split_at(8);
                entry(number(supervoxel), number(body));
            }
            left_over = rest.len();
            if filled < PIECE_BYTES {
                return Ok(());
            }
        }
    })?;
    if left_over == 0 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Malformed, path).with_detail(format!("{left_over} bytes behind the last entry")))
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("half an entry is 8 bytes"))
}

/// Fills the buffer as far as the answer goes.
fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

/// Asks the server for the bodies of these supervoxels, which are not 0 and stand there once each.
pub(super) fn look_up(server: &Server, instance: &str, supervoxels: &[u64]) -> Result<Vec<u64>, Error> {
    debug_assert_eq!(supervoxels.iter().collect::<HashSet<_>>().len(), supervoxels.len(), "each once");
    let path = format!("{instance}/mapping?nolookup=true");
    let malformed = || Error::new(ErrorKind::Malformed, &path);
    let question = serde_json::to_vec(supervoxels).expect("numbers are JSON");
    // A u64 has at most 20 digits; a comma, and room for white space.
    let limit = supervoxels.len() as u64 * 24 + 1024;
    let ask = Ask { path: &path, body: Some(&question), first_byte: server.config().mapping_first_byte, limit };
    let mut answer = vec![];
    server.ask_into(&ask, &mut answer)?;
    let bodies: Vec<u64> = serde_json::from_slice(&answer).map_err(|error| malformed().with_source(error))?;
    if bodies.len() == supervoxels.len() {
        return Ok(bodies);
    }
    Err(malformed().with_detail(format!("{} bodies for {} supervoxels", bodies.len(), supervoxels.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_stays_zero_and_an_unlisted_supervoxel_is_itself() {
        let table = Table::new(vec![(9, 2), (4, 0), (7, u64::MAX), (0, 5)]).unwrap();
        assert_eq!(table.bodies_of(&[0, 4, 7, 9, 8, u64::MAX]), [0, 0, u64::MAX, 2, 8, u64::MAX]);
        assert_eq!(Table::default().bodies_of(&[3, 0]), [3, 0]);
    }

    #[test]
    fn a_supervoxel_that_is_listed_twice_is_refused() {
        assert_eq!(Table::new(vec![(9, 2), (4, 0), (9, 2)]), None);
    }

    fn digest_of(entries: &[(u64, u64)]) -> Digest {
        let mut digest = Digest::default();
        entries.iter().for_each(|&(supervoxel, body)| digest.add(supervoxel, body));
        digest
    }

    #[test]
    fn a_digest_sees_every_change_but_the_order() {
        let entries = [(1, 10), (2, 10), (3, 12), (4, 0)];
        assert_eq!(digest_of(&entries), digest_of(&[(4, 0), (2, 10), (1, 10), (3, 12)]));
        for changed in [
            [(1, 10), (2, 10), (3, 12), (4, 1)],
            [(1, 10), (2, 12), (3, 10), (4, 0)],
            [(10, 1), (2, 10), (3, 12), (4, 0)],
            [(1, 10), (1, 10), (3, 12), (4, 0)],
        ] {
            assert_ne!(digest_of(&entries), digest_of(&changed), "{changed:?}");
        }
        assert_ne!(digest_of(&entries), digest_of(&entries[..3]));
    }

    #[test]
    fn edits_change_few_entries_and_loading_many() {
        let of = |n_entries| Digest { n_entries, ..Digest::default() };
        assert!(of(100_000).is_near(of(100_099)));
        assert!(of(100_000).is_near(of(99_901)));
        assert!(!of(100_000).is_near(of(100_101)));
        assert!(!of(0).is_near(of(1)));
        assert!(of(0).is_near(of(0)));
    }
}
