//! Panics in the filesystem's own code: a handler, a fetch, and with a lock held (I6-I8). Nothing of the program is
//! changed for it: what it calls through its own seams panics.

use std::ffi::OsStr;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dvidfs::cache::{BlockCache, BlockRequest, CacheConfig, SourceId};
use dvidfs::dvid::{Block, BlockForm, Error as DvidError, FetchBlocks, Freshness, View};
use dvidfs::fuse::{self, Ending, MountOptions, Serve};
use dvidfs::geometry::{BlockBox, BlockIndex, Coordinate, Scale};
use dvidfs::metrics::{Counter, Metrics};
use dvidfs::vfs::{Attributes, ByteRange, Caching, DirEntry, Error, Lasting, Opened, ThenBytes, Totals};
use dvidfs::voxels::{Dtype, Volume};
use nix::libc;

use crate::support::{Scratch, can_mount, figure, survival, time_limit};

const EDGE: i64 = 16;
const FILE_BYTES: usize = 4096;
const N_FILES: u64 = 400;

/// Where a panic comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Handler,
    Fetch,
    /// Asked how long its blocks last, which the cache does with its lock held.
    UnderLock,
}

/// Panics so many times, if it is the right place.
#[derive(Debug)]
struct Bomb {
    place: Place,
    left: AtomicUsize,
    n: AtomicU64,
}

impl Bomb {
    fn pass(&self, place: Place) {
        let less = |left: usize| left.checked_sub(1);
        if place == self.place && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            self.n.fetch_add(1, Ordering::SeqCst);
            panic!("made to panic: {place:?}");
        }
    }
}

/// Blocks whose bytes are their number.
#[derive(Debug)]
struct Source(Arc<Bomb>);

impl FetchBlocks for Source {
    fn form(&self) -> BlockForm {
        BlockForm { dtype: Dtype::Uint8, channels: None, block_shape: Coordinate::splat(EDGE), blocks_per_request: 4 }
    }
    fn freshness(&self) -> Freshness {
        self.0.pass(Place::UnderLock);
        Freshness::Forever
    }
    fn stored_as(&self, view: View) -> View {
        view
    }
    fn fetch_blocks(&self, _: View, _: Scale, blocks: BlockBox) -> Result<Vec<Block>, DvidError> {
        self.0.pass(Place::Fetch);
        let volume = |block: BlockIndex| {
            let bytes = vec![byte_of(block.0.x().unsigned_abs()); FILE_BYTES];
            Block::Dense(Arc::new(Volume::with_channels(Dtype::Uint8, None, Coordinate::splat(EDGE), bytes).unwrap()))
        };
        Ok(blocks.blocks().map(volume).collect())
    }
    fn is_ready(&self, _: View) -> bool {
        true
    }
    fn prepare(&self, _: View) -> Result<(), DvidError> {
        Ok(())
    }
    fn decode(&self, _: View, block: &Block) -> Result<Arc<Volume>, DvidError> {
        match block {
            Block::Dense(volume) => Ok(Arc::clone(volume)),
            Block::Absent | Block::Labels(_) => unreachable!("all blocks are dense"),
        }
    }
}

fn byte_of(n: u64) -> u8 {
    u8::try_from(n % 251).unwrap()
}

/// A directory of files, one block each.
#[derive(Debug)]
struct Tree {
    cache: Arc<BlockCache>,
    source: SourceId,
    bomb: Arc<Bomb>,
}

impl Serve for Tree {
    fn lookup(&self, _: u64, name: &OsStr) -> Result<(Attributes, Lasting), Error> {
        let n = name.to_str().and_then(|name| name.parse::<u64>().ok()).filter(|&n| n < N_FILES);
        self.attributes(n.ok_or(Error::NoSuchName)? + 2)
    }
    fn attributes(&self, ino: u64) -> Result<(Attributes, Lasting), Error> {
        let (size, is_dir) = if ino == 1 { (0, true) } else { (FILE_BYTES as u64, false) };
        let nlink = if is_dir { 2 } else { 1 };
        Ok((Attributes { ino, size, blocks: size / 512, mtime_s: 0, is_dir, nlink }, Lasting::Forever))
    }
    fn read_dir(&self, _: u64, _: u64, _: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<(), Error> {
        Ok(())
    }
    fn open(&self, _: u64) -> Result<Opened, Error> {
        Ok(Opened { fh: 0, caching: Caching::Direct })
    }
    fn open_dir(&self, _: u64) -> Result<Caching, Error> {
        Ok(Caching::Keep)
    }
    fn release(&self, _: u64) {}
    fn read(&self, ino: u64, _: u64, range: ByteRange, then: ThenBytes) {
        self.bomb.pass(Place::Handler);
        let end = (range.offset + u64::from(range.size)).min(FILE_BYTES as u64);
        let window = usize::try_from(range.offset.min(end)).unwrap()..usize::try_from(end).unwrap();
        let block = BlockIndex(Coordinate::new(0, 0, i64::try_from(ino - 2).unwrap()));
        let request = BlockRequest { source: self.source, view: View::Stored, scale: Scale::FULL, blocks: vec![block] };
        let path = (ino - 2).to_string();
        self.cache.get_many(
            request,
            Box::new(move |blocks| {
                let failed = |source| dvidfs::array::Error::Fetch { array: "blocks".into(), source };
                let blocks = blocks.map_err(|source| Error::Array { path, source: failed(source) });
                then(blocks.map(|blocks| blocks[0].as_ref().unwrap().bytes()[window].to_vec()));
            }),
        );
    }
    fn refused(&self, _: u64, _: ByteRange, _: &Error) {}
    fn statfs(&self) -> Totals {
        Totals { total_bytes: 0, files: 0 }
    }
}

fn n_threads() -> usize {
    fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(Result::ok)
        .filter(|task| {
            let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            // Those of the cache and of the mount, not those of other tests.
            name.starts_with("dvidfs-") || name.starts_with("fuse") || name.starts_with("kill-poll")
        })
        .count()
}

/// A hundred panics at one place, under 16 readers: EIO or the right bytes for each, and everybody still at work.
fn survives(id: &'static str, place: Place) {
    let bomb = Arc::new(Bomb { place, left: AtomicUsize::new(0), n: AtomicU64::new(0) });
    let metrics = Arc::new(Metrics::default());
    // So little memory that blocks are fetched again and again.
    let config = CacheConfig {
        memory_bytes: 64 << 10,
        prefetch: false,
        failure_memory: Duration::ZERO,
        ..CacheConfig::default()
    };
    let cache = BlockCache::new(config, Arc::clone(&metrics));
    let source = cache.add_source(Arc::new(Source(Arc::clone(&bomb))));
    let scratch = Scratch::new();
    let tree = Arc::new(Tree { cache: Arc::clone(&cache), source, bomb: Arc::clone(&bomb) });
    let mounted = fuse::mount(tree, &scratch.mountpoint(), &MountOptions::default(), Arc::clone(&metrics)).unwrap();
    let stopper = mounted.stopper();
    let served = std::thread::spawn(move || mounted.run());
    let root = scratch.mountpoint();
    let read = |n: u64| fs::read(root.join(n.to_string()));
    let is_right = |n: u64, bytes: &[u8]| bytes == vec![byte_of(n); FILE_BYTES];
    assert!(is_right(0, &read(0).unwrap()), "{id}");
    let before = n_threads();
    bomb.left.store(100, Ordering::SeqCst);
    let failed: u64 = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..16_u64)
            .map(|reader| {
                let read = &read;
                scope.spawn(move || {
                    let mut failed = 0;
                    for n in (0..N_FILES).filter(|n| n % 16 == reader) {
                        match read(n) {
                            Ok(bytes) => assert!(is_right(n, &bytes), "{id}: wrong bytes of {n}"),
                            Err(error) => {
                                assert_eq!(error.raw_os_error(), Some(libc::EIO), "{id}");
                                failed += 1;
                            }
                        }
                    }
                    failed
                })
            })
            .collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).sum()
    });
    let n = bomb.n.load(Ordering::SeqCst);
    assert_eq!((n, metrics.get(Counter::Panics)), (100, 100), "{id}: each happened and was counted");
    assert!((1..=100 * 4).contains(&failed), "{id}: {failed} failed reads");
    for n in 0..N_FILES {
        assert!(is_right(n, &read(n).unwrap()), "{id}: after it everything is right");
    }
    let end = Instant::now() + Duration::from_secs(5);
    while n_threads() != before {
        assert!(Instant::now() < end, "{id}: {before} threads became {}", n_threads());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(metrics.events_to_json()["panics"]["last"].is_f64(), "{id}: `dvidfs check` tells of it");
    stopper.stop();
    assert_eq!(served.join().unwrap(), Ending::Stopped, "{id}");
    figure("R16", format!("{id}: 100 of 100 panics survived, {failed} reads failed with EIO"), "300 of 300");
    survival::report(id, (2 * N_FILES - failed) * FILE_BYTES as u64);
}

#[test]
fn a_panic_costs_its_own_request_and_nothing_else() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    // What is made to panic is not worth its words in the output of the tests.
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let is_made = info.payload_as_str().is_some_and(|words| words.starts_with("made to panic"));
        if !is_made {
            told(info);
        }
    }));
    survives("I6", Place::Handler);
    survives("I7", Place::Fetch);
    survives("I8", Place::UnderLock);
}
