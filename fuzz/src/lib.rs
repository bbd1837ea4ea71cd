//! What all fuzz targets share.

use std::path::Path;

pub use libfuzzer_sys;

/// The fuzz target of this name: its body stands in the crate `dvidfs`, beside what it is about.
#[macro_export]
macro_rules! fuzz {
    ($name:literal) => {
        $crate::libfuzzer_sys::fuzz_target!(
            init: $crate::begin($name),
            |bytes: &[u8]| (dvidfs::fuzz::target($name).run)(bytes)
        );
    };
}

/// Writes the seeds of a target into the directory that `DVIDFS_FUZZ_SEEDS` names, before the corpus is read.
///
/// # Panics
/// If they cannot be written: without seeds nothing is found.
pub fn begin(name: &str) {
    let Some(directory) = std::env::var_os("DVIDFS_FUZZ_SEEDS") else { return };
    for (n, seed) in (dvidfs::fuzz::target(name).seeds)().into_iter().enumerate() {
        std::fs::write(Path::new(&directory).join(format!("seed-{n:03}")), seed).expect("seeds can be written");
    }
}
