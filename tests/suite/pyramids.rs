//! Pyramids of which the server does not tell at the mount which levels it has.

use std::fs;
use std::time::Duration;

use dvidfs::demo::{Dataset, Demo, DemoOptions, Fault, FaultKind, VERSIONS};

use crate::support::{Mounted, can_mount, chunk_files, compare, refused, time_limit};

fn dataset() -> Dataset {
    Dataset::test().only(&["gray", "gray_1", "u16", "segmentation"])
}

fn answer(status: u16) -> FaultKind {
    FaultKind::Answer { status, headers: vec![("Location".into(), "/elsewhere".into())], body: "no".into() }
}

/// Of one whose blocks cannot be looked at, level 0 alone is there, with the reason; all others are as ever.
#[test]
fn a_pyramid_that_cannot_be_looked_at_hides_its_coarse_levels_and_no_other_instance() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(240));
    let demo = Demo::start(DemoOptions { dataset: dataset(), ..DemoOptions::default() }).unwrap();
    let source = format!("{}/{}", demo.origin(), VERSIONS[0].uuid);
    let options = ["--settle", "0", "--no-prefetch"];
    let has_level = |mounted: &Mounted, level| mounted.root().join("gray/volume.zarr").join(level).exists();
    let whole = Mounted::new(&source, &options);
    assert!(has_level(&whole, "s1"), "a pyramid");
    drop(whole);
    for (place, kind, words) in [
        ("/gray/subvolblocks", answer(400), "status 400"),
        ("/gray/subvolblocks", answer(401), "access denied"),
        ("/gray/subvolblocks", answer(302), "redirect refused"),
        ("/gray/subvolblocks", answer(200), "malformed"),
        // The coarse level alone.
        ("/gray_1/subvolblocks", answer(403), "access denied"),
        ("/gray_1/subvolblocks", answer(500), "status 500"),
    ] {
        demo.set_faults(vec![Fault::always(place, kind)]);
        let mounted = Mounted::new(&source, &options);
        demo.set_faults(Vec::new());
        let attrs = fs::read_to_string(mounted.root().join("gray/attrs.json")).unwrap();
        let attrs: serde_json::Value = serde_json::from_str(&attrs).unwrap();
        let reason = attrs["levels_left_out"][0].as_str().unwrap_or_default();
        assert!(reason.starts_with("scale 1 and coarser: ") && reason.contains(words), "{place} {words}: {attrs}");
        assert!(has_level(&mounted, "s0") && !has_level(&mounted, "s1"), "{place} {words}");
        assert!(mounted.log().contains("level 0 alone is shown"), "{}", mounted.log());
        for name in ["gray", "gray_1", "u16"] {
            assert!(compare(&chunk_files(&mounted.root(), &dataset(), 0, name)[..2]) > 0, "{name}");
        }
        let labels = mounted.root().join("segmentation/volume.zarr");
        assert!(labels.join("s1").exists(), "others have theirs: {}", labels.display());
    }
    // A server that is away is away for all.
    demo.set_faults(vec![Fault::always("/gray/subvolblocks", FaultKind::ResetAtOnce)]);
    let refusal = refused(
        std::process::Command::new(env!("CARGO_BIN_EXE_dvidfs")),
        &source,
        &["--settle", "0", "--mount-wait", "1s"],
    );
    assert!(refusal.code == Some(32) && refusal.line().contains("cannot look at the levels of gray"), "{refusal:?}");
}
