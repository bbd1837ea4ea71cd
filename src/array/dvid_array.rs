//! `DvidArray`: an instance of a DVID node as an array that can be read anywhere.

use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::{Map, Value};

use crate::cache::{BlockCache, BlockRequest, Blocks, FetchError, Reader, SourceId};
use crate::dvid::{Freshness, View};
use crate::geometry::{BlockIndex, Coordinate, Grid, Roi, Scale, VoxelBox, VoxelSize};
use crate::voxels::{AnyArray, Dtype, Volume, Voxel};

use super::assemble::{Target, parts, place};
use super::data_view::DataView;
use super::error::{Error, MetadataError, NoSuchModule};
use super::file_read::FileRead;
use super::neuroglancer;
use super::read_voxels::{Channels, ReadVoxels, ThenBytes, VoxelBytes};
use super::spec::{ArrayKind, ArraySpec, Level};
use super::traits::{Array, Axis};
use super::window::voxels_of_bytes;

/// Where an array comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The server, such as `http://dvid.example.org:8000`.
    pub server: String,
    /// The full UUID of the node.
    pub uuid: String,
    /// The instance.
    pub name: String,
}

/// Where the blocks of one level are fetched from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LevelBlocks {
    /// The instance, as the cache knows it.
    pub(super) source: SourceId,
    /// The scale to ask that instance for: 0 where the level is a sibling instance.
    pub(super) scale: Scale,
}

/// All that a [`DvidArray`] is made of.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) spec: ArraySpec,
    pub(super) source: Source,
    /// How long its data stayed right as of the mount.
    pub(super) freshness: Freshness,
    pub(super) levels: Vec<LevelBlocks>,
    pub(super) cache: Arc<BlockCache>,
    /// DVID's own info, as `attrs` shows it.
    pub(super) info: Map<String, Value>,
    /// `attrs.json` without the added metadata.
    pub(super) described: Map<String, Value>,
}

/// One view of an instance of a DVID node: attributes and voxels, through the block cache.
///
/// Arrays are zyx, x fastest, with channels before them if there are any; world units are nanometers. Every voxel that a mounted file gives comes through here.
///
/// ```
/// use dvidfs::array::{Array, DvidArray};
/// use dvidfs::demo::{Dataset, Demo, DemoOptions};
/// use dvidfs::geometry::Roi;
///
/// let demo = Demo::start(DemoOptions { dataset: Dataset::standard(), ..DemoOptions::default() })?;
/// let array = DvidArray::open(&demo.origin(), demo.dataset().root(), "grayscale")?;
/// let corner = Roi::new(array.roi().offset(), array.voxel_size().nm().map(|nm| 10.0 * nm)).unwrap();
/// assert_eq!(array.read(corner)?.shape(), [10, 10, 10]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DvidArray {
    parts: Parts,
    /// Metadata added in this process. The lock guards the map alone; no I/O happens under it.
    added: RwLock<Map<String, Value>>,
}

impl DvidArray {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts, added: RwLock::default() }
    }

    /// The instance's name; its supervoxels have the same.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.parts.spec.name
    }

    /// Server, node and instance.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.parts.source
    }

    /// Bodies of a labelmap, or the voxels as stored.
    #[must_use]
    pub fn view(&self) -> View {
        self.parts.spec.view
    }

    /// The names of the spatial axes, slowest first: z, y, x.
    #[must_use]
    pub fn spatial_axes(&self) -> Vec<Axis> {
        vec![Axis::Z, Axis::Y, Axis::X]
    }

    /// `attrs.json`: the array interface, documented in `docs/attrs.md`.
    #[must_use]
    pub fn described(&self) -> Value {
        let mut described = self.parts.described.clone();
        described.insert("attrs".into(), Value::Object(self.attrs()));
        Value::Object(described)
    }

    /// Adds metadata, kept in this process and shown in `attrs`.
    ///
    /// # Errors
    /// If `metadata` is no object, or names a key that DVID's info has.
    pub fn add_metadata(&self, metadata: Value) -> Result<(), MetadataError> {
        let Value::Object(metadata) = metadata else { return Err(MetadataError::NotAnObject) };
        if let Some(key) = metadata.keys().find(|key| self.parts.info.contains_key(*key)) {
            return Err(MetadataError::TakenKey(key.clone()));
        }
        self.added.write().unwrap_or_else(PoisonError::into_inner).extend(metadata);
        Ok(())
    }

    /// Reads a region as an array of this Rust type.
    ///
    /// # Errors
    /// As [`Array::read`], or if the voxels have another type.
    pub fn read_as<T: Voxel>(&self, roi: Roi) -> Result<ndarray::ArrayD<T>, Error> {
        let has = self.dtype();
        self.read(roi)?.into_typed().ok_or(Error::WrongDtype { has, wanted: T::DTYPE })
    }

    /// Reads a box of voxels of one scale, in DVID voxels of that scale.
    ///
    /// # Errors
    /// If the box is not inside the data of that scale, or a block cannot be had.
    pub fn read_voxels(&self, scale: Scale, wanted: VoxelBox) -> Result<AnyArray, Error> {
        self.read_channels(scale, 0..self.parts.spec.n_channels(), wanted)
    }

    /// As [`read_voxels`](Self::read_voxels), but these channels alone; the array has them.
    pub(super) fn read_channels(
        &self,
        scale: Scale,
        channels: Range<usize>,
        wanted: VoxelBox,
    ) -> Result<AnyArray, Error> {
        self.level(scale)?;
        let data = self.parts.spec.data.at_scale(scale);
        if !data.contains(wanted) {
            return Err(Error::out_of_bounds(wanted, data, scale));
        }
        self.read_channels_or_fill(scale, channels, wanted)
    }

    /// Reads a box of voxels of one scale; what lies outside the data is 0.
    ///
    /// # Errors
    /// If there is no such scale, the box does not fit in memory, or a block cannot be had.
    pub fn read_voxels_or_fill(&self, scale: Scale, wanted: VoxelBox) -> Result<AnyArray, Error> {
        self.read_channels_or_fill(scale, 0..self.parts.spec.n_channels(), wanted)
    }

    fn read_channels_or_fill(&self, scale: Scale, channels: Range<usize>, wanted: VoxelBox) -> Result<AnyArray, Error> {
        let index = self.level(scale)?;
        let dtype = self.dtype();
        let in_memory = |n: u128| usize::try_from(n).ok().filter(|&n| n <= isize::MAX.unsigned_abs());
        let plane_bytes = wanted.n_voxels().checked_mul(dtype.itemsize() as u128);
        let n_bytes = plane_bytes.and_then(|n| in_memory(n.checked_mul(channels.len() as u128)?));
        let (plane_bytes, n_bytes) = plane_bytes.and_then(in_memory).zip(n_bytes).ok_or(Error::TooLarge(wanted))?;
        let mut bytes = vec![0; n_bytes];
        let level = &self.parts.spec.levels[index];
        let grid = Grid::new(level.block_shape).ok_or(Error::NoSuchScale(scale))?;
        for part in parts(wanted.intersect(level.stored), grid, self.most_blocks(level)) {
            let needed = self.needed(index, part);
            let blocks = self.get_blocking(index, &needed)?;
            for (channel, plane) in channels.clone().zip(bytes.chunks_exact_mut(plane_bytes.max(1))) {
                let target = Target { bytes: plane, file_box: wanted, window: 0..plane_bytes };
                place(level, (&needed, &blocks), part, Channels::One(channel), target);
            }
        }
        let n_channels = self.parts.spec.channels.map(|_| channels.len());
        let volume = Volume::with_channels(dtype, n_channels, wanted.shape(), bytes);
        volume.map(AnyArray::from).map_err(|_| Error::TooLarge(wanted))
    }

    /// The source that neuroglancer opens this array from.
    ///
    /// # Errors
    /// If the feature `neuroglancer` was not compiled in.
    pub fn neuroglancer_source(&self) -> Result<Value, NoSuchModule> {
        neuroglancer::source(&self.parts.source)
    }

    /// From voxel positions (x, y, z, 1) to neuroglancer's dimensions: three rows of four.
    ///
    /// # Errors
    /// If the feature `neuroglancer` was not compiled in.
    pub fn transform_matrix(&self) -> Result<Vec<Vec<f64>>, NoSuchModule> {
        neuroglancer::transform_matrix()
    }

    /// Neuroglancer's dimensions: for x, y and z the size of a voxel in meters.
    ///
    /// # Errors
    /// If the feature `neuroglancer` was not compiled in.
    pub fn output_dimensions(&self) -> Result<Map<String, Value>, NoSuchModule> {
        neuroglancer::output_dimensions(self.voxel_size())
    }

    /// The name of the layer in neuroglancer.
    #[must_use]
    pub fn source_name(&self) -> &str {
        self.name()
    }

    /// A whole neuroglancer state with this array as its layer, to paste.
    ///
    /// # Errors
    /// If the feature `neuroglancer` was not compiled in.
    pub fn neuroglancer_state(&self) -> Result<Value, NoSuchModule> {
        neuroglancer::state(self.neuroglancer_layer()?, self.voxel_size(), self.parts.spec.data)
    }

    /// Reads bytes of a dense file as [`read_bytes`](ReadVoxels::read_bytes) does; what lies outside of `bounds` is 0.
    pub(super) fn read_bytes_within(&self, bounds: VoxelBox, wanted: VoxelBytes, then: ThenBytes) {
        let VoxelBytes { level: index, file_box, channels, window } = wanted;
        let level = self.parts.spec.levels[index].clone();
        let wanted = voxels_of_bytes(file_box, self.dtype().itemsize() * channels.n_here(), &window);
        let wanted = wanted.intersect(bounds).intersect(level.stored);
        let to_usize = |n: u64| usize::try_from(n).expect("a window lies in a file of this machine's size");
        let window = to_usize(window.start)..to_usize(window.end);
        let bytes = vec![0; window.len()];
        let Some(grid) = Grid::new(level.block_shape).filter(|_| !wanted.is_empty()) else { return then(Ok(bytes)) };
        let read = FileRead {
            name: self.name().to_owned(),
            cache: Arc::clone(&self.parts.cache),
            parts: Box::new(parts(wanted, grid, self.most_blocks(&level))),
            level,
            grid,
            request: self.request(index, &[]),
            file_box,
            channels,
            window,
            bytes,
            reader: Reader::current().unwrap_or_default(),
            then,
        };
        Box::new(read).go_on();
    }

    /// So many blocks of a level are read at once: those of a whole region, and even of one plane, may be many times the
    /// cache.
    fn most_blocks(&self, level: &Level) -> usize {
        let block_voxels = usize::try_from(level.block_shape.product()).unwrap_or(usize::MAX);
        let block_bytes = block_voxels.saturating_mul(self.dtype().itemsize() * self.parts.spec.n_channels());
        self.parts.cache.part_bytes() / block_bytes.max(1)
    }

    fn level(&self, scale: Scale) -> Result<usize, Error> {
        let levels = &self.parts.spec.levels;
        levels.iter().position(|level| level.scale == scale).ok_or(Error::NoSuchScale(scale))
    }

    /// The stored blocks that a box of voxels touches.
    fn needed(&self, level: usize, wanted: VoxelBox) -> Vec<BlockIndex> {
        let level = &self.parts.spec.levels[level];
        match Grid::new(level.block_shape) {
            Some(grid) => grid.blocks_covering(wanted.intersect(level.stored)).collect(),
            None => Vec::new(),
        }
    }

    fn request(&self, level: usize, blocks: &[BlockIndex]) -> BlockRequest {
        let LevelBlocks { source, scale } = self.parts.levels[level];
        BlockRequest { source, view: self.parts.spec.view, scale, blocks: blocks.to_vec() }
    }

    fn get_blocking(&self, level: usize, blocks: &[BlockIndex]) -> Result<Blocks, Error> {
        if blocks.is_empty() {
            return Ok(Vec::new());
        }
        self.parts.cache.get_many_blocking(self.request(level, blocks)).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: FetchError) -> Error {
        Error::Fetch { array: self.name().to_owned(), source }
    }
}

impl ReadVoxels for DvidArray {
    fn spec(&self) -> &ArraySpec {
        &self.parts.spec
    }

    /// A file that the kernel keeps for ever must not hold what a sibling may change.
    fn freshness(&self) -> Freshness {
        let levels = self.parts.levels.iter().map(|level| self.parts.cache.freshness(level.source));
        levels.into_iter().find(|&freshness| freshness != Freshness::Forever).unwrap_or(Freshness::Forever)
    }

    fn became_lasting(&self) -> bool {
        self.parts.freshness != Freshness::Forever && self.freshness() == Freshness::Forever
    }

    fn read_bytes(&self, wanted: VoxelBytes, then: ThenBytes) {
        let everywhere = wanted.file_box;
        self.read_bytes_within(everywhere, wanted, then);
    }
}

impl Array for DvidArray {
    fn attrs(&self) -> Map<String, Value> {
        let mut attrs = self.parts.info.clone();
        attrs.extend(self.added.read().unwrap_or_else(PoisonError::into_inner).clone());
        attrs
    }

    fn axes(&self) -> Vec<Axis> {
        self.num_channels().map(|_| Axis::Channel).into_iter().chain(self.spatial_axes()).collect()
    }

    fn voxel_size(&self) -> VoxelSize {
        self.parts.spec.voxel_size
    }

    fn roi(&self) -> Roi {
        Roi::of_voxels(self.parts.spec.data, self.parts.spec.voxel_size)
    }

    fn dtype(&self) -> Dtype {
        self.parts.spec.dtype
    }

    fn num_channels(&self) -> Option<usize> {
        self.parts.spec.channels
    }

    fn data(&self) -> DataView<'_> {
        DataView::new(self, self.parts.spec.data)
    }

    fn read(&self, roi: Roi) -> Result<AnyArray, Error> {
        self.read_voxels(Scale::FULL, roi.to_voxels(self.voxel_size()))
    }

    fn slices(&self, roi: Roi) -> Result<Vec<Range<u64>>, Error> {
        let (wanted, data) = (roi.to_voxels(self.voxel_size()), self.parts.spec.data);
        if !data.contains(wanted) {
            return Err(Error::out_of_bounds(wanted, data, Scale::FULL));
        }
        let local = wanted.translated(Coordinate::ZERO - data.begin());
        let range = |axis: usize| local.begin().axes()[axis].unsigned_abs()..local.end().axes()[axis].unsigned_abs();
        let channels = self.num_channels().map(|n| 0..n as u64);
        Ok(channels.into_iter().chain((0..3).map(range)).collect())
    }

    fn can_neuroglance(&self) -> bool {
        neuroglancer::COMPILED_IN
    }

    fn neuroglancer_layer(&self) -> Result<Value, NoSuchModule> {
        let labels = self.parts.spec.kind == ArrayKind::Labels;
        neuroglancer::layer(self.source_name(), labels, &self.neuroglancer_source()?, self.voxel_size())
    }
}

#[cfg(test)]
mod tests;
