//! What chunk files are called, and how their names nest.

use std::fmt::Write as _;

use crate::array::ArraySpec;
use crate::geometry::{Coordinate, VoxelBox};

/// How the chunks of a grid are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// `<z>/<y>/<x>`: chunk indices as decimal numbers.
    Zyx,
    /// `0/<z>/<y>/<x>`: all channels are in one chunk.
    ChannelZyx,
    /// `<x>/<y>/<z>`
    Xyz,
    /// `<x>/<y>/<z>/0`: all channels are in one chunk.
    XyzChannel,
    /// `<x0>-<x1>_<y0>-<y1>_<z0>-<z1>` in DVID voxels, all in one directory.
    Boxes,
    /// `<index>.<extension>` with at least six digits, all in one directory: planes across one axis.
    Planes {
        /// The axis that is counted.
        axis: usize,
        /// What follows the dot.
        extension: &'static str,
    },
}

/// Where the chunks of a grid lie, as far as names tell of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The first voxel of chunk (0, 0, 0).
    pub(super) origin: Coordinate,
    /// Voxels of a chunk.
    pub(super) chunk_shape: Coordinate,
}

impl Naming {
    /// How Zarr names chunks: an index for each axis, that of the channels first.
    pub(super) fn of_zarr(spec: &ArraySpec) -> Self {
        if spec.channels.is_some() { Self::ChannelZyx } else { Self::Zyx }
    }

    /// The parts of a chunk's path: each with the axes that its name counts. Together they count each axis once.
    pub(super) fn steps(self) -> &'static [&'static [usize]] {
        match self {
            Self::Zyx => &[&[0], &[1], &[2]],
            Self::ChannelZyx => &[&[], &[0], &[1], &[2]],
            Self::Xyz => &[&[2], &[1], &[0]],
            Self::XyzChannel => &[&[2], &[1], &[0], &[]],
            Self::Boxes | Self::Planes { .. } => &[&[0, 1, 2]],
        }
    }

    /// Writes one part of a path, from the chunk indices along all axes (of those not counted so far anything), and what
    /// the chunk holds.
    pub(super) fn write(self, step: usize, index: [u64; 3], held: VoxelBox, name: &mut String) {
        let result = match (self, self.steps()[step]) {
            (Self::Boxes, _) => write_box(held, name),
            (Self::Planes { axis, extension }, _) => write!(name, "{:06}.{extension}", index[axis]),
            (_, [axis]) => write!(name, "{}", index[*axis]),
            (_, _) => name.write_char('0'),
        };
        result.expect("a string takes every write");
    }

    /// The chunk indices, along the axes of this step, that a part of a path may mean. Whether it is spelled as
    /// [`write`](Self::write) spells it is not looked at.
    pub(super) fn read(self, step: usize, name: &str, place: Place) -> Option<[u64; 3]> {
        let mut index = [0; 3];
        match (self, self.steps()[step]) {
            (Self::Boxes, _) => {
                let begin = read_begin(name)?;
                for (axis, index) in index.iter_mut().enumerate() {
                    let voxels = begin.axes()[axis].checked_sub(place.origin.axes()[axis])?;
                    *index = u64::try_from(voxels.div_euclid(place.chunk_shape.axes()[axis])).ok()?;
                }
            }
            (Self::Planes { axis, extension }, _) => {
                index[axis] = name.strip_suffix(extension)?.strip_suffix('.')?.parse().ok()?;
            }
            (_, [axis]) => index[*axis] = name.parse().ok()?,
            (_, _) => {}
        }
        Some(index)
    }
}

/// `<x0>-<x1>_<y0>-<y1>_<z0>-<z1>`
fn write_box(held: VoxelBox, name: &mut String) -> std::fmt::Result {
    let ([z0, y0, x0], [z1, y1, x1]) = (held.begin().axes(), held.end().axes());
    write!(name, "{x0}-{x1}_{y0}-{y1}_{z0}-{z1}")
}

/// The first corner of a box that is named so.
fn read_begin(name: &str) -> Option<Coordinate> {
    let mut parts = name.split('_').map(|part| {
        // The first dash may be a sign.
        let dash = part.get(1..)?.find('-')? + 1;
        part[..dash].parse::<i64>().ok()
    });
    let (x, y, z) = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then(|| Coordinate::new(z, y, x))
}
