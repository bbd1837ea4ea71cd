//! A request's path and query, and the numbers in them, as Go reads them.

use crate::geometry::{BlockIndex, Coordinate, Scale, VoxelBox};

use super::http::{Request, Response};

/// A path and query, decoded.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The decoded path.
    pub(super) path: String,
    /// Its parts; a trailing slash is ignored.
    pub(super) parts: Vec<String>,
    parameters: Vec<(String, String)>,
}

impl Target {
    pub(super) fn new(request: &Request) -> Self {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let path = decode(path, false);
        let parts = path.trim_matches('/').split('/').map(str::to_owned).collect();
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key, true), decode(value, true))
        };
        let parameters = query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect();
        Self { path, parts, parameters }
    }

    /// A parameter of the query; empty if it is not there.
    pub(super) fn parameter(&self, name: &str) -> &str {
        self.parameters.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    pub(super) fn is_on(&self, name: &str) -> bool {
        matches!(self.parameter(name), "true" | "on")
    }

    pub(super) fn bad(&self, message: &str) -> Response {
        Response::bad(message, &self.path)
    }

    pub(super) fn panic(&self, cause: &str) -> Response {
        Response::panic(cause, &self.path)
    }

    /// `scale=`, cut to 8 bits as the server does.
    pub(super) fn scale(&self) -> Result<Scale, Response> {
        let text = self.parameter("scale");
        if text.is_empty() {
            return Ok(Scale::FULL);
        }
        let scale: i64 = text
            .parse()
            .map_err(|_| self.bad(&format!("bad scale specified: strconv.Atoi: parsing {text:?}: invalid syntax")))?;
        Ok(Scale(scale.to_le_bytes()[0]))
    }

    /// Three numbers `x_y_z` as zyx.
    pub(super) fn triple(&self, part: usize, what: &str) -> Result<Coordinate, Response> {
        let text = self.parts.get(part).map_or("", String::as_str);
        let numbers: Vec<&str> = text.split('_').collect();
        let mut values = Vec::new();
        for number in &numbers {
            values.push(self.int32(number)?);
        }
        match values[..] {
            [x, y, z] => Ok(Coordinate::new(z, y, x)),
            _ => Err(self.bad(&format!("{what} must be 3 (not {}) dimensions", values.len()))),
        }
    }

    fn int32(&self, text: &str) -> Result<i64, Response> {
        let why = |why: &str| self.bad(&format!("strconv.ParseInt: parsing {text:?}: {why}"));
        let value: i64 = text.parse().map_err(|_| why("invalid syntax"))?;
        i32::try_from(value).map(i64::from).map_err(|_| why("value out of range"))
    }

    /// `<size>/<offset>` beginning at a part of the path.
    pub(super) fn size_and_offset(&self, part: usize) -> Result<(Coordinate, Coordinate), Response> {
        Ok((self.triple(part, "Size")?, self.triple(part + 1, "Offset")?))
    }

    /// `blocks=x,y,z,x,y,z…`.
    pub(super) fn blocks(&self) -> Result<Vec<BlockIndex>, Response> {
        let text = self.parameter("blocks");
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let numbers: Vec<&str> = text.split(',').collect();
        if !numbers.len().is_multiple_of(3) {
            return Err(self.bad("block query string should be three coordinates per block"));
        }
        let mut values = Vec::new();
        for number in numbers {
            let why = || self.bad(&format!("strconv.Atoi: parsing {number:?}: invalid syntax"));
            values.push(number.parse::<i32>().map(i64::from).map_err(|_| why())?);
        }
        Ok(values.chunks_exact(3).map(|xyz| BlockIndex(Coordinate::new(xyz[2], xyz[1], xyz[0]))).collect())
    }
}

/// The blocks of a box that the server only takes if it is aligned; `endpoint` is how its complaint names itself.
pub(super) fn aligned(
    target: &Target,
    endpoint: &str,
    (size, offset): (Coordinate, Coordinate),
    block_shape: Coordinate,
) -> Result<VoxelBox, Response> {
    let aligned = |c: Coordinate| c.div_floor(block_shape) * block_shape == c;
    if !aligned(size) || !aligned(offset) {
        let last = (offset + size - Coordinate::ONE).axes();
        let begin = offset.axes();
        return Err(target.bad(&format!(
            "cannot use labels via '{endpoint}' endpoint in non-block aligned geometry ({},{},{}) -> ({},{},{})",
            begin[2], begin[1], begin[0], last[2], last[1], last[0],
        )));
    }
    let begin = offset.div_floor(block_shape);
    Ok(VoxelBox::from_shape(begin, size.div_floor(block_shape)).unwrap_or(VoxelBox::EMPTY))
}

/// Percent-decoding; a `+` is a space in a query only.
fn decode(text: &str, plus: bool) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            decoded.push(byte);
            at += 3;
        } else {
            decoded.push(if plus && bytes[at] == b'+' { b' ' } else { bytes[at] });
            at += 1;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
