//! Other data takes the place of what was mounted while nobody looks: behind a connection that stays, behind a load balancer,
//! and by a server that may change what was committed.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use dvidfs::demo::{Dataset, Demo, DemoOptions, Fault, FaultKind, InstanceSpec, VERSIONS, lasting_port};
use dvidfs::dvid::{Block, ErrorKind, FetchBlocks, HttpConfig, Node, NodeOptions, View};
use dvidfs::geometry::{BlockBox, BlockIndex, Coordinate, Scale};
use nix::libc::ESTALE;

use crate::support::caches::{Caches, compare, disk_stats, wait_until_written, wanted};
use crate::support::{Mounted, can_mount, time_limit};

fn dataset() -> Dataset {
    Dataset::test().only(&["gray"])
}

/// Other voxels, under another data UUID if there is another incarnation.
fn other(incarnation: u64) -> Dataset {
    dataset().with("gray", move |spec: &mut InstanceSpec| (spec.edition, spec.incarnation) = (1, incarnation))
}

fn start(port: u16, dataset: Dataset, mode: Option<&str>) -> Demo {
    Demo::start(DemoOptions { dataset, port: Some(port), mode: mode.map(str::to_owned), ..DemoOptions::default() })
        .unwrap()
}

fn errno_of(path: &Path) -> Option<i32> {
    fs::read(path).err().and_then(|error| error.raw_os_error())
}

#[test]
fn what_came_after_another_instance_took_the_place_is_never_kept() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(180));
    let demo = start(lasting_port().unwrap(), dataset(), None);
    let mut n_given = 0;
    // Whether a byte of the other data is given depends on the moment: none is ever kept.
    for round in 0..8 {
        let caches = Caches::new();
        let mounted = caches.mount(&demo, &["--no-prefetch"]);
        let all = wanted(&mounted, &demo, &["gray"]);
        let (before, after) = all.split_at(2 + round);
        compare(before);
        wait_until_written(&mounted);
        demo.set_dataset(other(1));
        n_given += after.iter().filter(|of| fs::read(&of.chunk.path).is_ok_and(|bytes| bytes != of.bytes)).count();
        let end = Instant::now() + Duration::from_secs(5);
        while errno_of(&after[0].chunk.path) != Some(ESTALE) {
            assert!(Instant::now() < end, "not stale within 5 s");
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(mounted);
        demo.set_dataset(dataset());
        let again = caches.mount(&demo, &["--no-prefetch"]);
        compare(&wanted(&again, &demo, &["gray"]));
    }
    println!("{n_given} chunks of other data were given before that was found out, and none was kept");
}

#[test]
fn of_any_number_of_servers_that_take_turns_the_other_one_is_found_out_soon() {
    for n_servers in [2, 3, 4, 5, 7] {
        let demo = Demo::start(DemoOptions { dataset: dataset(), ..DemoOptions::default() }).unwrap();
        let source = format!("{}/{}", demo.origin(), VERSIONS[0].uuid).parse().unwrap();
        let options = NodeOptions { settle: Duration::ZERO, ..NodeOptions::default() };
        let node = Node::open(&source, HttpConfig::default(), options, std::sync::Arc::default()).unwrap();
        let instance = node.instance(&node.instances[0]).unwrap();
        let block = BlockBox::one(BlockIndex(Coordinate::new(1, 1, 1)));
        let voxels = |blocks: &[Block]| instance.decode(View::Stored, &blocks[0]).unwrap().bytes().to_vec();
        let fetch = || instance.fetch_blocks(View::Stored, Scale::FULL, block);
        let right = voxels(&fetch().unwrap());
        demo.set_other_dataset(other(1), n_servers);
        demo.set_faults(vec![Fault::always("", FaultKind::ClosedAfter)]);
        let (mut n_asked, mut n_wrong) = (0, 0);
        let error = loop {
            n_asked += 1;
            match fetch() {
                Ok(blocks) => n_wrong += u32::from(voxels(&blocks) != right),
                Err(error) => break error,
            }
            assert!(n_asked < 40, "of {n_servers} servers the other one is not found out");
        };
        assert_eq!(error.kind(), ErrorKind::IdentityChanged, "{error:?}");
        assert!(n_wrong <= 3, "{n_servers} servers: {n_wrong} answers of the other one were believed");
    }
}

#[test]
fn a_server_that_may_change_what_was_committed_is_believed_no_more() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let (port, caches) = (lasting_port().unwrap(), Caches::new());
    let demo = start(port, dataset(), None);
    let mounted = caches.mount(&demo, &["--no-prefetch"]);
    let all = wanted(&mounted, &demo, &["gray"]);
    compare(&all[..3]);
    wait_until_written(&mounted);
    let held = disk_stats(&mounted)["held_bytes"].clone();
    drop(demo);
    // The same instance; of its voxels nothing is sure any more.
    let demo = start(port, other(0), Some("allow writes on committed nodes"));
    let (cold, direct) = (&all[4].chunk.path, &all[0].chunk.path);
    assert_eq!(errno_of(cold), Some(ESTALE), "the first block after the restart");
    assert_eq!(errno_of(&all[5].chunk.path), Some(ESTALE));
    let end = Instant::now() + Duration::from_secs(5);
    while errno_of(direct) != Some(ESTALE) {
        assert!(Instant::now() < end, "what was read before is still given after 5 s");
        std::thread::sleep(Duration::from_millis(20));
    }
    wait_until_written(&mounted);
    assert_eq!(disk_stats(&mounted)["held_bytes"], held, "something was kept");
    assert!(mounted.log().contains("mutable_server") && mounted.log().contains("mount again"), "{}", mounted.log());
    drop(mounted);
    // Mounted again, it is a node that may change.
    let again: Mounted = caches.mount(&demo, &["--no-prefetch"]);
    compare(&wanted(&again, &demo, &["gray"]));
}
