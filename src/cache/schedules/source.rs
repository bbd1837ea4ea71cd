//! A source of blocks whose answers are scripted, and which sees what must never be seen: a block that is asked for
//! twice at once, or more bytes on their way than there is room for.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::dvid::{Block, BlockForm, Error, ErrorKind, FetchBlocks, Freshness, View};
use crate::geometry::{BlockBox, BlockIndex, Coordinate, Scale};
use crate::voxels::{Dtype, Volume};

use super::super::sync::{Instant, thread};

pub(super) const SHAPE: Coordinate = Coordinate::splat(8);
pub(super) const BLOCK_BYTES: usize = 512;

/// What becomes of a request.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Give,
    Fail(ErrorKind),
    Panic,
    /// Its blocks come, and then whoever asks for a view panics.
    PanicLater,
}

/// What becomes of the request of this number; it may look at the source.
type Script = Box<dyn Fn(&Scripted, usize) -> Act + Send + Sync>;

/// Its locks are those of the system: nobody ever waits for them, and no schedule begins or ends a step there.
pub(super) struct Scripted {
    script: Script,
    pub(super) freshness: Freshness,
    /// Most bytes on their way at once.
    pub(super) most_bytes: usize,
    flying: Mutex<HashSet<BlockIndex>>,
    pub(super) n_requests: AtomicUsize,
    pub(super) n_blocks: AtomicUsize,
    readiness_panics: AtomicBool,
    is_ready: AtomicBool,
    pub(super) n_unprepared: AtomicUsize,
    /// What must never be seen, but was. Its panic would be caught where it was asked.
    wrong: Mutex<Option<String>>,
    /// When the version that it gives became so, oldest first.
    pub(super) versions: Mutex<Vec<Instant>>,
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}

impl Scripted {
    pub(super) fn new(script: impl Fn(&Self, usize) -> Act + Send + Sync + 'static) -> Self {
        Self {
            script: Box::new(script),
            freshness: Freshness::Forever,
            most_bytes: usize::MAX,
            flying: Mutex::default(),
            n_requests: AtomicUsize::new(0),
            n_blocks: AtomicUsize::new(0),
            readiness_panics: AtomicBool::new(false),
            is_ready: AtomicBool::new(false),
            n_unprepared: AtomicUsize::new(0),
            wrong: Mutex::default(),
            versions: Mutex::new(vec![Instant::now()]),
        }
    }

    /// Its voxels change. To which version.
    pub(super) fn change(&self) -> usize {
        let mut versions = self.versions.lock().unwrap();
        versions.push(Instant::now());
        versions.len() - 1
    }

    /// How many blocks are on their way.
    pub(super) fn n_flying(&self) -> usize {
        self.flying.lock().unwrap().len()
    }

    fn begin(&self, blocks: BlockBox) {
        let mut flying = self.flying.lock().unwrap();
        for block in blocks.blocks() {
            self.expect(flying.insert(block), || format!("{block:?} is asked for twice at once"));
        }
        let bytes = flying.len() * BLOCK_BYTES;
        self.expect(bytes <= self.most_bytes, || format!("{bytes} bytes are on their way"));
    }

    /// Notes what is wrong unless this holds.
    pub(super) fn expect(&self, holds: bool, wrong: impl FnOnce() -> String) {
        if !holds {
            self.wrong.lock().unwrap().get_or_insert_with(wrong);
        }
    }

    /// What was wrong first.
    pub(super) fn wrong(&self) -> Option<String> {
        self.wrong.lock().unwrap().take()
    }

    fn end(&self, blocks: BlockBox) {
        let mut flying = self.flying.lock().unwrap();
        flying.retain(|block| !blocks.contains(*block));
    }

    fn dense(&self, version: u8) -> Block {
        Block::Dense(Arc::new(Volume::new(Dtype::Uint8, SHAPE, vec![version; BLOCK_BYTES]).unwrap()))
    }
}

/// The number in the voxels of a block.
pub(super) fn voxel_of(volume: &Volume) -> u8 {
    volume.bytes()[0]
}

/// What a block of a source that never changes holds: its x and 10.
pub(super) fn held(x: i64) -> Option<u8> {
    Some(u8::try_from(x).unwrap() + 10)
}

impl FetchBlocks for Scripted {
    fn form(&self) -> BlockForm {
        BlockForm { dtype: Dtype::Uint8, channels: None, block_shape: SHAPE, blocks_per_request: 2 }
    }

    fn freshness(&self) -> Freshness {
        self.freshness
    }

    fn stored_as(&self, _view: View) -> View {
        View::Stored
    }

    fn fetch_blocks(&self, _view: View, _scale: Scale, blocks: BlockBox) -> Result<Vec<Block>, Error> {
        self.begin(blocks);
        let number = self.n_requests.fetch_add(1, Ordering::Relaxed);
        let n_blocks = usize::try_from(blocks.n_blocks()).unwrap();
        self.n_blocks.fetch_add(n_blocks, Ordering::Relaxed);
        thread::yield_now();
        let version = self.versions.lock().unwrap().len() - 1;
        thread::yield_now();
        let act = (self.script)(self, number);
        self.end(blocks);
        match act {
            Act::Give => {}
            Act::Fail(kind) => return Err(Error::new(kind, "/scripted")),
            // Without the hook, which would take it for the end of the schedule.
            Act::Panic => std::panic::resume_unwind(Box::new("a planted panic")),
            Act::PanicLater => self.readiness_panics.store(true, Ordering::Relaxed),
        }
        let number = |block: BlockIndex| match self.freshness {
            Freshness::Forever => held(block.0.x()).unwrap(),
            Freshness::For(_) => u8::try_from(version).unwrap(),
        };
        Ok(blocks.blocks().map(|block| self.dense(number(block))).collect())
    }

    fn is_ready(&self, view: View) -> bool {
        // A panic of whoever reads, on their own thread, is theirs.
        let is_own = thread::current().name().is_some_and(|name| name.starts_with("dvidfs-"));
        if view != View::Stored && is_own && self.readiness_panics.swap(false, Ordering::Relaxed) {
            std::panic::resume_unwind(Box::new("a planted panic"));
        }
        view == View::Stored || self.is_ready.load(Ordering::Relaxed)
    }

    fn prepare(&self, _view: View) -> Result<(), Error> {
        thread::yield_now();
        let left = self.n_unprepared.load(Ordering::Relaxed);
        if left > 0 {
            self.n_unprepared.store(left - 1, Ordering::Relaxed);
            return Err(Error::new(ErrorKind::MappingLoading, "/mappings"));
        }
        self.is_ready.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn decode(&self, _view: View, block: &Block) -> Result<Arc<Volume>, Error> {
        let Block::Dense(volume) = block else { panic!("only dense blocks are decoded here") };
        let bytes = volume.bytes().iter().map(|byte| byte ^ 0xFF).collect();
        Ok(Arc::new(Volume::new(Dtype::Uint8, SHAPE, bytes).unwrap()))
    }
}

/// Time that an answer of an open node stays right.
pub(super) const TTL: Duration = Duration::from_millis(200);
