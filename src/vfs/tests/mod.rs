//! The filesystem over arrays that are pure functions: every byte, every name, every error.

mod pictures;
mod reads;
mod tree;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::tree::ROOT;
use super::*;
use crate::array::{self, ArrayKind, ArraySpec, LevelSource, ReadVoxels, VoxelBytes};
use crate::dvid::{Freshness, View};
use crate::geometry::{Coordinate, VoxelBox, VoxelSize};
use crate::layout::LayoutOptions;
use crate::metrics::Metrics;
use crate::voxels::Dtype;

/// How a [`Model`] answers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Well,
    Failing,
    Short,
}

/// An array whose voxels are a function of level and position.
#[derive(Debug)]
struct Model {
    spec: ArraySpec,
    freshness: Freshness,
    mood: Mutex<Mood>,
    n_reads: AtomicU64,
}

/// The voxel at a DVID position of a level: other along each axis, without a short period.
fn model_voxel(spec: &ArraySpec, level: usize, at: Coordinate) -> u64 {
    if !spec.levels[level].stored.contains_voxel(at) {
        return 0;
    }
    let [z, y, x] = at.axes();
    let mixed = (z * 1_000_003 + y * 10_007 + x * 101 + i64::from(spec.levels[level].scale.0)).cast_unsigned();
    mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

impl ReadVoxels for Model {
    fn spec(&self) -> &ArraySpec {
        &self.spec
    }

    fn freshness(&self) -> Freshness {
        self.freshness
    }

    fn read_bytes(&self, wanted: VoxelBytes, then: array::ThenBytes) {
        let VoxelBytes { level, file_box, channels: _, window } = wanted;
        self.n_reads.fetch_add(1, Ordering::Relaxed);
        let mood = *self.mood.lock().unwrap();
        if mood == Mood::Failing {
            return then(Err(array::Error::TooLarge(file_box)));
        }
        let itemsize = self.spec.dtype.itemsize() as u64;
        let [_, ny, nx] = file_box.shape().axes();
        let mut bytes = Vec::new();
        for byte in window {
            let voxel = i64::try_from(byte / itemsize).unwrap();
            let within = Coordinate::new(voxel / (nx * ny), voxel / nx % ny, voxel % nx);
            let value = model_voxel(&self.spec, level, file_box.begin() + within).to_le_bytes();
            bytes.push(value[usize::try_from(byte % itemsize).unwrap()]);
        }
        if mood == Mood::Short {
            bytes.pop();
        }
        then(Ok(bytes));
    }
}

fn model(name: &str, dtype: Dtype, data: ([i64; 3], [i64; 3]), n_levels: usize, freshness: Freshness) -> Arc<Model> {
    let source = LevelSource { source: name.into(), block_shape: Coordinate::splat(32), extents: None };
    let kind = (dtype, if dtype == Dtype::Uint64 { ArrayKind::Labels } else { ArrayKind::Image });
    let data = VoxelBox::new(data.0.into(), data.1.into()).unwrap();
    let size = VoxelSize::new([8.0; 3]).unwrap();
    let spec = ArraySpec::new(name.into(), View::Stored, kind, size, data, vec![source; n_levels]).unwrap();
    Arc::new(Model { spec, freshness, mood: Mutex::new(Mood::Well), n_reads: AtomicU64::new(0) })
}

fn view(array: &Arc<Model>) -> ViewFiles {
    let array: Arc<Model> = Arc::clone(array);
    ViewFiles { attrs: json!({"name": array.spec.name}), neuroglancer: Some(json!({"layers": []})), array: Some(array) }
}

fn without_voxels(name: &str) -> InstanceFiles {
    InstanceFiles {
        name: name.into(),
        typename: "keyvalue".into(),
        info: (*b"{\"Base\":{}}").into(),
        freshness: Freshness::Forever,
        view: ViewFiles { attrs: json!({"shape": null}), neuroglancer: None, array: None },
        supervoxels: None,
    }
}

fn with_voxels(array: &Arc<Model>, supervoxels: Option<&Arc<Model>>) -> InstanceFiles {
    InstanceFiles {
        typename: "labelmap".into(),
        info: (*b"{\"Base\" : \"byte for byte\"}\n").into(),
        freshness: array.freshness,
        view: view(array),
        supervoxels: supervoxels.map(view),
        ..without_voxels(&array.spec.name)
    }
}

const MTIME_S: i64 = 1_400_000_000;
const TTL: Freshness = Freshness::For(Duration::from_secs(5));

fn mount(instances: Vec<InstanceFiles>) -> VirtualFs {
    mount_in(instances, LayoutOptions::all(&[]).only(&["zarr"]))
}

fn mount_in(instances: Vec<InstanceFiles>, layouts: LayoutOptions) -> VirtualFs {
    mount_with(instances, Vec::new(), layouts)
}

fn mount_with(instances: Vec<InstanceFiles>, boxes: Vec<InstanceFiles>, layouts: LayoutOptions) -> VirtualFs {
    let metrics = Arc::new(Metrics::default());
    VirtualFs::new(Contents {
        source: "http://localhost:8000/28841c:master".into(),
        node: json!({"uuid": "28841c"}),
        config: json!({"ttl": 5}),
        updated_s: MTIME_S,
        instances,
        boxes,
        layouts,
        stats: Box::new(|| json!({"parked_reads": 3})),
        metrics,
    })
    .unwrap()
}

fn gray() -> Arc<Model> {
    model("gray", Dtype::Uint8, ([40, 100, -70], [70, 140, 10]), 2, Freshness::Forever)
}

fn segmentation() -> Arc<Model> {
    model("seg/ment?", Dtype::Uint64, ([3, 0, 0], [5, 40, 70]), 1, TTL)
}

/// Gray with negative coordinates and two levels, labels with two views, and an instance without voxels.
fn small_tree() -> VirtualFs {
    let seg = segmentation();
    mount(vec![without_voxels("kv"), with_voxels(&seg, Some(&seg)), with_voxels(&gray(), None)])
}

fn find(fs: &VirtualFs, path: &str) -> Result<Attributes, Error> {
    path.split('/').try_fold(fs.attributes(ROOT)?.0, |at, name| Ok(fs.lookup(at.ino, OsStr::new(name))?.0))
}

fn read_at(fs: &VirtualFs, ino: u64, fh: u64, offset: u64, size: u32) -> Result<Vec<u8>, Error> {
    let (sender, receiver) = std::sync::mpsc::channel();
    fs.read(ino, fh, ByteRange::new(offset, size), Box::new(move |result| sender.send(result).unwrap()));
    let result = receiver.try_recv().unwrap();
    assert!(receiver.recv().is_err(), "answered twice");
    result
}

/// All bytes of a file in windows of this size.
fn read_all(fs: &VirtualFs, ino: u64, window: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let part = read_at(fs, ino, 0, bytes.len() as u64, window).unwrap();
        if part.is_empty() {
            return bytes;
        }
        bytes.extend(part);
    }
}

fn read_json(fs: &VirtualFs, path: &str) -> Value {
    serde_json::from_slice(&read_all(fs, find(fs, path).unwrap().ino, 1000)).unwrap()
}

type Listed = (String, u64, Attributes, Lasting);

/// A listing in calls of at most `at_once` names.
fn list(fs: &VirtualFs, ino: u64, at_once: usize) -> Vec<Listed> {
    let mut all: Vec<Listed> = Vec::new();
    loop {
        let (before, mut room) = (all.len(), at_once);
        let cookie = all.last().map_or(0, |last| last.1);
        fs.read_dir(ino, cookie, &mut |entry| {
            if room == 0 {
                return false;
            }
            room -= 1;
            all.push((entry.name.to_str().unwrap().into(), entry.next_cookie, entry.attributes, entry.lasting));
            true
        })
        .unwrap();
        if all.len() == before {
            return all;
        }
    }
}

/// Every path of the tree with its attributes.
fn walk(fs: &VirtualFs) -> BTreeMap<String, Attributes> {
    let mut found = BTreeMap::new();
    let mut folders = vec![(String::new(), ROOT)];
    while let Some((path, ino)) = folders.pop() {
        for (name, _, attributes, _) in list(fs, ino, 1000).into_iter().skip(2) {
            let path = format!("{path}{name}");
            if attributes.is_dir {
                folders.push((format!("{path}/"), attributes.ino));
            }
            assert_eq!(found.insert(path.clone(), attributes), None, "{path} is listed twice");
        }
    }
    found
}

fn is_chunk(path: &str) -> bool {
    path.split_once("volume.zarr/").is_some_and(|(_, inside)| !inside.contains('.') && inside.split('/').count() == 4)
}
