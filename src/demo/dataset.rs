//! What the demo server holds: versions, instances, and the value of every voxel as a pure function.

use std::collections::HashMap;
use std::sync::Arc;

use crate::geometry::{BlockBox, BlockIndex, Coordinate, Grid, Scale, VoxelBox};
use crate::voxels::Dtype;

use super::npy::NpyVolume;
use super::texture;

/// How an instance keeps its blocks, in DVID's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Behind their length.
    Lz4,
    /// One gzip member.
    Gzip,
    /// As they are.
    None,
    /// One Snappy block.
    Snappy,
    /// A gray picture; gray values are constant over 8 x 8 pixels, so that every decoder gives the same.
    Jpeg,
}

/// What an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// uint8blk … float32blk, by dtype.
    Image(Dtype),
    /// rgba8blk: uint8 in four channels.
    Rgba,
    /// Labels without scales.
    LabelBlk,
    /// Labels with this many scales above 0.
    LabelArray(u8),
    /// Supervoxels and bodies, with this many scales above 0.
    LabelMap(u8),
    /// Something without voxels, by its typename.
    Other(&'static str),
}

/// One instance of the demo server.
#[derive(Clone, Debug)]
pub struct InstanceSpec {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// How blocks are kept.
    pub stored: Stored,
    /// Voxels of a block, zyx.
    pub block_shape: Coordinate,
    /// The box that holds data, in voxels of the instance.
    pub data: VoxelBox,
    /// Voxel size as the server prints it: JSON numbers for x, y, z.
    pub voxel_size_xyz: [&'static str; 3],
    /// Units as the server prints them.
    pub units: &'static str,
    /// A sibling `name_k`: its voxels are 2^k times as large as those of the pure function.
    pub coarser_by: Scale,
    /// Whether some blocks were never written.
    pub holes: bool,
    /// Whether the server knows no extents although there is data.
    pub null_extents: bool,
    /// Whether each version has its own.
    pub versioned: bool,
    /// Whether the server stands before a bucket of neuroglancer's, whose chunks are the blocks.
    pub bucket: bool,
    /// Which of several different contents it has: its voxels are other ones in each.
    pub edition: u8,
    /// How often it was deleted and made again: its data UUID is another one each time.
    pub incarnation: u64,
    /// Voxels of a user's own; those of the pure function if there are none.
    pub volume: Option<Arc<NpyVolume>>,
}

impl InstanceSpec {
    /// The type of a voxel, or of one channel of it; None without voxels.
    #[must_use]
    pub fn dtype(&self) -> Option<Dtype> {
        match self.kind {
            Kind::Image(dtype) => Some(dtype),
            Kind::Rgba => Some(Dtype::Uint8),
            Kind::LabelBlk | Kind::LabelArray(_) | Kind::LabelMap(_) => Some(Dtype::Uint64),
            Kind::Other(_) => None,
        }
    }

    /// How many channels a voxel has, if there is an axis for them.
    #[must_use]
    pub fn channels(&self) -> Option<usize> {
        (self.kind == Kind::Rgba).then_some(4)
    }

    /// Bytes of a voxel with all its channels; 0 without voxels.
    pub(super) fn voxel_bytes(&self) -> usize {
        self.dtype().map_or(0, Dtype::itemsize) * self.channels().unwrap_or(1)
    }

    /// The coarsest scale that was computed.
    #[must_use]
    pub fn max_scale(&self) -> Scale {
        match self.kind {
            Kind::LabelArray(scale) | Kind::LabelMap(scale) => Scale(scale),
            Kind::Image(_) | Kind::Rgba | Kind::LabelBlk | Kind::Other(_) => Scale::FULL,
        }
    }

    pub(super) fn is_label(&self) -> bool {
        matches!(self.kind, Kind::LabelBlk | Kind::LabelArray(_) | Kind::LabelMap(_))
    }

    pub(super) fn grid(&self) -> Grid {
        Grid::new(self.block_shape).expect("instances of the demo have blocks")
    }

    /// Whether a block was ever written. A scaled block is there if one of its eight children is.
    pub(super) fn is_stored(&self, scale: Scale, block: BlockIndex) -> bool {
        if scale == Scale::FULL {
            let in_data = !self.grid().block_box(block).intersect(self.data).is_empty();
            return in_data && !(self.holes && texture::hash(block.0, 31).is_multiple_of(5));
        }
        if scale > self.max_scale() {
            return false;
        }
        let first = BlockIndex(block.0 * Coordinate::splat(2));
        let children = VoxelBox::from_shape(first.0, Coordinate::splat(2)).map(BlockBox);
        children.is_some_and(|all| all.blocks().any(|child| self.is_stored(Scale(scale.0 - 1), child)))
    }
}

/// One version of the demo's repo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// 32 hex digits.
    pub uuid: &'static str,
    /// Empty for the master branch.
    pub branch: &'static str,
    /// Whether it was committed.
    pub locked: bool,
    /// Index of the parent.
    pub parent: Option<usize>,
    /// Which voxels and bodies it sees: those of this version of the first four.
    pub(super) data: usize,
}

const fn version(
    uuid: &'static str,
    branch: &'static str,
    locked: bool,
    parent: Option<usize>,
    data: usize,
) -> Version {
    Version { uuid, branch, locked, parent, data }
}

/// The versions: root, its child, the open head of master, an open branch of the root, and two tags of the child.
///
/// `b7` begins two of them, and the tag `v1` the other tag. A tag's UUID is its text, as DVID has it.
pub const VERSIONS: [Version; 6] = [
    version("a40d5c9c1f6b4d0ea1f0d4b6c7e8f901", "", true, None, 0),
    version("b7e21f8450aa4c3d9e0b1c2d3e4f5061", "", true, Some(0), 1),
    version("c3340d6e7f1842a5b6c7d8e9fa0b1c2d", "", false, Some(1), 2),
    version("b70f9a8b7c6d4e5fa0b1c2d3e4f50617", "exp", false, Some(0), 3),
    version("v1.0", "tag-v1.0", true, Some(1), 1),
    version("v1", "tag-v1", true, Some(1), 1),
];

/// Everything that a demo server serves.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The repo's name.
    pub alias: &'static str,
    pub(super) instances: Vec<Arc<InstanceSpec>>,
    /// For each labelmap and version, supervoxel to body where they differ.
    mappings: HashMap<(String, usize), Arc<HashMap<u64, u64>>>,
    /// When versions were committed that are open in [`VERSIONS`], in seconds since 1970.
    pub(super) committed: HashMap<usize, u64>,
}

/// The largest volume whose mapping is kept: larger ones, and those of a user, have bodies equal to supervoxels.
const LARGEST_MAPPED: u128 = 1 << 30;

impl Dataset {
    pub(super) fn new(alias: &'static str, instances: Vec<InstanceSpec>) -> Self {
        let mut mappings = HashMap::new();
        for spec in instances.iter().filter(|spec| matches!(spec.kind, Kind::LabelMap(_))) {
            for (version, Version { data, .. }) in VERSIONS.iter().enumerate() {
                // The root and its child differ in their bodies; the head is as its parent.
                let salt = [0, 1000, 1000, 2000][if spec.versioned { *data } else { 0 }];
                let pairs = if spec.volume.is_some() || spec.data.n_voxels() > LARGEST_MAPPED {
                    Vec::new()
                } else {
                    texture::mapping(spec.data.begin(), spec.data.end(), salt)
                };
                mappings.insert((spec.name.clone(), version), Arc::new(pairs.into_iter().collect()));
            }
        }
        let instances = instances.into_iter().map(Arc::new).collect();
        Self { alias, instances, mappings, committed: HashMap::new() }
    }

    /// When a version was committed, if that was after its making.
    pub(super) fn commit_of(&self, version: usize) -> Option<u64> {
        self.committed.get(&version).copied()
    }

    pub(super) fn is_locked(&self, version: usize) -> bool {
        VERSIONS[version].locked || self.committed.contains_key(&version)
    }

    /// The UUID of the root version.
    #[must_use]
    pub fn root(&self) -> &'static str {
        VERSIONS[0].uuid
    }

    /// All instances.
    pub fn instances(&self) -> impl Iterator<Item = &InstanceSpec> {
        self.instances.iter().map(AsRef::as_ref)
    }

    /// An instance by name.
    #[must_use]
    pub fn instance(&self, name: &str) -> Option<Arc<InstanceSpec>> {
        self.instances.iter().find(|spec| spec.name == name).cloned()
    }

    /// The value of a voxel as it is stored at a version; 0 where nothing is stored.
    ///
    /// float32 as its bits, and four channels as the bytes of a number, red lowest.
    ///
    /// # Panics
    /// If it is a user's own and its file can no longer be read.
    #[must_use]
    pub fn voxel_at(&self, version: usize, spec: &InstanceSpec, scale: Scale, voxel: Coordinate) -> u64 {
        if scale == Scale::FULL {
            let stored = spec.data.contains_voxel(voxel) && spec.is_stored(scale, spec.grid().block_of(voxel));
            return if stored { values_of(version, spec, one(voxel))[0] } else { 0 };
        }
        // Most of a coarse block lies outside small data: nothing need be looked at there.
        if scale > spec.max_scale() || !spec.data.at_scale(scale).contains_voxel(voxel) {
            return 0;
        }
        let finer = Scale(scale.0 - 1);
        let first = voxel * Coordinate::splat(2);
        let child =
            |n: i64| self.voxel_at(version, spec, finer, first + Coordinate::new(n >> 2 & 1, n >> 1 & 1, n & 1));
        majority([0, 1, 2, 3, 4, 5, 6, 7].map(child))
    }

    /// The values of a box of voxels, z slowest: each that of [`Dataset::voxel_at`], but fewer questions are asked.
    ///
    /// # Panics
    /// If the box does not fit in memory, or the file of a user's own voxels can no longer be read.
    #[must_use]
    pub fn values(&self, version: usize, spec: &InstanceSpec, scale: Scale, voxels: VoxelBox) -> Vec<u64> {
        let mut values = vec![0; usize::try_from(voxels.n_voxels()).expect("a request fits in memory")];
        if scale > spec.max_scale() {
            return values;
        }
        let ([z0, y0, x0], [_, ny, nx]) = (voxels.begin().axes(), voxels.shape().axes());
        let mut set = |[z, y, x]: [i64; 3], value| {
            let index = ((z - z0) * ny + (y - y0)) * nx + (x - x0);
            values[usize::try_from(index).expect("a voxel lies in its box")] = value;
        };
        let wanted = voxels.intersect(spec.data.at_scale(scale));
        if scale == Scale::FULL {
            let stored = spec.grid().blocks_covering(wanted).filter(|&block| spec.is_stored(scale, block));
            for part in stored.map(|block| spec.grid().block_box(block).intersect(wanted)) {
                let values = values_of(version, spec, part);
                part.indices().zip(values).for_each(|(voxel, value)| set(voxel.axes(), value));
            }
            return values;
        }
        // Plane by plane, because the voxels of full resolution below a whole block do not fit in memory.
        let ([z0, y0, x0], [z1, y1, x1]) = (wanted.begin().axes(), wanted.end().axes());
        for z in z0..z1 {
            let children = VoxelBox::new([2 * z, 2 * y0, 2 * x0].into(), [2 * z + 2, 2 * y1, 2 * x1].into());
            let finer = self.values(version, spec, Scale(scale.0 - 1), children.expect("a plane has a positive shape"));
            let [ny, nx] = [2 * (y1 - y0), 2 * (x1 - x0)];
            for (y, x) in (y0..y1).flat_map(|y| (x0..x1).map(move |x| (y, x))) {
                let first = usize::try_from(2 * (y - y0) * nx + 2 * (x - x0)).expect("a voxel lies in its plane");
                let (row, plane) =
                    (usize::try_from(nx).expect("positive"), usize::try_from(ny * nx).expect("positive"));
                let eight = [0, 1, row, row + 1, plane, plane + 1, plane + row, plane + row + 1];
                set([z, y, x], majority(eight.map(|child| finer[first + child])));
            }
        }
        values
    }

    /// The body of a supervoxel of a labelmap at a version.
    #[must_use]
    pub fn body_of(&self, version: usize, labelmap: &str, supervoxel: u64) -> u64 {
        self.mapping(version, labelmap).get(&supervoxel).copied().unwrap_or(supervoxel)
    }

    /// Supervoxel to body, where the two differ.
    pub(super) fn mapping(&self, version: usize, labelmap: &str) -> Arc<HashMap<u64, u64>> {
        self.mappings.get(&(labelmap.to_owned(), version)).cloned().unwrap_or_default()
    }
}

/// DVID's rule for labels of a coarser scale: the most frequent of the eight but 0, of equals the smaller.
fn majority(mut eight: [u64; 8]) -> u64 {
    if eight.iter().all(|&label| label == eight[0]) {
        return eight[0];
    }
    eight.sort_unstable();
    let mut best = (0, 0);
    for group in eight.chunk_by(|a, b| a == b) {
        if group[0] != 0 && group.len() > best.0 {
            best = (group.len(), group[0]);
        }
    }
    best.1
}

fn one(voxel: Coordinate) -> VoxelBox {
    VoxelBox::from_shape(voxel, Coordinate::ONE).expect("one voxel is a box")
}

/// The values of a box of full resolution that lies in the data.
fn values_of(version: usize, spec: &InstanceSpec, voxels: VoxelBox) -> Vec<u64> {
    match &spec.volume {
        Some(volume) => volume.values(voxels.translated(Coordinate::ZERO - spec.data.begin())),
        None => voxels.indices().map(|voxel| value(version, spec, voxel)).collect(),
    }
}

fn value(version: usize, spec: &InstanceSpec, voxel: Coordinate) -> u64 {
    let voxel =
        if spec.stored == Stored::Jpeg { Coordinate::new(voxel.z(), voxel.y() & !7, voxel.x() & !7) } else { voxel };
    let step = spec.coarser_by.factor();
    let at = voxel.map(|n| n * step + step / 2);
    match spec.kind {
        Kind::Image(dtype) => image_value(version, spec, dtype, at),
        Kind::Rgba => {
            let noise = texture::hash(at, 16).to_le_bytes();
            // Nearly opaque: no channel can be taken for another.
            let alpha = 192 + noise[1] % 64;
            let gray = texture::gray_of(at, step);
            u32::from_le_bytes([gray, 255 - gray / 2, noise[0], alpha]).into()
        }
        Kind::LabelBlk | Kind::LabelArray(_) | Kind::LabelMap(_) => texture::supervoxel(at) + u64::from(spec.edition),
        Kind::Other(_) => 0,
    }
}

fn image_value(version: usize, spec: &InstanceSpec, dtype: Dtype, at: Coordinate) -> u64 {
    // The branch and the open head changed the block at the origin.
    let changed =
        VERSIONS[version].data >= 2 && spec.versioned && spec.grid().block_of(at) == BlockIndex(Coordinate::ZERO);
    let gray = texture::gray_of(at, spec.coarser_by.factor());
    let gray = if changed { 255 - gray } else { gray };
    // An odd factor: no two editions have a voxel in common.
    let gray = gray.wrapping_add(spec.edition.wrapping_mul(101));
    match dtype {
        Dtype::Uint8 => gray.into(),
        Dtype::Uint16 => u64::from(gray) << 8 | texture::hash(at, 12) & 0xff,
        Dtype::Uint32 => u64::from(gray) << 24 | texture::hash(at, 13) & 0xff_ffff,
        Dtype::Uint64 => texture::hash(at, 14),
        Dtype::Float32 => {
            let fine = f32::from(u16::try_from(texture::hash(at, 15) & 0xfff).unwrap_or(0)) / 4096.0;
            u64::from(((f32::from(gray) + fine) / 255.0 - 0.5).to_bits())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_majority_passes_over_zeros_and_prefers_the_smaller() {
        assert_eq!(majority([0, 0, 0, 0, 0, 0, 0, 9]), 9);
        assert_eq!(majority([5, 5, 7, 7, 0, 0, 0, 0]), 5);
        assert_eq!(majority([7, 7, 7, 5, 5, 0, 0, 0]), 7);
        assert_eq!(majority([0; 8]), 0);
    }

    #[test]
    fn a_hole_is_zero_and_its_neighbours_are_not() {
        let dataset = Dataset::test();
        let spec = dataset.instance("holes").unwrap();
        let blocks: Vec<_> = spec.grid().blocks_covering(spec.data).collect();
        let holes: Vec<_> = blocks.iter().filter(|&&block| !spec.is_stored(Scale::FULL, block)).collect();
        assert!(!holes.is_empty() && holes.len() < blocks.len());
        let begin = spec.grid().block_box(*holes[0]).begin();
        assert_eq!(dataset.voxel_at(0, &spec, Scale::FULL, begin), 0);
    }
}
