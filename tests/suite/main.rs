//! The program as a whole: mounted, read, cut off, killed; and the rules of this repository.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails
#![allow(clippy::print_stdout)] // what was survived is part of what a run tells

mod faults;
mod layering;
mod mount_reads;
mod outages;
mod semantics;
mod support;
