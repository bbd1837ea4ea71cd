//! Endpoints of labelmap, labelarray and labelblk.

use std::collections::HashMap;
use std::sync::Arc;

use crate::geometry::{BlockIndex, Coordinate, Scale, VoxelBox};

use super::dataset::Kind;
use super::google;
use super::http::Response;
use super::info_json;
use super::query::aligned;
use super::routes::Call;
use super::wire::{self, Labels};

pub(super) fn answer(call: &Call<'_>, endpoint: &str) -> Result<Response, Response> {
    let labelblk = call.spec.kind == Kind::LabelBlk;
    match endpoint {
        "raw" | "isotropic" => raw(call),
        "blocks" => blocks(call),
        "specificblocks" if !labelblk => specificblocks(call),
        "extents" | "resolution" => Err(call.target.bad("unexpected end of JSON input")),
        "label" => label(call),
        "labels" => labels(call),
        "maxlabel" if !labelblk => maxlabel(call),
        "mapping" if call.is_labelmap() => mapping(call),
        "mappings" if call.is_labelmap() => Ok(mappings(call)),
        _ => Err(call.unknown()),
    }
}

impl Call<'_> {
    fn is_labelmap(&self) -> bool {
        matches!(self.spec.kind, Kind::LabelMap(_))
    }

    fn wants_bodies(&self) -> bool {
        self.is_labelmap() && !self.target.is_on("supervoxels")
    }

    /// The mapping as far as the server has loaded it, or none if supervoxels are wanted.
    fn mapping(&self) -> Option<Arc<HashMap<u64, u64>>> {
        self.wants_bodies().then(|| self.shared.mapping(self.version, &self.spec.name))
    }

    /// labelblk has no scales, and ignores the parameter.
    fn label_scale(&self) -> Result<Scale, Response> {
        if self.spec.kind == Kind::LabelBlk { Ok(Scale::FULL) } else { self.target.scale() }
    }

    fn label_values(&self, scale: Scale, voxels: VoxelBox) -> Vec<u64> {
        let mapping = self.mapping();
        let labels = mapping.as_deref().map_or(Labels::Stored, Labels::Mapped);
        wire::values(&self.shared.dataset(), self.version, self.spec, scale, labels, voxels)
    }

    /// A payload of labels; one made with a half-loaded mapping is not remembered.
    fn label_frame(&self, scale: Scale, block: BlockIndex, compression: &str) -> Option<Vec<u8>> {
        if !self.spec.is_stored(scale, block) {
            return None;
        }
        let make = || {
            let values = self.label_values(scale, self.spec.grid().block_box(block));
            wire::label_payload(&values, compression, self.spec.block_shape)
        };
        let bodies = self.wants_bodies();
        let payload = if bodies && self.shared.is_loading() {
            Arc::new(make()?)
        } else {
            let name = self.identity();
            let key = format!("{}|{name}|{scale}|{}|{compression}|{bodies}", self.version, block.0);
            self.shared.remembered(&key, make)?
        };
        Some(wire::frame(block, &payload))
    }
}

fn raw(call: &Call<'_>) -> Result<Response, Response> {
    let voxels = call.raw_box("requested payload")?;
    let scale = call.label_scale()?;
    let compression = call.target.parameter("compression");
    if call.is_labelmap() {
        single_block_trap(call, voxels, scale, compression)?;
    }
    let array = || wire::to_bytes(&call.label_values(scale, voxels), call.spec.voxel_bytes());
    match compression {
        "" | "uncompressed" => Ok(Response::voxels(array())),
        "lz4" | "gzip" => {
            let payload = wire::label_payload(&call.label_values(scale, voxels), compression, voxels.shape());
            Ok(Response::voxels(payload.expect("a compression that is known")))
        }
        "google" | "googlegzip" => {
            let segmentation = google::encode(&call.label_values(scale, voxels), voxels.shape())
                .ok_or_else(|| call.target.bad("volume must be a multiple of the block size"))?;
            if compression == "google" {
                return Ok(Response::voxels(segmentation));
            }
            Ok(Response::voxels(wire::gzip(&segmentation)).with("Content-Encoding", "gzip"))
        }
        other => Err(call.target.bad(&format!("unknown compression type {other:?}"))),
    }
}

/// A labelmap fails on exactly one aligned block that is not stored, at any scale.
fn single_block_trap(call: &Call<'_>, voxels: VoxelBox, scale: Scale, compression: &str) -> Result<(), Response> {
    let grid = call.spec.grid();
    let block = grid.block_of(voxels.begin());
    if grid.block_box(block) != voxels || call.spec.is_stored(scale, block) {
        return Ok(());
    }
    if compression.is_empty() {
        return Err(call.target.panic("invalid memory address or nil pointer dereference"));
    }
    let [z, y, x] = block.0.axes();
    Err(call.target.bad(&format!("unable to get label block ({x}, {y}, {z})")))
}

/// The compression that is asked for, if the type knows it.
fn compression<'a>(call: &'a Call<'_>, default: &'a str) -> Result<&'a str, Response> {
    let labelblk = call.spec.kind == Kind::LabelBlk;
    match call.target.parameter("compression") {
        "" => Ok(default),
        known @ ("lz4" | "uncompressed") => Ok(known),
        other if labelblk => {
            Err(call.target.bad(&format!("don't understand 'compression' query string value: {other}")))
        }
        known @ ("gzip" | "blocks") => Ok(known),
        _ => Err(call.target.bad("compression must be \"lz4\" (default), \"gzip\", \"blocks\" or \"uncompressed\"")),
    }
}

fn blocks(call: &Call<'_>) -> Result<Response, Response> {
    if call.target.parts.len() < 7 {
        return Err(call.target.bad("must specify size and offset with GET /blocks endpoint"));
    }
    let size_and_offset = call.target.size_and_offset(5)?;
    if size_and_offset.0.axes().into_iter().any(|n| n < 0) {
        return Err(call.target.panic("makeslice: len out of range"));
    }
    let scale = call.label_scale()?;
    let compression = compression(call, "lz4")?;
    let wanted = aligned(call.target, "blocks", size_and_offset, call.spec.block_shape)?;
    let mut frames: Vec<_> =
        wanted.indices().filter_map(|block| call.label_frame(scale, BlockIndex(block), compression)).collect();
    if call.is_labelmap() {
        wire::shuffle(&mut frames, call.shared.next_turn());
    }
    Ok(Response::voxels(frames.concat()))
}

fn specificblocks(call: &Call<'_>) -> Result<Response, Response> {
    let wanted = call.target.blocks()?;
    let scale = call.label_scale()?;
    // A labelarray sends what it stores, whatever was asked for.
    let compression = if call.is_labelmap() { compression(call, "blocks")? } else { "blocks" };
    let mut frames: Vec<_> =
        wanted.into_iter().filter_map(|block| call.label_frame(scale, block, compression)).collect();
    wire::shuffle(&mut frames, call.shared.next_turn());
    Ok(Response::voxels(frames.concat()))
}

fn label_at(call: &Call<'_>, voxel: Coordinate, scale: Scale) -> u64 {
    let one = VoxelBox::from_shape(voxel, Coordinate::ONE).unwrap_or(VoxelBox::EMPTY);
    call.label_values(scale, one).first().copied().unwrap_or(0)
}

fn label(call: &Call<'_>) -> Result<Response, Response> {
    let voxel = call.target.triple(5, "Coordinate")?;
    let label = label_at(call, voxel, call.label_scale()?);
    Ok(Response::json(format!("{{\"Label\": {label}}}")))
}

fn labels(call: &Call<'_>) -> Result<Response, Response> {
    let scale = call.label_scale()?;
    let voxels: Vec<[i64; 3]> = serde_json::from_slice(&call.request.body)
        .map_err(|_| call.target.bad("Bad labels request JSON: unexpected end of JSON input"))?;
    let labels = voxels.into_iter().map(|[x, y, z]| label_at(call, Coordinate::new(z, y, x), scale).to_string());
    Ok(Response::json(format!("[{}]", labels.collect::<Vec<_>>().join(","))))
}

fn maxlabel(call: &Call<'_>) -> Result<Response, Response> {
    if call.spec.data.is_empty() {
        return Err(call.target.bad(&format!("No maximum label found for {} version 1\n", call.spec.name)));
    }
    Ok(Response::json(format!("{{\"maxlabel\": {}}}", info_json::MAX_LABEL)))
}

/// Bodies of the supervoxels in the body of the request. A real server answers 0 for an id that is not stored,
/// unless `nolookup`; this one knows no list of them, and takes the ids beyond [`info_json::MAX_LABEL`] for such.
fn mapping(call: &Call<'_>) -> Result<Response, Response> {
    let asked: Vec<u64> = serde_json::from_slice(&call.request.body)
        .map_err(|_| call.target.bad("Bad mapping request JSON: unexpected end of JSON input"))?;
    let mapping = call.shared.mapping(call.version, &call.spec.name);
    let lookup = !call.target.is_on("nolookup");
    let body = |supervoxel: u64| match lookup && supervoxel > info_json::MAX_LABEL {
        true => 0,
        false => Labels::Mapped(&mapping).apply(supervoxel),
    };
    let bodies: Vec<_> = asked.into_iter().map(|supervoxel| body(supervoxel).to_string()).collect();
    Ok(Response::json(format!("[{}]", bodies.join(","))))
}

fn mappings(call: &Call<'_>) -> Response {
    let mapping = call.shared.mapping(call.version, &call.spec.name);
    let mut pairs: Vec<(u64, u64)> = mapping.iter().map(|(&supervoxel, &body)| (supervoxel, body)).collect();
    wire::shuffle(&mut pairs, call.shared.next_turn());
    if call.target.parameter("format") == "binary" {
        return Response::voxels(
            pairs.iter().flat_map(|(from, to)| [from.to_le_bytes(), to.to_le_bytes()]).flatten().collect(),
        );
    }
    let lines: String = pairs.iter().map(|(from, to)| format!("{from} {to}\n")).collect();
    Response::text(200, &lines)
}
