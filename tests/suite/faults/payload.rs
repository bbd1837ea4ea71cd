//! D: answers that came whole, and hold what cannot be right.

use std::sync::Arc;

use dvidfs::demo::LabelDamage;
use dvidfs::dvid::{Address, Block, FetchBlocks, HttpConfig, Node, NodeOptions, Server, View};
use dvidfs::geometry::{BlockBox, BlockIndex, Scale};

use super::*;

/// What the memory of a daemon may grow by while it refuses a bomb.
const BOMB_BYTES: u64 = 8 << 20;
/// The blocks of one request, and what the allocator keeps of them.
const REQUEST_BYTES: u64 = 16 << 20;

fn frame_faults() -> Vec<Case> {
    let codes = &["bad_frame"];
    vec![
        // First, for it needs an answer of more than one frame, which chunks with holes do not give.
        ok("D9", FaultKind::Permuted, &[]),
        eio("D1", FaultKind::OneShort, &["bad_frame", "bad_length"]).asked(3),
        eio("D2", FaultKind::OneLong, &["bad_frame", "bad_length"]),
        eio("D3", FaultKind::CutHeader { left: 1 }, codes),
        eio("D3", FaultKind::CutHeader { left: 15 }, codes),
        eio("D4", FaultKind::StrangeBlock, codes),
        eio("D5", FaultKind::DuplicateBlock, codes),
        eio("D6", FaultKind::FrameLength { length: -1 }, codes).within_memory(REQUEST_BYTES),
        eio("D6", FaultKind::FrameLength { length: i32::MAX }, codes).within_memory(REQUEST_BYTES),
        eio("D6", FaultKind::FrameLength { length: 1 << 24 }, codes).within_memory(REQUEST_BYTES),
        eio("D7", FaultKind::FrameLength { length: 0 }, codes),
        eio("D7", FaultKind::EmptyFrame, codes),
    ]
}

fn label_faults() -> Vec<Case> {
    let damage = |id, damage| eio(id, FaultKind::LabelBlock { damage }, &["bad_block"]);
    vec![
        damage("D15", LabelDamage::Shape),
        damage("D16", LabelDamage::NoLabels),
        damage("D16", LabelDamage::TooManyLabels),
        damage("D16", LabelDamage::OverflowingLabels),
        damage("D17", LabelDamage::TooManyInSubBlock),
        damage("D17", LabelDamage::IndexOutOfRange),
        damage("D17", LabelDamage::ValueOutOfRange),
        damage("D18", LabelDamage::BitsShort),
        damage("D18", LabelDamage::BytesLeft),
        eio("D11", FaultKind::CutPayload, &["bad_gzip"]),
        eio("D11", FaultKind::PayloadGarbage, &["bad_gzip"]),
        eio("D11", FaultKind::PayloadTwice, &["bad_gzip"]),
        eio("D12", FaultKind::GzipBomb { mib: 2048 }, &["over_limit"]).within_memory(BOMB_BYTES),
        eio("D12", FaultKind::LyingBomb { mib: 2048 }, &["bad_gzip", "over_limit"]).within_memory(BOMB_BYTES),
        ok("D20", FaultKind::PayloadInflated, &[]).times(ALWAYS),
        eio("D20", FaultKind::InflatedAndCut, &["bad_block"]),
    ]
}

#[test]
fn every_fault_of_the_frames_of_an_answer_is_survived() {
    survive_all(&frame_faults(), &["u16", "u32", "u64", "f32", "holes"], "", "subvolblocks");
}

#[test]
fn every_fault_of_a_label_block_is_survived() {
    survive_all(&label_faults(), &["segmentation"], "supervoxels", "blocks");
}

#[test]
fn a_damaged_lz4_block_is_refused() {
    let cases = [
        eio("D13", FaultKind::Lz4Bomb, &["bad_lz4", "bad_length"]).within_memory(BOMB_BYTES),
        eio("D13", FaultKind::Lz4BadOffset, &["bad_lz4", "bad_length"]),
        eio("D13", FaultKind::CutPayload, &["bad_lz4", "bad_length"]),
    ];
    survive_all(&cases, &["gray"], "", "subvolblocks");
}

#[test]
fn a_damaged_jpeg_is_refused() {
    let codes = &["bad_jpeg"];
    let cases = [
        eio("D19", FaultKind::OtherJpeg { side: 32 }, codes),
        eio("D19", FaultKind::HugeJpeg, codes).within_memory(BOMB_BYTES),
        eio("D19", FaultKind::CutPayload, codes),
        eio("D19", FaultKind::ManyScans, codes).within_memory(BOMB_BYTES),
    ];
    survive_all(&cases, &["gray_jpeg"], "", "subvolblocks");
}

#[test]
fn a_block_that_a_clean_stream_leaves_out_is_the_fill_value() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let demo = test_demo(&["gray"]);
    let mut mounted = mounted(&demo, &[]);
    let target = &targets(&mounted, demo.dataset(), &["gray"], "", "subvolblocks")[0];
    let survival = Survival::begin("D8", &mounted);
    demo.set_faults(vec![Fault {
        matches: target.matches.clone(),
        nth: 0,
        count: ALWAYS,
        kind: FaultKind::BlockLeftOut,
    }]);
    assert_eq!(read(target), Ok(vec![0; target.expected.len()]), "D8");
    survival.end(&mut mounted, demo.fault_hits(0), &[], target.expected.len() as u64);
}

#[test]
fn a_mapping_that_is_still_loaded_gives_no_wrong_body() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let loading = Duration::from_secs(12);
    let dataset = Dataset::test().only(&["segmentation"]);
    let options = DemoOptions { dataset, mapping_loads_for: loading, ..DemoOptions::default() };
    let demo = Demo::start(options).unwrap();
    let started = Instant::now();
    let source = format!("{}/a40d", demo.origin());
    let mut mounted = Mounted::new(&source, &["--settle", "0"]);
    let survival = Survival::begin("D23", &mounted);
    let level = &levels(&mounted.root().join("segmentation"))[0];
    let spec = demo.dataset().instance("segmentation").unwrap();
    assert!(started.elapsed() < loading, "the mapping must still be loading when the reads begin");
    let n_chunks = level.shape.div_ceil(level.chunk_shape);
    let mut compared = 0;
    for index in VoxelBox::from_shape(Coordinate::ZERO, n_chunks).unwrap().indices() {
        let chunk = chunk_of(level, index);
        let expected = file_values(demo.dataset(), 0, &spec, level.scale, true, chunk.voxels);
        if chunk.path.exists() {
            assert!(fs::read(&chunk.path).unwrap() == expected, "D23: wrong bodies in {}", chunk.path.display());
            compared += expected.len() as u64;
        }
    }
    // Two downloads open the gate; more of them show that it was kept closed.
    let downloads = demo.count("mappings") as u64;
    survival.end(&mut mounted, downloads.saturating_sub(2), &["mapping_loading"], compared);
}

/// A node of a demo without a mount: each fetch is one attempt.
fn node(demo: &Demo) -> Node {
    let address: Address = format!("{}/a40d", demo.origin()).parse().unwrap();
    let options = NodeOptions { settle: Duration::ZERO, ..NodeOptions::default() };
    Node::open(&address, HttpConfig::default(), options, Arc::default()).unwrap()
}

/// Every single bit of a compressed label block, each flipped once: an error, or the same voxels. A payload of 4,096
/// bytes and more is flipped at 4,096 places.
fn flip_bits(demo: &Demo, name: &str, place: [i64; 3], most: usize) -> (usize, u64) {
    let node = node(demo);
    let info = node.instances.iter().find(|info| info.name == name).unwrap();
    let instance = node.instance(info).unwrap();
    let block = BlockBox::one(BlockIndex(place.into()));
    let fetch = || instance.fetch_blocks(View::Stored, Scale::FULL, block);
    let voxels = |blocks: &[Block]| instance.decode(View::Stored, &blocks[0]).unwrap().bytes().to_vec();
    let right = voxels(&fetch().unwrap());
    assert!(right.iter().any(|&byte| byte != 0), "{name}: nothing is stored there");
    let request = demo.requests().iter().rfind(|request| request.contains("blocks/")).unwrap().clone();
    let path = request.trim_start_matches("GET ").replace("&app=dvidfs", "");
    let server = Server::new(&demo.origin(), HttpConfig::default(), Arc::default()).unwrap();
    let n_bits = server.get(&path, 1 << 20).unwrap().len() * 8 - 16 * 8;
    let step = n_bits.div_ceil(most).max(1);
    let (mut refused, mut compared) = (0, 0);
    for bit in (0..n_bits).step_by(step) {
        // Bits are counted from the highest of a byte in one run and from the lowest in the other: all are met.
        demo.set_faults(vec![Fault::always("blocks/", FaultKind::FlippedBit { bit })]);
        match fetch() {
            Ok(blocks) => {
                assert!(voxels(&blocks) == right, "D10: bit {bit} of {name} gives wrong voxels");
                compared += right.len() as u64;
            }
            Err(error) => {
                assert!(
                    matches!(error.code(), "bad_crc" | "bad_gzip" | "bad_length" | "over_limit" | "bad_block"),
                    "{error:?}"
                );
                refused += 1;
            }
        }
        assert!(demo.fault_hits(0) > 0, "D10: bit {bit} was never flipped");
    }
    demo.set_faults(Vec::new());
    println!("D10: {refused} flipped bits of {name} were refused, {} did no harm", n_bits.div_ceil(step) - refused);
    assert!(refused * 10 > n_bits.div_ceil(step) * 9, "most of the bits matter");
    (n_bits.div_ceil(step), compared)
}

#[test]
fn no_flipped_bit_of_a_gzip_member_gives_a_wrong_voxel() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(240));
    let demo = test_demo(&["seg32", "segmentation", "gray_gzip"]);
    // A small block in each of its bits, large ones in 4,096 of them.
    let (n_small, small) = flip_bits(&demo, "seg32", [1, 2, 1], usize::MAX);
    let (n_large, large) = flip_bits(&demo, "segmentation", [0, 0, 1], 4096);
    // Not even where the server would send the same voxels without a checksum, too.
    let (n_gray, gray) = flip_bits(&demo, "gray_gzip", [0, 0, 0], 4096);
    figure(
        "R29",
        format!("{n_small} bits of a small gzip answer, {n_large} and {n_gray} of large ones, 0 wrong bytes"),
        "every bit, 0 wrong",
    );
    let mut mounted = mounted(&demo, &[]);
    let targets = targets(&mounted, demo.dataset(), &["segmentation"], "supervoxels", "blocks");
    let survival = Survival::begin("D10", &mounted);
    // Behind the header, before the checksum, in the checksum.
    let mut happened = 0;
    for (bit, target) in [8 * 200, 8 * 3000 + 5, 8 * 5000 + 7].into_iter().zip(&targets) {
        let flipped = eio("D10", FaultKind::FlippedBit { bit }, &["bad_crc", "bad_gzip"]);
        happened += survive(&flipped, target, &demo, &mut mounted).0;
    }
    survival.end(&mut mounted, happened, &["bad_crc", "bad_gzip"], small + large + gray);
}

/// No checksum tells of a bit that is flipped in stored gray, or in labels that come as bare LZ4: a second endpoint does.
fn survive_verified(id: &'static str, name: &str, endpoint: &str, bits: [usize; 2]) {
    let demo = test_demo(&[name]);
    let mut mounted = mounted(&demo, &["--verify", "1"]);
    let targets = targets(&mounted, demo.dataset(), &[name], "", endpoint);
    // A byte among literals, which both forms take for a voxel.
    let flipped = |bit| eio(id, FaultKind::FlippedBit { bit }, &["verify_mismatch", "bad_lz4", "bad_length"]);
    let survival = Survival::begin(id, &mounted);
    let first = survive(&flipped(bits[0]), &targets[0], &demo, &mut mounted);
    let second = survive(&flipped(bits[1]), &targets[1], &demo, &mut mounted);
    survival.end(&mut mounted, first.0 + second.0, &["verify_mismatch"], first.1 + second.1);
}

#[test]
fn a_flipped_bit_that_no_checksum_tells_is_found_by_a_second_endpoint() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let bits = [8 * 1000 + 2, 8 * 20_000 + 7];
    survive_verified("D21", "gray_none", "subvolblocks", bits);
    survive_verified("D14", "gray", "subvolblocks", bits);
    survive_verified("D14", "labelblk", "blocks", [8 * 100 + 2, 8 * 300 + 1]);
    // Labels of types that have a form with a checksum are asked for in that.
    let demo = test_demo(&["segmentation", "labelarray"]);
    let mounted = mounted(&demo, &[]);
    for (name, view) in [("segmentation", "supervoxels"), ("labelarray", "")] {
        let target = targets(&mounted, demo.dataset(), &[name], view, "blocks").swap_remove(0);
        assert_eq!(read(&target).as_ref(), Ok(&target.expected));
    }
    assert_eq!(demo.count("lz4"), 0, "D14: labels were asked for as LZ4");
    assert!(demo.count("compression=blocks") > 1);
}
