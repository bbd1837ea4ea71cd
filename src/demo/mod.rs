//! A DVID-compatible server on loopback over a pure function, with a script of faults.
//!
//! Every byte that it serves follows from [`Dataset::voxel_at`], so everything read through it has an oracle; that may
//! be a user's own array, too. It shares
//! coordinates and voxels with the client and nothing else: the two must be able to disagree.

mod npy;
mod texture;

mod dataset;
mod instances;

mod google;
mod label_block;
mod wire;

mod bucket;
mod clock;
mod images;
mod info_json;
mod labels;
mod query;
mod records;
mod refs;
mod routes;

mod bomb;
mod damage;
mod delivery;
mod faults;
mod http;
mod label_damage;
mod patience;
mod ports;
mod server;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;

pub use dataset::{Dataset, InstanceSpec, Kind, Stored, VERSIONS, Version};
pub use faults::{Fault, FaultKind, LabelDamage};
pub use npy::{NpyError, NpyVolume};
pub use ports::lasting_port;
pub use server::{Demo, DemoOptions};
