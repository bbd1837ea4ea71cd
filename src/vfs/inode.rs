//! Inode numbers: `slot << 40 | position`, slot of 24 bits.
//!
//! A row of the table is what has its files numbered together: the fixed files of one instance, or the chunks of
//! one level. A row takes one slot, and a further one for each 2^40 positions, so that numbers never meet however
//! large an array is. Rows are appended in name order at mount: the same node gives the same numbers.

use super::error::BuildError;

const POSITION_BITS: u32 = 40;
const N_SLOTS: u64 = 1 << 24;

/// Rows in the order in which they were appended, each with the inode number of its position 0.
#[derive(Debug)]
pub(super) struct InodeTable<T> {
    rows: Vec<Row<T>>,
    next_slot: u64,
}

#[derive(Debug)]
struct Row<T> {
    first_inode: u64,
    row: T,
}

impl<T> Default for InodeTable<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), next_slot: 0 }
    }
}

impl<T> InodeTable<T> {
    /// Appends a row with positions `0..n_positions`; gives the inode number of its position 0.
    pub(super) fn append(&mut self, n_positions: u64, row: T) -> Result<u64, BuildError> {
        let n_slots = n_positions.div_ceil(1 << POSITION_BITS).max(1);
        let end = self.next_slot + n_slots;
        if end > N_SLOTS {
            return Err(BuildError::TooManyInodes);
        }
        let first_inode = self.next_slot << POSITION_BITS;
        self.rows.push(Row { first_inode, row });
        self.next_slot = end;
        Ok(first_inode)
    }

    /// The row of an inode number, and the position in it. The row may have fewer positions.
    pub(super) fn find(&self, inode: u64) -> Option<(&T, u64)> {
        if inode >> POSITION_BITS >= self.next_slot {
            return None;
        }
        let after = self.rows.partition_point(|row| row.first_inode <= inode);
        let row = self.rows.get(after.checked_sub(1)?)?;
        Some((&row.row, inode - row.first_inode))
    }

    /// The row of an inode number, to fill in.
    pub(super) fn row_mut(&mut self, inode: u64) -> Option<&mut T> {
        let after = self.rows.partition_point(|row| row.first_inode <= inode);
        Some(&mut self.rows.get_mut(after.checked_sub(1)?)?.row)
    }

    /// All rows.
    pub(super) fn rows(&self) -> impl Iterator<Item = &T> {
        self.rows.iter().map(|row| &row.row)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_two_positions_of_any_rows_share_a_number(
            sizes in prop::collection::vec(prop_oneof![0_u64..5, (1_u64 << 40) - 2..(1_u64 << 40) + 3, 0..1_u64 << 45], 1..20),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 20),
        ) {
            let mut table = InodeTable::default();
            let firsts: Vec<u64> =
                sizes.iter().enumerate().map(|(row, &n)| table.append(n, row).unwrap()).collect();
            for (row, (&n, &first)) in sizes.iter().zip(&firsts).enumerate() {
                prop_assert_eq!(first % (1 << 40), 0);
                let inner = picks[row].index(usize::try_from(n.max(1)).unwrap()) as u64;
                for position in [0, inner, n.saturating_sub(1)] {
                    prop_assert_eq!(table.find(first + position), Some((&row, position)));
                }
            }
        }
    }

    #[test]
    fn the_numbers_end_with_the_last_of_two_to_the_24_slots() {
        let mut table = InodeTable::default();
        assert_eq!(table.find(0), None);
        table.append(1, 'a').unwrap();
        assert_eq!(table.append(u64::MAX, 'b'), Err(BuildError::TooManyInodes));
        let first = table.append(((1 << 24) - 1) << 40, 'c').unwrap();
        assert_eq!(table.find(u64::MAX), Some((&'c', u64::MAX - first)));
        assert_eq!(table.append(0, 'd'), Err(BuildError::TooManyInodes));
    }
}
