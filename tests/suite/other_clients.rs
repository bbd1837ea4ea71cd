//! What other clients of DVID get wrong, where no other test would fail with them (`tests/other_clients.txt`).

use std::fs;
use std::time::Duration;

use dvidfs::demo::{Dataset, Demo, DemoOptions, InstanceSpec, Kind};
use dvidfs::geometry::{Coordinate, VoxelBox};

use crate::support::caches::{compare, voxel_requests, wanted};
use crate::support::{Mounted, can_mount, file_values, levels, time_limit};

fn mounted(dataset: Dataset) -> (Demo, Mounted) {
    let demo = Demo::start(DemoOptions { dataset, ..DemoOptions::default() }).unwrap();
    let mounted = Mounted::new(&format!("{}/a40d", demo.origin()), &["--settle", "0", "--no-prefetch"]);
    (demo, mounted)
}

/// The value of one voxel, given by its DVID coordinate, read from the array as a reader of Zarr does it.
fn voxel(mounted: &Mounted, name: &str, at: Coordinate) -> u8 {
    let level = &levels(&mounted.root().join(name))[0];
    let index = at - level.origin;
    let chunk = index.div_floor(level.chunk_shape);
    let [z, y, x] = (index - chunk * level.chunk_shape).axes();
    let [_, n_y, n_x] = level.chunk_shape.axes();
    let path = level.directory.join(format!("{}/{}/{}", chunk.z(), chunk.y(), chunk.x()));
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{name} {at}: {}: {error}", path.display()));
    bytes[usize::try_from((z * n_y + y) * n_x + x).unwrap()]
}

#[test]
fn data_away_from_the_origin_lies_where_dvid_has_it() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let place = |begin: [i64; 3], end: [i64; 3]| {
        move |spec: &mut InstanceSpec| {
            spec.data = VoxelBox::new(begin.into(), end.into()).unwrap();
            spec.block_shape = Coordinate::splat(32);
        }
    };
    // Far above the origin, below it on one axis, below it on all, each at no multiple of a block.
    let boxes = [
        ("gray", [200, 331, 70], [263, 395, 150]),
        ("gray_gzip", [-100, 20, 130], [-37, 83, 190]),
        ("gray_none", [-33, -65, -129], [-1, 5, -64]),
    ];
    let dataset = Dataset::test().only(&boxes.map(|(name, ..)| name));
    let dataset = boxes.into_iter().fold(dataset, |dataset, (name, begin, end)| dataset.with(name, place(begin, end)));
    let (demo, mounted) = mounted(dataset);
    for (name, begin, end) in boxes {
        let (first, last) = (Coordinate::from(begin), Coordinate::from(end) - Coordinate::ONE);
        let level = &levels(&mounted.root().join(name))[0];
        for (axis, below) in begin.map(|begin| begin < 0).into_iter().enumerate() {
            let origin = level.origin.axes()[axis];
            assert!(
                if below { origin <= begin[axis] } else { origin == 0 },
                "{name}: index 0 of axis {axis} is {origin}"
            );
        }
        let spec = demo.dataset().instance(name).unwrap();
        // All corners: the first and the last plane of each axis are there.
        for corner in 0..8_u8 {
            let pick = |axis: u8| {
                let of = if corner >> axis & 1 == 0 { first } else { last };
                of.axes()[usize::from(axis)]
            };
            let at = Coordinate::new(pick(0), pick(1), pick(2));
            let one = VoxelBox::from_shape(at, Coordinate::ONE).unwrap();
            let expected = file_values(demo.dataset(), 0, &spec, level.scale, false, one);
            assert_eq!(vec![voxel(&mounted, name, at)], expected, "{name} at {at}");
        }
    }
    assert!(compare(&wanted(&mounted, &demo, &boxes.map(|(name, ..)| name))) > 0);
}

#[test]
fn a_labelmap_of_one_level_is_shown() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let one_level = |spec: &mut InstanceSpec| spec.kind = Kind::LabelMap(0);
    let (demo, mounted) = mounted(Dataset::test().only(&["segmentation"]).with("segmentation", one_level));
    assert_eq!(levels(&mounted.root().join("segmentation")).len(), 1);
    assert!(compare(&wanted(&mounted, &demo, &["segmentation"])) > 0);
}

#[test]
fn each_instance_is_asked_for_in_its_stored_form() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let (demo, mounted) = mounted(Dataset::test().only(&["gray", "gray_jpeg", "gray_none"]));
    for name in ["gray", "gray_jpeg", "gray_none"] {
        assert!(fs::read(mounted.root().join(name).join("volume.zarr/s0/0/0/0")).is_ok(), "{name}");
        let asked = voxel_requests(&demo);
        let of_it: Vec<_> = asked.iter().filter(|request| request.contains(&format!("/{name}/"))).collect();
        assert!(!of_it.is_empty(), "{name}: {asked:?}");
        for request in of_it {
            assert_eq!(request.contains("jpeg&") || request.ends_with("jpeg"), name == "gray_jpeg", "{request}");
        }
    }
}
