//! Endpoints of what is not voxels: keyvalue, roi, annotation.

use super::http::Response;
use super::routes::Call;

/// Keys in byte order. The empty value is listed, and its GET is 404, as DVID has it.
const KEYS: [(&str, &str); 5] =
    [("10", "ten"), ("9", "nine"), ("empty", ""), ("notes.json", "{\"who\":\"demo\"}"), ("with space", "blank")];

pub(super) fn answer(call: &Call<'_>, typename: &str, endpoint: &str) -> Result<Response, Response> {
    match (typename, endpoint) {
        ("keyvalue", "keys") => Ok(Response::json("[\"10\",\"9\",\"empty\",\"notes.json\",\"with space\"]")),
        ("keyvalue", "key") => Ok(key(call)),
        ("roi", "roi") => Ok(Response::json("[[0,0,0,1],[0,1,1,1],[1,0,0,0]]")),
        ("annotation", "all-elements" | "blocks") => Ok(Response::json("{}")),
        ("annotation", "elements") => Ok(Response::json("null")),
        ("annotation", "tag" | "label") => Ok(Response::json("[]")),
        _ => Err(call.unknown()),
    }
}

fn key(call: &Call<'_>) -> Response {
    let name = call.target.parts.get(5).map_or("", String::as_str);
    let value = KEYS.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value);
    if value.is_empty() {
        return Response::text(404, &format!("Key \"{name}\" not found\n"));
    }
    let answer = Response::voxels(value.into()).with("Accept-Ranges", "bytes");
    let range = call.request.header("Range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let Some((Ok(first), last)) = range.map(|(first, last)| (first.parse::<usize>(), last.parse::<usize>())) else {
        return answer;
    };
    if first >= value.len() {
        let text = format!("Range start {first} is outside value with {} bytes\n", value.len());
        return Response::text(416, &text).with("Content-Range", &format!("bytes */{}", value.len()));
    }
    let last = last.unwrap_or(usize::MAX).min(value.len() - 1);
    let part = &value.as_bytes()[first..=last.max(first)];
    let told = format!("bytes {first}-{}/{}", last.max(first), value.len());
    Response { status: 206, body: part.to_vec(), ..answer }.with("Content-Range", &told)
}
