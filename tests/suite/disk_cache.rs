//! The disk cache through real mounts: what is kept, for whom, and that nobody notices but by the speed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use dvidfs::demo::{Dataset, Demo, DemoOptions, InstanceSpec, lasting_port};
use dvidfs::geometry::{Coordinate, VoxelBox};

use crate::support::caches::{Caches, compare, demo_of, disk_stats, voxel_requests, wait_until_written, wanted};
use crate::support::survival::report;
use crate::support::{Mounted, Survival, can_mount, chunk_of, figure, file_values, levels, time_limit};

/// A line of `md5sum` for every file of the tree, those of the daemon's own state left out.
fn manifest(mounted: &Mounted) -> String {
    let script = "find . -path ./.dvidfs -prune -o -type f -print0 | sort -z | xargs -0 md5sum";
    let output =
        Command::new("bash").args(["-o", "pipefail", "-c", script]).current_dir(mounted.root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// One instance of each form that blocks are stored in without loss, each type of labels, holes, odd shapes.
const EXACT: [&str; 11] = [
    "gray",
    "gray_gzip",
    "gray_none",
    "gray_snappy",
    "odd48",
    "neg",
    "holes",
    "segmentation",
    "labelarray",
    "labelblk",
    "rgba",
];

const LAYOUTS: [&str; 2] = ["--layouts", "zarr,n5,precomputed"];

/// R20: cold, warm in memory, warm on disk after a remount, and the same without any cache.
#[test]
fn a_tree_has_the_same_sums_cold_warm_and_from_the_disk() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(240));
    let (demo, caches) =
        (demo_of(&[&EXACT[..], &["rgba_1", "gray_jpeg", "em", "em_1", "rawem"]].concat()), Caches::new());
    let first = caches.mount(&demo, &LAYOUTS);
    let cold = manifest(&first);
    assert!(cold.lines().count() > 100, "{cold}");
    assert!(manifest(&first) == cold, "warm differs from cold");
    wait_until_written(&first);
    assert!(first.counter("disk_written_blocks") > 50);
    drop(first);
    let second = caches.mount(&demo, &LAYOUTS);
    assert!(manifest(&second) == cold, "from the disk differs from cold");
    assert_eq!(second.counter("dvid_fetched_blocks"), 0, "a remount with a warm cache asks for no block");
    assert!(second.counter("disk_hit_blocks") > 50);
    drop(second);
    let without = Mounted::new(&format!("{}/a40d", demo.origin()), &[&["--settle", "0"][..], &LAYOUTS].concat());
    assert!(manifest(&without) == cold, "without a cache differs from cold");
    figure("R20", format!("3 of 3 manifests of {} files equal", cold.lines().count()), "3 of 3");
}

#[test]
fn a_remount_with_a_warm_cache_asks_for_no_block_and_gives_right_bytes() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let (demo, caches) = (demo_of(&EXACT), Caches::new());
    let first = caches.mount(&demo, &[]);
    let bytes = compare(&wanted(&first, &demo, &EXACT));
    wait_until_written(&first);
    assert_eq!(disk_stats(&first)["state"], "ok");
    drop(first);
    let second = caches.mount(&demo, &[]);
    let requests = voxel_requests(&demo).len();
    assert_eq!(compare(&wanted(&second, &demo, &EXACT)), bytes);
    assert_eq!(voxel_requests(&demo)[requests..], [""; 0], "of no kind, counted at the server");
    assert_eq!(second.counter("dvid_fetched_blocks"), 0);
    assert_eq!(second.counter("disk_corrupt_entries"), 0);
}

/// F10: what was kept of one server is nothing to another one at the same address, though name, node and shape agree.
#[test]
fn another_server_at_the_same_address_gets_nothing_of_the_first_ones_cache() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let (port, caches) = (lasting_port().unwrap(), Caches::new());
    let start = |dataset| Demo::start(DemoOptions { dataset, port: Some(port), ..DemoOptions::default() }).unwrap();
    let first = start(Dataset::test().only(&["gray"]));
    let mounted = caches.mount(&first, &[]);
    compare(&wanted(&mounted, &first, &["gray"]));
    wait_until_written(&mounted);
    drop((mounted, first));
    let n_kept = caches.files().len();
    assert!(n_kept > 0);
    let change = |spec: &mut InstanceSpec| (spec.edition, spec.incarnation) = (1, 1);
    let other = start(Dataset::test().only(&["gray"]).with("gray", change));
    let mut mounted = caches.mount(&other, &[]);
    let survival = Survival::begin("F10", &mounted);
    let bytes = compare(&wanted(&mounted, &other, &["gray"]));
    assert_eq!(mounted.counter("disk_hit_blocks"), 0);
    wait_until_written(&mounted);
    assert_eq!(caches.files().len(), 2 * n_kept, "each has entries of its own");
    survival.end(&mut mounted, n_kept as u64, &[], bytes);
}

/// The bodies of a labelmap, and the downloads of its mapping that the server has seen.
fn bodies(mounted: &Mounted, demo: &Demo) -> (u64, usize) {
    (compare(&wanted(mounted, demo, &["segmentation"])), demo.count("/mappings"))
}

/// P13: neither before the gate is open, nor from a server that has loaded its mapping in part.
#[test]
fn a_mapping_is_kept_once_it_passed_the_gate_and_costs_no_download_again() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(180));
    let dataset = || Dataset::test().only(&["segmentation"]);
    let loading =
        DemoOptions { dataset: dataset(), mapping_loads_for: Duration::from_secs(15), ..DemoOptions::default() };
    let (demo, caches) = (Demo::start(loading).unwrap(), Caches::new());
    let first = caches.mount(&demo, &[]);
    let (bytes, downloads) = bodies(&first, &demo);
    assert!(downloads > 2, "the gate waited for the server: {downloads} downloads");
    wait_until_written(&first);
    drop(first);
    // This server has its mapping loaded in part for good: only what was kept can give bodies.
    let never =
        DemoOptions { dataset: dataset(), mapping_loads_for: Duration::from_secs(3600), ..DemoOptions::default() };
    let demo = Demo::start(never).unwrap();
    let second = caches.mount(&demo, &[]);
    let requests = voxel_requests(&demo);
    assert_eq!(bodies(&second, &demo), (bytes, 0), "the same bodies without a download");
    assert_eq!(voxel_requests(&demo)[requests.len()..], [""; 0], "and without a block");
    drop(second);
    // A mapping of which a byte is wrong is downloaded again.
    let is_part = |file: &&PathBuf| fs::read(file).unwrap().windows(12).any(|bytes| bytes == b"mapping part");
    let files = caches.files();
    let parts: Vec<_> = files.iter().filter(is_part).collect();
    assert!(!parts.is_empty());
    for part in parts {
        let mut kept = fs::read(part).unwrap();
        *kept.last_mut().unwrap() ^= 1;
        fs::write(part, kept).unwrap();
    }
    let demo = Demo::start(DemoOptions { dataset: dataset(), ..DemoOptions::default() }).unwrap();
    let third = caches.mount(&demo, &[]);
    assert_eq!(bodies(&third, &demo), (bytes, 2));
    assert!(third.counter("disk_corrupt_entries") > 0);
}

/// J24, F5: of an open node, or of an instance without versions, nothing is kept.
#[test]
fn nothing_of_an_open_node_is_on_disk() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let (demo, caches) = (demo_of(&["gray"]), Caches::new());
    let directory = caches.directory().to_str().unwrap();
    let options = ["--settle", "0", "--cache-dir", directory];
    let mut mounted = Mounted::new(&format!("{}/a40d:master", demo.origin()), &options);
    let survival = Survival::begin("J24", &mounted);
    let spec = demo.dataset().instance("gray").unwrap();
    let level = &levels(&mounted.root().join("gray"))[0];
    let mut bytes = 0;
    let n_chunks = level.shape.div_ceil(level.chunk_shape);
    for index in VoxelBox::from_shape(Coordinate::ZERO, n_chunks).unwrap().indices() {
        let chunk = chunk_of(level, index);
        let expected = file_values(demo.dataset(), 2, &spec, level.scale, false, chunk.voxels);
        assert!(fs::read(&chunk.path).unwrap() == expected);
        bytes += expected.len() as u64;
    }
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(caches.files(), Vec::<std::path::PathBuf>::new());
    assert_eq!(mounted.counter("disk_written_blocks"), 0);
    let n_offered = mounted.counter("dvid_fetched_blocks");
    survival.check(&mut mounted, n_offered, &[]);
    report("J24", bytes);
}

#[test]
fn no_cache_keeps_nothing_and_the_users_own_directory_is_the_default() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let demo = demo_of(&["gray"]);
    let without = Mounted::new(&format!("{}/a40d", demo.origin()), &["--settle", "0"]);
    assert_eq!(disk_stats(&without), serde_json::Value::Null);
    let with = Mounted::with_own_caches(&format!("{}/a40d", demo.origin()), &["--settle", "0"]);
    compare(&wanted(&with, &demo, &["gray"]));
    wait_until_written(&with);
    let held = disk_stats(&with);
    assert!(Path::new(held["directory"].as_str().unwrap()).ends_with("caches/dvidfs/v1"), "{held}");
    assert!(held["held_bytes"].as_u64().unwrap() > 0, "{held}");
}
