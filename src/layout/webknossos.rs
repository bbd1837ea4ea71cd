//! `datasource-properties.json`: what WEBKNOSSOS takes an instance's directory for, over one of its Zarr trees.
//!
//! Its coordinates are array indices, x first.

use serde::Serialize;

use crate::array::{ArrayKind, ArraySpec};
use crate::voxels::Dtype;

use super::attributes::{path_of, to_bytes};
use super::folder::{Entry, LeftOut};
use super::kind::{LayoutKind, LayoutOptions};

/// The name of the file.
pub(super) const NAME: &str = "datasource-properties.json";

/// The file, over the Zarr tree that is shown beside it.
pub(super) fn entry(spec: &ArraySpec, options: &LayoutOptions) -> Result<Entry, LeftOut> {
    if spec.channels.is_some() {
        return Err(LeftOut::Channels);
    }
    let over = Over::first_shown(options).ok_or(LeftOut::NoZarr)?;
    over.kind.entry(spec, options)?;
    Ok(Entry::document(move |spec| to_bytes(&DataSource::of(spec, over))))
}

/// A tree that WEBKNOSSOS reads.
#[derive(Clone, Copy)]
struct Over {
    kind: LayoutKind,
    data_format: &'static str,
}

impl Over {
    fn first_shown(options: &LayoutOptions) -> Option<Self> {
        [(LayoutKind::USUAL, "zarr"), (LayoutKind::Zarr3, "zarr3")]
            .map(|(kind, data_format)| Self { kind, data_format })
            .into_iter()
            .find(|over| options.kinds.contains(&over.kind))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DataSource {
    id: Id,
    scale: VoxelScale,
    version: u8,
    data_layers: [DataLayer; 1],
}

#[derive(Serialize)]
struct Id {
    name: String,
    team: &'static str,
}

#[derive(Serialize)]
struct VoxelScale {
    /// x, y, z
    factor: [f64; 3],
    unit: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DataLayer {
    name: String,
    category: &'static str,
    bounding_box: BoundingBox,
    data_format: &'static str,
    num_channels: u8,
    element_class: &'static str,
    /// Labels alone have it. DVID's own number is of all versions, so none is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    largest_segment_id: Option<Unknown>,
    mags: Vec<Mag>,
}

/// `null`.
#[derive(Serialize)]
struct Unknown;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BoundingBox {
    /// x, y, z
    top_left: [i64; 3],
    width: i64,
    height: i64,
    depth: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Mag {
    mag: [i64; 3],
    path: String,
    axis_order: AxisOrder,
}

/// Which axis of the array is which.
#[derive(Serialize)]
struct AxisOrder {
    x: u8,
    y: u8,
    z: u8,
}

impl DataSource {
    fn of(spec: &ArraySpec, over: Over) -> Self {
        let name = layer_name(&spec.name);
        let [z, y, x] = spec.voxel_size.nm();
        Self {
            id: Id { name: name.clone(), team: "" },
            scale: VoxelScale { factor: [x, y, z], unit: "nanometer" },
            version: 1,
            data_layers: [DataLayer::of(spec, name, over)],
        }
    }
}

impl DataLayer {
    fn of(spec: &ArraySpec, name: String, over: Over) -> Self {
        let [z, y, x] = (spec.data.begin() - spec.origin()).axes();
        let [depth, height, width] = spec.data.shape().axes();
        let tree = over.kind.name();
        let mags = spec.levels.iter().enumerate().map(|(index, level)| Mag {
            mag: [level.scale.factor(); 3],
            path: format!("./{tree}/{}", path_of(index)),
            axis_order: AxisOrder { x: 2, y: 1, z: 0 },
        });
        let (category, largest_segment_id) = match spec.kind {
            ArrayKind::Image => ("color", None),
            ArrayKind::Labels => ("segmentation", Some(Unknown)),
        };
        Self {
            name,
            category,
            bounding_box: BoundingBox { top_left: [x, y, z], width, height, depth },
            data_format: over.data_format,
            num_channels: 1,
            element_class: element_class(spec.dtype),
            largest_segment_id,
            mags: mags.collect(),
        }
    }
}

fn element_class(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::Float32 => "float",
        Dtype::Uint8 | Dtype::Uint16 | Dtype::Uint32 | Dtype::Uint64 => dtype.name(),
    }
}

/// The instance's name with `_` for each character that a layer's name cannot have.
fn layer_name(name: &str) -> String {
    let fits = |at: usize, char: char| char.is_ascii_alphanumeric() || "_$@-".contains(char) || (char == '.' && at > 0);
    name.char_indices().map(|(at, char)| if fits(at, char) { char } else { '_' }).collect()
}

#[cfg(test)]
mod tests;
