//! What is done to a mount and to its server: lists of it, at random.

use dvidfs::demo::FaultKind;
use proptest::collection::vec;
use proptest::prelude::*;

/// A mount, and what happens to it.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) setting: Setting,
    pub(super) ops: Vec<Op>,
}

/// What is mounted, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    /// The open head; otherwise the locked root, of which all but one instance lasts for ever.
    pub(super) is_open: bool,
    pub(super) ttl_ms: u64,
    pub(super) has_disk: bool,
    pub(super) prefetch: bool,
    /// Memory for a few blocks only, so that they are forgotten and fetched again.
    pub(super) is_tight: bool,
}

/// A part of a file: numbers are taken modulo what there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) file: usize,
    /// The voxel of the data that it begins at, in 256ths of the data.
    pub(super) at: [u8; 3],
    /// Bytes that it begins before or behind that voxel.
    pub(super) shift: i8,
    pub(super) size: u32,
    /// Past the pages of the kernel, where there is one.
    pub(super) direct: bool,
}

/// One thing that is done.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// Several reads at once.
    Read(Vec<Window>),
    List(usize),
    Stat(usize),
    /// A name that is not there.
    Miss(usize),
    /// Other voxels, where a node allows that; some are being read meanwhile.
    Mutate(usize, Vec<Window>),
    /// The server ends while something is read, and starts again with the same data.
    Restart(Vec<Window>),
    /// The server ends and starts again with another instance under the name of one.
    RestartOther(usize, Vec<Window>),
    /// So many answers go wrong.
    Fault(usize, u64, Vec<Window>),
    DropCaches,
    /// The daemon dies while something is read, and is started again.
    Kill(Vec<Window>),
    /// Entries of the disk cache are damaged, each in its way; then memory is lost.
    Corrupt(Vec<(u16, Damage)>),
    /// Longer than a short ttl.
    Wait,
}

/// What becomes of a file of the disk cache.
#[derive(Clone, Copy, Debug)]
pub(super) enum Damage {
    FlippedBit(u16),
    Cut(u16),
    ZeroPage(u16),
    /// It changes places with another one.
    Swapped(u16),
    Removed,
    Symlink,
}

/// How answers go wrong, and whether a read may fail by that. Otherwise it is asked again until it is right.
pub(super) fn faults() -> Vec<(FaultKind, bool)> {
    use FaultKind as K;
    let status = |status| K::Status { status, retry_after: None };
    let patient = [
        status(503),
        K::Reset,
        K::Closed,
        K::ResetAtOnce,
        K::NoLastChunk,
        K::CutInChunk,
        K::HangBeforeHeaders { ms: 20 },
        K::HangAfterHeaders { ms: 20 },
        K::Stall { ms: 20 },
        K::Delay { ms: 20 },
        K::ClosedAfter,
        K::Permuted,
    ];
    let wrong = [
        status(400),
        status(404),
        status(500),
        K::Redirect { to: "http://127.0.0.1:1/".into() },
        K::LengthTooLarge,
        K::LengthTooSmall,
        K::TextAppended,
        K::ErrorMidStream,
        K::Html,
        K::OneShort,
        K::OneLong,
        K::CutHeader { left: 7 },
        K::StrangeBlock,
        K::DuplicateBlock,
        K::FrameLength { length: -1 },
        K::EmptyFrame,
        K::CutPayload,
        K::PayloadGarbage,
        K::PayloadTwice,
        K::FlippedBit { bit: 133 },
        K::FlippedBit { bit: 1003 },
        K::Banner,
        K::Encoded,
    ];
    patient.into_iter().map(|kind| (kind, false)).chain(wrong.into_iter().map(|kind| (kind, true))).collect()
}

/// Lists of so many operations.
pub(super) fn plans(longest: usize) -> impl Strategy<Value = Plan> {
    (settings(), vec(ops(), 1..=longest)).prop_map(|(setting, ops)| Plan { setting, ops })
}

fn settings() -> impl Strategy<Value = Setting> {
    let ttl_ms = prop_oneof![Just(0), Just(30), Just(3_600_000)];
    (any::<bool>(), ttl_ms, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(is_open, ttl_ms, has_disk, prefetch, is_tight)| Setting { is_open, ttl_ms, has_disk, prefetch, is_tight },
    )
}

fn ops() -> impl Strategy<Value = Op> {
    let some = || vec(windows(), 0..3);
    prop_oneof![
        16 => vec(windows(), 1..4).prop_map(Op::Read),
        1 => any::<usize>().prop_map(Op::List),
        1 => any::<usize>().prop_map(Op::Stat),
        1 => any::<usize>().prop_map(Op::Miss),
        4 => (any::<usize>(), some()).prop_map(|(n, meanwhile)| Op::Mutate(n, meanwhile)),
        1 => some().prop_map(Op::Restart),
        1 => (any::<usize>(), some()).prop_map(|(n, meanwhile)| Op::RestartOther(n, meanwhile)),
        2 => (any::<usize>(), 1_u64..5, vec(windows(), 1..3)).prop_map(|(n, count, all)| Op::Fault(n, count, all)),
        1 => Just(Op::DropCaches),
        1 => some().prop_map(Op::Kill),
        2 => vec((any::<u16>(), damages()), 1..6).prop_map(Op::Corrupt),
        1 => Just(Op::Wait),
    ]
}

fn windows() -> impl Strategy<Value = Window> {
    let size = prop_oneof![1_u32..64, 1_u32..5_000, 1_u32..60_000];
    (any::<usize>(), any::<[u8; 3]>(), any::<i8>(), size, any::<bool>())
        .prop_map(|(file, at, shift, size, direct)| Window { file, at, shift, size, direct })
}

fn damages() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => any::<u16>().prop_map(Damage::FlippedBit),
        2 => any::<u16>().prop_map(Damage::Cut),
        1 => any::<u16>().prop_map(Damage::ZeroPage),
        2 => any::<u16>().prop_map(Damage::Swapped),
        1 => Just(Damage::Removed),
        1 => Just(Damage::Symlink),
    ]
}
