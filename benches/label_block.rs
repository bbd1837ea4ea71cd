//! The label-block decoder over blocks that a real server sent: bytes of voxels a second, on one core.
//!
//! `cargo bench --bench label_block`

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use dvidfs::dvid::LabelBlock;
use dvidfs::geometry::Coordinate;

/// Answers to `blocks?compression=blocks`, in frames of 64^3.
const RECORDED: [&str; 4] = ["labels-blocks-sv", "labels-scale1-sv", "labels-scale2-sv", "labels-scale3-sv"];
/// u64 voxels of a block.
const VOXELS_BYTES: usize = 64 * 64 * 64 * 8;

fn main() {
    divan::main();
}

fn block_shape() -> Coordinate {
    Coordinate::splat(64)
}

/// The gzipped label blocks of a recorded answer.
fn payloads(name: &str) -> Vec<Vec<u8>> {
    let path = format!("{}/tests/fixtures/dvid-wire/bodies/{name}.bin", env!("CARGO_MANIFEST_DIR"));
    let body = std::fs::read(path).expect("the recorded answer is part of the repository");
    let mut rest = &body[..];
    let mut payloads = vec![];
    while let Some((header, after)) = rest.split_first_chunk::<16>() {
        let length = u32::from_le_bytes([header[12], header[13], header[14], header[15]]) as usize;
        payloads.push(after[..length].to_vec());
        rest = &after[length..];
    }
    payloads
}

fn blocks(name: &str) -> Vec<LabelBlock> {
    let parse =
        |payload: &Vec<u8>| LabelBlock::from_payload(payload, block_shape()).expect("a recorded block is right");
    payloads(name).iter().map(parse).collect()
}

#[divan::bench(args = RECORDED)]
fn decode(bencher: Bencher<'_, '_>, name: &str) {
    let blocks = blocks(name);
    bencher.counter(BytesCount::new(blocks.len() * VOXELS_BYTES)).bench_local(|| {
        blocks.iter().for_each(|block| drop(black_box(block.decode())));
    });
}

#[divan::bench(args = RECORDED)]
fn decode_mapped(bencher: Bencher<'_, '_>, name: &str) {
    let blocks = blocks(name);
    bencher.counter(BytesCount::new(blocks.len() * VOXELS_BYTES)).bench_local(|| {
        for block in &blocks {
            let bodies: Vec<u64> = block.labels().iter().map(|label| label + 1_000_000).collect();
            drop(black_box(block.decode_mapped(&bodies)));
        }
    });
}

#[divan::bench(args = RECORDED)]
fn inflate_parse(bencher: Bencher<'_, '_>, name: &str) {
    let payloads = payloads(name);
    bencher.counter(BytesCount::new(payloads.len() * VOXELS_BYTES)).bench_local(|| {
        for payload in &payloads {
            drop(black_box(LabelBlock::from_payload(payload, block_shape())));
        }
    });
}

#[divan::bench(args = RECORDED)]
fn inflate_parse_decode(bencher: Bencher<'_, '_>, name: &str) {
    let payloads = payloads(name);
    bencher.counter(BytesCount::new(payloads.len() * VOXELS_BYTES)).bench_local(|| {
        for payload in &payloads {
            let block = LabelBlock::from_payload(payload, block_shape()).expect("a recorded block is right");
            drop(black_box(block.decode()));
        }
    });
}
