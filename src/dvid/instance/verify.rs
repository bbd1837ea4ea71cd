//! One block of so many is fetched a second time by another endpoint, and compared: a bit that was flipped on the way,
//! past the checksum of TCP, is told by nothing else where the payload has no checksum of its own.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::geometry::{BlockBox, BlockIndex, Scale};
use crate::voxels::woven_apart;

use super::super::endpoint::size_and_offset;
use super::super::error::{Error, ErrorKind};
use super::super::fetch_blocks::Block;
use super::super::info::InstanceKind;
use super::super::payload::StoredForm;
use super::super::request::Labels;
use super::{Instance, block_bytes, with_buffer};

impl Instance {
    /// The same, with one block of `every` fetched twice and compared; 0: none.
    #[must_use]
    pub(in super::super) fn verified_every(mut self, every: u32) -> Self {
        // Decoders of JPEG differ, and a server that stands before a bucket has no other endpoint.
        let is_comparable = self.voxels.compression != StoredForm::Jpeg && !self.voxels.grid_store;
        self.verify_every = if is_comparable { every } else { 0 };
        self
    }

    /// # Errors
    /// If one of these blocks is another by the other endpoint.
    pub(in super::super) fn compare<'a>(
        &self,
        labels: Labels,
        scale: Scale,
        blocks: BlockBox,
        found: impl Iterator<Item = &'a Block>,
    ) -> Result<(), Error> {
        let chosen = |block: &BlockIndex| is_chosen(self.verify_every, scale, *block);
        for (block, found) in blocks.blocks().zip(found).filter(|(block, _)| chosen(block)) {
            // A labelmap answers for one block that is not stored with an error.
            if !matches!((self.voxels.kind, found), (InstanceKind::LabelMap, Block::Absent)) {
                self.compare_one(labels, scale, block, found)?;
            }
        }
        Ok(())
    }

    fn compare_one(&self, labels: Labels, scale: Scale, block: BlockIndex, found: &Block) -> Result<(), Error> {
        let place = size_and_offset(self.grid, BlockBox::one(block), &self.path)?;
        let query = match self.voxels.kind {
            InstanceKind::ImageBlk | InstanceKind::LabelBlk => String::new(),
            InstanceKind::LabelArray => format!("?scale={scale}"),
            InstanceKind::LabelMap => format!("?supervoxels={}&scale={scale}", labels == Labels::Supervoxels),
        };
        let path = format!("{}/raw/0_1_2/{place}{query}", self.path);
        let n_bytes = block_bytes(&self.voxels);
        let is_same = with_buffer(|body| -> Result<bool, Error> {
            self.server.get_into(&path, n_bytes as u64, body)?;
            if body.len() != n_bytes {
                let detail = format!("{} bytes of voxels in place of {n_bytes}", body.len());
                return Err(Error::new(ErrorKind::Malformed, &path).with_code("bad_length").with_detail(detail));
            }
            let raw = match self.voxels.channels {
                Some(n) => &woven_apart(body, n, self.voxels.dtype.itemsize()),
                None => &*body,
            };
            Ok(match found {
                Block::Absent => raw.iter().all(|&byte| byte == 0),
                Block::Dense(volume) => volume.bytes() == raw,
                Block::Labels(labels) => labels.decode() == *raw,
            })
        })?;
        if is_same {
            return Ok(());
        }
        self.server.distrust_connection();
        let detail = format!("block {} is another by the other endpoint: one of the two came damaged", block.0);
        Err(Error::new(ErrorKind::Malformed, path).with_code("verify_mismatch").with_detail(detail))
    }
}

/// Whether a block is one of those that are fetched twice: always the same ones, so that a second try proves nothing less.
fn is_chosen(every: u32, scale: Scale, block: BlockIndex) -> bool {
    let mut hasher = DefaultHasher::new();
    (scale.0, block.0.axes()).hash(&mut hasher);
    every > 0 && hasher.finish().is_multiple_of(every.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Coordinate, VoxelBox};

    #[test]
    fn one_block_of_so_many_is_chosen() {
        let all = VoxelBox::from_shape(Coordinate::ZERO, Coordinate::splat(20)).unwrap();
        let chosen = |every| all.indices().filter(|&index| is_chosen(every, Scale::FULL, BlockIndex(index))).count();
        assert_eq!((chosen(0), chosen(1)), (0, 8000));
        assert!((700..900).contains(&chosen(10)), "{}", chosen(10));
    }
}
