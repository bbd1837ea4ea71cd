//! Recorded answers of a real DVID server, and the truth that they are compared with.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use serde_json::Value;

use crate::geometry::{BlockBox, BlockIndex, Coordinate, VoxelBox};

/// An array of the truth: shape and values, the last axis fastest.
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<u64>,
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dvid-wire").join(name)
}

static INDEX: LazyLock<HashMap<String, Value>> = LazyLock::new(|| {
    let index: Vec<Value> = serde_json::from_slice(&std::fs::read(path("index.json")).unwrap()).unwrap();
    index.into_iter().map(|exchange| (exchange["name"].as_str().unwrap().to_owned(), exchange)).collect()
});

/// The names of all exchanges that begin so, sorted.
pub(super) fn names(prefix: &str) -> Vec<&'static str> {
    let mut names: Vec<_> = INDEX.keys().map(String::as_str).filter(|name| name.starts_with(prefix)).collect();
    names.sort_unstable();
    names
}

/// The body of an exchange, empty if it had none.
pub(super) fn body(name: &str) -> Vec<u8> {
    INDEX[name]["body_file"].as_str().map(|file| std::fs::read(path(file)).unwrap()).unwrap_or_default()
}

/// Status and body that the server gave to a GET of this path and query, whatever the order of its parameters.
pub(super) fn recorded(target: &str) -> Option<(u16, Vec<u8>)> {
    let meant = meaning(target);
    let exchange = INDEX.values().find(|exchange| {
        let text = |key: &str| exchange[key].as_str().unwrap();
        exchange["request_body"].is_null()
            && text("method") == "GET"
            && meaning(&format!("{}?{}", text("path"), text("query"))) == meant
    })?;
    let status = u16::try_from(exchange["status"].as_u64().unwrap()).unwrap();
    Some((status, body(exchange["name"].as_str().unwrap())))
}

/// Path and parameters of a request, without those that change nothing.
fn meaning(target: &str) -> (&str, Vec<&str>) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let says_nothing = ["", "app=dvidfs", "scale=0", "supervoxels=false"];
    // `lz4` is the default of a labelblk.
    let is_default =
        |word: &str| says_nothing.contains(&word) || (word == "compression=lz4" && path.contains("/labelblk/"));
    let mut words: Vec<_> = query.split('&').filter(|word| !is_default(word)).collect();
    words.sort_unstable();
    (path, words)
}

/// The blocks that an exchange asked for, or the smallest box around them.
pub(super) fn asked(name: &str, block_shape: Coordinate) -> BlockBox {
    let text = |key: &str| INDEX[name][key].as_str().unwrap();
    if let Some(list) = text("query").split('&').find_map(|word| word.strip_prefix("blocks=")) {
        let numbers: Vec<i64> = list.split(',').map(|n| n.parse().unwrap()).collect();
        let boxes = numbers.chunks(3).map(|c| BlockBox::one(BlockIndex(Coordinate::new(c[2], c[1], c[0]))).0);
        let around = |a: VoxelBox, b: VoxelBox| VoxelBox::new(a.begin().min(b.begin()), a.end().max(b.end())).unwrap();
        return BlockBox(boxes.reduce(around).unwrap());
    }
    let mut words = text("path").rsplit('/').map(|word| {
        let numbers: Vec<i64> = word.split('_').map(|n| n.parse().unwrap()).collect();
        Coordinate::new(numbers[2], numbers[1], numbers[0])
    });
    let (offset, size) = (words.next().unwrap(), words.next().unwrap());
    BlockBox(VoxelBox::from_shape(offset.div_floor(block_shape), size.div_floor(block_shape)).unwrap())
}

/// An array of `truth/`, whose unsigned integers have any width.
pub(super) fn truth(name: &str) -> Array {
    let npy = std::fs::read(path("truth").join(name)).unwrap();
    assert_eq!(&npy[..8], b"\x93NUMPY\x01\x00", "{name}");
    let header_end = 10 + usize::from(u16::from_le_bytes([npy[8], npy[9]]));
    let header = std::str::from_utf8(&npy[10..header_end]).unwrap();
    assert!(header.contains("'fortran_order': False"), "{header}");
    let shape = &header[header.find('(').unwrap() + 1..header.find(')').unwrap()];
    let shape: Vec<usize> = shape.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    let itemsize = ["|u1", "<u2", "<u4", "<u8"].iter().position(|dtype| header.contains(dtype)).unwrap();
    let values = npy[header_end..].chunks_exact(1 << itemsize).map(|item| {
        let mut wide = [0; 8];
        wide[..item.len()].copy_from_slice(item);
        u64::from_le_bytes(wide)
    });
    let values: Vec<u64> = values.collect();
    assert_eq!(values.len(), shape.iter().product::<usize>(), "{name}");
    Array { shape, values }
}

/// A volume of labels or gray values that begins at the origin.
#[derive(Clone)]
pub(super) struct Truth {
    pub(super) shape: Coordinate,
    pub(super) values: Vec<u64>,
}

impl Truth {
    pub(super) fn load(name: &str) -> Self {
        let Array { shape, values } = truth(name);
        let shape: Vec<i64> = shape.iter().map(|&n| i64::try_from(n).unwrap()).collect();
        Self { shape: Coordinate::new(shape[0], shape[1], shape[2]), values }
    }

    pub(super) fn map(mut self, f: impl Fn(u64) -> u64) -> Self {
        self.values.iter_mut().for_each(|value| *value = f(*value));
        self
    }

    /// The value there, or `None` outside.
    pub(super) fn at(&self, voxel: Coordinate) -> Option<u64> {
        let inside = Coordinate::ZERO.all_le(voxel) && voxel.all_lt(self.shape);
        let [z, y, x] = voxel.to_usize().filter(|_| inside)?;
        let [_, ny, nx] = self.shape.to_usize()?;
        Some(self.values[(z * ny + y) * nx + x])
    }

    /// The same volume with a block that was never written.
    pub(super) fn without(mut self, block: Coordinate, block_shape: Coordinate) -> Self {
        let [_, ny, nx] = self.shape.to_usize().unwrap();
        let missing = VoxelBox::from_shape(block * block_shape, block_shape).unwrap();
        for voxel in missing.intersect(VoxelBox::from_shape(Coordinate::ZERO, self.shape).unwrap()).indices() {
            let [z, y, x] = voxel.to_usize().unwrap();
            self.values[(z * ny + y) * nx + x] = 0;
        }
        self
    }

    /// The next scale as DVID makes it: the majority of the non-zero labels of 2^3 voxels, of equals the smaller.
    pub(super) fn halved(&self) -> Self {
        let shape = self.shape.map(|n| n / 2);
        let values = VoxelBox::from_shape(Coordinate::ZERO, shape).unwrap().indices().map(|voxel| {
            let mut votes: Vec<(usize, u64)> = vec![];
            let children = VoxelBox::from_shape(voxel * Coordinate::splat(2), Coordinate::splat(2)).unwrap();
            for label in children.indices().filter_map(|child| self.at(child)).filter(|&label| label != 0) {
                match votes.iter_mut().find(|vote| vote.1 == label) {
                    Some(vote) => vote.0 += 1,
                    None => votes.push((1, label)),
                }
            }
            votes.into_iter().max_by_key(|&(n, label)| (n, std::cmp::Reverse(label))).map_or(0, |vote| vote.1)
        });
        Self { shape, values: values.collect() }
    }
}

/// Supervoxel to body.
pub(super) fn body_of() -> HashMap<u64, u64> {
    truth("sv_to_body.npy").values.chunks_exact(2).map(|pair| (pair[0], pair[1])).chain([(0, 0)]).collect()
}
