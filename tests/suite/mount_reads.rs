//! Every voxel of every instance of the test dataset, through a real mount, against the pure function.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dvidfs::demo::{Dataset, Demo, DemoOptions, InstanceSpec, Kind, VERSIONS};
use dvidfs::geometry::{Coordinate, VoxelBox};

use crate::support::{Mounted, can_mount, chunk_of, file_values, levels, time_limit};

fn demo() -> Demo {
    Demo::start(DemoOptions { dataset: Dataset::test(), ..DemoOptions::default() }).unwrap()
}

/// The directory of an instance; `%` is escaped.
fn directory(mounted: &Mounted, spec: &InstanceSpec) -> PathBuf {
    mounted.root().join(spec.name.replace('%', "%25"))
}

/// Every file below a directory.
fn files(directory: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { assert!(found.insert(path)) }
    }
    found
}

/// Compares all levels of one view; gives how many voxels were compared.
fn check_view(dataset: &Dataset, version: usize, place: &Path, bodies: bool) -> u128 {
    let mut n_voxels = 0;
    for level in levels(place) {
        let spec = dataset.instance(&level.instance).unwrap();
        let mut left = files(&level.directory);
        let n_chunks = level.shape.div_ceil(level.chunk_shape);
        for index in VoxelBox::from_shape(Coordinate::ZERO, n_chunks).unwrap().indices() {
            let chunk = chunk_of(&level, index);
            let expected = file_values(dataset, version, &spec, level.scale, bodies, chunk.voxels);
            if left.remove(&chunk.path) {
                assert!(fs::read(&chunk.path).unwrap() == expected, "{} differs", chunk.path.display());
            } else {
                assert!(!chunk.path.exists() && expected.iter().all(|&byte| byte == 0), "{}", chunk.path.display());
            }
            n_voxels += chunk.voxels.n_voxels();
        }
        let names: BTreeSet<_> = left.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, BTreeSet::from([".zarray", ".zattrs"]), "nothing else in {}", level.directory.display());
    }
    n_voxels
}

fn check_version(version: usize, source: &str, dataset: &Dataset) -> u128 {
    let mounted = Mounted::new(source, &["--settle", "0"]);
    let mut n_voxels = 0;
    for spec in dataset.instances().filter(|spec| spec.dtype().is_some() && !spec.null_extents) {
        let place = directory(&mounted, spec);
        let labelmap = matches!(spec.kind, Kind::LabelMap(_));
        n_voxels += check_view(dataset, version, &place, labelmap);
        if labelmap {
            n_voxels += check_view(dataset, version, &place.join("supervoxels"), false);
        }
    }
    n_voxels
}

#[test]
fn every_voxel_of_every_instance_equals_the_pure_function() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(240));
    let demo = demo();
    let n_voxels = check_version(0, &format!("{}/{}", demo.origin(), VERSIONS[0].uuid), demo.dataset());
    println!("{n_voxels} voxels compared at the root");
    assert!(n_voxels > 20_000_000, "{n_voxels}");
    let only_gets = demo.requests().iter().all(|request| request.starts_with("GET "));
    assert!(only_gets, "only GET leaves the client");
}

#[test]
fn every_voxel_of_the_open_head_equals_the_pure_function() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(240));
    let demo = demo();
    let n_voxels = check_version(2, &format!("{}/a40d:master", demo.origin()), demo.dataset());
    println!("{n_voxels} voxels compared at the head");
    assert!(n_voxels > 20_000_000, "{n_voxels}");
}

#[test]
fn levels_differ_in_their_blocks_and_come_from_buckets_too() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let demo = demo();
    let mounted = Mounted::new(&format!("{}/a40d", demo.origin()), &["--settle", "0"]);
    for (name, sources) in [
        ("mixed", &["mixed", "mixed_1", "mixed_2"][..]),
        ("em", &["em", "em_1"]),
        ("rawem", &["rawem"]),
        ("rgba", &["rgba", "rgba_1"]),
    ] {
        let levels = levels(&mounted.root().join(name));
        assert_eq!(levels.iter().map(|level| level.instance.as_str()).collect::<Vec<_>>(), sources);
        let finest = &levels[0];
        for (level, factor) in levels.iter().zip([1, 2, 4]) {
            assert_eq!(level.shape * Coordinate::splat(factor), finest.shape, "{name}");
            assert_eq!(level.origin * Coordinate::splat(factor), finest.origin, "{name}");
            let block = demo.dataset().instance(&level.instance).unwrap().block_shape;
            assert_eq!(level.chunk_shape.div_floor(block) * block, level.chunk_shape, "whole blocks of {name}");
        }
        assert!(check_view(demo.dataset(), 0, &mounted.root().join(name), false) > 0);
    }
    // A bucket was asked for one block at a time, and never outside the volume: those are errors.
    let asked = demo.requests();
    let of_bucket: Vec<_> = asked.iter().filter(|request| request.contains("/em/subvolblocks/")).collect();
    assert!(!of_bucket.is_empty() && of_bucket.iter().all(|request| request.contains("/subvolblocks/64_64_64/")));
    assert_eq!(mounted.counter("dvid_failed_requests"), 0);
}

#[test]
fn reads_at_odd_places_give_exactly_what_is_there() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let demo = demo();
    let mounted = Mounted::new(&format!("{}/a40d", demo.origin()), &["--settle", "0"]);
    let level = &levels(&mounted.root().join("seg32"))[0];
    let spec = demo.dataset().instance("seg32").unwrap();
    let chunk = chunk_of(level, level.shape.div_floor(level.chunk_shape));
    let expected = file_values(demo.dataset(), 0, &spec, level.scale, true, chunk.voxels);
    let file = fs::File::open(&chunk.path).unwrap();
    assert_eq!(file.metadata().unwrap().len(), expected.len() as u64);
    for (offset, length) in [(0, 1), (1, 7), (4095, 2), (131_071, 4098), (expected.len() - 3, 100), (expected.len(), 5)]
    {
        let mut buffer = vec![0xEE; length];
        let n = file.read_at(&mut buffer, offset as u64).unwrap();
        let end = expected.len().min(offset + length);
        assert_eq!(&buffer[..n], &expected[offset..end], "{length} bytes at {offset}");
    }
}

#[test]
fn info_is_the_servers_own_byte_for_byte() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let demo = demo();
    let mounted = Mounted::new(&format!("{}/a40d", demo.origin()), &[]);
    for name in ["gray", "segmentation", "kv", "aniso", "null"] {
        let shown = fs::read(mounted.root().join(name).join("info")).unwrap();
        let answer = ureq_free_get(&demo, &format!("/api/node/a40d/{name}/info"));
        assert_eq!(String::from_utf8(shown).unwrap(), answer, "{name}");
    }
    let attrs: serde_json::Value =
        serde_json::from_slice(&fs::read(mounted.root().join("null/attrs.json")).unwrap()).unwrap();
    assert!(attrs["shape"].is_null() && attrs["reason"].as_str().unwrap().contains("--extents"), "{attrs}");
    assert!(!mounted.root().join("null/volume.zarr").exists());
}

/// A GET over a plain socket: the body of an answer with a Content-Length.
fn ureq_free_get(demo: &Demo, target: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", demo.port())).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let (mut head_end, mut length) = (0, usize::MAX);
    while answer.len() - head_end < length {
        let mut buffer = [0; 4096];
        let n = stream.read(&mut buffer).unwrap();
        answer.extend(&buffer[..n]);
        if let (usize::MAX, Some(end)) = (length, answer.windows(4).position(|four| four == b"\r\n\r\n")) {
            let head = String::from_utf8_lossy(&answer[..end]).into_owned();
            let line = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
            (head_end, length) = (end + 4, line.parse().unwrap());
        }
    }
    String::from_utf8(answer[head_end..].to_vec()).unwrap()
}

#[test]
fn null_extents_are_given_by_an_option() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let demo = demo();
    let source = format!("{}/a40d", demo.origin());
    let mounted = Mounted::new(&source, &["--extents", "null=0:64,0:64,0:64", "--settle", "0"]);
    assert_eq!(check_view(demo.dataset(), 0, &mounted.root().join("null"), false), 64 * 64 * 64);
}
