//! Faults of a server, by script: which answers go wrong, and how.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;

use super::http::Response;

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

/// How an answer goes wrong. Lengths of time are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FaultKind {
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

    /// The fault that this request meets, if any.
    pub(super) fn meet(&self, request: &str) -> Option<FaultKind> {
        let (fault, _, hits) = self.lines.iter().find(|(fault, seen, _)| {
            request.contains(&fault.matches) && {
                let n = seen.fetch_add(1, Ordering::SeqCst);
                n >= fault.nth && n - fault.nth < fault.count
            }
        })?;
        hits.fetch_add(1, Ordering::SeqCst);
        Some(fault.kind.clone())
    }

    /// How often a line was met.
    pub(super) fn hits(&self, line: usize) -> u64 {
        self.lines.get(line).map_or(0, |(_, _, hits)| hits.load(Ordering::SeqCst))
    }
}

impl FaultKind {
    /// The answer with what is wrong in its content; faults of the transport leave it as it is.
    pub(super) fn spoil(&self, response: Response) -> Response {
        let mut response = response;
        match self {
            Self::TextAppended => response.body.extend(b"disk on fire (/api/node/demo).\n"),
            Self::Html => {
                response.content_type = "text/html";
                response.body = b"<!DOCTYPE html><title>console</title>".to_vec();
            }
            Self::Empty => response.body.clear(),
            Self::Status { status, retry_after } => {
                let retry = retry_after.clone().map(|after| ("Retry-After".to_owned(), after));
                response =
                    Response { headers: retry.into_iter().collect(), ..Response::text(*status, "scripted fault") };
            }
            Self::Redirect { to } => {
                response = Response { headers: vec![("Location".to_owned(), to.clone())], ..Response::text(302, "") };
            }
            Self::Encoded => response.headers.push(("Content-Encoding".to_owned(), "gzip".to_owned())),
            Self::OneShort => {
                response.body.pop();
            }
            Self::OneLong => response.body.push(0),
            Self::CutHeader { .. }
            | Self::StrangeBlock
            | Self::DuplicateBlock
            | Self::FrameLength { .. }
            | Self::BlockLeftOut
            | Self::Permuted
            | Self::FlippedBit { .. }
            | Self::LabelBlock { .. } => response.body = self.spoil_frames(frames(&response.body)),
            Self::HangBeforeHeaders { .. }
            | Self::HangAfterHeaders { .. }
            | Self::Drip { .. }
            | Self::LengthTooLarge
            | Self::LengthTooSmall
            | Self::NoLastChunk
            | Self::CutInChunk
            | Self::Http10Cut
            | Self::EndlessBody
            | Self::Reset => {}
        }
        response
    }

    #[allow(clippy::wildcard_enum_match_arm)] // every other kind is no fault of frames
    fn spoil_frames(&self, mut frames: Vec<Vec<u8>>) -> Vec<u8> {
        if frames.is_empty() {
            return Vec::new();
        }
        match self {
            Self::CutHeader { left } => frames.push(vec![0; *left]),
            Self::StrangeBlock => {
                let mut strange = frames[0].clone();
                strange[..4].copy_from_slice(&0x00ab_cdef_i32.to_le_bytes());
                frames.push(strange);
            }
            Self::DuplicateBlock => frames.push(frames[0].clone()),
            Self::FrameLength { length } => frames[0][12..HEADER].copy_from_slice(&length.to_le_bytes()),
            Self::BlockLeftOut => {
                frames.remove(0);
            }
            Self::Permuted => frames.reverse(),
            Self::FlippedBit { bit } => {
                let at = HEADER + bit / 8 % (frames[0].len() - HEADER);
                frames[0][at] ^= 1 << (bit % 8);
            }
            Self::LabelBlock { damage } => frames[0] = damage.applied(&frames[0]),
            _ => {}
        }
        frames.concat()
    }
}

/// Bytes before the payload of a frame.
const HEADER: usize = 16;

fn frames(body: &[u8]) -> Vec<Vec<u8>> {
    let (mut frames, mut rest) = (Vec::new(), body);
    while rest.len() > HEADER {
        let length = i32::from_le_bytes(rest[12..HEADER].try_into().expect("four bytes"));
        let end = HEADER + usize::try_from(length).unwrap_or(0);
        frames.push(rest[..end].to_vec());
        rest = &rest[end..];
    }
    frames
}

impl LabelDamage {
    /// The frame with its label block damaged; packed as it was.
    fn applied(self, frame: &[u8]) -> Vec<u8> {
        let packed = &frame[HEADER..];
        let length = u32::from_le_bytes(*packed.last_chunk().expect("gzip has a trailer")) as usize;
        let mut block = vec![0; length];
        libdeflater::Decompressor::new().gzip_decompress(packed, &mut block).expect("our own gzip");
        self.apply(&mut block);
        let payload = super::wire::gzip(&block);
        let mut spoiled = frame[..12].to_vec();
        spoiled.extend(i32::try_from(payload.len()).expect("a block is small").to_le_bytes());
        spoiled.extend(payload);
        spoiled
    }

    fn apply(self, block: &mut Vec<u8>) {
        let u32_at = |block: &[u8], at: usize| u32::from_le_bytes(block[at..at + 4].try_into().expect("four bytes"));
        let (sub_blocks, n_labels) =
            ((0..3).map(|n| u32_at(block, 4 * n)).product::<u32>() as usize, u32_at(block, 12));
        let counts = 16 + 8 * n_labels as usize;
        let set = |block: &mut Vec<u8>, at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        match self {
            Self::Shape => set(block, 0, &4_u32.to_le_bytes()),
            Self::NoLabels => set(block, 12, &0_u32.to_le_bytes()),
            Self::TooManyLabels => set(block, 12, &0x0010_0000_u32.to_le_bytes()),
            Self::OverflowingLabels => set(block, 12, &0x2000_0001_u32.to_le_bytes()),
            Self::TooManyInSubBlock => set(block, counts, &513_u16.to_le_bytes()),
            Self::IndexOutOfRange => set(block, counts + 2 * sub_blocks, &n_labels.to_le_bytes()),
            Self::BitsShort => block.truncate(block.len() - 1),
            Self::BytesLeft => block.extend([0; 3]),
        }
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
        let met: Vec<_> = (0..4).map(|_| script.meet("GET /blocks")).collect();
        let busy = FaultKind::Status { status: 503, retry_after: Some("2".into()) };
        // The first of the blocks meets the second line, which is for all.
        assert_eq!(met[1..3], [Some(busy.clone()), Some(busy)]);
        assert_eq!((script.hits(0), script.hits(1), met[3].is_none()), (2, 1, true));
    }
}
