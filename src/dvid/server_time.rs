//! Times as servers write them: Go's own text, Go's durations, RFC 3339, and the dates of HTTP.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Unix seconds of Go's `time.String()` (`2026-11-23 22:24:08.9 +0000 UTC m=+14.6`) or RFC 3339.
#[must_use]
pub fn unix_seconds(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let [year, month, day] = numbers(date, '-')?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let [hour, minute, second] = numbers(clock, ':')?;
    let zone = rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit()).trim_start();
    let days = days_from_civil(year, month, day)?;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second - offset_seconds(zone)?)
}

/// Unix seconds of a date of HTTP: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(super) fn http_date_seconds(text: &str) -> Option<i64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let words: Vec<_> = text.split_ascii_whitespace().collect();
    let &[_, day, month, year, clock, "GMT"] = words.as_slice() else { return None };
    let month = i64::try_from(MONTHS.find(month).filter(|_| month.len() == 3)?).ok()? / 3 + 1;
    let [hour, minute, second] = numbers(clock, ':')?;
    let days = days_from_civil(year.parse().ok()?, month, day.parse().ok()?)?;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// A Go duration: `1h2m3.5s`, `72.3ms`, `15µs`.
pub(super) fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let number: f64 = rest[..end].parse().ok()?;
        let unit_end = rest[end..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |n| end + n);
        seconds += number
            * match &rest[end..unit_end] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" | "μs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[unit_end..];
    }
    Duration::try_from_secs_f64(seconds).ok()
}

/// Seconds since 1970 by the clock of this machine.
pub(super) fn now_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The moment, as `2026-11-23T22:24:08Z`, of these unix seconds.
#[must_use]
pub fn time_of_unix_seconds(seconds: i64) -> String {
    let of_day = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{}T{hour:02}:{minute:02}:{second:02}Z", date_of_unix_seconds(seconds))
}

/// The day, as `2026-11-23`, of these unix seconds.
pub(super) fn date_of_unix_seconds(seconds: i64) -> String {
    // As days of a calendar whose years begin in March, so that a leap day comes last.
    let days = seconds.div_euclid(86_400) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era + i64::from(month >= 10);
    format!("{year:04}-{:02}-{day:02}", if month < 10 { month + 3 } else { month - 9 })
}

fn numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text.split(separator).map(|part| part.parse::<u32>().ok().map(i64::from));
    let three = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(three)
}

/// `Z`, `UTC`, `+hh:mm` or `+hhmm`, whatever follows.
fn offset_seconds(zone: &str) -> Option<i64> {
    if zone.is_empty() || zone.starts_with(['Z', 'z']) || zone.starts_with("UTC") {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let digits: String = zone.strip_prefix(['+', '-'])?.chars().filter(|c| *c != ':').take(4).collect();
    let digits: i64 = digits.parse::<u32>().ok()?.into();
    Some(sign * (digits / 100 * 3600 + digits % 100 * 60))
}

/// Days since 1970-01-01 in the Gregorian calendar, counted in years that begin in March.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    let sensible = (1..=12).contains(&month) && (1..=31).contains(&day) && (0..=9999).contains(&year);
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    sensible.then_some(era * 146_097 + day_of_era - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_that_of_its_seconds() {
        for date in ["1970-01-01", "1969-12-31", "2000-02-29", "2024-12-31", "2100-03-01", "2026-11-23"] {
            let seconds = unix_seconds(&format!("{date}T23:59:59Z")).unwrap();
            assert_eq!(date_of_unix_seconds(seconds), date);
            assert_eq!(date_of_unix_seconds(seconds - 86_399), date);
            assert_eq!(time_of_unix_seconds(seconds), format!("{date}T23:59:59Z"));
        }
    }

    #[test]
    fn times_of_a_server_are_read() {
        // Oracle: `date -u -d ... +%s`.
        for (text, seconds) in [
            ("2026-11-23 22:24:08.91956209 +0000 UTC m=+14.667378569", 1_795_472_648),
            ("2026-11-23T17:24:08.9-05:00", 1_795_472_648),
            ("2026-11-24 03:54:08 +0530 IST", 1_795_472_648),
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2024-12-31T23:59:59.999Z", 1_735_689_599),
        ] {
            assert_eq!(unix_seconds(text), Some(seconds), "{text}");
        }
        assert_eq!(http_date_seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
    }

    #[test]
    fn durations_of_go_are_read() {
        for (text, millis) in
            [("14.5s", 14_500), ("1h2m3.5s", 3_723_500), ("72ms", 72), ("240h0m0s", 864_000_000), ("0s", 0)]
        {
            assert_eq!(go_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(go_duration("15µs"), Some(Duration::from_micros(15)));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "yesterday",
            "2026-13-01T00:00:00Z",
            "2026-11-23",
            "2026-11-23T99",
            "é026-11-23T00:00:00Z",
            "2026-11-23T00:00:00X",
        ] {
            assert_eq!(unix_seconds(text), None, "{text}");
        }
        for text in ["", "s", "1", "-1s", "1y", "1e400s", "é"] {
            assert_eq!(go_duration(text), None, "{text}");
        }
        assert_eq!(http_date_seconds("Sunday"), None);
    }
}
