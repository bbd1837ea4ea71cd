//! Times as Go writes them.

use std::time::{SystemTime, UNIX_EPOCH};

/// `2026-11-23 22:24:08.919562090`, in UTC.
pub(super) fn server_time() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (date, clock) = date_and_clock(now.as_secs());
    format!("{date} {clock}.{:09}", now.subsec_nanos())
}

/// `2026-11-23T22:24:08Z` of these seconds since 1970.
pub(super) fn rfc3339(seconds: u64) -> String {
    let (date, clock) = date_and_clock(seconds);
    format!("{date}T{clock}Z")
}

fn date_and_clock(seconds: u64) -> (String, String) {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    (format!("{year:04}-{month:02}-{day:02}"), format!("{hour:02}:{minute:02}:{second:02}"))
}

/// Year, month and day of a number of days since 1970 (Hinnant's algorithm, for days after 1970).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// `1h2m3.5s` as Go writes it.
pub(super) fn go_duration(duration: std::time::Duration) -> String {
    let (minutes, seconds) = (duration.as_secs() / 60, duration.as_secs_f64() % 60.0);
    match (minutes / 60, minutes % 60) {
        (0, 0) if duration.as_millis() < 1000 => format!("{}ms", duration.as_secs_f64() * 1000.0),
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        for (days, date) in
            [(0, (1970, 1, 1)), (19_782, (2024, 2, 29)), (20_781, (2026, 11, 24)), (20_818, (2026, 12, 31))]
        {
            assert_eq!(civil(days), date);
        }
    }

    #[test]
    fn uptimes_are_go_durations() {
        for (millis, text) in [(250, "250ms"), (14_500, "14.5s"), (61_500, "1m1.5s"), (3_600_000, "1h0m0s")] {
            assert_eq!(go_duration(std::time::Duration::from_millis(millis)), text);
        }
    }
}
