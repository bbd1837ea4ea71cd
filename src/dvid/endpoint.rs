//! What is ever asked of a server: paths are made here, and whatever is not on the list does not leave.
//!
//! DVID has GETs that run a setter (`extents`, `resolution` of label types) and paths that make it panic; so no path is
//! made from an unchecked number, and none with a name that would be split or cleaned into another path.

use crate::geometry::{BlockBox, Grid, VoxelBox};

use super::error::{Error, ErrorKind};

/// No request asks for more voxels: above 256^3 DVID takes a server-wide lock.
const MAX_REQUEST_VOXELS: u128 = 256 * 256 * 256;

/// The path of an instance at a node: `/api/node/<uuid>/<instance>`.
///
/// # Errors
/// If no path leads to an instance of that name: DVID decodes `%2F` before it splits the path.
pub(super) fn instance_path(uuid: &str, name: &str) -> Result<String, Error> {
    let path = format!("/api/node/{}/{}", encoded(uuid), encoded(name));
    if name.is_empty() || name.contains('/') || uuid.is_empty() || uuid.contains('/') {
        let detail = format!("no request can name the instance {name:?}: it is empty or has a slash");
        return Err(Error::new(ErrorKind::Malformed, path).with_detail(detail));
    }
    Ok(path)
}

/// `<size>/<offset>` of the voxels of these blocks, xyz.
///
/// # Errors
/// If the box is empty, larger than any request may be, or has coordinates beyond DVID's 32 bits.
pub(super) fn size_and_offset(grid: Grid, blocks: BlockBox, path: &str) -> Result<String, Error> {
    let refused = |detail: String| Err(Error::new(ErrorKind::OverLimit, path).with_detail(detail));
    let BlockBox(indices) = blocks;
    if indices.is_empty() {
        return refused("no blocks were asked for".to_owned());
    }
    // Before any product: a block index of 2^62 times a block shape is no i64.
    if [indices.begin(), indices.end()].iter().any(|corner| !fits_i32(corner.axes())) {
        return refused(format!("blocks {indices} lie beyond what DVID can address"));
    }
    let voxels = grid.voxels_of(blocks);
    if [voxels.begin(), voxels.end()].iter().any(|corner| !fits_i32(corner.axes())) {
        return refused(format!("voxels {voxels} lie beyond what DVID can address"));
    }
    if voxels.n_voxels() > MAX_REQUEST_VOXELS && blocks.n_blocks() > 1 {
        return refused(format!("{} voxels in one request", voxels.n_voxels()));
    }
    Ok(in_xyz(voxels))
}

fn in_xyz(voxels: VoxelBox) -> String {
    let ([sz, sy, sx], [z, y, x]) = (voxels.shape().axes(), voxels.begin().axes());
    format!("{sx}_{sy}_{sz}/{x}_{y}_{z}")
}

fn fits_i32(axes: [i64; 3]) -> bool {
    axes.iter().all(|&n| i32::try_from(n).is_ok())
}

/// Percent-encodes all but letters, digits and `-_~.`, and a name of dots alone as well: paths with `.` and `..` are
/// redirected.
pub(super) fn encoded(text: &str) -> String {
    let only_dots = text.bytes().all(|b| b == b'.');
    let mut path = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) || (byte == b'.' && !only_dots) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

/// Whether a request may leave: only reads that no server takes for a write, on paths that no server cleans.
pub(super) fn is_allowed(path_and_query: &str) -> bool {
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let is_clean = |part: &str| !part.is_empty() && part != "." && part != "..";
    let clean_bytes = path_and_query.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&b));
    let parts: Vec<_> = path.strip_prefix('/').unwrap_or("").split('/').collect();
    // `admintoken` is a privilege to write, `throttle` answers 503.
    let clean_query = !query.contains("admintoken") && !query.contains("throttle");
    clean_bytes && clean_query && parts.iter().all(|part| is_clean(part)) && is_listed(&parts)
}

fn is_listed(parts: &[&str]) -> bool {
    match parts {
        ["api", "heartbeat"] | ["api", "server", "info"] => true,
        ["api", "repo", _, "info"] | ["api", "repo", _, "branch-versions", _] => true,
        ["api", "node", _, "status" | "commit" | "note" | "log"] => true,
        ["api", "node", _, _, "info" | "mappings" | "mapping" | "roi" | "keys" | "all-elements" | "all"] => true,
        ["api", "node", _, _, "subvolblocks" | "blocks", size, offset]
        | ["api", "node", _, _, "raw", "0_1_2", size, offset] => {
            size.split('_').all(is_positive) && offset.split('_').all(is_integer)
        }
        ["api", "node", _, _, "key", _] => true,
        _ => false,
    }
}

fn is_positive(text: &str) -> bool {
    text.parse::<i32>().is_ok_and(|n| n > 0)
}

fn is_integer(text: &str) -> bool {
    text.parse::<i32>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Coordinate;

    #[test]
    fn names_are_encoded_so_that_they_stay_one_part_of_a_path() {
        let cases = [
            ("segmentation", "segmentation"),
            ("odd name", "odd%20name"),
            ("odd%name", "odd%25name"),
            ("oddé", "odd%C3%A9"),
            ("v1.0", "v1.0"),
            (".", "%2E"),
            ("..", "%2E%2E"),
            ("a?b#c&d", "a%3Fb%23c%26d"),
            ("~tilde-_", "~tilde-_"),
            ("\n", "%0A"),
        ];
        for (name, expected) in cases {
            assert_eq!(instance_path("ab12", name).unwrap(), format!("/api/node/ab12/{expected}"), "{name:?}");
        }
        for name in ["", "a/b", "/", "seg/extents"] {
            assert!(instance_path("ab12", name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn boxes_become_xyz_sizes_and_offsets() {
        let grid = Grid::new(Coordinate::new(8, 16, 32)).unwrap();
        let blocks = |begin: [i64; 3], end: [i64; 3]| BlockBox(VoxelBox::new(begin.into(), end.into()).unwrap());
        let asked = |blocks| size_and_offset(grid, blocks, "/x");
        assert_eq!(asked(blocks([0, 1, 2], [1, 3, 5])).unwrap(), "96_32_8/64_16_0");
        assert_eq!(asked(blocks([-3, -2, -1], [-2, -1, 0])).unwrap(), "32_16_8/-32_-32_-24");
        assert!(asked(blocks([0; 3], [0; 3])).is_err());
        assert!(asked(blocks([0; 3], [40, 16, 9])).is_err(), "more than 256^3 voxels");
        assert!(asked(blocks([1 << 40; 3], [(1 << 40) + 1; 3])).is_err());
        assert!(asked(blocks([i64::MAX - 1; 3], [i64::MAX; 3])).is_err());
        assert!(asked(blocks([0, 0, 1 << 26], [1, 1, (1 << 26) + 1])).is_err());
    }

    #[test]
    fn nothing_leaves_that_is_not_on_the_list() {
        for path in [
            "/api/server/info",
            "/api/repo/ab:master~1/info",
            "/api/repo/ab/branch-versions/master",
            "/api/node/ab/odd%20name/info",
            "/api/node/ab/seg/blocks/64_64_64/-64_0_0?compression=blocks&supervoxels=true&scale=0",
            "/api/node/ab/seg/mappings?format=binary",
            "/api/node/ab/seg/raw/0_1_2/64_64_64/-64_0_0?scale=0",
        ] {
            assert!(is_allowed(path), "{path}");
        }
        for path in [
            "",
            "/",
            "/api",
            "/api/repos/info",
            "/api/node/ab/seg/extents",
            "/api/node/ab/seg/resolution",
            "/api/node/ab/seg/raw/0_1/64_64/0_0_0",
            "/api/node/ab/seg/raw/0_1_2/64_64_64/0_0_0/jpeg",
            "/api/node/ab/../info",
            "/api/node/ab//info",
            "/api/node/ab/seg/blocks/64_64_64/0_0_x",
            "/api/node/ab/seg/blocks/-64_64_64/0_0_0",
            "/api/node/ab/seg/blocks/64_64_64",
            "/api/server/token",
            "/api/node/ab/seg/info?admintoken=x",
            "/api/node/ab/seg/blocks/64_64_64/0_0_0?throttle=on",
            "/api/node/a b/seg/info",
            "/api/node/ab/seg/info\r\nX: y",
            "http://elsewhere/api/server/info",
        ] {
            assert!(!is_allowed(path), "{path}");
        }
    }
}
