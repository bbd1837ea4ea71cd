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
