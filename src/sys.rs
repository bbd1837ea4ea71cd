//! The only `unsafe` of the crate.
#![allow(unsafe_code)]

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::ControlMessageOwned;

/// The descriptor that came with a message over a socket, the first of them if several came; the others are closed.
#[must_use]
pub(crate) fn received_descriptor(messages: impl Iterator<Item = ControlMessageOwned>) -> Option<OwnedFd> {
    let mut received = messages.flat_map(|message| {
        if let ControlMessageOwned::ScmRights(descriptors) = message { descriptors } else { Vec::new() }
    });
    let owned = |descriptor: RawFd| {
        // SAFETY: the kernel made this descriptor for us when the message was received, nobody else knows it, and
        // the message that named it is consumed here.
        unsafe { OwnedFd::from_raw_fd(descriptor) }
    };
    let first = received.next().map(owned);
    received.map(owned).for_each(drop);
    first
}

/// Programs that are started from now on get none of our open files but their standard ones.
pub(crate) fn close_inherited() {
    let flags = libc::CLOSE_RANGE_CLOEXEC.cast_signed();
    // SAFETY: no descriptor is closed here, each stays as it is for this process.
    unsafe { libc::close_range(3, libc::c_uint::MAX, flags) };
}

/// Keeps the heap near what is in use: by default each thread keeps freed blocks of voxels in a heap of its own.
///
/// Memory of 4 MiB and more goes back to the system at once. Decoded label blocks have 2 MiB: mapping fresh pages for
/// each of them takes longer than to decode it. To be called before the first thread starts.
#[cfg(target_env = "gnu")]
pub(crate) fn bound_heap() {
    for (parameter, value) in
        [(libc::M_ARENA_MAX, 2), (libc::M_MMAP_THRESHOLD, 4 << 20), (libc::M_TRIM_THRESHOLD, 4 << 20)]
    {
        // SAFETY: mallopt takes two integers and changes how the allocator works, not what it has given out.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Other C libraries return memory by themselves.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn bound_heap() {}
