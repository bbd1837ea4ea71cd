//! DVID's JSON about the server, the repo and its instances.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::geometry::{Coordinate, Scale, VoxelBox};

use super::dataset::{Dataset, InstanceSpec, Kind, Stored, VERSIONS, Version};

fn xyz(zyx: Coordinate) -> Value {
    json!([zyx.x(), zyx.y(), zyx.z()])
}

/// `GET <instance>/info`.
pub(super) fn instance(dataset: &Dataset, spec: &InstanceSpec) -> String {
    let (extended, extents) = extended(spec);
    let mut info = json!({"Base": base(dataset, spec), "Extended": extended});
    if let (Some(extents), false) = (extents, spec.kind == Kind::LabelBlk) {
        info["Extents"] = extents;
    }
    // The voxel size keeps the digits that it was written with, as DVID's does.
    let size = format!("[{}]", spec.voxel_size_xyz.join(","));
    info.to_string().replace("\"@voxel_size@\"", &size)
}

fn base(dataset: &Dataset, spec: &InstanceSpec) -> Value {
    let compression = match spec.stored {
        Stored::Lz4 if matches!(spec.kind, Kind::LabelArray(_) | Kind::LabelMap(_)) => "gzip compression, level -1",
        Stored::Lz4 => "LZ4 compression, level -1",
        Stored::Gzip => "gzip compression, level -1",
        Stored::None => "No compression, level -1",
        Stored::Jpeg => "jpeg compression, level 64",
    };
    let typename = typename(spec.kind);
    json!({
        "TypeName": typename,
        "TypeURL": format!("github.com/janelia-flyem/dvid/datatype/{typename}"),
        "TypeVersion": "0.1",
        "DataUUID": data_uuid(&spec.name),
        "Name": spec.name,
        "RepoUUID": dataset.root(),
        "Compression": compression,
        "Checksum": "No checksum",
        "Syncs": [],
        "Versioned": spec.versioned,
        "KVStore": "demo",
        "LogStore": "no mutation log set",
        "Tags": null,
    })
}

fn typename(kind: Kind) -> String {
    match kind {
        Kind::Image(dtype) => format!("{dtype}blk"),
        Kind::LabelBlk => "labelblk".to_owned(),
        Kind::LabelArray(_) => "labelarray".to_owned(),
        Kind::LabelMap(_) => "labelmap".to_owned(),
        Kind::Other(typename) => typename.to_owned(),
    }
}

/// 32 hex digits that follow from the name.
fn data_uuid(name: &str) -> String {
    let number = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{number:016x}{:016x}", number.rotate_left(17))
}

/// `Extended` and `Extents`.
fn extended(spec: &InstanceSpec) -> (Value, Option<Value>) {
    let Some(dtype) = spec.dtype() else { return (json!({}), None) };
    let extents = Some(spec.data).filter(|_| !spec.null_extents);
    let point = |corner: fn(VoxelBox) -> Coordinate| extents.map_or(Value::Null, |data| xyz(corner(data)));
    let index = |corner: fn(VoxelBox) -> Coordinate| {
        extents.map_or(Value::Null, |data| xyz(spec.grid().block_of(corner(data)).0))
    };
    let first = VoxelBox::begin;
    let last = |data: VoxelBox| data.end() - Coordinate::ONE;
    let mut extended = json!({
        "Values": [{"DataType": dtype.name(), "Label": typename(spec.kind)}],
        "Interpolable": matches!(spec.kind, Kind::Image(_)),
        "BlockSize": xyz(spec.block_shape),
        "VoxelSize": "@voxel_size@",
        "VoxelUnits": [spec.units, spec.units, spec.units],
        "MinPoint": point(first),
        "MaxPoint": point(last),
        "MinIndex": index(first),
        "MaxIndex": index(last),
        "Background": 0,
        "GridStore": "",
        "ScaleLevel": 0,
    });
    if let Kind::LabelArray(_) | Kind::LabelMap(_) = spec.kind {
        extended["MaxLabel"] = json!({});
        extended["IndexedLabels"] = json!(true);
        extended["MaxDownresLevel"] = json!(spec.max_scale().0);
    }
    (extended, Some(json!({"MinPoint": point(first), "MaxPoint": point(last)})))
}

/// `GET repo/<uuid>/info`.
pub(super) fn repo(dataset: &Dataset) -> String {
    let instances: Map<String, Value> = dataset
        .instances()
        .map(|spec| (spec.name.clone(), json!({"Base": base(dataset, spec), "Extended": {}})))
        .collect();
    let nodes: Map<String, Value> =
        VERSIONS.iter().enumerate().map(|(index, version)| (version.uuid.to_owned(), node(index, version))).collect();
    json!({
        "Root": dataset.root(),
        "Alias": dataset.alias,
        "Description": "tissue that never was",
        "Log": [],
        "Properties": {},
        "DataInstances": instances,
        "DAG": {"Root": dataset.root(), "Nodes": nodes},
        "MutationID": 1_000_000_000,
        "SavedMutationID": 1_000_000_000,
        "Created": CREATED,
        "Updated": CREATED,
    })
    .to_string()
}

const CREATED: &str = "2020-01-02T03:04:05.123456789Z";

fn node(index: usize, version: &Version) -> Value {
    let children: Vec<_> =
        (0..VERSIONS.len()).filter(|&child| VERSIONS[child].parent == Some(index)).map(|child| child + 1).collect();
    json!({
        "Branch": version.branch,
        "Note": format!("version {index} of the demo"),
        "Log": [],
        "UUID": version.uuid,
        "VersionID": index + 1,
        "Locked": version.locked,
        "Parents": version.parent.map(|parent| parent + 1).into_iter().collect::<Vec<_>>(),
        "Children": children,
        "Created": CREATED,
        "Updated": CREATED,
    })
}

/// `GET server/info`: every value is a string.
pub(super) fn server(uptime: Duration, mode: Option<&str>) -> String {
    let mut info = json!({
        "Cores": "2",
        "Maximum Cores": "2",
        "DVID Version": "demo of dvidfs",
        "Datastore Version": "0.11.0",
        "Host": "localhost",
        "Note": "",
        "Server time": "2026-01-02 03:04:05.123456789 +0000 UTC m=+1.000000001",
        "Server uptime": format!("{}s", uptime.as_secs_f64()),
        "Storage backend": "none",
    });
    if let Some(mode) = mode {
        info["Mode"] = json!(mode);
    }
    info.to_string()
}

/// `GET <instance>/metadata`.
pub(super) fn metadata(spec: &InstanceSpec) -> String {
    let axis = |label: &str, n: usize| {
        let (begin, size) = (spec.data.begin().axes()[2 - n], spec.data.shape().axes()[2 - n]);
        let resolution: f64 = spec.voxel_size_xyz[n].parse().unwrap_or(0.0);
        json!({"Label": label, "Resolution": resolution, "Units": spec.units, "Size": size, "Offset": begin})
    };
    json!({"Axes": [axis("X", 0), axis("Y", 1), axis("Z", 2)], "Properties": {"Scale": Scale::FULL.0}}).to_string()
}
