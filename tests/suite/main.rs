//! The program as a whole: mounted, read, cut off, killed.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod faults;
mod layering;
mod mount_reads;
mod outages;
mod support;
