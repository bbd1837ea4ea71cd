//! Names, inodes, attributes and listings.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;

use super::*;

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
        boxes: Vec::new(),
        layouts: LayoutOptions::default(),
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

#[test]
fn boxes_stand_in_a_directory_of_their_own() {
    let mut shown = with_voxels(&gray(), None);
    shown.name = "part".into();
    let fs = mount_with(vec![without_voxels("boxes")], vec![shown], LayoutOptions::all(&[]).only(&["zarr"]));
    let root = fs.attributes(ROOT).unwrap().0;
    let names: Vec<_> = list(&fs, ROOT, 100).into_iter().map(|listed| listed.0).collect();
    // An instance of that name keeps out of the way.
    assert!(names.contains(&"boxes".to_owned()) && names.contains(&"%62oxes".to_owned()), "{names:?}");
    let part = find(&fs, "boxes/part").unwrap();
    assert_eq!(fs.lookup(part.ino, OsStr::new("..")).unwrap().0, find(&fs, "boxes").unwrap());
    assert_eq!(fs.lookup(find(&fs, "boxes").unwrap().ino, OsStr::new("..")).unwrap().0, root);
    assert!(find(&fs, "boxes/part/volume.zarr/s0/.zarray").is_ok() && find(&fs, "boxes/part/info").is_ok());
    assert!(matches!(find(&small_tree(), "boxes"), Err(Error::NoSuchName)));
    let readme = |fs: &VirtualFs| read_all(fs, find(fs, "README.txt").unwrap().ino, 4096);
    let tells = |text: Vec<u8>| String::from_utf8(text).unwrap().contains("  boxes/ ");
    assert!(tells(readme(&fs)) && !tells(readme(&small_tree())));
}
