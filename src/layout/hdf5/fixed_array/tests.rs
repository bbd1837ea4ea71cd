//! The index against what libhdf5 2.0.0 writes for the same chunks, and against one that is written out address by address.

use proptest::prelude::*;

use super::*;

pub(in super::super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A whole data block, address by address.
pub(in super::super) fn by_address(header: u64, page_bits: u8, addresses: &[u64]) -> Vec<u8> {
    let mut block = [b"FADB\0\0".as_slice(), &header.to_le_bytes()].concat();
    let pages: Vec<&[u64]> = addresses.chunks(1 << page_bits).collect();
    let mut checked = 0;
    if pages.len() > 1 {
        let bits: String = "1".repeat(pages.len()) + &"0".repeat(pages.len().next_multiple_of(8) - pages.len());
        block.extend((0..bits.len()).step_by(8).map(|at| u8::from_str_radix(&bits[at..at + 8], 2).unwrap()));
        block.extend(lookup3(&block).to_le_bytes());
        checked = block.len();
    }
    for page in pages {
        block.extend(page.iter().flat_map(|address| address.to_le_bytes()));
        block.extend(lookup3(&block[checked..]).to_le_bytes());
        checked = block.len();
    }
    block
}

/// What h5py 3.16 writes with `libver="latest"` for late chunks of a fixed shape, at an alignment that spaces them evenly.
struct Written {
    index: FixedArray,
    data_block: u64,
    header: &'static str,
    /// What stands before the addresses.
    begin: &'static str,
    /// The checksum of each page.
    checksums: &'static [&'static str],
}

fn written() -> [Written; 4] {
    let index = |n_chunks, stride, first| FixedArray { header: 0x1cf, first, ..FixedArray::new(n_chunks, stride) };
    [
        Written {
            index: index(3, 0x8000, 0x8000),
            data_block: 0x1eb,
            header: "464148440000080a0300000000000000eb0100000000000083346284",
            begin: "464144420000cf01000000000000",
            checksums: &["de439e14"],
        },
        Written {
            index: index(1024, 0x8000, 0x8000),
            data_block: 0xb000,
            header: "464148440000080a000400000000000000b000000000000043f10798",
            begin: "464144420000cf01000000000000",
            checksums: &["bcfbf823"],
        },
        Written {
            index: index(1025, 0x8000, 0x8000),
            data_block: 0xb000,
            header: "464148440000080a010400000000000000b00000000000002d0be999",
            begin: "464144420000cf01000000000000c07b6f339a",
            checksums: &["6528c85e", "c94f5041"],
        },
        Written {
            index: index(9221, 0x4_0000, 0x4_0000),
            data_block: 0x5_3000,
            header: "464148440000080a05240000000000000030050000000000e0053c89",
            begin: "464144420000cf01000000000000ffc097bb4edb",
            checksums: &[
                "e54e4239", "a6376c65", "e7ab3efd", "e335fb82", "9f543131", "0ce139b9", "fc66db19", "305feb5a",
                "eebaf9f5", "24a77b3b",
            ],
        },
    ]
}

#[test]
fn an_index_is_the_one_that_libhdf5_writes() {
    for Written { index, data_block, header, begin, checksums } in written() {
        assert_eq!(hex(&index.header_bytes(data_block)), header);
        let block = index.bytes(0..index.n_bytes());
        assert_eq!(hex(&block[..begin.len() / 2]), begin);
        let pages = block[begin.len() / 2..].chunks(8196);
        let found: Vec<_> = pages.map(|page| hex(&page[page.len() - 4..])).collect();
        assert_eq!(found, checksums, "{} chunks", index.n_chunks);
    }
}

#[test]
fn a_part_of_a_large_index_costs_no_more_than_of_a_small_one() {
    // A volume of 2^50 voxels, and the most chunks of 2^18 bytes that a file can hold.
    for (n_chunks, page_bits, bitmap) in
        [(1 << 32, 10, 512 << 10), ((1 << 32) + 1, 11, (256 << 10) + 1), (1 << 45, 20, 4 << 20)]
    {
        let index = FixedArray { header: 99, first: 1 << 55, ..FixedArray::new(n_chunks, 1 << 18) };
        assert_eq!((index.page_bits, index.bitmap_bytes()), (page_bits, bitmap), "{n_chunks}");
        let end = index.n_bytes();
        assert_eq!(end, 18 + bitmap + n_chunks * 8 + index.n_pages() * 4);
        let last = (1_u64 << 55) + ((n_chunks - 1) << 18);
        assert_eq!(index.bytes(end - 12..end - 4), last.to_le_bytes());
        let begin = index.bytes(0..18 + bitmap);
        assert_eq!(begin[begin.len() - 4..], lookup3(&begin[..begin.len() - 4]).to_le_bytes());
    }
}

proptest! {
    #[test]
    fn any_range_is_the_same_part_of_all_addresses(
        n_chunks in 1_u64..400,
        page_bits in 1_u8..9,
        stride in 1_u64..1 << 40,
        parts in prop::collection::vec((0.0..1.0, 0_u64..99), 20),
    ) {
        let index = FixedArray { n_chunks, page_bits, header: 0x1234_5678, first: 987_654_321, stride };
        let addresses: Vec<_> = (0..n_chunks).map(|chunk| 987_654_321 + chunk * stride).collect();
        let whole = by_address(0x1234_5678, page_bits, &addresses);
        prop_assert_eq!(index.n_bytes(), whole.len() as u64);
        prop_assert_eq!(&index.bytes(0..index.n_bytes()), &whole);
        for (begin, n) in parts {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let begin = (begin * whole.len() as f64) as u64;
            let end = (begin + n).min(index.n_bytes());
            prop_assert_eq!(index.bytes(begin..end), &whole[in_memory(begin)..in_memory(end)]);
        }
    }
}
