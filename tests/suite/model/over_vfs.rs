//! The filesystem without a kernel: everything below `fuse`, put together as `dvidfs mount` does.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use dvidfs::array::{Catalog, CatalogOptions, Entry, ReadVoxels};
use dvidfs::cache::disk::{Disk, DiskConfig, Times};
use dvidfs::cache::{BlockCache, CacheConfig};
use dvidfs::dvid::{ErrorKind, HttpConfig, Node, NodeOptions};
use dvidfs::layout::LayoutOptions;
use dvidfs::metrics::Metrics;
use dvidfs::vfs::{ByteRange, Contents, Error, InstanceFiles, ViewFiles, VirtualFs};
use nix::libc::{EACCES, EIO, ENOENT, ENOTDIR, ESTALE};
use serde_json::json;

use super::ops::Setting;
use super::world::{Failed, Outcome, Part, Tree};

/// No answer takes longer, unless nobody would ever give it.
const LONGEST: Duration = Duration::from_secs(120);
const ROOT: u64 = 1;

pub(super) struct OverVfs {
    fs: VirtualFs,
    cache: Arc<BlockCache>,
}

fn view(array: &Arc<dvidfs::DvidArray>) -> ViewFiles {
    let files = Arc::clone(array) as Arc<dyn ReadVoxels>;
    ViewFiles { attrs: array.described(), neuroglancer: None, array: Some(files) }
}

fn instance(entry: &Entry) -> InstanceFiles {
    let mut views = entry.arrays.iter().map(view);
    InstanceFiles {
        name: entry.name.clone(),
        typename: "any".into(),
        info: Arc::clone(&entry.info),
        freshness: entry.freshness,
        view: views.next().unwrap(),
        supervoxels: views.next(),
    }
}

/// Without a kernel there are no errnos; which error has which is tested where the table is.
fn errno(error: &Error) -> i32 {
    match error {
        Error::NoSuchName => ENOENT,
        Error::NotADirectory => ENOTDIR,
        Error::Array { source, .. } => match source.kind() {
            Some(ErrorKind::IdentityChanged) => ESTALE,
            Some(ErrorKind::Denied) => EACCES,
            Some(_) | None => EIO,
        },
        Error::NameTooLong
        | Error::NoSuchInode(_)
        | Error::IsADirectory
        | Error::TooManyNames { .. }
        | Error::ReadOnly
        | Error::ReaderKilled
        | Error::Abandoned
        | Error::LookupFailed { .. }
        | Error::ShuttingDown => panic!("{error}"),
    }
}

/// An error with its causes.
fn told(error: &Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl OverVfs {
    fn inode(&self, path: &str) -> Result<u64, i32> {
        let step = |at, name| Ok(self.fs.lookup(at, OsStr::new(name)).map_err(|error| errno(&error))?.0.ino);
        path.split('/').try_fold(ROOT, step)
    }

    fn stop(&self) {
        self.cache.shut_down();
    }
}

impl Tree for OverVfs {
    const KEEPS_PAGES: bool = false;
    const FAILURE_MEMORY: Duration = Duration::from_millis(5);

    fn make(source: &str, setting: Setting, caches: &Path) -> Self {
        let metrics = Arc::new(Metrics::default());
        // A busy machine is no fault of the server.
        let http = HttpConfig { max_connections: 8, ..HttpConfig::default() }.scaled(20.0);
        let options = NodeOptions {
            ttl: Duration::from_millis(setting.ttl_ms),
            settle: Duration::ZERO,
            mapping_apart: Duration::from_millis(1),
            ..NodeOptions::default()
        };
        let node = Node::open(&source.parse().unwrap(), http, options, Arc::clone(&metrics)).unwrap();
        let disk = setting.has_disk.then(|| {
            let (directory, times) = (caches.join("dvidfs-v1"), Times::default());
            Disk::open(DiskConfig { directory, limit_bytes: 1 << 30, free_share: 0.0, key: None, times }).unwrap()
        });
        let config = CacheConfig {
            memory_bytes: if setting.is_tight { 200_000 } else { 64 << 20 },
            patience: LONGEST,
            failure_memory: Self::FAILURE_MEMORY,
            prefetch: setting.prefetch,
            ..CacheConfig::default()
        };
        let cache = BlockCache::try_new(config, disk, Arc::clone(&metrics)).unwrap();
        let catalog = Catalog::open(&node, &cache, &CatalogOptions::default()).unwrap();
        let fs = VirtualFs::new(Contents {
            source: source.to_owned(),
            node: json!({}),
            config: json!({}),
            updated_s: node.updated_seconds(),
            instances: catalog.entries.iter().map(instance).collect(),
            boxes: Vec::new(),
            layouts: LayoutOptions::all(&[]).only(&["zarr", "flat"]),
            stats: Box::new(|| json!({})),
            metrics,
        })
        .unwrap();
        Self { fs, cache }
    }

    fn read(&self, parts: &[Part], meanwhile: impl FnOnce()) -> Vec<Outcome> {
        let (sender, receiver) = channel();
        for (at, part) in parts.iter().enumerate() {
            let sender = sender.clone();
            let inode = self.inode(&part.path).unwrap();
            let then = Box::new(move |result: Result<Vec<u8>, Error>| {
                drop(sender.send((at, result.map_err(|error| Failed { errno: errno(&error), why: told(&error) }))));
            });
            self.fs.read(inode, 0, ByteRange::new(part.offset, part.size), then);
        }
        drop(sender);
        meanwhile();
        let mut outcomes: Vec<Option<Outcome>> = vec![None; parts.len()];
        for n in 0..parts.len() {
            let (at, outcome) = receiver.recv_timeout(LONGEST).unwrap_or_else(|why| panic!("{n} answers: {why}"));
            assert!(outcomes[at].replace(outcome).is_none(), "answered twice");
        }
        outcomes.into_iter().map(Option::unwrap).collect()
    }

    fn list(&self, path: &str) -> Result<Vec<String>, i32> {
        let mut names = Vec::new();
        let inode = self.inode(path)?;
        let visit = &mut |entry: dvidfs::vfs::DirEntry<'_>| {
            names.push(entry.name.to_str().unwrap().to_owned());
            true
        };
        self.fs.read_dir(inode, 0, visit).map_err(|error| errno(&error))?;
        Ok(names)
    }

    fn size(&self, path: &str) -> Result<u64, i32> {
        Ok(self.fs.attributes(self.inode(path)?).map_err(|error| errno(&error))?.0.size)
    }

    fn drop_caches(&self, _paths: &[String]) -> bool {
        false
    }

    fn settle(&self) {
        let end = Instant::now() + LONGEST;
        while self.cache.disk_status().is_some_and(|disk| disk.queued_bytes > 0) {
            assert!(Instant::now() < end, "the disk cache is not written");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn kill(self, parts: &[Part]) -> Vec<Outcome> {
        self.read(parts, || self.stop())
    }

    fn is_quiet(&self) -> bool {
        let status = self.cache.status();
        status.parked_reads == 0 && status.in_flight == 0 && status.preparing == 0
    }
}
