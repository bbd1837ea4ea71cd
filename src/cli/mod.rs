//! The command line: words to a configuration, the stack built once, and everything that is printed for people.
//!
//! The only room that reads the environment (`args.rs`) and prints.

mod args;
mod boxes;
mod check;
mod confine;
mod contents;
mod daemon;
mod demo;
mod disk_cache;
mod failure;
mod info;
mod likeness;
mod logs;
mod memory;
mod mount;
mod offline;
mod open;
mod run;
mod supervise;
mod umount;
mod values;

pub use run::run;
