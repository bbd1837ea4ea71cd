//! Which node a ref means: asked once, then pinned, since branches move on.

use std::error::Error as _;

use super::endpoint::encoded;
use super::error::{Error, ErrorKind};
use super::head;
use super::http::Server;
use super::http_config::METADATA_LIMIT;
use super::repo_info::{NodeInfo, RepoInfo};

/// Why a ref means no node.
#[derive(Debug)]
pub(super) enum RefError {
    /// No node, or more than one: in the server's words, or ours.
    NoNode(String),
    /// The server could not be asked.
    Failed(Error),
}

impl From<Error> for RefError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// What to do about a prefix of several UUIDs.
const MORE_LETTERS: &str = "give more letters of it";

/// The three parts of a ref: a UUID, its prefix or a tag; a branch; how far above its newest node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parts<'a> {
    uuid: &'a str,
    branch: Option<&'a str>,
    above: usize,
}

impl<'a> Parts<'a> {
    fn of(reference: &'a str) -> Self {
        let (uuid, branch) = reference.split_once(':').map_or((reference, None), |(uuid, rest)| (uuid, Some(rest)));
        let (branch, above) = match branch.and_then(|branch| branch.split_once('~')) {
            Some((branch, above)) => (Some(branch), above.parse().unwrap_or(usize::MAX)),
            // `uuid:` is the node itself, and only `uuid:~n` means the default branch.
            None => (branch.filter(|branch| !branch.is_empty() || uuid.is_empty()), 0),
        };
        Self { uuid, branch: branch.map(|branch| if branch.is_empty() { "master" } else { branch }), above }
    }
}

/// The branch whose newest node a ref means, if it means one.
pub(super) fn branch_of(reference: &str) -> Option<&str> {
    let parts = Parts::of(reference);
    parts.branch.filter(|_| parts.above == 0)
}

/// The repo of a ref, and the full UUID of the node that it means now.
pub(super) fn resolve(server: &Server, reference: &str) -> Result<(RepoInfo, String), RefError> {
    let parts = Parts::of(reference);
    let repo = repo_of(server, reference).or_else(|refused| match refused {
        // Servers before 2022 know no `~n`: they are asked for the branch alone.
        RefError::NoNode(words) if parts.above > 0 => {
            let without = reference.split_once('~').map_or(reference, |(before, _)| before);
            repo_of(server, without).map_err(|error| match error {
                RefError::NoNode(_) => RefError::NoNode(words),
                failed @ RefError::Failed(_) => failed,
            })
        }
        refused @ (RefError::NoNode(_) | RefError::Failed(_)) => Err(refused),
    })?;
    let uuid = match parts.branch {
        None => node_by_prefix(&repo, parts.uuid)?,
        Some(branch) => node_on_branch(server, &repo, branch, parts.above)?,
    };
    if repo.nodes.iter().any(|node| node.uuid == uuid) {
        return Ok((repo, uuid));
    }
    Err(RefError::NoNode(format!("the server does not show node {uuid}")))
}

fn repo_of(server: &Server, reference: &str) -> Result<RepoInfo, RefError> {
    let path = format!("/api/repo/{}/info", encoded_reference(reference));
    match server.get(&path, METADATA_LIMIT) {
        Ok(json) => RepoInfo::parse(&json).map_err(|error| Error::of_payload(error, path).into()),
        Err(error) if error.kind() == ErrorKind::Status(400) => Err(RefError::NoNode(words(&error))),
        Err(error) => Err(error.into()),
    }
}

/// The letters of a ref are all fit for a path; whoever comes here with others is stopped by the list of requests.
fn encoded_reference(reference: &str) -> String {
    reference.split(':').map(encoded).collect::<Vec<_>>().join(":")
}

/// The server's words without the path that it repeats at their end, ` (/api/repo/6/info).`, and what helps.
fn words(error: &Error) -> String {
    let said = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    let words = said.rfind(" (/api/").map_or(said.as_str(), |at| &said[..at]);
    if words.contains("more than one UUID matches") { format!("{words}: {MORE_LETTERS}") } else { words.to_owned() }
}

fn node_by_prefix(repo: &RepoInfo, prefix: &str) -> Result<String, RefError> {
    let mut matches = repo.nodes.iter().filter(|node| node.uuid.starts_with(prefix));
    match (matches.next(), matches.next()) {
        (Some(node), None) => Ok(node.uuid.clone()),
        (None, _) => Err(RefError::NoNode(format!("the server does not show a node {prefix}"))),
        (Some(one), Some(other)) => Err(RefError::NoNode(format!(
            "{prefix} is the beginning of {} and of {}: {MORE_LETTERS}",
            one.uuid, other.uuid
        ))),
    }
}

fn node_on_branch(server: &Server, repo: &RepoInfo, branch: &str, above: usize) -> Result<String, RefError> {
    let versions = match head::versions(server, &repo.root, branch) {
        Ok(versions) => versions,
        // A server that does not know the call.
        Err(error) if matches!(error.kind(), ErrorKind::Status(400 | 404)) => versions_of(repo, branch),
        Err(error) => return Err(error.into()),
    };
    if versions.is_empty() {
        return Err(RefError::NoNode(format!("no branch {branch:?} in this repo")));
    }
    versions.get(above).cloned().ok_or_else(|| {
        RefError::NoNode(format!("branch {branch:?} has {} nodes up to the root: ~{above} is too far", versions.len()))
    })
}

/// The nodes of a branch from its newest one up to the root, by the repo's own tree.
pub(super) fn versions_of(repo: &RepoInfo, branch: &str) -> Vec<String> {
    let name = if branch == "master" { "" } else { branch };
    let find = |uuid: &String| repo.nodes.iter().find(|node| node.uuid == *uuid);
    let is_on_branch = |node: &NodeInfo| node.branch == name;
    let is_leaf = |node: &&NodeInfo| is_on_branch(node) && !node.children.iter().filter_map(find).any(is_on_branch);
    let leaf = repo.nodes.iter().find(is_leaf);
    let path = std::iter::successors(leaf, |node| node.parents.first().and_then(find));
    // A tree has no longer path; a circle would have.
    path.take(repo.nodes.len()).map(|node| node.uuid.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ref_has_a_node_a_branch_and_a_distance() {
        for (reference, uuid, branch, above) in [
            ("ab12", "ab12", None, 0),
            ("v1.0", "v1.0", None, 0),
            ("ab:", "ab", None, 0),
            ("ab:exp", "ab", Some("exp"), 0),
            ("ab:master~2", "ab", Some("master"), 2),
            ("ab:~1", "ab", Some("master"), 1),
            ("ab:~0", "ab", Some("master"), 0),
            (":master", "", Some("master"), 0),
            (":", "", Some("master"), 0),
        ] {
            assert_eq!(Parts::of(reference), Parts { uuid, branch, above }, "{reference}");
        }
    }

    fn a_node(uuid: &str, branch: &str, parents: &[&str], children: &[&str]) -> NodeInfo {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        NodeInfo {
            uuid: uuid.into(),
            branch: branch.into(),
            parents: owned(parents),
            children: owned(children),
            ..NodeInfo::default()
        }
    }

    fn a_repo() -> RepoInfo {
        RepoInfo {
            root: "a0".into(),
            alias: String::new(),
            nodes: vec![
                a_node("a0", "", &[], &["a1", "e1"]),
                a_node("a1", "", &["a0"], &["a2", "v1.0"]),
                a_node("a2", "", &["a1"], &[]),
                a_node("e1", "exp", &["a0"], &[]),
                a_node("v1.0", "tag-v1.0", &["a1"], &[]),
            ],
            instances: vec![],
        }
    }

    #[test]
    fn a_branch_runs_from_its_leaf_to_the_root() {
        assert_eq!(versions_of(&a_repo(), "master"), ["a2", "a1", "a0"]);
        assert_eq!(versions_of(&a_repo(), "exp"), ["e1", "a0"]);
        assert!(versions_of(&a_repo(), "nope").is_empty());
        let mut circle = a_repo();
        circle.nodes[0].parents = vec!["a2".into()];
        assert_eq!(versions_of(&circle, "exp").len(), 5);
    }

    #[test]
    fn a_prefix_means_one_node() {
        assert!(matches!(node_by_prefix(&a_repo(), "a1"), Ok(uuid) if uuid == "a1"));
        assert!(matches!(node_by_prefix(&a_repo(), "v"), Ok(uuid) if uuid == "v1.0"));
        assert!(matches!(node_by_prefix(&a_repo(), "a"), Err(RefError::NoNode(_))));
        assert!(matches!(node_by_prefix(&a_repo(), "b"), Err(RefError::NoNode(_))));
    }
}
