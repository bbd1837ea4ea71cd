//! Who waits for a read.

use std::fmt::Debug;

/// Who waits for a read. Asked before a long piece of work goes on, so that nothing is read for the dead.
pub trait Reader: Debug + Send + Sync {
    /// Whether the answer is still of use to anybody.
    fn is_waiting(&self) -> bool;
}

/// A reader that waits for as long as it takes.
#[derive(Debug)]
pub(super) struct Patient;

impl Reader for Patient {
    fn is_waiting(&self) -> bool {
        true
    }
}
