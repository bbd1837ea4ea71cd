//! What the suites share: a mounted demo server, its oracle, and an end to every mount whatever happened.
#![allow(unreachable_pub)] // the face is `pub(crate)` above

mod bounds;
pub(crate) mod caches;
pub(crate) mod faulty_dir;
mod figures;
mod mounted;
#[path = "../../mounts/mod.rs"]
mod mounts;
mod namespace;
mod oracle;
mod proxy;
mod random;
mod sources;
pub(crate) mod survival;
pub(crate) mod tmpfs;
mod views;
mod whole_files;

pub(crate) use bounds::promised;
pub(crate) use figures::figure;
pub(crate) use mounted::{Mounted, is_sandboxed, refused, time_limit};
pub(crate) use mounts::reports::skipped;
pub(crate) use mounts::{Scratch, can_mount, connections};
pub(crate) use namespace::Namespace;
pub(crate) use oracle::{Chunk, Level, chunk_files, chunk_of, compare, file_values, levels};
pub(crate) use proxy::{Mode, Proxy, tls_fixture};
pub(crate) use random::Random;
pub(crate) use sources::text_below;
pub(crate) use survival::Survival;
pub(crate) use views::compare_views;
pub(crate) use whole_files::{ViewOf, WholeFile, whole_files};

/// Whether tests may take long: `scripts/test --more`.
pub(crate) fn is_long() -> bool {
    std::env::var_os("DVIDFS_MORE").is_some_and(|value| value == "1")
}
