//! HDF5: one file with a dataset `s0`, `s1`… for each level, as HDF5 1.10 and later read it.
//!
//! A header, the index of each level's chunks, and the chunks themselves, level by level, each level's in C order of its grid and whole at
//! the edges too. Nothing in the file depends on what is stored: every chunk has its place, and the index is arithmetic.

use crate::array::{ArraySpec, Level};
use crate::geometry::Coordinate;

use super::attributes::{ArrayAttrs, path_of, with_channels};
use super::chunk_run::{ChunkRun, SpacedRun};
use super::file::{Section, VoxelFile};
use super::folder::LeftOut;

mod fixed_array;
mod lookup3;
mod messages;

pub(super) use fixed_array::FixedArray;
use messages::{Chunked, ObjectHeader, Values, superblock};

/// Chunks begin at a page, so that readers that map the file find them aligned.
const PAGE: u64 = 4096;
/// How far the kernel reads ahead: by itself, which is all that an ordinary user gets, and as a mount by root asks for.
const READ_AHEADS: [u64; 2] = [128 << 10, 4 << 20];
/// In a large file so many bytes stand between the index and the chunks: programs read the first 4 MiB of a file to see what it is, and
/// the kernel reads on as far again. Neither is to cost voxels.
const BEFORE_CHUNKS_OF_LARGE: u64 = 8 << 20;
const LARGE: u64 = 1 << 30;
/// Where the header of the root group stands.
const ROOT: u64 = 48;
/// HDF5 counts the bytes of a chunk in 32 bits.
const MAX_CHUNK_BYTES: u64 = u32::MAX as u64;

/// A level as it stands in the file.
struct Dataset {
    chunks: SpacedRun,
    n_bytes: u64,
    index: FixedArray,
    /// Where its header stands.
    header: u64,
    /// Where the data block of its index stands.
    data_block: u64,
}

/// The whole file.
pub(super) fn file(spec: &ArraySpec) -> Result<VoxelFile, LeftOut> {
    let levels = spec.levels.iter().enumerate();
    let mut datasets = levels.map(|(index, level)| dataset(spec, index, level)).collect::<Result<Vec<_>, _>>()?;
    let end = place(spec, &mut datasets)?;
    let mut metadata = superblock(end, ROOT);
    metadata.extend(root(&datasets));
    for dataset in &datasets {
        metadata.extend(header(spec, dataset)?);
    }
    for dataset in &datasets {
        metadata.extend(dataset.index.header_bytes(dataset.data_block));
    }
    let mut end = metadata.len() as u64;
    let mut sections = vec![Section::Bytes(metadata.into())];
    for Dataset { index, .. } in &datasets {
        end += index.n_bytes();
        sections.push(Section::FixedArray(*index));
    }
    for Dataset { chunks, n_bytes, index, .. } in datasets {
        let begin = index.first - chunks.gap;
        sections.push(Section::Fill(0, begin - end));
        sections.push(Section::Spaced(chunks));
        end = begin + n_bytes;
    }
    VoxelFile::new(sections).ok_or(LeftOut::TooLarge)
}

/// Bytes before a chunk, so that no read of the one before it reaches this one.
///
/// The kernel passes the end of a chunk that is longer than its read-ahead by less than twice as much. A shorter one is read as it is,
/// if no page of the chunk before it makes it look like the next of a row.
fn gap(chunk_bytes: u64) -> u64 {
    let [usual, _] = READ_AHEADS;
    let read_ahead = READ_AHEADS.into_iter().rfind(|&n| n < chunk_bytes).unwrap_or(usual);
    2 * read_ahead - PAGE
}

/// A level that has no place yet.
fn dataset(spec: &ArraySpec, index: usize, level: &Level) -> Result<Dataset, LeftOut> {
    let run = chunks_of(spec, index, level);
    let chunk_bytes = run.chunk_bytes().filter(|&n| n <= MAX_CHUNK_BYTES).ok_or(LeftOut::LargeChunk(4))?;
    let stride = chunk_bytes.next_multiple_of(PAGE) + gap(chunk_bytes);
    let chunks = SpacedRun { run, gap: stride - chunk_bytes };
    let n_bytes = chunks.n_bytes().filter(|&n| i64::try_from(n).is_ok()).ok_or(LeftOut::TooLarge)?;
    let index = FixedArray::new(n_bytes / stride, stride);
    Ok(Dataset { chunks, n_bytes, index, header: 0, data_block: 0 })
}

/// Gives all parts of the levels their places; the end of the file.
fn place(spec: &ArraySpec, datasets: &mut [Dataset]) -> Result<u64, LeftOut> {
    // A header is as long wherever things stand.
    let mut at = ROOT + root(datasets).len() as u64;
    for dataset in &mut *datasets {
        dataset.header = at;
        at += header(spec, dataset)?.len() as u64;
    }
    for dataset in &mut *datasets {
        dataset.index.header = at;
        at += fixed_array::HEADER_BYTES;
    }
    for dataset in &mut *datasets {
        dataset.data_block = at;
        at += dataset.index.n_bytes();
    }
    if datasets.iter().any(|dataset| dataset.n_bytes >= LARGE) {
        at += BEFORE_CHUNKS_OF_LARGE;
    }
    for dataset in &mut *datasets {
        let first = (at + dataset.chunks.gap).next_multiple_of(PAGE);
        dataset.index.first = first;
        at = (first - dataset.chunks.gap).checked_add(dataset.n_bytes).ok_or(LeftOut::TooLarge)?;
    }
    Ok(at)
}

/// HDF5 reads chunks that are longer than their dataset, and makes none: what copies a dataset as it is could not copy such.
fn chunk_shape(level: &Level) -> Coordinate {
    level.chunk_shape.min(level.shape)
}

/// All chunks of the array, also those where nothing is stored: their places are counted through.
fn chunks_of(spec: &ArraySpec, index: usize, level: &Level) -> ChunkRun {
    ChunkRun {
        level: index,
        begin: level.origin,
        chunk_shape: chunk_shape(level),
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
    let level = &spec.levels[dataset.chunks.run.level];
    let all_axes = |spatial| with_channels(spec, spatial).into_iter().map(i64::cast_unsigned).collect::<Vec<_>>();
    let (shape, chunk_shape) = (all_axes(level.shape.axes()), all_axes(chunk_shape(level).axes()));
    let itemsize = spec.dtype.itemsize() as u64;
    let (page_bits, index) = (dataset.index.page_bits(), dataset.index.header);
    let chunked = Chunked { shape: &chunk_shape, itemsize, page_bits, index };
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
