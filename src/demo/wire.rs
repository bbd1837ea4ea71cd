//! Blocks of the demo in the forms in which DVID sends them.

use crate::geometry::{BlockIndex, Coordinate, Scale, VoxelBox};

use super::dataset::{Dataset, InstanceSpec, Stored};
use super::label_block;

/// Which values of a labelmap are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Labels<'a> {
    /// As they are stored.
    Stored,
    /// Through a mapping, complete or not.
    Mapped(&'a std::collections::HashMap<u64, u64>),
}

impl Labels<'_> {
    pub(super) fn apply(self, label: u64) -> u64 {
        match self {
            Self::Stored => label,
            Self::Mapped(mapping) => mapping.get(&label).copied().unwrap_or(label),
        }
    }
}

/// The values of a box of voxels, z slowest.
pub(super) fn values(
    dataset: &Dataset,
    version: usize,
    spec: &InstanceSpec,
    scale: Scale,
    labels: Labels<'_>,
    voxels: VoxelBox,
) -> Vec<u64> {
    let mut values = dataset.values(version, spec, scale, voxels);
    if labels != Labels::Stored {
        // Neighbours mostly have the same label.
        let mut last = (0, labels.apply(0));
        for label in &mut values {
            if *label != last.0 {
                last = (*label, labels.apply(*label));
            }
            *label = last.1;
        }
    }
    values
}

/// Values as little-endian voxels of so many bytes.
pub(super) fn to_bytes(values: &[u64], voxel_bytes: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() * voxel_bytes);
    for value in values {
        bytes.extend_from_slice(&value.to_le_bytes()[..voxel_bytes]);
    }
    bytes
}

/// The same things in an order that differs from turn to turn.
pub(super) fn shuffle<T>(things: &mut [T], turn: u64) {
    for last in (1..things.len()).rev() {
        let random = super::texture::hash(Coordinate::splat(turn.cast_signed()), last as u64);
        things.swap(last, usize::try_from(random % (last as u64 + 1)).expect("below the length of a slice"));
    }
}

/// A frame of a block stream: x, y, z and the length of the payload before it.
pub(super) fn frame(block: BlockIndex, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 + payload.len());
    push_frame(&mut bytes, block, payload);
    bytes
}

/// Appends a frame to a block stream.
pub(super) fn push_frame(stream: &mut Vec<u8>, block: BlockIndex, payload: &[u8]) {
    let length = i64::try_from(payload.len()).expect("a payload is small");
    let fields = [block.0.x(), block.0.y(), block.0.z(), length];
    for n in fields {
        stream.extend_from_slice(&i32::try_from(n).expect("a frame field is an int32").to_le_bytes());
    }
    stream.extend_from_slice(payload);
}

/// A block of an image in the form in which its instance keeps it.
pub(super) fn stored_payload(bytes: Vec<u8>, stored: Stored, block_shape: Coordinate) -> Vec<u8> {
    match stored {
        Stored::None => bytes,
        Stored::Gzip => gzip(&bytes),
        Stored::Snappy => snap::raw::Encoder::new().compress_vec(&bytes).expect("a block is smaller than 4 GiB"),
        Stored::Jpeg => {
            let side = |n: i64| u16::try_from(n).expect("a picture of a block is small");
            jpeg(&bytes, side(block_shape.x()), side(block_shape.y() * block_shape.z()))
        }
        Stored::Lz4 => {
            let mut payload = u32::try_from(bytes.len()).expect("a block is small").to_le_bytes().to_vec();
            payload.extend(lz4_flex::block::compress(&bytes));
            payload
        }
    }
}

/// A block of labels in the form that `compression=` names, or None for a name that DVID does not know.
pub(super) fn label_payload(values: &[u64], compression: &str, block_shape: Coordinate) -> Option<Vec<u8>> {
    let bytes = || to_bytes(values, 8);
    Some(match compression {
        "blocks" => gzip(&label_block::encode(values, block_shape)),
        "lz4" => lz4_flex::block::compress(&bytes()),
        "gzip" => gzip(&bytes()),
        "uncompressed" => bytes(),
        _ => return None,
    })
}

/// One gzip member.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
    let mut packed = vec![0; packer.gzip_compress_bound(bytes.len())];
    let n = packer.gzip_compress(bytes, &mut packed).expect("the buffer is as large as it may need to be");
    packed.truncate(n);
    packed
}

/// A gray picture at full quality.
pub(super) fn jpeg(pixels: &[u8], width: u16, height: u16) -> Vec<u8> {
    let mut picture = Vec::new();
    jpeg_encoder::Encoder::new(&mut picture, 100)
        .encode(pixels, width, height, jpeg_encoder::ColorType::Luma)
        .expect("the pixels fill the picture");
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jpeg_of_a_block_loses_nothing() {
        let dataset = Dataset::test();
        let spec = dataset.instance("gray_jpeg").unwrap();
        let block = VoxelBox::from_shape(Coordinate::ZERO, spec.block_shape).unwrap();
        let bytes = to_bytes(&values(&dataset, 0, &spec, Scale::FULL, Labels::Stored, block), 1);
        let picture = stored_payload(bytes.clone(), Stored::Jpeg, spec.block_shape);
        assert_eq!(jpeg_decoder::Decoder::new(picture.as_slice()).decode().unwrap(), bytes);
    }
}
