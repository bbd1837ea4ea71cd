//! How long something may take.

use std::time::Duration;

/// A time that is promised, as tests assert it. Only who says so with `DVIDFS_SLACK`, on a machine that is known to be
/// slow, gets so many times as long.
pub fn promised(time: Duration) -> Duration {
    let factor = std::env::var("DVIDFS_SLACK").map_or(1.0, |text| {
        text.parse().ok().filter(|&factor: &f64| factor >= 1.0).unwrap_or_else(|| panic!("DVIDFS_SLACK={text}"))
    });
    time.mul_f64(factor)
}
