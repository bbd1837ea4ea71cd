//! What files hold, and what becomes of a read that fails.

use super::*;
use crate::metrics::Counter;

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

/// Reads a shard as a reader of Zarr v3 does, by its index, and compares each voxel with the model.
fn check_shard(spec: &ArraySpec, level: usize, bytes: &[u8], (shard, chunk): (Coordinate, Coordinate)) {
    let chunks = VoxelBox::from_shape(Coordinate::ZERO, shard.div_floor(chunk)).unwrap();
    let n_chunks = usize::try_from(chunks.n_voxels()).unwrap();
    let index = &bytes[bytes.len() - 16 * n_chunks - 4..];
    let number = |at: usize| u64::from_le_bytes(index[at..at + 8].try_into().unwrap());
    assert_eq!(index[16 * n_chunks..], crc32c::crc32c(&index[..16 * n_chunks]).to_le_bytes());
    for (n, place) in chunks.indices().enumerate() {
        let begin = usize::try_from(number(16 * n)).unwrap();
        let end = begin + usize::try_from(number(16 * n + 8)).unwrap();
        let voxels = VoxelBox::from_shape(spec.levels[level].origin + place * chunk, chunk).unwrap();
        let model = voxels.indices().map(|voxel| model_voxel(spec, level, voxel).to_le_bytes());
        let model: Vec<u8> = model.flat_map(|value| value.into_iter().take(spec.dtype.itemsize())).collect();
        assert!(bytes[begin..end] == model, "chunk {place} of s{level} differs");
    }
}

#[test]
fn shards_hold_the_model_in_windows_of_any_size() {
    let (gray, seg) = (gray(), segmentation());
    let mut windows = [131_072, 99_991, u32::MAX].into_iter().cycle();
    for (array, path) in [(&gray, "gray"), (&seg, "seg%2Fment%3F")] {
        let fs = mount_in(vec![with_voxels(array, None)], LayoutOptions::default().only(&["zarr3"]));
        for level in 0..array.spec.levels.len() {
            let path = format!("{path}/volume-v3.zarr/s{level}");
            let zarr = read_json(&fs, &format!("{path}/zarr.json"));
            let shape =
                |value: &Value| serde_json::from_value::<[i64; 3]>(value["chunk_shape"].clone()).unwrap().into();
            let shard = shape(&zarr["chunk_grid"]["configuration"]);
            let chunk = shape(&zarr["codecs"][0]["configuration"]);
            let file = find(&fs, &format!("{path}/c/0/0/0")).unwrap();
            let bytes = read_all(&fs, file.ino, windows.next().unwrap());
            assert_eq!(bytes.len() as u64, file.size);
            check_shard(&array.spec, level, &bytes, (shard, chunk));
        }
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
    let attrs = json!({"name": "gray", "layouts": ["volume.zarr"], "layouts_left_out": {}});
    assert_eq!(read_json(&fs, "gray/attrs.json"), attrs);
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
fn the_example_of_the_readme_is_an_instance_that_people_open() {
    let named = |name: &str, typename: &str| InstanceFiles {
        name: name.into(),
        typename: typename.into(),
        ..with_voxels(&gray(), None)
    };
    let example = |instances: Vec<InstanceFiles>| {
        let fs = mount(instances);
        let readme = read_all(&fs, find(&fs, "README.txt").unwrap().ino, 4096);
        let readme = String::from_utf8(readme).unwrap();
        readme.split("zarr.open(\"MOUNT/").nth(1).unwrap().split('/').next().unwrap().to_owned()
    };
    assert_eq!(
        example(vec![named("2 odd", "labelmap"), named("a f32", "float32blk"), named("seg", "labelmap")]),
        "seg"
    );
    assert_eq!(example(vec![named("a", "float32blk"), named("gray", "uint8blk")]), "gray");
    assert_eq!(example(vec![named("only?", "uint64blk")]), "only%3F");
}

#[test]
fn an_instance_without_info_shows_no_empty_file() {
    let fs = mount(vec![InstanceFiles { info: Vec::new().into(), ..without_voxels("kv") }]);
    assert!(find(&fs, "kv/attrs.json").is_ok());
    assert!(find(&fs, "kv/info").is_err());
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
    assert!(lines[0]["cause"].as_str().unwrap().contains("too large"));
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
        boxes: Vec::new(),
        layouts: LayoutOptions::default(),
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
    // Snapshots are bounded; beyond them a reader gets what is there when it reads.
    let handles: Vec<u64> = (0..1025).map(|_| fs.open(file.ino).unwrap().fh).collect();
    metrics.count(Counter::FuseReads);
    assert_eq!((json(handles[1023]), json(handles[1024])), (json!({"reads": 1}), json!({"reads": 2})));
    // Files that have no snapshot have no handle either.
    assert_eq!(fs.open(find(&fs, "README.txt").unwrap().ino).unwrap().fh, 0);
}

#[test]
fn files_of_whole_levels_read_to_their_end_and_large_ones_are_named_in_attrs() {
    let gray = gray();
    let layouts = LayoutOptions { flat_limit_bytes: 15 * 20 * 40, ..LayoutOptions::all(&[]).only(&["h5", "flat"]) };
    let fs = mount_in(vec![with_voxels(&gray, None)], layouts);
    let attrs = read_json(&fs, "gray/attrs.json");
    assert_eq!(attrs["layouts"], json!(["volume.h5", "flat"]));
    let why = "a flat file would have 96000 bytes, and --flat-limit is 12000";
    assert_eq!(attrs["layouts_left_out"], json!({"flat/s0": why}));
    let names: Vec<_> = list(&fs, find(&fs, "gray/flat").unwrap().ino, 9).into_iter().map(|listed| listed.0).collect();
    assert_eq!(names, [".", "..", "s1.mhd", "s1.nhdr", "s1.npy", "s1.nrrd", "s1.raw"]);

    let raw = read_all(&fs, find(&fs, "gray/flat/s1.raw").unwrap().ino, 1000);
    let data = VoxelBox::new([20, 50, -35].into(), [35, 70, 5].into()).unwrap();
    let expected: Vec<u8> = data.indices().map(|voxel| model_voxel(&gray.spec, 1, voxel).to_le_bytes()[0]).collect();
    assert_eq!(raw, expected);
    for name in ["npy", "nrrd"] {
        let file = read_all(&fs, find(&fs, &format!("gray/flat/s1.{name}")).unwrap().ino, 5000);
        assert_eq!(file[4096..], expected);
    }
    // 2 * 3 * 3 chunks of the first level and 1 * 2 * 2 of the second, which is 35 high, each whole and behind a gap of 252 KiB.
    let h5 = find(&fs, "gray/volume.h5").unwrap();
    assert_eq!(h5.size, 4096 + (2 * 3 * 3 + 2 * 2) * (252 << 10) + 2 * 3 * 3 * (1 << 18) + 2 * 2 * 35 * (1 << 12));
    let whole = read_all(&fs, h5.ino, 99_991);
    assert_eq!(whole.len() as u64, h5.size);
    // The last chunk of the last level begins at (0, 64, 0) of it.
    let last = VoxelBox::from_shape([0, 64, 0].into(), [35, 64, 64].into()).unwrap();
    let expected: Vec<u8> = last.indices().map(|voxel| model_voxel(&gray.spec, 1, voxel).to_le_bytes()[0]).collect();
    assert!(whole[whole.len() - expected.len()..] == expected);
}
