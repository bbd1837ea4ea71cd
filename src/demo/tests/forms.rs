//! The forms of answers, against those that a real server gave.

use std::path::Path;

use serde_json::Value;

use super::client::Client;
use super::*;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/dvid-wire");

/// The recorded exchanges: of a repo whose root begins with `653c`.
fn recorded() -> Vec<Value> {
    serde_json::from_slice(&std::fs::read(Path::new(FIXTURES).join("index.json")).unwrap()).unwrap()
}

/// A recorded text or path, as this server's names make it.
fn translated(text: &str) -> String {
    // Instances of the real server, and those of the demo that are as odd.
    let names = [
        ("/gray32/subvol", "/holes/subvol"),
        ("/gray32/specific", "/holes/specific"),
        ("\"gray32\"", "\"holes\""),
        ("/grayscale/", "/gray/"),
        ("\"grayscale\"", "\"gray\""),
        // The first block of seg32 is another one here.
        ("/seg32/blocks/32_32_32/0_0_0", "/seg32/blocks/32_32_32/32_0_0"),
    ];
    let versions = [
        ("f8f04b4379ae47d0a9344fc7f46fe5d8", VERSIONS[0].uuid),
        ("653cea621da34bbcbb12949a4e937b29", VERSIONS[0].uuid),
        ("653CEA621DA34BBCBB12949A4E937B29", "A40D5C9C1F6B4D0EA1F0D4B6C7E8F901"),
        ("653ce:", "a40d5:"),
        ("653ce/", "a40d5/"),
        ("6cb91b467aa8417b8d96b92602fee0b5", VERSIONS[1].uuid),
        ("f897475764764333941b4adf93ac49ae", VERSIONS[2].uuid),
        ("2652a0397bba4b8299821d9d4beb29d5", VERSIONS[3].uuid),
    ];
    names.iter().chain(&versions).fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// What differs from run to run in a panic: its number and the client's port.
fn steady(text: &str) -> String {
    let words = text.split_inclusive('\n').map(|line| match line.split_once(", URL: ") {
        Some((_, url)) => format!("URL: {url}"),
        None if line.starts_with("Panic detected on request") => "Panic detected on request\n".to_owned(),
        None => line.to_owned(),
    });
    words.collect()
}

/// Checks status, content type, framing, and the words of an error or of a short JSON.
fn check_form(demo: &Demo, exchange: &Value) {
    let text = |key: &str| exchange[key].as_str().unwrap_or_default();
    let name = text("name");
    let query = if text("query").is_empty() { String::new() } else { format!("?{}", text("query")) };
    let mut client = Client::new(demo);
    client.send(text("method"), &translated(&format!("{}{query}", text("path"))), text("request_body").as_bytes());
    let answer = client.receive(text("method") == "HEAD").unwrap_or_else(|| panic!("no answer to {name}"));
    assert_eq!(u64::from(answer.status), exchange["status"].as_u64().unwrap(), "{name}: {}", answer.text());
    for header in ["content-type", "content-encoding", "location", "accept-ranges"] {
        let expected = exchange["headers"][header].as_str().map(translated);
        assert_eq!(answer.header(header), expected.as_deref(), "{header} of {name}");
    }
    let chunked = answer.header("transfer-encoding").is_some();
    assert_eq!(chunked, exchange["headers"]["transfer-encoding"].is_string(), "framing of {name}");
    let Some(file) = exchange["body_file"].as_str() else { return };
    let words = std::fs::read(Path::new(FIXTURES).join(file)).unwrap();
    if answer.status >= 300 {
        let expected = translated(&String::from_utf8(words).unwrap());
        assert_eq!(steady(&answer.text()), steady(&expected), "words of {name}");
    }
}

fn check_forms(names: &[&str]) {
    let demo = start(Vec::new());
    let recorded = recorded();
    for name in names {
        let exchange = recorded.iter().find(|exchange| exchange["name"] == *name);
        check_form(&demo, exchange.unwrap_or_else(|| panic!("{name} was not recorded")));
    }
}

#[test]
fn versions_and_references_are_answered_in_the_recorded_forms() {
    check_forms(&[
        "heartbeat",
        "server-info",
        "repos-info",
        "repo-info",
        "branch-versions-master",
        "branch-versions-exp",
        "branch-versions-tag-v1.0",
        "branch-versions-nope",
        "node-root-note",
        "node-root-commit",
        "node-root-status",
        "node-head-status",
        "ref-prefix",
        "ref-branch-master",
        "ref-branch-exp",
        "ref-branch-empty",
        "ref-tilde0",
        "ref-tilde1",
        "ref-tilde2",
        "ref-tilde-too-far",
        "ref-tilde-negative",
        "ref-tilde-text",
        "ref-tilde-no-branch",
        "ref-branch-of-branch",
        "ref-tag",
        "ref-tag-ambiguous",
        "ref-tag-branch",
        "ref-unknown",
        "ref-upper-case",
        "ref-unknown-branch",
        "ref-bare-branch",
        "ref-empty",
        "err-unknown-instance",
        "err-unknown-endpoint",
        "err-route",
        "err-route-no-endpoint",
        "err-route-outside-api",
        "err-post-locked",
        "err-head-info-imageblk",
        "head-info-labelmap",
    ]);
}

#[test]
fn images_are_answered_in_the_recorded_forms() {
    check_forms(&[
        "info-grayscale",
        "metadata-grayscale",
        "tags-grayscale",
        "raw-grayscale-2048",
        "raw-grayscale-2304",
        "raw-grayscale-edge",
        "raw-grayscale-outside",
        "raw-grayscale-scale-ignored",
        "err-imageblk-short",
        "err-imageblk-zero-size",
        "err-imageblk-dims",
        "err-imageblk-text",
        "err-imageblk-overflow",
        "err-imageblk-too-big",
        "err-imageblk-shape",
        "err-imageblk-extents-get",
        "err-imageblk-resolution-get",
        "subvol-gray32-stored",
        "subvol-gray32-uncompressed",
        "subvol-gray32-one",
        "subvol-zero-size",
        "subvol-jpeg-one",
        "err-subvol-compression",
        "err-subvol-unaligned",
        "err-subvol-short",
        "specific-gray32-twice",
        "specific-gray32-none",
        "specific-gray32-jpeg",
        "err-specific-two",
        "err-specific-text",
    ]);
}

#[test]
fn labels_are_answered_in_the_recorded_forms() {
    check_forms(&[
        "info-segmentation",
        "info-labelarray",
        "info-labelblk",
        "metadata-segmentation",
        "metadata-labelblk",
        "tags-segmentation",
        "labels-blocks-sv",
        "labels32-blocks-body",
        "labels32-gzip-sv",
        "labels32-uncompressed-one",
        "labels-outside",
        "labels-scale1-sv",
        "labels-scale4",
        "labels-scale256",
        "labels-raw-scale4",
        "labels-raw-googlegzip-sv",
        "labels-raw-google-body",
        "landmine-raw-scale4",
        "landmine-avoided-two",
        "err-labels-compression",
        "err-labels-unaligned",
        "err-labels-short",
        "err-labels-scale-text",
        "err-labels-raw-compression",
        "err-labels-google-not-8",
        "err-labels-too-big",
        "err-labels-mapping-no-body",
        "err-labels-specific-two",
        "err-labels-extents-get",
        "lm-label",
        "lm-label-outside",
        "lm-maxlabel",
        "lm-mappings",
        "lm-mappings-binary",
        "lm-mapping",
        "lm-labels",
        "labelarray-blocks",
        "labelarray-specific",
        "labelblk-lz4",
        "labelblk-raw-gzip",
        "err-labelblk-specific",
        "err-labelblk-gzip-blocks",
        "info-kv",
        "tags-kv",
    ]);
}

#[test]
fn the_trap_of_one_missing_block_is_there() {
    let demo = start(Vec::new());
    let spec = demo.dataset().instance("segmentation").unwrap();
    let hole =
        spec.grid().blocks_covering(spec.data).find(|&block| !spec.is_stored(crate::geometry::Scale::FULL, block));
    let [z, y, x] = hole.unwrap().0.axes();
    let raw = |size: &str, query: &str| {
        get(&demo, &format!("/api/node/a40d/segmentation/raw/0_1_2/{size}/{}_{}_{}{query}", x * 64, y * 64, z * 64))
    };
    let refused = raw("64_64_64", "?compression=lz4");
    assert!(
        refused.status == 400 && refused.text().starts_with(&format!("unable to get label block ({x}, {y}, {z}) ("))
    );
    let panicked = raw("64_64_64", "");
    assert!(panicked.status == 500 && panicked.text().contains("nil pointer dereference"));
    assert!(raw("63_64_64", "").body.iter().all(|&byte| byte == 0), "any other shape is zeros");
}

#[test]
fn buckets_are_answered_in_the_recorded_forms() {
    check_forms(&[
        "grid-err-raw",
        "grid-err-blocks-outside",
        "grid-specific-edge",
        "grid-specific-negative",
        "grid-specific-outside",
        "grid-specific-error-appended",
        "grid-subvol-one",
        "grid-subvol-one-outside",
        "grid-subvol-error-dropped",
        "grid-subvol-unaligned",
        "grid-raw-specific-uncompressed",
        "grid-raw-subvol-one-uncompressed",
    ]);
}

#[test]
fn the_mistakes_of_a_bucket_are_there() {
    let demo = start(Vec::new());
    let spec = demo.dataset().instance("em").unwrap();
    let stored =
        |block: [i64; 3]| spec.is_stored(crate::geometry::Scale::FULL, crate::geometry::BlockIndex(block.into()));
    let frames = |target: &str| {
        get(&demo, &format!("/api/node/a40d/em/{target}")).frames().into_iter().map(|frame| frame.0).collect::<Vec<_>>()
    };
    // Block (4, 0, 0) lies outside: of several it is dropped without a word.
    assert!(stored([0, 0, 3]) && !stored([0, 0, 4]));
    assert_eq!(frames("subvolblocks/128_64_64/192_0_0"), [[3, 0, 0]]);
    let appended = get(&demo, "/api/node/a40d/em/specificblocks?blocks=3,0,0,9,0,0,3,2,1");
    assert_eq!(appended.status, 200);
    assert!(appended.body.ends_with(b"unexpected EOF (/api/node/a40d/em/specificblocks).\n"));
    let hole = spec.grid().blocks_covering(spec.data).find(|block| !stored(block.0.axes())).unwrap().0;
    let (x, y, z) = (hole.x(), hole.y(), hole.z());
    assert!(get(&demo, &format!("/api/node/a40d/em/specificblocks?blocks={x},{y},{z}")).body.is_empty());
    let deserialized = get(&demo, &format!("/api/node/a40d/em/blocks/{x}_{y}_{z}/1"));
    assert!(deserialized.text().starts_with("Deserialized block size (0) != expected (262144) ("));
}

/// The keys of an object and of the objects in it, in order.
fn keys(json: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut rest = json;
    while let Some(end) = rest.find("\":") {
        let start = rest[..end].rfind('"').unwrap() + 1;
        keys.push(rest[start..end].to_owned());
        rest = &rest[end + 2..];
    }
    keys
}

#[test]
fn metadata_has_the_recorded_fields_in_their_order() {
    let demo = start(Vec::new());
    for (recorded, ours) in [
        ("info-grayscale", "gray/info"),
        ("info-empty", "null/info"),
        ("info-labelarray", "labelarray/info"),
        ("info-labelblk", "labelblk/info"),
        ("info-rgba", "rgba/info"),
        ("grid-info-em", "em/info"),
        ("grid-metadata", "em/metadata"),
        ("info-kv", "kv/info"),
        ("info-roi", "rois/info"),
        ("metadata-grayscale", "gray/metadata"),
    ] {
        let expected = std::fs::read_to_string(Path::new(FIXTURES).join(format!("bodies/{recorded}.json"))).unwrap();
        // Tags and labels of versions are data, not form.
        let expected = expected.replace("{\"source\":\"fib25\"}", "null");
        assert_eq!(keys(&get(&demo, &format!("/api/node/a40d/{ours}")).text()), keys(&expected), "{recorded}");
    }
    let repo = get(&demo, "/api/repo/a40d/info").text();
    assert!(serde_json::from_str::<Value>(&repo).is_ok());
}
