//! What the files of a mounted demo must hold, from the demo's pure function alone.

use std::fs;
use std::path::{Path, PathBuf};

use dvidfs::demo::{Dataset, InstanceSpec};
use dvidfs::geometry::{Coordinate, Scale, VoxelBox};
use serde_json::Value;

/// One level of an array as its metadata tells it.
pub struct Level {
    pub directory: PathBuf,
    /// What stands before the spatial part of a chunk's name: the index of all its channels.
    prefix: &'static str,
    pub shape: Coordinate,
    pub chunk_shape: Coordinate,
    /// The DVID voxel of index (0, 0, 0), from the level's offset in nanometers.
    pub origin: Coordinate,
    /// The instance and scale that the level is read from.
    pub instance: String,
    pub scale: Scale,
}

/// A chunk file and the voxels that it holds, in DVID voxels of its level.
pub struct Chunk {
    pub path: PathBuf,
    pub voxels: VoxelBox,
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).unwrap()
}

/// The spatial part of a list with a number for each axis: channels come first, if there are any.
fn coordinate(value: &Value) -> Coordinate {
    let first = value.as_array().map_or(0, |list| list.len() - 3);
    let axis = |n: usize| value[first + n].as_i64().unwrap_or_else(|| panic!("no coordinate: {value}"));
    Coordinate::new(axis(0), axis(1), axis(2))
}

/// The levels of the array in an instance's directory, or in its `supervoxels`.
pub fn levels(directory: &Path) -> Vec<Level> {
    let attrs = json(&directory.join("attrs.json"));
    let described = attrs["levels"].as_array().unwrap_or_else(|| panic!("no levels: {attrs}"));
    let level = |of: &Value| {
        let directory = directory.join("volume.zarr").join(of["path"].as_str().unwrap());
        let array = json(&directory.join(".zarray"));
        let source = of["source"].as_str().unwrap();
        let (instance, scale) = source.split_once(" scale ").unwrap_or((source, "0"));
        let nm = |key: &str, axis: usize| of[key][axis].as_f64().unwrap();
        #[allow(clippy::cast_possible_truncation)]
        let origin = std::array::from_fn(|axis| (nm("offset", axis) / nm("voxel_size", axis)).round() as i64);
        let channels = attrs["num_channels"].as_u64();
        if let Some(n) = channels {
            assert_eq!((array["shape"][0].as_u64(), array["chunks"][0].as_u64()), (Some(n), Some(n)), "{array}");
        }
        Level {
            directory,
            prefix: if channels.is_some() { "0/" } else { "" },
            shape: coordinate(&array["shape"]),
            chunk_shape: coordinate(&array["chunks"]),
            origin: origin.into(),
            instance: instance.to_owned(),
            scale: Scale(scale.parse().unwrap()),
        }
    };
    described.iter().map(level).collect()
}

/// The chunk of a level at an index of the chunk grid.
pub fn chunk_of(level: &Level, index: Coordinate) -> Chunk {
    let path = level.directory.join(format!("{}{}/{}/{}", level.prefix, index.z(), index.y(), index.x()));
    let voxels = VoxelBox::from_shape(level.origin + index * level.chunk_shape, level.chunk_shape).unwrap();
    Chunk { path, voxels }
}

/// The bytes of a file over these voxels, one channel after the other.
pub fn file_values(
    dataset: &Dataset,
    version: usize,
    spec: &InstanceSpec,
    scale: Scale,
    bodies: bool,
    voxels: VoxelBox,
) -> Vec<u8> {
    let itemsize = spec.dtype().unwrap().itemsize();
    let stored = dataset.values(version, spec, scale, voxels);
    let shown: Vec<u64> = stored
        .into_iter()
        .map(|value| if bodies { dataset.body_of(version, &spec.name, value) } else { value })
        .collect();
    let plane = |channel: usize| {
        let bytes = move |value: &u64| value.to_le_bytes()[channel * itemsize..(channel + 1) * itemsize].to_vec();
        shown.iter().flat_map(bytes)
    };
    (0..spec.channels().unwrap_or(1)).flat_map(plane).collect()
}

/// The chunk files of the finest level of an array that hold data, each with what it must hold.
pub fn chunk_files(root: &Path, dataset: &Dataset, version: usize, name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let level = &levels(&root.join(name))[0];
    let spec = dataset.instance(name).unwrap();
    let n_chunks = level.shape.div_ceil(level.chunk_shape);
    let chunk = |index| {
        let Chunk { path, voxels } = chunk_of(level, index);
        (path, file_values(dataset, version, &spec, level.scale, false, voxels))
    };
    let all = VoxelBox::from_shape(Coordinate::ZERO, n_chunks).unwrap();
    all.indices()
        .map(chunk)
        .filter(|(path, expected)| path.exists() && expected.iter().any(|&byte| byte != 0))
        .collect()
}

/// Reads and compares files; gives how many bytes were compared.
#[track_caller]
pub fn compare(files: &[(PathBuf, Vec<u8>)]) -> u64 {
    for (path, expected) in files {
        let read = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(read == *expected, "{} differs", path.display());
    }
    files.iter().map(|(_, expected)| expected.len() as u64).sum()
}
