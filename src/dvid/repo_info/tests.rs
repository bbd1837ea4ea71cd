use crate::fuzz::STEP;

use super::super::info::InstanceInfo;
use super::super::test_support::{body, names};
use super::*;

fn recorded() -> RepoInfo {
    RepoInfo::parse(&body("repo-info")).unwrap()
}

fn node<'a>(repo: &'a RepoInfo, uuid: &str) -> &'a NodeInfo {
    repo.nodes.iter().find(|node| node.uuid == uuid).unwrap()
}

const ROOT: &str = "653cea621da34bbcbb12949a4e937b29";
const MID: &str = "6cb91b467aa8417b8d96b92602fee0b5";
const HEAD: &str = "f897475764764333941b4adf93ac49ae";
const EXP: &str = "2652a0397bba4b8299821d9d4beb29d5";

#[test]
fn nodes_name_their_parents_and_children_by_uuid() {
    let repo = recorded();
    assert_eq!(repo.root, ROOT);
    assert_eq!(repo.nodes.len(), 6);
    let (root, mid, head, exp) = (node(&repo, ROOT), node(&repo, MID), node(&repo, HEAD), node(&repo, EXP));
    assert!(root.parents.is_empty() && root.locked && mid.locked && !head.locked && !exp.locked);
    assert_eq!([&mid.parents[..], &exp.parents[..]], [[ROOT], [ROOT]]);
    assert_eq!(head.parents, [MID]);
    assert_eq!(mid.children, ["v1.0", HEAD, "v1"]);
    assert_eq!([&root.branch[..], &exp.branch[..], &node(&repo, "v1.0").branch[..]], ["", "exp", "tag-v1.0"]);
    assert_eq!([&mid.note[..], &head.note[..]], ["mid done", "open"]);
    assert_eq!(mid.updated, "2026-11-23T22:24:08.487860089Z");
    assert!(!root.log.is_empty());
}

#[test]
fn a_merge_has_two_parents() {
    let repo = RepoInfo::parse(&body("repo-info-merge-node")).unwrap();
    assert_eq!(repo.alias, "second");
    assert!(repo.instances.is_empty());
    let merged = node(&repo, "99550ae3432f4102a92504d3fd8e1c63");
    assert_eq!(merged.parents, ["28907dc63a1a4896a42d3bf7d102007b", "e40ecfea2a76405ba921dfad76ac3c35"]);
}

#[test]
fn the_list_of_instances_agrees_with_the_info_of_each() {
    let repo = recorded();
    assert_eq!(repo.instances.len(), 47);
    assert!(repo.instances.is_sorted_by(|a, b| a.name < b.name));
    for exchange in names("info-").into_iter().filter(|name| !name.ends_with("-exp")) {
        let json = body(exchange);
        let recorded_name = serde_json::from_slice::<serde_json::Value>(&json).unwrap()["Base"]["Name"].clone();
        let name = recorded_name.as_str().unwrap();
        let entry = repo.instances.iter().find(|entry| entry.name == name).unwrap();
        let info = InstanceInfo::parse(name, json).unwrap();
        assert_eq!((&info.typename, &info.data_uuid), (&entry.typename, &entry.data_uuid), "{name}");
        assert_eq!(info.clone().checked_against(entry), info, "{name}");
        assert_eq!(entry.repo_uuid, if name == "late" { EXP } else { ROOT }, "{name}");
    }
}

#[test]
fn an_instance_that_the_repo_describes_otherwise_shows_no_voxels() {
    let entry = recorded().instances.into_iter().find(|entry| entry.name == "grayscale").unwrap();
    let info = InstanceInfo::parse("grayscale", body("info-grayscale")).unwrap();
    assert!(info.voxels.is_ok());
    for entry in [
        InstanceEntry { block_shape: Some(Coordinate::splat(32)), ..entry.clone() },
        InstanceEntry { data_uuid: "another".into(), ..entry.clone() },
        InstanceEntry { typename: "uint16blk".into(), ..entry.clone() },
    ] {
        assert!(info.clone().checked_against(&entry).voxels.is_err(), "{entry:?}");
    }
}

#[test]
fn null_and_missing_things_are_empty_ones() {
    let empty = RepoInfo::parse(b"{}").unwrap();
    assert!(empty.nodes.is_empty() && empty.instances.is_empty() && empty.root.is_empty());
    let nulls = br#"{"Root":null,"Alias":null,"DataInstances":null,"DAG":{"Root":"r","Nodes":{
        "r":{"UUID":null,"VersionID":1,"Branch":null,"Log":null,"Parents":null,"Children":[9],"Note":null}}}}"#;
    let repo = RepoInfo::parse(nulls).unwrap();
    assert_eq!(repo.root, "r");
    let root = NodeInfo { uuid: "r".into(), version_id: 1, ..NodeInfo::default() };
    assert_eq!(repo.nodes, [root], "a child that is not shown is left out");
}

#[test]
fn one_odd_instance_hides_no_other() {
    let json = br#"{"DataInstances":{
        "good":{"Base":{"TypeName":"uint8blk","DataUUID":"d","RepoUUID":"r"},"Extended":{"BlockSize":[1,2,3]}},
        "no type":{"Base":{"TypeName":7,"DataUUID":{"a":[1,{"b":null}]},"RepoUUID":null}},
        "null":null, "number":7, "list":[[{}]], "odd base":{"Base":1.5,"Extended":"x"},"no base":{}, "null base":{"Base":null,"Extended":null},
        "odd blocks":{"Extended":{"BlockSize":[1,2]}}, "more":{"Extended":{"BlockSize":[1,2,3,4]}},
        "text":{"Extended":{"BlockSize":["1","2","3"]}}, "huge":{"Extended":{"BlockSize":[1,18446744073709551616,3]}}
    },"DAG":{}}"#;
    let instances = RepoInfo::parse(json).unwrap().instances;
    assert_eq!(instances.len(), 12);
    for entry in instances {
        let shape = (entry.name == "good").then_some(Coordinate::new(3, 2, 1));
        assert_eq!(entry.block_shape, shape, "{}", entry.name);
    }
}

#[track_caller]
fn check_refused(json: &[u8], code: &str) {
    assert_eq!(RepoInfo::parse(json).unwrap_err().code(), code);
}

#[test]
fn text_that_is_no_repo_is_refused() {
    let whole = body("repo-info");
    for json in
        [&b""[..], b"null", b"[]", b"<!DOCTYPE html>", b"{\"DAG\":{\"Nodes\":{\"a\":{}}}}", b"{\"Root\":\"\xff\"}"]
    {
        check_refused(json, "bad_metadata");
    }
    for end in (0..whole.len()).step_by(97 * STEP) {
        check_refused(&whole[..end], "bad_metadata");
    }
    check_refused(br#"{"DataInstances":{"\ud800":{}}}"#, "bad_metadata");
    check_refused(br#"{"DAG":{"Nodes":{"a":{"VersionID":1.5}}}}"#, "bad_metadata");
    for open in ["[", "{\"a\":"] {
        let deep = format!("{{\"x\":{}", open.repeat(1_000_000 / STEP));
        check_refused(deep.as_bytes(), "bad_metadata");
    }
}

#[test]
fn a_million_instances_are_over_the_limit() {
    let instances: Vec<String> = (0..1_000_000).map(|i| format!("\"i{i}\":{{}}")).collect();
    check_refused(format!("{{\"DataInstances\":{{{}}}}}", instances.join(",")).as_bytes(), "over_limit");
    let just = format!("{{\"DataInstances\":{{{}}}}}", instances[..MAX_ENTRIES].join(","));
    assert_eq!(RepoInfo::parse(just.as_bytes()).unwrap().instances.len(), MAX_ENTRIES);
}
