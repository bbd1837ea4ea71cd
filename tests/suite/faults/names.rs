//! E13-E18 instances with names that no file can have, and E20-E23 refs.

use std::collections::BTreeMap;

use dvidfs::demo::InstanceSpec;

use super::*;
use crate::support::{refused, survival};

/// Names and what must become of them; `None` where only some valid name is asked for.
fn names() -> Vec<(&'static str, String, Option<&'static str>)> {
    let mut names: Vec<(&str, String, Option<&str>)> = Vec::new();
    for (id, name, shown) in [
        ("E13", "/", Some("%2F")),
        ("E13", "a/b", Some("a%2Fb")),
        ("E13", ".", Some("%2E")),
        ("E13", "..", Some("%2E.")),
        ("E13", "", Some("%empty")),
        ("E14", "nul\0l", Some("nul%00l")),
        ("E14", "new\nline", Some("new%0Aline")),
        ("E14", "\u{1b}[2J", Some("%1B[2J")),
        ("E14", "del\u{7f}", Some("del%7F")),
        ("E14", "c1\u{85}\u{9b}", Some("c1%C2%85%C2%9B")),
        ("E14", "what?", Some("what%3F")),
        ("E15", "a\u{202e}b", Some("a%E2%80%AEb")),
        ("E15", "zero\u{200b}width", Some("zero%E2%80%8Bwidth")),
        ("E15", "\u{feff}bom", Some("%EF%BB%BFbom")),
        ("E15", "e\u{301}", Some("e%CC%81")),
        ("E17", "%2F", Some("%252F")),
        ("E17", "a%2Fb", Some("a%252Fb")),
        ("E17", "Twin", Some("Twin")),
        ("E17", "twin", Some("twin")),
        ("E18", "info", None),
        ("E18", ".zgroup", None),
        ("E18", "node.json", None),
        ("E18", "README.txt", None),
        ("E18", ".dvidfs", None),
    ] {
        names.push((id, name.to_owned(), shown));
    }
    for length in [255, 256, 1024, 65_536] {
        names.push(("E16", "x".repeat(length), None));
    }
    names
}

#[test]
fn instances_of_any_name_are_all_shown_and_read() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let names = names();
    let dataset = Dataset::test().only(&["odd name"]);
    let spec = dataset.instance("odd name").unwrap();
    let named = |name: &String| InstanceSpec { name: name.clone(), ..spec.as_ref().clone() };
    let dataset = names.iter().fold(dataset, |dataset, (_, name, _)| dataset.with_instance(named(name)));
    let demo = Demo::start(DemoOptions { dataset, ..DemoOptions::default() }).unwrap();
    let mut mounted = mounted(&demo, &[]);
    let survival = Survival::begin("E13", &mounted);
    let node: serde_json::Value = serde_json::from_slice(&fs::read(mounted.root().join("node.json")).unwrap()).unwrap();
    let shown: BTreeMap<&str, &str> = node["instances"]
        .as_array()
        .unwrap()
        .iter()
        .map(|instance| (instance["name"].as_str().unwrap(), instance["path"].as_str().unwrap()))
        .collect();
    // The listing is whole: each instance once, and our own three.
    let mut listed: Vec<String> = fs::read_dir(mounted.root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !["node.json", "README.txt", ".dvidfs"].contains(&name.as_str()))
        .collect();
    listed.sort();
    let mut expected: Vec<String> = shown.values().map(|&path| path.to_owned()).collect();
    expected.sort();
    assert_eq!(listed, expected);
    assert_eq!(listed.len(), names.len() + 1);
    let (mut compared, mut n_read) = (BTreeMap::new(), 0);
    for (id, name, path) in &names {
        let shown = shown[name.as_str()];
        assert!(path.is_none_or(|path| path == shown), "{id}: {name:?} is shown as {shown:?}");
        assert!(shown.len() <= 255 && !shown.chars().any(char::is_control), "{id}: {shown:?}");
        let attrs = fs::read(mounted.root().join(shown).join("attrs.json")).unwrap();
        let attrs: serde_json::Value = serde_json::from_slice(&attrs).unwrap();
        // No request can name these; they are shown without voxels.
        if name.is_empty() || name.contains('/') || name.len() > 60_000 {
            assert!(attrs["shape"].is_null(), "{id}: {attrs}");
            continue;
        }
        let level = &levels(&mounted.root().join(shown))[0];
        let spec = demo.dataset().instance(name).unwrap();
        let chunk = chunk_of(level, Coordinate::ZERO);
        let right = file_values(demo.dataset(), 0, &spec, level.scale, false, chunk.voxels);
        assert!(fs::read(&chunk.path).unwrap() == right, "{id}: wrong voxels in {shown:?}");
        *compared.entry(*id).or_insert(0) += right.len() as u64;
        n_read += 1;
    }
    assert!(n_read > 20);
    let log = mounted.log();
    assert!(log.contains("code=\"name_escaped\""), "{log}");
    assert!(!log.bytes().any(|byte| byte < 0x20 && byte != b'\n'), "a control character in the log");
    survival.end(&mut mounted, names.len() as u64, &[], compared["E13"]);
    for id in ["E14", "E15", "E16", "E17", "E18"] {
        survival::report(id, compared[id]);
    }
}

#[test]
fn a_ref_that_means_no_node_or_could_be_another_request_is_refused() {
    let _limit = time_limit(Duration::from_secs(120));
    let demo = test_demo(&["u16"]);
    let of = |reference: &str| refused(dvidfs(), &format!("{}/{reference}", demo.origin()), &["--mount-wait", "1s"]);
    let long = "a".repeat(10_000);
    for reference in ["../api", "a/../b", "a40d/..", "a?b", "a40d#x", "a%2e", "a40d\n", "a\r\nX: y", "", &long] {
        let refusal = of(reference);
        assert!(refusal.code == Some(1) && refusal.has_code("bad_ref"), "E22: {reference:?}: {refusal:?}");
        assert!(refusal.line().len() < 400, "E22: {refusal:?}");
        assert!(demo.requests().is_empty(), "E22: a request was sent for {reference:?}");
    }
    survival::report("E22", 0);
    for (id, reference, words) in [
        ("E20", "b7", "more than one UUID matches"),
        ("E21", "ffff", "could not find UUID"),
        ("E21", "a40d:nowhere", "not found"),
    ] {
        let refusal = of(reference);
        assert!(refusal.code == Some(32) && refusal.has_code("bad_ref"), "{id}: {reference}: {refusal:?}");
        assert!(refusal.line().contains(words), "{id}: {refusal:?}");
        assert!(demo.count("/info") > 0, "{id}: it never happened");
    }
    survival::report("E20", 0);
    if !can_mount() {
        return;
    }
    let mounted = Mounted::new(&format!("{}/c", demo.origin()), &["--settle", "0"]);
    let node: serde_json::Value = serde_json::from_slice(&fs::read(mounted.root().join("node.json")).unwrap()).unwrap();
    assert_eq!(node["uuid"], "c3340d6e7f1842a5b6c7d8e9fa0b1c2d", "E21: one letter is enough");
    survival::report("E21", 0);
}

#[test]
fn a_branch_that_moves_on_is_told_and_the_mount_stays() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let demo = test_demo(&["u16"]);
    let options = ["--settle", "0", "--ttl", "1s", "--time-scale", "0.01", "--mount-wait", "60s"];
    let mut mounted = Mounted::new(&format!("{}/a40d:master", demo.origin()), &options);
    let stats = |mounted: &Mounted| -> serde_json::Value {
        serde_json::from_slice(&fs::read(mounted.root().join(".dvidfs/stats.json")).unwrap()).unwrap()
    };
    assert_eq!(stats(&mounted)["branch"], serde_json::json!({"name": "master", "moved_to": null}));
    let survival = Survival::begin("E23", &mounted);
    let newer = "d0000000000000000000000000000001";
    demo.set_faults(vec![Fault::always(
        "branch-versions/master",
        FaultKind::Replace { from: "[\"".into(), to: format!("[\"{newer}\",\"") },
    )]);
    let end = Instant::now() + Duration::from_secs(10);
    while stats(&mounted)["branch"]["moved_to"] != newer {
        assert!(Instant::now() < end, "E23: {}", stats(&mounted));
        std::thread::sleep(Duration::from_millis(50));
    }
    let happened = demo.fault_hits(0);
    let level = &levels(&mounted.root().join("u16"))[0];
    let chunk = chunk_of(level, Coordinate::ZERO);
    let spec = demo.dataset().instance("u16").unwrap();
    // The node that was the head at the mount: the third version.
    let right = file_values(demo.dataset(), 2, &spec, level.scale, false, chunk.voxels);
    assert!(fs::read(&chunk.path).unwrap() == right, "E23: voxels of another node");
    assert_eq!(demo.count(&format!("/{newer}/")), 0);
    survival.end(&mut mounted, happened, &["head_moved"], right.len() as u64);
}
