//! Which answer a path has: the endpoints of DVID that a reader asks for, with DVID's words for what is wrong.

use std::collections::HashMap;
use std::sync::Arc;

use crate::geometry::{BlockBox, BlockIndex, Coordinate, Scale, VoxelBox};

use super::dataset::{InstanceSpec, Kind, Stored, VERSIONS};
use super::http::{Request, Response};
use super::info_json;
use super::refs::{branch_versions, resolve};
use super::server::Shared;
use super::wire::{Labels, frame, label_payload, stored_payload, to_bytes, values};

/// A request taken apart.
struct Asked<'a> {
    path: &'a str,
    query: HashMap<String, String>,
}

impl Asked<'_> {
    fn query(&self, key: &str) -> &str {
        self.query.get(key).map_or("", String::as_str)
    }

    fn bad(&self, words: &str) -> Response {
        Response::bad_request(words, self.path)
    }
}

/// The right answer to a request.
pub(super) fn answer(shared: &Shared, request: &Request) -> Response {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let query = pairs.map(|(key, value)| (decoded(key), decoded(value))).collect();
    let path = decoded(path);
    let asked = Asked { path: &path, query };
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["api", "heartbeat"] => Response::text(200, "OK"),
        ["api", "server", "info"] => Response::json(info_json::server(shared.uptime(), shared.mode())),
        ["api", "repo", reference, rest @ ..] => match (resolve(reference), rest) {
            (Err(words), _) => asked.bad(&words),
            (Ok(_), ["info"]) => Response::json(info_json::repo(&shared.dataset)),
            (Ok(_), ["branch-versions", branch]) => {
                let uuids: Vec<_> = branch_versions(branch).into_iter().map(|version| VERSIONS[version].uuid).collect();
                Response::json(serde_json::json!(uuids).to_string())
            }
            (Ok(_), ["log"]) => Response::json(r#"{"log":[]}"#.to_owned()),
            _ => not_found(),
        },
        ["api", "node", reference, rest @ ..] => match (resolve(reference), rest) {
            (Err(words), _) => asked.bad(&words),
            (Ok(version), ["note"]) => Response::json(format!(r#"{{"note":"version {version} of the demo"}}"#)),
            (Ok(_), ["log"]) => Response::json(r#"{"log":[]}"#.to_owned()),
            (Ok(version), ["commit" | "status"]) => {
                Response::json(format!(r#"{{"Locked":{}}}"#, VERSIONS[version].locked))
            }
            (Ok(version), [name, rest @ ..]) => match shared.dataset.instance(name) {
                Some(spec) => Of { shared, version, spec, asked: &asked }.answer(rest, &request.body),
                None => asked.bad(&format!("invalid data instance name '{name}'")),
            },
            (Ok(_), []) => not_found(),
        },
        _ => not_found(),
    }
}

fn not_found() -> Response {
    Response::text(404, "404 page not found\n")
}

/// Undoes percent-encoding.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Three numbers `x_y_z`, turned to zyx.
fn zyx(text: &str, separator: char) -> Option<Coordinate> {
    let numbers: Vec<i64> =
        text.split(separator).map(|n| n.parse::<i32>().ok().map(i64::from)).collect::<Option<_>>()?;
    let &[x, y, z] = numbers.as_slice() else { return None };
    Some(Coordinate::new(z, y, x))
}

/// A request about one instance at one version.
struct Of<'a> {
    shared: &'a Shared,
    version: usize,
    spec: Arc<InstanceSpec>,
    asked: &'a Asked<'a>,
}

impl Of<'_> {
    fn answer(&self, rest: &[&str], body: &[u8]) -> Response {
        match (rest, self.spec.kind) {
            (["info"], _) => Response::json(info_json::instance(&self.shared.dataset, &self.spec)),
            (_, Kind::Other(typename)) => self.other(rest, typename),
            (["metadata"], _) => Response::json(info_json::metadata(&self.spec)),
            (["raw" | "isotropic", "0_1_2" | "vol", size, offset], _) => self.raw(size, offset),
            (["subvolblocks", size, offset], Kind::Image(_)) => self.block_stream(size, offset),
            (["blocks", size, offset], Kind::LabelBlk | Kind::LabelArray(_) | Kind::LabelMap(_)) => {
                self.block_stream(size, offset)
            }
            (["specificblocks"], Kind::Image(_) | Kind::LabelMap(_)) => self.specific_blocks(),
            (["mappings"], Kind::LabelMap(_)) => self.mappings(),
            (["mapping"], Kind::LabelMap(_)) => self.mapping(body),
            _ => self.bad_call(),
        }
    }

    fn other(&self, rest: &[&str], typename: &str) -> Response {
        match (typename, rest) {
            ("keyvalue", ["keys"]) | ("roi", ["roi"]) => Response::json("[]".to_owned()),
            ("annotation", ["all-elements"]) => Response::json("{}".to_owned()),
            _ => self.bad_call(),
        }
    }

    fn bad_call(&self) -> Response {
        self.asked.bad(&format!("Bad API call ({}) for data {:?}.  See API help", self.asked.path, self.spec.name))
    }

    fn scale(&self) -> Result<Scale, Response> {
        match (self.asked.query("scale"), self.spec.kind) {
            ("", _) | (_, Kind::Image(_) | Kind::LabelBlk | Kind::Other(_)) => Ok(Scale::FULL),
            (text, Kind::LabelArray(_) | Kind::LabelMap(_)) => {
                text.parse().map(Scale).map_err(|_| self.asked.bad(&format!("bad scale specified: {text:?}")))
            }
        }
    }

    fn view<'a>(&self, mapping: &'a HashMap<u64, u64>) -> Labels<'a> {
        let stored = self.asked.query("supervoxels") == "true" || !matches!(self.spec.kind, Kind::LabelMap(_));
        if stored { Labels::Stored } else { Labels::Mapped(mapping) }
    }

    /// Straight from the pure function, block by block of nothing: what readers in other languages compare with.
    fn raw(&self, size: &str, offset: &str) -> Response {
        let (Some(size), Some(offset)) = (zyx(size, '_'), zyx(offset, '_')) else {
            return self.asked.bad("Illegal geometry requested");
        };
        let Some(wanted) = VoxelBox::from_shape(offset, size).filter(|wanted| !wanted.is_empty()) else {
            return self.asked.bad("Illegal geometry requested: bad size");
        };
        let scale = match self.scale() {
            Ok(scale) => scale,
            Err(response) => return response,
        };
        let dtype = self.spec.dtype().expect("only instances with voxels have raw");
        if wanted.n_voxels() * dtype.itemsize() as u128 > 3 << 30 {
            return self.asked.bad("requested payload exceeds this DVID server's set limit (3221225472)");
        }
        let grid = self.spec.grid();
        let block = grid.block_of(offset);
        let is_one_block = size == self.spec.block_shape && grid.block_box(block).begin() == offset;
        if is_one_block && matches!(self.spec.kind, Kind::LabelMap(_)) && !self.spec.is_stored(scale, block) {
            return match self.asked.query("compression") {
                "" => Response::text(500, "Panic detected on request\n"),
                _ => self.asked.bad("unable to get label block"),
            };
        }
        let mapping = self.shared.mapping(self.version, &self.spec.name);
        let values = values(&self.shared.dataset, self.version, &self.spec, scale, self.view(&mapping), wanted);
        let bytes = to_bytes(&values, dtype);
        match (self.asked.query("compression"), self.spec.kind) {
            ("", _) | (_, Kind::Image(_)) => Response::bytes(bytes),
            ("lz4", _) => Response::bytes(lz4_flex::block::compress(&bytes)),
            ("gzip", _) => Response::bytes(super::wire::gzip(&bytes)),
            (unknown, _) => self.asked.bad(&format!("unknown compression type {unknown:?}")),
        }
    }

    fn block_stream(&self, size: &str, offset: &str) -> Response {
        let (Some(size), Some(offset)) = (zyx(size, '_'), zyx(offset, '_')) else {
            return self.asked.bad("Illegal geometry requested");
        };
        let grid = self.spec.grid();
        let aligned = |at: Coordinate| at.div_floor(self.spec.block_shape) * self.spec.block_shape == at;
        let Some(wanted) = VoxelBox::from_shape(offset, size).filter(|_| aligned(size) && aligned(offset)) else {
            return self.asked.bad("cannot use labels via 'block' endpoint in non-block aligned geometry");
        };
        let mut blocks: Vec<_> = BlockBox(grid.block_range(wanted).0).blocks().collect();
        if let Kind::LabelMap(_) = self.spec.kind {
            // DVID's come in no order.
            blocks.sort_by_key(|block| super::texture::hash(block.0, 21));
        }
        self.frames(&blocks)
    }

    fn specific_blocks(&self) -> Response {
        let numbers: Vec<&str> = self.asked.query("blocks").split(',').collect();
        let blocks =
            numbers.chunks(3).map(|three| zyx(&three.join(","), ',').map(BlockIndex)).collect::<Option<Vec<_>>>();
        match blocks {
            Some(mut blocks) => {
                blocks.reverse();
                self.frames(&blocks)
            }
            None => self.asked.bad("block query string should be a multiple of three"),
        }
    }

    fn frames(&self, blocks: &[BlockIndex]) -> Response {
        let scale = match self.scale() {
            Ok(scale) => scale,
            Err(response) => return response,
        };
        let mut body = Vec::new();
        for &block in blocks.iter().filter(|&&block| self.spec.is_stored(scale, block)) {
            match self.payload(scale, block) {
                Ok(payload) => body.extend(frame(block, &payload)),
                Err(response) => return response,
            }
        }
        Response::bytes(body)
    }

    fn payload(&self, scale: Scale, block: BlockIndex) -> Result<Arc<Vec<u8>>, Response> {
        let compression = self.asked.query("compression");
        let stored = match (self.spec.kind, compression, self.spec.stored) {
            (Kind::Image(_), "", stored) | (Kind::Image(_), "jpeg", stored @ Stored::Jpeg) => Some(stored),
            (Kind::Image(_), "uncompressed", _) => Some(Stored::None),
            (Kind::Image(_), "jpeg", _) => return Err(self.asked.bad("can't do jpeg of data that is not jpeg")),
            (Kind::Image(_), unknown, _) => return Err(self.asked.bad(&format!("unknown compression {unknown:?}"))),
            (Kind::LabelBlk | Kind::LabelArray(_) | Kind::LabelMap(_) | Kind::Other(_), _, _) => None,
        };
        let compression = if compression.is_empty() { "lz4" } else { compression };
        if stored.is_none() && self.spec.kind == Kind::LabelBlk && !["lz4", "uncompressed"].contains(&compression) {
            return Err(self.asked.bad(&format!("unknown compression type {compression:?}")));
        }
        let mapping = self.shared.mapping(self.version, &self.spec.name);
        let labels = self.view(&mapping);
        // A mapping that is still being loaded must not be remembered.
        let settled = !(labels != Labels::Stored && self.shared.is_loading());
        let key = format!(
            "{}|{}|{scale}|{}|{compression}|{}",
            self.version,
            self.spec.name,
            block.0,
            labels == Labels::Stored
        );
        let make = || {
            let voxels = self.spec.grid().block_box(block);
            let values = values(&self.shared.dataset, self.version, &self.spec, scale, labels, voxels);
            match stored {
                Some(stored) => {
                    let dtype = self.spec.dtype().expect("an image has voxels");
                    Some(stored_payload(to_bytes(&values, dtype), stored, self.spec.block_shape))
                }
                None => label_payload(&values, compression, self.spec.block_shape),
            }
        };
        let unknown = || self.asked.bad(&format!("unknown compression type {compression:?}"));
        if settled {
            self.shared.remembered(&key, make).ok_or_else(unknown)
        } else {
            make().map(Arc::new).ok_or_else(unknown)
        }
    }

    fn mappings(&self) -> Response {
        let mapping = self.shared.mapping(self.version, &self.spec.name);
        let mut pairs: Vec<(u64, u64)> = mapping.iter().map(|(&supervoxel, &body)| (supervoxel, body)).collect();
        // DVID's come in no order.
        pairs.sort_by_key(|pair| super::texture::hash(Coordinate::splat(pair.0.cast_signed()), 22));
        if self.asked.query("format") == "binary" {
            Response::bytes(pairs.iter().flat_map(|(a, b)| [a.to_le_bytes(), b.to_le_bytes()].concat()).collect())
        } else {
            let text: String = pairs.iter().map(|(supervoxel, body)| format!("{supervoxel} {body}\n")).collect();
            Response { content_type: "text/plain", ..Response::bytes(text.into_bytes()) }
        }
    }

    fn mapping(&self, body: &[u8]) -> Response {
        let Ok(supervoxels) = serde_json::from_slice::<Vec<u64>>(body) else {
            return self.asked.bad("Expected JSON array of supervoxels");
        };
        let mapping = self.shared.mapping(self.version, &self.spec.name);
        let bodies: Vec<_> = supervoxels.iter().map(|label| Labels::Mapped(&mapping).apply(*label)).collect();
        Response::json(serde_json::json!(bodies).to_string())
    }
}
