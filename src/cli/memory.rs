//! How much memory blocks may take.

use std::fs;

use super::values::size;

/// A request for labels brings up to 16 MiB: with less, not even one answer fits.
const LEAST_MEMORY: usize = 16 << 20;

/// A quarter of what this machine has, at most 1 GiB and at least 64 MiB.
pub(super) fn default_memory() -> usize {
    (machine_memory().unwrap_or(1 << 30) / 4).clamp(64 << 20, 1 << 30)
}

/// Memory for blocks: a sum that this machine has, and enough for a few blocks of each connection.
pub(super) fn memory(text: &str) -> Result<usize, String> {
    let bytes = size(text)?;
    let all = machine_memory().unwrap_or(usize::MAX);
    if bytes < LEAST_MEMORY {
        return Err(format!("too little to hold the blocks of one request: write {}M or more", LEAST_MEMORY >> 20));
    }
    if bytes > all {
        return Err(format!("more than the {}M that this machine has: write less", all >> 20));
    }
    Ok(bytes)
}

/// Memory of this machine or of its control group, in bytes, if that is known.
fn machine_memory() -> Option<usize> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let kib: usize =
            text.lines().next()?.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    });
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    machine.into_iter().chain(group).min()
}
