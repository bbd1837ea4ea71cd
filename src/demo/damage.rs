//! Damage to a finished, right body.

use super::bomb;
use super::faults::FaultKind;
use super::http::Response;
use super::label_damage;
use super::wire::{self, gzip};

/// What DVID appends to a stream that fails in the middle.
const ERROR_TEXT: &[u8] = b"Unable to read block: storage error (/api/node).\n";

/// Damages the body; whether anything changed. Kinds that are not about the body change nothing.
pub(super) fn apply(kind: &FaultKind, answer: &mut Response) -> bool {
    let before = answer.clone();
    change_body(kind, answer);
    if let Some(frames) = Frames::parse(&answer.body) {
        if let Some(frames) = change_frames(kind, frames) {
            answer.body = frames.join();
        }
    } else {
        change_whole_payload(kind, &mut answer.body);
    }
    answer.status != before.status || answer.body != before.body || answer.headers != before.headers
}

/// Kinds that need not know what the body holds.
#[allow(clippy::wildcard_enum_match_arm)] // every other kind is about frames or about the connection
fn change_body(kind: &FaultKind, answer: &mut Response) {
    let body = &mut answer.body;
    match kind {
        FaultKind::Html => {
            *answer = Response::new(200, "text/html; charset=utf-8", "<!DOCTYPE html><title>console</title>\n");
        }
        FaultKind::Replace { from, to } => {
            *body = String::from_utf8_lossy(body).replace(from.as_str(), to).into_bytes();
        }
        FaultKind::TextAppended => body.extend_from_slice(ERROR_TEXT),
        FaultKind::Empty => body.clear(),
        FaultKind::OneShort => drop(body.pop()),
        FaultKind::OneLong => body.push(0),
        FaultKind::CutHeader { left } => body.extend(std::iter::repeat_n(0, *left)),
        FaultKind::Status { status, retry_after } => {
            *answer = Response::text(*status, "scripted fault\n");
            answer.headers.extend(retry_after.iter().map(|after| ("Retry-After".to_owned(), after.clone())));
        }
        FaultKind::Answer { status, headers, body } => {
            *answer = Response::text(*status, body);
            answer.headers.extend(headers.iter().cloned());
        }
        FaultKind::Redirect { to } => *answer = Response::text(302, "").with("Location", to),
        FaultKind::Encoded => answer.headers.push(("Content-Encoding".to_owned(), "gzip".to_owned())),
        FaultKind::ReallyEncoded => {
            *body = gzip(body);
            answer.headers.push(("Content-Encoding".to_owned(), "gzip".to_owned()));
        }
        _ => {}
    }
}

/// The frames of a body: each its coordinates and its payload.
struct Frames(Vec<([u8; 12], i32, Vec<u8>)>);

impl Frames {
    /// `None` if the body is not a list of frames.
    fn parse(mut body: &[u8]) -> Option<Self> {
        let mut frames = Vec::new();
        while !body.is_empty() {
            let (place, rest) = body.split_first_chunk::<12>()?;
            let (length, rest) = rest.split_first_chunk::<4>()?;
            let length = i32::from_le_bytes(*length);
            let (payload, rest) = rest.split_at_checked(usize::try_from(length).ok().filter(|&length| length > 0)?)?;
            frames.push((*place, length, payload.to_vec()));
            body = rest;
        }
        (!frames.is_empty()).then_some(Self(frames))
    }

    /// The frame's length is told as it is held, whatever the payload.
    fn join(self) -> Vec<u8> {
        self.0
            .into_iter()
            .flat_map(|(place, length, payload)| [&place[..], &length.to_le_bytes(), &payload].concat())
            .collect()
    }
}

/// Kinds that are about frames; `None` if this one is not.
#[allow(clippy::wildcard_enum_match_arm)] // every other kind is about a payload
fn change_frames(kind: &FaultKind, mut frames: Frames) -> Option<Frames> {
    match kind {
        FaultKind::ErrorMidStream => {
            let half = frames.0.len() / 2;
            frames.0.truncate(half);
            // The text stands where the next header would.
            let (mut place, mut length) = ([0; 12], [0; 4]);
            place.copy_from_slice(&ERROR_TEXT[..12]);
            length.copy_from_slice(&ERROR_TEXT[12..16]);
            frames.0.push((place, i32::from_le_bytes(length), ERROR_TEXT[16..].to_vec()));
        }
        FaultKind::StrangeBlock => frames.0[0].0[..4].copy_from_slice(&0x00ab_cdef_i32.to_le_bytes()),
        FaultKind::DuplicateBlock => frames.0.push(frames.0[0].clone()),
        FaultKind::FrameLength { length } => frames.0[0].1 = *length,
        FaultKind::EmptyFrame => (frames.0[0].1, frames.0[0].2) = (0, Vec::new()),
        FaultKind::BlockLeftOut => drop(frames.0.remove(0)),
        FaultKind::Permuted => frames.0.reverse(),
        _ => {
            // Not every payload can be damaged in every way: a solid label block has no values.
            let changed = frames.0.iter_mut().find_map(|(_, length, payload)| {
                let damaged = change_payload(kind, payload)?;
                *length = i32::try_from(damaged.len()).ok()?;
                *payload = damaged;
                Some(())
            });
            changed?;
        }
    }
    Some(frames)
}

fn change_whole_payload(kind: &FaultKind, body: &mut Vec<u8>) {
    if let Some(damaged) = change_payload(kind, body) {
        *body = damaged;
    }
}

/// Kinds that are about the bytes of one payload; `None` if this one is not, or cannot damage these bytes.
#[allow(clippy::wildcard_enum_match_arm)] // every other kind is about the answer or the connection
fn change_payload(kind: &FaultKind, payload: &[u8]) -> Option<Vec<u8>> {
    if payload.is_empty() {
        return None;
    }
    match kind {
        FaultKind::FlippedBit { bit } => {
            let mut damaged = payload.to_vec();
            let at = bit / 8 % damaged.len();
            damaged[at] ^= 1 << (bit % 8);
            Some(damaged)
        }
        FaultKind::CutPayload => Some(payload[..payload.len() / 2].to_vec()),
        FaultKind::PayloadGarbage => Some([payload, b"garbage"].concat()),
        FaultKind::PayloadTwice => Some(payload.repeat(2)),
        FaultKind::GzipBomb { mib } => Some(bomb::gzip(*mib, None)),
        FaultKind::LyingBomb { mib } => Some(bomb::gzip(*mib, Some(1000))),
        FaultKind::Lz4Bomb => Some(bomb::lz4(payload.first_chunk()?)),
        // A literal, and a match that begins before it.
        FaultKind::Lz4BadOffset => Some([&payload[..4], &[0x1f, 0, 9, 0, 0, 0]].concat()),
        FaultKind::OtherJpeg { side } => Some(wire::jpeg(&vec![7; usize::from(*side).pow(2)], *side, *side)),
        FaultKind::HugeJpeg => bomb::huge_jpeg(payload.to_vec()),
        FaultKind::ManyScans => bomb::many_scans(payload),
        FaultKind::PayloadInflated => inflate(payload),
        FaultKind::InflatedAndCut => inflate(payload).map(|bytes| bytes[..bytes.len() - 1].to_vec()),
        FaultKind::LabelBlock { damage } => label_damage::apply(*damage, inflate(payload)?).map(|block| gzip(&block)),
        _ => None,
    }
}

fn inflate(member: &[u8]) -> Option<Vec<u8>> {
    // The last four bytes of a gzip member are the length of what it holds.
    let length = u32::from_le_bytes(*member.last_chunk()?);
    let mut bytes = vec![0; usize::try_from(length).ok().filter(|_| member.starts_with(&[0x1F, 0x8B]))?];
    let inflated = libdeflater::Decompressor::new().gzip_decompress(member, &mut bytes).ok()?;
    (inflated == bytes.len()).then_some(bytes)
}
