//! What DVID says about a repo: its nodes and which of them follow which, and its instances.

use std::collections::HashMap;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::geometry::Coordinate;

use super::info::from_xyz;
use super::json::{Object, Text, ThreeNumbers, check_json, null_as_default, parse_json};
use super::payload_error::PayloadError;

/// Instances, or nodes, of a repo beyond which it is not mounted.
pub(super) const MAX_ENTRIES: usize = 65_536;

/// A repo: a tree of versions (nodes) and the instances that all of them share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoInfo {
    /// The first node, 32 hex digits; it names the repo.
    pub root: String,
    /// What people call the repo.
    pub alias: String,
    /// All nodes, by UUID.
    pub nodes: Vec<NodeInfo>,
    /// All instances, by name: of every node and branch, whether or not they have data there.
    pub instances: Vec<InstanceEntry>,
}

/// One version of a repo.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Its UUID: 32 hex digits, or the text of a tag.
    pub uuid: String,
    /// The server's own number of it.
    pub version_id: i64,
    /// Its branch; empty for the default branch, which DVID calls `master`.
    pub branch: String,
    /// Whether it is committed.
    pub locked: bool,
    /// UUIDs of the nodes that it follows: two after a merge.
    pub parents: Vec<String>,
    /// UUIDs of the nodes that follow it.
    pub children: Vec<String>,
    /// The commit message.
    pub note: String,
    /// What was logged at it, a line each.
    pub log: Vec<String>,
    /// When it was made, RFC 3339.
    pub created: String,
    /// When it last changed, RFC 3339: for a locked node, at or after its commit.
    pub updated: String,
}

/// One instance in the repo's list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceEntry {
    /// Its name: any text.
    pub name: String,
    /// DVID's name of its type; empty if it has none.
    pub typename: String,
    /// Identifies the data; empty if it has none.
    pub data_uuid: String,
    /// The node at which it was made: it is visible there and at all nodes that follow. Empty if unknown.
    pub repo_uuid: String,
    /// Voxels of a block along each axis, zyx, if it says so.
    pub block_shape: Option<Coordinate>,
}

impl RepoInfo {
    /// Reads the answer of `GET repo/<uuid>/info`.
    ///
    /// # Errors
    /// If it is not JSON, is nested without sense, has nodes that cannot be read, or more instances or nodes than
    /// any repo.
    pub fn parse(json: &[u8]) -> Result<Self, PayloadError> {
        check_json(json)?;
        let repo: RawRepo = parse_json(json)?;
        let dag = repo.dag;
        for n_entries in [repo.data_instances.total, dag.nodes.total] {
            if n_entries > MAX_ENTRIES {
                return Err(PayloadError::OverLimit { claimed: n_entries as u64, limit: MAX_ENTRIES as u64 });
            }
        }
        let root = if repo.root.is_empty() { dag.root } else { repo.root };
        let mut instances: Vec<_> = repo.data_instances.kept.into_iter().map(instance_entry).collect();
        instances.sort_by(|a: &InstanceEntry, b| a.name.cmp(&b.name));
        instances.dedup_by(|later, first| later.name == first.name);
        Ok(Self { root, alias: repo.alias, nodes: joined(dag.nodes.kept), instances })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawRepo {
    #[serde(default, deserialize_with = "null_as_default")]
    root: String,
    #[serde(default, deserialize_with = "null_as_default")]
    alias: String,
    #[serde(default, deserialize_with = "null_as_default")]
    data_instances: Entries<Object<RawInstance>>,
    #[serde(rename = "DAG", default, deserialize_with = "null_as_default")]
    dag: RawDag,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct RawDag {
    #[serde(default, deserialize_with = "null_as_default")]
    root: String,
    #[serde(default, deserialize_with = "null_as_default")]
    nodes: Entries<RawNode>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawNode {
    #[serde(rename = "UUID", default, deserialize_with = "null_as_default")]
    uuid: String,
    #[serde(rename = "VersionID")]
    version_id: i64,
    #[serde(default, deserialize_with = "null_as_default")]
    branch: String,
    #[serde(default, deserialize_with = "null_as_default")]
    locked: bool,
    #[serde(default, deserialize_with = "null_as_default")]
    parents: Vec<i64>,
    #[serde(default, deserialize_with = "null_as_default")]
    children: Vec<i64>,
    #[serde(default, deserialize_with = "null_as_default")]
    note: String,
    #[serde(default, deserialize_with = "null_as_default")]
    log: Vec<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    created: String,
    #[serde(default, deserialize_with = "null_as_default")]
    updated: String,
}

/// One odd instance must not hide the others: everything in it is tolerated.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RawInstance {
    base: Object<RawBase>,
    extended: Object<RawExtended>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RawBase {
    type_name: Text,
    #[serde(rename = "DataUUID")]
    data_uuid: Text,
    #[serde(rename = "RepoUUID")]
    repo_uuid: Text,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RawExtended {
    block_size: ThreeNumbers,
}

/// The entries of a JSON object: the first [`MAX_ENTRIES`], and how many there are.
struct Entries<T> {
    kept: Vec<(String, T)>,
    total: usize,
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self { kept: vec![], total: 0 }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor(std::marker::PhantomData))
    }
}

struct EntriesVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
    type Value = Entries<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<T>, A::Error> {
        let mut entries = Entries::default();
        while entries.total < MAX_ENTRIES {
            let Some(entry) = map.next_entry()? else { return Ok(entries) };
            entries.kept.push(entry);
            entries.total += 1;
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            entries.total += 1;
        }
        Ok(entries)
    }
}

fn instance_entry((name, Object(raw)): (String, Object<RawInstance>)) -> InstanceEntry {
    let (Object(base), Object(extended)) = (raw.base, raw.extended);
    InstanceEntry {
        name,
        typename: base.type_name.0.unwrap_or_default(),
        data_uuid: base.data_uuid.0.unwrap_or_default(),
        repo_uuid: base.repo_uuid.0.unwrap_or_default(),
        block_shape: extended.block_size.0.map(from_xyz),
    }
}

/// The nodes, with UUIDs in place of the server's numbers. A number without a node is left out: a server shows
/// strangers only the nodes that are public.
fn joined(raw: Vec<(String, RawNode)>) -> Vec<NodeInfo> {
    let uuid = |(key, node): &(String, RawNode)| if node.uuid.is_empty() { key.clone() } else { node.uuid.clone() };
    let uuids: HashMap<i64, String> = raw.iter().map(|entry| (entry.1.version_id, uuid(entry))).collect();
    let named = |ids: Vec<i64>| ids.iter().filter_map(|id| uuids.get(id).cloned()).collect();
    let mut nodes: Vec<_> = raw
        .into_iter()
        .map(|entry| NodeInfo {
            uuid: uuid(&entry),
            version_id: entry.1.version_id,
            branch: entry.1.branch,
            locked: entry.1.locked,
            parents: named(entry.1.parents),
            children: named(entry.1.children),
            note: entry.1.note,
            log: entry.1.log,
            created: entry.1.created,
            updated: entry.1.updated,
        })
        .collect();
    nodes.sort_by(|a, b| a.uuid.cmp(&b.uuid));
    nodes
}

#[cfg(test)]
mod tests;
