//! Every way in which a program can ask the kernel for bytes of a file.

use std::fs::{File, OpenOptions};
use std::io::{IoSliceMut, Read};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Advice, MemfdFlags, SeekFrom};
use rustix::io::{Errno, ReadWriteFlags};
use rustix::pipe::SpliceFlags;

use super::mapper::Mapper;
use crate::support::Random;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Call {
    Pread,
    Read,
    Readv,
    Preadv,
    Preadv2,
    Mapped,
    Sendfile,
    /// What the kernel refuses between file systems (EXDEV): then no byte of it is compared.
    CopyFileRange,
    Splice,
    Direct,
    DirectUnaligned,
    DontNeed,
    Reopened,
    Duplicated,
    Forked,
    SeekDataHole,
}

pub(super) const CALLS: [Call; 16] = [
    Call::Pread,
    Call::Read,
    Call::Readv,
    Call::Preadv,
    Call::Preadv2,
    Call::Mapped,
    Call::Sendfile,
    Call::CopyFileRange,
    Call::Splice,
    Call::Direct,
    Call::DirectUnaligned,
    Call::DontNeed,
    Call::Reopened,
    Call::Duplicated,
    Call::Forked,
    Call::SeekDataHole,
];

/// The longest read.
const MOST_BYTES: u64 = 16 << 20;

/// Bytes of a file that are asked for; perhaps beyond its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) offset: u64,
    pub(super) size: u64,
}

impl Range {
    /// None, few and many, aligned and not, within and beyond the end.
    pub(super) fn any(random: &mut Random, n_bytes: u64) -> Self {
        // As many of each order of magnitude.
        let magnitude = 1 << random.below(25);
        let size = (random.below(16).min(1) * (1 + random.below(magnitude))).min(MOST_BYTES);
        let offset = match random.below(10) {
            0 => 0,
            1 => n_bytes.saturating_sub(random.below(5000)),
            2 => n_bytes + random.below(100_000),
            3..6 => random.below(n_bytes + 1) & !4095,
            _ => random.below(n_bytes + 1),
        };
        Self { offset, size }
    }

    /// The part that a file of so many bytes has.
    pub(super) fn within(self, n_bytes: u64) -> std::ops::Range<usize> {
        let at = |n: u64| usize::try_from(n.min(n_bytes)).unwrap();
        at(self.offset)..at(self.offset.saturating_add(self.size))
    }
}

/// A file that a thread reads, and what it reads it with.
pub(super) struct Reading<'a> {
    pub(super) path: &'a Path,
    pub(super) file: &'a mut File,
    pub(super) mapper: &'a mut Mapper,
    pub(super) n_bytes: u64,
    /// Whether the kernel keeps pages of it from one open to the next.
    pub(super) is_kept: bool,
}

impl Reading<'_> {
    /// The bytes that a call gives; `None` if the kernel knows no such call here.
    pub(super) fn run(&mut self, call: Call, range: Range, random: &mut Random) -> Result<Option<Vec<u8>>, Errno> {
        let given = match call {
            Call::Pread => self.pread(range),
            Call::Read => self.file.at(range.offset)?.read_to(range.size),
            Call::Readv => {
                self.file.at(range.offset)?;
                scattered(range.size, random, |parts| rustix::io::readv(&*self.file, parts))
            }
            Call::Preadv => scattered(range.size, random, |parts| rustix::io::preadv(&*self.file, parts, range.offset)),
            Call::Preadv2 => scattered(range.size, random, |parts| {
                rustix::io::preadv2(&*self.file, parts, range.offset, ReadWriteFlags::HIPRI)
            }),
            Call::Mapped => {
                let held = range.within(self.n_bytes);
                self.mapper.read(self.path, held, random.below(5), self.is_kept && random.below(2) == 0)
            }
            Call::Sendfile => self.sendfile(range),
            Call::CopyFileRange => return self.copy_file_range(range),
            Call::Splice => self.splice(range),
            Call::Direct | Call::DirectUnaligned => self.direct(Self::asked(call, range)),
            Call::DontNeed => {
                rustix::fs::fadvise(&*self.file, range.offset, NonZeroU64::new(range.size), Advice::DontNeed)?;
                self.pread(range)
            }
            Call::Reopened => {
                *self.file = File::open(self.path).map_err(errno)?;
                self.pread(range)
            }
            Call::Duplicated => {
                // Both have one position.
                rustix::io::dup(&*self.file)
                    .and_then(|other| rustix::fs::seek(other, SeekFrom::Start(range.offset)))?;
                self.file.read_to(range.size)
            }
            Call::Forked => self.forked(range),
            Call::SeekDataHole => {
                self.seek(range.offset);
                self.pread(range)
            }
        };
        given.map(Some)
    }

    /// What range a call really asks for.
    pub(super) fn asked(call: Call, range: Range) -> Range {
        if call == Call::Direct {
            return Range { offset: range.offset & !4095, size: range.size.next_multiple_of(4096) };
        }
        range
    }

    fn pread(&self, range: Range) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0xEE; usize::try_from(range.size).unwrap()];
        let n = rustix::io::pread(&*self.file, &mut bytes[..], range.offset)?;
        bytes.truncate(n);
        Ok(bytes)
    }

    fn direct(&self, range: Range) -> Result<Vec<u8>, Errno> {
        let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_DIRECT).open(self.path).map_err(errno)?;
        let mut bytes = vec![0xEE; usize::try_from(range.size).unwrap()];
        let n = rustix::io::pread(file, &mut bytes[..], range.offset)?;
        bytes.truncate(n);
        Ok(bytes)
    }

    /// Into a file in memory.
    fn sendfile(&self, range: Range) -> Result<Vec<u8>, Errno> {
        let copy = rustix::fs::memfd_create("copy", MemfdFlags::CLOEXEC)?;
        let mut at = range.offset;
        let end = range.offset + range.size;
        while at < end {
            let left = count(end - at);
            if rustix::fs::sendfile(&copy, &*self.file, Some(&mut at), left)? == 0 {
                break;
            }
        }
        contents(copy.into())
    }

    fn copy_file_range(&self, range: Range) -> Result<Option<Vec<u8>>, Errno> {
        let copy = rustix::fs::memfd_create("copy", MemfdFlags::CLOEXEC)?;
        let (mut at, mut to) = (range.offset, 0);
        let end = range.offset + range.size;
        while at < end {
            let left = count(end - at);
            match rustix::fs::copy_file_range(&*self.file, Some(&mut at), &copy, Some(&mut to), left) {
                Ok(0) => break,
                Ok(_) => {}
                Err(Errno::XDEV) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        contents(copy.into()).map(Some)
    }

    /// Into a pipe, as much at once as it holds.
    fn splice(&self, range: Range) -> Result<Vec<u8>, Errno> {
        let (out, into) = rustix::pipe::pipe()?;
        let (mut out, mut bytes, mut at) = (File::from(out), Vec::new(), range.offset);
        let end = range.offset + range.size;
        while at < end {
            let left = count(end - at);
            let n = rustix::pipe::splice(&*self.file, Some(&mut at), &into, None, left, SpliceFlags::empty())?;
            if n == 0 {
                break;
            }
            let before = bytes.len();
            bytes.resize(before + n, 0xEE);
            out.read_exact(&mut bytes[before..]).unwrap();
        }
        Ok(bytes)
    }

    /// By a program that was given the open file.
    fn forked(&mut self, range: Range) -> Result<Vec<u8>, Errno> {
        let file = self.file.at(range.offset)?.try_clone().map_err(errno)?;
        let mut command = Command::new("head");
        command.arg("-c").arg(range.size.to_string()).stdin(Stdio::from(file)).stderr(Stdio::inherit());
        let given = command.output().map_err(errno)?;
        assert!(given.status.success(), "head of {}: {:?}", self.path.display(), given.status);
        Ok(given.stdout)
    }

    /// A file has data up to its end, and a hole there.
    fn seek(&self, offset: u64) {
        let sought = [SeekFrom::Data(offset), SeekFrom::Hole(offset)].map(|to| rustix::fs::seek(&*self.file, to));
        let expected = if offset < self.n_bytes { [Ok(offset), Ok(self.n_bytes)] } else { [Err(Errno::NXIO); 2] };
        assert_eq!(sought, expected, "{} of {} bytes at {offset}", self.path.display(), self.n_bytes);
    }
}

/// Reads at the position of a file.
trait AtPosition {
    fn at(&mut self, offset: u64) -> Result<&mut Self, Errno>;
    fn read_to(&mut self, size: u64) -> Result<Vec<u8>, Errno>;
}

impl AtPosition for File {
    fn at(&mut self, offset: u64) -> Result<&mut Self, Errno> {
        rustix::fs::seek(&*self, SeekFrom::Start(offset)).map(|_| self)
    }

    /// By one call.
    fn read_to(&mut self, size: u64) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0xEE; usize::try_from(size).unwrap()];
        let n = rustix::io::read(&*self, &mut bytes[..])?;
        bytes.truncate(n);
        Ok(bytes)
    }
}

/// One call into several buffers of odd sizes.
fn scattered(
    size: u64,
    random: &mut Random,
    read: impl FnOnce(&mut [IoSliceMut<'_>]) -> Result<usize, Errno>,
) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0xEE; usize::try_from(size).unwrap()];
    let (mut rest, mut parts) = (&mut bytes[..], Vec::new());
    while !rest.is_empty() && parts.len() < 7 {
        let (part, behind) = rest.split_at_mut(usize::try_from(1 + random.below(rest.len() as u64)).unwrap());
        parts.push(IoSliceMut::new(part));
        rest = behind;
    }
    parts.push(IoSliceMut::new(rest));
    let n = read(&mut parts)?;
    bytes.truncate(n);
    Ok(bytes)
}

fn count(n: u64) -> usize {
    usize::try_from(n).unwrap()
}

fn contents(file: File) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; count(file.metadata().map_err(errno)?.len())];
    file.read_exact_at(&mut bytes, 0).map_err(errno)?;
    Ok(bytes)
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
