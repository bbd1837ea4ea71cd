//! Metadata against the text of the format's description, and against what zarr-python writes.

use serde_json::json;

use super::super::file::VoxelFile;
use super::super::test_support::{check_text, gray, labels, rgba, running_example, teravoxels};
use super::*;
use crate::array::ArrayKind;

/// `zarr.json` of level 0 of the running example as labels.
const GOLDEN_S0: &str = r#"{"zarr_format": 3, "node_type": "array", "shape": [280, 1136, 648], "data_type": "uint64",
 "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [320, 1024, 704]}},
 "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
 "fill_value": 0, "codecs": [{"name": "sharding_indexed", "configuration": {"chunk_shape": [64, 64, 64],
  "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
  "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
  "index_location": "end"}}],
 "attributes": {"offset": [0, 0, -4096], "voxel_size": [8, 8, 8], "axis_names": ["z", "y", "x"], "units": ["nm", "nm", "nm"], "types": ["space", "space", "space"], "resolution": [8, 8, 8]},
 "dimension_names": ["z", "y", "x"]}"#;

const GOLDEN_GROUP: &str = r#"{"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": "0.5", "multiscales": [{"name": "grayscale",
  "axes": [{"name": "z", "type": "space", "unit": "nanometer"}, {"name": "y", "type": "space", "unit": "nanometer"}, {"name": "x", "type": "space", "unit": "nanometer"}],
  "datasets": [
   {"path": "s0", "coordinateTransformations": [{"type": "scale", "scale": [8.0, 8.0, 8.0]}, {"type": "translation", "translation": [0.0, 0.0, -4096.0]}]},
   {"path": "s1", "coordinateTransformations": [{"type": "scale", "scale": [16.0, 16.0, 16.0]}, {"type": "translation", "translation": [4.0, 4.0, -4092.0]}]},
   {"path": "s2", "coordinateTransformations": [{"type": "scale", "scale": [32.0, 32.0, 32.0]}, {"type": "translation", "translation": [12.0, 12.0, -4084.0]}]},
   {"path": "s3", "coordinateTransformations": [{"type": "scale", "scale": [64.0, 64.0, 64.0]}, {"type": "translation", "translation": [28.0, 28.0, -4068.0]}]}],
  "type": "mean"}]}}}"#;

#[test]
fn the_running_example_is_written_as_described() {
    check_text(&array(&labels(), 0), GOLDEN_S0);
    check_text(&group(&gray()), GOLDEN_GROUP);
    let golden = GOLDEN_GROUP.replace("mean", "mode");
    let golden = golden.strip_suffix("}}}").unwrap().to_owned() + r#", "image-label": {"version": "0.5"}}}}"#;
    check_text(&group(&labels()), &golden);
}

#[test]
fn bytes_of_uint8_have_no_order() {
    let little = r#"[{"name": "bytes", "configuration": {"endian": "little"}}],"#;
    let golden = GOLDEN_S0.replace("uint64", "uint8").replacen(little, r#"[{"name": "bytes"}],"#, 1);
    check_text(&array(&gray(), 0), &golden);
}

#[test]
fn every_dtype_has_its_name_and_fill_value() {
    for (dtype, name, fill) in
        [(Dtype::Uint16, "uint16", "0"), (Dtype::Uint32, "uint32", "0"), (Dtype::Float32, "float32", "0.0")]
    {
        let golden = GOLDEN_S0.replace("uint64", name).replace("\"fill_value\": 0", &format!("\"fill_value\": {fill}"));
        check_text(&array(&running_example(dtype, ArrayKind::Image, [8.0; 3]), 0), &golden);
    }
}

#[test]
fn shards_are_those_of_the_description() {
    let spec = labels();
    let shapes: Vec<_> = spec.levels.iter().map(|level| shard_shape(level).axes()).collect();
    assert_eq!(shapes, [[320, 1024, 704], [192, 576, 384], [128, 320, 192], [64, 192, 128]]);
    // The data lie at y 1000-1129 of s0: in both shards.
    check_files(&labels(), 0, &[[0, 0, 0], [0, 1, 0]], 1_845_507_844);
    check_files(&labels(), 1, &[[0, 0, 0]], 339_741_220);
    check_files(&labels(), 3, &[[0, 0, 0]], 12_583_012);
    check_files(&gray(), 0, &[[0, 0, 0], [0, 1, 0]], 230_700_804);
    check_files(&gray(), 1, &[[0, 0, 0]], 42_469_924);
    check_files(&gray(), 3, &[[0, 0, 0]], 1_572_964);
}

/// A level has these shards and no others, each of this size.
#[track_caller]
fn check_files(spec: &ArraySpec, level: usize, indices: &[[u64; 3]], n_bytes: u64) {
    let grid = shards(spec, level, &spec.levels[level]).unwrap();
    assert_eq!(grid.n_chunks(), indices.len() as u64);
    for index in indices {
        assert_eq!(shard(&grid, spec, &index.map(|n| n.to_string())).unwrap().n_bytes(), n_bytes, "{index:?}");
    }
}

/// The file at a path.
fn shard(grid: &ChunkGrid, spec: &ArraySpec, path: &[String]) -> Option<VoxelFile> {
    let node = path.iter().try_fold(None, |at, name| grid.child_named(at, name).map(Some))?;
    grid.file(spec, node?)
}

#[test]
fn shards_of_odd_chunks_are_whole_chunks() {
    for (chunk, shape, shard) in [
        ([64, 64, 64], [250, 250, 250], [256, 256, 256]),
        ([96, 96, 96], [5000, 5000, 100], [960, 960, 192]),
        ([100, 128, 1], [5000, 1000, 5000], [1000, 1024, 1024]),
        ([2048, 1025, 1024], [5000, 5000, 5000], [2048, 1025, 1024]),
    ] {
        let level = Level { chunk_shape: chunk.into(), shape: shape.into(), ..gray().levels[0].clone() };
        assert_eq!(shard_shape(&level).axes(), shard, "{chunk:?} {shape:?}");
    }
}

/// Written by zarr-python 3.1.6: an array of this shape in shards of 1024^3 and chunks of 64^3.
const TERAVOXELS_S0: &str = r#"{"shape": [29888, 39744, 49024], "data_type": "uint8", "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1024, 1024, 1024]}}, "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}}, "fill_value": 0, "codecs": [{"name": "sharding_indexed", "configuration": {"chunk_shape": [64, 64, 64], "codecs": [{"name": "bytes"}], "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}], "index_location": "end"}}], "attributes": {"offset": [0, 0, 0]}, "dimension_names": ["z", "y", "x"], "zarr_format": 3, "node_type": "array", "storage_transformers": []}"#;

#[test]
fn a_volume_of_58_teravoxels_is_described_as_zarr_does() {
    let spec = teravoxels();
    let mut written: Value = serde_json::from_slice(&array(&spec, 0)).unwrap();
    let mut golden: Value = serde_json::from_str(TERAVOXELS_S0).unwrap();
    assert_eq!(golden.as_object_mut().unwrap().remove("storage_transformers"), Some(json!([])));
    assert_eq!(written["attributes"]["voxel_size"], json!([8, 8, 8]));
    golden["attributes"] = written["attributes"].take();
    written["attributes"] = golden["attributes"].clone();
    assert_eq!(written, golden);
    let s6: Value = serde_json::from_slice(&array(&spec, 6)).unwrap();
    assert_eq!(s6["chunk_grid"]["configuration"]["chunk_shape"], json!([512, 640, 768]));
    let grid = shards(&spec, 0, &spec.levels[0]).unwrap();
    assert_eq!(grid.n_chunks(), 30 * 39 * 48);
    let last = shard(&grid, &spec, &["29", "38", "47"].map(String::from)).unwrap();
    assert_eq!(last.n_bytes(), 1_073_807_364);
    assert!(shard(&grid, &spec, &["30", "0", "0"].map(String::from)).is_none());
}

#[test]
fn channels_are_the_first_axis_and_lie_in_one_chunk() {
    let spec = rgba();
    let s0: Value = serde_json::from_slice(&array(&spec, 0)).unwrap();
    assert_eq!(s0["shape"], json!([4, 280, 1136, 648]));
    assert_eq!(s0["chunk_grid"]["configuration"]["chunk_shape"], json!([4, 320, 1024, 704]));
    assert_eq!(s0["codecs"][0]["configuration"]["chunk_shape"], json!([4, 64, 64, 64]));
    assert_eq!(s0["dimension_names"], json!(["c", "z", "y", "x"]));
    let grid = shards(&spec, 0, &spec.levels[0]).unwrap();
    let file = shard(&grid, &spec, &["0", "0", "1", "0"].map(String::from)).unwrap();
    assert_eq!(file.n_bytes(), 880 * (4 * 64 * 64 * 64 + 16) + 4);
}
