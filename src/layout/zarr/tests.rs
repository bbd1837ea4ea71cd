//! Metadata against the text of the format's description, to the last number and in its order of keys.

use serde_json::Value;

use super::super::chunk_grid::ChunkNode;
use super::super::test_support::{check_text, documents, gray, labels, rgba, running_example, teravoxels};
use super::*;
use crate::array::ArrayKind;
use crate::geometry::Scale;
use crate::voxels::Dtype;

const GOLDEN_ZATTRS: &str = r#"{"multiscales": [{"name": "grayscale",
  "axes": [{"name": "z", "type": "space", "unit": "nanometer"}, {"name": "y", "type": "space", "unit": "nanometer"}, {"name": "x", "type": "space", "unit": "nanometer"}],
  "datasets": [
   {"path": "s0", "coordinateTransformations": [{"type": "scale", "scale": [8.0, 8.0, 8.0]}, {"type": "translation", "translation": [0.0, 0.0, -4096.0]}]},
   {"path": "s1", "coordinateTransformations": [{"type": "scale", "scale": [16.0, 16.0, 16.0]}, {"type": "translation", "translation": [4.0, 4.0, -4092.0]}]},
   {"path": "s2", "coordinateTransformations": [{"type": "scale", "scale": [32.0, 32.0, 32.0]}, {"type": "translation", "translation": [12.0, 12.0, -4084.0]}]},
   {"path": "s3", "coordinateTransformations": [{"type": "scale", "scale": [64.0, 64.0, 64.0]}, {"type": "translation", "translation": [28.0, 28.0, -4068.0]}]}],
  "type": "mean", "version": "0.4"}]}"#;

const GOLDEN_ZARRAY: &str = r#"{"zarr_format": 2, "shape": [280, 1136, 648], "chunks": [64, 64, 64], "dtype": "|u1", "compressor": null, "fill_value": 0, "order": "C", "filters": null, "dimension_separator": "/"}"#;

const GOLDEN_S1_ZATTRS: &str = r#"{"offset": [0, 0, -4096], "voxel_size": [16, 16, 16], "axis_names": ["z", "y", "x"], "units": ["nm", "nm", "nm"], "types": ["space", "space", "space"], "resolution": [16, 16, 16], "_ARRAY_DIMENSIONS": ["z", "y", "x"]}"#;

#[test]
fn the_running_example_is_written_as_described() {
    check_text(&group(), r#"{"zarr_format":2}"#);
    check_text(&group_attrs(&gray()), GOLDEN_ZATTRS);
    check_text(&array(&gray(), 0, 64), GOLDEN_ZARRAY);
    check_text(&array_attrs(&gray(), 1), GOLDEN_S1_ZATTRS);
    let s3: Value = serde_json::from_slice(&array(&gray(), 3, 64)).unwrap();
    assert_eq!(s3["shape"], serde_json::json!([35, 142, 81]));
}

#[test]
fn a_box_of_a_coarse_level_lies_where_that_level_lies() {
    let whole = gray();
    let level = Level { scale: Scale::FULL, ..whole.levels[2].clone() };
    let voxel_size = whole.voxel_size.at_scale(Scale(2));
    let cut = ArraySpec { voxel_size, finest: Scale(2), levels: vec![level], ..whole.clone() };
    let transformations = |spec, level: usize| {
        let ome: Value = serde_json::from_slice(&group_attrs(spec)).unwrap();
        ome["multiscales"][0]["datasets"][level]["coordinateTransformations"].clone()
    };
    assert_eq!(transformations(&cut, 0), transformations(&whole, 2));
}

#[test]
fn labels_open_as_a_labels_layer() {
    let labels = labels();
    let golden = GOLDEN_ZATTRS.replace("mean", "mode");
    let golden = golden.strip_suffix('}').unwrap().to_owned() + r#", "image-label": {"version": "0.4"}}"#;
    check_text(&group_attrs(&labels), &golden);
    check_text(&array(&labels, 0, 64), &GOLDEN_ZARRAY.replace("|u1", "<u8"));
}

#[test]
fn sizes_that_are_no_whole_nanometers_are_written_in_picometers() {
    let spec = running_example(Dtype::Uint8, ArrayKind::Image, [0.5, 3.2, 4.0]);
    let golden = r#"{"offset": [0, 0, -2048000], "voxel_size": [500, 3200, 4000], "axis_names": ["z", "y", "x"], "units": ["pm", "pm", "pm"], "types": ["space", "space", "space"], "resolution": [500, 3200, 4000], "_ARRAY_DIMENSIONS": ["z", "y", "x"]}"#;
    check_text(&array_attrs(&spec, 0), golden);
    // OME has true nanometers all the same: 0.25 is half a voxel of 0.5 nm.
    let ome: Value = serde_json::from_slice(&group_attrs(&spec)).unwrap();
    let s1 = &ome["multiscales"][0]["datasets"][1]["coordinateTransformations"];
    assert_eq!(s1[0]["scale"], serde_json::json!([1.0, 6.4, 8.0]));
    assert_eq!(s1[1]["translation"], serde_json::json!([0.25, 1.6, -2046.0]));
    // Half a nanometer is a whole one at the next level.
    let spec = running_example(Dtype::Uint8, ArrayKind::Image, [0.5; 3]);
    let attrs: Value = serde_json::from_slice(&array_attrs(&spec, 1)).unwrap();
    assert_eq!((&attrs["units"][0], &attrs["offset"][2]), (&"nm".into(), &(-256).into()));
}

#[test]
fn consolidated_metadata_repeats_each_file() {
    for edge in [64, 256] {
        let spec = gray();
        let all: Value = serde_json::from_slice(&consolidated(&spec, edge)).unwrap();
        assert_eq!(all["zarr_consolidated_format"], 1);
        let mut documents = documents(folder(&spec, edge).unwrap());
        documents.retain(|(path, _)| path != ".zmetadata");
        assert_eq!(documents.len(), 2 + 2 * 4);
        assert_eq!(documents.len(), all["metadata"].as_object().unwrap().len());
        for (path, document) in documents {
            let alone: Value = serde_json::from_slice(&document.render(&spec)).unwrap();
            assert_eq!(all["metadata"][&path], alone, "{path}");
        }
    }
}

#[test]
fn every_dtype_has_its_numpy_name() {
    let names = [
        (Dtype::Uint8, "|u1"),
        (Dtype::Uint16, "<u2"),
        (Dtype::Uint32, "<u4"),
        (Dtype::Uint64, "<u8"),
        (Dtype::Float32, "<f4"),
    ];
    for (dtype, name) in names {
        let spec = running_example(dtype, ArrayKind::Image, [8.0; 3]);
        check_text(&array(&spec, 0, 64), &GOLDEN_ZARRAY.replace("|u1", name));
    }
}

#[test]
fn large_chunks_are_those_of_the_description() {
    let chunks = [[256; 3], [192, 256, 256], [128, 256, 192], [64, 192, 128]];
    for (level, chunk) in chunks.into_iter().enumerate() {
        let zarray: Value = serde_json::from_slice(&array(&gray(), level, 256)).unwrap();
        assert_eq!(zarray["chunks"], serde_json::json!(chunk), "s{level}");
    }
}

/// Written by zarr-python 3.1.6: an array of this shape in chunks of 256^3.
const TERAVOXELS_S0: &str = r#"{"shape": [29888, 39744, 49024], "chunks": [256, 256, 256], "dtype": "|u1", "fill_value": 0, "order": "C", "filters": null, "dimension_separator": "/", "compressor": null, "zarr_format": 2}"#;

#[test]
fn a_volume_of_58_teravoxels_is_described_as_zarr_does() {
    let zarray: Value = serde_json::from_slice(&array(&teravoxels(), 0, 256)).unwrap();
    assert_eq!(zarray, serde_json::from_str::<Value>(TERAVOXELS_S0).unwrap());
    let grid = chunks_of("s0", &teravoxels(), 256);
    assert_eq!(grid.n_chunks(), 117 * 156 * 192);
    let (spec, node) = (teravoxels(), find(&grid, &["116", "155", "191"]).unwrap());
    assert_eq!(grid.file(&spec, node).unwrap().n_bytes(), 1 << 24);
    assert_eq!(find(&grid, &["117"]), None);
}

#[test]
fn channels_are_the_first_axis_and_lie_in_one_chunk() {
    let golden = GOLDEN_ZARRAY.replace("[280,", "[4, 280,").replace("[64, 64", "[4, 64, 64");
    check_text(&array(&rgba(), 0, 64), &golden);
    let attrs: Value = serde_json::from_slice(&array_attrs(&rgba(), 0)).unwrap();
    assert_eq!(attrs["axis_names"], serde_json::json!(["c^", "z", "y", "x"]));
    assert_eq!(attrs["_ARRAY_DIMENSIONS"], serde_json::json!(["c", "z", "y", "x"]));
    assert_eq!(attrs["offset"], serde_json::json!([0, 0, -4096]));
    let ome: Value = serde_json::from_slice(&group_attrs(&rgba())).unwrap();
    let multiscale = &ome["multiscales"][0];
    assert_eq!(multiscale["axes"][0], serde_json::json!({"name": "c", "type": "channel"}));
    let s1 = &multiscale["datasets"][1]["coordinateTransformations"];
    assert_eq!(s1[0]["scale"], serde_json::json!([1.0, 16.0, 16.0, 16.0]));
    assert_eq!(s1[1]["translation"], serde_json::json!([0.0, 4.0, 4.0, -4092.0]));
    let (spec, grid) = (rgba(), chunks_of("s0", &rgba(), 64));
    let chunk = find(&grid, &["0", "2", "15", "6"]).unwrap();
    assert_eq!(grid.file(&spec, chunk).unwrap().n_bytes(), 4 * 64 * 64 * 64);
    assert_eq!(find(&grid, &["1"]), None);
    assert_eq!(find(&grid, &["2", "15", "6"]), None);
}

/// The chunks in a folder of the directory.
fn chunks_of(path: &str, spec: &ArraySpec, edge: u16) -> ChunkGrid {
    let found = folder(spec, edge).unwrap().entries.into_iter().find(|(name, _)| name == path).unwrap().1;
    let Entry::Folder(level) = found else { panic!("{path} is a file") };
    level.chunks.into_iter().next().unwrap()
}

fn find(grid: &ChunkGrid, path: &[&str]) -> Option<ChunkNode> {
    path.iter().try_fold(None, |at, name| grid.child_named(at, name).map(Some))?
}
