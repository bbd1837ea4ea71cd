//! E: metadata that no array can have, or that are no metadata. D22, a byte order, is such, too.

use std::fmt::Write as _;

use dvidfs::demo::InstanceSpec;
use dvidfs::dvid::{InstanceInfo, RepoInfo};

use super::*;
use crate::support::{refused, survival};

/// What a hostile instance may cost: R27.
const MOST_BYTES: u64 = 256 << 20;

fn replace(from: &str, to: &str) -> FaultKind {
    FaultKind::Replace { from: from.into(), to: to.into() }
}

fn says(body: impl Into<String>) -> FaultKind {
    FaultKind::Answer { status: 200, headers: Vec::new(), body: body.into() }
}

/// What must become of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// Without an array, and with a reason.
    Hidden,
    /// With all its voxels.
    Whole,
}

/// Metadata of an instance that is else as `of`.
struct Odd {
    id: &'static str,
    of: &'static str,
    kind: FaultKind,
    shown: Shown,
}

/// The instances of a mount, each with metadata of its own.
fn oddities() -> Vec<Odd> {
    let mut all = Vec::new();
    let mut add = |id, of, kind, shown| all.push(Odd { id, of, kind, shown });
    let block = "\"BlockSize\":[32,32,32]";
    let (size, max) = ("\"VoxelSize\":[8,8,8]", "\"MaxPoint\":[99,69,39]");
    for text in ["nonsense", "", "[]", "null", "\"\"", "{\"Base\":", "<html></html>"] {
        add("E1", "u16", says(text), Shown::Hidden);
    }
    add("E1", "u16", FaultKind::OneShort, Shown::Hidden);
    for number in ["NaN", "1e400", "-Infinity", "0x10", "01"] {
        add("E1", "u16", replace(size, &format!("\"VoxelSize\":[{number},8,8]")), Shown::Hidden);
    }
    add("E2", "u16", says("[".repeat(1_000_000)), Shown::Hidden);
    add("E2", "u16", says("{\"a\":".repeat(500_000)), Shown::Hidden);
    add(
        "E2",
        "u16",
        replace("\"Base\":", &format!("\"x\":{}0{},\"Base\":", "[".repeat(5000), "]".repeat(5000))),
        Shown::Hidden,
    );
    for number in ["18446744073709551616", "1.5", "\"99\"", "true", "[9]", "null", "1e2"] {
        add("E5", "u16", replace(max, &format!("\"MaxPoint\":[{number},69,39]")), Shown::Hidden);
    }
    for shape in
        ["0,32,32", "-32,32,32", "1000000000,32,32", "4294967296,4294967296,4294967296", "32,32", "32,32,32,32"]
    {
        add("E6", "u16", replace(block, &format!("\"BlockSize\":[{shape}]")), Shown::Hidden);
    }
    add("E6", "labelarray", replace("\"BlockSize\":[64,64,64]", "\"BlockSize\":[60,64,64]"), Shown::Hidden);
    for point in ["-1,69,39", "9223372036854775807,69,39", "-9223372036854775808,69,39", "2147483648,0,0"] {
        add("E9", "u16", replace(max, &format!("\"MaxPoint\":[{point}]")), Shown::Hidden);
    }
    for level in ["200", "-1"] {
        let replaced = replace("\"MaxDownresLevel\":2", &format!("\"MaxDownresLevel\":{level}"));
        add("E10", "labelarray", replaced, Shown::Whole);
    }
    for voxel in ["0,8,8", "-8,8,8", "1e308,8,8", "8,8,1e-300"] {
        add("E11", "u16", replace(size, &format!("\"VoxelSize\":[{voxel}]")), Shown::Whole);
    }
    add("E12", "u16", replace("\"TypeName\":\"uint16blk\"", "\"TypeName\":\"surprise\""), Shown::Hidden);
    add("E12", "u16", replace("\"Base\":", "\"Bass\":"), Shown::Hidden);
    add("E12", "u16", says("{\"Base\":null,\"Extended\":null,\"Extents\":null}"), Shown::Hidden);
    add("E12", "u16", replace("\"TypeName\":\"uint16blk\"", "\"TypeName\":null"), Shown::Hidden);
    add("E19", "u16", replace("\"nanometers\"", "\"\\ud800\""), Shown::Hidden);
    add("E24", "u16", replace(block, "\"BlockSize\":[64,64,64]"), Shown::Hidden);
    for dtype in [">u2", "uint16be", "int16", "uint8"] {
        add("D22", "u16", replace("\"DataType\":\"uint16\"", &format!("\"DataType\":\"{dtype}\"")), Shown::Hidden);
    }
    all
}

fn name_of(n: usize) -> String {
    format!("odd_{n:03}")
}

fn attrs(mounted: &Mounted, name: &str) -> serde_json::Value {
    serde_json::from_slice(&fs::read(mounted.root().join(name).join("attrs.json")).unwrap()).unwrap()
}

/// All voxels of level 0 of an instance; the bytes that were compared.
fn compare(mounted: &Mounted, dataset: &Dataset, name: &str, spec: &InstanceSpec) -> u64 {
    let level = &levels(&mounted.root().join(name))[0];
    let (mut compared, n_chunks) = (0, level.shape.div_ceil(level.chunk_shape));
    for index in VoxelBox::from_shape(Coordinate::ZERO, n_chunks).unwrap().indices() {
        let chunk = chunk_of(level, index);
        // Where the voxel size makes no sense it cannot tell where the array begins: at the data's own.
        let voxels = VoxelBox::from_shape(index * level.chunk_shape, level.chunk_shape).unwrap();
        let right = file_values(dataset, 0, spec, level.scale, false, voxels);
        assert!(fs::read(&chunk.path).unwrap() == right, "{name}: wrong voxels in {}", chunk.path.display());
        compared += right.len() as u64;
    }
    compared
}

#[test]
fn metadata_that_no_array_can_have_hide_their_instance_and_no_other() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(180));
    for group in oddities().chunk_by(|a, b| a.id == b.id) {
        survive_oddities(group);
    }
}

/// Instances with such metadata in one mount, each by its own name.
fn survive_oddities(oddities: &[Odd]) {
    let id = oddities[0].id;
    let mut dataset = Dataset::test().only(&["u16"]);
    let all = Dataset::test();
    let mut faults = Vec::new();
    for (n, odd) in oddities.iter().enumerate() {
        dataset =
            dataset.with_instance(InstanceSpec { name: name_of(n), ..all.instance(odd.of).unwrap().as_ref().clone() });
        faults.push(Fault::always(&format!("/{}/info", name_of(n)), odd.kind.clone()));
    }
    let demo = Demo::start(DemoOptions { dataset, faults, ..DemoOptions::default() }).unwrap();
    let began = Instant::now();
    let mut mounted = mounted(&demo, &["--memory", "64M"]);
    println!("{id}: {} odd instances were mounted in {:?}", oddities.len(), began.elapsed());
    let peak = mounted.peak_bytes();
    assert!(peak < MOST_BYTES, "{id}: {peak} bytes");
    let survival = Survival::begin(id, &mounted);
    // The rest works.
    let spec = demo.dataset().instance("u16").unwrap();
    let mut compared = compare(&mounted, demo.dataset(), "u16", &spec);
    for (n, odd) in oddities.iter().enumerate() {
        assert!(demo.fault_hits(n) > 0, "{id}: {n}: it never happened");
        compared += check_odd(&mounted, &demo, &name_of(n), odd);
    }
    let log = mounted.log();
    let told = log.lines().filter(|line| line.contains("code=\"bad_metadata\"") && line.contains("odd_"));
    // Ten lines a second tell of the first ones.
    assert!(told.count() >= oddities.len().min(10), "{id}: not all are told:\n{log}");
    survival.check(&mut mounted, oddities.len() as u64, &[]);
    let listed = fs::read_dir(mounted.root()).unwrap().collect::<Result<Vec<_>, _>>().unwrap().len();
    assert_eq!(listed, oddities.len() + 1 + 3, "every instance is listed");
    // Others have parts that refuse the mount.
    if !["E1", "E2", "E19"].contains(&id) {
        survival::report(id, compared);
    }
}

/// What has become of an odd instance; the bytes that were compared.
fn check_odd(mounted: &Mounted, demo: &Demo, name: &str, odd: &Odd) -> u64 {
    let about: String = format!("{} {:?}", odd.id, odd.kind).chars().take(200).collect();
    if odd.shown == Shown::Whole {
        let spec = demo.dataset().instance(name).unwrap();
        return compare(mounted, demo.dataset(), name, &spec);
    }
    let attrs = attrs(mounted, name);
    assert!(attrs["shape"].is_null() && attrs["layouts"].as_array().is_none_or(Vec::is_empty), "{about}: {attrs}");
    let text = attrs.to_string();
    assert!(text.contains("bad metadata") || text.contains("could not be had"), "{about}: {attrs}");
    assert!(!mounted.root().join(name).join("volume.zarr").exists(), "{about}");
    0
}

/// A mount that must be refused because of what its repo says.
fn repo_refused(id: &'static str, kind: FaultKind, options: &[&str], code: &str, most_bytes: u64) {
    let demo = test_demo(&["u16"]);
    demo.set_faults(vec![Fault::always("/api/repo/", kind)]);
    let options = [&["--time-scale", "0.05", "--mount-wait", "1s"], options].concat();
    let refusal = refused(dvidfs(), &format!("{}/a40d", demo.origin()), &options);
    assert!(demo.fault_hits(0) > 0, "{id}: it never happened");
    let said: String = refusal.said.chars().take(3000).collect();
    assert!(refusal.code == Some(32) && refusal.has_code(code), "{id}: {:?} {said}", refusal.code);
    assert!(refusal.line().len() < 1000, "{id}: {said}");
    assert!(refusal.peak_bytes < most_bytes, "{id}: {} bytes", refusal.peak_bytes);
    println!("{id}: refused in {:?}, {} MiB at most", refusal.took, refusal.peak_bytes >> 20);
}

#[test]
fn a_repo_that_is_no_metadata_refuses_the_mount() {
    let _limit = time_limit(Duration::from_secs(240));
    for text in ["nonsense", "{\"DAG\":", "{\"Root\":NaN}", "[]", "{\"DAG\":{\"Nodes\":{\"a\":{\"VersionID\":1e400}}}}"]
    {
        repo_refused("E1", says(text), &[], "bad_metadata", MOST_BYTES);
    }
    survival::report("E1", 0);
    repo_refused("E2", says("[".repeat(1_000_000)), &[], "bad_metadata", MOST_BYTES);
    repo_refused("E2", says("{\"a\":".repeat(1_000_000)), &[], "bad_metadata", MOST_BYTES);
    survival::report("E2", 0);
    repo_refused("E3", FaultKind::EndlessBody, &[], "over_limit", MOST_BYTES);
    survival::report("E3", 0);
    let many: String = (0..1_000_000).fold(String::from("{\"DataInstances\":{"), |mut json, n| {
        let _ = write!(json, "\"i{n}\":{{}},");
        json
    });
    repo_refused("E4", says(format!("{}\"i\":{{}}}}}}", many)), &[], "over_limit", MOST_BYTES);
    let two = replace("\"DataInstances\":{", "\"DataInstances\":{\"more\":{},");
    repo_refused("E4", two, &["--max-instances", "1"], "over_limit", MOST_BYTES);
    survival::report("E4", 0);
    repo_refused("E19", replace("\"Alias\":\"", "\"Alias\":\"\\udfff"), &[], "bad_metadata", MOST_BYTES);
    survival::report("E19", 0);
}

#[test]
fn blocks_of_odd_shapes_and_volumes_beyond_every_file_are_shown() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let one = VoxelBox::new([0; 3].into(), [3, 4, 5].into()).unwrap();
    let dataset = Dataset::test().only(&["flatblocks", "u16", "null"]);
    let u16s = dataset.instance("u16").unwrap().as_ref().clone();
    let points = InstanceSpec { name: "points".into(), block_shape: Coordinate::ONE, data: one, ..u16s.clone() };
    let dataset = dataset.with_instance(points).with_instance(InstanceSpec { name: "endless".into(), ..u16s.clone() });
    let dataset = dataset.with_instance(InstanceSpec { name: "vast".into(), ..u16s });
    // 2^93 voxels, and a little less than 2^63 bytes.
    let up_to = |name: &str, last: i32| {
        let to = format!("\"MaxPoint\":[{last},{last},{last}]");
        Fault::always(&format!("/{name}/info"), replace("\"MaxPoint\":[99,69,39]", &to))
    };
    let faults = vec![up_to("endless", i32::MAX - 1), up_to("vast", 1_600_000)];
    let demo = Demo::start(DemoOptions { dataset, faults, ..DemoOptions::default() }).unwrap();
    let mut mounted = mounted(&demo, &["--layouts", "zarr,n5,h5,flat"]);
    let survival = Survival::begin("E7", &mounted);
    let mut compared = 0;
    for name in ["flatblocks", "points"] {
        let spec = demo.dataset().instance(name).unwrap();
        compared += compare(&mounted, demo.dataset(), name, &spec);
    }
    survival.end(&mut mounted, 2, &[], compared);
    assert!(demo.fault_hits(0) > 0 && demo.fault_hits(1) > 0);
    let endless = attrs(&mounted, "endless");
    assert!(endless["shape"].is_null() && endless.to_string().contains("too large"), "E9: {endless}");
    let vast = attrs(&mounted, "vast");
    assert!(vast["shape"].is_array() && !mounted.root().join("vast/flat").exists(), "E9: {vast}");
    let spec = demo.dataset().instance("u16").unwrap();
    let chunk = chunk_of(&levels(&mounted.root().join("vast"))[0], Coordinate::ZERO);
    let right = file_values(demo.dataset(), 0, &spec, dvidfs::geometry::Scale::FULL, false, chunk.voxels);
    assert!(fs::read(&chunk.path).unwrap() == right, "E9: wrong voxels");
    // No extents are not an empty array.
    let unknown = attrs(&mounted, "null");
    assert!(unknown["shape"].is_null() && unknown.to_string().contains("--extents"), "E8: {unknown}");
    drop(mounted);
    let mut mounted = self::mounted(&demo, &["--extents", "null=0:64,0:64,0:64"]);
    let survival = Survival::begin("E8", &mounted);
    let spec = demo.dataset().instance("null").unwrap();
    let compared = compare(&mounted, demo.dataset(), "null", &spec);
    survival.end(&mut mounted, 1, &[], compared);
}

/// Numbers, texts and shapes that stand where others belong.
const NASTY: [&str; 22] = [
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "0",
    "-1",
    "1",
    "1.5",
    "1e308",
    "1e400",
    "NaN",
    "18446744073709551616",
    "-9223372036854775809",
    "[0,0,0]",
    "[1,2]",
    "[1,2,3,4]",
    "[2147483647,2147483647,2147483647]",
    "[-2147483648,-2147483648,-2147483648]",
    "[1e300,1,1]",
    "[\"8\",\"8\",\"8\"]",
    "\"\\u0000\"",
];

#[test]
fn hundreds_of_hostile_metadata_are_read_without_a_panic_and_at_once() {
    let demo = test_demo(&["u16", "labelarray", "segmentation"]);
    let server = dvidfs::dvid::Server::new(&demo.origin(), Default::default(), Default::default()).unwrap();
    let root = demo.dataset().root();
    let keys = [
        "TypeName",
        "DataUUID",
        "Compression",
        "Versioned",
        "Values",
        "BlockSize",
        "VoxelSize",
        "VoxelUnits",
        "MinPoint",
        "MaxPoint",
        "GridStore",
        "MaxDownresLevel",
        "Extents",
        "Extended",
        "Base",
        "DataInstances",
        "Nodes",
        "VersionID",
        "Parents",
        "Locked",
    ];
    let (mut n_files, mut slowest) = (0, Duration::ZERO);
    for path in ["u16/info", "labelarray/info", "segmentation/info", ""] {
        let whole = if path.is_empty() { format!("/api/repo/{root}/info") } else { format!("/api/node/{root}/{path}") };
        let right = String::from_utf8(server.get(&whole, 1 << 20).unwrap()).unwrap();
        for (key, nasty) in keys.iter().flat_map(|key| NASTY.map(|nasty| (key, nasty))) {
            let Some(hostile) = with_value(&right, key, nasty) else { continue };
            let began = Instant::now();
            if path.is_empty() {
                let _ = RepoInfo::parse(hostile.as_bytes());
            } else if let Ok(info) = InstanceInfo::parse("i", hostile.into_bytes()) {
                let sane =
                    info.voxels.is_err() || info.voxels.is_ok_and(|voxels| voxels.block_shape.product() <= 16 << 20);
                assert!(sane, "{key}: {nasty}");
            }
            slowest = slowest.max(began.elapsed());
            n_files += 1;
        }
    }
    figure("R27", format!("{n_files} hostile files, 0 panics, the slowest took {slowest:.1?}"), "200, 0 panics, 1 s");
    assert!(n_files >= 200 && slowest < Duration::from_secs(1), "{n_files} in {slowest:?} each at most");
}

/// The JSON with another value of the first key of this name; `None` if it has none.
fn with_value(json: &str, key: &str, value: &str) -> Option<String> {
    let begin = json.find(&format!("\"{key}\":"))? + key.len() + 3;
    let (mut depth, mut in_text, mut end) = (0_i32, false, begin);
    for (at, byte) in json.bytes().enumerate().skip(begin) {
        match byte {
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => depth -= 1,
            _ => {}
        }
        if depth < 0 || (depth == 0 && byte == b',' && !in_text) {
            end = at;
            break;
        }
    }
    Some(format!("{}{value}{}", &json[..begin], &json[end..]))
}
