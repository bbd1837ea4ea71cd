//! A source of blocks that records what it is asked, and fails, hangs and panics by script.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::cache::{BlockCache, BlockRequest, Blocks, CacheConfig, FetchError, SourceId};
use crate::dvid::{Block, BlockForm, Error, ErrorKind, FetchBlocks, Freshness, View};
use crate::geometry::{BlockBox, BlockIndex, Coordinate, Scale};
use crate::metrics::Metrics;
use crate::voxels::{Dtype, Volume};

/// What becomes of a request.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Give,
    Fail(ErrorKind),
    FailAfter(Duration, ErrorKind),
    Hang,
    Panic,
    OneShort,
}

pub(super) type Script = Box<dyn Fn(usize, BlockBox) -> Act + Send + Sync>;

pub(super) struct Fake {
    pub(super) form: BlockForm,
    pub(super) freshness: Freshness,
    /// Bodies are decoded from stored blocks; otherwise they are fetched as such.
    pub(super) maps_here: bool,
    pub(super) delay: Duration,
    pub(super) script: Mutex<Script>,
    pub(super) calls: Mutex<Vec<(View, BlockBox, Instant)>>,
    pub(super) hanging: Mutex<bool>,
    pub(super) released: Condvar,
    pub(super) running: AtomicUsize,
    pub(super) most_running: AtomicUsize,
    pub(super) ready: AtomicBool,
    pub(super) prepared: AtomicUsize,
    /// So many attempts to make bodies ready fail first.
    pub(super) unprepared: usize,
    pub(super) decoded: AtomicUsize,
    /// The next question whether a view is ready panics.
    pub(super) readiness_panics: AtomicBool,
    /// The same, where a view is made ready.
    pub(super) preparing_panics: AtomicBool,
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}

pub(super) const SHAPE: Coordinate = Coordinate::splat(8);
pub(super) const BLOCK_BYTES: usize = 512;

impl Fake {
    pub(super) fn new() -> Self {
        Self {
            form: BlockForm { dtype: Dtype::Uint8, channels: None, block_shape: SHAPE, blocks_per_request: 8 },
            freshness: Freshness::Forever,
            maps_here: true,
            delay: Duration::ZERO,
            script: Mutex::new(Box::new(|_, _| Act::Give)),
            calls: Mutex::default(),
            hanging: Mutex::new(true),
            released: Condvar::new(),
            running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
            ready: AtomicBool::new(true),
            prepared: AtomicUsize::new(0),
            unprepared: 0,
            decoded: AtomicUsize::new(0),
            readiness_panics: AtomicBool::new(false),
            preparing_panics: AtomicBool::new(false),
        }
    }

    pub(super) fn scripted(script: impl Fn(usize, BlockBox) -> Act + Send + Sync + 'static) -> Self {
        let fake = Self::new();
        fake.set_script(script);
        fake
    }

    pub(super) fn set_script(&self, script: impl Fn(usize, BlockBox) -> Act + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    /// Everything that hangs goes on, and nothing hangs any more.
    pub(super) fn release(&self) {
        *self.hanging.lock().unwrap() = false;
        self.released.notify_all();
    }

    pub(super) fn calls(&self) -> Vec<BlockBox> {
        self.calls.lock().unwrap().iter().map(|&(_, blocks, _)| blocks).collect()
    }

    pub(super) fn views(&self) -> Vec<View> {
        self.calls.lock().unwrap().iter().map(|&(view, ..)| view).collect()
    }

    pub(super) fn call_times(&self) -> Vec<Instant> {
        self.calls.lock().unwrap().iter().map(|&(_, _, when)| when).collect()
    }

    pub(super) fn n_calls(&self) -> usize {
        self.calls.lock().unwrap().len()
    }

    pub(super) fn n_blocks(&self) -> usize {
        self.calls().iter().map(|blocks| usize::try_from(blocks.n_blocks()).unwrap()).sum()
    }

    fn answer(&self, number: usize, blocks: BlockBox) -> Result<Vec<Block>, Error> {
        std::thread::sleep(self.delay);
        let act = (self.script.lock().unwrap())(number, blocks);
        match act {
            Act::Give => {}
            Act::Fail(kind) => return Err(Error::new(kind, "/fake")),
            Act::FailAfter(delay, kind) => {
                std::thread::sleep(delay);
                return Err(Error::new(kind, "/fake"));
            }
            Act::Hang => {
                let hanging = self.hanging.lock().unwrap();
                drop(self.released.wait_while(hanging, |hanging| *hanging).unwrap());
            }
            Act::Panic => panic!("a planted panic"),
            Act::OneShort => return Ok(blocks.blocks().skip(1).map(block_of).collect()),
        }
        Ok(blocks.blocks().map(block_of).collect())
    }
}

/// What the fake holds: nothing where x is a multiple of 7 and not 0, else voxels that tell the block.
pub(super) fn voxels_of(view: View, block: BlockIndex) -> Option<Vec<u8>> {
    let [z, y, x] = block.0.axes();
    if x % 7 == 0 && x != 0 {
        return None;
    }
    let mask = if view == View::Bodies { 0xFF } else { 0 };
    let text = format!("{z},{y},{x};");
    Some(text.bytes().cycle().take(BLOCK_BYTES).map(|byte| byte ^ mask).collect())
}

fn block_of(block: BlockIndex) -> Block {
    voxels_of(View::Stored, block)
        .map_or(Block::Absent, |bytes| Block::Dense(Arc::new(Volume::new(Dtype::Uint8, SHAPE, bytes).unwrap())))
}

impl FetchBlocks for Fake {
    fn form(&self) -> BlockForm {
        self.form
    }

    fn freshness(&self) -> Freshness {
        self.freshness
    }

    fn stored_as(&self, view: View) -> View {
        if self.maps_here { View::Stored } else { view }
    }

    fn fetch_blocks(&self, view: View, _scale: Scale, blocks: BlockBox) -> Result<Vec<Block>, Error> {
        assert!(
            view == View::Stored || self.ready.load(Ordering::SeqCst),
            "bodies are asked for before they are ready"
        );
        let number = {
            let mut calls = self.calls.lock().unwrap();
            calls.push((view, blocks, Instant::now()));
            calls.len() - 1
        };
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_running.fetch_max(running, Ordering::SeqCst);
        let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.answer(number, blocks)));
        self.running.fetch_sub(1, Ordering::SeqCst);
        answer.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn is_ready(&self, view: View) -> bool {
        assert!(!self.readiness_panics.swap(false, Ordering::SeqCst), "a planted panic");
        let is_preparing = std::thread::current().name() == Some("dvidfs-prepare");
        assert!(!(is_preparing && self.preparing_panics.swap(false, Ordering::SeqCst)), "a planted panic");
        view == View::Stored || self.ready.load(Ordering::SeqCst)
    }

    fn prepare(&self, _view: View) -> Result<(), Error> {
        if self.prepared.fetch_add(1, Ordering::SeqCst) < self.unprepared {
            return Err(Error::new(ErrorKind::MappingLoading, "/mappings"));
        }
        self.ready.store(true, Ordering::SeqCst);
        Ok(())
    }

    fn decode(&self, view: View, block: &Block) -> Result<Arc<Volume>, Error> {
        assert_eq!(view, View::Bodies, "a dense block is its own decoded form");
        if !self.is_ready(view) {
            return Err(Error::new(ErrorKind::MappingLoading, "/mappings"));
        }
        self.decoded.fetch_add(1, Ordering::SeqCst);
        let Block::Dense(volume) = block else { panic!("only dense blocks are decoded here") };
        let bytes = volume.bytes().iter().map(|byte| byte ^ 0xFF).collect();
        Ok(Arc::new(Volume::new(Dtype::Uint8, SHAPE, bytes).unwrap()))
    }
}

/// A cache over one fake, which is let go of at the end so that no thread of a test hangs on.
pub(super) struct Setup {
    pub(super) cache: Arc<BlockCache>,
    pub(super) fake: Arc<Fake>,
    pub(super) source: SourceId,
    pub(super) metrics: Arc<Metrics>,
}

impl Drop for Setup {
    fn drop(&mut self) {
        self.fake.release();
    }
}

pub(super) fn quick() -> CacheConfig {
    CacheConfig {
        memory_bytes: 4 << 20,
        slow_fetch: Duration::from_millis(60),
        patience: Duration::from_secs(20),
        failure_memory: Duration::from_millis(150),
        prefetch: false,
        ..CacheConfig::default()
    }
}

pub(super) type Answer = Result<Blocks, FetchError>;

impl Setup {
    pub(super) fn new(config: CacheConfig, fake: Fake) -> Self {
        let metrics = Arc::new(Metrics::default());
        let cache = BlockCache::new(config, Arc::clone(&metrics));
        let fake = Arc::new(fake);
        let fetch: Arc<dyn FetchBlocks> = Arc::<Fake>::clone(&fake);
        let source = cache.add_source(fetch);
        Self { cache, fake, source, metrics }
    }

    pub(super) fn request(&self, view: View, blocks: &[BlockIndex]) -> BlockRequest {
        BlockRequest { source: self.source, view, scale: Scale(0), blocks: blocks.to_vec() }
    }

    /// A read that sends its answer here.
    pub(super) fn start(&self, blocks: &[BlockIndex]) -> std::sync::mpsc::Receiver<Answer> {
        self.start_view(View::Stored, blocks)
    }

    pub(super) fn start_view(&self, view: View, blocks: &[BlockIndex]) -> std::sync::mpsc::Receiver<Answer> {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.cache.get_many(self.request(view, blocks), Box::new(move |answer| drop(sender.send(answer))));
        receiver
    }

    pub(super) fn get(&self, blocks: &[BlockIndex]) -> Answer {
        self.cache.get_many_blocking(self.request(View::Stored, blocks))
    }

    /// Waits for something that happens on another thread.
    #[track_caller]
    pub(super) fn wait_until(&self, what: &str, is_true: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !is_true(self) {
            assert!(Instant::now() < end, "in vain: {what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

pub(super) fn at(z: i64, y: i64, x: i64) -> BlockIndex {
    BlockIndex(Coordinate::new(z, y, x))
}

pub(super) fn row(n: i64) -> Vec<BlockIndex> {
    (0..n).map(|x| at(0, 0, x)).collect()
}

#[track_caller]
pub(super) fn check_answer(view: View, blocks: &[BlockIndex], answer: Answer) {
    let answer = answer.unwrap_or_else(|error| panic!("{error}: {}", error.source));
    assert_eq!(answer.len(), blocks.len());
    for (block, volume) in blocks.iter().zip(answer) {
        assert_eq!(volume.map(|volume| volume.bytes().to_vec()), voxels_of(view, *block), "{block:?}");
    }
}

#[track_caller]
pub(super) fn receive(receiver: &std::sync::mpsc::Receiver<Answer>) -> Answer {
    receiver.recv_timeout(Duration::from_secs(10)).expect("the read is answered")
}
