//! What a voxel of the demo volume is: tissue of cells with dark membranes, by integer arithmetic alone.
//!
//! Seeds lie jittered on a lattice, and a voxel belongs to the nearest seed of the 27 lattice cells around it (Worley
//! noise); how much farther the second nearest is says how near the membrane is. Labels are the cells, so labels fit the gray.

use std::cell::RefCell;

use crate::geometry::{Coordinate, VoxelBox};

/// Voxels between the seeds of two cells, on average. A multiple of [`TILE`].
const CELL: i64 = 24;
/// The edge of the boxes of voxels that share their candidate seeds and the corners of the smooth noise.
const TILE: i64 = 8;
/// Set on some supervoxels, so that a label that goes through a float is seen.
const HIGH_BIT: u64 = 1 << 61;

/// A well-mixed number for a position: the finalizer of MurmurHash3 over its three axes.
pub(super) fn hash(position: Coordinate, salt: u64) -> u64 {
    let [z, y, x] = position.axes();
    mixed(mixed(mixed(salt, z), y), x)
}

fn mixed(salt: u64, axis: i64) -> u64 {
    let mixed = salt ^ axis.cast_unsigned();
    let mixed = (mixed ^ mixed >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ mixed >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ mixed >> 33
}

/// The lowest byte.
fn byte(hash: u64) -> i64 {
    (hash & 0xff).cast_signed()
}

fn squared(offset: Coordinate) -> i64 {
    offset.axes().iter().map(|n| n * n).sum()
}

#[derive(Clone, Copy)]
struct Seed {
    at: Coordinate,
    /// How the cell looks.
    look: u64,
    supervoxel: u64,
}

/// The seed of a lattice cell, anywhere in it.
fn seed(cell: Coordinate) -> Seed {
    let jitter = hash(cell, 1);
    let jitter = Coordinate::new(byte(jitter), byte(jitter >> 8), byte(jitter >> 16));
    Seed {
        at: cell.zip(jitter, |cell, jitter| cell * CELL + jitter * CELL / 256),
        look: hash(cell, 3),
        supervoxel: supervoxel_of_cell(cell),
    }
}

/// The 27 seeds around a lattice cell.
fn seeds_around(cell: Coordinate) -> impl Iterator<Item = Seed> {
    let around = VoxelBox::new(cell - Coordinate::ONE, cell + Coordinate::splat(2));
    around.expect("three cells along each axis").indices().map(seed)
}

/// What the voxels of a box of 8 x 8 x 8 have in common. The box lies within one lattice cell.
#[derive(Clone)]
struct Tile {
    index: Coordinate,
    /// Those of the 27 seeds that can be nearest or second nearest to a voxel of the tile.
    seeds: Vec<Seed>,
    /// Smooth noise at the corners, 0 to 255.
    corners: [[[i64; 2]; 2]; 2],
}

impl Tile {
    fn new(index: Coordinate) -> Self {
        let (first, last) =
            (index * Coordinate::splat(TILE), (index + Coordinate::ONE) * Coordinate::splat(TILE) - Coordinate::ONE);
        let seeds: Vec<Seed> = seeds_around(first.div_floor(Coordinate::splat(CELL))).collect();
        let farthest = |seed: &Seed| squared((seed.at - first).map(i64::abs).max((seed.at - last).map(i64::abs)));
        let closest = |seed: &Seed| squared(seed.at.max(first).min(last) - seed.at);
        let mut limits: Vec<i64> = seeds.iter().map(farthest).collect();
        limits.sort_unstable();
        let corner = |z, y, x| byte(hash(index + Coordinate::new(z, y, x), 4));
        Self {
            index,
            // No voxel of the tile is farther than this from two seeds.
            seeds: seeds.into_iter().filter(|seed| closest(seed) <= limits[1]).collect(),
            corners: [0, 1].map(|z| [0, 1].map(|y| [0, 1].map(|x| corner(z, y, x)))),
        }
    }

    /// The seed of a voxel's cell, the squared distance to it, and how much larger the one to the second nearest is.
    ///
    /// Plain arithmetic, because every voxel comes here and the tests run with little optimization.
    fn nearest(&self, voxel: Coordinate) -> (&Seed, i64, i64) {
        let [z, y, x] = voxel.axes();
        let (mut own, mut nearest, mut second) = (&self.seeds[0], i64::MAX, i64::MAX);
        for seed in &self.seeds {
            let [sz, sy, sx] = seed.at.axes();
            let (dz, dy, dx) = (z - sz, y - sy, x - sx);
            let distance = dz * dz + dy * dy + dx * dx;
            if distance < nearest {
                second = nearest;
                nearest = distance;
                own = seed;
            } else if distance < second {
                second = distance;
            }
        }
        (own, nearest, second - nearest)
    }

    /// Smooth noise between the corners, 0 to 255.
    fn smooth(&self, voxel: Coordinate) -> i64 {
        let [z, y, x] = voxel.axes();
        // Tiles begin at multiples of a power of two.
        let (z, y, x) = (z & (TILE - 1), y & (TILE - 1), x & (TILE - 1));
        let between = |a: i64, b: i64, at: i64| a * (TILE - at) + b * at;
        let [[[a, b], [c, d]], [[e, f], [g, h]]] = self.corners;
        let front = between(between(a, b, x), between(c, d, x), y);
        let back = between(between(e, f, x), between(g, h, x), y);
        between(front, back, z) / (TILE * TILE * TILE)
    }
}

/// Tiles that are kept by each thread: enough for a row of tiles of a few blocks.
const KEPT: usize = 1024;

thread_local! {
    static TILES: RefCell<Vec<Option<Tile>>> = RefCell::new(vec![None; KEPT]);
}

/// Calls `f` with the tile of a voxel. Voxels come in rows, so it is mostly there already.
fn with_tile<T>(voxel: Coordinate, f: impl FnOnce(&Tile) -> T) -> T {
    let [z, y, x] = voxel.axes();
    // The shift rounds towards minus infinity, as a tile's index must.
    let (z, y, x) = (z >> TILE.trailing_zeros(), y >> TILE.trailing_zeros(), x >> TILE.trailing_zeros());
    let index = Coordinate::new(z, y, x);
    let slot = usize::try_from(((z & 7) * 8 + (y & 7)) * 16 + (x & 15)).expect("below 1024");
    TILES.with_borrow_mut(|tiles| {
        let slot = &mut tiles[slot];
        match slot {
            Some(tile) if tile.index == index => f(tile),
            _ => f(slot.insert(Tile::new(index))),
        }
    })
}

/// The gray value in the middle of a cube of so many voxels along each axis.
///
/// Of a cube larger than a cell nothing is left but gray with some noise, and no cells need be looked for.
pub(super) fn gray_of(at: Coordinate, edge: i64) -> u8 {
    if edge > CELL { 112 + hash(at, 17).to_le_bytes()[0] % 32 } else { gray(at) }
}

/// Gray of tissue: dark membranes, cells of different brightness with darker organelles, smooth noise and fine grain.
/// From 38 to 231.
fn gray(voxel: Coordinate) -> u8 {
    let (look, nearest, beyond, smooth) = with_tile(voxel, |tile| {
        let (seed, nearest, beyond) = tile.nearest(voxel);
        (seed.look, nearest, beyond, tile.smooth(voxel))
    });
    let grain = byte(hash(voxel, 2)) % 13;
    // Half the difference of squared distances over the distance of the seeds is the distance from the membrane.
    let depth = beyond * 4 / (2 * CELL);
    let organelle = look & 0x100 != 0 && nearest < 25;
    let inside = 122 + byte(look) % 40 + smooth / 5 - if organelle { 55 } else { 0 };
    let membrane = 38 + byte(look >> 16) % 9;
    let level = match depth {
        ..3 => membrane,
        3..8 => membrane + (inside - membrane) * (depth - 3) / 5,
        _ => inside,
    };
    u8::try_from(level + grain).expect("tissue is between 38 and 231")
}

/// The supervoxel of a voxel; one cell in 17 is no supervoxel.
pub(super) fn supervoxel(voxel: Coordinate) -> u64 {
    with_tile(voxel, |tile| tile.nearest(voxel).0.supervoxel)
}

fn supervoxel_of_cell(cell: Coordinate) -> u64 {
    if hash(cell, 5).is_multiple_of(17) {
        return 0;
    }
    let packed = cell.axes().iter().fold(0, |id, axis| id << 16 | (axis.cast_unsigned() & 0xffff));
    let high = if hash(cell, 6).is_multiple_of(4) { HIGH_BIT } else { 0 };
    (packed + 1) | high
}

/// The body of a cell's supervoxel: cells are merged two by two along each axis, but for some that stay alone
/// and some that stopped being a supervoxel, which is body 0.
fn body_of_cell(cell: Coordinate, version_salt: u64) -> u64 {
    if hash(cell, 9).is_multiple_of(31) {
        return 0;
    }
    let alone = hash(cell, 7 ^ version_salt).is_multiple_of(5);
    if alone { supervoxel_of_cell(cell) } else { hash(cell.map(|n| n.div_euclid(2)), 8) % (1 << 40) + (1 << 50) }
}

/// All pairs of supervoxel and body in which the two differ, for the cells that reach into a box.
pub(super) fn mapping(begin: Coordinate, end: Coordinate, version_salt: u64) -> Vec<(u64, u64)> {
    let cell = Coordinate::splat(CELL);
    let cells = VoxelBox::new(begin.div_floor(cell) - Coordinate::ONE, end.div_ceil(cell) + Coordinate::ONE);
    let pair = |cell| (supervoxel_of_cell(cell), body_of_cell(cell, version_salt));
    let pairs = cells.expect("a box ends after it begins").indices().map(pair);
    pairs.filter(|&(supervoxel, body)| supervoxel != 0 && supervoxel != body).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn tiles_find_the_same_cells_as_looking_at_all_27_seeds() {
        let voxels = VoxelBox::from_shape(Coordinate::new(-29, 100, -5), Coordinate::new(40, 37, 43)).unwrap();
        for voxel in voxels.indices() {
            let around = seeds_around(voxel.div_floor(Coordinate::splat(CELL)));
            let mut all: Vec<_> = around.map(|seed| (squared(voxel - seed.at), seed.look)).collect();
            all.sort_by_key(|(distance, _)| *distance);
            let (look, nearest, beyond) = with_tile(voxel, |tile| {
                let (seed, nearest, beyond) = tile.nearest(voxel);
                (seed.look, nearest, beyond)
            });
            assert_eq!((nearest, beyond), (all[0].0, all[1].0 - all[0].0), "{voxel}");
            if all[0].0 < all[1].0 {
                assert_eq!(look, all[0].1, "{voxel}");
            }
        }
    }

    #[test]
    fn tissue_is_the_same_on_every_machine() {
        let voxels = VoxelBox::from_shape(Coordinate::splat(-20), Coordinate::splat(40)).unwrap();
        let sum = voxels.indices().fold(0, |sum, voxel| {
            let values = Coordinate::new(gray(voxel).into(), supervoxel(voxel).cast_signed(), 0);
            hash(values, sum)
        });
        assert_eq!(sum, 2_715_816_611_624_513_281);
    }

    #[test]
    fn no_axis_has_a_short_period() {
        for period in 1..200 {
            for step in [Coordinate::new(period, 0, 0), Coordinate::new(0, period, 0), Coordinate::new(0, 0, period)] {
                let same = (0..64).filter(|&n| gray(Coordinate::splat(n)) == gray(Coordinate::splat(n) + step)).count();
                assert!(same < 48, "{step}: {same} of 64 equal");
            }
        }
    }

    #[test]
    fn labels_are_large_many_and_fit_the_gray() {
        let voxels = VoxelBox::from_shape(Coordinate::splat(-40), Coordinate::splat(80)).unwrap();
        let labels: BTreeSet<_> = voxels.indices().map(supervoxel).collect();
        assert!(labels.len() > 30 && labels.contains(&0) && labels.iter().any(|&label| label > 1 << 60));
        let dark = voxels.indices().filter(|&voxel| gray(voxel) < 80).count();
        assert!((10_000..200_000).contains(&dark), "{dark} of 512,000 voxels are membrane");
    }

    #[test]
    fn bodies_hold_several_supervoxels_and_some_hold_one() {
        let pairs = mapping(Coordinate::ZERO, Coordinate::splat(200), 0);
        let bodies: BTreeSet<_> = pairs.iter().map(|pair| pair.1).collect();
        let supervoxels: BTreeSet<_> = pairs.iter().map(|pair| pair.0).collect();
        assert_eq!(supervoxels.len(), pairs.len(), "each supervoxel once");
        assert!(bodies.len() * 3 < pairs.len() && bodies.contains(&0));
        assert_ne!(mapping(Coordinate::ZERO, Coordinate::splat(200), 9), pairs, "versions differ");
    }
}
