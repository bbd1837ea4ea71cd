//! What the demo server writes, for the seeds of fuzz targets and for the way back of decoders.

use crate::geometry::{BlockIndex, Coordinate};

use super::dataset::{Dataset, Stored};
use super::{info_json, wire};

pub(crate) use super::label_block::encode as label_block;
pub(crate) use super::wire::gzip;

/// A frame of a block stream.
pub(crate) fn frame(block: BlockIndex, payload: &[u8]) -> Vec<u8> {
    wire::frame(block, payload)
}

/// A block in each form in which an instance of gray voxels may keep it.
pub(crate) fn stored_forms(voxels: &[u8], block_shape: Coordinate) -> Vec<Vec<u8>> {
    let forms = [Stored::None, Stored::Gzip, Stored::Snappy, Stored::Jpeg, Stored::Lz4];
    forms.map(|stored| wire::stored_payload(voxels.to_vec(), stored, block_shape)).into()
}

/// `info` of every instance of a test's server.
pub(crate) fn infos() -> Vec<Vec<u8>> {
    let dataset = Dataset::test();
    dataset.instances().map(|spec| info_json::instance(&dataset, spec).into_bytes()).collect()
}

/// `repo/<uuid>/info` of a test's server.
pub(crate) fn repo() -> Vec<u8> {
    info_json::repo(&Dataset::test()).into_bytes()
}
