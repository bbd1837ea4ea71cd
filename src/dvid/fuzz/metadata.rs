//! Fuzz targets `instance_info` and `repo_info`: numbers that came through are such as every floor above can count with.

use crate::array::{ArrayKind, ArraySpec, LevelSource};
use crate::demo::fuzz::{infos, repo};
use crate::dvid::resolve::versions_of;
use crate::dvid::{InstanceEntry, InstanceInfo, InstanceKind, NoVoxels, RepoInfo, View, VoxelInfo};
use crate::fuzz::{Input, KIB, Peak, Target};
use crate::geometry::{Coordinate, Grid, Scale};
use crate::layout::LayoutOptions;

/// One byte that says from where the repo's entry differs; then the answer.
pub(crate) const INSTANCE_INFO: Target = Target { name: "instance_info", run: instance_info, seeds: info_seeds };

/// The answer.
pub(crate) const REPO_INFO: Target = Target { name: "repo_info", run: repo_info, seeds: repo_seeds };

/// Bytes of memory that reading takes for each byte of JSON: a list of short texts is the worst.
const OF_A_BYTE: usize = 64;
/// Voxels of a block.
const MOST_BLOCK_VOXELS: u128 = 16 << 20;

fn instance_info(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let which = input.u8();
    let json = input.rest();
    let copy = json.to_vec();
    let limit = OF_A_BYTE * json.len() + 64 * KIB;
    let Ok(info) = Peak::of(|| InstanceInfo::parse("an instance", copy)).at_most(limit) else { return };
    assert_eq!(*info.json, *json, "DVID's own bytes");
    is_json(json);
    if let Ok(voxels) = &info.voxels {
        assert!(!info.data_uuid.is_empty());
        validated(voxels);
        laid_out(voxels);
    }
    contradicted(info, which);
}

/// What was taken is JSON, but for values that no type holds: one of them must not hide all others.
fn is_json(json: &[u8]) {
    if let Err(error) = serde_json::from_slice::<serde_json::Value>(json) {
        let why = error.to_string();
        assert!(why.contains("number out of range") || why.contains("surrogate"), "no JSON: {why}");
    }
}

/// Every number is in its range, and products of them can be counted.
fn validated(voxels: &VoxelInfo) {
    let VoxelInfo { dtype, channels, kind, block_shape, voxel_size, extents, max_scale, .. } = voxels;
    assert!(Coordinate::ZERO.all_lt(*block_shape), "{block_shape}");
    let n_voxels: u128 = block_shape.axes().iter().map(|&n| u128::from(n.unsigned_abs())).product();
    assert!(n_voxels <= MOST_BLOCK_VOXELS, "{block_shape}");
    if matches!(kind, InstanceKind::LabelArray | InstanceKind::LabelMap) {
        assert!(block_shape.axes().iter().all(|n| n % 8 == 0), "{block_shape}");
        assert_eq!((dtype.itemsize(), *channels), (8, None));
    } else {
        assert_eq!(*max_scale, Scale::FULL);
    }
    assert!(matches!(channels, None | Some(4)));
    assert!(*max_scale <= Scale::MAX);
    assert!(voxel_size.nm().iter().all(|nm| nm.is_finite() && (1e-9..=1e15).contains(nm)), "{voxel_size:?}");
    if let Some(data) = extents {
        assert!(!data.is_empty(), "{data}");
        let whole = i64::from(i32::MIN)..=i64::from(i32::MAX) + 1;
        assert!([data.begin(), data.end()].iter().all(|corner| corner.axes().iter().all(|n| whole.contains(n))));
        assert_eq!(data.n_voxels(), data.shape().axes().iter().map(|&n| u128::from(n.unsigned_abs())).product());
        let blocks = Grid::new(*block_shape).expect("a block with an extent").block_range(*data);
        assert!(blocks.n_blocks() > 0 && blocks.n_blocks() <= data.n_voxels());
    }
}

/// Whatever came through can be described as an array, or it is said why not.
fn laid_out(voxels: &VoxelInfo) {
    let Some(data) = voxels.extents else { return };
    let level = LevelSource { source: String::new(), block_shape: voxels.block_shape, extents: None };
    let levels = vec![level; usize::from(voxels.max_scale.0) + 1];
    let kind = if voxels.kind == InstanceKind::ImageBlk { ArrayKind::Image } else { ArrayKind::Labels };
    let spec = ArraySpec::new(String::new(), View::Stored, (voxels.dtype, kind), voxels.voxel_size, data, levels);
    let Ok(spec) = spec.and_then(|spec| spec.with_channels(voxels.channels)) else { return };
    let options = LayoutOptions::default();
    for layout in &options.kinds {
        // Left out is fine.
        let _ = layout.entry(&spec, &options);
    }
}

/// An entry of the repo that says something else takes the voxels away.
fn contradicted(info: InstanceInfo, which: u8) {
    let mut entry = InstanceEntry {
        name: info.name.clone(),
        typename: info.typename.clone(),
        data_uuid: info.data_uuid.clone(),
        repo_uuid: String::new(),
        block_shape: info.voxels.as_ref().ok().map(|voxels| voxels.block_shape),
    };
    let has_voxels = info.voxels.is_ok();
    match which % 4 {
        0 => {
            let checked = info.clone().checked_against(&entry);
            assert_eq!(checked.voxels, info.voxels);
            return;
        }
        1 => entry.typename.push('x'),
        2 => entry.data_uuid.push('x'),
        _ if has_voxels => entry.block_shape = Some(Coordinate::ONE + entry.block_shape.unwrap_or(Coordinate::ONE)),
        _ => return,
    }
    assert!(matches!(info.checked_against(&entry).voxels, Err(NoVoxels::Bad(_))));
}

fn repo_info(json: &[u8]) {
    let limit = OF_A_BYTE * json.len() + 64 * KIB;
    let Ok(repo) = Peak::of(|| RepoInfo::parse(json)).at_most(limit) else { return };
    is_json(json);
    assert!(repo.instances.is_sorted_by(|a, b| a.name < b.name), "each name once, in order");
    assert!(repo.nodes.is_sorted_by(|a, b| a.uuid <= b.uuid), "in order");
    assert!(repo.instances.len() <= 65_536 && repo.nodes.len() <= 65_536);
    for node in &repo.nodes {
        for other in node.parents.iter().chain(&node.children) {
            assert!(repo.nodes.iter().any(|node| node.uuid == *other), "{other:?} is no node");
        }
        // Whatever circles the tree has.
        assert!(versions_of(&repo, &node.branch).len() <= repo.nodes.len());
    }
}

/// Infos of the demo server, and such as lie at the edge of what can be.
fn info_seeds() -> Vec<Vec<u8>> {
    let mut seeds = infos();
    let label = |points: &str| {
        let block = if points.contains("BlockSize") { "" } else { r#""BlockSize":[64,64,64],"# };
        format!(
            r#"{{"Base":{{"TypeName":"labelmap","DataUUID":"d","Versioned":true,"Compression":"gzip compression, level -1"}},
            "Extended":{{{block}"VoxelSize":[4,4.5,1e15],"VoxelUnits":["microns","nm",null],"MaxDownresLevel":20{points}}}}}"#
        )
    };
    for points in [
        r#","MinPoint":[-2147483648,-2147483648,-2147483648],"MaxPoint":[2147483647,2147483647,2147483647]"#,
        r#","MinPoint":[0,0,0],"MaxPoint":[2147483647,1,1]"#,
        r#","MinPoint":null,"MaxPoint":null"#,
        r#","Odd":1e1647,"Half":"\ud800""#,
        r#","BlockSize":[1024,1024,1024]"#,
        r#","MinPoint":[5,5,5],"MaxPoint":[4,5,5]"#,
        r#","MinPoint":[0,0,0],"MaxPoint":[100,100,100],"GridStore":"a bucket""#,
    ] {
        seeds.push(label(points).into_bytes());
    }
    seeds.into_iter().zip(0..).map(|(seed, which)| [&[which], &seed[..]].concat()).collect()
}

fn repo_seeds() -> Vec<Vec<u8>> {
    let circle = br#"{"Root":"a","Alias":null,"DataInstances":{"x":{"Base":{"TypeName":"roi"}},"y":7,"x":{}},"DAG":{"Root":"a","Nodes":{
        "a":{"UUID":"a","VersionID":1,"Branch":"","Locked":true,"Parents":[2],"Children":[2,9],"Note":"n","Log":["l"]},
        "b":{"VersionID":2,"Branch":"e","Parents":[1,1],"Children":null,"Created":"2020-01-02T03:04:05Z"}}}}"#;
    // The repo of the demo server has more instances than a fuzzer can keep apart: it is cut to some.
    let whole = String::from_utf8(repo()).expect("JSON is text");
    let value: serde_json::Value = serde_json::from_str(&whole).expect("JSON");
    let mut small = value.clone();
    if let Some(instances) = small["DataInstances"].as_object_mut() {
        let kept: Vec<_> = instances.keys().take(3).cloned().collect();
        instances.retain(|name, _| kept.contains(name));
    }
    vec![circle.to_vec(), small.to_string().into_bytes(), b"{}".to_vec()]
}
