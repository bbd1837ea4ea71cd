//! Which blocks will be read next, told from those that were. Pure.
//!
//! A reader that walks files of chunks is sequential in blocks, in whatever order of axes. Its walk is an odometer:
//! steps along one axis, then back to the start of the row and one step along another. Nothing is kept of a single
//! reader: each read looks at what was seen around it, so that any number of walks may interleave.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::geometry::{BlockBox, BlockIndex, Coordinate, VoxelBox};

use super::key::GridKey;

/// How many blocks of a grid are remembered as seen: a few rows of a large volume.
const MOST_SEEN: usize = 8192;
/// A read that repeats one of so many reads before it says nothing new: a block is read in many pieces.
const REPEATS: u64 = 32;
/// A step counts as sequential if the one before it is at most so many reads ago.
const LONGEST_STRIDE: u64 = 256;
/// How far back along an axis a walk is followed.
const LONGEST_RUN: usize = 64;
/// So many steps of a walk may be under way at once, less one.
const MOST_MISSING: i64 = 4;
/// So many grids are remembered; the one that was read least recently is forgotten first.
const MOST_GRIDS: usize = 32;

/// How far ahead of a reader blocks are fetched, and how many of them are given at once if possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) most: usize,
    /// Blocks that make a good request. Those given one by one, step by step, would each make a request of their own.
    pub(super) portion: usize,
}

/// What was seen of all grids.
#[derive(Debug, Default)]
pub(super) struct Prefetcher {
    grids: HashMap<GridKey, Seen>,
    n_reads: u64,
}

/// What was seen of one grid.
#[derive(Debug, Default)]
struct Seen {
    /// When each block was read, counted in reads of this grid.
    when: HashMap<Coordinate, u64>,
    order: VecDeque<(Coordinate, u64)>,
    now: u64,
    /// What was given as next and not yet read.
    given: HashSet<BlockIndex>,
    given_order: VecDeque<BlockIndex>,
    last_used: u64,
}

/// One wheel of the odometer.
#[derive(Clone, Copy, Debug)]
struct Walk {
    axis: usize,
    step: Coordinate,
    /// Reads between one step and the next.
    stride: u64,
    /// Steps that lie behind.
    behind: usize,
    /// Steps to come before the wheel turns over, where the walk before this one tells.
    ahead: Option<usize>,
}

/// Where the odometer will be.
#[derive(Clone, Copy, Debug)]
struct Step {
    at: VoxelBox,
    /// A slower wheel than the fastest turned to come here.
    begins_row: bool,
}

impl Prefetcher {
    /// Notes a read and gives the blocks that will probably be read next and were not given before: none outside
    /// `bounds`, and none yet as long as there is less than a portion of them and the reader is far from them.
    pub(super) fn observe(
        &mut self,
        grid: GridKey,
        blocks: &[BlockIndex],
        bounds: Option<BlockBox>,
        window: Window,
    ) -> Vec<BlockIndex> {
        // A read larger than the window keeps all connections busy by itself.
        let Some(read) = box_of(blocks).filter(|_| blocks.len() <= window.most) else { return Vec::new() };
        self.n_reads += 1;
        if !self.grids.contains_key(&grid) && self.grids.len() >= MOST_GRIDS {
            let oldest = self.grids.iter().min_by_key(|(_, seen)| seen.last_used).map(|(&key, _)| key);
            oldest.and_then(|key| self.grids.remove(&key));
        }
        let seen = self.grids.entry(grid).or_default();
        seen.last_used = self.n_reads;
        seen.observe(read, blocks, bounds, window)
    }
}

/// The smallest box round some blocks.
fn box_of(blocks: &[BlockIndex]) -> Option<VoxelBox> {
    let first = blocks.first()?.0;
    let (begin, last) = blocks.iter().fold((first, first), |(low, high), block| (low.min(block.0), high.max(block.0)));
    VoxelBox::new(begin, last.map(|n| n.saturating_add(1)))
}

impl Seen {
    fn observe(
        &mut self,
        read: VoxelBox,
        blocks: &[BlockIndex],
        bounds: Option<BlockBox>,
        window: Window,
    ) -> Vec<BlockIndex> {
        if blocks.iter().all(|&block| self.is_recent(block)) {
            return Vec::new();
        }
        self.now += 1;
        let walks = self.walks(read);
        self.note(blocks);
        let steps = next_steps(read, &walks, bounds, window);
        let blocks: Vec<_> = self.portion(&steps, window).iter().flat_map(|step| BlockBox(step.at).blocks()).collect();
        blocks.into_iter().filter(|&block| self.give(block, window.most)).collect()
    }

    /// The steps whose blocks are given now: whole rows if possible, so that the rows to come make whole requests too.
    fn portion<'a>(&self, steps: &'a [Step], window: Window) -> &'a [Step] {
        let n_new = |step: &Step| BlockBox(step.at).blocks().filter(|&block| !self.is_known(block)).count();
        let Some(first) = steps.iter().position(|step| n_new(step) > 0) else { return &[] };
        let (known, new) = steps.split_at(first);
        let n_known: u128 = known.iter().map(|step| step.at.n_voxels()).sum();
        let enough = window.portion.min(usize::try_from(n_known).unwrap_or(usize::MAX));
        if new.iter().map(n_new).sum::<usize>() < enough {
            return &[];
        }
        let last_row = new.iter().rposition(|step| step.begins_row).filter(|&row| row > 0);
        &new[..last_row.unwrap_or(new.len())]
    }

    fn note(&mut self, blocks: &[BlockIndex]) {
        for &block in blocks {
            self.when.insert(block.0, self.now);
            self.order.push_back((block.0, self.now));
            self.given.remove(&block);
        }
        while self.order.len() > MOST_SEEN {
            let Some((block, when)) = self.order.pop_front() else { return };
            if self.when.get(&block) == Some(&when) {
                self.when.remove(&block);
            }
        }
    }

    fn is_known(&self, block: BlockIndex) -> bool {
        self.is_recent(block) || self.given.contains(&block)
    }

    /// Whether this block is new among those that were given.
    fn give(&mut self, block: BlockIndex, window: usize) -> bool {
        if self.is_known(block) {
            return false;
        }
        self.given.insert(block);
        self.given_order.push_back(block);
        while self.given_order.len() > 4 * window.max(1) {
            let oldest = self.given_order.pop_front();
            oldest.map(|block| self.given.remove(&block));
        }
        true
    }

    /// Whether this block was read a few reads ago.
    fn is_recent(&self, block: BlockIndex) -> bool {
        self.when.get(&block.0).is_some_and(|&when| when + REPEATS > self.now)
    }

    /// The walks that this read may be a step of, the fastest first.
    fn walks(&self, read: VoxelBox) -> Vec<Walk> {
        let at = read.begin();
        let mut walks: Vec<Walk> = (0..3).filter_map(|axis| self.walk_behind(at, axis, read.shape())).collect();
        walks.sort_by_key(|walk| walk.stride);
        let Some(slowest) = walks.last().copied() else { return walks };
        // The start of a row: the row before tells how it goes on.
        let row_before = at - slowest.step;
        let missing: Vec<usize> = (0..3).filter(|axis| walks.iter().all(|walk| walk.axis != *axis)).collect();
        walks.extend(missing.into_iter().filter_map(|axis| self.walk_ahead(row_before, axis, read.shape())));
        for walk in &mut walks {
            if walk.axis != slowest.axis {
                walk.ahead = Some(self.ahead(row_before, walk.step));
            }
        }
        walks.sort_by_key(|walk| walk.stride);
        walks
    }

    /// The walk along an axis whose steps before this one were seen.
    ///
    /// Readers that share a walk overtake each other, so the longest walk counts, and a few steps may be missing.
    fn walk_behind(&self, at: Coordinate, axis: usize, shape: Coordinate) -> Option<Walk> {
        let walk = |step: Coordinate| {
            let mut near = (1..=MOST_MISSING).map(|n| at - step.map(|axis| axis * n));
            let stride = self.now - near.find_map(|place| self.when.get(&place))?;
            Some(Walk { axis, step, stride, behind: self.behind(at, step), ahead: None })
        };
        let walks = steps(axis, shape).into_iter().filter_map(walk);
        walks.max_by_key(|walk| (walk.behind, std::cmp::Reverse(walk.stride)))
    }

    /// The walk along an axis that another one, which began here, went on with.
    fn walk_ahead(&self, begun: Coordinate, axis: usize, shape: Coordinate) -> Option<Walk> {
        let start = self.when.get(&begun)?;
        let walk = |step: Coordinate| {
            let stride = self.when.get(&(begun + step))?.checked_sub(*start).filter(|&stride| stride > 0)?;
            Some(Walk { axis, step, stride, behind: 0, ahead: None })
        };
        steps(axis, shape).into_iter().filter_map(walk).min_by_key(|walk| walk.stride)
    }

    /// How many steps without a hole were seen from here on.
    fn ahead(&self, at: Coordinate, step: Coordinate) -> usize {
        let places = std::iter::successors(Some(at + step), |&place| Some(place + step));
        places.take(LONGEST_RUN).take_while(|place| self.when.contains_key(place)).count()
    }

    /// How many steps lie behind, where not more than a few in a row were not seen.
    fn behind(&self, at: Coordinate, step: Coordinate) -> usize {
        let (mut place, mut behind, mut missing) = (at, 0, 0);
        for n in 1..=LONGEST_RUN {
            place = place - step;
            if self.when.contains_key(&place) {
                (behind, missing) = (n, 0);
            } else {
                missing += 1;
                if missing >= MOST_MISSING {
                    break;
                }
            }
        }
        behind
    }
}

/// One step along an axis, forward and back.
fn steps(axis: usize, shape: Coordinate) -> [Coordinate; 2] {
    let mut step = [0; 3];
    step[axis] = shape.axes()[axis];
    [Coordinate::from(step), Coordinate::from(step.map(|n| -n))]
}

/// How many steps the odometer has made, as far as they were seen: a whole row for each step of a slower wheel.
fn steps_behind(walks: &[Walk]) -> usize {
    let (mut behind, mut row) = (0_usize, 1_usize);
    for walk in walks {
        behind = behind.saturating_add(walk.behind.saturating_mul(row));
        row = row.saturating_mul(walk.behind + walk.ahead.unwrap_or(0) + 1);
    }
    behind
}

/// Where the odometer goes from here, within bounds and as far as the window goes.
fn next_steps(read: VoxelBox, walks: &[Walk], bounds: Option<BlockBox>, window: Window) -> Vec<Step> {
    let is_sequential = walks.first().is_some_and(|walk| walk.stride <= LONGEST_STRIDE);
    let evidence = steps_behind(walks);
    let n_blocks = usize::try_from(read.n_voxels()).unwrap_or(usize::MAX).max(1);
    // Two slabs of blocks that touch with a whole face are no accident; two blocks may be.
    let least_evidence = if n_blocks >= window.portion { 1 } else { 2 };
    if !is_sequential || evidence < least_evidence {
        return Vec::new();
    }
    // Streams that interleave share the window: the stride tells how many there are. A walk that has just begun is
    // followed for half a request and twice as far as it came, an established one as far as the window goes.
    let n_streams = usize::try_from(walks[0].stride).unwrap_or(usize::MAX).max(1);
    let n_steps =
        (window.most / n_blocks / n_streams).max(1).min(evidence.saturating_mul(2) + window.portion / 2 / n_blocks);
    let mut positions: Vec<usize> = walks.iter().map(|walk| walk.behind).collect();
    let ends: Vec<Option<usize>> = walks.iter().map(|walk| walk.ahead.map(|ahead| walk.behind + ahead)).collect();
    let mut at = read;
    let mut steps = Vec::new();
    while steps.len() < n_steps {
        let Some((wheel, next)) = turn(at, walks, &mut positions, &ends, bounds) else { break };
        at = next;
        let inside = bounds.map_or(next, |bounds| next.intersect(bounds.0));
        steps.push(Step { at: inside, begins_row: wheel > 0 });
    }
    steps
}

/// Turns the odometer by one: the fastest wheel that can still turn does, and all faster ones start again. Gives which
/// wheel it is, and where that leads.
fn turn(
    at: VoxelBox,
    walks: &[Walk],
    positions: &mut [usize],
    ends: &[Option<usize>],
    bounds: Option<BlockBox>,
) -> Option<(usize, VoxelBox)> {
    let mut at = at;
    for (wheel, walk) in walks.iter().enumerate() {
        let next = at.translated(walk.step);
        let is_inside = bounds.is_none_or(|bounds| !next.intersect(bounds.0).is_empty());
        if is_inside && ends[wheel].is_none_or(|end| positions[wheel] < end) {
            positions[wheel] += 1;
            return Some((wheel, next));
        }
        let back = i64::try_from(positions[wheel]).unwrap_or(0);
        at = at.translated(walk.step.map(|n| -n * back));
        positions[wheel] = 0;
    }
    None
}

#[cfg(test)]
#[path = "prefetch_tests.rs"]
mod tests;
