//! A process that mounts for another one, which is confined, and what the two say to each other.
//!
//! The one that asks talks to a server and may have been taken over by it: it chooses neither place nor options, and
//! gets one mount, which alone it can have unmounted.

use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, recv, recvmsg, sendmsg, setsockopt,
    socketpair, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use tracing::{debug, warn};

use crate::logging::Chain;
use crate::sys::received_descriptor;

use super::device::set_read_ahead;
use super::mount::{MountError, MountOptions, NewMount, detach_own, make_mount};
use super::mountinfo::mount_at;

/// Requests: one byte each, for there is nothing to choose.
const WORDS: u8 = b'w';
const MOUNT: u8 = b'm';
const READ_AHEAD: u8 = b'r';
const UNMOUNT: u8 = b'u';
/// How an answer begins: more of it will come, its end, or that it was refused, by the system or not.
const MORE: u8 = b'+';
const END: u8 = b'.';
const REFUSED: u8 = b'!';
const REFUSED_BY_SYSTEM: u8 = b'2';

/// Longer answers come in parts: a message takes memory of the kernel, which is limited.
const MOST_BYTES: usize = 32 << 10;
/// Who mounts does so in moments, also on a busy machine, or is stopped.
const LATE_S: i64 = 30;

/// A pair of sockets: that of the keeper, and that of the process which it keeps a mount for.
///
/// # Errors
/// If the system gives none.
pub fn keeper_sockets() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

/// The keeper, as seen by the process that it mounts for.
#[derive(Debug)]
pub struct Keeper(OwnedFd);

impl Keeper {
    /// The keeper at the other end of a socket.
    ///
    /// # Errors
    /// If it is no socket.
    pub fn at(socket: OwnedFd) -> io::Result<Self> {
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(LATE_S))?;
        Ok(Self(socket))
    }

    /// What was left for whoever mounts next.
    ///
    /// # Errors
    /// If the keeper is gone.
    pub fn words(&self) -> Result<String, MountError> {
        self.ask(WORDS).map(|(text, _)| String::from_utf8_lossy(&text).into_owned())
    }

    pub(super) fn mount(&self) -> Result<NewMount, MountError> {
        let (mountpoint, device) = self.ask(MOUNT)?;
        let mountpoint = PathBuf::from(OsString::from_vec(mountpoint));
        device.map(|device| NewMount { device, mountpoint }).ok_or(MountError::NoKeeper)
    }

    pub(super) fn set_read_ahead(&self) {
        if let Err(error) = self.ask(READ_AHEAD) {
            debug!(target: "dvidfs", op = "mount", cause = %error, "read-ahead stays as it is");
        }
    }

    pub(super) fn unmount(&self) -> Result<(), MountError> {
        self.ask(UNMOUNT).map(drop)
    }

    fn ask(&self, request: u8) -> Result<(Vec<u8>, Option<OwnedFd>), MountError> {
        send(&self.0, &[request], b"", None).map_err(|_| MountError::NoKeeper)?;
        let mut all = Vec::new();
        loop {
            let (bytes, descriptor) = receive(&self.0).map_err(|_| MountError::NoKeeper)?;
            let (&kind, text) = bytes.split_first().ok_or(MountError::NoKeeper)?;
            match kind {
                MORE => all.extend_from_slice(text),
                END => {
                    all.extend_from_slice(text);
                    return Ok((all, descriptor));
                }
                _ => {
                    let line = String::from_utf8_lossy(text).into_owned();
                    return Err(MountError::OfKeeper { line, is_of_the_system: kind == REFUSED_BY_SYSTEM });
                }
            }
        }
    }
}

/// What a keeper does for one process, all of it known before.
#[derive(Debug)]
pub struct Keeping {
    /// Where it mounts.
    pub mountpoint: PathBuf,
    /// How.
    pub options: MountOptions,
    /// What the process before it has left.
    pub words: String,
}

/// The mount that was made: its directory without symbolic links, and its device number.
type Made = (PathBuf, String);

impl Keeping {
    /// Does what is asked for over a socket, until its other end is closed.
    pub fn serve(&self, socket: &OwnedFd) {
        let mut made = None;
        let mut was_made = false;
        while let Ok(request) = receive_request(socket) {
            let sent = match request {
                None => return,
                Some(WORDS) => self.give_words(socket),
                Some(MOUNT) if was_made => send(socket, &[REFUSED], b"there was a mount already", None),
                Some(MOUNT) => {
                    let sent = self.give_mount(socket, &mut made);
                    was_made |= made.is_some();
                    sent
                }
                Some(READ_AHEAD) => {
                    if let (Some((_, device_number)), Some(kb)) = (&made, self.options.read_ahead_kb) {
                        set_read_ahead(device_number, kb);
                    }
                    send(socket, &[END], b"", None)
                }
                Some(UNMOUNT) => match made.as_ref().map_or(Ok(()), unmount) {
                    Ok(()) => {
                        // What comes to the same place later is somebody else's.
                        made = None;
                        send(socket, &[END], b"", None)
                    }
                    Err(why) => send(socket, &[REFUSED], why.as_bytes(), None),
                },
                Some(_) => send(socket, &[REFUSED], b"no such request", None),
            };
            if sent.is_err() {
                return;
            }
        }
    }

    fn give_words(&self, socket: &OwnedFd) -> nix::Result<()> {
        for part in self.words.as_bytes().chunks(MOST_BYTES) {
            send(socket, &[MORE], part, None)?;
        }
        send(socket, &[END], b"", None)
    }

    fn give_mount(&self, socket: &OwnedFd, made: &mut Option<Made>) -> nix::Result<()> {
        match self.make() {
            Ok((device, new)) => {
                let sent = send(socket, &[END], new.0.as_os_str().as_bytes(), Some(device.as_raw_fd()));
                let new = made.insert(new);
                if sent.is_err() {
                    // Nobody would ever serve it.
                    drop(device);
                    unmount(new).unwrap_or_else(|why| warn!(target: "dvidfs", op = "unmount", cause = %why));
                }
                sent
            }
            Err(error) => {
                let kind = if error.is_of_the_system() { REFUSED_BY_SYSTEM } else { REFUSED };
                let line = Chain(&error).to_string();
                send(socket, &[kind], &line.as_bytes()[..line.len().min(MOST_BYTES)], None)
            }
        }
    }

    fn make(&self) -> Result<(OwnedFd, Made), MountError> {
        let NewMount { device, mountpoint } = make_mount(&self.mountpoint, &self.options)?;
        // What cannot be found again could not be unmounted.
        let lost = || MountError::NotMounted(mountpoint.clone());
        let entry = mount_at(&mountpoint).ok().flatten().filter(|entry| entry.is_ours()).ok_or_else(lost)?;
        Ok((device, (mountpoint, entry.device)))
    }
}

fn unmount((mountpoint, device_number): &Made) -> Result<(), String> {
    detach_own(mountpoint, device_number)
}

/// Sends one message.
fn send(socket: &OwnedFd, kind: &[u8], text: &[u8], descriptor: Option<RawFd>) -> nix::Result<()> {
    let descriptors: Vec<_> = descriptor.into_iter().collect();
    let control = [ControlMessage::ScmRights(&descriptors)];
    let control = if descriptors.is_empty() { &control[..0] } else { &control[..] };
    let parts = [IoSlice::new(kind), IoSlice::new(text)];
    loop {
        match sendmsg::<UnixAddr>(socket.as_raw_fd(), &parts, control, MsgFlags::MSG_NOSIGNAL, None) {
            Err(Errno::EINTR) => {}
            sent => return sent.map(drop),
        }
    }
}

/// Receives a request; `None` if the other end is closed. What comes beside it, such as descriptors, is not received.
fn receive_request(socket: &OwnedFd) -> nix::Result<Option<u8>> {
    let mut bytes = [0];
    loop {
        match recv(socket.as_raw_fd(), &mut bytes, MsgFlags::empty()) {
            Err(Errno::EINTR) => {}
            received => return received.map(|n_bytes| (n_bytes > 0).then_some(bytes[0])),
        }
    }
}

/// Receives one message; an empty one if the other end is closed.
fn receive(socket: &OwnedFd) -> nix::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut bytes = vec![0; MOST_BYTES + 1];
    let mut space = nix::cmsg_space!(RawFd);
    loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let (n_bytes, descriptor) = match recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags) {
            Ok(message) => (message.bytes, received_descriptor(message.cmsgs()?)),
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno),
        };
        bytes.truncate(n_bytes);
        return Ok((bytes, descriptor));
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn kept(mountpoint: &str, words: &str, ask: impl FnOnce(&Keeper)) {
        let (ours, theirs) = keeper_sockets().unwrap();
        let keeping =
            Keeping { mountpoint: mountpoint.into(), options: MountOptions::default(), words: words.to_owned() };
        let serving = thread::spawn(move || keeping.serve(&ours));
        ask(&Keeper::at(theirs).unwrap());
        serving.join().unwrap();
    }

    #[test]
    fn words_of_any_length_are_given_whole() {
        for n in [0, 1, MOST_BYTES, 20 * MOST_BYTES + 7] {
            let words = "0123456 ".repeat(n.div_ceil(8));
            kept("/", &words, |keeper| {
                assert!(keeper.words().unwrap() == words, "{n}");
                assert!(keeper.words().unwrap() == words, "{n}, once more");
            });
        }
    }

    #[test]
    fn what_a_keeper_cannot_do_is_told_as_it_would_be_by_ourselves() {
        kept("/nowhere/at/all", "", |keeper| {
            let told = keeper.mount().unwrap_err();
            assert_eq!(told.to_string(), MountError::Missing("/nowhere/at/all".into()).to_string());
            assert!(!told.is_of_the_system());
            keeper.set_read_ahead();
            keeper.unmount().expect("nothing was mounted");
            // Nobody can ask for anything else.
            for other in [b'x', 0, b'W'] {
                let refused = keeper.ask(other).unwrap_err();
                assert_eq!(refused.to_string(), "no such request");
            }
        });
        let of_the_system = MountError::OfKeeper { line: "no /dev/fuse".into(), is_of_the_system: true };
        assert!(of_the_system.is_of_the_system() && of_the_system.to_string() == "no /dev/fuse");
    }

    #[test]
    fn what_comes_beside_a_request_is_not_kept() {
        let (mut reader, writer) = io::pipe().unwrap();
        kept("/nowhere/at/all", "", |keeper| {
            let many = [writer.as_raw_fd(); 8];
            let control = [ControlMessage::ScmRights(&many)];
            let parts = [IoSlice::new(&[WORDS; 100_000])];
            sendmsg::<UnixAddr>(keeper.0.as_raw_fd(), &parts, &control, MsgFlags::MSG_NOSIGNAL, None).unwrap();
            assert_eq!(receive(&keeper.0).unwrap().0, [END], "one request, whatever its length");
            drop(writer);
            // The end of the pipe comes only if nobody else has it.
            assert_eq!(io::Read::read(&mut reader, &mut [0]).unwrap(), 0);
        });
    }

    #[test]
    fn a_keeper_that_is_gone_is_an_error_at_once() {
        let (ours, theirs) = keeper_sockets().unwrap();
        let keeper = Keeper::at(theirs).unwrap();
        drop(ours);
        assert!(matches!(keeper.words(), Err(MountError::NoKeeper)));
        assert!(matches!(keeper.mount(), Err(MountError::NoKeeper)));
        assert!(matches!(keeper.unmount(), Err(MountError::NoKeeper)));
    }
}
