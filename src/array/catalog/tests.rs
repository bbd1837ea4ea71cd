//! Pyramids of instances that do not fit each other to the voxel.

use crate::array::ReadVoxels;
use crate::cache::CacheConfig;
use crate::demo::{Dataset, Demo, DemoOptions};
use crate::dvid::{HttpConfig, NodeOptions};
use crate::geometry::Coordinate;

use super::*;

fn pyramid(change: impl FnOnce(Dataset) -> Dataset) -> (Demo, Arc<DvidArray>) {
    let dataset = change(Dataset::standard().only(&["grayscale", "grayscale_1"]));
    let demo = Demo::start(DemoOptions { dataset, ..DemoOptions::default() }).unwrap();
    let array = DvidArray::open(&demo.origin(), demo.dataset().root(), "grayscale").unwrap();
    assert_eq!(array.spec().levels.len(), 2);
    (demo, array)
}

#[test]
fn a_coarse_level_shows_data_that_reaches_a_block_beyond_the_fine_one() {
    // 200 fine voxels are 100 coarse ones: the level begins 60 coarse voxels before that.
    let (demo, array) = pyramid(|dataset| {
        let fine = VoxelBox::new(Coordinate::new(0, 0, 200), Coordinate::new(256, 384, 512)).unwrap();
        let coarse = VoxelBox::new(Coordinate::new(0, 0, 40), Coordinate::new(128, 192, 256)).unwrap();
        dataset.with("grayscale", |spec| spec.data = fine).with("grayscale_1", |spec| spec.data = coarse)
    });
    let wanted = VoxelBox::new(Coordinate::new(0, 0, 30), Coordinate::new(8, 8, 130)).unwrap();
    let read = array.read_voxels_or_fill(Scale(1), wanted).unwrap().into_typed::<u8>().unwrap();
    let dataset = demo.dataset();
    let truth = dataset.values(0, &dataset.instance("grayscale_1").unwrap(), Scale::FULL, wanted);
    assert!(read.iter().map(|&voxel| u64::from(voxel)).eq(truth));
}

#[test]
fn an_array_is_as_fresh_as_its_least_lasting_level() {
    let (_demo, array) = pyramid(|dataset| dataset);
    assert_eq!(array.freshness(), Freshness::Forever);
    let (_demo, array) = pyramid(|dataset| dataset.with("grayscale_1", |spec| spec.versioned = false));
    assert_ne!(array.freshness(), Freshness::Forever);
    assert_eq!(array.described()["immutable"], false);
}

fn node() -> (Demo, Node) {
    let dataset = Dataset::test().only(&["gray", "null", "u16"]);
    let demo = Demo::start(DemoOptions { dataset, ..DemoOptions::default() }).unwrap();
    let address = format!("{}/{}", demo.origin(), demo.dataset().root()).parse().unwrap();
    let node = Node::open(&address, HttpConfig::default(), NodeOptions::default(), Arc::default()).unwrap();
    (demo, node)
}

/// A user's words about these instances.
fn options(extents: &[&str], metadata: &[&str]) -> CatalogOptions {
    let voxels = VoxelBox::from_shape(Coordinate::ZERO, Coordinate::splat(10)).unwrap();
    CatalogOptions {
        extents: extents.iter().map(|&name| (name.to_owned(), voxels)).collect(),
        metadata: metadata.iter().map(|&name| (name.to_owned(), serde_json::json!({"key": 1}))).collect(),
    }
}

#[test]
fn words_that_come_to_nothing_are_told() {
    let (_demo, node) = node();
    let cache = BlockCache::new(CacheConfig::default(), Arc::default());
    let ignored = |options: &CatalogOptions| Catalog::open(&node, &cache, options).unwrap().ignored;
    assert!(ignored(&options(&["null"], &["gray", "null"])).is_empty());
    assert_eq!(
        ignored(&options(&["gray"], &["null"])),
        [
            "--extents for \"gray\" is ignored: the server knows its box",
            "--metadata for \"null\" is ignored: it has no array",
        ]
    );
    let mut infos = node.instances.clone();
    infos.iter_mut().for_each(|info| info.voxels = Err(crate::dvid::NoVoxels::Unserved("it holds keys".into())));
    let told = apply_extents(&mut infos, &options(&["gray"], &[])).unwrap();
    assert_eq!(told, ["--extents for \"gray\" is ignored: it holds keys"]);
}

#[test]
fn an_unknown_name_is_told_with_those_there_are() {
    let (_demo, node) = node();
    for options in [options(&["grey"], &[]), options(&[], &["grey"])] {
        let said = apply_extents(&mut node.instances.clone(), &options).unwrap_err().to_string();
        assert!(said.contains(r#"no instance "grey": it has "gray", "#) && said.contains("\"u16\""), "{said}");
    }
}
