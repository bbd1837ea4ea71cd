//! Which levels of a pyramid were ever computed: a level never written would read as zeros.

use crate::geometry::{BlockBox, BlockIndex, Grid, Scale, VoxelBox};

use super::levels::{Candidate, parent, probe_boxes};

/// Blocks along an axis of a probed box: 4^3 = 64 blocks at most are looked at.
const PROBE_EDGE: i64 = 4;
/// Voxels along an axis of a probed box: larger requests make the server take a lock over all requests.
const PROBE_VOXELS: i64 = 256;

/// What a look at a few blocks told.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Probe {
    /// Levels that are shown.
    pub(super) n_levels: usize,
    /// Stored level-0 blocks that were looked at.
    pub(super) sample: Vec<BlockIndex>,
    /// Which levels were left out, and why.
    pub(super) left_out: Vec<String>,
}

impl Probe {
    /// Nobody can be asked.
    pub(super) fn unknown() -> Self {
        let left_out = "scale 1 and coarser: without a server it is not known whether they were ever computed";
        Self { n_levels: 1, sample: Vec::new(), left_out: vec![left_out.to_owned()] }
    }
}

/// Looks for stored level-0 blocks and for the block of each coarser level that must then be stored too.
///
/// `stored` says which blocks of a box a level has. The levels end at the first that lacks a parent.
pub(super) fn computed_levels<E>(
    levels: &[Candidate],
    data: VoxelBox,
    mut stored: impl FnMut(&Candidate, BlockBox) -> Result<Vec<BlockIndex>, E>,
) -> Result<Probe, E> {
    let mut probe = Probe { n_levels: levels.len(), sample: Vec::new(), left_out: Vec::new() };
    let Some(fine) = levels.first().and_then(|level| Grid::new(level.block_shape)) else { return Ok(probe) };
    let largest = fine.block_shape().axes().into_iter().fold(1, i64::max);
    let edge = (PROBE_VOXELS / largest).clamp(1, PROBE_EDGE);
    for wanted in probe_boxes(fine, data, edge) {
        probe.sample = stored(&levels[0], BlockBox(wanted))?;
        if !probe.sample.is_empty() {
            break;
        }
    }
    for (index, level) in levels.iter().enumerate().skip(1) {
        let scale = Scale(u8::try_from(index).unwrap_or(Scale::MAX.0));
        let Some(coarse) = Grid::new(level.block_shape) else { break };
        let parents: Vec<_> = probe.sample.iter().map(|&block| parent(block, fine, coarse, scale)).collect();
        let Some(wanted) = covering(&parents) else { continue };
        let found = stored(level, wanted)?;
        if let Some(missing) = parents.iter().find(|block| !found.contains(block)) {
            probe.n_levels = index;
            probe.left_out.push(format!(
                "scale {index} and coarser ({}): block {} is not stored though its level-0 block is, so the level was never computed",
                level.source, missing.0
            ));
            break;
        }
    }
    Ok(probe)
}

/// The smallest box that holds all these blocks.
fn covering(blocks: &[BlockIndex]) -> Option<BlockBox> {
    let begin = blocks.iter().map(|block| block.0).reduce(|a, b| a.min(b))?;
    let last = blocks.iter().map(|block| block.0).reduce(|a, b| a.max(b))?;
    VoxelBox::new(begin, last + crate::geometry::Coordinate::ONE).map(BlockBox)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::geometry::Coordinate;

    fn candidates(n: u8) -> Vec<Candidate> {
        let level = |scale| Candidate {
            instance: 0,
            scale: Scale(scale),
            block_shape: Coordinate::splat(64),
            extents: None,
            source: format!("segmentation scale {scale}"),
        };
        (0..n).map(level).collect()
    }

    fn data() -> VoxelBox {
        VoxelBox::from_shape(Coordinate::ZERO, Coordinate::splat(1000)).unwrap()
    }

    #[test]
    fn a_level_that_was_never_computed_is_left_out_with_all_coarser_ones() {
        let probe = computed_levels(&candidates(4), data(), |level, blocks| {
            Ok::<_, Infallible>(if level.scale.0 == 2 { Vec::new() } else { blocks.blocks().collect() })
        })
        .unwrap();
        assert_eq!((probe.n_levels, probe.sample.len()), (2, 64));
        assert!(probe.left_out[0].contains("segmentation scale 2"), "{:?}", probe.left_out);
    }

    #[test]
    fn every_level_is_shown_whose_parents_are_stored() {
        let probe = computed_levels(&candidates(4), data(), |_, blocks| Ok::<_, Infallible>(blocks.blocks().collect()))
            .unwrap();
        assert_eq!((probe.n_levels, probe.left_out.len()), (4, 0));
    }

    #[test]
    fn a_sparse_volume_is_looked_at_in_several_places() {
        let lonely = BlockIndex(Coordinate::new(12, 12, 12));
        let probe = computed_levels(&candidates(2), data(), |level, blocks| {
            let wanted = if level.scale.0 == 0 { lonely } else { BlockIndex(Coordinate::splat(6)) };
            Ok::<_, Infallible>(blocks.blocks().filter(|&block| block == wanted).collect())
        })
        .unwrap();
        assert_eq!((probe.sample, probe.n_levels), (vec![lonely], 2));
    }
}
