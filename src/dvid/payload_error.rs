//! What can be wrong with the bytes of an answer.

use crate::geometry::BlockIndex;

use super::error::ErrorKind;

/// An answer that came whole, and cannot be right all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// A frame that breaks off, or text behind the last frame: DVID appends its errors to an answer that began well.
    #[error("the frame at byte {offset} is cut or is none: {left} bytes left")]
    CutFrame {
        /// Where the frame begins.
        offset: usize,
        /// Bytes from there to the end.
        left: usize,
    },
    /// A frame without a payload, or with a length below zero.
    #[error("the frame at byte {offset} claims {claimed} bytes")]
    BadFrameLength {
        /// Where the frame begins.
        offset: usize,
        /// The length it claims.
        claimed: i32,
    },
    /// A block that nobody asked for.
    #[error("block {} was not asked for", .0.0)]
    UnaskedBlock(BlockIndex),
    /// A block that came twice.
    #[error("block {} came twice", .0.0)]
    RepeatedBlock(BlockIndex),
    /// Voxels that do not fill the block, or more of them.
    #[error("{got} bytes of voxels in place of {wanted}")]
    BadLength {
        /// Bytes that came.
        got: usize,
        /// Bytes that the block has.
        wanted: usize,
    },
    /// More than an answer of its kind can rightly hold.
    #[error("{claimed} in place of at most {limit}")]
    OverLimit {
        /// What the answer claims.
        claimed: u64,
        /// The most that is right.
        limit: u64,
    },
    /// A gzip member that is damaged, or not alone.
    #[error("bad gzip: {0}")]
    BadGzip(&'static str),
    /// A gzip member of which everything is whole but what it holds.
    #[error("bad gzip: another checksum than that of its bytes")]
    BadCrc,
    /// An LZ4 block that is damaged.
    #[error("bad lz4: {0}")]
    BadLz4(String),
    /// A snappy stream that is damaged.
    #[error("bad snappy: {0}")]
    BadSnappy(String),
    /// A JPEG image that is damaged, or not that of a block.
    #[error("bad jpeg: {0}")]
    BadJpeg(String),
    /// A label block that contradicts itself.
    #[error("bad label block: {0}")]
    BadLabelBlock(&'static str),
    /// Metadata that cannot be read.
    #[error("{0}")]
    BadMetadata(String),
}

impl PayloadError {
    /// What became of the request that brought such an answer.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::OverLimit { .. } => ErrorKind::OverLimit,
            Self::CutFrame { .. }
            | Self::BadFrameLength { .. }
            | Self::UnaskedBlock(_)
            | Self::RepeatedBlock(_)
            | Self::BadLength { .. }
            | Self::BadGzip(_)
            | Self::BadCrc
            | Self::BadLz4(_)
            | Self::BadSnappy(_)
            | Self::BadJpeg(_)
            | Self::BadLabelBlock(_)
            | Self::BadMetadata(_) => ErrorKind::Malformed,
        }
    }

    /// Whether the payload is not of the form that it was taken for, and may be right in another that is as safe.
    pub(super) fn is_of_a_form(&self) -> bool {
        match self {
            Self::BadLength { .. } | Self::BadLz4(_) | Self::BadSnappy(_) | Self::BadJpeg(_) => true,
            // What begins as a gzip member is one, and came damaged: in another form it would come without a checksum.
            Self::BadGzip(_)
            | Self::BadCrc
            | Self::CutFrame { .. }
            | Self::BadFrameLength { .. }
            | Self::UnaskedBlock(_)
            | Self::RepeatedBlock(_)
            | Self::OverLimit { .. }
            | Self::BadLabelBlock(_)
            | Self::BadMetadata(_) => false,
        }
    }

    /// The code in log lines: finer than that of the kind.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::CutFrame { .. } | Self::BadFrameLength { .. } | Self::UnaskedBlock(_) | Self::RepeatedBlock(_) => {
                "bad_frame"
            }
            Self::BadLength { .. } => "bad_length",
            Self::OverLimit { .. } => "over_limit",
            Self::BadGzip(_) => "bad_gzip",
            Self::BadCrc => "bad_crc",
            Self::BadLz4(_) => "bad_lz4",
            Self::BadSnappy(_) => "bad_snappy",
            Self::BadJpeg(_) => "bad_jpeg",
            Self::BadLabelBlock(_) => "bad_block",
            Self::BadMetadata(_) => "bad_metadata",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_its_own_checksum_refuses_is_not_asked_for_in_a_form_without_one() {
        assert!(!PayloadError::BadCrc.is_of_a_form());
        assert!(!PayloadError::BadGzip("damaged or cut").is_of_a_form());
        assert!(PayloadError::BadLength { got: 3, wanted: 4 }.is_of_a_form());
    }
}
