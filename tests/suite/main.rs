//! The program as a whole: mounted, read, cut off, killed.

mod faults;
mod layering;
mod mount_reads;
mod outages;
mod support;
