//! Reads directly: this crate's client, no cache, no mount. Voxels end decoded in the reader's own buffer, as they do through a mount.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dvidfs::dvid::{Address, Block, FetchBlocks, HttpConfig, Instance, Node, NodeOptions, View};
use dvidfs::geometry::{BlockBox, Scale};
use dvidfs::metrics::Metrics;

use super::Outcome;
use super::plan::Chunk;

/// A client of one instance.
pub(crate) struct Direct {
    instance: Arc<Instance>,
}

impl Direct {
    pub(crate) fn open(url: &str, name: &str, connections: usize) -> Outcome<Self> {
        let address: Address = url.parse()?;
        let http = HttpConfig { max_connections: connections, ..HttpConfig::default() };
        let options = NodeOptions { settle: Duration::ZERO, ..NodeOptions::default() };
        let node = Node::open(&address, http, options, Arc::new(Metrics::default()))?;
        let info = node.instances.iter().find(|info| info.name == name).ok_or("the server lacks the instance")?;
        Ok(Self { instance: node.instance(info)? })
    }

    /// One request a chunk, by so many connections. The time it took.
    pub(crate) fn fetch_chunks(&self, chunks: &[Chunk], connections: usize) -> Outcome<Duration> {
        let boxes: Vec<BlockBox> = chunks.iter().map(|&chunk| BlockBox::one(chunk)).collect();
        self.fetch_boxes(&boxes, connections)
    }

    /// One request a box, in this order, by so many connections. The time it took.
    pub(crate) fn fetch_boxes(&self, boxes: &[BlockBox], connections: usize) -> Outcome<Duration> {
        let next = AtomicUsize::new(0);
        let start = Instant::now();
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..connections).map(|_| scope.spawn(|| self.work(boxes, &next))).collect();
            workers.into_iter().try_for_each(|worker| {
                worker.join().map_err(|_| "a reader panicked")?.map_err(|error| format!("direct read: {error}"))
            })
        })?;
        Ok(start.elapsed())
    }

    fn work(&self, boxes: &[BlockBox], next: &AtomicUsize) -> Result<(), dvidfs::dvid::Error> {
        let mut buffer = Vec::new();
        while let Some(&blocks) = boxes.get(next.fetch_add(1, Ordering::Relaxed)) {
            for block in self.instance.fetch_blocks(View::Stored, Scale::FULL, blocks)? {
                buffer.clear();
                match block {
                    Block::Absent => {}
                    Block::Dense(volume) => buffer.extend_from_slice(volume.bytes()),
                    Block::Labels(labels) => buffer.extend_from_slice(&labels.decode()),
                }
                std::hint::black_box(&buffer);
            }
        }
        Ok(())
    }
}
