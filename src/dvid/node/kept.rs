//! What a later mount of a node needs to stand without its server: kept as it was at this mount, if it can never change.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::geometry::{BlockBox, BlockIndex, Coordinate, Scale};
use crate::metrics::Metrics;

use super::super::address::Address;
use super::super::endpoint::instance_path;
use super::super::error::Error;
use super::super::fetch_blocks::{FetchBlocks, Freshness};
use super::super::gate::MappingMemory;
use super::super::http::Server;
use super::super::http_config::HttpConfig;
use super::super::info::{InstanceInfo, NoVoxels};
use super::super::instance::{Instance, NodeState};
use super::super::repo_info::NodeInfo;
use super::super::server_time::now_seconds;
use super::super::settled::Settled;
use super::{Node, NodeOptions};

/// What is written; another one is not read.
const FORMAT: u32 = 1;
/// More metadata than this are not kept: they are held in memory twice until they are written.
const MOST_BYTES: usize = 32 << 20;
/// Why an instance that may change has nothing that could be read without its server.
const MAY_CHANGE: &str = "it may change at any time (Versioned: false), so nothing of it is kept on disk: mount without \
                          --offline to read it";

/// A node as it was kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptNode {
    format: u32,
    server: String,
    reference: String,
    /// When its server was asked, in seconds since 1970.
    asked: i64,
    root: String,
    alias: String,
    node: NodeInfo,
    instances: Vec<KeptInstance>,
    looks: Vec<(Look, Vec<[i64; 3]>)>,
}

/// An instance as it was kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptInstance {
    name: String,
    typename: String,
    data_uuid: String,
    versioned: bool,
    /// The server's own words; empty if there are none, or if they may change.
    json: String,
    /// Why it has no voxels that can be served, whatever its metadata say.
    no_voxels: Option<String>,
    /// At the mount that keeps it, its metadata could not be had.
    #[serde(skip)]
    is_unknown: bool,
}

/// One question which blocks of a box are stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Look {
    /// `/api/node/<uuid>/<instance>`.
    instance: String,
    scale: u8,
    begin: [i64; 3],
    end: [i64; 3],
    /// Whether the answer can never change.
    lasts: bool,
}

/// The blocks that were found by looking, to be found again.
#[derive(Clone, Debug, Default)]
pub(super) struct Looks(Arc<Mutex<BTreeMap<Look, Vec<[i64; 3]>>>>);

impl Look {
    pub(super) fn new(of: &Instance, scale: Scale, BlockBox(blocks): BlockBox) -> Self {
        Self {
            instance: of.path().to_owned(),
            scale: scale.0,
            begin: blocks.begin().axes(),
            end: blocks.end().axes(),
            lasts: of.freshness() == Freshness::Forever,
        }
    }
}

impl Looks {
    pub(super) fn remember(&self, look: Look, found: &[BlockIndex]) {
        let found = found.iter().map(|block| block.0.axes()).collect();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(look, found);
    }

    pub(super) fn found(&self, look: &Look) -> Option<Vec<BlockIndex>> {
        let looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(looks.get(look)?.iter().map(|&axes| BlockIndex(Coordinate::from(axes))).collect())
    }

    /// Those that are right for ever.
    fn lasting(&self) -> Vec<(Look, Vec<[i64; 3]>)> {
        let looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.iter().filter(|(look, _)| look.lasts).map(|(look, found)| (look.clone(), found.clone())).collect()
    }
}

impl KeptInstance {
    fn new(info: &InstanceInfo) -> Self {
        let words = if info.versioned { std::str::from_utf8(&info.json).unwrap_or_default() } else { "" };
        let no_voxels = match &info.voxels {
            Err(reason) => Some(reason.to_string()),
            Ok(_) if !info.versioned => Some(MAY_CHANGE.to_owned()),
            Ok(_) => None,
        };
        Self {
            name: info.name.clone(),
            typename: info.typename.clone(),
            data_uuid: info.data_uuid.clone(),
            versioned: info.versioned,
            json: words.to_owned(),
            no_voxels,
            is_unknown: matches!(info.voxels, Err(NoVoxels::Unknown(_))),
        }
    }

    /// The instance, by the same reading of the same words; `None` if they are not those of this instance.
    fn info(&self) -> Option<InstanceInfo> {
        let Self { name, typename, data_uuid, versioned, json, no_voxels, is_unknown: _ } = self.clone();
        let Some(reason) = no_voxels else {
            let info = InstanceInfo::parse(&name, json.into_bytes()).ok()?;
            let is_same = info.typename == typename && info.data_uuid == data_uuid && info.versioned == versioned;
            return Some(info).filter(|info| is_same && info.versioned);
        };
        let (json, voxels) = (json.into_bytes().into(), Err(NoVoxels::Unserved(reason)));
        Some(InstanceInfo { name, typename, data_uuid, versioned, json, voxels })
    }
}

impl KeptNode {
    /// Reads what was kept for this address; `None` if it is anything else.
    #[must_use]
    pub fn parse(bytes: &[u8], address: &Address) -> Option<Self> {
        let kept: Self = serde_json::from_slice(bytes).ok()?;
        let is_meant = address.reference == kept.reference || address.reference == kept.node.uuid;
        let is_right = kept.format == FORMAT && kept.server == address.origin && is_meant && kept.node.locked;
        is_right.then_some(kept)
    }

    /// The names under which it is kept: the ref as it was given, which may mean another node by now, and the node.
    #[must_use]
    pub fn references(&self) -> Vec<&str> {
        let both = [self.reference.as_str(), self.node.uuid.as_str()];
        both[..if both[0] == both[1] { 1 } else { 2 }].to_vec()
    }

    /// The node that its ref meant.
    #[must_use]
    pub fn uuid(&self) -> &str {
        &self.node.uuid
    }

    /// Whether the metadata of an instance are missing that an earlier mount may have had.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.instances.iter().any(|instance| instance.is_unknown)
    }

    /// With what an earlier mount had of the instances whose metadata could not be had now: what is settled stays right.
    #[must_use]
    pub fn completed_by(mut self, earlier: &Self) -> Self {
        if (&earlier.root, &earlier.node.uuid) != (&self.root, &self.node.uuid) {
            return self;
        }
        for instance in self.instances.iter_mut().filter(|instance| instance.is_unknown) {
            let is_same = |it: &&KeptInstance| {
                (&it.name, &it.typename, &it.data_uuid) == (&instance.name, &instance.typename, &instance.data_uuid)
            };
            let Some(known) = earlier.instances.iter().find(is_same).filter(|it| it.no_voxels.is_none()) else {
                continue;
            };
            *instance = known.clone();
            let path = instance_path(&self.node.uuid, &known.name).unwrap_or_default();
            self.looks.extend(earlier.looks.iter().filter(|(look, _)| look.instance == path).cloned());
        }
        self
    }

    /// As it is written; `None` if it is too large.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(self).ok().filter(|bytes| bytes.len() <= MOST_BYTES)
    }
}

impl Node {
    /// What a later mount needs to stand without the server; `None` if any of it may change.
    #[must_use]
    pub fn to_keep(&self) -> Option<KeptNode> {
        let is_for_ever = self.state.settled.freshness(true) == Freshness::Forever;
        (is_for_ever && self.offline_since.is_none()).then(|| KeptNode {
            format: FORMAT,
            server: self.server.clone(),
            reference: self.reference.clone(),
            asked: now_seconds(),
            root: self.root.clone(),
            alias: self.alias.clone(),
            node: self.info.clone(),
            instances: self.instances.iter().map(KeptInstance::new).collect(),
            looks: self.looks.lasting(),
        })
    }

    /// The node that was kept. No request is made, now or later.
    ///
    /// # Errors
    /// As [`Server::new`]. `Ok(None)` if what was kept contradicts itself.
    pub fn from_kept(
        kept: KeptNode,
        address: &Address,
        http: HttpConfig,
        options: NodeOptions,
        metrics: Arc<Metrics>,
    ) -> Result<Option<Self>, Error> {
        let http = Server::new(&address.origin, HttpConfig { offline: true, token_file: None, ..http }, metrics)?;
        let Some(instances) = kept.instances.iter().map(KeptInstance::info).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        let settled = Arc::new(Settled::fixed(Freshness::Forever));
        Ok(Some(Self {
            server: kept.server,
            reference: address.reference.clone(),
            info: kept.node,
            root: kept.root,
            alias: kept.alias,
            instances,
            state: NodeState { settled, suspicion: Arc::default() },
            http,
            mapping_memory: Arc::new(MappingMemory::new(options.mapping_limit_bytes)),
            options,
            looks: Looks(Arc::new(Mutex::new(kept.looks.into_iter().collect()))),
            offline_since: Some(kept.asked),
        }))
    }

    /// When the server was asked, in seconds since 1970, if this node was kept then and stands without its server now.
    #[must_use]
    pub fn offline_since(&self) -> Option<i64> {
        self.offline_since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> KeptNode {
        let node = NodeInfo { uuid: "ab12".into(), locked: true, ..NodeInfo::default() };
        KeptNode {
            format: FORMAT,
            server: "http://h:1".into(),
            reference: ":master".into(),
            asked: 7,
            root: "ab00".into(),
            alias: String::new(),
            node,
            instances: Vec::new(),
            looks: Vec::new(),
        }
    }

    fn is_read(kept: &KeptNode, source: &str) -> bool {
        KeptNode::parse(&kept.to_bytes().unwrap(), &source.parse().unwrap()).as_ref() == Some(kept)
    }

    #[test]
    fn what_was_kept_is_read_for_its_own_address_alone() {
        assert!(is_read(&kept(), "http://h:1/:master"));
        assert!(is_read(&kept(), "h:1/ab12"), "the node itself");
        for source in ["h:1/ab13", "h:2/:master", "https://h:1/:master", "h:1/ab12:master"] {
            assert!(!is_read(&kept(), source), "{source}");
        }
        assert!(!is_read(&KeptNode { format: 2, ..kept() }, "h:1/:master"));
        let open = NodeInfo { locked: false, ..kept().node };
        assert!(!is_read(&KeptNode { node: open, ..kept() }, "h:1/:master"));
        assert_eq!(kept().references(), [":master", "ab12"]);
        let bytes = kept().to_bytes().unwrap();
        for length in 0..bytes.len() {
            assert_eq!(KeptNode::parse(&bytes[..length], &"h:1/:master".parse().unwrap()), None, "{length}");
        }
    }

    fn info(typename: &str, versioned: bool) -> InstanceInfo {
        let json = serde_json::json!({
            "Base": {"TypeName": typename, "DataUUID": "d", "Versioned": versioned, "Compression": "LZ4 compression, level -1"},
            "Extended": {"BlockSize": [64, 64, 64], "VoxelSize": [8.0, 8.0, 8.0], "MinPoint": [0, 0, 0], "MaxPoint": [99, 99, 99]},
        });
        InstanceInfo::parse("gray", json.to_string().into_bytes()).unwrap()
    }

    #[test]
    fn an_instance_is_read_again_from_the_same_words_and_one_that_may_change_is_left_out() {
        let image = info("uint8blk", true);
        assert_eq!(KeptInstance::new(&image).info(), Some(image.clone()));
        let open = KeptInstance::new(&info("uint8blk", false)).info().unwrap();
        assert!(open.json.is_empty() && open.voxels.unwrap_err().to_string().contains("Versioned: false"));
        let odd = InstanceInfo { voxels: Err(NoVoxels::Bad("blocks contradict".into())), ..image.clone() };
        let again = KeptInstance::new(&odd).info().unwrap();
        assert_eq!(again.voxels.unwrap_err().to_string(), "bad metadata: blocks contradict", "never shown after all");
        let other = KeptInstance { data_uuid: "e".into(), ..KeptInstance::new(&image) };
        assert_eq!(other.info(), None, "words of another instance");
        let other = KeptInstance { typename: "uint16blk".into(), ..KeptInstance::new(&image) };
        assert_eq!(other.info(), None);
        let open = KeptInstance { no_voxels: None, ..KeptInstance::new(&info("uint8blk", false)) };
        assert_eq!(open.info(), None, "one that may change has no voxels");
    }
}
