//! What the suites share: a mounted demo server, its oracle, and an end to every mount whatever happened.
#![allow(unreachable_pub)] // the face is `pub(crate)` above

pub(crate) mod caches;
pub(crate) mod faulty_dir;
mod mounted;
#[path = "../../mounts/mod.rs"]
mod mounts;
mod oracle;
pub(crate) mod survival;
pub(crate) mod tmpfs;
mod views;

pub(crate) use mounted::{Mounted, time_limit};
pub(crate) use mounts::can_mount;
pub(crate) use oracle::{Chunk, Level, chunk_of, file_values, levels};
pub(crate) use survival::Survival;
pub(crate) use views::compare_views;
