//! `slices/s<k>/{xy,xz,yz}/<index>.{tif,png}`: every plane of the data as a picture.
//!
//! Pictures have the data's true box, without the padding of the array; the number in a name is the array index along the
//! axis that the picture lies across. TIFF has the voxels as they are, PNG gray or colours; of labels PNG shows the
//! [colours](super::label_colour) that stand for them.

use crate::array::ArraySpec;
use crate::geometry::VoxelBox;

use super::attributes::path_of;
use super::chunk_grid::{ChunkGrid, GridParts};
use super::folder::{Folder, LeftOut};
use super::form::{Form, Held};
use super::naming::Naming;
use super::picture::Picture;
use super::{png, tiff};

/// What a plane is written as.
#[derive(Clone, Copy)]
enum Format {
    Tiff,
    Png,
}

impl Format {
    const ALL: [Self; 2] = [Self::Tiff, Self::Png];

    /// What the names of its files end in.
    fn extension(self) -> &'static str {
        match self {
            Self::Tiff => "tif",
            Self::Png => "png",
        }
    }

    fn form(self, picture: Picture) -> Form {
        match self {
            Self::Tiff => Form::Tiff(picture),
            Self::Png => Form::Png(picture),
        }
    }

    /// Whether it has pixels for an array.
    fn check_pixels(self, spec: &ArraySpec) -> Result<(), LeftOut> {
        match self {
            Self::Tiff => tiff::check_pixels(spec),
            Self::Png => png::check_pixels(spec),
        }
    }

    /// Whether it can hold a plane.
    fn check_plane(self, spec: &ArraySpec, held: Held, picture: Picture) -> Result<(), LeftOut> {
        match self {
            Self::Tiff => tiff::file(spec, held, picture),
            Self::Png => png::file(spec, held, picture),
        }
        .map(|_| ())
    }
}

/// The whole directory. Where a format cannot hold a plane its files are left out, and the others stay.
pub(super) fn folder(spec: &ArraySpec) -> Result<Folder, LeftOut> {
    let mut all = Folder::default();
    let mut formats = Vec::new();
    for format in Format::ALL {
        match format.check_pixels(spec) {
            Ok(()) => formats.push(format),
            Err(reason) => all.left_out.push((format!("*/*/*.{}", format.extension()), reason)),
        }
    }
    for index in 0..spec.levels.len() {
        let mut level = Folder::default();
        for picture in Picture::ALL {
            level.add(picture.name(), planes(spec, index, picture, &formats));
        }
        all.add(&path_of(index), level);
    }
    match all.left_out.first() {
        Some((_, reason)) if all.entries.is_empty() => Err(*reason),
        _ => Ok(all),
    }
}

/// All pictures of a level across one axis.
fn planes(spec: &ArraySpec, index: usize, picture: Picture, formats: &[Format]) -> Folder {
    let mut folder = Folder::default();
    for &format in formats {
        match grid(spec, index, picture, format) {
            Ok(grid) => folder.chunks.push(grid),
            Err(reason) => folder.left_out.push((format!("*.{}", format.extension()), reason)),
        }
    }
    folder
}

fn grid(spec: &ArraySpec, index: usize, picture: Picture, format: Format) -> Result<ChunkGrid, LeftOut> {
    let level = &spec.levels[index];
    let extent = spec.data.at_scale(level.scale);
    let axis = picture.across();
    // Chunks are counted from the array's first index along this axis, and from the data's first voxel along the others.
    let (mut origin, mut chunk_shape) = (extent.begin().axes(), extent.shape().axes());
    origin[axis] = level.origin.axes()[axis];
    chunk_shape[axis] = 1;
    let first = VoxelBox::from_shape(extent.begin(), chunk_shape.into()).ok_or(LeftOut::TooLarge)?;
    format.check_plane(spec, Held { level: index, voxels: first }, picture)?;
    let parts = GridParts {
        level: index,
        origin: origin.into(),
        chunk_shape: chunk_shape.into(),
        extent,
        clip: None,
        naming: Naming::Planes { axis, extension: format.extension() },
        form: format.form(picture),
    };
    ChunkGrid::new(spec, parts).ok_or(LeftOut::TooLarge)
}

#[cfg(test)]
mod tests;
