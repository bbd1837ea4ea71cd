//! The file against the text of the format's description.

use super::super::test_support::{check_text, gray, labels, rgba, running_example};
use super::*;

/// The running example as labels, of the two finest levels.
const GOLDEN: &str = r#"{"id":{"name":"grayscale","team":""},"scale":{"factor":[8.0,8.0,8.0],"unit":"nanometer"},"version":1,"dataLayers":[
 {"name":"grayscale","category":"segmentation","boundingBox":{"topLeft":[442,1000,130],"width":200,"height":130,"depth":150},
  "dataFormat":"zarr","numChannels":1,"elementClass":"uint64","largestSegmentId":null,
  "mags":[{"mag":[1,1,1],"path":"./volume.zarr/s0","axisOrder":{"x":2,"y":1,"z":0}},{"mag":[2,2,2],"path":"./volume.zarr/s1","axisOrder":{"x":2,"y":1,"z":0}}]}]}"#;

fn written(spec: &ArraySpec, options: &LayoutOptions) -> Vec<u8> {
    let Ok(Entry::Document(document)) = entry(spec, options) else { panic!("it is no document") };
    document.render(spec)
}

fn of_two_levels(mut spec: ArraySpec) -> ArraySpec {
    spec.levels.truncate(2);
    spec
}

#[test]
fn the_running_example_is_written_as_described() {
    check_text(&written(&of_two_levels(labels()), &LayoutOptions::default()), GOLDEN);
    let of_gray =
        GOLDEN.replace("segmentation", "color").replace("uint64", "uint8").replace(r#""largestSegmentId":null,"#, "");
    check_text(&written(&of_two_levels(gray()), &LayoutOptions::default()), &of_gray);
    let fractions = of_two_levels(running_example(Dtype::Float32, ArrayKind::Image, [40.0, 4.0, 3.2]));
    let of_fractions = of_gray.replace("[8.0,8.0,8.0]", "[3.2,4.0,40.0]").replace("uint8", "float");
    check_text(&written(&fractions, &LayoutOptions::default()), &of_fractions);
}

#[test]
fn it_is_over_a_tree_that_is_shown() {
    let options = LayoutOptions::default().only(&["webknossos", "zarr3"]);
    let golden = GOLDEN.replace("volume.zarr", "volume-v3.zarr").replace(r#""zarr""#, r#""zarr3""#);
    check_text(&written(&of_two_levels(labels()), &options), &golden);
    let left_out = entry(&labels(), &LayoutOptions::default().only(&["webknossos"]));
    assert_eq!(left_out.err(), Some(LeftOut::NoZarr));
    assert_eq!(entry(&rgba(), &LayoutOptions::default()).err(), Some(LeftOut::Channels));
}

#[test]
fn names_of_layers_have_their_own_alphabet() {
    for (name, layer) in [("gray-8_nm.1", "gray-8_nm.1"), (".hidden", "_hidden"), ("odd name/é", "odd_name__")] {
        assert_eq!(layer_name(name), layer);
    }
}
