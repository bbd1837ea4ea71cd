//! What an array is like: levels, shapes, origins, chunks. Arithmetic alone, no I/O.

use crate::dvid::View;
use crate::geometry::{Coordinate, Grid, Scale, VoxelBox, VoxelSize};
use crate::voxels::Dtype;

/// Voxels that a chunk reaches for along each axis.
const CHUNK_EDGE: u16 = 64;
/// No chunk holds more voxels, whatever the block shape; but one of a longer edge may be a cube of it.
const CHUNK_LIMIT: u128 = 16 << 20;

/// What the values of an array mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrayKind {
    /// Intensities: values between two voxels make sense.
    Image,
    /// Identifiers: they do not.
    Labels,
}

/// One level of detail of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// DVID's scale: voxels are 2^scale times as large as those of level 0.
    pub scale: Scale,
    /// What the level is read from, for people: an instance, with the scale where it has several.
    pub source: String,
    /// Voxels of a DVID block of this level, zyx.
    pub block_shape: Coordinate,
    /// Voxels of a chunk of about 64^3: a multiple of the block, zyx.
    pub chunk_shape: Coordinate,
    /// The DVID voxel of this level that is array index (0, 0, 0).
    pub origin: Coordinate,
    /// Voxels along each axis of the array.
    pub shape: Coordinate,
    /// The whole blocks that the data's box and the level's own extents touch, in DVID voxels of this level. Nothing is
    /// stored outside.
    pub stored: VoxelBox,
}

impl Level {
    /// All voxels of the array, in DVID voxels of this level.
    #[must_use]
    pub fn voxels(&self) -> VoxelBox {
        VoxelBox::from_shape(self.origin, self.shape).unwrap_or(VoxelBox::EMPTY)
    }

    /// The array's shape in whole chunks of about 64^3, counted in voxels.
    #[must_use]
    pub fn padded_shape(&self) -> Coordinate {
        self.shape.div_ceil(self.chunk_shape) * self.chunk_shape
    }

    /// Voxels of a chunk of about `edge`^3: a multiple of the block, that reaches no further than the padded array.
    #[must_use]
    pub fn chunk_shape_of(&self, edge: u16) -> Coordinate {
        chunk_shape(self.block_shape, edge).unwrap_or(self.chunk_shape).min(self.padded_shape())
    }
}

/// Everything about an array that its files follow from.
#[derive(Clone, Debug, PartialEq)]
pub struct ArraySpec {
    /// The instance's own name.
    pub name: String,
    /// Stored values or bodies.
    pub view: View,
    /// The type of a voxel, or of one channel of it.
    pub dtype: Dtype,
    /// How many channels a voxel has, if the array has an axis for them.
    pub channels: Option<usize>,
    /// Image or labels.
    pub kind: ArrayKind,
    /// The size of a voxel of level 0 in nanometers, zyx.
    pub voxel_size: VoxelSize,
    /// The scale of DVID that level 0 has: another than full resolution for a box of a coarse one.
    pub finest: Scale,
    /// The data's true box in DVID voxels of level 0.
    pub data: VoxelBox,
    /// Level 0 first; each next is half as fine.
    pub levels: Vec<Level>,
}

/// One level as the server has it: what it is read from, and the shape of its blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelSource {
    /// For people: an instance, with the scale where it has several.
    pub source: String,
    /// Voxels of a block, zyx.
    pub block_shape: Coordinate,
    /// Where an instance of its own has data, in voxels of this level: beside the array's data, up to a block from it.
    pub extents: Option<VoxelBox>,
}

/// Numbers of the server that no array can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// A block without extent, or no level at all.
    #[error("a block has no extent")]
    BadBlock,
    /// A product does not fit 63 bits.
    #[error("the volume is too large to address")]
    TooLarge,
}

impl ArraySpec {
    /// The levels, origins and shapes of an array over this box of level-0 voxels.
    ///
    /// Array index equals DVID voxel coordinate on each axis without negative data; elsewhere the origin is a
    /// multiple of the largest chunk of any level, so that all levels share one physical corner, the ratio between
    /// levels is exactly 2, and a chunk is a whole number of blocks at each level.
    ///
    /// # Errors
    /// If a block has no extent or the volume cannot be addressed.
    pub fn new(
        name: String,
        view: View,
        (dtype, kind): (Dtype, ArrayKind),
        voxel_size: VoxelSize,
        data: VoxelBox,
        sources: Vec<LevelSource>,
    ) -> Result<Self, SpecError> {
        let last = sources.len().checked_sub(1).ok_or(SpecError::BadBlock)?;
        let last = Scale(u8::try_from(last).map_err(|_| SpecError::TooLarge)?);
        let mut anchor = [1_i64; 3];
        let mut levels = Vec::with_capacity(sources.len());
        for (scale, source) in (0..).map(Scale).zip(sources) {
            let chunk_shape = chunk_shape(source.block_shape, CHUNK_EDGE).ok_or(SpecError::BadBlock)?;
            for (axis, anchor) in anchor.iter_mut().enumerate() {
                let chunk = chunk_shape.axes()[axis].checked_mul(scale.factor()).ok_or(SpecError::TooLarge)?;
                *anchor = lcm(*anchor, chunk).ok_or(SpecError::TooLarge)?;
            }
            levels.push((scale, source, chunk_shape));
        }
        let anchor = Coordinate::from(anchor);
        let origin = (data.begin().div_floor(anchor) * anchor).min(Coordinate::ZERO);
        let ratio = Coordinate::splat(last.factor());
        let shape = (data.end() - origin).div_ceil(ratio) * ratio;
        if shape.product().saturating_mul(dtype.itemsize() as u128) > i64::MAX as u128 {
            return Err(SpecError::TooLarge);
        }
        let levels = levels
            .into_iter()
            .map(|(scale, source, chunk_shape)| {
                let step = Coordinate::splat(scale.factor());
                let grid = Grid::new(source.block_shape).ok_or(SpecError::BadBlock)?;
                let data = data.at_scale(scale);
                let with_data = source.extents.map_or(data, |extents| data.united(extents));
                Ok(Level {
                    scale,
                    source: source.source,
                    block_shape: source.block_shape,
                    chunk_shape,
                    origin: origin.div_floor(step),
                    shape: shape.div_floor(step),
                    stored: grid.voxels_of(grid.block_range(with_data)),
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { name, view, dtype, channels: None, kind, voxel_size, finest: Scale::FULL, data, levels })
    }

    /// The same array with an axis for so many channels, if any.
    ///
    /// # Errors
    /// If the volume cannot be addressed.
    pub fn with_channels(self, channels: Option<usize>) -> Result<Self, SpecError> {
        let voxel_bytes = self.dtype.itemsize() as u128 * channels.unwrap_or(1) as u128;
        match self.levels[0].shape.product().checked_mul(voxel_bytes) {
            Some(n_bytes) if n_bytes <= i64::MAX as u128 => Ok(Self { channels, ..self }),
            Some(_) | None => Err(SpecError::TooLarge),
        }
    }

    /// How many channels a voxel has: 1 without an axis for them.
    #[must_use]
    pub fn n_channels(&self) -> usize {
        self.channels.unwrap_or(1)
    }

    /// The DVID voxel of level 0 that is array index (0, 0, 0).
    #[must_use]
    pub fn origin(&self) -> Coordinate {
        self.levels[0].origin
    }
}

/// A whole number of blocks that reaches for `edge` voxels along each axis, or `None` if a block has no extent.
///
/// While the chunk exceeds its limit, the axis with the largest multiple (of equals z first) falls back to one block.
fn chunk_shape(block: Coordinate, edge: u16) -> Option<Coordinate> {
    if !Coordinate::ZERO.all_lt(block) {
        return None;
    }
    let limit = u128::from(edge).pow(3).max(CHUNK_LIMIT);
    let edge = Coordinate::splat(edge.into());
    let mut multiple = edge.div_ceil(block).axes();
    loop {
        let chunk = block * Coordinate::from(multiple);
        let largest = (0..3).rev().max_by_key(|&axis| multiple[axis])?;
        if chunk.product() <= limit || multiple[largest] == 1 {
            return Some(chunk);
        }
        multiple[largest] = 1;
    }
}

fn lcm(a: i64, b: i64) -> Option<i64> {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    (a / x).checked_mul(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(block: i64, n_levels: usize, data: VoxelBox) -> ArraySpec {
        let source = LevelSource { source: "gray".into(), block_shape: Coordinate::splat(block), extents: None };
        let size = VoxelSize::new([8.0; 3]).unwrap();
        let kind = (Dtype::Uint8, ArrayKind::Image);
        ArraySpec::new("gray".into(), View::Stored, kind, size, data, vec![source; n_levels]).unwrap()
    }

    fn a_box(begin: [i64; 3], end: [i64; 3]) -> VoxelBox {
        VoxelBox::new(begin.into(), end.into()).unwrap()
    }

    #[test]
    fn the_running_example_of_the_format_sheet_comes_out() {
        let spec = spec(64, 4, a_box([130, 1000, -70], [280, 1130, 130]));
        let origins: Vec<_> = spec.levels.iter().map(|level| level.origin.x()).collect();
        assert_eq!(origins, [-512, -256, -128, -64]);
        let shapes: Vec<_> = spec.levels.iter().map(|level| level.shape.axes()).collect();
        assert_eq!(shapes, [[280, 1136, 648], [140, 568, 324], [70, 284, 162], [35, 142, 81]]);
        assert_eq!(spec.levels[1].stored, a_box([64, 448, -64], [192, 576, 128]));
    }

    #[test]
    fn an_axis_without_negative_data_keeps_its_dvid_coordinate() {
        let spec = spec(64, 1, a_box([10_000, 1, 0], [10_001, 65, 7]));
        assert_eq!(spec.origin(), Coordinate::ZERO);
        assert_eq!(spec.levels[0].shape, Coordinate::new(10_001, 65, 7));
    }

    #[track_caller]
    fn check_chunk(block: [i64; 3], edge: u16, expected: [i64; 3]) {
        assert_eq!(chunk_shape(block.into(), edge), Some(expected.into()), "{block:?} at {edge}");
    }

    #[test]
    fn a_chunk_is_a_whole_number_of_blocks() {
        check_chunk([32; 3], 64, [64; 3]);
        check_chunk([64; 3], 64, [64; 3]);
        check_chunk([48; 3], 64, [96; 3]);
        check_chunk([100; 3], 64, [100; 3]);
        check_chunk([1; 3], 64, [64; 3]);
        check_chunk([16, 32, 128], 64, [64, 64, 128]);
        check_chunk([64; 3], 256, [256; 3]);
        check_chunk([48; 3], 256, [48, 288, 288]);
        check_chunk([64; 3], 512, [512; 3]);
        check_chunk([48; 3], 512, [48, 528, 528]);
        check_chunk([64; 3], 1, [64; 3]);
        assert_eq!(chunk_shape(Coordinate::new(64, 0, 64), 64), None);
    }

    #[test]
    fn large_chunks_end_with_the_padded_array() {
        let small = spec(64, 4, a_box([130, 1000, -70], [280, 1130, 130]));
        let chunks: Vec<_> = small.levels.iter().map(|level| level.chunk_shape_of(256).axes()).collect();
        assert_eq!(chunks, [[256; 3], [192, 256, 256], [128, 256, 192], [64, 192, 128]]);
        for level in &small.levels {
            assert_eq!(level.chunk_shape_of(64), level.chunk_shape);
        }
        // 100 voxels are two chunks of 96, and six blocks of 48 would be three.
        assert_eq!(spec(48, 1, a_box([0; 3], [100; 3])).levels[0].chunk_shape_of(256), Coordinate::new(48, 192, 192));
    }

    #[test]
    fn a_volume_that_cannot_be_addressed_is_refused() {
        let source = LevelSource { source: String::new(), block_shape: Coordinate::splat(64), extents: None };
        let huge = a_box([0; 3], [1 << 31; 3]);
        let kind = (Dtype::Uint64, ArrayKind::Labels);
        let result = ArraySpec::new(String::new(), View::Bodies, kind, VoxelSize::UNIT, huge, vec![source]);
        assert_eq!(result, Err(SpecError::TooLarge));
        let large = spec(64, 1, a_box([0; 3], [1 << 20, 1 << 20, 1 << 22]));
        assert_eq!(large.clone().with_channels(Some(1)).unwrap().channels, Some(1));
        assert_eq!(large.with_channels(Some(4)), Err(SpecError::TooLarge));
    }

    #[test]
    fn every_level_begins_at_one_corner_and_on_a_chunk() {
        for (block, n_levels, begin) in [(48, 3, -1), (100, 5, -101), (32, 2, -64), (1, 4, -7)] {
            let spec = spec(block, n_levels, a_box([begin; 3], [300; 3]));
            for level in &spec.levels {
                let step = Coordinate::splat(level.scale.factor());
                assert_eq!(level.origin * step, spec.origin());
                assert_eq!(level.shape * step, spec.levels[0].shape);
                assert_eq!(level.origin.div_floor(level.chunk_shape) * level.chunk_shape, level.origin);
            }
        }
    }
}
