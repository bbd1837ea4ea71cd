//! DVID's JSON about the server, the repo and its instances, with fields in the order of Go's structs.

use std::time::Duration;

use serde_json::Value;

use crate::geometry::{Coordinate, Scale, VoxelBox};
use crate::voxels::Dtype;

use super::clock;
use super::dataset::{Dataset, InstanceSpec, Kind, Stored, VERSIONS};

/// No label of the demo is larger.
pub(super) const MAX_LABEL: u64 = (1 << 62) - 1;

/// A JSON string.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn list(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(","))
}

fn xyz(zyx: Coordinate) -> String {
    format!("[{},{},{}]", zyx.x(), zyx.y(), zyx.z())
}

/// `GET <instance>/info`.
pub(super) fn instance(dataset: &Dataset, spec: &InstanceSpec) -> String {
    let (base, extended) = (base(dataset, spec), extended(spec));
    let has_extents = spec.dtype().is_some() && spec.kind != Kind::LabelBlk;
    let extents = if has_extents { format!(",\"Extents\":{{{}}}", points(spec)) } else { String::new() };
    format!("{{\"Base\":{base},\"Extended\":{{{extended}}}{extents}}}")
}

fn base(dataset: &Dataset, spec: &InstanceSpec) -> String {
    let typename = typename(spec.kind);
    let (url, version) = match spec.kind {
        Kind::Image(dtype) => (format!("imageblk/{dtype}.go"), if dtype == Dtype::Uint8 { "0.2" } else { "0.1" }),
        Kind::Rgba => ("imageblk/rgba8.go".to_owned(), "0.2"),
        Kind::Other("keyvalue") => ("keyvalue".to_owned(), "0.2"),
        Kind::LabelBlk | Kind::LabelArray(_) | Kind::LabelMap(_) | Kind::Other(_) => (typename.clone(), "0.1"),
    };
    let compression = match spec.stored {
        // Whatever the chunks are.
        _ if spec.bucket => "jpeg compression, level 32",
        Stored::Lz4 if matches!(spec.kind, Kind::LabelArray(_) | Kind::LabelMap(_)) => "gzip compression, level -1",
        Stored::Lz4 => "LZ4 compression, level -1",
        Stored::Gzip => "gzip compression, level -1",
        Stored::None => "No compression, level -1",
        Stored::Snappy => "Go Snappy compression, level -1",
        // DVID prints the first axis of the block where the level belongs.
        Stored::Jpeg => &format!("jpeg compression, level {}", spec.block_shape.x()),
    };
    let syncs = if typename == "annotation" { "[\"segmentation\"]" } else { "[]" };
    format!(
        "{{\"TypeName\":\"{typename}\",\"TypeURL\":\"github.com/janelia-flyem/dvid/datatype/{url}\",\"TypeVersion\":\"{version}\",\
         \"DataUUID\":\"{}\",\"Name\":{},\"RepoUUID\":\"{}\",\"Compression\":\"{compression}\",\"Checksum\":\"No checksum\",\
         \"Syncs\":{syncs},\"Versioned\":{},\"KVStore\":\"badger @ /data/db\",\"LogStore\":\"write logs @ /data/mutlog\",\"Tags\":null}}",
        data_uuid(&spec.name, spec.incarnation),
        quoted(&spec.name),
        dataset.root(),
        spec.versioned,
    )
}

/// DVID's name of a type.
pub(super) fn typename(kind: Kind) -> String {
    match kind {
        Kind::Image(dtype) => format!("{dtype}blk"),
        Kind::Rgba => "rgba8blk".to_owned(),
        Kind::LabelBlk => "labelblk".to_owned(),
        Kind::LabelArray(_) => "labelarray".to_owned(),
        Kind::LabelMap(_) => "labelmap".to_owned(),
        Kind::Other(typename) => typename.to_owned(),
    }
}

/// 32 hex digits that follow from the name, and from how often it was made.
fn data_uuid(name: &str, incarnation: u64) -> String {
    let number = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let number = number.wrapping_add(incarnation);
    format!("{number:016x}{:016x}", number.rotate_left(17))
}

/// The fields of `Extended`.
fn extended(spec: &InstanceSpec) -> String {
    match spec.kind {
        Kind::Rgba | Kind::Image(_) | Kind::LabelBlk => properties(spec),
        Kind::LabelArray(_) | Kind::LabelMap(_) => format!("{},{}", properties(spec), label_properties(spec)),
        Kind::Other("roi") => "\"BlockSize\":[32,32,32],\"MinZ\":0,\"MaxZ\":1".to_owned(),
        Kind::Other(_) => String::new(),
    }
}

fn properties(spec: &InstanceSpec) -> String {
    let dtype = spec.dtype().unwrap_or(Dtype::Uint8);
    let labels = match spec.kind {
        Kind::Rgba => ["red", "green", "blue", "alpha"].map(str::to_owned).to_vec(),
        Kind::Other(_) => Vec::new(),
        Kind::Image(dtype) => vec![dtype.name().to_owned()],
        Kind::LabelBlk | Kind::LabelArray(_) | Kind::LabelMap(_) => vec![typename(spec.kind)],
    };
    let values = list(labels.iter().map(|label| format!("{{\"DataType\":\"{dtype}\",\"Label\":\"{label}\"}}")));
    let indices = match shown(spec).filter(|_| spec.kind != Kind::LabelBlk) {
        Some(data) => {
            let blocks = spec.grid().block_range(data).0;
            let last = if spec.bucket { spec.grid().block_of(data.end()).0 } else { blocks.end() - Coordinate::ONE };
            format!("\"MinIndex\":{},\"MaxIndex\":{}", xyz(blocks.begin()), xyz(last))
        }
        None => "\"MinIndex\":null,\"MaxIndex\":null".to_owned(),
    };
    format!(
        "\"Values\":{values},\"Interpolable\":{},\"BlockSize\":{},\"VoxelSize\":[{}],\"VoxelUnits\":[{unit},{unit},{unit}],{},\
         {indices},\"Background\":0,\"GridStore\":\"{}\",\"ScaleLevel\":{}",
        !spec.is_label(),
        xyz(spec.block_shape),
        // The digits that it was written with, as DVID keeps them.
        spec.voxel_size_xyz.join(","),
        points(spec),
        if spec.bucket { "bucket" } else { "" },
        if spec.bucket { spec.coarser_by } else { Scale::FULL },
        unit = quoted(spec.units),
    )
}

/// The last voxel is told, not the one past it; but of a bucket it is the one past it.
fn points(spec: &InstanceSpec) -> String {
    let behind = Coordinate::splat(if spec.bucket { 0 } else { 1 });
    match shown(spec) {
        Some(data) => format!("\"MinPoint\":{},\"MaxPoint\":{}", xyz(data.begin()), xyz(data.end() - behind)),
        None => "\"MinPoint\":null,\"MaxPoint\":null".to_owned(),
    }
}

fn shown(spec: &InstanceSpec) -> Option<VoxelBox> {
    Some(spec.data).filter(|data| !spec.null_extents && !data.is_empty())
}

fn label_properties(spec: &InstanceSpec) -> String {
    let (next, count) = match spec.kind {
        Kind::LabelMap(_) => ("\"NextLabel\":0,", ""),
        Kind::LabelArray(_) | Kind::LabelBlk | Kind::Image(_) | Kind::Rgba | Kind::Other(_) => {
            ("", "\"CountLabels\":true,")
        }
    };
    format!(
        "\"MaxLabel\":{{\"1\":{MAX_LABEL}}},\"MaxRepoLabel\":{MAX_LABEL},{next}\"IndexedLabels\":true,{count}\"MaxDownresLevel\":{}",
        spec.max_scale()
    )
}

/// `GET <instance>/metadata`.
pub(super) fn metadata(spec: &InstanceSpec) -> String {
    let data = shown(spec).unwrap_or(VoxelBox::EMPTY);
    let axes = ["X", "Y", "Z"].into_iter().enumerate().map(|(axis, label)| {
        format!(
            "{{\"Label\":\"{label}\",\"Resolution\":{},\"Units\":{},\"Size\":{},\"Offset\":{}}}",
            spec.voxel_size_xyz[axis],
            quoted(spec.units),
            data.shape().axes()[2 - axis] + i64::from(spec.bucket),
            data.begin().axes()[2 - axis],
        )
    });
    format!("{{\"Axes\":{},\"Properties\":{{{}}}}}\n", list(axes), properties(spec))
}

/// `GET repo/<uuid>/info`.
pub(super) fn repo(dataset: &Dataset) -> String {
    let root = dataset.root();
    let mut specs: Vec<_> = dataset.instances().collect();
    specs.sort_by(|a, b| a.name.cmp(&b.name));
    let instances: Vec<_> =
        specs.iter().map(|spec| format!("{}:{}", quoted(&spec.name), instance(dataset, spec))).collect();
    let mut versions: Vec<_> = (0..VERSIONS.len()).collect();
    versions.sort_by_key(|&version| VERSIONS[version].uuid);
    let nodes: Vec<_> =
        versions.iter().map(|&version| format!("\"{}\":{}", VERSIONS[version].uuid, node(dataset, version))).collect();
    format!(
        "{{\"Root\":\"{root}\",\"Alias\":{},\"Description\":\"tissue that never was\",\"Log\":[],\"Properties\":{{}},\
         \"DataInstances\":{{{}}},\"DAG\":{{\"Root\":\"{root}\",\"Nodes\":{{{}}}}},\
         \"MutationID\":1000000000,\"SavedMutationID\":1000001000,\"Created\":\"{CREATED}\",\"Updated\":\"{CREATED}\"}}",
        quoted(dataset.alias),
        instances.join(","),
        nodes.join(","),
    )
}

const CREATED: &str = "2020-01-02T03:04:05.123456789Z";

/// The commit message of a version.
pub(super) fn note(version: usize) -> String {
    match VERSIONS[version].branch.strip_prefix("tag-") {
        Some(tag) => format!("Tag of version {} with \"{tag}\"", VERSIONS[1].uuid),
        None => format!("version {version} of the demo"),
    }
}

fn node(dataset: &Dataset, version: usize) -> String {
    let children = (0..VERSIONS.len()).filter(|&child| VERSIONS[child].parent == Some(version));
    let of = &VERSIONS[version];
    let updated = dataset.commit_of(version).map_or(CREATED.to_owned(), clock::rfc3339);
    format!(
        "{{\"Branch\":\"{}\",\"Note\":{},\"Log\":[],\"UUID\":\"{}\",\"VersionID\":{},\"Locked\":{},\"Parents\":{},\"Children\":{},\
         \"Created\":\"{CREATED}\",\"Updated\":\"{updated}\"}}",
        of.branch,
        quoted(&note(version)),
        of.uuid,
        version + 1,
        dataset.is_locked(version),
        list(of.parent.map(|parent| (parent + 1).to_string())),
        list(children.map(|child| (child + 1).to_string())),
    )
}

/// `GET repo/<uuid>/branch-versions/<branch>`.
pub(super) fn uuids(versions: &[usize]) -> String {
    list(versions.iter().map(|&version| quoted(VERSIONS[version].uuid)))
}

/// `GET server/info`: every value is a string.
pub(super) fn server(uptime: Duration, mode: Option<&str>, host: &str) -> String {
    let mode = mode.map_or(String::new(), |mode| format!("\"Mode\":{},", quoted(mode)));
    format!(
        "{{\"Cores\":\"2\",\"DVID Version\":\"demo of dvidfs\",\"Datastore Version\":\"0.11.0\",\"Host\":{},\"Max Open Files\":\"20000\",\
         \"Maximum Cores\":\"2\",{mode}\"Note\":\"\",\"RPC Address\":\"127.0.0.1:8001\",\"Server time\":\"{} +0000 UTC m=+{:.9}\",\
         \"Server uptime\":\"{}\",\"Storage backend\":\"none\",\"TOML location\":\"config.toml\"}}",
        quoted(host),
        clock::server_time(),
        uptime.as_secs_f64(),
        clock::go_duration(uptime),
    )
}
