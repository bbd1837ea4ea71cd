//! Bytes of a dense file, read part by part: a few rows of a wide volume touch more blocks than memory holds at once.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::cache::{BlockCache, BlockRequest, Blocks, FetchError, Reader};
use crate::geometry::{BlockIndex, Grid, VoxelBox};

use super::assemble::{Target, place};
use super::error::Error;
use super::read_voxels::{Channels, ThenBytes};
use super::spec::Level;

/// A read of a file on its way: what it has so far, and whom it answers.
pub(super) struct FileRead {
    /// The array's name, for people.
    pub(super) name: String,
    pub(super) cache: Arc<BlockCache>,
    pub(super) level: Level,
    pub(super) grid: Grid,
    /// What is asked for, but for the blocks.
    pub(super) request: BlockRequest,
    /// The voxels that are still to come, in boxes whose blocks fit into memory.
    pub(super) parts: Box<dyn Iterator<Item = VoxelBox> + Send>,
    pub(super) file_box: VoxelBox,
    pub(super) channels: Channels,
    pub(super) window: Range<usize>,
    /// The bytes of the window.
    pub(super) bytes: Vec<u8>,
    /// For whom it reads: the parts after the first are asked for on threads of the cache.
    pub(super) reader: Reader,
    pub(super) then: ThenBytes,
}

/// Where a part is. Nobody is asked or answered under the lock round it.
enum Turn {
    Asked,
    /// It came at once.
    Landed(Box<FileRead>),
    /// Whoever asked for it has gone: who brings it goes on.
    Left,
}

impl FileRead {
    /// Asks for part after part, and answers when all are there. Parts in memory are taken in a loop, so the stack does
    /// not grow with their number.
    pub(super) fn go_on(mut self: Box<Self>) {
        while !self.reader.has_left() {
            let Some(part) = self.parts.next() else { return (self.then)(Ok(self.bytes)) };
            let turn = Arc::new(Mutex::new(Turn::Asked));
            self.ask(part, Arc::clone(&turn));
            match replace(&turn, Turn::Left) {
                Turn::Landed(read) => self = read,
                Turn::Asked | Turn::Left => return,
            }
        }
    }

    fn ask(self: Box<Self>, part: VoxelBox, turn: Arc<Mutex<Turn>>) {
        let needed: Vec<_> = self.grid.blocks_covering(part).collect();
        let request = BlockRequest { blocks: needed.clone(), ..self.request.clone() };
        let (cache, reader) = (Arc::clone(&self.cache), self.reader.clone());
        let then = move |blocks| {
            let Some(read) = self.take_in(part, &needed, blocks) else { return };
            // Put there before it is known whether anybody waits for it, so that one of both sees the other.
            if let Turn::Left = replace(&turn, Turn::Landed(read))
                && let Turn::Landed(read) = replace(&turn, Turn::Left)
            {
                read.go_on();
            }
        };
        reader.begin(|| cache.get_many(request, Box::new(then)));
    }

    /// Puts a part in its place; `None` if there is no more to do, because it could not be had.
    fn take_in(
        mut self: Box<Self>,
        part: VoxelBox,
        needed: &[BlockIndex],
        blocks: Result<Blocks, FetchError>,
    ) -> Option<Box<Self>> {
        match blocks {
            Ok(blocks) => {
                let target = Target { bytes: &mut self.bytes, file_box: self.file_box, window: self.window.clone() };
                place(&self.level, (needed, &blocks), part, self.channels, target);
                Some(self)
            }
            Err(source) => {
                let Self { name, then, .. } = *self;
                then(Err(Error::Fetch { array: name, source }));
                None
            }
        }
    }
}

fn replace(turn: &Mutex<Turn>, with: Turn) -> Turn {
    std::mem::replace(&mut *turn.lock().unwrap_or_else(PoisonError::into_inner), with)
}
