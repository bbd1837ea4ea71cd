//! A box of one scale of an array, as an array of its own.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::dvid::Freshness;
use crate::geometry::{Grid, Roi, Scale, VoxelBox};

use super::dvid_array::DvidArray;
use super::error::{Error, OutOfBounds};
use super::read_voxels::{ReadVoxels, ThenBytes, VoxelBytes};
use super::spec::{ArraySpec, Level, SpecError};

/// A box of one scale of a [`DvidArray`]: an array with one level, whose index (0, 0, 0) is the box's first voxel.
///
/// Its voxels are read through the array that it is cut from.
#[derive(Debug)]
pub struct BoxedArray {
    base: Arc<DvidArray>,
    /// Which level of the base.
    level: usize,
    spec: ArraySpec,
}

/// A box that cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BoxError {
    /// The array has no such scale.
    #[error("there is no scale {0}; see levels in attrs.json")]
    NoSuchScale(Scale),
    /// Part of it would be no data.
    #[error(transparent)]
    OutOfBounds(#[from] OutOfBounds),
    /// It cannot be laid out.
    #[error(transparent)]
    Spec(#[from] SpecError),
}

impl BoxedArray {
    /// Cuts a box, in voxels of the scale, out of an array and names it.
    ///
    /// # Errors
    /// If the array has no such scale, or the box is not inside its data.
    pub fn new(base: Arc<DvidArray>, name: String, scale: Scale, wanted: VoxelBox) -> Result<Self, BoxError> {
        let whole = base.spec();
        let level = whole.levels.iter().position(|level| level.scale == scale).ok_or(BoxError::NoSuchScale(scale))?;
        let data = whole.data.at_scale(scale);
        if wanted.is_empty() || !data.contains(wanted) {
            return Err(OutOfBounds { wanted, data, scale }.into());
        }
        let Level { source, block_shape, chunk_shape, stored, .. } = whole.levels[level].clone();
        let grid = Grid::new(block_shape).ok_or(SpecError::BadBlock)?;
        let cut = Level {
            scale: Scale::FULL,
            source,
            block_shape,
            chunk_shape,
            origin: wanted.begin(),
            shape: wanted.shape(),
            stored: grid.voxels_of(grid.block_range(wanted.intersect(stored))),
        };
        let voxel_size = whole.voxel_size.at_scale(scale);
        let spec = ArraySpec { name, voxel_size, finest: scale, data: wanted, levels: vec![cut], ..whole.clone() };
        Ok(Self { base, level, spec })
    }

    /// `attrs.json`: what the base says, of the box.
    #[must_use]
    pub fn described(&self) -> Value {
        let Value::Object(mut described) = self.base.described() else { return Value::Null };
        let (level, size) = (&self.spec.levels[0], self.spec.voxel_size);
        let roi = Roi::of_voxels(self.spec.data, size);
        let shape = self.spec.channels.map(|n| n as u64).into_iter().map(Value::from);
        let shape: Vec<_> = shape.chain(level.shape.axes().map(Value::from)).collect();
        let changed = json!({
            "name": self.spec.name,
            "shape": shape,
            "voxel_size": size.nm(),
            "offset": roi.offset(),
            "roi": {"offset": roi.offset(), "shape": roi.shape()},
            "box": {"begin": self.spec.data.begin().axes(), "end": self.spec.data.end().axes()},
            "block_shape": level.block_shape.axes(),
            "levels": [{
                "path": "s0", "scale": self.spec.finest.0, "shape": level.shape.axes(), "voxel_size": size.nm(),
                "offset": roi.offset(), "source": level.source,
            }],
            "levels_left_out": [],
            "levels_probed": null,
        });
        if let Value::Object(changed) = changed {
            described.extend(changed);
        }
        Value::Object(described)
    }
}

impl ReadVoxels for BoxedArray {
    fn spec(&self) -> &ArraySpec {
        &self.spec
    }

    fn freshness(&self) -> Freshness {
        self.base.freshness()
    }

    fn became_lasting(&self) -> bool {
        self.base.became_lasting()
    }

    fn read_bytes(&self, wanted: VoxelBytes, then: ThenBytes) {
        if wanted.level != 0 {
            return then(Err(Error::NoSuchScale(self.spec.finest)));
        }
        // What a chunk holds beyond the box is padding.
        self.base.read_bytes_within(self.spec.data, VoxelBytes { level: self.level, ..wanted }, then);
    }
}
