//! Recorded answers of a real server, and a small labelmap whose mapping loads, changes and lies as a test wants.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use super::super::http_config::HttpConfig;
use super::super::scripted_server::{Act, ScriptedServer, answer, chunked};
use super::super::test_support::{body, recorded, truth};
use super::*;

const ROOT: &str = "653cea621da34bbcbb12949a4e937b29";
const APART: Duration = Duration::from_millis(30);

fn server_at(scripted: &ScriptedServer) -> Server {
    Server::new(&scripted.origin, HttpConfig::default(), Arc::default()).unwrap()
}

fn instance_of(
    scripted: &ScriptedServer,
    name: &str,
    json: Vec<u8>,
    freshness: Freshness,
    limit_bytes: usize,
) -> Instance {
    let info = InstanceInfo::parse(name, json).unwrap();
    Instance::new(server_at(scripted), ROOT, &info, freshness, MappingOptions { apart: APART, limit_bytes }).unwrap()
}

/// Answers as the recorded server did, and 599 to what nobody recorded.
fn replay() -> ScriptedServer {
    ScriptedServer::start(|request, _| {
        let target = request.split(' ').nth(1).unwrap();
        let (status, body) = recorded(target).unwrap_or((599, target.as_bytes().to_vec()));
        vec![Act::Send(if status == 200 && body.len() > 2048 { chunked(&body) } else { answer(status, &body) })]
    })
}

fn recorded_instance(scripted: &ScriptedServer, name: &str) -> Instance {
    instance_of(scripted, name, body(&format!("info-{name}")), Freshness::Forever, 1 << 20)
}

fn a_box(begin: [i64; 3], shape: [i64; 3]) -> BlockBox {
    BlockBox(VoxelBox::from_shape(begin.into(), shape.into()).unwrap())
}

/// Bytes of the recorded gray volume, with the missing block of the 32^3 images blank.
fn gray_at(voxel: Coordinate) -> u8 {
    let truth = truth("gray.npy");
    let [z, y, x] = voxel.to_usize().unwrap();
    u8::try_from(truth.values[(z * truth.shape[1] + y) * truth.shape[2] + x]).unwrap()
}

#[track_caller]
fn check_gray(name: &str, blocks: BlockBox, tolerance: u8) {
    let scripted = replay();
    let instance = recorded_instance(&scripted, name);
    let found = instance.fetch_blocks(View::Stored, Scale::FULL, blocks).unwrap();
    let stored = instance.stored_blocks(Scale::FULL, blocks).unwrap();
    assert!(!stored.is_empty(), "{name}");
    for (index, block) in blocks.blocks().zip(found) {
        assert_eq!(stored.contains(&index), !matches!(block, Block::Absent), "{name} {index:?}");
        if matches!(block, Block::Absent) {
            continue;
        }
        let volume = instance.decode(View::Stored, &block).unwrap();
        let first = instance.grid.block_box(index).begin();
        for offset in [[0, 0, 0], [1, 2, 3], [31, 30, 29], [17, 0, 31]] {
            let [z, y, x] = offset;
            let shape = instance.voxels.block_shape;
            let at = usize::try_from((z * shape.y() + y) * shape.x() + x).unwrap();
            let wanted = gray_at(first + Coordinate::from(offset));
            assert!(volume.bytes()[at].abs_diff(wanted) <= tolerance, "{name} {index:?} {offset:?}");
        }
    }
}

#[test]
fn images_are_asked_for_in_the_form_in_which_they_are_stored() {
    check_gray("gray32", a_box([0, 1, 0], [2, 1, 2]), 0);
    check_gray("gray_gzip", a_box([0, 1, 1], [2, 1, 1]), 0);
    check_gray("gray_none", a_box([0, 1, 1], [2, 1, 1]), 0);
    check_gray("gray_snappy", a_box([0, 1, 1], [2, 1, 1]), 0);
    check_gray("gray_jpeg", a_box([0, 0, 0], [1, 1, 1]), 40);
}

#[test]
fn a_block_that_the_server_does_not_store_is_absent() {
    let scripted = replay();
    let instance = recorded_instance(&scripted, "gray32");
    let found = instance.fetch_blocks(View::Stored, Scale::FULL, a_box([1, 1, 1], [1, 1, 1])).unwrap();
    assert!(matches!(found.as_slice(), [Block::Absent]));
}

#[test]
fn an_image_of_four_channels_is_had_in_blocks_of_four_planes() {
    let scripted = replay();
    let instance = recorded_instance(&scripted, "rgba");
    let form = instance.form();
    assert_eq!((form.channels, form.block_bytes()), (Some(4), 4 * 32 * 32 * 32));
    // As many bytes to a request as of any other image.
    assert_eq!(form.blocks_per_request, GRAY_REQUEST_BYTES / form.block_bytes());
    let found = instance.fetch_blocks(View::Stored, Scale::FULL, a_box([0, 1, 1], [1, 1, 1])).unwrap();
    let [block] = &found[..] else { panic!("{found:?}") };
    assert_eq!(block.held_bytes(), form.block_bytes());
    let volume = instance.decode(View::Stored, block).unwrap();
    let gray = gray_at(Coordinate::new(0, 32, 32));
    assert_eq!([0, 1, 2, 3].map(|channel| volume.plane(channel)[0]), [gray, 255 - gray, gray / 2, 255]);
    assert_eq!(instance.decode(View::Stored, &Block::Absent).unwrap().bytes(), vec![0; form.block_bytes()]);
}

#[test]
fn labels_are_asked_for_as_label_blocks() {
    let scripted = replay();
    for (name, blocks) in [("segmentation", a_box([0, 0, 0], [1, 2, 2])), ("labelarray", a_box([0, 0, 0], [1, 2, 2]))] {
        let instance = recorded_instance(&scripted, name);
        let found = instance.fetch_blocks(View::Stored, Scale::FULL, blocks).unwrap();
        let kinds: Vec<_> = found.iter().map(|block| matches!(block, Block::Labels(_))).collect();
        assert_eq!(kinds, [true, false, true, true], "{name}: block x 1 is missing");
    }
    let asked = scripted.asked();
    assert!(asked[0].contains("?compression=blocks&supervoxels=true&scale=0&"), "{asked:?}");
    let instance = recorded_instance(&scripted, "labelblk");
    let found = instance.fetch_blocks(View::Stored, Scale::FULL, a_box([0, 0, 0], [2, 2, 2])).unwrap();
    assert_eq!(found.iter().filter(|block| matches!(block, Block::Dense(_))).count(), 7);
}

#[test]
fn a_bucket_is_asked_block_by_block_and_never_outside_the_volume() {
    let node = "f8f04b4379ae47d0a9344fc7f46fe5d8";
    let scripted = replay();
    let info = InstanceInfo::parse("em", body("grid-info-em")).unwrap();
    let mapping = MappingOptions { apart: APART, limit_bytes: 0 };
    let instance = Instance::new(server_at(&scripted), node, &info, Freshness::Forever, mapping).unwrap();
    assert_eq!(instance.form().blocks_per_request, 1);
    // The volume has 200 x 130 x 100 voxels: block x 3 is its last.
    let found = instance.fetch_blocks(View::Stored, Scale::FULL, a_box([0, 0, 3], [1, 1, 2])).unwrap();
    assert!(matches!(found.as_slice(), [Block::Dense(_), Block::Absent]));
    assert_eq!(scripted.asked().iter().filter(|path| path.contains("subvolblocks")).count(), 1);
}

#[test]
fn what_would_harm_the_server_is_not_sent() {
    let scripted = replay();
    let instance = recorded_instance(&scripted, "segmentation");
    for (scale, blocks) in [
        (Scale(9), a_box([0; 3], [1; 3])),
        (Scale(0), a_box([0; 3], [0; 3])),
        (Scale(0), a_box([0; 3], [5, 5, 5])),
        (Scale(0), a_box([1 << 30; 3], [1; 3])),
    ] {
        let error = instance.fetch_blocks(View::Stored, scale, blocks).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OverLimit, "{scale:?} {blocks:?}");
    }
    assert!(scripted.asked().is_empty());
}

#[test]
fn error_text_behind_frames_spoils_the_whole_answer() {
    let spoiled = [body("subvol-gray32-stored"), b"unable to read (/api/node/x).\n".to_vec()].concat();
    let scripted = ScriptedServer::always(vec![Act::Send(chunked(&spoiled))]);
    let instance = recorded_instance(&scripted, "gray32");
    let error = instance.fetch_blocks(View::Stored, Scale::FULL, a_box([0, 1, 0], [2, 1, 2])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
}

#[test]
fn other_data_under_the_same_name_is_noticed_after_a_reconnect() {
    let stream = body("subvol-gray32-one");
    let info = Arc::new(Mutex::new(body("info-gray32")));
    let shown = Arc::clone(&info);
    let scripted = ScriptedServer::start(move |request, _| {
        let body = if request.contains("/info") { shown.lock().unwrap().clone() } else { stream.clone() };
        // Every answer ends its connection.
        vec![Act::Send(answer(200, &body)), Act::Close]
    });
    let instance = recorded_instance(&scripted, "gray32");
    let fetch = || instance.fetch_blocks(View::Stored, Scale::FULL, a_box([0; 3], [1; 3]));
    assert!(fetch().is_ok());
    let other = String::from_utf8(body("info-gray32")).unwrap().replace("\"DataUUID\":\"", "\"DataUUID\":\"0");
    *info.lock().unwrap() = other.into_bytes();
    assert_eq!(fetch().unwrap_err().kind(), ErrorKind::IdentityChanged);
    *info.lock().unwrap() = body("info-gray32");
    assert_eq!(fetch().unwrap_err().kind(), ErrorKind::IdentityChanged, "once replaced, for good");
}

/// A labelmap of 2^3 blocks of 8^3 voxels, each of one supervoxel: 1 to 8.
#[derive(Debug)]
struct Labelmap {
    /// What the server has loaded of its mapping.
    mapping: BTreeMap<u64, u64>,
    /// What each download finds added to it, first to last.
    to_load: Vec<(u64, u64)>,
    started: Instant,
    /// The server is restarted while it answers this many-th download.
    restart_at: Option<u32>,
    spoil: Vec<u8>,
    /// What the server maps by, if not by its mapping.
    lies: BTreeMap<u64, u64>,
}

type Shared = Arc<Mutex<Labelmap>>;

const INFO: &str = r#"{"Base":{"TypeName":"labelmap","DataUUID":"d1","Name":"seg","Compression":"gzip compression, level -1","Versioned":true},
    "Extended":{"BlockSize":[8,8,8],"VoxelSize":[8,8,8],"MinPoint":[0,0,0],"MaxPoint":[15,15,15],"MaxDownresLevel":0},
    "Extents":{"MinPoint":[0,0,0],"MaxPoint":[15,15,15]}}"#;

fn labelmap(mapping: &[(u64, u64)], to_load: &[(u64, u64)]) -> (Shared, ScriptedServer) {
    let state = Labelmap {
        mapping: mapping.iter().copied().collect(),
        to_load: to_load.to_vec(),
        started: Instant::now() - Duration::from_secs(100),
        restart_at: None,
        spoil: vec![],
        lies: BTreeMap::new(),
    };
    let shared = Arc::new(Mutex::new(state));
    let served = Arc::clone(&shared);
    let scripted = ScriptedServer::start(move |request, _| {
        let body = served.lock().unwrap().answer(request);
        vec![Act::Send(answer(200, &body))]
    });
    (shared, scripted)
}

impl Labelmap {
    fn answer(&mut self, request: &str) -> Vec<u8> {
        let path = request.split(' ').nth(1).unwrap();
        if path.contains("server/info") {
            let uptime = self.started.elapsed().as_secs_f64();
            format!(r#"{{"Datastore Version":"0.11.0","Server uptime":"{uptime:.6}s"}}"#).into_bytes()
        } else if path.contains("seg/info") {
            INFO.as_bytes().to_vec()
        } else if path.contains("seg/mappings") {
            self.restart_at = self.restart_at.and_then(|left| left.checked_sub(1));
            if self.restart_at == Some(0) {
                self.started = Instant::now();
            }
            let pairs = self.mapping.iter().flat_map(|(&sv, &body)| [sv, body]).flat_map(u64::to_le_bytes);
            let list = pairs.chain(self.spoil.iter().copied()).collect();
            if !self.to_load.is_empty() {
                let (supervoxel, body) = self.to_load.remove(0);
                self.mapping.insert(supervoxel, body);
            }
            list
        } else if path.contains("seg/mapping") {
            let asked: Vec<u64> = serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap();
            serde_json::to_vec(&asked.iter().map(|&sv| self.body_of(sv)).collect::<Vec<_>>()).unwrap()
        } else {
            self.blocks(path)
        }
    }

    fn body_of(&self, supervoxel: u64) -> u64 {
        self.lies.get(&supervoxel).or(self.mapping.get(&supervoxel)).copied().unwrap_or(supervoxel)
    }

    fn blocks(&self, path: &str) -> Vec<u8> {
        let parts: Vec<_> = path.split(['/', '?']).collect();
        let numbers = |text: &str| text.split('_').map(|n| n.parse::<i32>().unwrap() / 8).collect::<Vec<_>>();
        let (size, offset) = (numbers(parts[6]), numbers(parts[7]));
        let mut stream = vec![];
        for (z, y, x) in (0..size[2]).flat_map(|z| (0..size[1]).flat_map(move |y| (0..2).map(move |x| (z, y, x)))) {
            let (z, y, x) = (z + offset[2], y + offset[1], x + offset[0]);
            if x >= offset[0] + size[0] {
                continue;
            }
            let supervoxel = u64::try_from(1 + x + 2 * y + 4 * z).unwrap();
            let label = if path.contains("supervoxels=true") { supervoxel } else { self.body_of(supervoxel) };
            stream.extend([x, y, z, 24].into_iter().flat_map(i32::to_le_bytes));
            stream.extend([1_u32; 4].into_iter().flat_map(u32::to_le_bytes));
            stream.extend(label.to_le_bytes());
        }
        stream
    }
}

fn labelmap_instance(scripted: &ScriptedServer, freshness: Freshness, limit_bytes: usize) -> Instance {
    instance_of(scripted, "seg", INFO.as_bytes().to_vec(), freshness, limit_bytes)
}

/// The label of each of the eight blocks, every voxel of which must have it.
fn labels_of(instance: &Instance, view: View) -> Result<Vec<u64>, Error> {
    let found = instance.fetch_blocks(instance.stored_as(view), Scale::FULL, a_box([0; 3], [2; 3]))?;
    found
        .iter()
        .map(|block| {
            let volume = instance.decode(view, block)?;
            let labels = volume.bytes().as_chunks().0;
            assert!(labels.len() == 512 && labels.iter().all(|label| label == &labels[0]));
            Ok(u64::from_le_bytes(labels[0]))
        })
        .collect()
}

const MAPPING: &[(u64, u64)] = &[(1, 100), (2, 100), (3, 3_000_000_000_000), (4, 0), (99, 100)];
const BODIES: [u64; 8] = [100, 100, 3_000_000_000_000, 0, 5, 6, 7, 8];
const OPEN: Freshness = Freshness::For(Duration::from_secs(5));

#[test]
fn bodies_wait_until_the_mapping_has_stopped_to_grow() {
    let (_, scripted) = labelmap(&MAPPING[..2], &MAPPING[2..]);
    let instance = labelmap_instance(&scripted, Freshness::Forever, 1 << 20);
    assert_eq!(labels_of(&instance, View::Stored).unwrap(), [1, 2, 3, 4, 5, 6, 7, 8]);
    let mut refused = 0;
    while let Err(error) = instance.prepare(View::Bodies) {
        assert_eq!(error.kind(), ErrorKind::MappingLoading, "{error}");
        assert!(!instance.is_ready(View::Bodies) && instance.is_ready(View::Stored));
        assert_eq!(labels_of(&instance, View::Bodies).unwrap_err().kind(), ErrorKind::MappingLoading);
        refused += 1;
        assert!(refused < 10);
    }
    assert_eq!(refused, 2, "three entries were missing, and each attempt downloads twice");
    assert_eq!(instance.stored_as(View::Bodies), View::Stored, "one block serves both views");
    assert_eq!(labels_of(&instance, View::Bodies).unwrap(), BODIES);
    assert_eq!(labels_of(&instance, View::Stored).unwrap(), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(scripted.asked().iter().all(|path| !path.contains("/mapping?")));
}

#[test]
fn the_two_downloads_lie_apart() {
    let (_, scripted) = labelmap(MAPPING, &[]);
    let began = Instant::now();
    labelmap_instance(&scripted, Freshness::Forever, 1 << 20).prepare(View::Bodies).unwrap();
    assert!(began.elapsed() >= APART);
    assert_eq!(scripted.asked().iter().filter(|path| path.contains("/mappings?format=binary")).count(), 2);
}

#[test]
fn a_list_of_mappings_that_cannot_be_right_opens_nothing() {
    for spoil in
        [vec![0; 15], MAPPING[0].0.to_le_bytes().into_iter().chain([7; 8]).collect(), b"error (/api).\n".to_vec()]
    {
        let (state, scripted) = labelmap(MAPPING, &[]);
        state.lock().unwrap().spoil = spoil.clone();
        let instance = labelmap_instance(&scripted, Freshness::Forever, 1 << 20);
        assert_eq!(instance.prepare(View::Bodies).unwrap_err().kind(), ErrorKind::Malformed, "{spoil:?}");
        assert!(!instance.is_ready(View::Bodies));
    }
}

#[test]
fn samples_that_the_server_maps_otherwise_keep_the_gate_closed() {
    let (state, scripted) = labelmap(MAPPING, &[]);
    let instance = labelmap_instance(&scripted, Freshness::Forever, 1 << 20);
    state.lock().unwrap().lies.insert(7, 77);
    assert_eq!(instance.prepare(View::Bodies).unwrap_err().kind(), ErrorKind::MappingLoading);
    state.lock().unwrap().lies.clear();
    assert!(instance.prepare(View::Bodies).is_ok());
}

#[test]
fn a_mapping_larger_than_its_memory_is_looked_up() {
    let (state, scripted) = labelmap(MAPPING, &[]);
    // Room for four entries of the table, and for none to be remembered: the smallest LRU holds one.
    let instance = labelmap_instance(&scripted, Freshness::Forever, 64);
    instance.prepare(View::Bodies).unwrap();
    assert_eq!(instance.stored_as(View::Bodies), View::Bodies);
    assert_eq!(labels_of(&instance, View::Bodies).unwrap(), BODIES);
    let questions = || scripted.requests().iter().filter(|request| request.contains("/mapping?nolookup=true")).count();
    assert!(questions() > 0);
    let instance = labelmap_instance(&scripted, Freshness::Forever, 79);
    instance.prepare(View::Bodies).unwrap();
    state.lock().unwrap().started = Instant::now();
    assert_eq!(labels_of(&instance, View::Bodies).unwrap_err().kind(), ErrorKind::MappingLoading, "after a restart");
    assert!(!instance.is_ready(View::Bodies));
}

#[test]
fn what_was_looked_up_is_not_asked_again() {
    let many: Vec<_> = (0..1000).map(|n| (1000 + n, 7)).chain(MAPPING.iter().copied()).collect();
    let (_, scripted) = labelmap(&many, &[]);
    let instance = labelmap_instance(&scripted, Freshness::Forever, 16_000);
    instance.prepare(View::Bodies).unwrap();
    let questions = || scripted.requests().iter().filter(|request| request.contains("/mapping?nolookup=true")).count();
    for _ in 0..3 {
        assert_eq!(labels_of(&instance, View::Bodies).unwrap(), BODIES);
    }
    let before = questions();
    assert_eq!(labels_of(&instance, View::Bodies).unwrap(), BODIES);
    assert_eq!(questions(), before);
}

#[test]
fn on_an_open_node_the_server_maps_until_it_is_restarted() {
    let (state, scripted) = labelmap(MAPPING, &[]);
    let instance = labelmap_instance(&scripted, OPEN, 1 << 20);
    instance.prepare(View::Bodies).unwrap();
    assert_eq!(instance.stored_as(View::Bodies), View::Bodies);
    assert_eq!(labels_of(&instance, View::Bodies).unwrap(), BODIES);
    state.lock().unwrap().mapping.insert(8, 100);
    assert_eq!(labels_of(&instance, View::Bodies).unwrap()[7], 100, "edits are seen");
    {
        // Restarted, and half loaded: right only after another check.
        let mut state = state.lock().unwrap();
        state.started = Instant::now();
        state.to_load = vec![(1, 100)];
        state.mapping.remove(&1);
    }
    assert_eq!(labels_of(&instance, View::Bodies).unwrap_err().kind(), ErrorKind::MappingLoading);
    assert!(!instance.is_ready(View::Bodies));
    assert_eq!(labels_of(&instance, View::Bodies).unwrap_err().kind(), ErrorKind::MappingLoading);
    while instance.prepare(View::Bodies).is_err() {}
    assert_eq!(labels_of(&instance, View::Bodies).unwrap(), [100, 100, 3_000_000_000_000, 0, 5, 6, 7, 100]);
}

#[test]
fn a_restart_between_two_downloads_is_noticed() {
    let (state, scripted) = labelmap(MAPPING, &[]);
    let instance = labelmap_instance(&scripted, Freshness::Forever, 1 << 20);
    state.lock().unwrap().restart_at = Some(2);
    let error = instance.prepare(View::Bodies).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MappingLoading);
}
