//! `--offline`: a mount without a server gives what an earlier one has left on disk, an error for all else, and never a
//! wrong volume: A3.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use dvidfs::demo::{Dataset, Demo, DemoOptions, Fault, FaultKind, VERSIONS, lasting_port};
use serde_json::Value;

use crate::support::caches::{Caches, Wanted, compare, wait_until_written, wanted};
use crate::support::{Mounted, Survival, can_mount, refused, time_limit};

const NAMES: [&str; 4] = ["gray", "odd48", "segmentation", "u16"];

fn demo_at(port: u16, names: &[&str]) -> Demo {
    let dataset = Dataset::test().only(names);
    Demo::start(DemoOptions { dataset, port: Some(port), ..DemoOptions::default() }).unwrap()
}

/// A mount of this ref that leaves what it reads, and no more, in a cache.
fn online(caches: &Caches, port: u16, reference: &str) -> Mounted {
    let directory = caches.directory().to_str().unwrap();
    let options = ["--settle", "0", "--no-prefetch", "--time-scale", "0.1", "--cache-dir", directory];
    Mounted::new(&format!("http://127.0.0.1:{port}/{reference}"), &options)
}

/// With all the patience that there is by default: nobody is waited for.
fn offline(caches: &Caches, port: u16, reference: &str) -> Mounted {
    let directory = caches.directory().to_str().unwrap();
    Mounted::new(&format!("http://127.0.0.1:{port}/{reference}"), &["--offline", "--cache-dir", directory])
}

/// The line for the person who mounts, and the log code.
#[track_caller]
fn is_refused(caches: &Caches, port: u16, reference: &str, why: &str) {
    let source = format!("http://127.0.0.1:{port}/{reference}");
    let command = Command::new(env!("CARGO_BIN_EXE_dvidfs"));
    let refusal = refused(command, &source, &["--offline", "--cache-dir", caches.directory().to_str().unwrap()]);
    assert!(
        refusal.code == Some(32) && refusal.has_code("offline"),
        "{reference}: {:?} {}",
        refusal.code,
        refusal.said
    );
    let line = refusal.line();
    assert!(line.contains(why) && line.contains("mount it once with its server"), "{line}");
    assert!(refusal.took < Duration::from_secs(20), "{:?}", refusal.took);
}

/// Each file below a directory, with its size; inodes too.
fn tree(root: &Path, found: &mut BTreeMap<PathBuf, (u64, u64)>) {
    for entry in fs::read_dir(root).unwrap() {
        let (path, stat) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
        found.insert(path.clone(), (stat.size(), stat.ino()));
        if stat.is_dir() {
            tree(&path, found);
        }
    }
}

/// The names, sizes and inodes of these instances.
fn names(mounted: &Mounted, of: &[&str]) -> BTreeMap<PathBuf, (u64, u64)> {
    let mut found = BTreeMap::new();
    for name in of {
        tree(&mounted.root().join(name), &mut found);
    }
    found.into_iter().map(|(path, of)| (path.strip_prefix(mounted.root()).unwrap().to_owned(), of)).collect()
}

fn json(mounted: &Mounted, path: &str) -> Value {
    serde_json::from_slice(&fs::read(mounted.root().join(path)).unwrap()).unwrap()
}

/// Waits until what is known of the node is on disk under this many names.
#[track_caller]
fn wait_until_kept(caches: &Caches, n_names: usize) {
    let end = Instant::now() + Duration::from_secs(60);
    while caches.nodes().len() != n_names {
        assert!(Instant::now() < end, "kept: {:?}", caches.nodes());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The same files below another mountpoint.
fn moved(wanted: Vec<Wanted>, from: &Mounted, to: &Mounted) -> Vec<Wanted> {
    let place = |mut wanted: Wanted| {
        wanted.chunk.path = to.root().join(wanted.chunk.path.strip_prefix(from.root()).unwrap());
        wanted
    };
    wanted.into_iter().map(place).collect()
}

/// Every second file, and the others.
fn halves(wanted: Vec<Wanted>) -> (Vec<Wanted>, Vec<Wanted>) {
    let (kept, others): (Vec<_>, Vec<_>) = wanted.into_iter().enumerate().partition(|(n, _)| n % 2 == 0);
    (kept.into_iter().map(|(_, of)| of).collect(), others.into_iter().map(|(_, of)| of).collect())
}

#[test]
fn a_mount_without_a_server_gives_what_was_kept_and_an_error_for_the_rest() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(240));
    let (port, caches) = (lasting_port().unwrap(), Caches::new());
    let demo = demo_at(port, &NAMES);
    let first = online(&caches, port, "a40d");
    let (mut kept, others) = halves(wanted(&first, &demo, &["gray", "odd48"]));
    // Bodies too, by the mapping that passed the gate.
    kept.extend(wanted(&first, &demo, &["segmentation"]));
    let bytes = compare(&kept);
    wait_until_written(&first);
    wait_until_kept(&caches, 2);
    let (listed, node) = (names(&first, &NAMES), json(&first, "node.json"));
    let attrs: Vec<Value> = NAMES.iter().map(|name| json(&first, &format!("{name}/attrs.json"))).collect();
    drop(demo);
    // Whoever would ask the server is heard.
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut mounted = offline(&caches, port, "a40d");
    let (kept, others) = (moved(kept, &first, &mounted), moved(others, &first, &mounted));
    drop(first);
    let survival = Survival::begin("A3", &mounted);
    assert_eq!(names(&mounted, &NAMES), listed, "A3: names, sizes and inodes are those of the mount with a server");
    for (name, online) in NAMES.iter().zip(&attrs) {
        assert_eq!(json(&mounted, &format!("{name}/attrs.json")), *online, "A3: {name}");
        assert!(!fs::read(mounted.root().join(name).join("info")).unwrap().is_empty(), "A3: {name}");
    }
    assert_eq!(compare(&kept), bytes, "A3");
    let began = Instant::now();
    for of in &others {
        let errno = fs::read(&of.chunk.path).unwrap_err().raw_os_error();
        assert_eq!(errno, Some(nix::libc::EIO), "A3: {}", of.chunk.path.display());
        assert!(of.chunk.path.exists(), "A3: it is an error and no absence");
    }
    let u16_file = mounted.root().join("u16/volume.zarr/s0/0/0/0");
    assert_eq!(fs::read(&u16_file).unwrap_err().raw_os_error(), Some(nix::libc::EIO), "A3: nothing of it was read");
    // Fifteen minutes is what a read waits for a server that may come back.
    assert!(began.elapsed() < Duration::from_secs(30), "A3: {:?}", began.elapsed());
    let errors = fs::read_to_string(mounted.root().join(".dvidfs/errors.jsonl")).unwrap();
    assert!(errors.lines().count() > others.len() && errors.contains("\"offline\""), "A3: {errors}");
    let checked = Command::new(env!("CARGO_BIN_EXE_dvidfs")).arg("check").arg(mounted.root()).output().unwrap();
    assert_eq!(checked.status.code(), Some(1), "A3: a job is told");
    let told = json(&mounted, "node.json");
    assert!(told["offline"]["since"].as_str().is_some_and(|since| since.ends_with('Z')), "A3: {told}");
    assert_eq!(node["offline"], Value::Null);
    for key in ["uuid", "ref", "branch", "root", "locked", "parents", "children", "note", "log", "instances"] {
        assert_eq!(told[key], node[key], "A3: {key}");
    }
    assert_eq!(json(&mounted, ".dvidfs/config.json")["offline"], true);
    let readme = fs::read_to_string(mounted.root().join("README.txt")).unwrap();
    assert!(readme.contains("without its server: as it was at "), "A3: {readme}");
    for counter in ["dvid_requests", "dvid_fetched_blocks", "dvid_failed_requests"] {
        assert_eq!(mounted.counter(counter), 0, "A3: {counter}");
    }
    assert!(listener.accept().is_err(), "A3: somebody was asked");
    survival.check(&mut mounted, others.len() as u64, &["offline"]);
    drop(listener);
    // With a server, the same reads go well.
    let demo = demo_at(port, &NAMES);
    let again = online(&caches, port, "a40d");
    let others = moved(others, &mounted, &again);
    let more = compare(&others);
    crate::support::survival::report("A3", bytes + more);
    drop(demo);
}

#[test]
fn without_what_it_needs_an_offline_mount_is_refused_and_never_shows_another_volume() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(240));
    let (port, caches) = (lasting_port().unwrap(), Caches::new());
    is_refused(&caches, port, "a40d", "nothing is kept on disk of such a node");
    let demo = demo_at(port, &["gray"]);
    drop(online(&caches, port, "a40d"));
    wait_until_kept(&caches, 2);
    // Other names of it, another node, another server.
    let uuid = VERSIONS[0].uuid;
    is_refused(&caches, port, &uuid[..6], "nothing is kept on disk of such a node");
    is_refused(&caches, port, VERSIONS[1].uuid, "nothing is kept on disk of such a node");
    is_refused(&caches, port - 1, "a40d", "nothing is kept on disk of such a node");
    drop(demo);
    let by_uuid = offline(&caches, port, uuid);
    assert_eq!(json(&by_uuid, "node.json")["uuid"], uuid);
    drop(by_uuid);
    // Damage of every kind: each is noticed, removed, and told once; then there is nothing.
    let whole: Vec<_> = caches.nodes().into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    for (n, change) in [10, 15, 40, 150, 600, 5000].into_iter().enumerate() {
        for (bytes, path) in &whole {
            let mut bytes = bytes.clone();
            match n {
                2 => bytes.truncate(bytes.len() - 1),
                3 => bytes.push(0),
                _ => {
                    let at = change % bytes.len();
                    bytes[at] ^= 1;
                }
            }
            // With its mode, too: what is wrong with it is the change alone.
            put(path, &bytes);
        }
        is_refused(&caches, port, "a40d", "damaged");
        is_refused(&caches, port, "a40d", "nothing is kept on disk of such a node");
    }
    // The entry of one name under the other is that of something else.
    let (one, other) = (&whole[0], &whole[1]);
    put(&other.1, &one.0);
    put(&one.1, &other.0);
    is_refused(&caches, port, "a40d", "damaged");
    assert!(caches.nodes().len() < 2);
    put(&one.1, &one.0);
    put(&other.1, &other.0);
    drop(offline(&caches, port, "a40d"));
    let output = Command::new(env!("CARGO_BIN_EXE_dvidfs"))
        .args(["cache", "ls", "--cache-dir", caches.directory().to_str().unwrap()])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(&format!("node a40d  its description, of http://127.0.0.1:{port}")), "{said}");
}

fn put(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn what_may_change_is_never_shown_without_its_server() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(240));
    let (port, caches) = (lasting_port().unwrap(), Caches::new());
    let demo = demo_at(port, &["gray", "unversioned"]);
    // An open node leaves nothing, neither by its ref nor by its name.
    let open = online(&caches, port, "a40d:master");
    let uuid = json(&open, "node.json")["uuid"].as_str().unwrap().to_owned();
    drop(open);
    assert_eq!(caches.nodes(), Vec::<PathBuf>::new());
    is_refused(&caches, port, "a40d:master", "nothing is kept on disk of such a node");
    is_refused(&caches, port, &uuid, "nothing is kept on disk of such a node");
    // A locked one leaves out the instance that may change, and says so where reasons stand.
    let first = online(&caches, port, "a40d");
    let kept = wanted(&first, &demo, &["gray"]);
    let bytes = compare(&kept);
    wait_until_written(&first);
    wait_until_kept(&caches, 2);
    drop(demo);
    let mounted = offline(&caches, port, "a40d");
    assert_eq!(compare(&moved(kept, &first, &mounted)), bytes);
    let attrs = json(&mounted, "unversioned/attrs.json");
    assert!(attrs.to_string().contains("Versioned: false"), "{attrs}");
    assert!(attrs["shape"].is_null() && !mounted.root().join("unversioned/volume.zarr").exists(), "{attrs}");
    assert!(!mounted.root().join("unversioned/info").exists(), "what the server said of it may be old");
}

#[test]
fn a_branch_means_offline_what_it_meant_last_and_nothing_once_that_may_change() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(240));
    let (port, caches) = (lasting_port().unwrap(), Caches::new());
    // The newest node of master was committed long ago, and so it is kept.
    let committed = || Dataset::test().only(&["gray"]).with_commit(2, 1_000_000_000);
    let start = |dataset| Demo::start(DemoOptions { dataset, port: Some(port), ..DemoOptions::default() }).unwrap();
    let demo = start(committed());
    let first = online(&caches, port, "a40d:master");
    let uuid = json(&first, "node.json")["uuid"].clone();
    wait_until_kept(&caches, 2);
    drop((first, demo));
    let mounted = offline(&caches, port, "a40d:master");
    let node = json(&mounted, "node.json");
    assert_eq!((&node["uuid"], &node["ref"]), (&uuid, &Value::from("a40d:master")));
    assert!(node["offline"]["meaning"].as_str().unwrap().contains("as they were then"), "{node}");
    assert!(mounted.log().contains("the node that the reference meant then"), "{}", mounted.log());
    assert_eq!(json(&mounted, ".dvidfs/stats.json")["branch"], Value::Null, "whether it moved on is not known");
    drop(mounted);
    // Once the server says that the node is open, what was kept of it is no answer any more, by whatever name, and whichever
    // name it was mounted by then.
    for (by, n_left) in [("a40d:master", 0), (uuid.as_str().unwrap(), 1)] {
        let demo = start(committed());
        drop(online(&caches, port, "a40d:master"));
        wait_until_kept(&caches, 2);
        drop(demo);
        let demo = start(Dataset::test().only(&["gray"]));
        drop(online(&caches, port, by));
        wait_until_kept(&caches, n_left);
        drop(demo);
        for reference in ["a40d:master", uuid.as_str().unwrap()] {
            is_refused(&caches, port, reference, "nothing is kept on disk of such a node");
        }
    }
}

#[test]
fn an_instance_whose_metadata_could_not_be_had_at_a_later_mount_is_there_without_its_server() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(240));
    let (port, caches) = (lasting_port().unwrap(), Caches::new());
    let demo = demo_at(port, &["gray", "u16"]);
    let first = online(&caches, port, "a40d");
    let kept = wanted(&first, &demo, &["gray"]);
    let bytes = compare(&kept);
    wait_until_written(&first);
    wait_until_kept(&caches, 2);
    let mount_with = |status| {
        let before = written(&caches);
        let kind = FaultKind::Status { status, retry_after: None };
        demo.set_faults(vec![Fault::always("gray/info", kind)]);
        let later = online(&caches, port, "a40d");
        assert!(later.root().join("gray/attrs.json").exists() && !later.root().join("gray/volume.zarr").exists());
        let end = Instant::now() + Duration::from_secs(60);
        while written(&caches).iter().any(|at| before.contains(at)) {
            assert!(Instant::now() < end, "it was not written anew");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    mount_with(500);
    let mounted = offline(&caches, port, "a40d");
    assert_eq!(compare(&moved(kept, &first, &mounted)), bytes);
    assert!(mounted.root().join("u16/volume.zarr").exists());
    drop(mounted);
    // Who may not see it now does not see what was kept of it.
    mount_with(403);
    let mounted = offline(&caches, port, "a40d");
    let attrs = json(&mounted, "gray/attrs.json");
    assert!(attrs.to_string().contains("could not be had"), "{attrs}");
    assert!(!mounted.root().join("gray/volume.zarr").exists());
}

/// When what is known of the node was written, under each of its names.
fn written(caches: &Caches) -> Vec<SystemTime> {
    caches.nodes().iter().map(|path| fs::metadata(path).unwrap().modified().unwrap()).collect()
}
