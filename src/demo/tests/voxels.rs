//! What the endpoints hold, against the pure function, by decoders that share nothing with the encoders.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use super::*;
use crate::geometry::{BlockIndex, Coordinate, Scale, VoxelBox};

const TRUTH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/dvid-wire/truth");

/// Transcribed from the description of DVID's label block, bit by bit.
fn decode_label_block(bytes: &[u8]) -> Vec<u64> {
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let [gx, gy, gz, n] = [u32_at(0), u32_at(4), u32_at(8), u32_at(12)];
    let label = |i: usize| u64::from_le_bytes(bytes[16 + 8 * i..24 + 8 * i].try_into().unwrap());
    let (nx, ny, nz) = (gx * 8, gy * 8, gz * 8);
    if n == 1 {
        assert_eq!(bytes.len(), 24);
        return vec![label(0); nx * ny * nz];
    }
    let counts_at = 16 + 8 * n;
    let count = |s: usize| usize::from(u16::from_le_bytes(bytes[counts_at + 2 * s..][..2].try_into().unwrap()));
    let mut index_at = counts_at + 2 * gx * gy * gz;
    let mut bit = 8 * (index_at + 4 * (0..gx * gy * gz).map(count).sum::<usize>());
    let mut out = vec![0; nx * ny * nz];
    for s in 0..gx * gy * gz {
        let bits = count(s).next_power_of_two().trailing_zeros();
        for v in 0..512 {
            let mut value = 0;
            for _ in 0..bits {
                value = value << 1 | usize::from(bytes[bit / 8] >> (7 - bit % 8) & 1);
                bit += 1;
            }
            assert!(value < count(s));
            let [x, y, z] = [s % gx * 8 + v % 8, s / gx % gy * 8 + v / 8 % 8, s / (gx * gy) * 8 + v / 64];
            out[(z * ny + y) * nx + x] = label(u32_at(index_at + 4 * value));
        }
        bit = bit.div_ceil(8) * 8;
        index_at += 4 * count(s);
    }
    assert_eq!(bit, 8 * bytes.len(), "every byte is used");
    out
}

fn gunzip(member: &[u8]) -> Vec<u8> {
    let size = u32::from_le_bytes(*member.last_chunk().unwrap()) as usize;
    let mut bytes = vec![0; size];
    assert_eq!(libdeflater::Decompressor::new().gzip_decompress(member, &mut bytes).unwrap(), size);
    bytes
}

fn le_bytes(labels: &[u64]) -> Vec<u8> {
    labels.iter().flat_map(|label| label.to_le_bytes()).collect()
}

/// The voxels of a payload, by the form in which it was asked for.
fn decoded(spec: &InstanceSpec, payload: &[u8], compression: &str, size: usize) -> Vec<u8> {
    match (compression, spec.kind, spec.stored) {
        ("uncompressed", ..) | ("", Kind::Image(_) | Kind::Rgba, Stored::None) => payload.to_vec(),
        ("blocks", ..) => le_bytes(&decode_label_block(&gunzip(payload))),
        ("lz4", ..) => lz4_flex::block::decompress(payload, size).unwrap(),
        ("gzip", ..) | ("", Kind::Image(_) | Kind::Rgba, Stored::Gzip) => gunzip(payload),
        ("", Kind::Image(_) | Kind::Rgba, Stored::Lz4) => {
            assert_eq!(u32::from_le_bytes(payload[..4].try_into().unwrap()) as usize, size);
            lz4_flex::block::decompress(&payload[4..], size).unwrap()
        }
        ("", Kind::Image(_), Stored::Snappy) => snap::raw::Decoder::new().decompress_vec(payload).unwrap(),
        ("" | "jpeg", Kind::Image(_), Stored::Jpeg) => {
            jpeg_decoder::Decoder::new(Cursor::new(payload)).decode().unwrap()
        }
        other => panic!("{other:?}"),
    }
}

/// What a box holds, voxel by voxel.
fn expected(demo: &Demo, version: usize, spec: &InstanceSpec, scale: Scale, bodies: bool, voxels: VoxelBox) -> Vec<u8> {
    let data = demo.dataset();
    let size = spec.dtype().unwrap().itemsize() * spec.channels().unwrap_or(1);
    let value = |voxel| match data.voxel_at(version, spec, scale, voxel) {
        stored if bodies => data.body_of(version, &spec.name, stored),
        stored => stored,
    };
    voxels.indices().flat_map(|voxel| value(voxel).to_le_bytes()[..size].to_vec()).collect()
}

fn underscored(c: Coordinate) -> String {
    format!("{}_{}_{}", c.x(), c.y(), c.z())
}

/// The path of an instance, its name escaped.
fn path(version: usize, name: &str) -> String {
    let name: String = name
        .bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    format!("/api/node/{}/{name}", VERSIONS[version].uuid)
}

/// Every block of a scale of an instance, by an endpoint that sends frames.
fn check_blocks(demo: &Demo, spec: &InstanceSpec, version: usize, scale: Scale, compression: &str, bodies: bool) {
    let (grid, data) = (spec.grid(), spec.data.at_scale(scale));
    let blocks = grid.block_range(data);
    let voxels = grid.voxels_of(blocks);
    let endpoint = if matches!(spec.kind, Kind::Image(_) | Kind::Rgba) { "subvolblocks" } else { "blocks" };
    let target = format!(
        "{}/{endpoint}/{}/{}?compression={compression}&scale={scale}&supervoxels={}",
        path(version, &spec.name),
        underscored(voxels.shape()),
        underscored(voxels.begin()),
        !bodies,
    );
    let answer = get(demo, &target);
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    let frames = answer.frames();
    let by_place: BTreeMap<_, _> = frames.iter().cloned().collect();
    assert_eq!(by_place.len(), frames.len(), "no block twice in {target}");
    for block in blocks.blocks() {
        let block_box = grid.block_box(block);
        let wanted = expected(demo, version, spec, scale, bodies, block_box);
        let [z, y, x] = block.0.axes().map(|n| i32::try_from(n).unwrap());
        match by_place.get(&[x, y, z]) {
            Some(payload) => {
                assert!(decoded(spec, payload, compression, wanted.len()) == wanted, "{target}: {block:?}")
            }
            None => {
                assert!(!spec.is_stored(scale, block) && wanted.iter().all(|&byte| byte == 0), "{target}: {block:?}");
            }
        }
    }
}

#[test]
fn every_block_of_every_instance_holds_the_pure_function() {
    let demo = start(Vec::new());
    for spec in demo.dataset().instances().filter(|spec| spec.dtype().is_some()) {
        match spec.kind {
            Kind::Image(_) | Kind::Rgba => check_blocks(&demo, spec, 0, Scale::FULL, "", false),
            Kind::LabelBlk => check_blocks(&demo, spec, 0, Scale::FULL, "lz4", false),
            Kind::LabelArray(_) | Kind::LabelMap(_) => {
                for scale in (0..=spec.max_scale().0).map(Scale) {
                    check_blocks(&demo, spec, 0, scale, "blocks", matches!(spec.kind, Kind::LabelMap(_)));
                }
            }
            Kind::Other(_) => unreachable!("it has no voxels"),
        }
    }
}

#[test]
fn other_versions_and_other_compressions_hold_it_too() {
    let demo = start(Vec::new());
    let spec = |name: &str| demo.dataset().instance(name).unwrap();
    for version in [1, 2, 3] {
        check_blocks(&demo, &spec("gray"), version, Scale::FULL, "uncompressed", false);
        check_blocks(&demo, &spec("unversioned"), version, Scale::FULL, "", false);
        check_blocks(&demo, &spec("seg32"), version, Scale::FULL, "gzip", true);
    }
    check_blocks(&demo, &spec("gray_jpeg"), 0, Scale::FULL, "jpeg", false);
    check_blocks(&demo, &spec("seg48"), 0, Scale(1), "lz4", false);
    check_blocks(&demo, &spec("labelblk"), 0, Scale::FULL, "uncompressed", false);
}

#[test]
fn versions_differ_where_they_should() {
    let demo = start(Vec::new());
    let data = demo.dataset();
    let (gray, unversioned) = (data.instance("gray").unwrap(), data.instance("unversioned").unwrap());
    let at = |version, spec: &InstanceSpec| data.voxel_at(version, spec, Scale::FULL, Coordinate::splat(3));
    assert_eq!((at(0, &gray), at(1, &gray), 255 - at(2, &gray)), (at(1, &gray), at(4, &gray), at(0, &gray)));
    assert_eq!(at(0, &unversioned), at(2, &unversioned));
    assert_ne!(data.mapping(0, "segmentation"), data.mapping(1, "segmentation"));
    assert!(data.mapping(0, "segmentation").values().any(|&body| body == 0));
}

#[test]
fn raw_is_the_pure_function_at_any_place() {
    let demo = start(Vec::new());
    for spec in demo.dataset().instances().filter(|spec| spec.dtype().is_some() && !spec.bucket) {
        // Across the first corner of the data, and across block borders.
        let begin = spec.data.begin() - Coordinate::new(2, 3, 5);
        let voxels = VoxelBox::from_shape(begin, Coordinate::new(20, 40, 45)).unwrap();
        let bodies = matches!(spec.kind, Kind::LabelMap(_));
        for scale in [Scale::FULL, spec.max_scale().min(Scale(1))] {
            let target = format!(
                "{}/raw/0_1_2/{}/{}?scale={scale}",
                path(0, &spec.name),
                underscored(voxels.shape()),
                underscored(begin)
            );
            assert!(get(&demo, &target).body == expected(&demo, 0, spec, scale, bodies, voxels), "{target}");
        }
    }
}

#[test]
fn specific_blocks_come_in_any_order_and_missing_ones_not_at_all() {
    let demo = start(Vec::new());
    for (name, query, endpoint) in [
        ("holes", "compression=uncompressed", "subvolblocks"),
        ("seg32", "compression=uncompressed&supervoxels=true", "blocks"),
        ("labelarray", "", "blocks"),
    ] {
        let spec = demo.dataset().instance(name).unwrap();
        let range = spec.grid().block_range(spec.data);
        let blocks: Vec<BlockIndex> = range.blocks().collect();
        let asked: Vec<_> = blocks.iter().map(|block| underscored(block.0).replace('_', ",")).collect();
        let target = format!("{}/specificblocks?blocks={}&{query}", path(0, name), asked.join(","));
        let orders: Vec<Vec<[i32; 3]>> =
            (0..5).map(|_| get(&demo, &target).frames().into_iter().map(|frame| frame.0).collect()).collect();
        assert!(orders.iter().any(|order| *order != orders[0]), "{name}");
        let voxels = spec.grid().voxels_of(range);
        let compression = if name == "labelarray" { "blocks" } else { "uncompressed" };
        let whole = format!(
            "{}/{endpoint}/{}/{}?compression={compression}&supervoxels=true",
            path(0, name),
            underscored(voxels.shape()),
            underscored(voxels.begin())
        );
        let sorted = |target: &str| get(&demo, target).frames().into_iter().collect::<BTreeMap<_, _>>();
        assert!(sorted(&target) == sorted(&whole), "{name}");
        assert!(orders[0].len() < blocks.len() || name != "holes");
    }
}

#[test]
fn an_array_of_ones_own_is_served_at_all_its_scales() {
    let truth = |name: &str| NpyVolume::open(&Path::new(TRUTH).join(name)).unwrap();
    let volumes = vec![("mine".to_owned(), truth("gray.npy")), ("wide".to_owned(), truth("supervoxels.npy"))];
    let demo = Demo::start(DemoOptions { dataset: Dataset::of_volumes(volumes), ..DemoOptions::default() }).unwrap();
    for (name, typename) in [("mine", "uint8blk"), ("wide", "uint16blk")] {
        assert!(
            get(&demo, &format!("{}/info", path(0, name))).text().contains(&format!("\"TypeName\":\"{typename}\""))
        );
        check_blocks(&demo, &demo.dataset().instance(name).unwrap(), 0, Scale::FULL, "", false);
    }
    let raw = get(&demo, &format!("{}/raw/0_1_2/64_64_64/0_0_0", path(0, "mine")));
    assert!(
        std::fs::read(Path::new(TRUTH).join("gray.npy")).unwrap().ends_with(&raw.body) && raw.body.len() == 64 << 12
    );

    // Labels: a cube of 9 in a larger one of 2^61 + 5, so that scales have something to vote on.
    let shape = Coordinate::new(130, 70, 100);
    let labels: Vec<u64> = VoxelBox::from_shape(Coordinate::ZERO, shape)
        .unwrap()
        .indices()
        .map(|voxel| if voxel.all_lt(Coordinate::splat(31)) { 9 } else { (1 << 61) + 5 })
        .collect();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let header = format!("{{'descr': '<u8', 'fortran_order': False, 'shape': (130, 70, 100), }}{:54}\n", "");
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    std::io::Write::write_all(
        &mut file,
        &[b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), &le_bytes(&labels)].concat(),
    )
    .unwrap();
    let dataset = Dataset::of_volumes(vec![("labels".to_owned(), NpyVolume::open(file.path()).unwrap())]);
    let demo = Demo::start(DemoOptions { dataset, ..DemoOptions::default() }).unwrap();
    let spec = demo.dataset().instance("labels").unwrap();
    assert_eq!(spec.kind, Kind::LabelMap(2), "130 >> 2 fits in a block");
    let raw = get(&demo, &format!("{}/raw/0_1_2/100_70_130/0_0_0?supervoxels=false", path(0, "labels")));
    assert!(raw.body == le_bytes(&labels), "bodies are supervoxels");
    for scale in [0, 1, 2].map(Scale) {
        check_blocks(&demo, &spec, 0, scale, "blocks", true);
    }
    let voted = |at| demo.dataset().voxel_at(0, &spec, Scale(1), Coordinate::splat(at));
    assert_eq!((voted(14), voted(15)), (9, (1 << 61) + 5));
}

#[test]
fn petavoxels_have_every_size_of_voxel_and_levels() {
    let dataset = Dataset::petavoxel();
    assert!(
        dataset
            .instances()
            .filter(|spec| spec.coarser_by == Scale::FULL)
            .all(|spec| spec.data.n_voxels() >= 1_000_000_000_000_000)
    );
    let sizes: std::collections::BTreeSet<_> = dataset.instances().map(InstanceSpec::voxel_bytes).collect();
    assert_eq!(sizes, [1, 2, 4, 8].into());
    let coarsest = dataset.instance("grayscale_7").unwrap();
    assert_eq!(coarsest.data.shape(), Coordinate::splat(784));
    let far = Coordinate::splat(783);
    assert!(dataset.values(0, &coarsest, Scale::FULL, VoxelBox::from_shape(far, Coordinate::ONE).unwrap()) != [0]);
}

#[test]
fn petavoxels_are_served_anywhere() {
    let demo = Demo::start(DemoOptions { dataset: Dataset::large(), ..DemoOptions::default() }).unwrap();
    let spec = demo.dataset().instance("grayscale").unwrap();
    assert!(spec.data.n_voxels() >= 1_000_000_000_000_000);
    let block = Coordinate::new(1234, 777, 1562);
    let target =
        format!("/api/node/a40d/grayscale/subvolblocks/64_64_64/{}", underscored(block * Coordinate::splat(64)));
    let frames = get(&demo, &target).frames();
    let wanted = expected(&demo, 0, &spec, Scale::FULL, false, spec.grid().block_box(BlockIndex(block)));
    assert!(frames[0].0 == [1562, 777, 1234] && decoded(&spec, &frames[0].1, "", wanted.len()) == wanted);
}

#[test]
fn the_values_of_a_box_are_those_of_its_voxels() {
    let dataset = Dataset::test();
    for (name, scale) in [("holes", 0), ("neg", 0), ("segmentation", 0), ("segmentation", 2), ("seg32", 1), ("f32", 0)]
    {
        let (spec, scale) = (dataset.instance(name).unwrap(), Scale(scale));
        let begin = spec.data.at_scale(scale).begin() - Coordinate::new(2, 3, 5);
        let wanted = VoxelBox::from_shape(begin, Coordinate::new(9, 40, 41)).unwrap();
        let one_by_one: Vec<u64> = wanted.indices().map(|voxel| dataset.voxel_at(2, &spec, scale, voxel)).collect();
        assert!(dataset.values(2, &spec, scale, wanted) == one_by_one, "{name} {scale}");
    }
}
