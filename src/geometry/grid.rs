//! Regular grids of blocks, anchored at the world origin.

use super::coordinate::Coordinate;
use super::voxel_box::VoxelBox;

/// Which block of a grid, counted in blocks from the world origin, zyx.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockIndex(pub Coordinate);

/// A full box of blocks, counted in blocks from the world origin, zyx: what one request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockBox(pub VoxelBox);

impl BlockBox {
    /// One block.
    #[must_use]
    pub fn one(block: BlockIndex) -> Self {
        Self(VoxelBox::from_shape(block.0, Coordinate::ONE).unwrap_or(VoxelBox::EMPTY))
    }

    /// The blocks in the box, z slowest.
    pub fn blocks(self) -> impl Iterator<Item = BlockIndex> {
        self.0.indices().map(BlockIndex)
    }

    /// How many blocks lie in the box.
    #[must_use]
    pub fn n_blocks(self) -> u128 {
        self.0.n_voxels()
    }

    /// Whether this block lies in the box.
    #[must_use]
    pub fn contains(self, block: BlockIndex) -> bool {
        self.0.contains_voxel(block.0)
    }
}

/// A regular grid of equal blocks whose corner lies at voxel (0, 0, 0).
///
/// Invariant: each axis of the block shape is positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grid {
    block_shape: Coordinate,
}

impl Grid {
    /// A grid of blocks of this shape, or `None` if an axis is not positive.
    #[must_use]
    pub fn new(block_shape: Coordinate) -> Option<Self> {
        Coordinate::ZERO.all_lt(block_shape).then_some(Self { block_shape })
    }

    /// Voxels of a block along each axis.
    #[must_use]
    pub fn block_shape(self) -> Coordinate {
        self.block_shape
    }

    /// The block that holds this voxel.
    #[must_use]
    pub fn block_of(self, voxel: Coordinate) -> BlockIndex {
        BlockIndex(voxel.div_floor(self.block_shape))
    }

    /// The voxels of a block.
    #[must_use]
    pub fn block_box(self, block: BlockIndex) -> VoxelBox {
        VoxelBox::from_shape(block.0 * self.block_shape, self.block_shape).unwrap_or(VoxelBox::EMPTY)
    }

    /// The voxels of a box of blocks.
    #[must_use]
    pub fn voxels_of(self, blocks: BlockBox) -> VoxelBox {
        VoxelBox::new(blocks.0.begin() * self.block_shape, blocks.0.end() * self.block_shape).unwrap_or(VoxelBox::EMPTY)
    }

    /// The box of blocks that a box of voxels touches.
    #[must_use]
    pub fn block_range(self, voxels: VoxelBox) -> BlockBox {
        if voxels.is_empty() {
            return BlockBox(VoxelBox::EMPTY);
        }
        let begin = voxels.begin().div_floor(self.block_shape);
        BlockBox(VoxelBox::new(begin, voxels.end().div_ceil(self.block_shape)).unwrap_or(VoxelBox::EMPTY))
    }

    /// The blocks that a box of voxels touches, z slowest.
    pub fn blocks_covering(self, voxels: VoxelBox) -> impl Iterator<Item = BlockIndex> {
        self.block_range(voxels).blocks()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn arbitrary_grid_and_box()(
            shape in prop::array::uniform3(1_i64..9),
            begin in prop::array::uniform3(-20_i64..20),
            size in prop::array::uniform3(0_i64..12),
        ) -> (Grid, VoxelBox) {
            let voxels = VoxelBox::from_shape(begin.into(), size.into()).unwrap();
            (Grid::new(shape.into()).unwrap(), voxels)
        }
    }

    proptest! {
        #[test]
        fn blocks_cover_each_voxel_of_a_box_once((grid, wanted) in arbitrary_grid_and_box()) {
            let mut covered: Vec<_> = grid
                .blocks_covering(wanted)
                .flat_map(|block| grid.block_box(block).intersect(wanted).indices().collect::<Vec<_>>())
                .collect();
            covered.sort();
            prop_assert_eq!(covered, wanted.indices().collect::<Vec<_>>());
        }

        #[test]
        fn no_block_is_named_that_the_box_does_not_touch((grid, wanted) in arbitrary_grid_and_box()) {
            for block in grid.blocks_covering(wanted) {
                prop_assert!(!grid.block_box(block).intersect(wanted).is_empty());
            }
        }
    }

    #[test]
    fn a_grid_without_extent_is_refused() {
        assert_eq!(Grid::new(Coordinate::new(64, 0, 64)), None);
    }
}
