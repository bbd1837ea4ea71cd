//! The program as a whole: mounted, read, cut off, killed; and the rules of this repository.

mod faults;
mod layering;
mod mount_reads;
mod outages;
mod semantics;
mod support;
