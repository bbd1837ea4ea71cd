//! Damage to a label block.

use super::faults::LabelDamage;

/// The block with this damage; `None` if this block cannot have it: a block of one label has no values.
pub(super) fn apply(damage: LabelDamage, mut block: Vec<u8>) -> Option<Vec<u8>> {
    let word = |at: usize| block.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let n_labels = word(12)?;
    let sub_blocks = usize::try_from(word(0)?.checked_mul(word(4)?)?.checked_mul(word(8)?)?).ok()?;
    let mut set = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    match damage {
        LabelDamage::Shape => set(0, &4_u32.to_le_bytes()),
        LabelDamage::NoLabels => set(12, &0_u32.to_le_bytes()),
        LabelDamage::TooManyLabels => set(12, &0x0010_0000_u32.to_le_bytes()),
        LabelDamage::OverflowingLabels => set(12, &0x2000_0001_u32.to_le_bytes()),
        LabelDamage::BytesLeft => block.extend([0; 3]),
        LabelDamage::BitsShort if n_labels > 1 => drop(block.pop()),
        LabelDamage::TooManyInSubBlock | LabelDamage::IndexOutOfRange | LabelDamage::ValueOutOfRange
            if n_labels > 1 =>
        {
            return within(damage, block, usize::try_from(n_labels).ok()?, sub_blocks);
        }
        LabelDamage::BitsShort
        | LabelDamage::TooManyInSubBlock
        | LabelDamage::IndexOutOfRange
        | LabelDamage::ValueOutOfRange => return None,
    }
    Some(block)
}

/// Damage to the first sub-block that can have it.
fn within(damage: LabelDamage, mut block: Vec<u8>, n_labels: usize, sub_blocks: usize) -> Option<Vec<u8>> {
    let counts_at = 16 + 8 * n_labels;
    let indices_at = counts_at + 2 * sub_blocks;
    let counts: Vec<u16> = block
        .get(counts_at..indices_at)?
        .chunks_exact(2)
        .map(|count| u16::from_le_bytes([count[0], count[1]]))
        .collect();
    if damage == LabelDamage::TooManyInSubBlock {
        block[counts_at..counts_at + 2].copy_from_slice(&513_u16.to_le_bytes());
        return Some(block);
    }
    if damage == LabelDamage::IndexOutOfRange {
        block.get_mut(indices_at..indices_at + 4)?.copy_from_slice(&u32::try_from(n_labels).ok()?.to_le_bytes());
        return Some(block);
    }
    let mut values_at = indices_at + 4 * counts.iter().map(|&count| usize::from(count)).sum::<usize>();
    for count in counts.into_iter().filter(|&count| count > 1) {
        // A list whose length is a power of two has an entry for every value.
        if !count.is_power_of_two() {
            block.get_mut(values_at..values_at + 2)?.fill(0xff);
            return Some(block);
        }
        // 512 values of so many bits.
        values_at += 64 * usize::try_from((count - 1).ilog2() + 1).ok()?;
    }
    None
}
