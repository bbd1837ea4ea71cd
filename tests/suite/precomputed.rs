//! `precomputed` through a real mount, file by file as its `info` describes it, against the pure function.

use std::fs;
use std::path::Path;

use dvidfs::demo::Dataset;
use dvidfs::geometry::{Coordinate, VoxelBox};
use serde_json::Value;

use crate::support::{Level, compare_views, file_values, levels};

/// Data below 0, blocks of 48^3 and 32^3, holes, several levels, fractional voxel sizes, bodies.
const NAMES: [&str; 8] = ["aniso", "f32", "gray", "gray_1", "holes", "neg", "odd48", "seg48"];

/// The box of a chunk from its name: `<x0>-<x1>_<y0>-<y1>_<z0>-<z1>`, each perhaps below 0.
fn box_of(name: &str) -> VoxelBox {
    let ends: Vec<[i64; 2]> = name
        .split('_')
        .map(|part| {
            let dash = 1 + part[1..].find('-').unwrap();
            [part[..dash].parse().unwrap(), part[dash + 1..].parse().unwrap()]
        })
        .collect();
    let [x, y, z] = ends[..] else { panic!("{name}") };
    VoxelBox::new([z[0], y[0], x[0]].into(), [z[1], y[1], x[1]].into()).unwrap()
}

fn from_xyz(numbers: &Value) -> Coordinate {
    let axis = |n: usize| numbers[n].as_i64().unwrap();
    Coordinate::new(axis(2), axis(1), axis(0))
}

/// Compares all chunks of a level; gives how many voxels were compared.
fn check_level(place: &Path, dataset: &Dataset, (scale, level): (&Value, &Level), bodies: bool) -> u128 {
    let bounds = VoxelBox::from_shape(from_xyz(&scale["voxel_offset"]), from_xyz(&scale["size"])).unwrap();
    assert_eq!(bounds, VoxelBox::from_shape(level.origin, level.shape).unwrap(), "{}", place.display());
    assert_eq!((&scale["encoding"], from_xyz(&scale["chunk_sizes"][0])), (&"raw".into(), level.chunk_shape));
    let spec = dataset.instance(&level.instance).unwrap();
    let directory = place.join("precomputed").join(scale["key"].as_str().unwrap());
    let mut n_voxels = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let held = box_of(path.file_name().unwrap().to_str().unwrap());
        let index = (held.begin() - bounds.begin()).div_floor(level.chunk_shape);
        let whole = VoxelBox::from_shape(bounds.begin() + index * level.chunk_shape, level.chunk_shape).unwrap();
        assert_eq!(held, whole.intersect(bounds), "{}", path.display());
        let expected = file_values(dataset, 0, &spec, level.scale, bodies, held);
        assert!(fs::read(&path).unwrap() == expected, "{} differs", path.display());
        n_voxels += held.n_voxels();
    }
    // No chunk is missing, not even one of zeros alone.
    assert_eq!(n_voxels, bounds.n_voxels(), "{}", directory.display());
    n_voxels
}

fn check_view(place: &Path, dataset: &Dataset, bodies: bool) -> u128 {
    let info: Value = serde_json::from_slice(&fs::read(place.join("precomputed/info")).unwrap()).unwrap();
    let (scales, levels) = (info["scales"].as_array().unwrap(), levels(place));
    assert_eq!(scales.len(), levels.len());
    scales.iter().zip(&levels).map(|level| check_level(place, dataset, level, bodies)).sum()
}

#[test]
fn every_chunk_inside_the_bounds_is_there_and_right() {
    compare_views(&NAMES, check_view);
}
