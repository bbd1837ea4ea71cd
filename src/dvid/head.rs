//! The newest node of a branch, looked at again after the mount: the mount stays where it is, and tells.

use std::sync::{Mutex, PoisonError};

use super::endpoint::encoded;
use super::error::{Error, ErrorKind};
use super::http::Server;

/// Nodes of a branch, 35 bytes each: no branch has more.
pub(super) const BRANCH_LIMIT: u64 = 8 << 20;

/// The branch by which a node was found, and what its newest node is by now.
#[derive(Debug)]
pub struct Head {
    server: Server,
    root: String,
    branch: String,
    /// The newest node when it was last looked at. No I/O happens under the lock.
    newest: Mutex<String>,
    mounted: String,
}

impl Head {
    pub(super) fn new(server: Server, root: &str, branch: &str, mounted: &str) -> Self {
        let (root, branch, mounted) = (root.to_owned(), branch.to_owned(), mounted.to_owned());
        Self { server, root, branch, newest: Mutex::new(mounted.clone()), mounted }
    }

    /// Looks once, and logs if the branch has moved since.
    ///
    /// # Errors
    /// As those of a request: then nothing is known.
    pub fn look(&self) -> Result<(), Error> {
        let Some(newest) = versions(&self.server, &self.root, &self.branch)?.into_iter().next() else { return Ok(()) };
        let mut known = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != newest {
            tracing::info!(
                target: "dvidfs",
                code = "head_moved",
                branch = %self.branch.escape_debug(),
                node = %newest.escape_debug(),
                "the branch has a newer node; this mount stays at its own"
            );
            *known = newest;
        }
        Ok(())
    }

    /// The newest node of the branch, if it is no longer the one that is mounted.
    #[must_use]
    pub fn moved_to(&self) -> Option<String> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        (*newest != self.mounted).then(|| newest.clone())
    }

    /// The branch.
    #[must_use]
    pub fn branch(&self) -> &str {
        &self.branch
    }
}

/// The nodes of a branch from its newest up to the root.
pub(super) fn versions(server: &Server, root: &str, branch: &str) -> Result<Vec<String>, Error> {
    let path = format!("/api/repo/{}/branch-versions/{}", encoded(root), encoded(branch));
    let json = server.get(&path, BRANCH_LIMIT)?;
    serde_json::from_slice::<Option<Vec<String>>>(&json)
        .map(Option::unwrap_or_default)
        .map_err(|error| Error::new(ErrorKind::Malformed, path).with_code("bad_metadata").with_source(error))
}
