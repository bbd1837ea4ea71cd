//! What several layouts write of an array: names of levels, and the attributes that machine learning tools read.

use serde::Serialize;

use crate::array::{ArraySpec, Level};
use crate::voxels::Dtype;

/// The spatial axes, slowest first.
pub(super) const AXIS_NAMES: [&str; 3] = ["z", "y", "x"];

/// What each spatial axis has, in the order x, y, z.
pub(super) fn to_xyz<T>([z, y, x]: [T; 3]) -> [T; 3] {
    [x, y, z]
}

/// The corner of voxel 0 of every level, in nanometers.
#[allow(clippy::cast_precision_loss)] // origins stay far below 2^53
pub(super) fn corner_nm(spec: &ArraySpec) -> [f64; 3] {
    let (origin, voxel_size) = (spec.origin().axes(), spec.voxel_size.nm());
    std::array::from_fn(|axis| origin[axis] as f64 * voxel_size[axis])
}

/// Where OME and COSEM place the centre of voxel 0 of a level, in nanometers: at full resolution at the corner of the
/// array.
///
/// A voxel of a coarse level covers 2^s fine ones, and its centre lies in the middle of theirs: also in a box of that
/// level alone, which lies where the level itself lies.
#[allow(clippy::cast_precision_loss)] // a factor is at most 2^20
pub(super) fn centre_nm(spec: &ArraySpec, level: &Level) -> [f64; 3] {
    let (corner, voxel_size) = (corner_nm(spec), spec.voxel_size.nm());
    let finest = spec.finest.factor() as f64;
    let middle = (level.scale.factor() as f64 * finest - 1.0) / 2.0 / finest;
    std::array::from_fn(|axis| corner[axis] + middle * voxel_size[axis])
}

/// What a level is called in every layout with levels.
pub(super) fn path_of(level: usize) -> String {
    format!("s{level}")
}

/// JSON for people to read, with a line end.
pub(super) fn to_bytes(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("these types have string keys and no fallible parts");
    bytes.push(b'\n');
    bytes
}

/// The attributes of one level: of funlib, gunpowder and their like, in the order of the array's axes.
///
/// `offset`, `voxel_size`, `resolution` and `units` are of the spatial axes alone.
#[derive(Serialize)]
pub(super) struct ArrayAttrs {
    /// The corner of voxel 0.
    pub(super) offset: [i128; 3],
    pub(super) voxel_size: [i64; 3],
    /// A channel axis ends in `^`.
    pub(super) axis_names: Vec<&'static str>,
    pub(super) units: [&'static str; 3],
    pub(super) types: Vec<&'static str>,
    pub(super) resolution: [i64; 3],
}

impl ArrayAttrs {
    pub(super) fn of(spec: &ArraySpec, level: &Level) -> Self {
        let (voxel_size, unit) = whole_voxel_size(spec.voxel_size.at_scale(level.scale).nm());
        let origin = level.origin.axes();
        let channel = spec.channels.is_some();
        Self {
            offset: std::array::from_fn(|axis| i128::from(origin[axis]) * i128::from(voxel_size[axis])),
            voxel_size,
            axis_names: channel.then_some("c^").into_iter().chain(AXIS_NAMES).collect(),
            units: [unit; 3],
            types: channel.then_some("channel").into_iter().chain(["space"; 3]).collect(),
            resolution: voxel_size,
        }
    }
}

/// The names of all axes, slowest first.
pub(super) fn dimension_names(spec: &ArraySpec) -> Vec<&'static str> {
    spec.channels.map(|_| "c").into_iter().chain(AXIS_NAMES).collect()
}

/// Numbers of all axes, slowest first, from those of the spatial ones: channels come first, if there are any.
pub(super) fn with_channels(spec: &ArraySpec, spatial: [i64; 3]) -> Vec<i64> {
    spec.channels.and_then(|n| i64::try_from(n).ok()).into_iter().chain(spatial).collect()
}

/// The type of a voxel as numpy spells it.
pub(super) fn numpy_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::Uint8 => "|u1",
        Dtype::Uint16 => "<u2",
        Dtype::Uint32 => "<u4",
        Dtype::Uint64 => "<u8",
        Dtype::Float32 => "<f4",
    }
}

/// A voxel size as integers, and their unit: nm, or pm if a component is no whole number of nm.
///
/// The tools that read these attributes cut 3.2 to 3 without a word.
#[allow(clippy::cast_possible_truncation)] // a float beyond i64 saturates, and no voxel is that large
fn whole_voxel_size(nm: [f64; 3]) -> ([i64; 3], &'static str) {
    if nm.iter().all(|nm| nm.fract() == 0.0) {
        (nm.map(|nm| nm as i64), "nm")
    } else {
        (nm.map(|nm| ((nm * 1000.0).round() as i64).max(1)), "pm")
    }
}
