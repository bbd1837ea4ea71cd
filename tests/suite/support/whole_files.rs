//! The files of a view of an instance, each with all bytes that it must hold.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use dvidfs::demo::{Dataset, InstanceSpec};
use dvidfs::geometry::{Coordinate, Scale, VoxelBox};
use serde_json::Value;

use super::oracle::{Level, file_values, levels};

/// A file and its bytes.
#[derive(Debug)]
pub struct WholeFile {
    pub path: PathBuf,
    /// The directory or file of the layout that it belongs to, such as `volume.n5`.
    pub layout: String,
    pub bytes: Vec<u8>,
    /// Whether the bytes are those of the pure function. If not, they are what one plain read from front to end gave.
    pub by_oracle: bool,
}

/// A view of an instance: its directory, and what it must show.
#[derive(Clone, Copy, Debug)]
pub struct ViewOf<'a> {
    pub place: &'a Path,
    pub dataset: &'a Dataset,
    pub version: usize,
    pub instance: &'a str,
    pub bodies: bool,
}

/// Files of every layout of a view: of each layout at most so many, from all over its list.
pub fn whole_files(view: ViewOf<'_>, most: usize) -> Vec<WholeFile> {
    let mut by_layout: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in files_below(view.place) {
        let layout = path.strip_prefix(view.place).unwrap().iter().next().unwrap().to_str().unwrap();
        by_layout.entry(layout.to_owned()).or_default().push(path);
    }
    by_layout.remove("supervoxels");
    let levels = levels(view.place);
    let mut files = Vec::new();
    for (layout, mut paths) in by_layout {
        paths.sort();
        let step = paths.len().div_ceil(most).max(1);
        for path in paths.into_iter().step_by(step) {
            let words: Vec<_> =
                path.strip_prefix(view.place).unwrap().iter().map(|word| word.to_str().unwrap()).collect();
            let known = View { of: view, levels: &levels }.bytes(&words);
            let (bytes, by_oracle) = known.map_or_else(|| (fs::read(&path).unwrap(), false), |bytes| (bytes, true));
            files.push(WholeFile { path, layout: layout.clone(), bytes, by_oracle });
        }
    }
    files
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files.extend(files_below(&entry.path()))
        } else {
            files.push(entry.path())
        }
    }
    files
}

struct View<'a> {
    of: ViewOf<'a>,
    levels: &'a [Level],
}

impl View<'_> {
    /// What the file at this path within the view holds, if that follows from the pure function.
    fn bytes(&self, words: &[&str]) -> Option<Vec<u8>> {
        let numbers = |words: &[&str]| words.iter().map(|word| word.parse().ok()).collect::<Option<Vec<i64>>>();
        // Channels come first, and are all in one chunk.
        let last_three = |numbers: Vec<i64>| {
            Some(Coordinate::from(<[i64; 3]>::try_from(numbers.get(numbers.len().checked_sub(3)?..)?).ok()?))
        };
        match words {
            ["precomputed", key, name] => {
                let info = self.json(&["precomputed", "info"]);
                let level = info["scales"].as_array()?.iter().position(|scale| scale["key"] == *key)?;
                Some(self.values(self.levels.get(level)?, box_of(name)?))
            }
            ["flat", "s0.raw"] => self.flat(),
            ["flat", "s0.npy"] => {
                // The header ends where numpy's own length says.
                let mut bytes = fs::read(self.of.place.join("flat/s0.npy")).ok()?;
                bytes.truncate(10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]])));
                Some([bytes, self.flat()?].concat())
            }
            ["volume-v3.zarr", level, "c", index @ ..] => {
                let array = self.json(&["volume-v3.zarr", level, "zarr.json"]);
                self.shard(self.level(level)?, &array, last_three(numbers(index)?)?)
            }
            ["volume.n5", level, index @ ..] => self.n5(self.level(level)?, &numbers(index)?),
            [tree, level, index @ ..] if tree.ends_with(".zarr") => {
                let index = last_three(numbers(index)?)?;
                let chunk = spatial(&self.json(&[tree, level, ".zarray"])["chunks"])?;
                let level = self.level(level)?;
                Some(self.values(level, VoxelBox::from_shape(level.origin + index * chunk, chunk)?))
            }
            _ => None,
        }
    }

    fn json(&self, words: &[&str]) -> Value {
        let path = words.iter().fold(self.of.place.to_owned(), |path, word| path.join(word));
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    fn level(&self, name: &str) -> Option<&Level> {
        self.levels.get(name.strip_prefix('s')?.parse::<usize>().ok()?)
    }

    fn spec(&self, level: &Level) -> std::sync::Arc<InstanceSpec> {
        self.of.dataset.instance(&level.instance).unwrap()
    }

    fn values(&self, level: &Level, voxels: VoxelBox) -> Vec<u8> {
        file_values(self.of.dataset, self.of.version, &self.spec(level), level.scale, self.of.bodies, voxels)
    }

    /// The data of full resolution without padding; channels lie side by side.
    fn flat(&self) -> Option<Vec<u8>> {
        let spec = self.of.dataset.instance(self.of.instance)?;
        let planes = file_values(self.of.dataset, self.of.version, &spec, Scale::FULL, self.of.bodies, spec.data);
        let Some(n) = spec.channels() else { return Some(planes) };
        let plane = planes.len() / n;
        Some((0..plane).flat_map(|at| (0..n).map(move |channel| channel * plane + at)).map(|at| planes[at]).collect())
    }

    /// A chunk of N5: mode, rank and shape, then the values, all big-endian; it ends where the array ends.
    fn n5(&self, level: &Level, index: &[i64]) -> Option<Vec<u8>> {
        let [x, y, z] = *index.get(..3)? else { return None };
        let array = VoxelBox::from_shape(level.origin, level.shape)?;
        let begin = level.origin + Coordinate::new(z, y, x) * level.chunk_shape;
        let held = VoxelBox::from_shape(begin, level.chunk_shape)?.intersect(array);
        let spec = self.spec(level);
        let [nz, ny, nx] = held.shape().to_usize()?;
        let shape = [nx, ny, nz].into_iter().chain(spec.channels());
        let mut bytes = vec![0, 0, 0, u8::try_from(index.len()).ok()?];
        for n in shape {
            bytes.extend(u32::try_from(n).ok()?.to_be_bytes());
        }
        let values = self.values(level, held);
        bytes.extend(values.chunks(spec.dtype()?.itemsize()).flat_map(|value| value.iter().rev().copied()));
        Some(bytes)
    }

    /// A shard of Zarr v3: its chunks one behind the other, x fastest, then where each is, and a checksum of that.
    fn shard(&self, level: &Level, array: &Value, index: Coordinate) -> Option<Vec<u8>> {
        let shard = spatial(&array["chunk_grid"]["configuration"]["chunk_shape"])?;
        let chunk = spatial(&array["codecs"][0]["configuration"]["chunk_shape"])?;
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        for at in VoxelBox::from_shape(Coordinate::ZERO, shard.div_floor(chunk))?.indices() {
            let values = self.values(level, VoxelBox::from_shape(level.origin + index * shard + at * chunk, chunk)?);
            places.extend([bytes.len() as u64, values.len() as u64].iter().flat_map(|n| n.to_le_bytes()));
            bytes.extend(values);
        }
        let sum = crc32c::crc32c(&places).to_le_bytes();
        Some([bytes, places, sum.to_vec()].concat())
    }
}

/// The last three of a list of numbers.
fn spatial(list: &Value) -> Option<Coordinate> {
    let numbers: Vec<i64> = list.as_array()?.iter().map(Value::as_i64).collect::<Option<_>>()?;
    Some(<[i64; 3]>::try_from(numbers.get(numbers.len().checked_sub(3)?..)?).ok()?.into())
}

/// The box of a chunk of precomputed from its name: `<x0>-<x1>_<y0>-<y1>_<z0>-<z1>`, each perhaps below 0.
fn box_of(name: &str) -> Option<VoxelBox> {
    let ends = |part: &str| {
        let dash = 1 + part.get(1..)?.find('-')?;
        Some([part[..dash].parse::<i64>().ok()?, part[dash + 1..].parse().ok()?])
    };
    let ends: Vec<[i64; 2]> = name.split('_').map(ends).collect::<Option<_>>()?;
    let [x, y, z] = ends[..] else { return None };
    VoxelBox::new([z[0], y[0], x[0]].into(), [z[1], y[1], x[1]].into())
}
