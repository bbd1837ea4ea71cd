//! `attrs.json`: the array interface of an instance as JSON, documented in `docs/attrs.md`.

use serde_json::{Map, Value, json};

use crate::dvid::{Freshness, InstanceInfo, StoredForm, View, VoxelInfo};
use crate::geometry::{Roi, VoxelBox};

use super::dvid_array::Source;
use super::probe::Probe;
use super::spec::{ArrayKind, ArraySpec, Level};

/// The version of the schema, raised when a key changes its meaning.
const SCHEMA: u64 = 1;

/// What an array is described from.
#[derive(Debug)]
pub(super) struct Description<'a> {
    pub(super) source: &'a Source,
    pub(super) info: &'a InstanceInfo,
    pub(super) voxels: &'a VoxelInfo,
    pub(super) spec: &'a ArraySpec,
    pub(super) freshness: Freshness,
    pub(super) left_out: &'a [String],
    pub(super) probe: Option<&'a Probe>,
}

/// `attrs.json` of an array, but for `attrs` itself.
pub(super) fn describe(of: &Description<'_>) -> Map<String, Value> {
    let spec = of.spec;
    let (roi, size) = (Roi::of_voxels(spec.data, spec.voxel_size), spec.voxel_size.nm());
    let whole = Roi::of_voxels(spec.levels[0].voxels(), spec.voxel_size);
    let mut map = head(of.source, view_name(of), &of.info.typename);
    let rest = json!({
        "axes": spec.channels.map(|_| "c").into_iter().chain(["z", "y", "x"]).collect::<Vec<_>>(),
        "spatial_axes": ["z", "y", "x"],
        "dims": 3,
        "shape": shape(spec, &spec.levels[0]),
        "dtype": spec.dtype.name(),
        "num_channels": spec.channels,
        "voxel_size": size,
        "offset": whole.offset(),
        "units": ["nm", "nm", "nm"],
        "roi": {"offset": roi.offset(), "shape": roi.shape()},
        "box": box_json(spec.data),
        "block_shape": spec.levels[0].block_shape.axes(),
        "fill_value": 0,
        "interpolatable": spec.kind == ArrayKind::Image,
        "lossy": of.voxels.compression == StoredForm::Jpeg,
        "immutable": of.freshness == Freshness::Forever,
        "writable": false,
        "levels": levels(of),
        "levels_left_out": of.left_out,
        "levels_probed": of.probe.map(|probe| probe.sample.iter().map(|block| block.0.axes()).collect::<Vec<_>>()),
        "notes": of.voxels.notes,
    });
    extend(&mut map, rest);
    map
}

/// `attrs.json` of an instance that shows no array, and why.
pub(super) fn without_array(
    source: &Source,
    typename: &str,
    reason: &str,
    info: Map<String, Value>,
) -> Map<String, Value> {
    let mut map = head(source, None, typename);
    extend(&mut map, json!({"shape": null, "layouts": [], "reason": reason, "writable": false, "attrs": info}));
    map
}

fn head(source: &Source, view: Option<&str>, typename: &str) -> Map<String, Value> {
    let mut map = Map::new();
    let source_json = json!({"server": source.server, "uuid": source.uuid, "instance": source.name, "view": view});
    extend(&mut map, json!({"schema": SCHEMA, "name": source.name, "source": source_json, "typename": typename}));
    map
}

fn extend(map: &mut Map<String, Value>, more: Value) {
    if let Value::Object(more) = more {
        map.extend(more);
    }
}

fn view_name(of: &Description<'_>) -> Option<&'static str> {
    let labelmap = of.info.typename == "labelmap";
    match of.spec.view {
        View::Bodies => Some("bodies"),
        View::Stored if labelmap => Some("supervoxels"),
        View::Stored => None,
    }
}

fn levels(of: &Description<'_>) -> Vec<Value> {
    let level_json = |level: &Level| {
        let size = of.spec.voxel_size.at_scale(level.scale);
        json!({
            "path": format!("s{}", level.scale),
            "scale": level.scale.0,
            "shape": shape(of.spec, level),
            "voxel_size": size.nm(),
            "offset": Roi::of_voxels(level.voxels(), size).offset(),
            "source": level.source,
        })
    };
    of.spec.levels.iter().map(level_json).collect()
}

/// Voxels along each axis of a level: channels first, if there are any.
fn shape(spec: &ArraySpec, level: &Level) -> Vec<Value> {
    spec.channels.map(Value::from).into_iter().chain(level.shape.axes().map(Value::from)).collect()
}

fn box_json(voxels: VoxelBox) -> Value {
    json!({"begin": voxels.begin().axes(), "end": voxels.end().axes()})
}
