//! HDF5: one file with a dataset `s0`, `s1`… for each level, as HDF5 1.10 and later read it.
//!
//! Behind a header of a few KiB (and a gap, in a large file) stand all chunks of a level's grid in C order, whole at the edges too, then those of
//! the next level. The index of the chunks is implicit: nothing in the file depends on what is stored.

use crate::array::{ArraySpec, Level};

use super::attributes::{ArrayAttrs, path_of, with_channels};
use super::chunk_run::ChunkRun;
use super::file::{Section, VoxelFile};
use super::folder::LeftOut;

mod lookup3;
mod messages;

use messages::{Chunked, ObjectHeader, Values, superblock};

/// Chunks begin at a page, so that readers that map the file find them aligned.
const PAGE: u64 = 4096;
/// In a large file they begin here at the earliest: programs read the first 4 MiB of a file to see what it is, and the kernel
/// reads on as far again. Neither is to cost voxels.
const FIRST_OF_LARGE: u64 = 8 << 20;
const LARGE: u64 = 1 << 30;
/// Where the header of the root group stands.
const ROOT: u64 = 48;
/// HDF5 counts the bytes of a chunk in 32 bits.
const MAX_CHUNK_BYTES: u64 = u32::MAX as u64;

/// A level as it stands in the file.
struct Dataset {
    run: ChunkRun,
    n_bytes: u64,
    /// Where its header stands.
    header: u64,
    /// Where its first chunk stands.
    chunks: u64,
}

/// The whole file.
pub(super) fn file(spec: &ArraySpec) -> Result<VoxelFile, LeftOut> {
    let mut datasets = Vec::new();
    for (index, level) in spec.levels.iter().enumerate() {
        let run = chunks_of(spec, index, level);
        run.chunk_bytes().filter(|&n| n <= MAX_CHUNK_BYTES).ok_or(LeftOut::LargeChunk(4))?;
        let n_bytes = run.n_bytes().ok_or(LeftOut::TooLarge)?;
        datasets.push(Dataset { run, n_bytes, header: 0, chunks: 0 });
    }
    // A header is as long wherever things stand: written once to measure it, and once with the addresses.
    let mut at = ROOT + root(&datasets).len() as u64;
    for dataset in &mut datasets {
        dataset.header = at;
        at += header(spec, dataset)?.len() as u64;
    }
    if datasets.iter().any(|dataset| dataset.n_bytes >= LARGE) {
        at = at.max(FIRST_OF_LARGE);
    }
    for dataset in &mut datasets {
        dataset.chunks = at.checked_next_multiple_of(PAGE).ok_or(LeftOut::TooLarge)?;
        at = dataset.chunks.checked_add(dataset.n_bytes).ok_or(LeftOut::TooLarge)?;
    }
    let mut metadata = superblock(at, ROOT);
    metadata.extend(root(&datasets));
    for dataset in &datasets {
        metadata.extend(header(spec, dataset)?);
    }
    let mut end = metadata.len() as u64;
    let mut sections = vec![Section::Bytes(metadata.into())];
    for dataset in datasets {
        sections.push(Section::Fill(0, dataset.chunks - end));
        end = dataset.chunks + dataset.n_bytes;
        sections.push(Section::Chunks(dataset.run));
    }
    VoxelFile::new(sections).ok_or(LeftOut::TooLarge)
}

/// All chunks of the array, also those where nothing is stored: their places are counted through.
fn chunks_of(spec: &ArraySpec, index: usize, level: &Level) -> ChunkRun {
    ChunkRun {
        level: index,
        begin: level.origin,
        chunk_shape: level.chunk_shape,
        n_chunks: level.shape.div_ceil(level.chunk_shape),
        dtype: spec.dtype,
        n_channels: spec.n_channels(),
    }
}

/// The header of the root group.
fn root(datasets: &[Dataset]) -> Vec<u8> {
    let names: Vec<_> = (0..datasets.len()).map(path_of).collect();
    ObjectHeader::group(names.iter().zip(datasets).map(|(name, dataset)| (name.as_str(), dataset.header))).finish()
}

/// The header of a level.
fn header(spec: &ArraySpec, dataset: &Dataset) -> Result<Vec<u8>, LeftOut> {
    let level = &spec.levels[dataset.run.level];
    let all_axes = |spatial| with_channels(spec, spatial).into_iter().map(i64::cast_unsigned).collect::<Vec<_>>();
    let (shape, chunk_shape) = (all_axes(level.shape.axes()), all_axes(level.chunk_shape.axes()));
    let itemsize = spec.dtype.itemsize() as u64;
    let chunked = Chunked { shape: &chunk_shape, itemsize, address: dataset.chunks };
    let mut header = ObjectHeader::dataset(&shape, spec.dtype, chunked);

    let ArrayAttrs { offset, voxel_size, axis_names, units, types, resolution } = ArrayAttrs::of(spec, level);
    let offset = offset.map(i64::try_from);
    let [Ok(z), Ok(y), Ok(x)] = offset else { return Err(LeftOut::FarOffset) };
    header.attribute("voxel_size", Values::Integers(&voxel_size));
    header.attribute("resolution", Values::Integers(&resolution));
    header.attribute("offset", Values::Integers(&[z, y, x]));
    header.attribute("units", Values::Texts(&units));
    header.attribute("axis_names", Values::Texts(&axis_names));
    header.attribute("types", Values::Texts(&types));
    let micrometers = spec.voxel_size.at_scale(level.scale).nm().map(|nm| nm / 1000.0);
    header.attribute("element_size_um", Values::Floats(&micrometers));
    Ok(header.finish())
}

#[cfg(test)]
mod tests;
