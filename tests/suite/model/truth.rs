//! What every byte must be: the demo's pure function, and since when and until when it was served.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use dvidfs::demo::{Dataset, InstanceSpec, Kind, Stored};
use dvidfs::geometry::{Coordinate, Scale, VoxelBox};

use super::ops::{Setting, Window};

/// An image and a labelmap with a coarser level, and an image that may change on any node.
pub(super) const NAMES: [&str; 3] = ["u16", "segmentation", "unversioned"];
/// Edge of a block, in voxels.
const BLOCK: i64 = 16;
/// Edge of a chunk: four blocks.
const CHUNK: i64 = 64;

/// A file of voxels.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) path: String,
    pub(super) instance: usize,
    bodies: bool,
    scale: Scale,
    /// The voxels that it holds, beyond the data too.
    voxels: VoxelBox,
    itemsize: u64,
    /// Whether a header stands before the voxels.
    has_header: bool,
}

/// What was served of an instance, and when.
#[derive(Clone, Copy, Debug)]
struct Era {
    edition: u8,
    incarnation: u64,
    /// When something else had taken its place for certain.
    ended: Option<Instant>,
}

#[derive(Clone, Debug)]
struct History {
    eras: Vec<Era>,
    /// The incarnation that was mounted.
    mounted: u64,
    /// It was seen to be another one.
    was_stale: bool,
}

/// What the server serves and has served, and what may be read by that.
pub(super) struct Truth {
    setting: Setting,
    histories: Vec<History>,
    pub(super) files: Vec<File>,
    headers: HashMap<String, u64>,
}

/// What the demo serves at first.
fn base() -> &'static Dataset {
    static BASE: OnceLock<Dataset> = OnceLock::new();
    BASE.get_or_init(|| {
        let small = |end: [i64; 3]| {
            move |spec: &mut InstanceSpec| {
                spec.data = VoxelBox::new(Coordinate::ZERO, end.into()).unwrap();
                spec.block_shape = Coordinate::splat(BLOCK);
                spec.stored = Stored::Gzip;
                spec.holes = false;
            }
        };
        Dataset::test()
            .only(&NAMES)
            .with("u16", small([20, 40, 70]))
            .with("segmentation", small([24, 36, 52]))
            .with("segmentation", |spec| spec.kind = Kind::LabelMap(1))
            .with("unversioned", small([24, 24, 40]))
    })
}

fn edition_of(name: &str, edition: u8) -> Arc<InstanceSpec> {
    base().clone().with(name, |spec| spec.edition = edition).instance(name).unwrap()
}

/// All voxels of the data at a scale in one edition, z slowest. Kept, since they are asked for again and again.
fn values(instance: usize, version: usize, bodies: bool, scale: Scale, edition: u8) -> Arc<Vec<u64>> {
    type Known = HashMap<(usize, usize, bool, u8, u8), Arc<Vec<u64>>>;
    static KNOWN: OnceLock<Mutex<Known>> = OnceLock::new();
    let known = KNOWN.get_or_init(Mutex::default);
    let key = (instance, version, bodies, scale.0, edition);
    if let Some(values) = known.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return Arc::clone(values);
    }
    let spec = edition_of(NAMES[instance], edition);
    let mut values = base().values(version, &spec, scale, spec.data.at_scale(scale));
    if bodies {
        values.iter_mut().for_each(|value| *value = base().body_of(version, &spec.name, *value));
    }
    let values = Arc::new(values);
    known.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&values));
    values
}

/// The files of an instance, or of its supervoxels.
fn files_in(directory: &str, instance: usize, bodies: bool) -> Vec<File> {
    let spec = base().instance(NAMES[instance]).unwrap();
    let itemsize = spec.dtype().unwrap().itemsize() as u64;
    let file = |path: String, scale, voxels, has_header| File {
        path: format!("{directory}/{path}"),
        instance,
        bodies,
        scale,
        voxels,
        itemsize,
        has_header,
    };
    let mut files = Vec::new();
    for scale in (0..=spec.max_scale().0).map(Scale) {
        let data = spec.data.at_scale(scale);
        files.push(file(format!("flat/s{scale}.npy"), scale, data, true));
        let n_chunks = data.shape().div_ceil(Coordinate::splat(CHUNK));
        for index in VoxelBox::from_shape(Coordinate::ZERO, n_chunks).unwrap().indices() {
            let [z, y, x] = index.axes();
            let voxels = VoxelBox::from_shape(index * Coordinate::splat(CHUNK), Coordinate::splat(CHUNK)).unwrap();
            files.push(file(format!("volume.zarr/s{scale}/{z}/{y}/{x}"), scale, voxels, false));
        }
    }
    files
}

impl File {
    fn voxel_bytes(&self) -> u64 {
        u64::try_from(self.voxels.n_voxels()).unwrap() * self.itemsize
    }
}

impl Truth {
    pub(super) fn new(setting: Setting) -> Self {
        let era = Era { edition: 0, incarnation: 0, ended: None };
        let histories = vec![History { eras: vec![era], mounted: 0, was_stale: false }; NAMES.len()];
        let mut files: Vec<_> =
            (0..NAMES.len()).flat_map(|n| files_in(NAMES[n], n, NAMES[n] == "segmentation")).collect();
        files.extend(files_in("segmentation/supervoxels", 1, false));
        Self { setting, histories, files, headers: HashMap::new() }
    }

    fn version(&self) -> usize {
        if self.setting.is_open { 2 } else { 0 }
    }

    fn lasts(&self, instance: usize) -> bool {
        !self.setting.is_open && NAMES[instance] != "unversioned"
    }

    /// What is to be served now.
    pub(super) fn dataset(&self) -> Dataset {
        self.histories.iter().zip(NAMES).fold(base().clone(), |dataset, (history, name)| {
            let now = history.eras[history.eras.len() - 1];
            dataset.with(name, |spec| (spec.edition, spec.incarnation) = (now.edition, now.incarnation))
        })
    }

    /// Gives an instance other voxels. Whether it may have any; [`changed`](Self::changed) is to be called when it has.
    pub(super) fn mutate(&mut self, instance: usize) -> bool {
        if self.lasts(instance) {
            return false;
        }
        self.next_era(instance, 0);
        true
    }

    /// Puts another instance in the place of one.
    pub(super) fn replace(&mut self, instance: usize) {
        self.next_era(instance, 1);
    }

    fn next_era(&mut self, instance: usize, more: u64) {
        let eras = &mut self.histories[instance].eras;
        let Era { edition, incarnation, .. } = eras[eras.len() - 1];
        eras.push(Era { edition: edition.wrapping_add(1), incarnation: incarnation + more, ended: None });
    }

    /// The server serves what is newest, and nothing else.
    pub(super) fn changed(&mut self) {
        let now = Instant::now();
        for history in &mut self.histories {
            let n = history.eras.len();
            history.eras[..n - 1].iter_mut().filter(|era| era.ended.is_none()).for_each(|era| era.ended = Some(now));
        }
    }

    /// The node was mounted anew.
    pub(super) fn mounted(&mut self) {
        for history in &mut self.histories {
            (history.mounted, history.was_stale) = (history.eras[history.eras.len() - 1].incarnation, false);
        }
    }

    /// The size of a file that has this one in the mount. A header is as long as it was when it was seen first.
    pub(super) fn check_size(&mut self, file: &File, size: u64) -> Result<(), String> {
        let header = size.checked_sub(file.voxel_bytes()).ok_or(format!("{}: {size} bytes", file.path))?;
        let known = *self.headers.entry(file.path.clone()).or_insert(header);
        let is_right = if file.has_header { header > 0 && header % 64 == 0 } else { header == 0 };
        if header != known || !is_right {
            return Err(format!("{}: {size} bytes, a header of {header}", file.path));
        }
        Ok(())
    }

    /// Where a window begins in its file, and how many bytes it must give.
    pub(super) fn bytes_of(&self, file: &File, window: &Window) -> (u64, u32, usize) {
        let spec = base().instance(NAMES[file.instance]).unwrap();
        let inside = spec.data.at_scale(file.scale).intersect(file.voxels);
        let part = |axis: usize| inside.shape().axes()[axis] * i64::from(window.at[axis]) / 256;
        let voxel = inside.begin() + Coordinate::new(part(0), part(1), part(2)) - file.voxels.begin();
        let [_, ny, nx] = file.voxels.shape().axes();
        let index = u64::try_from((voxel.z() * ny + voxel.y()) * nx + voxel.x()).unwrap();
        let header = self.headers.get(&file.path).copied().unwrap_or(0);
        let offset = (header + index * file.itemsize).saturating_add_signed(window.shift.into()).max(header);
        let size = header + file.voxel_bytes();
        let wanted = size.saturating_sub(offset).min(window.size.into());
        (offset, window.size, usize::try_from(wanted).unwrap())
    }

    /// Whether an error may be: other data has taken the place of what was mounted.
    pub(super) fn may_be_stale(&self, instance: usize) -> bool {
        let history = &self.histories[instance];
        history.eras.iter().any(|era| era.incarnation != history.mounted)
    }

    pub(super) fn note_stale(&mut self, instance: usize) {
        self.histories[instance].was_stale = true;
    }

    pub(super) fn was_stale(&self, instance: usize) -> bool {
        self.histories[instance].was_stale
    }

    /// The editions that a read which began at `asked` may give.
    pub(super) fn editions(&self, instance: usize, asked: Instant) -> Vec<u8> {
        let history = &self.histories[instance];
        let ttl = Duration::from_millis(self.setting.ttl_ms);
        let is_fresh = |era: &&Era| era.ended.is_none_or(|ended| ended + ttl > asked) || self.lasts(instance);
        let mounted = history.eras.iter().filter(|era| era.incarnation == history.mounted);
        mounted.filter(is_fresh).map(|era| era.edition).collect()
    }

    /// Compares what was read: each block must be wholly of one of these editions.
    pub(super) fn compare(&self, file: &File, offset: u64, bytes: &[u8], editions: &[u8]) -> Result<(), String> {
        let spec = base().instance(NAMES[file.instance]).unwrap();
        let data = spec.data.at_scale(file.scale);
        let known: Vec<_> = editions
            .iter()
            .map(|&edition| values(file.instance, self.version(), file.bodies, file.scale, edition))
            .collect();
        let first = offset - self.headers.get(&file.path).copied().unwrap_or(0);
        let [_, ny, nx] = file.voxels.shape().axes();
        // For each block, which editions its bytes so far agree with.
        let mut agreeing: HashMap<Coordinate, Vec<bool>> = HashMap::new();
        let mut at = 0;
        while at < bytes.len() {
            let byte = first + at as u64;
            let index = i64::try_from(byte / file.itemsize).unwrap();
            let skipped = usize::try_from(byte % file.itemsize).unwrap();
            let voxel = file.voxels.begin() + Coordinate::new(index / (nx * ny), index / nx % ny, index % nx);
            let end = bytes.len().min(at + usize::try_from(file.itemsize).unwrap() - skipped);
            let found = &bytes[at..end];
            at = end;
            let block = voxel.div_floor(Coordinate::splat(BLOCK));
            let is_beyond = block.axes().iter().zip(data.end().axes()).any(|(block, end)| block * BLOCK >= end);
            if is_beyond {
                // No block is asked for where there is no data.
                if found.iter().any(|&byte| byte != 0) {
                    return Err(format!("{} byte {byte}, voxel {voxel}: not 0 beyond the data", file.path));
                }
                continue;
            }
            let agrees = agreeing.entry(block).or_insert_with(|| vec![true; known.len()]);
            for (values, agrees) in known.iter().zip(agrees.iter_mut()) {
                *agrees &= found == &value_in(data, values, voxel).to_le_bytes()[skipped..skipped + found.len()];
            }
            if !agrees.contains(&true) {
                return Err(format!("{} byte {byte}, voxel {voxel}: not of any edition of {editions:?}", file.path));
            }
        }
        Ok(())
    }
}

/// The value of a voxel; 0 beyond the data.
fn value_in(data: VoxelBox, values: &[u64], voxel: Coordinate) -> u64 {
    if !data.contains_voxel(voxel) {
        return 0;
    }
    let ([z, y, x], [_, ny, nx]) = ((voxel - data.begin()).axes(), data.shape().axes());
    values[usize::try_from((z * ny + y) * nx + x).unwrap()]
}
