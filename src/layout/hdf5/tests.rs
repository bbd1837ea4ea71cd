//! The header against what libhdf5 2.0.0 writes for the same datasets, and the chunks against a loop over voxels.

use std::collections::BTreeMap;
use std::ops::Range;

use proptest::prelude::*;

use super::super::numbered::{header as first_bytes, image, read, teravoxels, voxel_bytes};
use super::super::test_support::gray;
use super::fixed_array::tests::{by_address, hex};
use super::lookup3::lookup3;
use super::*;
use crate::geometry::{Coordinate, VoxelBox};
use crate::voxels::Dtype;

/// A message of an object header: type, flags, body.
type Message = (u8, u8, Vec<u8>);

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// The messages of the object header at an address, once its checksum is right.
fn messages(file: &[u8], at: u64) -> Vec<Message> {
    let header = &file[usize::try_from(at).unwrap()..];
    assert_eq!(&header[..6], b"OHDR\x02\x02");
    let end = 10 + usize::try_from(number(&header[6..10])).unwrap();
    assert_eq!(number(&header[end..end + 4]), u64::from(lookup3(&header[..end])));
    let (mut at, mut messages) = (10, Vec::new());
    while at < end {
        let body = at + 4..at + 4 + usize::try_from(number(&header[at + 1..at + 3])).unwrap();
        messages.push((header[at], header[at + 3], header[body.clone()].to_vec()));
        at = body.end;
    }
    assert_eq!(at, end);
    messages
}

/// Name and address of each dataset.
fn links(file: &[u8]) -> Vec<(String, u64)> {
    assert_eq!(number(&file[36..44]), ROOT);
    let link = |(kind, _, body): Message| {
        let end = 3 + usize::from(*body.get(2)?);
        (kind == 0x06).then(|| (String::from_utf8(body[3..end].to_vec()).unwrap(), number(&body[end..])))
    };
    messages(file, ROOT).into_iter().filter_map(link).collect()
}

/// The index of a dataset, as its header tells it.
struct Index {
    header: u64,
    page_bits: u8,
    n_chunks: u64,
    data_block: u64,
}

/// The index that the layout of a dataset names, once its checksum is right.
fn index_of(file: &[u8], dataset: u64) -> Index {
    let messages = messages(file, dataset);
    let (_, _, layout) = messages.iter().find(|(kind, ..)| *kind == 0x08).unwrap();
    let header = number(&layout[layout.len() - 8..]);
    let found = &file[usize::try_from(header).unwrap()..][..28];
    assert_eq!(&found[..7], b"FAHD\0\0\x08");
    assert_eq!(number(&found[24..]), u64::from(lookup3(&found[..24])));
    assert_eq!(found[7], layout[layout.len() - 9]);
    Index { header, page_bits: found[7], n_chunks: number(&found[8..16]), data_block: number(&found[16..24]) }
}

/// Where chunks of a dataset stand.
fn addresses(spec: &ArraySpec, dataset: u64, chunks: Range<u64>) -> Vec<u64> {
    let file = file(spec).unwrap();
    let Index { page_bits, n_chunks, data_block, .. } = index_of(&first_bytes(&file), dataset);
    let n_pages = n_chunks.div_ceil(1 << page_bits);
    let begin = data_block + 14 + if n_pages > 1 { n_pages.div_ceil(8) + 4 } else { 0 };
    let address = |chunk| {
        let at = begin + chunk * 8 + (chunk >> page_bits) * 4;
        number(&read(&file, spec, at..at + 8))
    };
    chunks.map(address).collect()
}

fn metadata(spec: &ArraySpec) -> Vec<u8> {
    first_bytes(&file(spec).unwrap())
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// A dataspace without the maximal dimensions, which libhdf5 writes after the others and which are the same.
fn without_maximum(dataspace: &[u8]) -> Vec<u8> {
    let n = 8 * usize::from(dataspace[1]);
    assert_eq!((dataspace[2], &dataspace[4..4 + n]), (1, &dataspace[4 + n..4 + 2 * n]));
    [&[2, dataspace[1], 0, 1], &dataspace[4..4 + n], &dataspace[4 + 2 * n..]].concat()
}

/// A message as libhdf5 writes it, in the spelling of this layout.
fn from_libhdf5(kind: u8, flags: u8, hex: &str) -> Message {
    let mut body = bytes(hex);
    if kind == 0x01 {
        body = without_maximum(&body);
    }
    if kind == 0x0c {
        let [name, datatype] = [2, 4].map(|at| usize::from(body[at]));
        let at = 9 + name + datatype;
        let dataspace = without_maximum(&body[at..]);
        body.truncate(at);
        body.extend(dataspace);
        body[6] = 12;
    }
    (kind, flags, body)
}

#[test]
fn superblocks_are_those_of_a_file_that_hdf5_opened() {
    let ends = [
        (4096, "894844460d0a1a0a030808000000000000000000ffffffffffffffff0010804303e70100300000000000000092ffc8a3"),
        (8192, "894844460d0a1a0a030808000000000000000000ffffffffffffffff0020804303e70100300000000000000044a9ef58"),
    ];
    for (more, hex) in ends {
        assert_eq!(superblock(535_476_180_090_880 + more, 48), bytes(hex));
    }
    let hex = "894844460d0a1a0a030808000000000000000000ffffffffffffffff00cb8f1200000000300000000000000097e74fa9";
    assert_eq!(superblock(0x128f_cb00, 48), bytes(hex));
}

/// The messages of `s0` of the running example.
const S0: [(u8, u8, &str); 12] = [
    (
        0x01,
        0,
        "02030101180100000000000070040000000000008802000000000000180100000000000070040000000000008802000000000000",
    ),
    (0x03, 1, "100000000100000000000800"),
    (0x05, 1, "0305"),
    (0x08, 0, "040200040140404001030a7209000000000000"),
    (0x15, 4, "0000ffffffffffffffffffffffffffffffff"),
    (
        0x0c,
        0,
        "03000b000c00140000766f78656c5f73697a65001008000008000000000040000201010103000000000000000300000000000000080000000000000008000000000000000800000000000000",
    ),
    (
        0x0c,
        0,
        "03000b000c001400007265736f6c7574696f6e001008000008000000000040000201010103000000000000000300000000000000080000000000000008000000000000000800000000000000",
    ),
    (
        0x0c,
        0,
        "030007000c001400006f66667365740010080000080000000000400002010101030000000000000003000000000000000000000000000000000000000000000000f0ffffffffffff",
    ),
    (
        0x0c,
        0,
        "030006000800140000756e69747300130000000300000002010101030000000000000003000000000000006e6d006e6d006e6d00",
    ),
    (
        0x0c,
        0,
        "03000b000800140000617869735f6e616d657300130000000200000002010101030000000000000003000000000000007a0079007800",
    ),
    (
        0x0c,
        0,
        "03000600080014000074797065730013000000060000000201010103000000000000000300000000000000737061636500737061636500737061636500",
    ),
    (
        0x0c,
        0,
        "030010001400140000656c656d656e745f73697a655f756d0011203f000800000000004000340b0034ff0300000201010103000000000000000300000000000000fca9f1d24d62803ffca9f1d24d62803ffca9f1d24d62803f",
    ),
];

#[test]
fn the_running_example_has_the_messages_that_libhdf5_writes() {
    let metadata = metadata(&gray());
    let links = links(&metadata);
    assert_eq!(links.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["s0", "s1", "s2", "s3"]);
    let expected = S0.map(|(kind, flags, hex)| from_libhdf5(kind, flags, hex));
    assert_eq!(messages(&metadata, links[0].1), expected);
    let root = &messages(&metadata, ROOT)[..3];
    let link = format!("0100027330{}", hex(&links[0].1.to_le_bytes()));
    assert_eq!(
        root,
        [(0x02, 0, bytes("0000ffffffffffffffffffffffffffffffff")), (0x0a, 1, bytes("0000")), (0x06, 0, bytes(&link))]
    );
    // Coarser levels differ in their shapes and sizes alone.
    let s1 = messages(&metadata, links[1].1);
    let dims = "020301018c000000000000003802000000000000440100000000000\
                08c0000000000000038020000000000004401000000000000";
    assert_eq!(s1[0], from_libhdf5(0x01, 0, dims));
    assert_eq!((&s1[1..3], &s1[8..11]), (&expected[1..3], &expected[8..11]));
    assert_eq!(&s1[7].2[s1[7].2.len() - 24..], [0, 0, -4096].map(i64::to_le_bytes).concat());
}

#[test]
fn chunks_follow_level_by_level_from_pages_on() {
    let spec = gray();
    let metadata = metadata(&spec);
    // Chunks of each level, over shapes (280, 1136, 648), (140, 568, 324), (70, 284, 162) and (35, 142, 81).
    let n_chunks = [5 * 18 * 11, 3 * 9 * 6, 2 * 5 * 3, 3 * 2];
    // Headers and indexes have three pages, the gap before the first chunk 63. The last level is shorter than a chunk.
    let mut at = (3 + 63) * 4096;
    for (((_, dataset), n), pages) in links(&metadata).into_iter().zip(n_chunks).zip([64, 64, 64, 35]) {
        assert_eq!(index_of(&metadata, dataset).n_chunks, n);
        let expected: Vec<_> = (0..n).map(|chunk| at + chunk * (pages + 63) * 4096).collect();
        assert_eq!(addresses(&spec, dataset, 0..n), expected);
        at += n * (pages + 63) * 4096;
    }
    let end = at - 63 * 4096;
    assert_eq!(file(&spec).unwrap().n_bytes(), end);
    assert_eq!(number(&metadata[28..36]), end);
}

#[test]
fn a_gap_is_as_long_as_the_kernel_reads_on() {
    //                      of labels   read at once       larger than the read-ahead of root
    for (n_bytes, pages) in [(1 << 21, 63), (4 << 20, 63), ((4 << 20) + 1, 2047), (8 << 20, 2047), (1, 63)] {
        assert_eq!(gap(n_bytes), pages * 4096, "{n_bytes}");
    }
}

#[test]
fn types_and_large_chunks_are_those_that_libhdf5_writes() {
    let cases = [
        (Dtype::Uint8, "100000000100000000000800", "01"),
        (Dtype::Uint16, "100000000200000000001000", "02"),
        (Dtype::Uint32, "100000000400000000002000", "04"),
        (Dtype::Uint64, "100000000800000000004000", "08"),
        (Dtype::Float32, "11201f000400000000002000170800177f000000", "04"),
    ];
    for (dtype, datatype, itemsize) in cases {
        let mut spec = image(dtype, 1, [0; 3], [300, 7, 8]);
        spec.channels = Some(4);
        spec.levels[0].chunk_shape = Coordinate::new(300, 2, 3);
        let metadata = metadata(&spec);
        let found = messages(&metadata, links(&metadata)[0].1);
        let dims = "04000000000000002c0100000000000007000000000000000800000000000000";
        assert_eq!(found[0], from_libhdf5(0x01, 0, &format!("02040101{dims}{dims}")));
        assert_eq!(found[1], (0x03, 1, bytes(datatype)));
        // `index_of` finds an index where this address points.
        let index = hex(&index_of(&metadata, links(&metadata)[0].1).header.to_le_bytes());
        let layout = format!("040200050204002c0102000300{itemsize}00030a{index}");
        assert_eq!(found[3], (0x08, 0, bytes(&layout)));
        // Attributes of sizes are of the three spatial axes; names and types are of all.
        let ends_with = |at: usize, end: &[u8]| assert!(found[at].2.ends_with(end), "{at}: {:?}", found[at]);
        ends_with(5, &[8_u64.to_le_bytes(); 3].concat());
        ends_with(9, b"c^\0z\0\0y\0\0x\0\0");
        ends_with(10, b"channel\0space\0\0\0space\0\0\0space\0\0\0");
    }
}

#[test]
fn sizes_that_are_no_whole_nanometers_are_written_in_picometers() {
    let mut spec = gray();
    spec.voxel_size = crate::geometry::VoxelSize::new([0.5, 3.2, 4.0]).unwrap();
    let metadata = metadata(&spec);
    let s0 = messages(&metadata, links(&metadata)[0].1);
    let integers = |values: [i64; 3]| values.map(i64::to_le_bytes).concat();
    assert!(s0[5].2.ends_with(&integers([500, 3200, 4000])));
    assert!(s0[7].2.ends_with(&integers([0, 0, -2_048_000])));
    assert!(s0[8].2.ends_with(b"pm\0pm\0pm\0"));
    assert!(s0[11].2.ends_with(&[0.0005_f64, 0.0032, 0.004].map(f64::to_le_bytes).concat()));
}

#[test]
fn a_volume_of_58_teravoxels_keeps_its_voxels_away_from_its_header() {
    let spec = teravoxels();
    let metadata = metadata(&spec);
    let links = links(&metadata);
    let ends = |dataset| {
        let n = index_of(&metadata, dataset).n_chunks;
        [addresses(&spec, dataset, 0..1)[0], addresses(&spec, dataset, n - 1..n)[0]]
    };
    let stride = (64 + 63) * 4096;
    // The chunks of all levels, each one's address and one checksum for 1024 of them.
    let n_chunks = 254_862_594;
    let [first, last] = ends(links[0].1);
    let index_bytes = first - (8 << 20) - 63 * 4096;
    assert!((n_chunks * 8..n_chunks * 8 + (1 << 21)).contains(&index_bytes), "{index_bytes}");
    assert_eq!((links.len(), last - first), (8, (468 * 622 * 766 - 1) * stride));
    assert_eq!(ends(links[1].1)[0], last + stride);
    assert_eq!(ends(links[7].1)[1] + (1 << 18), file(&spec).unwrap().n_bytes());
}

#[test]
fn twenty_levels_stand_in_one_file() {
    let spec = image(Dtype::Uint64, 20, [0; 3], [40_000; 3]);
    let file = file(&spec).unwrap();
    let metadata = first_bytes(&file);
    let links = links(&metadata);
    assert_eq!((links.len(), links[19].0.as_str()), (20, "s19"));
    // One voxel is left, in a chunk of one.
    let last = addresses(&spec, links[19].1, 0..1)[0];
    assert_eq!(last + 8, file.n_bytes());
}

#[test]
fn what_hdf5_cannot_hold_is_left_out() {
    let mut spec = gray();
    let large = Coordinate::new(1 << 10, 1 << 11, 1 << 11);
    (spec.levels[2].chunk_shape, spec.levels[2].shape) = (large, large);
    assert_eq!(file(&spec), Err(LeftOut::LargeChunk(4)));
    // The gaps alone make it too large: the voxels are half of what a file can hold.
    let mut spec = image(Dtype::Uint8, 1, [0; 3], [1 << 21, 1 << 21, (1 << 20) + (1 << 14)]);
    assert_eq!(file(&spec), Err(LeftOut::TooLarge));
    spec.levels[0].shape = Coordinate::new(1 << 21, 1 << 21, 1 << 20);
    // The layout and the index of its many chunks tell the same pages.
    let metadata = metadata(&spec);
    let Index { page_bits, n_chunks, .. } = index_of(&metadata, links(&metadata)[0].1);
    assert_eq!((page_bits, n_chunks), (19, 1 << 44));
    spec.levels[0].origin = Coordinate::new(i64::MIN >> 1, 0, 0);
    assert_eq!(file(&spec), Err(LeftOut::FarOffset));
}

/// The chunks of a level, voxel by voxel.
fn chunks(spec: &ArraySpec, level: usize) -> Vec<u8> {
    let described = &spec.levels[level];
    let chunk = described.chunk_shape.min(described.shape);
    let grid = VoxelBox::from_shape(Coordinate::ZERO, described.shape.div_ceil(chunk)).unwrap();
    let mut bytes = Vec::new();
    for index in grid.indices() {
        let voxels = VoxelBox::from_shape(described.origin + index * chunk, chunk).unwrap();
        for channel in 0..spec.n_channels() {
            for voxel in voxels.indices() {
                bytes.extend(voxel_bytes(spec, level, voxel, channel..channel + 1));
            }
        }
    }
    bytes
}

/// What stands in the file, by its place: metadata, indexes, and chunks where the indexes have them. All else is 0.
fn by_place(spec: &ArraySpec, file: &VoxelFile) -> BTreeMap<u64, Vec<u8>> {
    let metadata = first_bytes(file);
    let datasets = links(&metadata);
    let metadata_end = usize::try_from(index_of(&metadata, datasets[0].1).data_block).unwrap();
    let mut places = BTreeMap::from([(0, metadata[..metadata_end].to_vec())]);
    let mut end = 0;
    for (level, (_, dataset)) in datasets.into_iter().enumerate() {
        let Index { header, page_bits, n_chunks, data_block } = index_of(&metadata, dataset);
        let addresses = addresses(spec, dataset, 0..n_chunks);
        places.insert(data_block, by_address(header, page_bits, &addresses));
        let chunks = chunks(spec, level);
        for (&address, chunk) in addresses.iter().zip(chunks.chunks(chunks.len() / addresses.len())) {
            assert!(address % 4096 == 0 && end + 63 * 4096 <= address, "{address} behind {end}");
            end = address + chunk.len() as u64;
            places.insert(address, chunk.to_vec());
        }
    }
    assert_eq!(file.n_bytes(), end);
    places
}

/// A range of what stands there.
fn part(places: &BTreeMap<u64, Vec<u8>>, range: Range<u64>) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap()];
    for (&begin, held) in places {
        for (at, &byte) in
            (begin..).zip(held).skip_while(|(at, _)| *at < range.start).take_while(|(at, _)| *at < range.end)
        {
            bytes[usize::try_from(at - range.start).unwrap()] = byte;
        }
    }
    bytes
}

proptest! {
    #[test]
    fn any_range_is_metadata_index_gap_and_all_chunks_in_order(
        dtype in prop::sample::select(vec![Dtype::Uint8, Dtype::Uint16, Dtype::Uint64]),
        channels in prop::option::of(Just(4)),
        chunk in prop::array::uniform3(1_i64..6),
        size in prop::array::uniform3(1_i64..14),
        parts in prop::collection::vec((any::<prop::sample::Index>(), 0_u64..9000, 0_u64..9000), 6),
        long in (any::<prop::sample::Index>(), 0_u64..600_000),
    ) {
        let mut spec = image(dtype, 3, [-3, 0, 2], [size[0] - 3, size[1], size[2] + 2]);
        spec.channels = channels;
        for (at, level) in spec.levels.iter_mut().enumerate() {
            // The shape as it is, in small chunks that need not divide the origin.
            level.chunk_shape = Coordinate::from(chunk) + Coordinate::splat(at.try_into().unwrap());
            level.origin = Coordinate::new(-3, 0, 2);
            level.shape = Coordinate::from(size).div_ceil(Coordinate::splat(1 << at));
        }
        let file = file(&spec).unwrap();
        let places = by_place(&spec, &file);
        let begins: Vec<_> = places.keys().collect();
        // From a little before something to a little behind it; and once over several chunks.
        for (nth, before, n) in parts.into_iter().chain([(long.0, 4096, long.1)]) {
            let begin = nth.get(&begins).saturating_sub(before / 2);
            let range = begin..(begin + n).min(file.n_bytes());
            prop_assert_eq!(read(&file, &spec, range.clone()), part(&places, range));
        }
        let end = file.n_bytes();
        prop_assert_eq!(read(&file, &spec, end - 1..end + 9), part(&places, end - 1..end));
    }
}
