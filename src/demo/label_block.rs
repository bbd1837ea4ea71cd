//! Writes DVID's label block; reading it is another room's work.

use std::collections::HashMap;

use crate::geometry::Coordinate;

/// Voxels of a sub-block along each axis.
const EDGE: usize = 8;

/// The label block of these voxels (zyx, x fastest), not yet packed.
pub(crate) fn encode(labels: &[u64], block_shape: Coordinate) -> Vec<u8> {
    let [nz, ny, nx] = block_shape.to_usize().expect("a block has an extent");
    let grid = [nx / EDGE, ny / EDGE, nz / EDGE];
    let mut list = Vec::new();
    let mut index_of = HashMap::new();
    for &label in labels {
        index_of.entry(label).or_insert_with(|| {
            list.push(label);
            u32::try_from(list.len() - 1).expect("fewer labels than voxels of a block")
        });
    }
    let mut bytes = Vec::new();
    let n_labels = list.len();
    for n in [grid[0], grid[1], grid[2], n_labels] {
        bytes.extend(u32::try_from(n).expect("small").to_le_bytes());
    }
    bytes.extend(list.iter().flat_map(|label| label.to_le_bytes()));
    if n_labels == 1 {
        return bytes;
    }
    let (mut counts, mut indices, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for sub_block in 0..grid.iter().product() {
        let [sx, sy, sz] = [sub_block % grid[0], sub_block / grid[0] % grid[1], sub_block / (grid[0] * grid[1])];
        let row = |row: usize| ((sz * EDGE + row / EDGE) * ny + sy * EDGE + row % EDGE) * nx + sx * EDGE;
        let voxels: Vec<u32> =
            (0..EDGE * EDGE).flat_map(|r| &labels[row(r)..row(r) + EDGE]).map(|label| index_of[label]).collect();
        let mut local = voxels.clone();
        local.sort_unstable();
        local.dedup();
        counts.extend(u16::try_from(local.len()).expect("at most 512").to_le_bytes());
        indices.extend(local.iter().flat_map(|index| index.to_le_bytes()));
        if local.len() > 1 {
            pack(&voxels, &local, &mut values);
        }
    }
    [bytes, counts, indices, values].concat()
}

/// Each voxel's place in the sub-block's list, in the fewest bits, most significant bit first.
fn pack(voxels: &[u32], local: &[u32], values: &mut Vec<u8>) {
    let bits = usize::BITS - (local.len() - 1).leading_zeros();
    let (mut held, mut n_held) = (0_u32, 0);
    for voxel in voxels {
        let value = local.binary_search(voxel).expect("the list holds each voxel's label");
        held = held << bits | u32::try_from(value).expect("at most 511");
        n_held += bits;
        while n_held >= 8 {
            n_held -= 8;
            values.push(u8::try_from(held >> n_held & 0xff).expect("one byte"));
        }
        held &= (1 << n_held) - 1;
    }
    if n_held > 0 {
        values.push(u8::try_from(held << (8 - n_held) & 0xff).expect("one byte"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bit by bit, as the format says.
    fn decode(bytes: &[u8]) -> Vec<u64> {
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let [gx, gy, gz, n] = [u32_at(0), u32_at(4), u32_at(8), u32_at(12)];
        let label = |i: usize| u64::from_le_bytes(bytes[16 + 8 * i..24 + 8 * i].try_into().unwrap());
        let (nx, ny, nz) = (gx * 8, gy * 8, gz * 8);
        if n == 1 {
            return vec![label(0); nx * ny * nz];
        }
        let counts_at = 16 + 8 * n;
        let count = |i: usize| usize::from(bytes[counts_at + 2 * i]) + 256 * usize::from(bytes[counts_at + 2 * i + 1]);
        let mut index_at = counts_at + 2 * gx * gy * gz;
        let mut bit = 8 * (index_at + 4 * (0..gx * gy * gz).map(count).sum::<usize>());
        let mut voxels = vec![0; nx * ny * nz];
        for s in 0..gx * gy * gz {
            let bits = if count(s) > 1 { (count(s) - 1).ilog2() + 1 } else { 0 };
            for v in 0..512 {
                let mut value = 0;
                for _ in 0..bits {
                    value = value << 1 | usize::from(bytes[bit / 8] >> (7 - bit % 8) & 1);
                    bit += 1;
                }
                let [x, y, z] = [s % gx * 8 + v % 8, s / gx % gy * 8 + v / 8 % 8, s / (gx * gy) * 8 + v / 64];
                voxels[(z * ny + y) * nx + x] = label(u32_at(index_at + 4 * value));
            }
            bit = bit.div_ceil(8) * 8;
            index_at += 4 * count(s);
        }
        assert_eq!(bit, 8 * bytes.len());
        voxels
    }

    #[test]
    fn blocks_of_few_and_of_many_labels_come_back() {
        for n_labels in [1_u64, 2, 3, 5, 200, 4096] {
            let shape = Coordinate::new(16, 8, 24);
            let labels: Vec<u64> = (0..16 * 8 * 24_u64).map(|n| (n * n % 7919 % n_labels) << 40).collect();
            assert_eq!(decode(&encode(&labels, shape)), labels, "{n_labels} labels");
        }
    }
}
