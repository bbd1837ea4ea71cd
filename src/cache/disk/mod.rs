//! Blocks on disk: shared by any number of daemons, bounded, checked to the last byte, and never missed if it fails.
//!
//! `D/dvidfs-v1/hh/<62 hex>`, one file a block, a part of a mapping of bodies, or a description of a node, named by a hash
//! of all that tells it from others. A file is written without a name and linked when it is whole; nothing is synced,
//! since a torn file does not agree with its sums. Any doubt about a file means that the block is fetched from the server.
//! Readers take no lock.
//!
//! What is here knows files. Which blocks are sought, and by which threads, is the matter of `disk_work.rs`.

mod config;
mod directory;
mod entry;
mod face;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod health;
mod inventory;
mod key;
mod room;
mod seal;
mod store;
#[cfg(test)]
mod tests;
mod upkeep;
mod usage;

pub use config::{DiskConfig, DiskStatus};
pub use directory::DirectoryError;
pub use face::Disk;
pub use health::Times;
pub use inventory::{Cleared, Inventory, Kept, Left, Look, clear, take_inventory};

pub(super) use face::{Fault, Sought};
pub(super) use health::{Change, Health};
pub(super) use key::EntryKey;
pub(super) use upkeep::{Chore, Upkeep};
