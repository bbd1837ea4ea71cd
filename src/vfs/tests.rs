//! The filesystem over arrays that are pure functions: every byte, every name, every error.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::tree::ROOT;
use super::*;
use crate::array::{self, ArrayKind, ArraySpec, LevelSource, ReadVoxels};
use crate::dvid::{Freshness, View};
use crate::geometry::{Coordinate, VoxelBox, VoxelSize};
use crate::metrics::{Counter, Metrics};
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
    let mixed = (z * 1_000_003 + y * 10_007 + x * 101 + level as i64).cast_unsigned();
    mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

impl ReadVoxels for Model {
    fn spec(&self) -> &ArraySpec {
        &self.spec
    }

    fn freshness(&self) -> Freshness {
        self.freshness
    }

    fn read_bytes(&self, level: usize, file_box: VoxelBox, window: Range<u64>, then: array::ThenBytes) {
        self.n_reads.fetch_add(1, Ordering::Relaxed);
        let mood = *self.mood.lock().unwrap();
        if mood == Mood::Failing {
            return then(Err(array::Error::OutOfBounds { asked: file_box }));
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
    let source = LevelSource { source: name.into(), block_shape: Coordinate::splat(32) };
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
    let metrics = Arc::new(Metrics::default());
    VirtualFs::new(Contents {
        source: "http://localhost:8000/28841c:master".into(),
        node: json!({"uuid": "28841c"}),
        config: json!({"ttl": 5}),
        updated_s: MTIME_S,
        instances,
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

#[test]
fn the_tree_has_the_files_that_are_promised() {
    let paths: Vec<String> = walk(&small_tree()).into_keys().filter(|path| !path.contains("/s0/")).collect();
    let expected = "\
        .dvidfs .dvidfs/config.json .dvidfs/errors.jsonl .dvidfs/metrics .dvidfs/stats.json README.txt \
        gray gray/attrs.json gray/info gray/neuroglancer.json gray/volume.zarr gray/volume.zarr/.zattrs \
        gray/volume.zarr/.zgroup gray/volume.zarr/.zmetadata gray/volume.zarr/s0 gray/volume.zarr/s1 \
        gray/volume.zarr/s1/.zarray gray/volume.zarr/s1/.zattrs gray/volume.zarr/s1/0 gray/volume.zarr/s1/0/0 \
        gray/volume.zarr/s1/0/0/0 gray/volume.zarr/s1/0/0/1 gray/volume.zarr/s1/0/1 gray/volume.zarr/s1/0/1/0 \
        gray/volume.zarr/s1/0/1/1 kv kv/attrs.json kv/info node.json \
        seg%2Fment%3F seg%2Fment%3F/attrs.json seg%2Fment%3F/info seg%2Fment%3F/neuroglancer.json \
        seg%2Fment%3F/supervoxels seg%2Fment%3F/supervoxels/attrs.json seg%2Fment%3F/supervoxels/neuroglancer.json \
        seg%2Fment%3F/supervoxels/volume.zarr seg%2Fment%3F/supervoxels/volume.zarr/.zattrs \
        seg%2Fment%3F/supervoxels/volume.zarr/.zgroup seg%2Fment%3F/supervoxels/volume.zarr/.zmetadata \
        seg%2Fment%3F/supervoxels/volume.zarr/s0 seg%2Fment%3F/volume.zarr seg%2Fment%3F/volume.zarr/.zattrs \
        seg%2Fment%3F/volume.zarr/.zgroup seg%2Fment%3F/volume.zarr/.zmetadata seg%2Fment%3F/volume.zarr/s0";
    assert_eq!(paths, expected.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn every_listed_name_is_found_under_the_same_inode_and_attributes() {
    let fs = small_tree();
    let found = walk(&fs);
    let mut inodes = HashSet::from([ROOT]);
    for (path, attributes) in &found {
        assert_eq!(find(&fs, path).unwrap(), *attributes, "{path}");
        assert_eq!(fs.attributes(attributes.ino).unwrap().0, *attributes, "{path}");
        assert!(inodes.insert(attributes.ino), "{path} shares its inode");
        assert_eq!(attributes.blocks, attributes.size.div_ceil(512), "{path}");
        if !path.starts_with(".dvidfs/") {
            assert_eq!(attributes.mtime_s, MTIME_S, "{path}");
        }
    }
    assert_eq!(fs.statfs().files, inodes.len() as u64);
    let chunk_bytes: u64 = found.iter().filter(|(path, _)| is_chunk(path)).map(|(_, attributes)| attributes.size).sum();
    assert_eq!(fs.statfs().total_bytes, chunk_bytes);
}

fn is_chunk(path: &str) -> bool {
    path.split_once("volume.zarr/").is_some_and(|(_, inside)| !inside.contains('.') && inside.split('/').count() == 4)
}

#[test]
fn a_second_mount_gives_the_same_inodes_whatever_the_order_of_instances() {
    let seg = segmentation();
    let other = mount(vec![with_voxels(&gray(), None), with_voxels(&seg, Some(&seg)), without_voxels("kv")]);
    let inodes = |fs: &VirtualFs| -> Vec<_> { walk(fs).into_iter().map(|(path, found)| (path, found.ino)).collect() };
    assert_eq!(inodes(&small_tree()), inodes(&other));
}

#[test]
fn listings_go_on_where_they_stopped() {
    let fs = small_tree();
    let found = walk(&fs);
    let folders = found.values().filter(|attributes| attributes.is_dir).map(|attributes| attributes.ino);
    for ino in folders.chain([ROOT]) {
        let whole = list(&fs, ino, usize::MAX);
        for at_once in [1, 2, 3, 7] {
            assert_eq!(list(&fs, ino, at_once), whole);
        }
        assert_eq!((whole[0].0.as_str(), whole[0].2.ino), (".", ino));
        let parent = fs.lookup(ino, OsStr::new("..")).unwrap().0;
        assert_eq!((whole[1].0.as_str(), whole[1].2), ("..", parent));
        let n_folders = whole.iter().skip(2).filter(|listed| listed.2.is_dir).count();
        assert_eq!(fs.attributes(ino).unwrap().0.nlink as usize, 2 + n_folders);
        // Beyond the end is the end.
        fs.read_dir(ino, u64::MAX, &mut |_| panic!("a name after the last")).unwrap();
    }
}

/// The bytes of a chunk from its path and the array's metadata, voxel by voxel.
fn expected_chunk(spec: &ArraySpec, path: &str, zarray: &Value) -> Vec<u8> {
    let (_, inside) = path.split_once("volume.zarr/s").unwrap();
    let numbers: Vec<i64> = inside.split('/').map(|part| part.parse().unwrap()).collect();
    let chunk: Vec<i64> = zarray["chunks"].as_array().unwrap().iter().map(|n| n.as_i64().unwrap()).collect();
    let level = usize::try_from(numbers[0]).unwrap();
    let itemsize = spec.dtype.itemsize();
    let mut bytes = Vec::new();
    for z in 0..chunk[0] {
        for y in 0..chunk[1] {
            for x in 0..chunk[2] {
                let index = [numbers[1] * chunk[0] + z, numbers[2] * chunk[1] + y, numbers[3] * chunk[2] + x];
                let value = model_voxel(spec, level, Coordinate::from(index) + spec.levels[level].origin);
                bytes.extend_from_slice(&value.to_le_bytes()[..itemsize]);
            }
        }
    }
    bytes
}

#[test]
fn every_byte_equals_the_model_in_windows_of_any_size() {
    let fs = small_tree();
    let (gray, seg) = (gray(), segmentation());
    let mut windows = [131_072, 99_991, 65_535, u32::MAX].into_iter().cycle();
    let mut n_chunks = 0;
    for (path, attributes) in walk(&fs).iter().filter(|(path, _)| is_chunk(path)) {
        let spec = if path.starts_with("gray") { &gray.spec } else { &seg.spec };
        let (array, _) = path.split_once("/volume.zarr/").unwrap();
        let level = &path[array.len() + "/volume.zarr/".len()..][..2];
        let zarray = read_json(&fs, &format!("{array}/volume.zarr/{level}/.zarray"));
        let bytes = read_all(&fs, attributes.ino, windows.next().unwrap());
        assert_eq!(bytes.len() as u64, attributes.size, "{path}");
        assert!(bytes == expected_chunk(spec, path, &zarray), "{path} differs");
        n_chunks += 1;
    }
    // Gray: z 0-1, y 1-2, x 0-2 and one level of 1 by 2 by 2; labels: 2 along x, in two views.
    assert_eq!(n_chunks, 2 * 2 * 3 + 2 * 2 + 2 + 2);
}

#[test]
fn every_voxel_of_the_data_lies_in_a_chunk_that_exists() {
    let fs = small_tree();
    let spec = gray().spec.clone();
    for (level, described) in spec.levels.iter().enumerate() {
        let mut missing = 0;
        let data = spec.data.at_scale(described.scale);
        for index in VoxelBox::from_shape(Coordinate::ZERO, described.shape).unwrap().indices() {
            if index.axes().iter().any(|i| i % 16 != 0 && i % 16 != 15) {
                continue;
            }
            let [z, y, x] = index.div_floor(described.chunk_shape).axes();
            let found = find(&fs, &format!("gray/volume.zarr/s{level}/{z}/{y}/{x}"));
            if data.contains_voxel(index + described.origin) {
                assert!(found.is_ok(), "{index} of level {level}");
            }
            missing += usize::from(matches!(found, Err(Error::NoSuchName)));
        }
        assert_eq!(missing > 0, level == 0, "level {level}");
    }
}

#[test]
fn a_read_is_cut_at_the_end_and_never_short_before() {
    let fs = small_tree();
    let file = find(&fs, "gray/volume.zarr/s1/0/0/0").unwrap();
    for (offset, size, expected) in [
        (0, 0, 0),
        (0, 1, 1),
        (file.size - 1, 1, 1),
        (file.size - 1, 4096, 1),
        (file.size, 4096, 0),
        (file.size + 1, 1, 0),
        (u64::MAX, u32::MAX, 0),
        (4095, 4098, 4098),
        (0, u32::MAX, 64 * 64 * 64),
    ] {
        assert_eq!(read_at(&fs, file.ino, 0, offset, size).unwrap().len(), expected, "{offset} {size}");
        let attrs = find(&fs, "gray/attrs.json").unwrap();
        let text = read_at(&fs, attrs.ino, 0, offset, size).unwrap();
        let in_text = attrs.size.min(offset.saturating_add(size.into())).saturating_sub(offset);
        assert_eq!(text.len() as u64, in_text, "{offset} {size}");
    }
}

#[test]
fn metadata_is_what_was_given_byte_for_byte() {
    let fs = small_tree();
    let info = find(&fs, "gray/info").unwrap();
    assert_eq!(read_all(&fs, info.ino, 3), b"{\"Base\" : \"byte for byte\"}\n");
    assert_eq!(read_json(&fs, "gray/attrs.json"), json!({"name": "gray"}));
    assert_eq!(read_json(&fs, "node.json"), json!({"uuid": "28841c"}));
    assert_eq!(read_json(&fs, ".dvidfs/config.json"), json!({"ttl": 5}));
    assert_eq!(read_json(&fs, "gray/volume.zarr/s0/.zarray")["dtype"], "|u1");
    let readme = String::from_utf8(read_all(&fs, find(&fs, "README.txt").unwrap().ino, 100)).unwrap();
    for word in
        ["gray  (labelmap)", "seg%2Fment%3F", "kv  (keyvalue, no voxels", "zarr.open(\"MOUNT/gray/volume.zarr/s0\""]
    {
        assert!(readme.contains(word), "{word:?} is not in\n{readme}");
    }
}

#[test]
fn names_that_are_none_are_not_found_and_cost_no_read() {
    let gray = gray();
    let fs = mount(vec![with_voxels(&gray, None)]);
    for path in [
        "gray/volume.zarr/s0/0/0/00",
        "gray/volume.zarr/s0/00",
        "gray/volume.zarr/s0/+1",
        "gray/volume.zarr/s0/-1",
        "gray/volume.zarr/s0/1 ",
        "gray/volume.zarr/s0/.zgroup",
        "gray/volume.zarr/s2",
        "gray/volume.zarr/s00",
        "gray/volume.zarr/zarr.json",
        "gray/volume.zarr/labels",
        "gray/.zgroup",
        "Gray",
        "gray ",
        ".zgroup",
    ] {
        assert!(matches!(find(&fs, path), Err(Error::NoSuchName)), "{path}");
    }
    let not_text = OsStr::from_bytes(b"gr\xffay");
    assert!(matches!(fs.lookup(ROOT, not_text), Err(Error::NoSuchName)));
    let long = "x".repeat(256);
    assert!(matches!(fs.lookup(ROOT, OsStr::new(&long)), Err(Error::NameTooLong)));
    assert!(matches!(fs.lookup(ROOT, OsStr::new(&long[1..])), Err(Error::NoSuchName)));
    walk(&fs);
    assert_eq!(gray.n_reads.load(Ordering::Relaxed), 0);
}

#[test]
fn files_and_directories_are_not_taken_for_each_other() {
    let fs = small_tree();
    let chunk = find(&fs, "gray/volume.zarr/s1/0/0/0").unwrap().ino;
    for file in [chunk, find(&fs, "gray/info").unwrap().ino] {
        assert!(matches!(fs.lookup(file, OsStr::new("0")), Err(Error::NotADirectory)));
        assert!(matches!(fs.read_dir(file, 0, &mut |_| true), Err(Error::NotADirectory)));
        assert!(matches!(fs.open_dir(file), Err(Error::NotADirectory)));
    }
    for folder in [ROOT, find(&fs, "gray/volume.zarr/s1/0").unwrap().ino] {
        assert!(matches!(fs.open(folder), Err(Error::IsADirectory)));
        assert!(matches!(read_at(&fs, folder, 0, 0, 1), Err(Error::IsADirectory)));
        assert_eq!(fs.open_dir(folder).unwrap(), Caching::Keep);
    }
}

#[test]
fn inode_numbers_that_were_never_given_are_refused() {
    let fs = small_tree();
    let found: HashSet<u64> = walk(&fs).values().map(|attributes| attributes.ino).chain([ROOT]).collect();
    let near = found.iter().flat_map(|ino| (ino.saturating_sub(3)..ino + 4).chain([ino + (1 << 40), ino + (1 << 63)]));
    for ino in near.chain([0, u64::MAX, u64::MAX >> 1]).filter(|ino| !found.contains(ino)) {
        assert!(matches!(fs.attributes(ino), Err(Error::NoSuchInode(given)) if given == ino), "{ino:#x}");
        assert!(matches!(fs.open(ino), Err(Error::NoSuchInode(_))));
        assert!(matches!(read_at(&fs, ino, 0, 0, 1), Err(Error::NoSuchInode(_))));
        assert!(matches!(fs.lookup(ino, OsStr::new("0")), Err(Error::NoSuchInode(_))));
        assert!(matches!(fs.read_dir(ino, 0, &mut |_| true), Err(Error::NoSuchInode(_))));
    }
}

#[test]
fn what_may_change_is_kept_for_its_ttl_and_the_rest_for_ever() {
    let fs = small_tree();
    let check = |path: &str, lasting: Lasting, caching: Caching| {
        let found = find(&fs, path).unwrap();
        assert_eq!(fs.attributes(found.ino).unwrap().1, lasting, "{path}");
        assert_eq!(fs.open(found.ino).unwrap().caching, caching, "{path}");
    };
    for path in ["README.txt", "gray/info", "gray/volume.zarr/.zattrs", "gray/volume.zarr/s1/0/0/0"] {
        check(path, Lasting::Forever, Caching::Keep);
    }
    for path in ["info", "volume.zarr/.zattrs", "volume.zarr/s0/0/0/0", "supervoxels/volume.zarr/s0/0/0/0"] {
        check(&format!("seg%2Fment%3F/{path}"), Lasting::For(Duration::from_secs(5)), Caching::Direct);
    }
    for path in ["stats.json", "metrics", "errors.jsonl"] {
        check(&format!(".dvidfs/{path}"), Lasting::For(Duration::ZERO), Caching::Direct);
    }
}

#[test]
fn a_failed_read_says_where_and_is_remembered() {
    let gray = gray();
    let fs = mount(vec![with_voxels(&gray, None)]);
    let path = "gray/volume.zarr/s1/0/1/1";
    let ino = find(&fs, path).unwrap().ino;
    assert_eq!(find(&fs, ".dvidfs/errors.jsonl").unwrap().size, 0);
    for (mood, code) in [(Mood::Failing, "out_of_bounds"), (Mood::Short, "bad_length")] {
        *gray.mood.lock().unwrap() = mood;
        match read_at(&fs, ino, 0, 1000, u32::MAX) {
            Err(Error::Array { path: told, source }) => assert_eq!((told.as_str(), source.code()), (path, code)),
            other => panic!("{other:?}"),
        }
    }
    *gray.mood.lock().unwrap() = Mood::Well;
    assert_eq!(read_at(&fs, ino, 0, 1000, 5).unwrap().len(), 5);

    let errors = find(&fs, ".dvidfs/errors.jsonl").unwrap();
    let text = String::from_utf8(read_all(&fs, errors.ino, 77)).unwrap();
    assert_eq!(text.len() as u64, errors.size);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["path"], &lines[0]["code"]), (&path.into(), &"out_of_bounds".into()));
    assert_eq!((&lines[1]["offset"], &lines[1]["size"]), (&1000.into(), &(64 * 64 * 64 - 1000).into()));
    assert!(lines[0]["time"].as_f64().unwrap() > 1.7e9);
    assert!(lines[0]["cause"].as_str().unwrap().contains("outside"));
    assert_eq!(fs_metric(&fs, "dvidfs_failed_reads"), Some(2));
}

fn fs_metric(fs: &VirtualFs, name: &str) -> Option<u64> {
    let text = String::from_utf8(read_all(fs, find(fs, ".dvidfs/metrics").unwrap().ino, 4096)).unwrap();
    text.lines().find_map(|line| line.trim().strip_prefix(name)?.trim().parse().ok())
}

#[test]
fn a_control_file_stays_as_it_was_at_open() {
    let metrics = Arc::new(Metrics::default());
    let counted = Arc::clone(&metrics);
    let fs = VirtualFs::new(Contents {
        source: String::new(),
        node: Value::Null,
        config: Value::Null,
        updated_s: 0,
        instances: vec![],
        stats: Box::new(move || json!({"reads": counted.get(Counter::FuseReads)})),
        metrics: Arc::clone(&metrics),
    })
    .unwrap();
    let file = find(&fs, ".dvidfs/stats.json").unwrap();
    assert_eq!(file.size, 512);
    let opened = fs.open(file.ino).unwrap();
    metrics.count(Counter::FuseReads);
    let json = |fh| serde_json::from_slice::<Value>(&read_at(&fs, file.ino, fh, 0, 1 << 20).unwrap()).unwrap();
    assert_eq!(json(opened.fh), json!({"reads": 0}));
    let later = fs.open(file.ino).unwrap();
    assert_eq!((json(opened.fh), json(later.fh)), (json!({"reads": 0}), json!({"reads": 1})));
    fs.release(opened.fh);
    fs.release(later.fh);
    assert_eq!(json(opened.fh), json!({"reads": 1}));
    // Files that have no snapshot have no handle either.
    assert_eq!(fs.open(find(&fs, "README.txt").unwrap().ino).unwrap().fh, 0);
}

#[test]
fn a_directory_of_millions_is_found_through_but_not_listed() {
    let long = model("long", Dtype::Uint8, ([0, 0, 0], [64 * 1_000_001, 1, 1]), 1, Freshness::Forever);
    let fs = mount(vec![with_voxels(&long, None)]);
    let s0 = find(&fs, "long/volume.zarr/s0").unwrap();
    let listing = fs.read_dir(s0.ino, 0, &mut |_| panic!("a part of the names"));
    assert!(matches!(listing, Err(Error::TooManyNames { n_names: 1_000_003 })), "{listing:?}");
    assert_eq!(s0.nlink, 1_000_003);
    assert_eq!(find(&fs, "long/volume.zarr/s0/1000000/0/0").unwrap().size, 64 * 64 * 64);
    assert!(matches!(find(&fs, "long/volume.zarr/s0/1000001"), Err(Error::NoSuchName)));

    let listable = model("long", Dtype::Uint8, ([0, 0, 0], [64 * 999_000, 1, 1]), 1, Freshness::Forever);
    let fs = mount(vec![with_voxels(&listable, None)]);
    let ino = find(&fs, "long/volume.zarr/s0").unwrap().ino;
    let mut n = 0_u64;
    fs.read_dir(ino, 0, &mut |entry| {
        n += 1;
        entry.next_cookie == n
    })
    .unwrap();
    assert_eq!(n, 2 + 2 + 999_000);
}

#[test]
fn arrays_that_overflow_a_slot_keep_their_inodes_apart() {
    let data = ([0; 3], [1 << 50, 100, 70]);
    let huge: Vec<_> =
        ["a", "b"].iter().map(|name| with_voxels(&model(name, Dtype::Uint8, data, 1, TTL), None)).collect();
    let fs = mount(huge);
    let mut seen = HashSet::new();
    for name in ["a", "b"] {
        for z in [0, 1, (1 << 39) + 7, 1 << 43, (1 << 44) - 1_u64] {
            for path in [format!("{z}"), format!("{z}/1"), format!("{z}/0/1"), format!("{z}/1/0")] {
                let path = format!("{name}/volume.zarr/s0/{path}");
                let found = find(&fs, &path).unwrap();
                assert!(seen.insert(found.ino), "{path}");
                assert_eq!(fs.attributes(found.ino).unwrap().0, found);
                assert_eq!(fs.path(found.ino), path);
            }
        }
    }
}

#[test]
fn two_instances_of_one_name_are_refused() {
    let contents = |instances| Contents {
        source: String::new(),
        node: Value::Null,
        config: Value::Null,
        updated_s: 0,
        instances,
        stats: Box::new(|| Value::Null),
        metrics: Arc::new(Metrics::default()),
    };
    let twins = vec![without_voxels("a"), without_voxels("a")];
    assert_eq!(VirtualFs::new(contents(twins)).unwrap_err(), BuildError::SameName("a".into()));
    let ours = ["info", "README.txt", "readme.txt", "node.json", ".dvidfs", ".", "..", "", "%2E"];
    let fs = VirtualFs::new(contents(ours.iter().map(|name| without_voxels(name)).collect())).unwrap();
    let names: HashSet<String> = list(&fs, ROOT, 100).into_iter().map(|listed| listed.0).collect();
    assert_eq!(names.len(), 2 + 3 + ours.len());
}
