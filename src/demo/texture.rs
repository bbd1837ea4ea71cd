//! What a voxel of the demo volume is: tissue of cells with dark membranes, by integer arithmetic alone.
//!
//! Cells are the regions nearest to seeds that lie jittered on a lattice; labels are the cells, so labels fit the gray.

use crate::geometry::Coordinate;

/// Voxels between the seeds of two cells, on average.
const CELL: i64 = 24;
/// A membrane is where the squared distances to the two nearest seeds differ by less.
const MEMBRANE: i64 = 90;
/// Set on some supervoxels, so that a label that goes through a float is seen.
const HIGH_BIT: u64 = 1 << 61;

/// A well-mixed number for a position: the finalizer of MurmurHash3 over its three axes.
pub(super) fn hash(position: Coordinate, salt: u64) -> u64 {
    let mut mixed = salt;
    for axis in position.axes() {
        mixed ^= axis.cast_unsigned();
        mixed = (mixed ^ mixed >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed = (mixed ^ mixed >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        mixed ^= mixed >> 33;
    }
    mixed
}

/// The cell that a voxel lies in, and how far it is from the membrane (0 and below: inside it).
struct InCell {
    cell: Coordinate,
    from_membrane: i64,
}

/// Looks at the eight lattice cells around the voxel. Seeds stay in the middle half of their cells.
fn in_cell(voxel: Coordinate) -> InCell {
    let first = voxel.map(|n| (n - CELL / 2).div_euclid(CELL));
    let (mut cell, mut nearest, mut second) = (first, i64::MAX, i64::MAX);
    for corner in 0..8 {
        let lattice = first + Coordinate::new(corner >> 2 & 1, corner >> 1 & 1, corner & 1);
        let jitter = hash(lattice, 1);
        let mut distance = 0;
        for axis in 0..3 {
            let offset = CELL / 4 + (jitter >> (axis * 8) & 0xff).cast_signed() % (CELL / 2);
            let along = voxel.axes()[axis] - (lattice.axes()[axis] * CELL + offset);
            distance += along * along;
        }
        if distance < nearest {
            second = nearest;
            nearest = distance;
            cell = lattice;
        } else {
            second = second.min(distance);
        }
    }
    InCell { cell, from_membrane: second - nearest - MEMBRANE }
}

/// Gray of tissue: dark membranes, cells of different brightness, fine grain.
pub(super) fn gray(voxel: Coordinate) -> u8 {
    let place = in_cell(voxel);
    let grain = hash(voxel, 2) % 23;
    let level = if place.from_membrane < 0 {
        38 + place.from_membrane.unsigned_abs() % 7
    } else {
        132 + hash(place.cell, 3) % 64 + hash(voxel.map(|n| n >> 2), 4) % 19
    };
    u8::try_from(level + grain).unwrap_or(u8::MAX)
}

/// The supervoxel of a voxel; one cell in 17 is no supervoxel.
pub(super) fn supervoxel(voxel: Coordinate) -> u64 {
    supervoxel_of_cell(in_cell(voxel).cell)
}

fn supervoxel_of_cell(cell: Coordinate) -> u64 {
    if hash(cell, 5).is_multiple_of(17) {
        return 0;
    }
    let packed = cell.axes().iter().fold(0, |id, axis| id << 16 | (axis.cast_unsigned() & 0xffff));
    let high = if hash(cell, 6).is_multiple_of(4) { HIGH_BIT } else { 0 };
    (packed + 1) | high
}

/// The body of a cell's supervoxel: cells are merged two by two along each axis, but for some that stay alone.
fn body_of_cell(cell: Coordinate, version_salt: u64) -> u64 {
    let alone = hash(cell, 7 ^ version_salt).is_multiple_of(5);
    if alone { supervoxel_of_cell(cell) } else { hash(cell.map(|n| n.div_euclid(2)), 8) % (1 << 40) + (1 << 50) }
}

/// All pairs of supervoxel and body in which the two differ, for the cells that reach into a box.
pub(super) fn mapping(begin: Coordinate, end: Coordinate, version_salt: u64) -> Vec<(u64, u64)> {
    let low = begin.map(|n| (n - CELL / 2).div_euclid(CELL));
    let high = end.map(|n| (n + CELL / 2).div_euclid(CELL) + 1);
    let mut pairs = Vec::new();
    for z in low.z()..=high.z() {
        for y in low.y()..=high.y() {
            for x in low.x()..=high.x() {
                let cell = Coordinate::new(z, y, x);
                let (supervoxel, body) = (supervoxel_of_cell(cell), body_of_cell(cell, version_salt));
                if supervoxel != 0 && supervoxel != body {
                    pairs.push((supervoxel, body));
                }
            }
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::geometry::VoxelBox;

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
        assert!(bodies.len() * 3 < pairs.len());
        assert_ne!(mapping(Coordinate::ZERO, Coordinate::splat(200), 9), pairs, "versions differ");
    }
}
