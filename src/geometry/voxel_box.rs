//! Half-open boxes of voxel indices.

use std::fmt;

use super::coordinate::{Coordinate, Scale};

/// A half-open box of voxel indices at one scale: `begin <= index < end`, zyx.
///
/// Invariant: `begin <= end` on every axis.
///
/// ```
/// use dvidfs::geometry::{Coordinate, VoxelBox};
/// let data = VoxelBox::from_shape(Coordinate::new(0, 0, -64), Coordinate::new(10, 20, 128)).unwrap();
/// assert_eq!(data.end(), Coordinate::new(10, 20, 64));
/// assert_eq!(data.n_voxels(), 10 * 20 * 128);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VoxelBox {
    begin: Coordinate,
    end: Coordinate,
}

impl VoxelBox {
    /// A box without voxels, at the origin.
    pub const EMPTY: Self = Self { begin: Coordinate::ZERO, end: Coordinate::ZERO };

    /// A box from its corners, or `None` if `end` lies before `begin` on an axis.
    #[must_use]
    pub fn new(begin: Coordinate, end: Coordinate) -> Option<Self> {
        begin.all_le(end).then_some(Self { begin, end })
    }

    /// A box from its first corner and its shape, or `None` if the shape is negative or the end overflows.
    #[must_use]
    pub fn from_shape(begin: Coordinate, shape: Coordinate) -> Option<Self> {
        let mut end = [0; 3];
        for (axis, end) in end.iter_mut().enumerate() {
            *end = begin.axes()[axis].checked_add(shape.axes()[axis])?;
        }
        Self::new(begin, end.into())
    }

    /// The first voxel.
    #[must_use]
    pub fn begin(self) -> Coordinate {
        self.begin
    }

    /// One past the last voxel on each axis.
    #[must_use]
    pub fn end(self) -> Coordinate {
        self.end
    }

    /// Voxels along each axis, as far as they can be counted.
    #[must_use]
    pub fn shape(self) -> Coordinate {
        self.end.zip(self.begin, i64::saturating_sub)
    }

    /// Voxels in the box.
    #[must_use]
    pub fn n_voxels(self) -> u128 {
        self.shape().product()
    }

    /// Whether no voxel lies in the box.
    #[must_use]
    pub fn is_empty(self) -> bool {
        !self.begin.all_lt(self.end)
    }

    /// The smallest box that holds both.
    #[must_use]
    pub fn united(self, other: Self) -> Self {
        Self { begin: self.begin.min(other.begin), end: self.end.max(other.end) }
    }

    /// The voxels in both boxes; empty if they do not meet.
    #[must_use]
    pub fn intersect(self, other: Self) -> Self {
        let begin = self.begin.max(other.begin);
        Self { begin, end: self.end.min(other.end).max(begin) }
    }

    /// Whether every voxel of `other` lies in this box. An empty box lies in every box.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        other.is_empty() || (self.begin.all_le(other.begin) && other.end.all_le(self.end))
    }

    /// Whether this voxel lies in the box.
    #[must_use]
    pub fn contains_voxel(self, voxel: Coordinate) -> bool {
        self.begin.all_le(voxel) && voxel.all_lt(self.end)
    }

    /// The box moved by `offset`.
    #[must_use]
    pub fn translated(self, offset: Coordinate) -> Self {
        Self { begin: self.begin + offset, end: self.end + offset }
    }

    /// The voxels of a coarser scale that this box of full-resolution voxels touches:
    /// `floor(begin / 2^s)` to `ceil(end / 2^s)`.
    #[must_use]
    pub fn at_scale(self, scale: Scale) -> Self {
        let step = Coordinate::splat(scale.factor());
        Self { begin: self.begin.div_floor(step), end: self.end.div_ceil(step) }
    }

    /// Every voxel, z slowest.
    pub fn indices(self) -> impl Iterator<Item = Coordinate> {
        let ([z0, y0, x0], [z1, y1, x1]) = (self.begin.axes(), self.end.axes());
        (z0..z1).flat_map(move |z| (y0..y1).flat_map(move |y| (x0..x1).map(move |x| Coordinate::new(z, y, x))))
    }
}

impl fmt::Display for VoxelBox {
    /// `z0:z1,y0:y1,x0:x1`, half-open.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([z0, y0, x0], [z1, y1, x1]) = (self.begin.axes(), self.end.axes());
        write!(f, "{z0}:{z1},{y0}:{y1},{x0}:{x1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_box(begin: i64, end: i64) -> VoxelBox {
        VoxelBox::new(Coordinate::splat(begin), Coordinate::splat(end)).unwrap()
    }

    #[test]
    fn boxes_that_do_not_meet_intersect_to_nothing() {
        assert!(a_box(0, 4).intersect(a_box(4, 8)).is_empty());
        assert!(a_box(4, 8).intersect(a_box(0, 4)).is_empty());
        assert_eq!(a_box(0, 5).intersect(a_box(-3, 4)), a_box(0, 4));
    }

    #[test]
    fn a_reversed_or_overflowing_box_is_refused() {
        assert_eq!(VoxelBox::new(Coordinate::ONE, Coordinate::new(0, 5, 5)), None);
        assert_eq!(VoxelBox::from_shape(Coordinate::splat(i64::MAX), Coordinate::ONE), None);
    }

    #[test]
    fn a_coarser_box_covers_every_voxel_it_touches() {
        assert_eq!(a_box(-1, 3).at_scale(Scale(1)), a_box(-1, 2));
        assert_eq!(a_box(-70, 130).at_scale(Scale(3)), a_box(-9, 17));
        assert_eq!(a_box(7, 8).at_scale(Scale(0)), a_box(7, 8));
    }

    #[test]
    fn indices_run_x_fastest() {
        let indices: Vec<_> = a_box(0, 2).indices().collect();
        assert_eq!(indices.len(), 8);
        assert_eq!(indices[1], Coordinate::new(0, 0, 1));
        assert_eq!(indices[2], Coordinate::new(0, 1, 0));
    }
}
