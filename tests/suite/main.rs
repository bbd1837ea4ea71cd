//! The program as a whole: mounted, read, cut off, killed; and the rules of this repository.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)] // a test that cannot go on fails; it tells what it saw

mod auth;
mod check;
mod daemon;
mod disk_cache;
mod disk_damage;
mod disk_faults;
mod disk_sharing;
mod fault_list;
mod faults;
mod identity;
mod layering;
mod log;
mod model;
mod mount_reads;
mod n5;
mod offline;
mod other_clients;
mod other_users;
mod outages;
mod panics;
mod precomputed;
mod readers_and_mount;
mod relative_paths;
mod remounted;
mod ro_fsx;
mod ro_matrix;
mod ro_walk;
mod sandbox;
mod semantics;
mod storm;
mod support;
mod swapped;
mod tables;
