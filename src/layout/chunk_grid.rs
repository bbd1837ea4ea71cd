//! The chunk files of one level: directories `<z>/<y>/` and a file `<x>` for each chunk that holds data.

use std::ops::Range;

use crate::array::ArraySpec;
use crate::geometry::{Coordinate, VoxelBox};

use super::file::VoxelFile;

/// How deep a chunk file lies: z, y, x.
const DEPTH: usize = 3;

/// The chunks of one level that touch what the server stores, and the directories that they lie in.
///
/// Every node has a position: first all directories of depth 1, then those of depth 2, then the chunks, each depth
/// in mixed radix with x fastest. Positions are dense, so each position below [`n_nodes`](Self::n_nodes) is a node.
///
/// Invariant: all positions fit 64 bits, each chunk has less than 2^63 bytes and corners that fit 64 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkGrid {
    level: usize,
    origin: Coordinate,
    chunk_shape: Coordinate,
    itemsize: usize,
    /// The first chunk index of each axis, zyx.
    first: [u64; DEPTH],
    /// How many chunks lie along each axis; all 0 if there is none.
    n_chunks: [u64; DEPTH],
}

/// A directory or a chunk of a [`ChunkGrid`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChunkNode {
    /// 1 for `<z>`, 2 for `<z>/<y>`, 3 for a chunk.
    depth: usize,
    /// Which of all nodes of this depth, in mixed radix.
    number: u64,
}

impl ChunkNode {
    /// Whether it is a chunk file rather than a directory.
    #[must_use]
    pub fn is_chunk(self) -> bool {
        self.depth == DEPTH
    }
}

impl ChunkGrid {
    /// The chunks of a level in chunks of `chunk_shape`, or `None` if they cannot be files: of 2^63 bytes or more,
    /// or too many to number.
    ///
    /// A chunk exists if it touches the level's stored voxels; elsewhere is nothing but the fill value.
    #[must_use]
    pub fn new(spec: &ArraySpec, level: usize, chunk_shape: Coordinate) -> Option<Self> {
        let described = spec.levels.get(level)?;
        let (origin, itemsize) = (described.origin, spec.dtype.itemsize());
        let (mut first, mut n_chunks) = ([0; DEPTH], [0; DEPTH]);
        let mut begin_of_last = [0; DEPTH];
        let stored = described.stored.intersect(described.voxels());
        for axis in 0..DEPTH {
            let chunk = chunk_shape.axes()[axis];
            let begin = stored.begin().axes()[axis].checked_sub(origin.axes()[axis])?.div_euclid(chunk);
            let end = -(origin.axes()[axis].checked_sub(stored.end().axes()[axis])?.div_euclid(chunk));
            first[axis] = u64::try_from(begin).ok()?;
            n_chunks[axis] = u64::try_from(end - begin).ok()?;
            begin_of_last[axis] = end.checked_sub(1)?.checked_mul(chunk)?.checked_add(origin.axes()[axis])?;
        }
        if stored.is_empty() {
            (first, n_chunks) = ([0; DEPTH], [0; DEPTH]);
        } else {
            VoxelFile::new(level, VoxelBox::from_shape(begin_of_last.into(), chunk_shape)?, itemsize)?;
        }
        let grid = Self { level, origin, chunk_shape, itemsize, first, n_chunks };
        u64::try_from(grid.n_nodes_exactly()).ok()?;
        Some(grid)
    }

    /// How many directories and chunks there are, and so one more than the last position.
    #[must_use]
    pub fn n_nodes(&self) -> u64 {
        (1..=DEPTH).map(|depth| self.n_at(depth)).sum()
    }

    /// How many chunk files there are.
    #[must_use]
    pub fn n_chunks(&self) -> u64 {
        self.n_at(DEPTH)
    }

    /// Bytes of all chunk files together; `u64::MAX` if there are more.
    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        let chunk = u64::try_from(self.chunk_shape.product()).unwrap_or(u64::MAX).saturating_mul(self.itemsize as u64);
        self.n_chunks().saturating_mul(chunk)
    }

    /// The node at a position, if there is one.
    #[must_use]
    pub fn node(&self, position: u64) -> Option<ChunkNode> {
        let mut number = position;
        for depth in 1..=DEPTH {
            let n = self.n_at(depth);
            if number < n {
                return Some(ChunkNode { depth, number });
            }
            number -= n;
        }
        None
    }

    /// The position of a node.
    #[must_use]
    pub fn position(&self, node: ChunkNode) -> u64 {
        (1..node.depth).map(|depth| self.n_at(depth)).sum::<u64>() + node.number
    }

    /// The directory that a node lies in; `None` for the level's own.
    #[must_use]
    pub fn parent(&self, node: ChunkNode) -> Option<ChunkNode> {
        let depth = node.depth.checked_sub(1).filter(|&depth| depth > 0)?;
        Some(ChunkNode { depth, number: node.number / self.n_chunks[depth] })
    }

    /// How many nodes lie in a directory (`None`: the level's own), 0 for a chunk.
    #[must_use]
    pub fn n_children(&self, of: Option<ChunkNode>) -> u64 {
        self.n_chunks.get(of.map_or(0, |node| node.depth)).copied().unwrap_or(0)
    }

    /// A node of a directory by its place in the listing.
    #[must_use]
    pub fn child(&self, of: Option<ChunkNode>, nth: u64) -> Option<ChunkNode> {
        let n = self.n_children(of);
        let (depth, number) = of.map_or((0, 0), |node| (node.depth, node.number));
        (nth < n).then(|| ChunkNode { depth: depth + 1, number: number * n + nth })
    }

    /// A node of a directory by its name: a decimal number without sign and leading zeros, and no other spelling.
    #[must_use]
    pub fn child_named(&self, of: Option<ChunkNode>, name: &str) -> Option<ChunkNode> {
        let canonical = name.bytes().all(|byte| byte.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
        let index: u64 = canonical.then(|| name.parse().ok())??;
        let first = *self.first.get(of.map_or(0, |node| node.depth))?;
        self.child(of, index.checked_sub(first)?)
    }

    /// The chunk index along the node's own axis: its name.
    #[must_use]
    pub fn index(&self, node: ChunkNode) -> u64 {
        let axis = node.depth - 1;
        self.first[axis] + node.number % self.n_chunks[axis]
    }

    /// The voxels of a chunk; `None` for a directory.
    #[must_use]
    pub fn file(&self, node: ChunkNode) -> Option<VoxelFile> {
        if !node.is_chunk() {
            return None;
        }
        let mut begin = self.origin.axes();
        let mut at = Some(node);
        while let Some(node) = at {
            let axis = node.depth - 1;
            let index = i64::try_from(self.index(node)).ok()?;
            begin[axis] += index * self.chunk_shape.axes()[axis];
            at = self.parent(node);
        }
        VoxelFile::new(self.level, VoxelBox::from_shape(begin.into(), self.chunk_shape)?, self.itemsize)
    }

    /// The chunk indices that exist along each axis, zyx.
    #[must_use]
    pub fn indices(&self) -> [Range<u64>; DEPTH] {
        std::array::from_fn(|axis| self.first[axis]..self.first[axis] + self.n_chunks[axis])
    }

    fn n_at(&self, depth: usize) -> u64 {
        self.n_chunks[..depth].iter().product()
    }

    fn n_nodes_exactly(&self) -> u128 {
        let n = self.n_chunks.map(u128::from);
        // The products of three numbers below 2^58 (a chunk has at least one voxel of a 2^63 byte array) saturate at worst.
        n[0].saturating_add(n[0].saturating_mul(n[1])).saturating_add(n[0].saturating_mul(n[1]).saturating_mul(n[2]))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::array::{ArrayKind, LevelSource};
    use crate::dvid::View;
    use crate::geometry::VoxelSize;
    use crate::voxels::Dtype;

    fn spec(block: [i64; 3], n_levels: usize, begin: [i64; 3], end: [i64; 3]) -> ArraySpec {
        let source = LevelSource { source: String::new(), block_shape: block.into(), extents: None };
        let data = VoxelBox::new(begin.into(), end.into()).unwrap();
        let kind = (Dtype::Uint8, ArrayKind::Image);
        ArraySpec::new(String::new(), View::Stored, kind, VoxelSize::UNIT, data, vec![source; n_levels]).unwrap()
    }

    fn grid(spec: &ArraySpec, level: usize) -> ChunkGrid {
        ChunkGrid::new(spec, level, spec.levels[level].chunk_shape).unwrap()
    }

    fn running_example() -> ArraySpec {
        spec([64; 3], 4, [130, 1000, -70], [280, 1130, 130])
    }

    #[test]
    fn the_running_example_has_the_chunks_that_its_data_touches() {
        let spec = running_example();
        // The data lie at array index z 130-279, y 1000-1129, x 442-641; whole blocks reach to x 384-703.
        assert_eq!(grid(&spec, 0).indices(), [2..5, 15..18, 6..11]);
        assert_eq!(grid(&spec, 0).n_chunks(), 45);
        assert_eq!(grid(&spec, 3).indices(), [0..1, 1..3, 0..2]);
        let node = ["4", "15", "6"].iter().fold(None, |at, name| Some(grid(&spec, 0).child_named(at, name).unwrap()));
        let file = grid(&spec, 0).file(node.unwrap()).unwrap();
        assert_eq!(file.file_box(), VoxelBox::from_shape([256, 960, -128].into(), Coordinate::splat(64)).unwrap());
        assert_eq!((file.level(), file.n_bytes()), (0, 64 * 64 * 64));
    }

    #[test]
    fn only_the_one_spelling_of_a_number_is_a_name() {
        let grid = grid(&spec([64; 3], 1, [0; 3], [640; 3]), 0);
        assert!(grid.child_named(None, "0").is_some() && grid.child_named(None, "9").is_some());
        for name in ["", "00", "01", "+1", "-1", "1 ", " 1", "1.0", "0x1", "١", "10", "18446744073709551616", ".", "z"]
        {
            assert_eq!(grid.child_named(None, name), None, "{name:?}");
        }
    }

    #[test]
    fn nothing_stored_is_no_chunk_at_all() {
        let mut spec = running_example();
        spec.levels[0].stored = VoxelBox::EMPTY;
        let grid = grid(&spec, 0);
        assert_eq!((grid.n_nodes(), grid.n_children(None), grid.child_named(None, "0")), (0, 0, None));
    }

    #[test]
    fn a_volume_longer_than_wide_has_more_positions_than_a_slot() {
        let end = [1 << 62, 1, 1];
        let grid = grid(&spec([64; 3], 1, [0; 3], end), 0);
        assert_eq!(grid.n_chunks(), 1 << 56);
        let last = grid.node(grid.n_nodes() - 1).unwrap();
        assert_eq!(grid.position(last), 3 * (1 << 56) - 1);
        assert_eq!(grid.file(last).unwrap().file_box().end(), Coordinate::new(1 << 62, 64, 64));
    }

    #[test]
    fn chunks_that_no_file_can_hold_leave_out_the_grid() {
        let spec = running_example();
        assert_eq!(ChunkGrid::new(&spec, 0, Coordinate::splat(1 << 21)), None);
        assert_eq!(ChunkGrid::new(&spec, 4, Coordinate::splat(64)), None);
    }

    proptest! {
        #[test]
        fn positions_and_nodes_are_one_to_one(
            block in prop::array::uniform3(1_i64..70),
            begin in prop::array::uniform3(-300_i64..300),
            size in prop::array::uniform3(1_i64..300),
            level in 0_usize..3,
        ) {
            let end = [0, 1, 2].map(|axis| begin[axis] + size[axis]);
            let spec = spec(block, 3, begin, end);
            let grid = grid(&spec, level);
            let mut listed = vec![None];
            let (mut seen, mut at) = (HashSet::new(), 0);
            while at < listed.len() {
                let of = listed[at];
                for nth in 0..grid.n_children(of) {
                    let child = grid.child(of, nth).unwrap();
                    prop_assert_eq!(grid.parent(child), of);
                    prop_assert_eq!(grid.node(grid.position(child)), Some(child));
                    prop_assert_eq!(grid.child_named(of, &grid.index(child).to_string()), Some(child));
                    prop_assert!(seen.insert(grid.position(child)));
                    listed.push(Some(child));
                }
                at += 1;
            }
            prop_assert_eq!(seen.len() as u64, grid.n_nodes());
            prop_assert!(seen.iter().all(|&position| position < grid.n_nodes()));
            prop_assert_eq!(grid.node(grid.n_nodes()), None);
            // A chunk exists if and only if it touches what is stored, checked chunk by chunk over the whole array.
            let level = &spec.levels[level];
            let all = level.shape.div_ceil(level.chunk_shape);
            for index in VoxelBox::from_shape(Coordinate::ZERO, all).unwrap().indices() {
                let voxels = VoxelBox::from_shape(level.origin + index * level.chunk_shape, level.chunk_shape).unwrap();
                let found = index.axes().iter().try_fold(None, |at, i| grid.child_named(at, &i.to_string()).map(Some));
                prop_assert_eq!(found.is_some(), !voxels.intersect(level.stored).is_empty(), "{}", index);
                if let Some(node) = found.flatten() {
                    prop_assert_eq!(grid.file(node).unwrap().file_box(), voxels);
                }
            }
        }
    }
}
