//! Metadata against the text of the format's description, to the last number and in its order of keys.

use serde_json::Value;

use super::super::kind::Document;
use super::*;
use crate::array::LevelSource;
use crate::dvid::View;
use crate::geometry::{Coordinate, VoxelBox, VoxelSize};

/// Data from (130, 1000, -70) to (280, 1130, 130) in blocks of 64^3, four levels.
fn running_example(dtype: Dtype, kind: ArrayKind, voxel_size: [f64; 3]) -> ArraySpec {
    let source = LevelSource { source: "grayscale".into(), block_shape: Coordinate::splat(64), extents: None };
    let data = VoxelBox::new([130, 1000, -70].into(), [280, 1130, 130].into()).unwrap();
    let size = VoxelSize::new(voxel_size).unwrap();
    ArraySpec::new("grayscale".into(), View::Stored, (dtype, kind), size, data, vec![source; 4]).unwrap()
}

fn gray() -> ArraySpec {
    running_example(Dtype::Uint8, ArrayKind::Image, [8.0; 3])
}

#[track_caller]
fn check_text(written: &[u8], golden: &str) {
    let bare = |text: &str| text.split_whitespace().collect::<String>();
    let written = std::str::from_utf8(written).unwrap();
    assert_eq!(bare(written), bare(golden));
    serde_json::from_str::<Value>(written).unwrap();
    assert!(written.ends_with('\n'));
}

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
    check_text(&array(&gray(), 0), GOLDEN_ZARRAY);
    check_text(&array_attrs(&gray(), 1), GOLDEN_S1_ZATTRS);
    let s3: Value = serde_json::from_slice(&array(&gray(), 3)).unwrap();
    assert_eq!(s3["shape"], serde_json::json!([35, 142, 81]));
}

#[test]
fn labels_open_as_a_labels_layer() {
    let labels = running_example(Dtype::Uint64, ArrayKind::Labels, [8.0; 3]);
    let golden = GOLDEN_ZATTRS.replace("mean", "mode");
    let golden = golden.strip_suffix('}').unwrap().to_owned() + r#", "image-label": {"version": "0.4"}}"#;
    check_text(&group_attrs(&labels), &golden);
    check_text(&array(&labels, 0), &GOLDEN_ZARRAY.replace("|u1", "<u8"));
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
    let spec = gray();
    let all: Value = serde_json::from_slice(&consolidated(&spec)).unwrap();
    assert_eq!(all["zarr_consolidated_format"], 1);
    let folder = folder(&spec).unwrap();
    let mut n_documents = 0;
    let mut check = |path: String, document: Document| {
        let alone: Value = serde_json::from_slice(&document.render(&spec)).unwrap();
        assert_eq!(all["metadata"][&path], alone, "{path}");
        n_documents += 1;
    };
    for (name, entry) in folder.entries {
        match entry {
            Entry::Document(_) if name == ".zmetadata" => {}
            Entry::Document(document) => check(name, document),
            Entry::File(_) => panic!("{name} holds voxels"),
            Entry::Folder(level) => {
                for (inner, entry) in level.entries {
                    let Entry::Document(document) = entry else { panic!("{inner} is a directory") };
                    check(format!("{name}/{inner}"), document);
                }
            }
        }
    }
    assert_eq!(n_documents, all["metadata"].as_object().unwrap().len());
    assert_eq!(n_documents, 2 + 2 * 4);
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
        check_text(&array(&running_example(dtype, ArrayKind::Image, [8.0; 3]), 0), &GOLDEN_ZARRAY.replace("|u1", name));
    }
}
