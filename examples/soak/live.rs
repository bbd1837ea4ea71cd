//! An instance of the open node whose voxels all change again and again: an answer may hold a version only if that was
//! current within the ttl.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::oracle::{chunk_of, file_values, levels};
use super::random::Random;
use super::readers::{Tally, open};
use super::server::{Amount, LIVE, OPEN, Server, dataset};
use super::sky::Sky;
use super::{Clock, Outcome};
use dvidfs::geometry::{Coordinate, VoxelBox};

/// What the mount is given as `--ttl`.
pub(crate) const TTL: Duration = Duration::from_secs(2);
/// Beyond it, for the machine.
const SLACK: Duration = Duration::from_secs(1);
/// A read of so many bytes lies in one block, and is one request of the kernel: it is of one version.
const PIECE: usize = 64 << 10;
/// Versions differ by this in each voxel; 109 times this is 1 in a byte.
const STEP: u8 = 101;
const INVERSE: u8 = 109;

/// When the counter stood where: the last order to leave a version may have been obeyed until it was answered.
#[derive(Default)]
pub(crate) struct Editions(Mutex<Vec<Stand>>);

struct Stand {
    edition: u8,
    from: Instant,
    until: Option<Instant>,
}

impl Editions {
    /// Moves the counter every so often.
    pub(crate) fn move_on(&self, server: &Mutex<Server>, clock: &Clock, mut random: Random) -> Outcome<u64> {
        let mut n = 0;
        self.lock().push(Stand { edition: 0, from: clock.began, until: None });
        while clock.sleep(Duration::from_millis(500 + random.below(2500))) {
            n += 1;
            let edition = u8::try_from(n % 256)?;
            let mut server = server.lock().map_err(|_| "a thread panicked with the server")?;
            self.lock().push(Stand { edition, from: Instant::now(), until: None });
            server.set_edition(edition)?;
            let now = Instant::now();
            let mut stands = self.lock();
            let last = stands.len() - 1;
            stands[last - 1].until = Some(now);
        }
        Ok(n)
    }

    /// How old this version was at most at the beginning of a read in this time: zero if it was current then or later.
    fn age(&self, edition: u8, (from, until): (Instant, Instant)) -> Option<Duration> {
        let stands = self.lock();
        let of_it = stands.iter().filter(|stand| stand.edition == edition && stand.from <= until);
        of_it.map(|stand| stand.until.map_or(Duration::ZERO, |end| from.saturating_duration_since(end))).min()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Stand>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A chunk file: the voxels of version 0, or `None` outside the data.
struct Chunk {
    path: PathBuf,
    voxels: Vec<Option<u8>>,
}

/// What the readers of the open node share.
pub(crate) struct Live<'a> {
    mount: (usize, &'a Path),
    chunks: Vec<Chunk>,
    /// Held for writing while there is no mount, dead or alive.
    gate: &'a RwLock<()>,
    editions: &'a Editions,
    sky: &'a Sky,
    tally: &'a Tally,
    oldest: Mutex<(u64, Duration)>,
}

impl<'a> Live<'a> {
    pub(crate) fn new(
        mount: (usize, &'a Path),
        gate: &'a RwLock<()>,
        editions: &'a Editions,
        (sky, tally): (&'a Sky, &'a Tally),
    ) -> Self {
        // It is the same in each amount.
        let dataset = dataset(Amount::Small, 0);
        let spec = dataset.instance(LIVE).expect("it is served");
        let level = &levels(&mount.1.join(LIVE))[0];
        let chunk = |index: Coordinate| {
            let chunk = chunk_of(level, index);
            let values = file_values(&dataset, OPEN, &spec, level.scale, false, chunk.voxels);
            let voxels = chunk.voxels.indices().zip(values);
            let voxels = voxels.map(|(voxel, value)| spec.data.contains_voxel(voxel).then_some(value)).collect();
            let path = chunk.path.strip_prefix(mount.1).expect("below the root").to_owned();
            Chunk { path, voxels }
        };
        let n_chunks = level.shape.div_ceil(level.chunk_shape);
        let all = VoxelBox::from_shape(Coordinate::ZERO, n_chunks).expect("a positive shape");
        let chunks = all.indices().map(chunk).collect();
        Self { mount, chunks, gate, editions, sky, tally, oldest: Mutex::default() }
    }

    /// Pieces that were compared, and how old the oldest version was at the beginning of its read.
    pub(crate) fn oldest(&self) -> (u64, Duration) {
        *self.oldest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads until the time is over.
    pub(crate) fn go_on(&self, clock: &Clock, mut random: Random) {
        while !clock.is_over() {
            let chunk = &self.chunks[usize::try_from(random.below(self.chunks.len() as u64)).unwrap_or(0)];
            let n_pieces = (chunk.voxels.len() / PIECE) as u64;
            let at = usize::try_from(random.below(n_pieces)).unwrap_or(0) * PIECE;
            let gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
            let began = Instant::now();
            let mut bytes = vec![0; PIECE];
            let read = open(&self.mount.1.join(&chunk.path), false)
                .and_then(|file| std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, at as u64));
            drop(gate);
            let time = (began, Instant::now());
            let place = || format!("{} at {at}", chunk.path.display());
            self.tally.took(self.sky.clear_time(self.mount.0, time.0, time.1), place);
            match read {
                Ok(()) => self.compare(&bytes, &chunk.voxels[at..at + PIECE], time, &place()),
                Err(error) => {
                    let excuse = self.sky.excuse(self.mount.0, time, error.raw_os_error().unwrap_or(0));
                    self.tally.failed(excuse, format!("{}: {error}", place()));
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            // Without this the readers of an open node would ask for nothing else.
            std::thread::sleep(Duration::from_millis(random.below(30)));
        }
    }

    fn compare(&self, got: &[u8], voxels: &[Option<u8>], time: (Instant, Instant), place: &str) {
        let edition = got
            .iter()
            .zip(voxels)
            .find_map(|(got, voxel)| Some(got.wrapping_sub((*voxel)?).wrapping_mul(INVERSE)))
            .unwrap_or(0);
        let is_right = |(got, voxel): (&u8, &Option<u8>)| {
            *got == voxel.map_or(0, |first| first.wrapping_add(edition.wrapping_mul(STEP)))
        };
        let n_wrong = got.iter().zip(voxels).filter(|&pair| !is_right(pair)).count() as u64;
        if n_wrong > 0 {
            self.tally.wrong(n_wrong, format!("{place}: {n_wrong} voxels of another version than {edition}"));
        }
        self.tally.add(|sums| sums.oracle_bytes += got.len() as u64);
        if voxels.iter().all(Option::is_none) {
            return;
        }
        let age = self.editions.age(edition, time);
        if age.is_none_or(|age| age > TTL + SLACK) {
            self.tally.wrong(got.len() as u64, format!("{place}: version {edition}, which was current {age:?} before"));
        }
        let mut oldest = self.oldest.lock().unwrap_or_else(PoisonError::into_inner);
        *oldest = (oldest.0 + 1, oldest.1.max(age.unwrap_or(Duration::MAX)));
    }
}
