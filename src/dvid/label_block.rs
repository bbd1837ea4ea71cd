//! DVID's compressed label block: labels of a block by sub-blocks of 8^3 voxels.

/// A checked label block, kept in DVID's compressed form.
#[derive(Debug)]
pub struct LabelBlock {
    bytes: Vec<u8>,
}

impl LabelBlock {
    /// Memory that the block holds, in bytes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bytes.len()
    }
}
