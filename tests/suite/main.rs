//! The program as a whole: mounted, read, cut off, killed.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)] // a test that cannot go on fails; it tells what it saw

mod faults;
mod layering;
mod mount_reads;
mod outages;
mod support;
