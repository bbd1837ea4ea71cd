//! Channels: voxel by voxel as DVID sends them and as pictures hold them, or one behind the other as a volume does.

use std::ops::Range;

use crate::geometry::VoxelBox;

use super::volume::{Volume, byte_offset, for_each_row, to_usize};

/// Voxels of so many channels, written voxel by voxel, as one channel behind the other.
///
/// # Panics
/// If the bytes are no whole number of voxels.
#[must_use]
pub fn woven_apart(woven: &[u8], n_channels: usize, itemsize: usize) -> Vec<u8> {
    let unit = n_channels * itemsize;
    assert!(woven.len().is_multiple_of(unit), "the bytes are whole voxels");
    let mut apart = vec![0; woven.len()];
    let plane_bytes = (woven.len() / n_channels).max(1);
    for (channel, plane) in apart.chunks_exact_mut(plane_bytes).enumerate() {
        for (value, voxel) in plane.chunks_exact_mut(itemsize).zip(woven.chunks_exact(unit)) {
            copy_value(value, &voxel[channel * itemsize..(channel + 1) * itemsize]);
        }
    }
    apart
}

/// Copies the voxels of `region`, with all their channels voxel by voxel, into the part of a dense array that `window`
/// shows.
///
/// As [`copy_box_into`](super::copy_box_into), but the target holds all channels of the source interleaved.
///
/// # Panics
/// If `region` is outside a box, or a slice is shorter than it is said to be.
pub fn weave_box_into(
    source: &Volume,
    source_box: VoxelBox,
    target: &mut [u8],
    target_box: VoxelBox,
    window: Range<usize>,
    region: VoxelBox,
) {
    assert!(target_box.contains(region) && source_box.contains(region), "the region lies in both");
    let (n_channels, itemsize) = (source.channels().unwrap_or(1), source.dtype().itemsize());
    let unit = n_channels * itemsize;
    let row_bytes = to_usize(region.shape().x()) * unit;
    let mut woven = Vec::new();
    for_each_row(region, |row| {
        let row_start = byte_offset(target_box, row, unit);
        let begin = row_start.max(window.start);
        let end = (row_start + row_bytes).min(window.end);
        if begin >= end {
            return;
        }
        // The window may begin and end within a voxel: whole ones are woven, and the part that it shows is copied.
        let voxels = (begin - row_start) / unit..(end - row_start).div_ceil(unit);
        let from = byte_offset(source_box, row, itemsize) + voxels.start * itemsize;
        woven.resize(voxels.len() * unit, 0);
        for channel in 0..n_channels {
            let values = source.plane(channel)[from..from + voxels.len() * itemsize].chunks_exact(itemsize);
            for (voxel, value) in woven.chunks_exact_mut(unit).zip(values) {
                copy_value(&mut voxel[channel * itemsize..(channel + 1) * itemsize], value);
            }
        }
        let skipped = begin - row_start - voxels.start * unit;
        target[begin - window.start..end - window.start].copy_from_slice(&woven[skipped..skipped + (end - begin)]);
    });
}

/// Copies one value; of a single byte, as DVID's channels have it, without a call.
fn copy_value(target: &mut [u8], value: &[u8]) {
    match (target, value) {
        ([target], [value]) => *target = *value,
        (target, value) => target.copy_from_slice(value),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::geometry::Coordinate;
    use crate::voxels::Dtype;

    #[test]
    fn voxels_of_three_channels_are_taken_apart() {
        assert_eq!(woven_apart(&[1, 2, 3, 11, 12, 13], 3, 1), [1, 11, 2, 12, 3, 13]);
        assert_eq!(woven_apart(&[1, 2, 11, 12, 3, 4, 13, 14], 2, 2), [1, 2, 3, 4, 11, 12, 13, 14]);
        assert_eq!(woven_apart(&[], 4, 1), [0; 0]);
    }

    prop_compose! {
        fn a_box_near(low: i64)(begin in prop::array::uniform3(low..low + 5), size in prop::array::uniform3(1_i64..7)) -> VoxelBox {
            VoxelBox::from_shape(begin.into(), size.into()).unwrap()
        }
    }

    proptest! {
        #[test]
        fn a_woven_box_equals_the_byte_by_byte_model(
            source_box in a_box_near(-4), target_box in a_box_near(-3), itemsize in prop::sample::select(vec![1_usize, 2]),
            (a, b) in (0_usize..900, 0_usize..900),
        ) {
            let dtype = if itemsize == 1 { Dtype::Uint8 } else { Dtype::Uint16 };
            let value = |channel: i64, voxel: Coordinate| {
                (channel * 40_009 + voxel.z() * 1013 + voxel.y() * 97 + voxel.x() * 11).to_le_bytes()[..itemsize].to_vec()
            };
            let planes = (0..4).flat_map(|c| source_box.indices().flat_map(move |voxel| value(c, voxel))).collect();
            let source = Volume::with_channels(dtype, Some(4), source_box.shape(), planes).unwrap();
            let region = source_box.intersect(target_box);
            let whole: Vec<u8> = target_box
                .indices()
                .flat_map(|voxel| (0..4).flat_map(move |c| if region.contains_voxel(voxel) { value(c, voxel) } else { vec![0xEE; itemsize] }))
                .collect();
            let window = a.min(b).min(whole.len())..a.max(b).min(whole.len());
            let mut part = vec![0xEE; window.len()];
            weave_box_into(&source, source_box, &mut part, target_box, window.clone(), region);
            prop_assert_eq!(&part[..], &whole[window]);
        }
    }
}
