//! Recorded answers of a real server.

use std::sync::Mutex;

use super::super::http_config::HttpConfig;
use super::super::scripted_server::{Act, ScriptedServer, answer, chunked};
use super::super::test_support::{body, recorded, truth};
use super::*;

mod bodies;

const ROOT: &str = "653cea621da34bbcbb12949a4e937b29";
/// Between two downloads of a mapping.
const APART: Duration = Duration::from_millis(30);

fn server_at(scripted: &ScriptedServer) -> Server {
    Server::new(&scripted.origin, HttpConfig::default(), Arc::default()).unwrap()
}

fn state(freshness: Freshness) -> NodeState {
    NodeState { settled: Arc::new(Settled::fixed(freshness)), suspicion: Arc::default() }
}

fn instance_of(
    scripted: &ScriptedServer,
    name: &str,
    json: Vec<u8>,
    freshness: Freshness,
    limit_bytes: usize,
) -> Instance {
    let info = InstanceInfo::parse(name, json).unwrap();
    let memory = Arc::new(MappingMemory::new(limit_bytes));
    let mapping = MappingOptions { apart: APART, memory };
    Instance::new(server_at(scripted), ROOT, &info, &state(freshness), mapping).unwrap()
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
    let mapping = MappingOptions { apart: APART, memory: Arc::new(MappingMemory::new(0)) };
    let instance = Instance::new(server_at(&scripted), node, &info, &state(Freshness::Forever), mapping).unwrap();
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
fn a_block_that_cannot_be_decoded_spoils_the_whole_answer() {
    let fetch = |stream: Vec<u8>| {
        let scripted = ScriptedServer::start(move |request, _| {
            let body = if request.contains("/info") { body("info-gray32") } else { stream.clone() };
            vec![Act::Send(answer(200, &body))]
        });
        recorded_instance(&scripted, "gray32").fetch_blocks(View::Stored, Scale::FULL, a_box([0, 1, 0], [2, 1, 2]))
    };
    let whole = body("subvol-gray32-stored");
    assert!(fetch(whole.clone()).is_ok());
    let mut damaged = whole;
    // The first byte of the LZ4 data of the first block: behind the header of the frame and the size.
    damaged[16 + 4] ^= 0xff;
    assert_eq!(fetch(damaged).unwrap_err().kind(), ErrorKind::Malformed);
}

#[test]
fn only_what_never_changes_is_kept() {
    let scripted = replay();
    let info = InstanceInfo::parse("gray32", body("info-gray32")).unwrap();
    let is_kept = |freshness| {
        let instance = instance_of(&scripted, "gray32", body("info-gray32"), freshness, 1 << 20);
        instance.in_repo(ROOT, ROOT, &info).keeps().is_some()
    };
    assert!(is_kept(Freshness::Forever));
    assert!(!is_kept(Freshness::For(Duration::from_secs(3600))));
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
