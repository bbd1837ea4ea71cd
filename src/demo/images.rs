//! Endpoints of the imageblk family.

use std::sync::Arc;

use crate::geometry::{BlockIndex, Coordinate, Scale, VoxelBox};

use super::dataset::Stored;
use super::http::Response;
use super::query::aligned;
use super::routes::Call;
use super::wire::{self, Labels};

/// DVID's `MaxDataRequest`.
const MOST_BYTES: u128 = 3 << 30;

pub(super) fn answer(call: &Call<'_>, endpoint: &str) -> Result<Response, Response> {
    match endpoint {
        "raw" | "isotropic" => raw(call),
        "blocks" => blocks(call),
        "subvolblocks" => subvolblocks(call),
        "specificblocks" => specificblocks(call),
        "extents" | "resolution" => Err(call.target.bad(&format!("{endpoint} endpoint only supports POST HTTP verb"))),
        _ => Err(call.unknown()),
    }
}

impl Call<'_> {
    /// The box of a `raw` request, checked as the server does.
    pub(super) fn raw_box(&self, complaint: &str) -> Result<VoxelBox, Response> {
        let target = self.target;
        if target.parts.len() < 8 {
            return Err(target.bad("\"raw\" must be followed by shape/size/offset"));
        }
        let shape = target.parts[5].as_str();
        if shape != "0_1_2" && shape != "vol" {
            return Err(target.bad(&format!("Unknown data shape specification ({shape})")));
        }
        let (size, offset) = target.size_and_offset(6)?;
        if !Coordinate::ZERO.all_lt(size) {
            let ([sz, sy, sx], [oz, oy, ox]) = (size.axes(), offset.axes());
            let text = format!("Illegal geometry requested: 3d volume ({sx},{sy},{sz}) at offset ({ox},{oy},{oz})");
            return Err(target.bad(&text));
        }
        let bytes = size.product() * self.spec.voxel_bytes() as u128;
        if bytes > MOST_BYTES {
            let limit = "exceeds this DVID server's set limit";
            return Err(target.bad(&format!("{complaint} ({bytes} bytes) {limit} ({MOST_BYTES})")));
        }
        Ok(VoxelBox::from_shape(offset, size).unwrap_or(VoxelBox::EMPTY))
    }

    /// The payload of a block, or `None` where none is stored: made once, and then remembered.
    pub(super) fn payload(&self, block: BlockIndex, form: Stored) -> Option<Arc<Vec<u8>>> {
        if !self.spec.is_stored(Scale::FULL, block) {
            return None;
        }
        let key = format!("{}|{}|{}|{form:?}", self.version, self.identity(), block.0);
        self.shared.remembered(&key, || {
            let voxels = self.spec.grid().block_box(block);
            let values =
                wire::values(&self.shared.dataset(), self.version, self.spec, Scale::FULL, Labels::Stored, voxels);
            Some(wire::stored_payload(wire::to_bytes(&values, self.spec.voxel_bytes()), form, self.spec.block_shape))
        })
    }
}

/// Straight from the function, so that it can judge the other endpoints. It has no scale.
fn raw(call: &Call<'_>) -> Result<Response, Response> {
    let voxels = call.raw_box("Requested payload")?;
    let values = wire::values(&call.shared.dataset(), call.version, call.spec, Scale::FULL, Labels::Stored, voxels);
    Ok(Response::voxels(wire::to_bytes(&values, call.spec.voxel_bytes())))
}

/// `blocks/<bx_by_bz>/<span>`: whole blocks along x without frames; missing ones are Background, which is 0.
pub(super) fn blocks(call: &Call<'_>) -> Result<Response, Response> {
    let first = call.target.triple(5, "Block coordinate")?;
    let span: i64 = call.target.parts.get(6).and_then(|span| span.parse().ok()).unwrap_or(0);
    if span < 0 {
        return Err(call.target.panic("makeslice: len out of range"));
    }
    let size = usize::try_from(call.spec.block_shape.product()).expect("a block fits in memory");
    let mut body = Vec::new();
    for x in 0..span {
        let block = BlockIndex(first + Coordinate::new(0, 0, x));
        match call.payload(block, Stored::None) {
            Some(payload) => body.extend_from_slice(&payload),
            None => body.resize(body.len() + size * call.spec.voxel_bytes(), 0),
        }
    }
    Ok(Response::voxels(body))
}

fn subvolblocks(call: &Call<'_>) -> Result<Response, Response> {
    if call.target.parts.len() < 7 {
        return Err(call.target.panic("index out of range [5] with length 5"));
    }
    let size_and_offset = call.target.size_and_offset(5)?;
    let blocks = aligned(call.target, "block", size_and_offset, call.spec.block_shape)?;
    let form = form(call)?.ok_or_else(|| not_jpeg(call))?;
    let mut body = Vec::new();
    for block in blocks.indices().map(BlockIndex) {
        if let Some(payload) = call.payload(block, form) {
            wire::push_frame(&mut body, block, &payload);
        }
    }
    Ok(Response::voxels(body))
}

/// The form that is asked for; `None` for JPEG of data that are not stored so.
fn form(call: &Call<'_>) -> Result<Option<Stored>, Response> {
    match call.target.parameter("compression") {
        "" => Ok(Some(call.spec.stored)),
        "uncompressed" => Ok(Some(Stored::None)),
        "jpeg" => Ok(Some(Stored::Jpeg).filter(|form| *form == call.spec.stored)),
        other => Err(call.target.bad(&format!("don't understand 'compression' query string value: {other}"))),
    }
}

fn not_jpeg(call: &Call<'_>) -> Response {
    let form = match call.spec.stored {
        Stored::Lz4 => "LZ4 compression",
        Stored::Gzip => "gzip compression",
        Stored::None => "No compression",
        Stored::Snappy => "Go Snappy compression",
        Stored::Jpeg => "JPEG",
    };
    call.target.bad(&format!(
        "unable to GET data Versioned data context for \"{}\" (local id 5, version id 1): can't encode JPEG: expected \
         internal block data to be JPEG, was {form} instead",
        call.spec.name
    ))
}

/// One goroutine a block: in any order. Errors are swallowed, so that JPEG of other data looks like no data.
fn specificblocks(call: &Call<'_>) -> Result<Response, Response> {
    let blocks = call.target.blocks()?;
    let Some(form) = form(call)? else { return Ok(Response::voxels(Vec::new())) };
    let framed = |block| call.payload(block, form).map(|payload| wire::frame(block, &payload));
    let mut frames: Vec<_> = blocks.into_iter().filter_map(framed).collect();
    wire::shuffle(&mut frames, call.shared.next_turn());
    Ok(Response::voxels(frames.concat()))
}
