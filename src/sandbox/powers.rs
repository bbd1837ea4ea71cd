//! What a process of root may do that no other may: devices, memory of the kernel, signals to anybody, owners of files.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// Files of others are read and written by root: those that Landlock lets through may be some of them.
const KEPT: CapabilitySet = CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::DAC_READ_SEARCH);

pub(super) fn restrict() -> io::Result<()> {
    let kept = capabilities(None)?.permitted & KEPT;
    let none = CapabilitySet::empty();
    Ok(set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: none })?)
}
