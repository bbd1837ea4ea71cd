//! What is to be done about the disk when nobody waits: counting what it holds, making room. Pure.

use std::time::Duration;

use super::super::sync::Instant;

/// Between two looks at one shard.
const SAMPLE_EVERY: Duration = Duration::from_secs(60);
/// Shards of a cache.
const N_SHARDS: u16 = 256;
/// A sample that says so much else than the sum does means that all is counted anew.
const MOST_DOUBT: u64 = 64 << 20;

/// One step: a look through one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Chore {
    /// One of all, to know what all hold.
    Count(u8),
    /// One at random, to see whether the sum is about right.
    Sample(u8),
    /// Remove the oldest of it.
    MakeRoom(u8),
}

/// What is to be done, and what has been.
#[derive(Debug)]
pub(in super::super) struct Upkeep {
    /// The next shard to count, and what those before it hold.
    count: Option<(u16, u64)>,
    /// What was thought to be held when the count began.
    thought_before: u64,
    next_sample: Instant,
    /// Room has to be made.
    wants_room: bool,
    /// Shards that were looked through since room was last wanted, and what is left in them.
    looked_through: (u16, u64),
    is_running: bool,
    random: u64,
}

impl Upkeep {
    /// Counts all, first of all. `seed` decides the order of shards, which daemons should not share.
    pub(in super::super) fn new(now: Instant, seed: u64) -> Self {
        Self {
            count: Some((0, 0)),
            thought_before: 0,
            next_sample: now + SAMPLE_EVERY,
            wants_room: false,
            looked_through: (0, 0),
            is_running: false,
            random: seed,
        }
    }

    /// Whether entries must leave.
    pub(in super::super) fn wants_room(&self) -> bool {
        self.wants_room
    }

    /// Room has to be made.
    pub(in super::super) fn want_room(&mut self) {
        if !self.wants_room {
            self.wants_room = true;
            self.looked_through = (0, 0);
        }
    }

    /// All has to be counted anew.
    pub(in super::super) fn recount(&mut self) {
        if self.count.is_none() {
            self.count = Some((0, 0));
        }
    }

    /// The next step, if one is due and none is being done.
    pub(in super::super) fn next(&mut self, now: Instant, held_bytes: u64) -> Option<Chore> {
        if self.is_running {
            return None;
        }
        let chore = if self.wants_room {
            let turn = self.looked_through.0;
            if turn == 0 {
                self.draw();
            }
            // Every shard once, beginning anywhere.
            Chore::MakeRoom(shard(self.random.wrapping_add(u64::from(turn))))
        } else if let Some((next, _)) = self.count {
            if next == 0 {
                self.thought_before = held_bytes;
            }
            Chore::Count(shard(u64::from(next)))
        } else if self.next_sample <= now {
            self.next_sample = now + SAMPLE_EVERY;
            Chore::Sample(shard(self.draw()))
        } else {
            return None;
        };
        self.is_running = true;
        Some(chore)
    }

    /// When the next step is due by itself.
    pub(in super::super) fn wake_time(&self) -> Instant {
        self.next_sample
    }

    /// A step was done: the shard holds so many bytes now. Gives the sum of all shards whenever that is known.
    pub(in super::super) fn done(&mut self, chore: Chore, bytes: u64, held_bytes: u64, has_room: bool) -> Option<u64> {
        self.is_running = false;
        match chore {
            Chore::MakeRoom(_) => {
                self.looked_through.0 += 1;
                self.looked_through.1 += bytes;
                self.wants_room = !has_room;
                if self.looked_through.0 < N_SHARDS {
                    return None;
                }
                // Once round: what is left is known.
                let (_, left) = std::mem::take(&mut self.looked_through);
                Some(left)
            }
            Chore::Count(_) => {
                let (next, sum) = self.count?;
                if next + 1 < N_SHARDS {
                    self.count = Some((next + 1, sum + bytes));
                    return None;
                }
                self.count = None;
                // What was written meanwhile may lie in a shard that was counted before.
                Some(sum + bytes + held_bytes.saturating_sub(self.thought_before))
            }
            Chore::Sample(_) => {
                let sampled = bytes.saturating_mul(u64::from(N_SHARDS));
                if sampled.abs_diff(held_bytes) > MOST_DOUBT.max(held_bytes / 2) {
                    self.recount();
                }
                None
            }
        }
    }

    /// A step could not be done: it is left for a while.
    pub(in super::super) fn failed(&mut self) {
        self.is_running = false;
        self.wants_room = false;
        self.count = None;
    }

    /// The next of a row of numbers without order (xorshift).
    fn draw(&mut self) -> u64 {
        self.random |= 1;
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

fn shard(number: u64) -> u8 {
    number.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shards_are_counted_once_and_the_sum_is_told() {
        let now = Instant::now();
        let mut upkeep = Upkeep::new(now, 7);
        let mut seen = Vec::new();
        let sum = loop {
            let chore = upkeep.next(now, 1000).unwrap();
            assert_eq!(upkeep.next(now, 1000), None, "one at a time");
            let Chore::Count(shard) = chore else { panic!("{chore:?}") };
            seen.push(shard);
            // 500 bytes were written meanwhile.
            if let Some(sum) = upkeep.done(chore, 10, 1500, true) {
                break sum;
            }
        };
        assert_eq!(seen, (0..=255).collect::<Vec<u8>>());
        assert_eq!(sum, 2560 + 500);
        assert_eq!(upkeep.next(now, sum), None);
        assert!(matches!(upkeep.next(now + SAMPLE_EVERY, sum), Some(Chore::Sample(_))));
    }

    #[test]
    fn room_is_made_shard_by_shard_until_there_is_some_or_none_is_left() {
        let now = Instant::now();
        let mut upkeep = Upkeep::new(now, 7);
        upkeep.want_room();
        let first = upkeep.next(now, 0).unwrap();
        assert_eq!(upkeep.done(first, 5, 0, true), None);
        assert!(!upkeep.wants_room());
        upkeep.want_room();
        let mut seen = Vec::new();
        let sum = loop {
            let chore = upkeep.next(now, 0).unwrap();
            let Chore::MakeRoom(shard) = chore else { panic!("{chore:?}") };
            seen.push(shard);
            if let Some(sum) = upkeep.done(chore, 5, 0, false) {
                break sum;
            }
        };
        seen.sort_unstable();
        assert_eq!(seen, (0..=255).collect::<Vec<u8>>());
        assert_eq!(sum, 5 * 256);
    }

    #[test]
    fn a_sum_that_a_sample_contradicts_is_counted_anew() {
        let now = Instant::now();
        let mut upkeep = Upkeep::new(now, 7);
        upkeep.failed();
        let later = now + SAMPLE_EVERY;
        let chore = upkeep.next(later, 1 << 30).unwrap();
        upkeep.done(chore, (1 << 30) / 256, 1 << 30, true);
        assert_eq!(upkeep.next(later, 1 << 30), None);
        let later = later + SAMPLE_EVERY;
        let chore = upkeep.next(later, 1 << 30).unwrap();
        upkeep.done(chore, 1 << 30, 1 << 30, true);
        assert_eq!(upkeep.next(later, 1 << 30), Some(Chore::Count(0)));
    }
}
