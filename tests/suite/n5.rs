//! `volume.n5` through a real mount, read by the Rust crate `n5`, against the pure function.

use std::path::Path;

use ::n5::prelude::*;
use ::n5::smallvec::smallvec;
use dvidfs::demo::Dataset;
use dvidfs::geometry::{Coordinate, VoxelBox};

use crate::support::{Level, chunk_of, compare_views, file_values, levels};

/// Every dtype, data below 0, blocks of 48^3 and 32^3, holes, several levels, fractional voxel sizes.
const NAMES: [&str; 10] = ["aniso", "f32", "gray", "gray_1", "holes", "neg", "odd48", "seg48", "u16", "u32"];

/// The bytes of a chunk as the crate reads it, little-endian, and its size; `None` if there is no such file.
fn read_block(
    container: &N5Filesystem,
    (path, attributes): (&str, &DatasetAttributes),
    at: GridCoord,
) -> Option<(Vec<u8>, Vec<u32>)> {
    macro_rules! read {
        ($t:ty) => {{
            let block = container.read_block::<$t>(path, attributes, at).unwrap()?;
            Some((block.get_data().iter().flat_map(|value| value.to_le_bytes()).collect(), block.get_size().to_vec()))
        }};
    }
    match attributes.get_data_type() {
        DataType::UINT8 => read!(u8),
        DataType::UINT16 => read!(u16),
        DataType::UINT32 => read!(u32),
        DataType::UINT64 => read!(u64),
        DataType::FLOAT32 => read!(f32),
        DataType::INT8 | DataType::INT16 | DataType::INT32 | DataType::INT64 | DataType::FLOAT64 => {
            panic!("no array of DVID has {}", attributes.get_data_type())
        }
    }
}

/// Numbers of zyx in the order of the format.
fn xyz(zyx: Coordinate) -> [u64; 3] {
    [zyx.x(), zyx.y(), zyx.z()].map(|n| u64::try_from(n).unwrap())
}

/// Compares all chunks of a level; gives how many voxels were compared.
fn check_level(place: &Path, dataset: &Dataset, (number, level): (usize, &Level), bodies: bool) -> u128 {
    let container = N5Filesystem::open(place.join("volume.n5")).unwrap();
    assert_eq!(container.get_version().unwrap().to_string(), "2.5.1");
    let path = format!("s{number}");
    let attributes = container.get_dataset_attributes(&path).unwrap();
    assert_eq!(attributes.get_dimensions(), xyz(level.shape), "{}", place.display());
    assert_eq!(attributes.get_block_size().iter().map(|&n| n.into()).collect::<Vec<u64>>(), xyz(level.chunk_shape));
    let spec = dataset.instance(&level.instance).unwrap();
    assert_eq!(attributes.get_data_type().to_string().to_lowercase(), spec.dtype().unwrap().name());
    let array = VoxelBox::from_shape(level.origin, level.shape).unwrap();
    let n_chunks = level.shape.div_ceil(level.chunk_shape);
    for index in VoxelBox::from_shape(Coordinate::ZERO, n_chunks).unwrap().indices() {
        let [x, y, z] = xyz(index);
        let held = chunk_of(level, index).voxels.intersect(array);
        let expected = file_values(dataset, 0, &spec, level.scale, bodies, held);
        match read_block(&container, (&path, &attributes), smallvec![x, y, z]) {
            Some((bytes, size)) => {
                assert_eq!(size.into_iter().map(u64::from).collect::<Vec<_>>(), xyz(held.shape()));
                assert!(bytes == expected, "{} {path} {index} differs", place.display());
            }
            None => assert!(expected.iter().all(|&byte| byte == 0), "{} {path} {index}", place.display()),
        }
    }
    array.n_voxels()
}

fn check_view(place: &Path, dataset: &Dataset, bodies: bool) -> u128 {
    levels(place).iter().enumerate().map(|level| check_level(place, dataset, level, bodies)).sum()
}

#[test]
fn every_chunk_is_read_by_the_crate_n5() {
    compare_views(&NAMES, check_view);
}
