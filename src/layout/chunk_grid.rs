//! The chunk files of one level, and the directories that their names make.

use crate::array::ArraySpec;
use crate::geometry::{Coordinate, VoxelBox};

use super::file::VoxelFile;
use super::form::{Form, Held};
use super::naming::{Naming, Place};

const AXES: usize = 3;

/// The chunks of one level that exist as files, and the directories that they lie in.
///
/// Every node has a position: first all directories of depth 1, then those of depth 2 and so on, then the chunks, each
/// depth in mixed radix in the order of their names' axes. Positions are dense: each below [`n_nodes`](Self::n_nodes)
/// is a node.
///
/// Invariant: all positions fit 64 bits, each chunk has less than 2^63 bytes and corners that fit 64 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkGrid {
    level: usize,
    /// The first voxel of chunk (0, 0, 0).
    origin: Coordinate,
    chunk_shape: Coordinate,
    /// Chunks hold no voxels beyond it.
    clip: Option<VoxelBox>,
    naming: Naming,
    form: Form,
    /// The first chunk index of each axis that exists, zyx.
    first: [u64; AXES],
    /// How many chunks lie along each axis; all 0 if there is none.
    n_chunks: [u64; AXES],
    /// Bytes of all chunks; `u64::MAX` if there are more.
    n_bytes: u64,
}

/// What a grid is made from.
#[derive(Clone, Debug)]
pub(super) struct GridParts {
    /// Which level of the array.
    pub(super) level: usize,
    /// The first voxel of chunk (0, 0, 0), in DVID voxels of that level.
    pub(super) origin: Coordinate,
    /// Voxels of a chunk.
    pub(super) chunk_shape: Coordinate,
    /// A chunk exists if it touches this box.
    pub(super) extent: VoxelBox,
    /// Chunks are cut where this box ends; `None` if they are whole.
    pub(super) clip: Option<VoxelBox>,
    /// What they are called.
    pub(super) naming: Naming,
    /// What they consist of.
    pub(super) form: Form,
}

/// A directory or a chunk of a [`ChunkGrid`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChunkNode {
    /// How deep it lies, from 1.
    depth: usize,
    /// Which of all nodes of this depth, in mixed radix.
    number: u64,
}

impl ChunkGrid {
    /// The chunks of a level over its stored voxels, each whole: elsewhere is nothing but the fill value.
    ///
    /// `None` if they cannot be files: of 2^63 bytes or more, or too many to number.
    pub(super) fn over_stored(
        spec: &ArraySpec,
        level: usize,
        chunk_shape: Coordinate,
        (naming, form): (Naming, Form),
    ) -> Option<Self> {
        let described = spec.levels.get(level)?;
        let extent = described.stored.intersect(described.voxels());
        Self::new(spec, GridParts { level, origin: described.origin, chunk_shape, extent, clip: None, naming, form })
    }

    /// The chunks of a grid that touch its extent.
    ///
    /// `None` if they cannot be files: of 2^63 bytes or more, or too many to number.
    pub(super) fn new(spec: &ArraySpec, parts: GridParts) -> Option<Self> {
        let GridParts { level, origin, chunk_shape, extent, clip, naming, form } = parts;
        let (mut first, mut n_chunks) = ([0; AXES], [0; AXES]);
        for axis in 0..AXES {
            let chunk = chunk_shape.axes()[axis];
            let begin = extent.begin().axes()[axis].checked_sub(origin.axes()[axis])?.div_euclid(chunk);
            let end = -(origin.axes()[axis].checked_sub(extent.end().axes()[axis])?.div_euclid(chunk));
            first[axis] = u64::try_from(begin).ok()?;
            n_chunks[axis] = u64::try_from(end - begin).ok()?;
            // The last chunk of the axis must have a corner.
            end.checked_mul(chunk)?.checked_add(origin.axes()[axis])?;
        }
        if extent.is_empty() {
            (first, n_chunks) = ([0; AXES], [0; AXES]);
        }
        let mut grid = Self { level, origin, chunk_shape, clip, naming, form, first, n_chunks, n_bytes: 0 };
        grid.n_bytes = grid.total_bytes(spec)?;
        grid.fits_positions().then_some(grid)
    }

    /// How many directories and chunks there are, and so one more than the last position.
    #[must_use]
    pub fn n_nodes(&self) -> u64 {
        (1..=self.depth()).map(|depth| self.n_at(depth)).sum()
    }

    /// How many chunk files there are.
    #[must_use]
    pub fn n_chunks(&self) -> u64 {
        self.n_at(self.depth())
    }

    /// Bytes of all chunk files together; `u64::MAX` if there are more.
    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// Whether a node is a chunk file rather than a directory.
    #[must_use]
    pub fn is_chunk(&self, node: ChunkNode) -> bool {
        node.depth == self.depth()
    }

    /// The node at a position, if there is one.
    #[must_use]
    pub fn node(&self, position: u64) -> Option<ChunkNode> {
        let mut number = position;
        for depth in 1..=self.depth() {
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
        Some(ChunkNode { depth, number: node.number / self.n_of_step(depth) })
    }

    /// How many nodes lie in a directory (`None`: the level's own), 0 for a chunk.
    #[must_use]
    pub fn n_children(&self, of: Option<ChunkNode>) -> u64 {
        let depth = of.map_or(0, |node| node.depth);
        // A grid without chunks has no names at all.
        if depth < self.depth() { self.n_of_step(depth).min(self.n_chunks()) } else { 0 }
    }

    /// A node of a directory by its place in the listing.
    #[must_use]
    pub fn child(&self, of: Option<ChunkNode>, nth: u64) -> Option<ChunkNode> {
        let n = self.n_children(of);
        let (depth, number) = of.map_or((0, 0), |node| (node.depth, node.number));
        (nth < n).then(|| ChunkNode { depth: depth + 1, number: number * n + nth })
    }

    /// A node of a directory by its name, in its one spelling.
    #[must_use]
    pub fn child_named(&self, of: Option<ChunkNode>, name: &str) -> Option<ChunkNode> {
        let step = of.map_or(0, |node| node.depth);
        if step >= self.depth() {
            return None;
        }
        let place = Place { origin: self.origin, chunk_shape: self.chunk_shape };
        let index = self.naming.read(step, name, place)?;
        let mut nth = 0;
        for &axis in self.naming.steps()[step] {
            let digit = index[axis].checked_sub(self.first[axis]).filter(|&digit| digit < self.n_chunks[axis])?;
            nth = nth * self.n_chunks[axis] + digit;
        }
        let child = self.child(of, nth)?;
        let mut spelled = String::new();
        self.write_name(child, &mut spelled);
        (spelled == name).then_some(child)
    }

    /// Adds the node's name to a text.
    pub fn write_name(&self, node: ChunkNode, name: &mut String) {
        let index = self.index(node);
        self.naming.write(node.depth - 1, index, self.held(index).unwrap_or(VoxelBox::EMPTY), name);
    }

    /// The file of a chunk; `None` for a directory. `spec` is the one that the grid was made for.
    #[must_use]
    pub fn file(&self, spec: &ArraySpec, node: ChunkNode) -> Option<VoxelFile> {
        if !self.is_chunk(node) {
            return None;
        }
        self.form.file(spec, Held { level: self.level, voxels: self.held(self.index(node))? })
    }

    /// The chunk index of a node; along axes that its path does not count yet, the first.
    fn index(&self, node: ChunkNode) -> [u64; AXES] {
        let mut index = self.first;
        let mut number = node.number;
        for step in self.naming.steps()[..node.depth].iter().rev() {
            for &axis in step.iter().rev() {
                index[axis] += number % self.n_chunks[axis];
                number /= self.n_chunks[axis];
            }
        }
        index
    }

    /// Bytes of all chunks together, or `None` if one of them cannot be a file.
    fn total_bytes(&self, spec: &ArraySpec) -> Option<u64> {
        // Along an axis the first and the last chunk may be cut; those between them are alike.
        let kinds = |axis: usize| {
            let (first, n) = (self.first[axis], self.n_chunks[axis]);
            let between = n.saturating_sub(2);
            [(first, n.min(1)), (first + 1, between), (first + n.saturating_sub(1), n.saturating_sub(1).min(1))]
        };
        let mut total = 0_u64;
        for (z, n_z) in kinds(0) {
            for (y, n_y) in kinds(1) {
                for (x, n_x) in kinds(2) {
                    let n = n_z.saturating_mul(n_y).saturating_mul(n_x);
                    if n > 0 {
                        let file = self.form.file(spec, Held { level: self.level, voxels: self.held([z, y, x])? })?;
                        total = total.saturating_add(n.saturating_mul(file.n_bytes()));
                    }
                }
            }
        }
        Some(total)
    }

    /// The voxels of the chunk at an index.
    fn held(&self, index: [u64; AXES]) -> Option<VoxelBox> {
        let mut begin = self.origin.axes();
        for (axis, begin) in begin.iter_mut().enumerate() {
            *begin += i64::try_from(index[axis]).ok()? * self.chunk_shape.axes()[axis];
        }
        let whole = VoxelBox::from_shape(begin.into(), self.chunk_shape)?;
        Some(self.clip.map_or(whole, |clip| whole.intersect(clip)))
    }

    /// How deep the chunks lie.
    fn depth(&self) -> usize {
        self.naming.steps().len()
    }

    /// How many names one step of a path has.
    fn n_of_step(&self, step: usize) -> u64 {
        self.naming.steps()[step].iter().map(|&axis| self.n_chunks[axis]).product()
    }

    fn n_at(&self, depth: usize) -> u64 {
        let any = u64::from(self.n_chunks.iter().all(|&n| n > 0));
        any * (0..depth).map(|step| self.n_of_step(step)).product::<u64>()
    }

    /// Whether every position fits 64 bits.
    fn fits_positions(&self) -> bool {
        let (mut at_depth, mut total) = (1_u128, 0_u128);
        for step in self.naming.steps() {
            at_depth = step.iter().fold(at_depth, |n, &axis| n.saturating_mul(self.n_chunks[axis].into()));
            total = total.saturating_add(at_depth);
        }
        u64::try_from(total).is_ok()
    }
}

#[cfg(test)]
mod tests;
