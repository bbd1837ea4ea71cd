//! Bodies of the fuzz targets: what any input must not make of a decoder, a name or a sum.
//!
//! `cargo fuzz` compiles the crate with `cfg(fuzzing)` and calls them by name; plain tests replay seeds and the kept
//! corpus on them. They stand beside the private code that they are about, so nothing is made public for their sake: a
//! build with neither cfg does not have them, where a cargo feature would be one that anybody may switch on.
//! A body panics if what it asserts does not hold.

mod input;
mod peak;

#[cfg(test)]
mod tests;

/// Under Miri, a thousand times slower than a processor, tests try one of so many inputs that are alike.
#[cfg(test)]
pub(crate) const STEP: usize = if cfg!(miri) { 17 } else { 1 };

pub(crate) use input::Input;
pub(crate) use peak::{KIB, Peak};

/// One fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which its corpus has too.
    pub name: &'static str,
    /// Asserts what must hold for these bytes, whatever they are.
    pub run: fn(&[u8]),
    /// Inputs made by our own encoders and the demo server: without them no fuzzer finds its way in.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    crate::dvid::fuzz::LABEL_BLOCK,
    crate::dvid::fuzz::BLOCK_STREAM,
    crate::dvid::fuzz::INFLATE,
    crate::dvid::fuzz::INSTANCE_INFO,
    crate::dvid::fuzz::REPO_INFO,
    crate::vfs::fuzz::NAME_CODEC,
    crate::layout::fuzz::PATH_TO_CHUNK,
    crate::layout::fuzz::ROI_MATH,
    crate::cache::disk::fuzz::CACHE_ENTRY,
    crate::dvid::fuzz::HTTP_REPLY,
    crate::dvid::fuzz::CLI_REF,
];

/// The target of this name.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn target(name: &str) -> Target {
    *TARGETS.iter().find(|target| target.name == name).expect("a target of this name")
}
