//! What the suites share: a mounted demo server, its oracle, and an end to every mount whatever happened.
#![allow(unreachable_pub)] // the face is `pub(crate)` above

mod mounted;
mod oracle;

pub(crate) use mounted::{Mounted, mount_tests_can_run, time_limit};
pub(crate) use oracle::{Chunk, Level, chunk_of, file_values, levels};
