//! The program as a whole: mounted, read, cut off, killed; and the rules of this repository.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)] // a test that cannot go on fails; it tells what it saw

mod disk_cache;
mod disk_damage;
mod disk_faults;
mod disk_sharing;
mod faults;
mod layering;
mod mount_reads;
mod n5;
mod outages;
mod precomputed;
mod semantics;
mod support;
