//! How neuroglancer is told to show an array, straight from its DVID server.

use serde_json::{Map, Value};

use crate::geometry::{VoxelBox, VoxelSize};

use super::dvid_array::Source;
use super::error::NoSuchModule;

pub(super) use inner::{COMPILED_IN, layer, output_dimensions, source, state, transform_matrix};

#[cfg(feature = "neuroglancer")]
mod inner {
    use serde_json::json;

    use super::{Map, NoSuchModule, Source, Value, VoxelBox, VoxelSize};

    pub(crate) const COMPILED_IN: bool = true;

    pub(crate) fn source(source: &Source) -> Result<Value, NoSuchModule> {
        Ok(format!("dvid://{}/{}/{}", source.server, source.uuid, source.name).into())
    }

    pub(crate) fn transform_matrix() -> Result<Vec<Vec<f64>>, NoSuchModule> {
        // DVID's coordinates are absolute, and neuroglancer's source keeps them: no offset.
        Ok((0..3).map(|row| (0..4).map(|column| if row == column { 1.0 } else { 0.0 }).collect()).collect())
    }

    pub(crate) fn output_dimensions(voxel_size: VoxelSize) -> Result<Map<String, Value>, NoSuchModule> {
        let [z, y, x] = voxel_size.nm().map(|nm| nm * 1e-9);
        Ok([("x", x), ("y", y), ("z", z)].into_iter().map(|(axis, m)| (axis.to_owned(), json!([m, "m"]))).collect())
    }

    pub(crate) fn layer(
        name: &str,
        labels: bool,
        source: &Value,
        voxel_size: VoxelSize,
    ) -> Result<Value, NoSuchModule> {
        let transform = json!({"matrix": transform_matrix()?, "outputDimensions": output_dimensions(voxel_size)?});
        let kind = if labels { "segmentation" } else { "image" };
        Ok(json!({"type": kind, "name": name, "source": {"url": source, "transform": transform}}))
    }

    #[allow(clippy::cast_precision_loss)] // voxel indices stay far below 2^53
    pub(crate) fn state(layer: Value, voxel_size: VoxelSize, data: VoxelBox) -> Result<Value, NoSuchModule> {
        let middle = |axis: usize| (data.begin().axes()[axis] + data.end().axes()[axis]) as f64 / 2.0;
        Ok(json!({
            "dimensions": output_dimensions(voxel_size)?,
            "position": [middle(2), middle(1), middle(0)],
            "crossSectionScale": 1,
            "layout": "4panel",
            "layers": [layer],
        }))
    }
}

#[cfg(not(feature = "neuroglancer"))]
mod inner {
    use super::{Map, NoSuchModule, Source, Value, VoxelBox, VoxelSize};

    pub(crate) const COMPILED_IN: bool = false;

    const ABSENT: NoSuchModule = NoSuchModule { name: "neuroglancer", cause: "the feature was not compiled in" };

    pub(crate) fn source(_: &Source) -> Result<Value, NoSuchModule> {
        Err(ABSENT)
    }

    pub(crate) fn transform_matrix() -> Result<Vec<Vec<f64>>, NoSuchModule> {
        Err(ABSENT)
    }

    pub(crate) fn output_dimensions(_: VoxelSize) -> Result<Map<String, Value>, NoSuchModule> {
        Err(ABSENT)
    }

    pub(crate) fn layer(_: &str, _: bool, _: &Value, _: VoxelSize) -> Result<Value, NoSuchModule> {
        Err(ABSENT)
    }

    pub(crate) fn state(_: Value, _: VoxelSize, _: VoxelBox) -> Result<Value, NoSuchModule> {
        Err(ABSENT)
    }
}
