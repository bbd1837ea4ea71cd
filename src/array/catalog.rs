//! All instances of a mounted node: which arrays they are, at which levels, and how they describe themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::cache::{BlockCache, SourceId};
use crate::dvid::{
    Error as DvidError, FetchBlocks, Freshness, Instance, InstanceInfo, InstanceKind, Node, View, VoxelInfo,
};
use crate::geometry::{Grid, Scale, VoxelBox};

use super::attrs::{self, Description};
use super::dvid_array::{DvidArray, LevelBlocks, Parts, Source};
use super::levels::{Candidate, Candidates, pyramids};
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
}

/// A user's word about an instance that cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// No such instance.
    #[error("the node has no instance {0:?}: run `dvidfs info SOURCE` to list them")]
    NoSuchInstance(String),
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
        apply_extents(&mut infos, options)?;
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
            add_metadata(&entry, options)?;
            entries.push(entry);
        }
        Ok(Self { entries })
    }
}

fn apply_extents(infos: &mut [InstanceInfo], options: &CatalogOptions) -> Result<(), CatalogError> {
    for (name, &extents) in &options.extents {
        let info = infos.iter_mut().find(|info| info.name == *name);
        let info = info.ok_or_else(|| CatalogError::NoSuchInstance(name.clone()))?;
        if let Ok(voxels) = &mut info.voxels {
            // The server's own extents hold data; a wish never hides any.
            voxels.extents.get_or_insert(extents);
        }
    }
    match options.metadata.keys().find(|name| !infos.iter().any(|info| info.name == **name)) {
        Some(name) => Err(CatalogError::NoSuchInstance(name.clone())),
        None => Ok(()),
    }
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
    let results: Vec<_> = std::thread::scope(|scope| {
        let handles: Vec<_> = wanted
            .chunks(wanted.len().div_ceil(PROBE_THREADS).max(1))
            .map(|share| {
                scope.spawn(move || {
                    share
                        .iter()
                        .map(|(index, candidates)| probe_one(node, infos, opened, **index, candidates))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        handles.into_iter().flat_map(|handle| handle.join().unwrap_or_default()).collect()
    });
    let mut probes = BTreeMap::new();
    for (index, probe) in results {
        match probe {
            Ok(Some(probe)) => {
                probes.insert(index, probe);
            }
            Ok(None) => {}
            Err(source) => return Err(CatalogError::Probe { name: infos[index].name.clone(), source }),
        }
    }
    Ok(probes)
}

/// Probes are small requests; more at once would only queue at the server.
const PROBE_THREADS: usize = 4;

fn probe_one(
    node: &Node,
    infos: &[InstanceInfo],
    opened: &[Option<Opened>],
    index: usize,
    candidates: &Candidates,
) -> (usize, Result<Option<Probe>, DvidError>) {
    let data = infos[index].voxels.as_ref().ok().and_then(|voxels| voxels.extents);
    let probe = data.map(|data| {
        computed_levels(&candidates.levels, data, |candidate: &Candidate, blocks| {
            let Some(opened) = &opened[candidate.instance] else { return Ok(Vec::new()) };
            node.stored_blocks(&opened.instance, candidate.scale, blocks)
        })
    });
    (index, probe.transpose())
}

fn add_metadata(entry: &Entry, options: &CatalogOptions) -> Result<(), CatalogError> {
    let Some(metadata) = options.metadata.get(&entry.name) else { return Ok(()) };
    for array in &entry.arrays {
        array
            .add_metadata(metadata.clone())
            .map_err(|source| CatalogError::Metadata { name: entry.name.clone(), source })?;
    }
    Ok(())
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

fn info_map(info: &InstanceInfo) -> Map<String, Value> {
    match serde_json::from_slice(&info.json) {
        Ok(Value::Object(map)) => map,
        Ok(_) | Err(_) => Map::new(),
    }
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
