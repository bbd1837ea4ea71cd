//! Neuroglancer's compressed segmentation, which DVID calls `google`.

use crate::geometry::Coordinate;

/// Voxels of a block along each axis.
const EDGE: usize = 8;

/// One channel of labels (zyx, x fastest) in blocks of 8 x 8 x 8, or `None` if an axis is no multiple of 8.
///
/// A header word; then for each block the offset of its table (24 bits) with the bits of a value (8 bits), and the offset
/// of its values, both in words after the header word; then the values and the tables.
pub(super) fn encode(labels: &[u64], shape: Coordinate) -> Option<Vec<u8>> {
    let [nz, ny, nx] = shape.to_usize()?;
    if [nz, ny, nx].iter().any(|n| n % EDGE != 0) {
        return None;
    }
    let n_blocks = labels.len() / (EDGE * EDGE * EDGE);
    let mut words = vec![0_u32; 2 * n_blocks];
    let mut block = 0;
    for z in (0..nz).step_by(EDGE) {
        for y in (0..ny).step_by(EDGE) {
            for x in (0..nx).step_by(EDGE) {
                let rows = (0..EDGE * EDGE).map(|row| ((z + row / EDGE) * ny + y + row % EDGE) * nx + x);
                let voxels: Vec<u64> = rows.flat_map(|start| &labels[start..start + EDGE]).copied().collect();
                let header = add(&mut words, &voxels)?;
                words[2 * block..2 * block + 2].copy_from_slice(&header);
                block += 1;
            }
        }
    }
    Some([1].into_iter().chain(words).flat_map(u32::to_le_bytes).collect())
}

/// Adds the values and the table of a block; gives its header.
fn add(words: &mut Vec<u32>, voxels: &[u64]) -> Option<[u32; 2]> {
    let mut table = voxels.to_vec();
    table.sort_unstable();
    table.dedup();
    // Widths are 0, 1, 2, 4, 8, 16 or 32 bits.
    let bits = [0_u32, 1, 2, 4, 8, 16].into_iter().find(|bits| table.len() <= 1 << bits)?;
    let values_at = u32::try_from(words.len()).ok()?;
    if let Some(per_word) = 32_u32.checked_div(bits) {
        let per_word = usize::try_from(per_word).ok()?;
        for group in voxels.chunks(per_word) {
            let value = |label: &u64| u32::try_from(table.binary_search(label).unwrap_or(0)).unwrap_or(0);
            words.push(group.iter().zip(0..).fold(0, |word, (label, place)| word | value(label) << (place * bits)));
        }
    }
    let table_at = u32::try_from(words.len()).ok().filter(|at| *at < 1 << 24)?;
    for label in table {
        let [a, b, c, d, e, f, g, h] = label.to_le_bytes();
        words.extend([u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]);
    }
    Some([table_at | bits << 24, values_at])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Voxel by voxel, as neuroglancer's specification says.
    fn decode(bytes: &[u8], [nz, ny, nx]: [usize; 3]) -> Vec<u64> {
        let words: Vec<u32> = bytes.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
        assert_eq!(words[0], 1);
        let words = &words[1..];
        let mut labels = Vec::new();
        for (z, y, x) in (0..nz).flat_map(|z| (0..ny).flat_map(move |y| (0..nx).map(move |x| (z, y, x)))) {
            let block = (z / 8 * (ny / 8) + y / 8) * (nx / 8) + x / 8;
            let (table_at, bits) = ((words[2 * block] & 0xff_ffff) as usize, (words[2 * block] >> 24) as usize);
            let place = ((z % 8 * 8 + y % 8) * 8 + x % 8) * bits;
            let value = match bits {
                0 => 0,
                _ => (words[words[2 * block + 1] as usize + place / 32] >> (place % 32)) as usize & ((1 << bits) - 1),
            };
            let entry = table_at + 2 * value;
            labels.push(u64::from(words[entry]) | u64::from(words[entry + 1]) << 32);
        }
        labels
    }

    #[test]
    fn labels_come_back() {
        for n_labels in [1, 2, 3, 20, 300] {
            let labels: Vec<u64> = (0..16 * 8 * 24_u64).map(|n| (n * n % 7919 % n_labels) << 40 | 3).collect();
            let encoded = encode(&labels, Coordinate::new(16, 8, 24)).unwrap();
            assert_eq!(decode(&encoded, [16, 8, 24]), labels, "{n_labels} labels");
        }
        assert_eq!(encode(&[0; 60 * 64], Coordinate::new(1, 64, 60)), None);
    }
}
