//! A read of a file of voxels, put together from its pieces.

use std::sync::{Arc, Mutex, PoisonError};

use crate::array::{self, Error, ReadVoxels};
use crate::layout::{Piece, VoxelPiece};

use super::checks::Checks;

/// Where the pieces of a file come from.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    /// The file's.
    pub(super) inode: u64,
    pub(super) array: &'a Arc<dyn ReadVoxels>,
    pub(super) checks: &'a Checks,
}

/// The pieces of one read while they come in. Whoever brings the last one answers.
struct Assembly {
    state: Mutex<State>,
}

/// The lock guards bytes in memory; nobody is answered under it.
struct State {
    bytes: Vec<u8>,
    n_missing: usize,
    failed: Option<Error>,
    then: Option<array::ThenBytes>,
}

/// Reads pieces of a file and joins them: `then` gets their bytes one behind the other, or the first error.
///
/// Never blocks. `then` is called exactly once, inline if nothing has to be fetched.
pub(super) fn read_pieces(source: Source<'_>, mut pieces: Vec<Piece>, then: array::ThenBytes) {
    // Most reads lie in one box of voxels, and need no copy.
    if pieces.len() == 1
        && let Some(piece) = pieces.pop()
    {
        return read_any(source, piece, then);
    }
    let n_bytes = pieces.iter().map(n_bytes_of).sum();
    // One more than the pieces: nothing is answered before all are asked for.
    let n_missing = 1 + pieces.len();
    let state = State { bytes: vec![0; n_bytes], n_missing, failed: None, then: Some(then) };
    let assembly = Arc::new(Assembly { state: Mutex::new(state) });
    let mut at = 0;
    for piece in pieces {
        let begin = at;
        at += n_bytes_of(&piece);
        let assembly = Arc::clone(&assembly);
        read_any(source, piece, Box::new(move |result| assembly.land(begin, result)));
    }
    assembly.land(at, Ok(Vec::new()));
}

fn read_any(source: Source<'_>, piece: Piece, then: array::ThenBytes) {
    match piece {
        Piece::Bytes(bytes) => then(Ok(bytes)),
        Piece::Voxels(piece) => read_piece(source.array.as_ref(), piece, then),
        Piece::Checks(piece) => source.checks.read(source, piece, then),
    }
}

/// Reads the voxels of one piece; `then` gets exactly the file's bytes that come from them.
pub(super) fn read_piece(array: &dyn ReadVoxels, piece: VoxelPiece, then: array::ThenBytes) {
    let wanted = piece.wanted().clone();
    let n_wanted = wanted.window.end - wanted.window.start;
    array.read_bytes(
        wanted,
        Box::new(move |result| {
            then(result.and_then(|voxels| match voxels.len() as u64 {
                got if got == n_wanted => Ok(piece.encode(voxels)),
                // The kernel would take a short answer for the end of the file.
                got => Err(Error::WrongLength { got, wanted: n_wanted }),
            }));
        }),
    );
}

impl Assembly {
    /// Takes in a piece that was waited for, and answers if it was the last.
    fn land(&self, begin: usize, result: Result<Vec<u8>, Error>) {
        let answer = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            match result {
                Ok(bytes) => state.bytes[begin..begin + bytes.len()].copy_from_slice(&bytes),
                Err(error) => {
                    state.failed.get_or_insert(error);
                }
            }
            state.n_missing -= 1;
            if state.n_missing > 0 {
                return;
            }
            let bytes = std::mem::take(&mut state.bytes);
            state.then.take().map(|then| (then, state.failed.take().map_or(Ok(bytes), Err)))
        };
        if let Some((then, result)) = answer {
            then(result);
        }
    }
}

fn n_bytes_of(piece: &Piece) -> usize {
    match piece {
        Piece::Bytes(bytes) => bytes.len(),
        Piece::Voxels(piece) => piece.n_bytes(),
        Piece::Checks(piece) => piece.n_bytes(),
    }
}
