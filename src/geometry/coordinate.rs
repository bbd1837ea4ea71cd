//! Three integers in zyx order, and the scale they are counted at.

use std::fmt;
use std::ops::{Add, Mul, Sub};

/// Three integers in **zyx** order: a position, a shape or a step.
///
/// ```
/// use dvidfs::geometry::Coordinate;
/// let position = Coordinate::new(-1, 70, 64);
/// assert_eq!(position.div_floor(Coordinate::splat(64)), Coordinate::new(-1, 1, 1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Coordinate([i64; 3]);

impl Coordinate {
    /// The origin, or an empty shape.
    pub const ZERO: Self = Self([0; 3]);
    /// One along each axis.
    pub const ONE: Self = Self([1; 3]);

    /// A coordinate from its three axes, slowest first.
    #[must_use]
    pub const fn new(z: i64, y: i64, x: i64) -> Self {
        Self([z, y, x])
    }

    /// The same number along each axis.
    #[must_use]
    pub const fn splat(value: i64) -> Self {
        Self([value; 3])
    }

    /// The slowest axis.
    #[must_use]
    pub const fn z(self) -> i64 {
        self.0[0]
    }

    /// The middle axis.
    #[must_use]
    pub const fn y(self) -> i64 {
        self.0[1]
    }

    /// The fastest axis.
    #[must_use]
    pub const fn x(self) -> i64 {
        self.0[2]
    }

    /// All three, zyx.
    #[must_use]
    pub const fn axes(self) -> [i64; 3] {
        self.0
    }

    /// Each axis by itself.
    #[must_use]
    pub fn map(self, f: impl FnMut(i64) -> i64) -> Self {
        Self(self.0.map(f))
    }

    /// Each axis of two coordinates.
    #[must_use]
    pub fn zip(self, other: Self, f: impl Fn(i64, i64) -> i64) -> Self {
        Self(std::array::from_fn(|axis| f(self.0[axis], other.0[axis])))
    }

    /// How many whole steps lie below each axis, rounded towards minus infinity; `step` is positive.
    #[must_use]
    pub fn div_floor(self, step: Self) -> Self {
        self.zip(step, i64::div_euclid)
    }

    /// How many steps cover each axis, rounded towards plus infinity; `step` is positive.
    #[must_use]
    pub fn div_ceil(self, step: Self) -> Self {
        self.zip(step, |value, step| -(-value).div_euclid(step))
    }

    /// The smaller of each axis.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        self.zip(other, i64::min)
    }

    /// The larger of each axis.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        self.zip(other, i64::max)
    }

    /// Whether every axis is at most the other's.
    #[must_use]
    pub fn all_le(self, other: Self) -> bool {
        (0..3).all(|axis| self.0[axis] <= other.0[axis])
    }

    /// Whether every axis is below the other's.
    #[must_use]
    pub fn all_lt(self, other: Self) -> bool {
        (0..3).all(|axis| self.0[axis] < other.0[axis])
    }

    /// The product of the axes of a shape: exact, or the largest number there is for shapes beyond that.
    ///
    /// An axis below zero counts as empty.
    #[must_use]
    pub fn product(self) -> u128 {
        let axes = self.0.iter().map(|&n| u128::from(u64::try_from(n).unwrap_or(0)));
        axes.fold(1, u128::saturating_mul)
    }

    /// The axes of a shape as array lengths, or `None` if one is negative.
    #[must_use]
    pub fn to_usize(self) -> Option<[usize; 3]> {
        let [z, y, x] = self.0.map(usize::try_from);
        Some([z.ok()?, y.ok()?, x.ok()?])
    }
}

impl From<[i64; 3]> for Coordinate {
    fn from(zyx: [i64; 3]) -> Self {
        Self(zyx)
    }
}

impl Add for Coordinate {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
}

impl Sub for Coordinate {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
}

impl Mul for Coordinate {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }
}

impl fmt::Display for Coordinate {
    /// `z,y,x`, as log lines show a block.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{}", self.z(), self.y(), self.x())
    }
}

/// DVID's down-resolution level: 0 is full resolution, each next halves every axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scale(pub u8);

impl Scale {
    /// Full resolution.
    pub const FULL: Self = Self(0);

    /// The largest scale that is ever served: 2^20 voxels of full resolution along an axis.
    pub const MAX: Self = Self(20);

    /// Voxels of full resolution along one axis of a voxel of this scale.
    #[must_use]
    pub fn factor(self) -> i64 {
        1 << self.0.min(Self::MAX.0)
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_division(value: i64, step: i64, floor: i64, ceil: i64) {
        let (value, step) = (Coordinate::splat(value), Coordinate::splat(step));
        assert_eq!(value.div_floor(step), Coordinate::splat(floor));
        assert_eq!(value.div_ceil(step), Coordinate::splat(ceil));
    }

    #[test]
    fn division_rounds_towards_minus_and_plus_infinity() {
        //             value step floor ceil
        check_division(0, 64, 0, 0);
        check_division(63, 64, 0, 1);
        check_division(64, 64, 1, 1);
        check_division(-1, 64, -1, 0);
        check_division(-64, 64, -1, -1);
        check_division(-65, 64, -2, -1);
    }

    #[test]
    fn a_product_does_not_overflow() {
        assert_eq!(Coordinate::splat(1 << 40).product(), 1 << 120);
        assert_eq!(Coordinate::splat(i64::MAX).product(), u128::MAX);
        assert_eq!(Coordinate::new(5, -1, 5).product(), 0);
    }
}
