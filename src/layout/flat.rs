//! Whole levels without chunks: `s<k>.npy`, `.raw` with the headers `.nhdr` and `.mhd`, and `.nrrd`.
//!
//! A flat file holds the exact box of the data in C order, channels voxel by voxel. Where the box lies stands in the
//! NRRD and MetaImage headers (the corner, in nm); NPY has no place for it.

use std::sync::Arc;

use crate::array::{ArraySpec, Channels};
use crate::geometry::VoxelBox;

use super::attributes::path_of;
use super::encoding::Encoding;
use super::file::{Dense, Section, VoxelFile};
use super::folder::{Entry, Folder, LeftOut};

mod headers;

/// The whole directory: the levels that have at most so many bytes.
pub(super) fn folder(spec: &ArraySpec, limit_bytes: u64) -> Result<Folder, LeftOut> {
    let mut folder = Folder::default();
    for level in 0..spec.levels.len() {
        match files(spec, level, limit_bytes) {
            Ok(files) => folder.entries.extend(files),
            Err(reason) => folder.left_out.push((path_of(level), reason)),
        }
    }
    match folder.left_out.last() {
        // Of several reasons the one of the smallest level tells most.
        Some(&(_, reason)) if folder.entries.is_empty() => Err(reason),
        Some(_) | None => Ok(folder),
    }
}

/// The files of one level.
fn files(spec: &ArraySpec, level: usize, limit_bytes: u64) -> Result<Vec<(String, Entry)>, LeftOut> {
    let voxels = dense(spec, level);
    let n_bytes = voxels.n_bytes().ok_or(LeftOut::TooLarge)?;
    if n_bytes > limit_bytes {
        return Err(LeftOut::OverFlatLimit { n_bytes, limit_bytes });
    }
    let file = |header: Vec<Section>| {
        let sections = header.into_iter().chain([Section::Dense(voxels)]);
        VoxelFile::new(sections).map(|file| Entry::File(Arc::new(file))).ok_or(LeftOut::TooLarge)
    };
    let raw = move || format!("{}.raw", path_of(level));
    Ok([
        ("npy", file(headers::npy(spec, level))?),
        ("raw", file(Vec::new())?),
        ("nhdr", Entry::document(move |spec| headers::detached_nrrd(spec, level, &raw()))),
        ("nrrd", file(headers::attached_nrrd(spec, level))?),
        ("mhd", Entry::document(move |spec| headers::metaimage(spec, level, &raw()))),
    ]
    .map(|(extension, entry)| (format!("{}.{extension}", path_of(level)), entry))
    .into())
}

fn dense(spec: &ArraySpec, level: usize) -> Dense {
    let channels = spec.channels.map_or(Channels::One(0), Channels::Interleaved);
    let file_box = data_box(spec, level);
    Dense { level, file_box, dtype: spec.dtype, channels, encoding: Encoding::Little }
}

/// The voxels of a level that the data touches.
fn data_box(spec: &ArraySpec, level: usize) -> VoxelBox {
    spec.data.at_scale(spec.levels[level].scale)
}

#[cfg(test)]
mod tests;
