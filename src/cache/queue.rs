//! Which blocks are asked for next, and which of them in one request. Pure.

use std::collections::BTreeMap;

use crate::geometry::{BlockBox, BlockIndex, Coordinate, VoxelBox};

use super::key::BlockKey;
use super::sync::Instant;

/// Where a block stands in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A read waits for it.
    Demanded(u64),
    /// Nobody waits for it yet.
    Ahead(u64),
    /// It failed, and is asked for again at this time.
    Delayed(Instant, u64),
    /// It may be on disk, and is asked of the server only if it is not.
    Disk(DiskPlace, u64),
}

/// How far the search on disk is. In the order of urgency: what is missing there has to be asked of the server soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DiskPlace {
    /// A read waits for it; whether it is there is not known.
    Sought,
    /// A read waits for it, and it is there.
    Found,
    /// Nobody waits for it yet; whether it is there is not known.
    SoughtAhead,
    /// Nobody waits for it yet, and it is there.
    FoundAhead,
}

impl DiskPlace {
    pub(super) fn is_ahead(self) -> bool {
        matches!(self, Self::SoughtAhead | Self::FoundAhead)
    }

    /// The same for a block that a read waits for now.
    pub(super) fn demanded(self) -> Self {
        match self {
            Self::Sought | Self::SoughtAhead => Self::Sought,
            Self::Found | Self::FoundAhead => Self::Found,
        }
    }
}

/// Blocks that wait to be asked for: those that are read before those that may be, each in the order they came.
#[derive(Debug, Default)]
pub(super) struct Queue {
    demanded: BTreeMap<u64, BlockKey>,
    ahead: BTreeMap<u64, BlockKey>,
    delayed: BTreeMap<(Instant, u64), BlockKey>,
    disk: BTreeMap<(DiskPlace, u64), BlockKey>,
    next: u64,
}

impl Queue {
    pub(super) fn demand(&mut self, key: BlockKey) -> Place {
        let number = self.number();
        self.demanded.insert(number, key);
        Place::Demanded(number)
    }

    pub(super) fn ahead(&mut self, key: BlockKey) -> Place {
        let number = self.number();
        self.ahead.insert(number, key);
        Place::Ahead(number)
    }

    pub(super) fn delay(&mut self, key: BlockKey, until: Instant) -> Place {
        let number = self.number();
        self.delayed.insert((until, number), key);
        Place::Delayed(until, number)
    }

    pub(super) fn seek(&mut self, key: BlockKey, place: DiskPlace) -> Place {
        let number = self.number();
        self.disk.insert((place, number), key);
        Place::Disk(place, number)
    }

    pub(super) fn remove(&mut self, place: Place) {
        match place {
            Place::Demanded(number) => self.demanded.remove(&number),
            Place::Ahead(number) => self.ahead.remove(&number),
            Place::Delayed(until, number) => self.delayed.remove(&(until, number)),
            Place::Disk(place, number) => self.disk.remove(&(place, number)),
        };
    }

    /// The block that is read and waits longest.
    pub(super) fn first_demanded(&self) -> Option<BlockKey> {
        self.demanded.first_key_value().map(|(_, &key)| key)
    }

    /// The block that was expected to be read first.
    pub(super) fn first_ahead(&self) -> Option<BlockKey> {
        self.ahead.first_key_value().map(|(_, &key)| key)
    }

    /// The block that was expected to be read first, wherever it is looked for.
    pub(super) fn first_expected(&self) -> Option<BlockKey> {
        self.first_ahead().or_else(|| self.disk.range((DiskPlace::SoughtAhead, 0)..).next().map(|(_, &key)| key))
    }

    /// The failed block whose time comes first.
    pub(super) fn first_delayed(&self) -> Option<(Instant, BlockKey)> {
        self.delayed.first_key_value().map(|(&(until, _), &key)| (until, key))
    }

    /// All failed blocks.
    pub(super) fn delayed(&self) -> impl Iterator<Item = BlockKey> {
        self.delayed.values().copied()
    }

    /// The most urgent block for the disk, and how far it is.
    pub(super) fn first_on_disk(&self) -> Option<(DiskPlace, BlockKey)> {
        self.disk.first_key_value().map(|(&(place, _), &key)| (place, key))
    }

    /// All blocks that are this far on disk, in the order they came.
    pub(super) fn on_disk(&self, place: DiskPlace) -> impl Iterator<Item = BlockKey> {
        self.disk.range((place, 0)..=(place, u64::MAX)).map(|(_, &key)| key)
    }

    /// Blocks that are looked for on disk, those that nobody waits for included.
    pub(super) fn all_on_disk(&self) -> impl Iterator<Item = BlockKey> {
        self.disk.values().copied()
    }

    pub(super) fn n_demanded(&self) -> usize {
        self.demanded.len()
    }

    pub(super) fn n_ahead(&self) -> usize {
        let on_disk = self.disk.range((DiskPlace::SoughtAhead, 0)..).count();
        self.ahead.len() + on_disk
    }

    pub(super) fn len(&self) -> usize {
        self.demanded.len() + self.ahead.len() + self.delayed.len()
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// The largest full box round `first` of at most `limit` blocks, all of which `may_join`: x grows first, then y, z.
pub(super) fn full_box(first: BlockIndex, limit: usize, may_join: impl Fn(BlockIndex) -> bool) -> BlockBox {
    let mut grown = BlockBox::one(first);
    let mut grows = true;
    while grows {
        grows = false;
        for axis in [2, 1, 0] {
            for forward in [true, false] {
                while let Some(larger) = extended(grown, axis, forward, limit, &may_join) {
                    grown = larger;
                    grows = true;
                }
            }
        }
    }
    grown
}

/// The box with one more layer of blocks, if there is room for it and all of them may join.
fn extended(
    grown: BlockBox,
    axis: usize,
    forward: bool,
    limit: usize,
    may_join: impl Fn(BlockIndex) -> bool,
) -> Option<BlockBox> {
    let (mut begin, mut end) = (grown.0.begin().axes(), grown.0.end().axes());
    let (mut layer_begin, mut layer_end) = (begin, end);
    if forward {
        layer_begin[axis] = end[axis];
        layer_end[axis] = end[axis].checked_add(1)?;
        end[axis] = layer_end[axis];
    } else {
        layer_end[axis] = begin[axis];
        layer_begin[axis] = begin[axis].checked_sub(1)?;
        begin[axis] = layer_begin[axis];
    }
    let larger = BlockBox(VoxelBox::new(begin.into(), Coordinate::from(end))?);
    let layer = BlockBox(VoxelBox::new(layer_begin.into(), layer_end.into())?);
    (larger.n_blocks() <= limit as u128 && layer.blocks().all(may_join)).then_some(larger)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn at(z: i64, y: i64, x: i64) -> BlockIndex {
        BlockIndex(Coordinate::new(z, y, x))
    }

    #[track_caller]
    fn check_box(queued: &[BlockIndex], limit: usize, expected: usize) {
        let grown = full_box(queued[0], limit, |block| queued.contains(&block));
        assert_eq!(grown.n_blocks(), expected as u128, "{grown:?}");
    }

    #[test]
    fn neighbours_make_one_box_and_strangers_none() {
        let cube: Vec<_> =
            BlockBox(VoxelBox::from_shape(Coordinate::ZERO, Coordinate::splat(2)).unwrap()).blocks().collect();
        check_box(&cube, 8, 8);
        check_box(&cube, 100, 8);
        check_box(&cube, 7, 4);
        check_box(&cube, 1, 1);
        check_box(&cube[..7], 8, 4); // one corner is missing
        check_box(&[at(0, 0, 5), at(0, 0, 4), at(0, 0, 6), at(0, 0, 8)], 8, 3); // grows both ways, not over a hole
        check_box(&[at(5, 0, 0), at(6, 0, 0), at(7, 0, 0)], 8, 3); // along z
        check_box(&[at(0, 0, 0), at(1, 1, 1)], 8, 1);
    }

    proptest! {
        #[test]
        fn a_box_holds_its_first_block_and_only_blocks_that_may_join(
            queued in prop::collection::hash_set((0_i64..4, 0_i64..4, 0_i64..4), 1..40),
            limit in 1_usize..20,
        ) {
            let queued: HashSet<_> = queued.into_iter().map(|(z, y, x)| at(z, y, x)).collect();
            let first = *queued.iter().next().unwrap();
            let grown = full_box(first, limit, |block| queued.contains(&block));
            prop_assert!(grown.contains(first));
            prop_assert!(grown.n_blocks() <= limit as u128);
            prop_assert!(grown.blocks().all(|block| queued.contains(&block)));
        }
    }

    #[test]
    fn a_block_at_the_end_of_all_numbers_does_not_overflow() {
        let grown = full_box(BlockIndex(Coordinate::splat(i64::MIN)), 8, |_| false);
        assert_eq!(grown.n_blocks(), 1);
    }
}
