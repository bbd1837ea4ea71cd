//! An image whose blocks are the chunks of a bucket that the server stands before: fewer endpoints, and other mistakes.

use std::sync::Arc;

use crate::geometry::{BlockIndex, Coordinate};

use super::dataset::Stored;
use super::http::Response;
use super::images;
use super::query::aligned;
use super::routes::Call;
use super::wire;

pub(super) fn answer(call: &Call<'_>, endpoint: &str) -> Result<Response, Response> {
    match endpoint {
        "raw" | "isotropic" => {
            let name = &call.spec.name;
            Err(call.target.bad(&format!("Data {name:?} does not support /raw endpoint since it is proxying data")))
        }
        "blocks" => blocks(call),
        "subvolblocks" => subvolblocks(call),
        "specificblocks" => specificblocks(call),
        _ => images::answer(call, endpoint),
    }
}

/// Why a chunk is not sent.
enum Refused {
    /// It lies behind the volume's end.
    Outside(String),
    /// It is no JPEG, and cannot be decoded.
    Undecodable,
}

impl Refused {
    fn words(self) -> String {
        match self {
            Self::Outside(words) => words,
            Self::Undecodable => "invalid JPEG format: missing SOI marker".to_owned(),
        }
    }
}

/// The chunk as the bucket has it; `None` if it has none, which it says of all that lies before the volume.
fn chunk(call: &Call<'_>, block: BlockIndex) -> Result<Option<Arc<Vec<u8>>>, Refused> {
    let volume = call.spec.grid().block_range(call.spec.data);
    if Coordinate::ZERO.all_le(block.0) && !volume.contains(block) {
        let [z, y, x] = block.0.axes();
        let words = format!("error in jpeg uncompression for block ({x},{y},{z}): unexpected EOF");
        return Err(Refused::Outside(words));
    }
    let form = match (call.target.parameter("compression"), call.spec.stored) {
        ("uncompressed", Stored::Jpeg) => Stored::None,
        ("uncompressed", _) => return Err(Refused::Undecodable),
        (_, stored) => stored,
    };
    Ok(call.payload(block, form))
}

fn subvolblocks(call: &Call<'_>) -> Result<Response, Response> {
    if call.target.parts.len() < 7 {
        return Err(call.target.panic("index out of range [5] with length 5"));
    }
    let blocks = aligned(call.target, "block", call.target.size_and_offset(5)?, call.spec.block_shape)?;
    let is_one = blocks.n_voxels() == 1;
    let mut frames = Vec::new();
    for block in blocks.indices().map(BlockIndex) {
        match chunk(call, block) {
            Ok(Some(payload)) => frames.push(wire::frame(block, &payload)),
            Err(refused) if is_one => return Err(call.target.bad(&refused.words())),
            // Among several, an error is dropped: it looks like a chunk that is not there.
            Ok(None) | Err(_) => {}
        }
    }
    wire::shuffle(&mut frames, call.shared.next_turn());
    Ok(Response::voxels(frames.concat()))
}

/// In the order asked for. The first chunk outside ends the answer: with its words behind frames that were already sent.
fn specificblocks(call: &Call<'_>) -> Result<Response, Response> {
    let mut body = Vec::new();
    for block in call.target.blocks()? {
        match chunk(call, block) {
            Ok(Some(payload)) => body.extend(wire::frame(block, &payload)),
            Ok(None) | Err(Refused::Undecodable) => {}
            Err(refused @ Refused::Outside(_)) => {
                let error = call.target.bad(&refused.words());
                if body.is_empty() {
                    return Err(error);
                }
                body.extend(error.body);
                break;
            }
        }
    }
    Ok(Response::voxels(body))
}

/// The first chunk that is not there ends it, in words that say something else.
fn blocks(call: &Call<'_>) -> Result<Response, Response> {
    let first = call.target.triple(5, "Block coordinate")?;
    let span: i64 = call.target.parts.get(6).and_then(|span| span.parse().ok()).unwrap_or(0);
    let expected = call.spec.block_shape.product();
    for x in 0..span {
        match chunk(call, BlockIndex(first + Coordinate::new(0, 0, x))) {
            Ok(Some(_)) => {}
            Ok(None) => {
                return Err(call.target.bad(&format!("Deserialized block size (0) != expected ({expected})")));
            }
            Err(_) => return Err(call.target.bad("can't branch an unlocked node")),
        }
    }
    images::blocks(call)
}
