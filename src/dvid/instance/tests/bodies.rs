//! A small labelmap whose mapping loads, changes and lies as a test wants.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use super::super::super::scripted_server::{Act, ScriptedServer, answer};
use super::*;

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
    /// What the server answers to questions for single supervoxels, if not by its mapping.
    looked_up: BTreeMap<u64, u64>,
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
        looked_up: BTreeMap::new(),
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
            let body_of = |sv: &u64| self.looked_up.get(sv).copied().unwrap_or_else(|| self.body_of(*sv));
            serde_json::to_vec(&asked.iter().map(body_of).collect::<Vec<_>>()).unwrap()
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
fn what_was_looked_up_before_the_samples_agreed_is_asked_again() {
    let (state, scripted) = labelmap(MAPPING, &[]);
    let instance = labelmap_instance(&scripted, Freshness::Forever, 64 * 96);
    // Too large for its memory.
    state.lock().unwrap().mapping.extend((1000..1400).map(|supervoxel| (supervoxel, 7)));
    state.lock().unwrap().looked_up.insert(7, 77);
    assert_eq!(instance.prepare(View::Bodies).unwrap_err().kind(), ErrorKind::MappingLoading);
    state.lock().unwrap().looked_up.clear();
    instance.prepare(View::Bodies).unwrap();
    assert_eq!(labels_of(&instance, View::Bodies).unwrap(), BODIES);
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
fn the_mappings_of_all_labelmaps_share_their_memory() {
    let (_, scripted) = labelmap(MAPPING, &[]);
    // Room for one table, and almost for another.
    let memory = Arc::new(MappingMemory::new(2 * 16 * MAPPING.len() - 1));
    let info = InstanceInfo::parse("seg", INFO.as_bytes().to_vec()).unwrap();
    for stored in [View::Stored, View::Bodies] {
        let mapping = MappingOptions { apart: APART, memory: Arc::clone(&memory) };
        let instance =
            Instance::new(server_at(&scripted), ROOT, &info, &super::state(Freshness::Forever), mapping).unwrap();
        instance.prepare(View::Bodies).unwrap();
        assert_eq!(instance.stored_as(View::Bodies), stored);
        assert_eq!(labels_of(&instance, View::Bodies).unwrap(), BODIES);
    }
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

/// A mapping as it is kept, part by part.
fn kept_of(instance: &Instance) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
    let (_, kept) = instance.keeps()?;
    let head = kept.mapping_head()?;
    Some((head, (0..).map_while(|part| kept.mapping_part(part)).collect()))
}

/// Whether an instance that has asked for nothing takes a mapping that was kept.
fn is_adopted(instance: &Instance, head: &[u8], parts: &[Vec<u8>]) -> bool {
    let (_, kept) = instance.keeps().unwrap();
    let Some(mut mapping) = kept.begin_mapping(head) else { return false };
    parts.iter().all(|part| mapping.add(part)) && kept.adopt_mapping(mapping)
}

#[test]
fn a_mapping_that_passed_the_gate_is_used_again_if_it_is_whole() {
    // More than one part.
    let many: Vec<_> = (0..40_000).map(|n| (1000 + n, 7)).chain(MAPPING.iter().copied()).collect();
    let (_, scripted) = labelmap(&many, &[]);
    let info = InstanceInfo::parse("seg", INFO.as_bytes().to_vec()).unwrap();
    let fresh = || labelmap_instance(&scripted, Freshness::Forever, 1 << 20).in_repo("r00t", ROOT, &info);
    let first = fresh();
    assert_eq!(kept_of(&first), None, "nothing is given out before the gate is open");
    first.prepare(View::Bodies).unwrap();
    let (head, parts) = kept_of(&first).unwrap();
    assert_eq!(parts.len(), 3);
    let downloads = || scripted.requests().iter().filter(|request| request.contains("/mappings")).count();
    let before = downloads();
    let second = fresh();
    assert!(is_adopted(&second, &head, &parts) && second.is_ready(View::Bodies));
    assert_eq!(labels_of(&second, View::Bodies).unwrap(), BODIES);
    assert_eq!(downloads(), before, "it cost no download");
    let mut wrong = vec![
        ("a part is missing", head.clone(), parts[..2].to_vec()),
        (
            "a part stands in the place of another",
            head.clone(),
            vec![parts[1].clone(), parts[1].clone(), parts[2].clone()],
        ),
        ("a part is cut", head.clone(), vec![parts[0].clone(), parts[1].clone(), parts[2][16..].to_vec()]),
        ("the head is cut", head[..23].to_vec(), parts.clone()),
        ("the head is of a mapping too large", [&[0xff; 8][..], &head[8..]].concat(), parts.clone()),
    ];
    for at in [0, 8, 16, 100] {
        let (mut head, mut parts) = (head.clone(), parts.clone());
        if at < head.len() {
            head[at] ^= 1
        } else {
            parts[1][at] ^= 1
        }
        wrong.push(("a bit is flipped", head, parts));
    }
    for (what, head, parts) in &wrong {
        let third = fresh();
        assert!(!is_adopted(&third, head, parts), "{what}");
        assert!(!third.is_ready(View::Bodies), "{what}");
    }
    let open = labelmap_instance(&scripted, OPEN, 1 << 20).in_repo("r00t", ROOT, &info);
    open.prepare(View::Bodies).unwrap();
    assert_eq!(kept_of(&open), None, "of a node that may change nothing is kept");
    // What was not used gives its memory back.
    let small = labelmap_instance(&scripted, Freshness::Forever, 16 * many.len()).in_repo("r00t", ROOT, &info);
    for _ in 0..3 {
        assert!(!is_adopted(&small, &head, &parts[..2]));
    }
    assert!(is_adopted(&small, &head, &parts));
}
