//! All instances of a mounted node: which arrays they are, at which levels, and how they describe themselves.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, ScopedJoinHandle};

use serde_json::{Map, Value};

use crate::cache::{BlockCache, SourceId};
use crate::dvid::{
    Error as DvidError, ErrorKind, FetchBlocks, Freshness, Instance, InstanceInfo, InstanceKind, Node, View, VoxelInfo,
};
use crate::geometry::{Grid, Scale, VoxelBox};

use super::attrs::{self, Description};
use super::dvid_array::{DvidArray, LevelBlocks, Parts, Source};
use super::levels::{Candidate, Candidates, pyramids};
use super::names::names_like;
use super::probe::{Probe, computed_levels};
use super::spec::{ArrayKind, ArraySpec, LevelSource};

/// What a user says about instances that the server does not know.
#[derive(Clone, Debug, Default)]
pub struct CatalogOptions {
    /// Extents of instances whose own are null: boxes of level-0 voxels.
    pub extents: BTreeMap<String, VoxelBox>,
    /// Metadata to add, by instance.
    pub metadata: BTreeMap<String, Value>,
}

/// One instance as a mount shows it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The instance's own name.
    pub name: String,
    /// DVID's JSON for it at this node, byte for byte.
    pub info: Arc<[u8]>,
    /// `attrs.json` where there is no array: the reason stands in it.
    pub described: Value,
    /// No array; the voxels as stored; or a labelmap's bodies and then its supervoxels.
    pub arrays: Vec<Arc<DvidArray>>,
    /// How long its data stays right.
    pub freshness: Freshness,
}

/// All instances of a node, in name order.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// One entry an instance.
    pub entries: Vec<Entry>,
    /// Words of the user that came to nothing, a line each.
    pub ignored: Vec<String>,
}

/// A user's word about an instance that cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// No such instance.
    #[error("the node has no instance {name:?}: {hint}")]
    NoSuchInstance {
        /// The name.
        name: String,
        /// Which names there are.
        hint: String,
    },
    /// Metadata that cannot be added.
    #[error("cannot add metadata to {name}")]
    Metadata {
        /// The instance.
        name: String,
        /// Why.
        #[source]
        source: super::error::MetadataError,
    },
    /// A level could not be looked at.
    #[error("cannot look at the levels of {name}")]
    Probe {
        /// The instance.
        name: String,
        /// What became of the request.
        #[source]
        source: DvidError,
    },
}

/// An instance that holds voxels, ready to be fetched from.
struct Opened {
    instance: Arc<Instance>,
    source: SourceId,
}

impl Catalog {
    /// Opens every instance of a node: finds pyramids, probes once which levels were computed, describes arrays.
    ///
    /// # Errors
    /// If an option names an instance that the node does not have, or a level cannot be looked at.
    pub fn open(node: &Node, cache: &Arc<BlockCache>, options: &CatalogOptions) -> Result<Self, CatalogError> {
        let mut infos = node.instances.clone();
        let mut ignored = apply_extents(&mut infos, options)?;
        let opened: Vec<Option<Opened>> = infos.iter().map(|info| open_instance(node, cache, info)).collect();
        let pyramids = pyramids(&infos);
        let probes = probe_all(node, &infos, &opened, &pyramids)?;
        let mut entries = Vec::with_capacity(infos.len());
        for (index, info) in infos.iter().enumerate() {
            let entry = match (&info.voxels, pyramids.get(&index)) {
                (Ok(voxels), Some(candidates)) => {
                    let probe = probes.get(&index);
                    let shelf = Shelf { node, cache, opened: &opened, info, voxels };
                    shelf.entry(candidates, probe)
                }
                (Err(reason), _) => no_array(node, info, &reason.to_string()),
                (Ok(_), None) => no_array(node, info, "it has no level"),
            };
            ignored.extend(add_metadata(&entry, options)?);
            entries.push(entry);
        }
        Ok(Self { entries, ignored })
    }
}

/// Gives boxes to instances that have none; those that were of no use, a line each.
fn apply_extents(infos: &mut [InstanceInfo], options: &CatalogOptions) -> Result<Vec<String>, CatalogError> {
    let mut named = options.extents.keys().chain(options.metadata.keys());
    if let Some(name) = named.find(|name| !infos.iter().any(|info| info.name == **name)) {
        let hint = names_like(name, infos.iter().map(|info| info.name.as_str()));
        return Err(CatalogError::NoSuchInstance { name: name.clone(), hint });
    }
    let mut ignored = Vec::new();
    for info in infos {
        let Some(&extents) = options.extents.get(&info.name) else { continue };
        match &mut info.voxels {
            Err(reason) => ignored.push(format!("--extents for {:?} is ignored: {reason}", info.name)),
            // The server's own extents hold data; a wish never hides any.
            Ok(voxels) if voxels.extents.is_some_and(|known| known != extents) => {
                ignored.push(format!("--extents for {:?} is ignored: the server knows its box", info.name));
            }
            Ok(voxels) => voxels.extents = Some(extents),
        }
    }
    Ok(ignored)
}

fn open_instance(node: &Node, cache: &BlockCache, info: &InstanceInfo) -> Option<Opened> {
    let voxels = info.voxels.as_ref().ok()?;
    let extents = voxels.extents?;
    let instance = node.instance(info).ok()?;
    let source = cache.add_source(Arc::clone(&instance) as Arc<dyn FetchBlocks>);
    let grid = Grid::new(voxels.block_shape)?;
    for scale in (0..=voxels.max_scale.0).map(Scale) {
        cache.set_bounds(source, scale, grid.block_range(extents.at_scale(scale)));
    }
    Some(Opened { instance, source })
}

/// Looks once, and in parallel, which levels of each pyramid were ever computed.
fn probe_all(
    node: &Node,
    infos: &[InstanceInfo],
    opened: &[Option<Opened>],
    pyramids: &BTreeMap<usize, Candidates>,
) -> Result<BTreeMap<usize, Probe>, CatalogError> {
    let wanted: Vec<_> = pyramids.iter().filter(|(_, candidates)| candidates.levels.len() > 1).collect();
    let probe = |&(&index, candidates): &(&usize, &Candidates)| {
        let guarded = AssertUnwindSafe(|| probe_one(node, infos, opened, index, candidates));
        // Without its answer a level might be shown that was never computed.
        let probe = catch_unwind(guarded).unwrap_or_else(|_| Err(DvidError::new(ErrorKind::Abandoned, "blocks")));
        probe.map(|probe| (index, probe)).map_err(|source| (index, source))
    };
    let shares = wanted.chunks(wanted.len().div_ceil(PROBE_THREADS).max(1));
    let share_of = &|share: &[_]| share.iter().map(probe).collect::<Result<Vec<_>, _>>();
    let results: Vec<_> = std::thread::scope(|scope| {
        let start = |share| (share, Builder::new().spawn_scoped(scope, move || share_of(share)));
        let handles: Vec<_> = shares.map(start).collect();
        // Without a thread of its own a share is looked at by this one.
        let joined = |(share, handle): (_, std::io::Result<ScopedJoinHandle<'_, _>>)| match handle {
            Ok(handle) => handle.join().expect("panics are caught within"),
            Err(_) => share_of(share),
        };
        handles.into_iter().map(joined).collect()
    });
    let mut probes = BTreeMap::new();
    for result in results {
        let failed = |(index, source): (usize, _)| CatalogError::Probe { name: infos[index].name.clone(), source };
        probes.extend(result.map_err(failed)?.into_iter().filter_map(|(index, probe)| Some((index, probe?))));
    }
    Ok(probes)
}

/// Text of metadata whose values are kept.
const MAX_INFO_VALUES_BYTES: usize = 1 << 20;
/// Probes are small requests; more at once would only queue at the server.
const PROBE_THREADS: usize = 4;

fn probe_one(
    node: &Node,
    infos: &[InstanceInfo],
    opened: &[Option<Opened>],
    index: usize,
    candidates: &Candidates,
) -> Result<Option<Probe>, DvidError> {
    let data = infos[index].voxels.as_ref().ok().and_then(|voxels| voxels.extents);
    let probe = data.map(|data| {
        computed_levels(&candidates.levels, data, |candidate: &Candidate, blocks| {
            let Some(opened) = &opened[candidate.instance] else { return Ok(Vec::new()) };
            node.stored_blocks(&opened.instance, candidate.scale, blocks)
        })
    });
    match probe.transpose() {
        // Nobody looked at this box while there was a server.
        Err(error) if error.kind() == ErrorKind::Offline => Ok(Some(Probe::unknown())),
        probe => probe,
    }
}

/// Adds what the user says to the arrays of an instance; a line if there is none.
fn add_metadata(entry: &Entry, options: &CatalogOptions) -> Result<Option<String>, CatalogError> {
    let Some(metadata) = options.metadata.get(&entry.name) else { return Ok(None) };
    if entry.arrays.is_empty() {
        return Ok(Some(format!("--metadata for {:?} is ignored: it has no array", entry.name)));
    }
    for array in &entry.arrays {
        array
            .add_metadata(metadata.clone())
            .map_err(|source| CatalogError::Metadata { name: entry.name.clone(), source })?;
    }
    Ok(None)
}

fn source_of(node: &Node, info: &InstanceInfo) -> Source {
    Source { server: node.server.clone(), uuid: node.info.uuid.clone(), name: info.name.clone() }
}

fn no_array(node: &Node, info: &InstanceInfo, reason: &str) -> Entry {
    Entry {
        name: info.name.clone(),
        info: Arc::clone(&info.json),
        described: Value::Object(attrs::without_array(&source_of(node, info), &info.typename, reason, info_map(info))),
        arrays: Vec::new(),
        freshness: node.freshness(info),
    }
}

/// DVID's info as values: of one that is larger than any there is only the text, in `info`, for values are far larger.
fn info_map(info: &InstanceInfo) -> Map<String, Value> {
    if info.json.len() > MAX_INFO_VALUES_BYTES {
        return Map::new();
    }
    // A number beyond all floats, or half a character, is JSON for some and a value for none.
    serde_json::from_slice(&info.json).unwrap_or_else(|error| {
        let name = info.name.escape_debug();
        tracing::info!(target: "dvidfs", code = "bad_metadata", inst = %name, cause = %error, "no values, only the text");
        Map::new()
    })
}

/// What one entry is made from.
struct Shelf<'a> {
    node: &'a Node,
    cache: &'a Arc<BlockCache>,
    opened: &'a [Option<Opened>],
    info: &'a InstanceInfo,
    voxels: &'a VoxelInfo,
}

impl Shelf<'_> {
    fn entry(&self, candidates: &Candidates, probe: Option<&Probe>) -> Entry {
        let Some(data) = self.voxels.extents else {
            let reason = "the server knows no extents (data may exist all the same): give them with --extents NAME=z0:z1,y0:y1,x0:x1";
            return no_array(self.node, self.info, reason);
        };
        let n_levels = probe.map_or(candidates.levels.len(), |probe| probe.n_levels);
        let levels = &candidates.levels[..n_levels];
        let mut left_out = candidates.left_out.clone();
        left_out.extend(probe.into_iter().flat_map(|probe| probe.left_out.clone()));
        let views: &[View] = match self.voxels.kind {
            InstanceKind::LabelMap => &[View::Bodies, View::Stored],
            InstanceKind::ImageBlk | InstanceKind::LabelBlk | InstanceKind::LabelArray => &[View::Stored],
        };
        let arrays: Result<Vec<_>, _> =
            views.iter().map(|&view| self.array(view, data, levels, &left_out, probe).map(Arc::new)).collect();
        match arrays {
            Ok(arrays) => Entry {
                name: self.info.name.clone(),
                info: Arc::clone(&self.info.json),
                described: Value::Null,
                arrays,
                freshness: self.node.freshness(self.info),
            },
            Err(reason) => no_array(self.node, self.info, &reason),
        }
    }

    fn array(
        &self,
        view: View,
        data: VoxelBox,
        levels: &[Candidate],
        left_out: &[String],
        probe: Option<&Probe>,
    ) -> Result<DvidArray, String> {
        let kind = match self.voxels.kind {
            InstanceKind::ImageBlk => ArrayKind::Image,
            InstanceKind::LabelBlk | InstanceKind::LabelArray | InstanceKind::LabelMap => ArrayKind::Labels,
        };
        let sources = levels
            .iter()
            .map(|Candidate { source, block_shape, extents, .. }| LevelSource {
                source: source.clone(),
                block_shape: *block_shape,
                extents: *extents,
            })
            .collect();
        let (name, size) = (self.info.name.clone(), self.voxels.voxel_size);
        let spec = ArraySpec::new(name, view, (self.voxels.dtype, kind), size, data, sources)
            .and_then(|spec| spec.with_channels(self.voxels.channels))
            .map_err(|error| error.to_string())?;
        let blocks: Option<Vec<_>> = levels
            .iter()
            .map(|level| {
                let opened = self.opened[level.instance].as_ref()?;
                Some((LevelBlocks { source: opened.source, scale: level.scale }, opened.instance.freshness()))
            })
            .collect();
        let (blocks, freshness): (Vec<_>, Vec<_>) = blocks.ok_or("a level could not be opened")?.into_iter().unzip();
        // A file that the kernel keeps for ever must not hold what a sibling may change.
        let freshness = freshness.into_iter().find(|&freshness| freshness != Freshness::Forever);
        let freshness = freshness.unwrap_or(Freshness::Forever);
        let source = source_of(self.node, self.info);
        let described = attrs::describe(&Description {
            source: &source,
            info: self.info,
            voxels: self.voxels,
            spec: &spec,
            freshness,
            left_out,
            probe,
        });
        Ok(DvidArray::new(Parts {
            spec,
            source,
            freshness,
            levels: blocks,
            cache: Arc::clone(self.cache),
            info: info_map(self.info),
            described,
        }))
    }
}

#[cfg(test)]
mod tests;
