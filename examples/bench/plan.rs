//! Which chunks are read, and which requests were made.

use std::collections::HashMap;

use dvidfs::geometry::{BlockBox, BlockIndex, Coordinate, VoxelBox};

use super::Outcome;

/// A chunk of level 0. Blocks of the demo data are chunks: 64^3 voxels.
pub(crate) type Chunk = BlockIndex;

const SIDE: i64 = 64;
/// Chunks of the region that is read in order, zyx: 256 MiB of gray. The first chunks, which nothing foretells, weigh little.
const REGION: Coordinate = Coordinate::new(4, 16, 16);
const N_RANDOM: usize = 256;
/// Random chunks lie in a cube of so many, far apart on average.
const RANDOM_SIDE: i64 = 1_000;

/// The chunks of the region, x fastest.
pub(crate) fn region() -> Vec<Chunk> {
    whole_region().blocks().collect()
}

/// Its voxels.
pub(crate) fn region_voxels() -> VoxelBox {
    VoxelBox::from_shape(Coordinate::ZERO, REGION * Coordinate::splat(SIDE)).expect("no axis of the region is negative")
}

fn whole_region() -> BlockBox {
    BlockBox(VoxelBox::from_shape(Coordinate::ZERO, REGION).expect("no axis of the region is negative"))
}

/// A generator of plain random numbers: 64-bit `SplitMix`.
struct Random(u64);

impl Random {
    fn below(&mut self, end: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 1).cast_signed() % end
    }
}

/// Chunks in no order, none twice.
pub(crate) fn random_chunks(seed: u64) -> Vec<Chunk> {
    let mut random = Random(seed);
    let mut chunks = Vec::new();
    while chunks.len() < N_RANDOM {
        let mut next = || random.below(RANDOM_SIDE);
        let chunk = BlockIndex(Coordinate::new(next(), next(), next()));
        if !chunks.contains(&chunk) {
            chunks.push(chunk);
        }
    }
    chunks
}

/// Another order of the same things.
pub(crate) fn shuffle(order: &mut [usize], seed: u64) {
    let mut random = Random(seed ^ 0x5eed);
    for last in (1..order.len()).rev() {
        let end = i64::try_from(last + 1).unwrap_or(i64::MAX);
        order.swap(last, usize::try_from(random.below(end)).unwrap_or(0));
    }
}

/// The boxes of blocks that requests for voxels asked for.
pub(crate) fn boxes(requests: &[String]) -> Outcome<Vec<BlockBox>> {
    requests.iter().map(|request| box_of(request).ok_or_else(|| format!("not understood: {request}").into())).collect()
}

/// `…/<call>/<size x_y_z>/<offset x_y_z>[?…]`.
fn box_of(request: &str) -> Option<BlockBox> {
    let path = request.split('?').next()?;
    let mut parts = path.rsplit('/');
    let (offset, size) = (xyz(parts.next()?)?, xyz(parts.next()?)?);
    let side = Coordinate::splat(SIDE);
    Some(BlockBox(VoxelBox::from_shape(offset.div_floor(side), size.div_floor(side))?))
}

fn xyz(text: &str) -> Option<Coordinate> {
    let numbers: Vec<i64> = text.split('_').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [x, y, z] = numbers[..] else { return None };
    Some(Coordinate::new(z, y, x))
}

/// The requests that touch the chunks, and the number of those beyond them, which were fetched ahead in vain.
pub(crate) fn within(boxes: &[BlockBox], chunks: &[Chunk]) -> (Vec<BlockBox>, usize) {
    let touches = |asked: &&BlockBox| asked.blocks().any(|block| chunks.contains(&block));
    let inside: Vec<BlockBox> = boxes.iter().filter(touches).copied().collect();
    let beyond = boxes.len() - inside.len();
    (inside, beyond)
}

/// Whether the requests fetch each chunk exactly once.
pub(crate) fn each_once(boxes: &[BlockBox], chunks: &[Chunk]) -> bool {
    let mut asked: HashMap<BlockIndex, usize> = HashMap::new();
    for block in boxes.iter().flat_map(|asked| asked.blocks()) {
        *asked.entry(block).or_default() += 1;
    }
    chunks.iter().all(|chunk| asked.get(chunk) == Some(&1))
}
