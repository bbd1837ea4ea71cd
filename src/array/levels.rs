//! Which levels an array has: a labelmap's scales, or sibling instances `name_1`, `name_2` … of an image.

use std::collections::BTreeMap;

use crate::dvid::{InstanceInfo, InstanceKind, VoxelInfo};
use crate::geometry::{BlockIndex, Coordinate, Grid, Scale, VoxelBox};

/// One level that an array may have, before anybody looked whether it was ever computed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidate {
    /// Index of the instance that holds it.
    pub(super) instance: usize,
    /// The scale to ask that instance for.
    pub(super) scale: Scale,
    /// Voxels of a block there.
    pub(super) block_shape: Coordinate,
    /// Where it has data, if it is an instance of its own.
    pub(super) extents: Option<VoxelBox>,
    /// For people.
    pub(super) source: String,
}

/// The candidates of one array, level 0 first, and why others were left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Candidates {
    pub(super) levels: Vec<Candidate>,
    pub(super) left_out: Vec<String>,
}

/// Groups instances into pyramids: for each instance that stands for itself its candidates, by index.
///
/// A sibling that serves as a level of another instance still keeps its own entry.
pub(super) fn pyramids(instances: &[InstanceInfo]) -> BTreeMap<usize, Candidates> {
    let by_name: BTreeMap<&str, usize> =
        instances.iter().enumerate().map(|(index, info)| (info.name.as_str(), index)).collect();
    let mut arrays = BTreeMap::new();
    for (index, info) in instances.iter().enumerate() {
        if let Ok(voxels) = &info.voxels {
            let candidates = match voxels.kind {
                InstanceKind::LabelMap | InstanceKind::LabelArray => scales(index, info, voxels),
                InstanceKind::ImageBlk | InstanceKind::LabelBlk => siblings(index, info, voxels, instances, &by_name),
            };
            arrays.insert(index, candidates);
        }
    }
    arrays
}

fn scales(index: usize, info: &InstanceInfo, voxels: &VoxelInfo) -> Candidates {
    let levels = (0..=voxels.max_scale.0.min(Scale::MAX.0))
        .map(|scale| Candidate {
            instance: index,
            scale: Scale(scale),
            block_shape: voxels.block_shape,
            extents: None,
            source: format!("{} scale {scale}", info.name),
        })
        .collect();
    Candidates { levels, left_out: Vec::new() }
}

fn siblings(
    index: usize,
    info: &InstanceInfo,
    voxels: &VoxelInfo,
    instances: &[InstanceInfo],
    by_name: &BTreeMap<&str, usize>,
) -> Candidates {
    let base = Candidate {
        instance: index,
        scale: Scale::FULL,
        block_shape: voxels.block_shape,
        extents: None,
        source: info.name.clone(),
    };
    let mut found = Candidates { levels: vec![base], left_out: Vec::new() };
    for scale in (1..=Scale::MAX.0).map(Scale) {
        let name = format!("{}_{scale}", info.name);
        let Some(&sibling) = by_name.get(name.as_str()) else { break };
        match sibling_refusal(info, voxels, &instances[sibling], scale) {
            Ok((block_shape, extents)) => {
                let (instance, extents) = (sibling, Some(extents));
                found.levels.push(Candidate { instance, scale: Scale::FULL, block_shape, extents, source: name })
            }
            Err(reason) => {
                found.left_out.push(format!("{name} is no scale {scale} of {}: {reason}", info.name));
                break;
            }
        }
    }
    found
}

/// The block shape and extents of a sibling that can be this scale of the array, or why it cannot.
fn sibling_refusal(
    info: &InstanceInfo,
    voxels: &VoxelInfo,
    sibling: &InstanceInfo,
    scale: Scale,
) -> Result<(Coordinate, VoxelBox), String> {
    if sibling.typename != info.typename {
        return Err(format!("it is a {}, not a {}", sibling.typename, info.typename));
    }
    let coarse = sibling.voxels.as_ref().map_err(ToString::to_string)?;
    // Siblings often carry the voxel size of level 0.
    let (unscaled, scaled) = (voxels.voxel_size.nm(), voxels.voxel_size.at_scale(scale).nm());
    let size = coarse.voxel_size.nm();
    let equals = |wanted: [f64; 3]| (0..3).all(|axis| (size[axis] - wanted[axis]).abs() <= 1e-5 * wanted[axis]);
    if !equals(unscaled) && !equals(scaled) {
        return Err(format!("its voxel size is {size:?} nm, neither {unscaled:?} nor {scaled:?}"));
    }
    let (Some(fine), Some(coarse_box)) = (voxels.extents, coarse.extents) else {
        return Err("extents are unknown".to_owned());
    };
    let wanted = fine.at_scale(scale);
    let block = coarse.block_shape.max(voxels.block_shape);
    let near = |a: Coordinate, b: Coordinate| (a - b).map(i64::abs).all_le(block);
    if !near(wanted.begin(), coarse_box.begin()) || !near(wanted.end(), coarse_box.end()) {
        return Err(format!("its extents {coarse_box} are more than a block away from {wanted}"));
    }
    Ok((coarse.block_shape, coarse_box))
}

/// The block of a coarser level that holds the first voxel of a level-0 block.
pub(super) fn parent(block: BlockIndex, fine: Grid, coarse: Grid, scale: Scale) -> BlockIndex {
    let first = fine.block_box(block).begin();
    coarse.block_of(first.div_floor(Coordinate::splat(scale.factor())))
}

/// Boxes of level-0 blocks to look at when it must be known which levels were computed: the middle first,
/// then the eighths, each of at most `edge` blocks along an axis.
pub(super) fn probe_boxes(grid: Grid, data: VoxelBox, edge: i64) -> Vec<VoxelBox> {
    let all = grid.block_range(data).0;
    let place = |eighths: [i64; 3]| {
        let begin = (all.shape() * Coordinate::from(eighths)).div_floor(Coordinate::splat(8)) + all.begin();
        let begin = begin.min(all.end() - Coordinate::splat(edge)).max(all.begin());
        VoxelBox::from_shape(begin, Coordinate::splat(edge)).map(|probe| probe.intersect(all))
    };
    let corners = (0..8).map(|n| [1 + (n >> 2 & 1) * 5, 1 + (n >> 1 & 1) * 5, 1 + (n & 1) * 5]);
    let mut boxes: Vec<_> = std::iter::once([4; 3]).chain(corners).filter_map(place).collect();
    boxes.dedup();
    boxes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_lie_in_the_data_and_start_in_its_middle() {
        let grid = Grid::new(Coordinate::splat(64)).unwrap();
        let data = VoxelBox::new(Coordinate::new(-700, 0, 5), Coordinate::new(9_000, 64, 100_000)).unwrap();
        let probes = probe_boxes(grid, data, 4);
        assert!(probes.iter().all(|probe| grid.block_range(data).0.contains(*probe) && !probe.is_empty()));
        assert!(probes[0].contains_voxel(Coordinate::new(65, 0, 781)), "{}", probes[0]);
        let small = VoxelBox::from_shape(Coordinate::ZERO, Coordinate::splat(100)).unwrap();
        assert_eq!(probe_boxes(grid, small, 4), [grid.block_range(small).0]);
    }

    #[test]
    fn a_parent_holds_its_childs_first_voxel() {
        let fine = Grid::new(Coordinate::splat(64)).unwrap();
        let coarse = Grid::new(Coordinate::splat(48)).unwrap();
        let child = BlockIndex(Coordinate::new(-3, 0, 7));
        // -192 / 2 = -96 -> block -2 of 48; 448 / 2 = 224 -> block 4.
        assert_eq!(parent(child, fine, coarse, Scale(1)), BlockIndex(Coordinate::new(-2, 0, 4)));
    }

    fn image(name: &str, typename: &str, voxel_size: f64, end: i64) -> InstanceInfo {
        let json = serde_json::json!({
            "Base": {"TypeName": typename, "DataUUID": "d", "Versioned": true, "Compression": "LZ4 compression, level -1"},
            "Extended": {"BlockSize": [64, 64, 64], "VoxelSize": [voxel_size, 8.0, 8.0], "MinPoint": [0, 0, 0],
                "MaxPoint": [end - 1, end - 1, end - 1]},
        });
        InstanceInfo::parse(name, json.to_string().into_bytes()).unwrap()
    }

    fn levels_of_gray(others: Vec<InstanceInfo>) -> Candidates {
        let infos = [vec![image("gray", "uint8blk", 8.0, 1000)], others].concat();
        pyramids(&infos).remove(&0).unwrap()
    }

    #[track_caller]
    fn check_left_out(sibling: InstanceInfo, words: &str) {
        let found = levels_of_gray(vec![sibling]);
        assert_eq!(found.levels.len(), 1);
        assert!(found.left_out[0].contains(words), "{:?} lacks {words:?}", found.left_out);
    }

    #[test]
    fn siblings_are_levels_only_if_they_agree() {
        // A sibling may carry the voxel size of level 0, or its own; only x is scaled here, so 8 it is.
        let found = levels_of_gray(vec![image("gray_1", "uint8blk", 8.0, 500), image("gray_2", "uint8blk", 8.0, 256)]);
        let sources: Vec<_> = found.levels.iter().map(|level| (level.instance, level.source.as_str())).collect();
        assert_eq!(sources, [(0, "gray"), (1, "gray_1"), (2, "gray_2")]);
        check_left_out(image("gray_1", "uint16blk", 8.0, 500), "it is a uint16blk");
        check_left_out(image("gray_1", "uint8blk", 9.0, 500), "voxel size");
        check_left_out(image("gray_1", "uint8blk", 8.0, 1000), "more than a block away");
        assert_eq!(levels_of_gray(vec![image("gray_2", "uint8blk", 8.0, 250)]).levels.len(), 1, "no level 1");
    }
}
