//! Every view of some instances of a mounted demo server.

use std::path::Path;
use std::time::Duration;

use dvidfs::demo::{Dataset, Demo, DemoOptions, InstanceSpec, Kind};

use super::mounted::{Mounted, time_limit};
use super::mounts::can_mount;

/// Mounts these instances and compares each view: `check` is told its directory and whether it shows bodies, and tells
/// how many voxels it has compared. Those have to be over a million.
pub fn compare_views(names: &[&str], check: impl Fn(&Path, &Dataset, bool) -> u128) {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(240));
    let demo = Demo::start(DemoOptions { dataset: Dataset::test().only(names), ..DemoOptions::default() }).unwrap();
    let mounted = Mounted::new(&format!("{}/a40d", demo.origin()), &["--settle", "0"]);
    let specs: Vec<&InstanceSpec> = demo.dataset().instances().collect();
    assert_eq!(specs.len(), names.len());
    let mut n_voxels = 0;
    for spec in specs {
        let place = mounted.root().join(&spec.name);
        let labelmap = matches!(spec.kind, Kind::LabelMap(_));
        n_voxels += check(&place, demo.dataset(), labelmap);
        if labelmap {
            n_voxels += check(&place.join("supervoxels"), demo.dataset(), false);
        }
    }
    println!("{n_voxels} voxels compared");
    assert!(n_voxels > 1_000_000, "{n_voxels}");
}
