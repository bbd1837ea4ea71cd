//! Headers of flat files: NPY, NRRD, MetaImage.

use std::fmt::Display;

use crate::array::ArraySpec;
use crate::voxels::Dtype;

use super::super::attributes::numpy_name;
use super::super::file::Section;
use super::data_box;

/// Bytes of a header in front of voxels: a page, so that who maps the file finds them aligned.
const HEADER_BYTES: u64 = 4096;

/// The header of an NPY file.
pub(super) fn npy(spec: &ArraySpec, level: usize) -> Vec<Section> {
    let [z, y, x] = data_box(spec, level).shape().axes();
    let channels = spec.channels.map(|n| format!(", {n}")).unwrap_or_default();
    let descr = numpy_name(spec.dtype);
    // Version 1.0; behind these 10 bytes stand 4086.
    let mut header = b"\x93NUMPY\x01\x00\xf6\x0f".to_vec();
    header.extend(
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({z}, {y}, {x}{channels}), }}").into_bytes(),
    );
    padded(&header, b' ', b"\n")
}

/// The header of a NRRD file that holds its voxels.
pub(super) fn attached_nrrd(spec: &ArraySpec, level: usize) -> Vec<Section> {
    let mut header = nrrd(spec, level);
    header.push('#');
    // A comment as long as it takes, and the empty line before the voxels.
    padded(header.as_bytes(), b'-', b"\n\n")
}

/// The header of a NRRD file whose voxels stand in another.
pub(super) fn detached_nrrd(spec: &ArraySpec, level: usize, data_file: &str) -> Vec<u8> {
    format!("{}data file: {data_file}\n", nrrd(spec, level)).into_bytes()
}

/// The header of a MetaImage whose voxels stand in another file.
pub(super) fn metaimage(spec: &ArraySpec, level: usize, data_file: &str) -> Vec<u8> {
    let Described { spacing, corner, size } = Described::of(spec, level);
    let channels = spec.channels.map(|n| format!("ElementNumberOfChannels = {n}\n")).unwrap_or_default();
    let element = match spec.dtype {
        Dtype::Uint8 => "MET_UCHAR",
        Dtype::Uint16 => "MET_USHORT",
        Dtype::Uint32 => "MET_UINT",
        Dtype::Uint64 => "MET_ULONG_LONG",
        Dtype::Float32 => "MET_FLOAT",
    };
    format!(
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\n\
         TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = {}\nCenterOfRotation = 0 0 0\nElementSpacing = {}\n\
         DimSize = {}\n{channels}ElementType = {element}\nElementDataFile = {data_file}\n",
        joined(corner, " "),
        joined(spacing, " "),
        joined(size, " "),
    )
    .into_bytes()
}

/// All fields of a NRRD header but the place of the voxels.
fn nrrd(spec: &ArraySpec, level: usize) -> String {
    let Described { spacing, corner, size } = Described::of(spec, level);
    let [x, y, z] = spacing;
    let sizes = joined(size, " ");
    let (dimension, sizes, no_direction, kind) = match spec.channels {
        None => (3, sizes, "", ""),
        Some(4) => (4, format!("4 {sizes}"), "none ", "RGBA-color "),
        Some(n) => (4, format!("{n} {sizes}"), "none ", "list "),
    };
    let element = if spec.dtype == Dtype::Float32 { "float" } else { spec.dtype.name() };
    format!(
        "NRRD0005\ntype: {element}\ndimension: {dimension}\nspace dimension: 3\nsizes: {sizes}\n\
         space directions: {no_direction}({x},0,0) (0,{y},0) (0,0,{z})\nkinds: {kind}domain domain domain\n\
         space units: \"nm\" \"nm\" \"nm\"\nspace origin: ({})\nendian: little\nencoding: raw\n",
        joined(corner, ","),
    )
}

/// A level as the headers tell of it: x first, in nm.
struct Described {
    spacing: [f64; 3],
    /// Of the first voxel, not its centre.
    corner: [f64; 3],
    size: [i64; 3],
}

impl Described {
    #[allow(clippy::cast_precision_loss)] // voxel coordinates stay far below 2^53
    fn of(spec: &ArraySpec, level: usize) -> Self {
        let voxels = data_box(spec, level);
        let [z, y, x] = spec.voxel_size.at_scale(spec.levels[level].scale).nm();
        let spacing = [x, y, z];
        let [z, y, x] = voxels.begin().axes();
        let begin = [x, y, z];
        let [z, y, x] = voxels.shape().axes();
        let corner = std::array::from_fn(|axis| begin[axis] as f64 * spacing[axis]);
        Self { spacing, corner, size: [x, y, z] }
    }
}

fn joined<T: Display>(values: [T; 3], by: &str) -> String {
    values.map(|value| value.to_string()).join(by)
}

/// A header that `fill` brings to its full length.
fn padded(header: &[u8], fill: u8, end: &[u8]) -> Vec<Section> {
    let n_missing = HEADER_BYTES.saturating_sub((header.len() + end.len()) as u64);
    vec![Section::Bytes(header.into()), Section::Fill(fill, n_missing), Section::Bytes(end.into())]
}
