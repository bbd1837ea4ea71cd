//! How much memory a call takes at its peak.

/// 1024 bytes.
pub(crate) const KIB: usize = 1024;

/// What a call gave, and the most memory that it held beyond what was held before, in bytes.
#[derive(Debug)]
pub(crate) struct Peak<T> {
    pub(crate) result: T,
    bytes: usize,
}

impl<T> Peak<T> {
    pub(crate) fn of(call: impl FnOnce() -> T) -> Self {
        let mut result = None;
        let measured = allocation_counter::measure(|| result = Some(call()));
        let bytes = usize::try_from(measured.bytes_max).unwrap_or(usize::MAX);
        Self { result: result.expect("the call was made"), bytes }
    }

    /// The result, if it took no more than this.
    #[track_caller]
    pub(crate) fn at_most(self, limit: usize) -> T {
        assert!(self.bytes <= limit, "{} bytes where {limit} are enough", self.bytes);
        self.result
    }
}
