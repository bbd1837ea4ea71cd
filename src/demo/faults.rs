//! Faults of a server, by script: which answers go wrong, and how.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;

/// One line of the script.
#[derive(Clone, Debug, Deserialize)]
pub struct Fault {
    /// Part of the path and query of the requests that are meant; empty: all.
    #[serde(rename = "match", default)]
    pub matches: String,
    /// So many of them go right first.
    #[serde(default)]
    pub nth: u64,
    /// So many go wrong then.
    #[serde(default = "one")]
    pub count: u64,
    /// How they go wrong.
    #[serde(flatten)]
    pub kind: FaultKind,
}

fn one() -> u64 {
    1
}

impl Fault {
    /// A fault of every request that contains `matches`.
    #[must_use]
    pub fn always(matches: &str, kind: FaultKind) -> Self {
        Self { matches: matches.to_owned(), nth: 0, count: 1 << 60, kind }
    }
}

/// How an answer goes wrong. Lengths of time are milliseconds.
///
/// Damage is done to the right answer. Where it changes nothing, as frames of an answer without frames, it does not count as a hit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FaultKind {
    /// The right answer, so much later.
    Delay {
        /// How long.
        ms: u64,
    },
    /// Half of the body, nothing for so long, the rest.
    Stall {
        /// How long.
        ms: u64,
    },
    /// Headers without an end.
    EndlessHeaders,
    /// `100 Continue` without an end.
    ContinueFlood,
    /// Two different Content-Lengths.
    TwoLengths,
    /// A Content-Length that is wrong, and chunks.
    LengthAndChunked,
    /// A header with a NUL.
    BadHeader,
    /// Lines of the head that end in a line feed alone.
    BareLineFeeds,
    /// Bytes beyond ASCII in a header.
    EightBitHeader,
    /// Something that is not HTTP.
    Banner,
    /// The connection is closed within the body.
    Closed,
    /// The connection is reset without an answer.
    ResetAtOnce,
    /// The right answer; then the connection is closed without a word of it.
    ClosedAfter,
    /// Any status, headers and text.
    Answer {
        /// The status.
        status: u16,
        /// Such as Location or Retry-After.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// The text.
        #[serde(default)]
        body: String,
    },
    /// The right answer to another request.
    OtherAnswer {
        /// Its path and query.
        target: String,
    },
    /// A body that really is encoded by gzip, and says so.
    ReallyEncoded,
    /// The first half of the frames, then the text of an error.
    ErrorMidStream,
    /// The first frame says 0 bytes, and has none.
    EmptyFrame,
    /// The first payload is cut in half; its frame says so.
    CutPayload,
    /// Bytes follow the first payload; its frame counts them.
    PayloadGarbage,
    /// The first payload comes twice in its frame: a second gzip member.
    PayloadTwice,
    /// The first payload is a gzip member of so many zeros.
    GzipBomb {
        /// 2^20 bytes.
        mib: u32,
    },
    /// The same, and says that it holds a thousand bytes.
    LyingBomb {
        /// 2^20 bytes.
        mib: u32,
    },
    /// The first payload is an LZ4 block behind its right size, of far more bytes.
    Lz4Bomb,
    /// The first payload is an LZ4 block behind its right size, which refers to bytes before its first.
    Lz4BadOffset,
    /// The first payload is inflated.
    PayloadInflated,
    /// The first payload is inflated, and its last byte is missing.
    InflatedAndCut,
    /// A text in the body is replaced by another wherever it stands.
    Replace {
        /// What stands there.
        from: String,
        /// What is sent.
        to: String,
    },
    /// The first payload is a JPEG of another size.
    OtherJpeg {
        /// Pixels along each side.
        side: u16,
    },
    /// The first payload is a JPEG that claims to be 65,535 pixels wide and high.
    HugeJpeg,
    /// The first payload is a progressive JPEG of the right size with a thousand scans.
    ManyScans,
    /// Nothing is sent for so long, then the connection is closed.
    HangBeforeHeaders {
        /// How long.
        ms: u64,
    },
    /// Headers and the first bytes, then nothing for so long, then the connection is closed.
    HangAfterHeaders {
        /// How long.
        ms: u64,
    },
    /// A byte of the body each so often.
    Drip {
        /// How often.
        ms: u64,
    },
    /// A Content-Length larger than the body, then the connection is closed.
    LengthTooLarge,
    /// A Content-Length smaller than the body.
    LengthTooSmall,
    /// A chunked body without its last chunk.
    NoLastChunk,
    /// A chunked body cut within a chunk.
    CutInChunk,
    /// An HTTP/1.0 body that ends when the connection does, too early.
    Http10Cut,
    /// A body without an end.
    EndlessBody,
    /// The connection is reset within the body.
    Reset,
    /// The text of an error behind the blocks.
    TextAppended,
    /// A web page instead of an answer.
    Html,
    /// A 200 without a body.
    Empty,
    /// Another status, perhaps with Retry-After.
    Status {
        /// The status.
        status: u16,
        /// What Retry-After says.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// A redirect.
    Redirect {
        /// Where to.
        to: String,
    },
    /// A Content-Encoding that nobody asked for.
    Encoded,
    /// The last byte is missing.
    OneShort,
    /// A byte too many.
    OneLong,
    /// The last frame's header is cut to so many bytes.
    CutHeader {
        /// Bytes that are left, 1 to 15.
        left: usize,
    },
    /// A frame for a block that was not asked for.
    StrangeBlock,
    /// The first frame comes twice.
    DuplicateBlock,
    /// The first frame says another length.
    FrameLength {
        /// The length that it says.
        length: i32,
    },
    /// The first frame is left out, and the stream is clean: legal, it means that the block is not stored.
    BlockLeftOut,
    /// The frames come in reverse order: legal.
    Permuted,
    /// A bit of the first payload is flipped.
    FlippedBit {
        /// Which, from its first byte on.
        bit: usize,
    },
    /// The first label block is damaged in its own way, and packed again.
    LabelBlock {
        /// How.
        damage: LabelDamage,
    },
}

impl FaultKind {
    /// Whether the answer is right and the connection goes wrong.
    pub(super) fn is_of_the_connection(&self) -> bool {
        use FaultKind as K;
        matches!(
            self,
            K::HangBeforeHeaders { .. }
                | K::HangAfterHeaders { .. }
                | K::Drip { .. }
                | K::Stall { .. }
                | K::LengthTooLarge
                | K::LengthTooSmall
                | K::TwoLengths
                | K::LengthAndChunked
                | K::NoLastChunk
                | K::CutInChunk
                | K::Http10Cut
                | K::EndlessBody
                | K::EndlessHeaders
                | K::ContinueFlood
                | K::BadHeader
                | K::BareLineFeeds
                | K::EightBitHeader
                | K::Banner
                | K::Reset
                | K::Closed
                | K::ResetAtOnce
                | K::ClosedAfter
        )
    }
}

/// What can be wrong with a label block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelDamage {
    /// Another shape than the instance's blocks.
    Shape,
    /// No label.
    NoLabels,
    /// More labels than voxels.
    TooManyLabels,
    /// A number of labels whose bytes overflow 32 bits.
    OverflowingLabels,
    /// More than 512 labels in a sub-block.
    TooManyInSubBlock,
    /// An index beyond the label list.
    IndexOutOfRange,
    /// A value beyond the list of its sub-block.
    ValueOutOfRange,
    /// Values end too early.
    BitsShort,
    /// Bytes are left over.
    BytesLeft,
}

/// A script with what has come of it.
#[derive(Debug, Default)]
pub(super) struct Script {
    lines: Vec<(Fault, AtomicU64, AtomicU64)>,
}

impl Script {
    pub(super) fn new(faults: Vec<Fault>) -> Self {
        Self { lines: faults.into_iter().map(|fault| (fault, AtomicU64::new(0), AtomicU64::new(0))).collect() }
    }

    /// The fault that this request meets, if any, and its line.
    pub(super) fn meet(&self, request: &str) -> Option<(usize, FaultKind)> {
        let line = self.lines.iter().position(|(fault, seen, _)| {
            request.contains(&fault.matches) && {
                let n = seen.fetch_add(1, Ordering::SeqCst);
                n >= fault.nth && n - fault.nth < fault.count
            }
        })?;
        Some((line, self.lines[line].0.kind.clone()))
    }

    /// Counts a fault that has happened.
    pub(super) fn hit(&self, line: usize) {
        self.lines[line].2.fetch_add(1, Ordering::SeqCst);
    }

    /// How often the fault of a line has happened.
    pub(super) fn hits(&self, line: usize) -> u64 {
        self.lines.get(line).map_or(0, |(_, _, hits)| hits.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_from_json_and_counts_what_it_did() {
        let json = r#"[{"match": "blocks", "nth": 1, "count": 2, "kind": "status", "status": 503, "retry_after": "2"},
            {"kind": "label_block", "damage": "no_labels"}]"#;
        let script = Script::new(serde_json::from_str(json).unwrap());
        let met: Vec<_> = (0..4)
            .map(|_| {
                let (line, kind) = script.meet("GET /blocks")?;
                script.hit(line);
                Some(kind)
            })
            .collect();
        let busy = FaultKind::Status { status: 503, retry_after: Some("2".into()) };
        // The first of the blocks meets the second line, which is for all.
        assert_eq!(met[1..3], [Some(busy.clone()), Some(busy)]);
        assert_eq!((script.hits(0), script.hits(1), met[3].is_none()), (2, 1, true));
    }
}
