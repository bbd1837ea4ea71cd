//! Sizes, times and boxes as people write them.

use std::path::PathBuf;
use std::time::Duration;

use crate::dvid::unix_seconds;
use crate::geometry::{Coordinate, Scale, VoxelBox};

/// Bytes: `512M`, `1G`, `1.5GiB`, `800000`. Powers of 1024.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let (number, unit) = split_unit(text);
    let factor: u64 = match unit.to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b') {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        _ => return Err("write a size such as 512M or 4G".into()),
    };
    #[allow(clippy::cast_precision_loss)] // A factor is a power of two.
    let bytes = number.parse::<f64>().map_err(|_| "write a size such as 512M or 4G")? * factor as f64;
    if !(0.0..9e15).contains(&bytes) {
        return Err("write a size such as 512M or 4G".into());
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Just checked.
    Ok(bytes as usize)
}

/// Permissions as `umask` has them: `022`, `0o27`.
pub(super) fn umask(text: &str) -> Result<u16, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let is_octal = (1..=4).contains(&digits.len()) && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    match u16::from_str_radix(digits, 8) {
        Ok(mask) if is_octal && mask <= 0o777 => Ok(mask),
        Ok(_) | Err(_) => Err("not three octal digits, such as 027".to_owned()),
    }
}

/// A part of something: `5%`, `0.05`.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let (number, whole) = text.trim().strip_suffix('%').map_or((text.trim(), 1.0), |percent| (percent, 100.0));
    let wanted = "write a part such as 5% or 0.05, less than the whole";
    let share = number.trim().parse::<f64>().map_err(|_| wanted)? / whole;
    if (0.0..1.0).contains(&share) { Ok(share) } else { Err(wanted.into()) }
}

/// A time: `15m`, `20s`, `500ms`, `1h`, `2d`, a bare number of seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_unit(text);
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err("write a time such as 20s or 15m".into()),
    };
    let number: f64 = number.parse().map_err(|_| "write a time such as 20s or 15m")?;
    match Duration::try_from_secs_f64(number * seconds) {
        Ok(duration) if duration <= Duration::from_secs(3_200_000_000) => Ok(duration),
        Ok(_) | Err(_) => Err("write a time such as 20s or 15m, at most 100 years".into()),
    }
}

/// A moment in the past.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Since {
    /// In seconds since 1970.
    Time(f64),
    /// So long before now.
    Ago(Duration),
}

/// A moment: `2026-11-25T05:00:00Z`, `30m` or `-30m` (before now), or a bare number of seconds since 1970.
pub(super) fn since(text: &str) -> Result<Since, String> {
    let wanted = || {
        "write a time such as 2026-11-25T05:00:00Z or 2026-11-25T05:00:00+02:00, 30m (before now), or seconds since 1970".to_owned()
    };
    let text = text.trim();
    if text.contains(':') {
        // Without a zone it would be anybody's guess whose clock is meant.
        let has_zone = text.ends_with(['Z', 'z']) || text.get(19..).is_some_and(|rest| rest.contains(['+', '-']));
        let seconds = unix_seconds(text).filter(|_| has_zone).ok_or_else(wanted)?;
        #[allow(clippy::cast_precision_loss)] // years of four digits
        return Ok(Since::Time(seconds as f64));
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return if (0.0..1e11).contains(&seconds) { Ok(Since::Time(seconds)) } else { Err(wanted()) };
    }
    duration(text.strip_prefix('-').unwrap_or(text)).map(Since::Ago).map_err(|_| wanted())
}

/// `NAME=z0:z1,y0:y1,x0:x1`: the name of an instance and a half-open box in its voxels.
pub(super) fn extents(text: &str) -> Result<(String, VoxelBox), String> {
    let wanted = || "write NAME=z0:z1,y0:y1,x0:x1, in voxels, ends not included".to_owned();
    // A name may hold a `=`, a box cannot.
    let (name, ranges) = text.rsplit_once('=').ok_or_else(wanted)?;
    let ranges: Option<Vec<(i64, i64)>> = ranges.split(',').map(range).collect();
    let [z, y, x] = ranges.and_then(|ranges| <[_; 3]>::try_from(ranges).ok()).ok_or_else(wanted)?;
    let corner = |pick: fn((i64, i64)) -> i64| Coordinate::new(pick(z), pick(y), pick(x));
    let voxels = VoxelBox::new(corner(|range| range.0), corner(|range| range.1));
    match voxels {
        Some(voxels) if !name.is_empty() && !voxels.is_empty() && ranges_are_sane(&[z, y, x]) => {
            Ok((name.to_owned(), voxels))
        }
        Some(_) | None => Err(wanted()),
    }
}

/// `NAME=FILE`: the name of an instance, and a file.
pub(super) fn volume(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !file.is_empty() && is_instance_name(name) => Ok((name.to_owned(), file.into())),
        Some(_) | None => Err("write NAME=FILE.npy; a name has no / and is neither . nor ..".into()),
    }
}

/// Whether a URL can hold an instance of this name as one part of its path.
fn is_instance_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains('/') && !name.chars().any(char::is_control)
}

/// A box of an instance, under a name of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BoxWords {
    /// What it is called in `boxes/`.
    pub(super) name: String,
    /// The instance that it is cut from.
    pub(super) instance: String,
    /// The scale whose voxels it counts.
    pub(super) scale: Scale,
    /// Its voxels.
    pub(super) voxels: VoxelBox,
}

/// `NAME=INSTANCE:z0:z1,y0:y1,x0:x1[@SCALE]`: a half-open box in voxels of that scale.
pub(super) fn box_words(text: &str) -> Result<BoxWords, String> {
    let wanted = || {
        "write NAME=INSTANCE:z0:z1,y0:y1,x0:x1 or the same with @SCALE behind it, in voxels of that scale, ends not included"
            .to_owned()
    };
    let (name, rest) = text.split_once('=').ok_or_else(wanted)?;
    let (rest, scale) = match rest.rsplit_once('@') {
        Some((before, scale)) => (before, Scale(scale.parse().map_err(|_| wanted())?)),
        None => (rest, Scale::FULL),
    };
    // An instance may hold colons, a box has five of them.
    let (at, _) = rest.rmatch_indices(':').nth(3).ok_or_else(wanted)?;
    let (instance, ranges) = (&rest[..at], &rest[at + 1..]);
    if name.is_empty() || instance.is_empty() || scale > Scale::MAX {
        return Err(wanted());
    }
    let (_, voxels) = extents(&format!("box={ranges}")).map_err(|_| wanted())?;
    Ok(BoxWords { name: name.to_owned(), instance: instance.to_owned(), scale, voxels })
}

fn range(text: &str) -> Option<(i64, i64)> {
    let (begin, end) = text.split_once(':')?;
    Some((begin.trim().parse().ok()?, end.trim().parse().ok()?))
}

/// DVID counts blocks in 32 bits; beyond that a box is a typing error.
fn ranges_are_sane(ranges: &[(i64, i64)]) -> bool {
    const FARTHEST: i64 = 1 << 40;
    ranges.iter().all(|&(begin, end)| begin < end && begin >= -FARTHEST && end <= FARTHEST)
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let at = text.find(|char: char| char.is_ascii_alphabetic()).unwrap_or(text.len());
    (text[..at].trim_end(), &text[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_umask_has_octal_digits() {
        for (text, mask) in [("0", Some(0)), ("027", Some(0o27)), ("0o77", Some(0o77)), ("0777", Some(0o777))] {
            assert_eq!(umask(text).ok(), mask, "{text}");
        }
        for text in ["", "8", "1777", "00027", "-1", "+7", "0x7", "rw"] {
            assert!(umask(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_have_units_of_1024() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("800000", Some(800_000)),
            ("1k", Some(1024)),
            ("512M", Some(512 << 20)),
            ("1.5GiB", Some(3 << 29)),
            ("2 gb", Some(2 << 30)),
            ("1T", Some(1 << 40)),
            ("", None),
            ("G", None),
            ("-1", None),
            ("1X", None),
            ("1e99", None),
            ("nan", None),
            ("99999999T", None),
        ] {
            assert_eq!(size(text).ok(), bytes, "{text:?}");
        }
    }

    #[test]
    fn a_box_has_a_name_an_instance_and_perhaps_a_scale() {
        let voxels = VoxelBox::new(Coordinate::new(-1, 2, 3), Coordinate::new(4, 5, 6)).unwrap();
        for (text, name, instance, scale) in [
            ("soma=seg:-1:4,2:5,3:6", "soma", "seg", 0),
            ("soma=seg:-1:4,2:5,3:6@2", "soma", "seg", 2),
            ("a:b=c=d:e@f:-1:4,2:5,3:6@3", "a:b", "c=d:e@f", 3),
        ] {
            let read = BoxWords { name: name.into(), instance: instance.into(), scale: Scale(scale), voxels };
            assert_eq!(box_words(text), Ok(read), "{text}");
        }
        for text in [
            "",
            "soma",
            "soma=seg",
            "soma=seg:1:4,2:5",
            "=seg:1:4,2:5,3:6",
            "soma=:1:4,2:5,3:6",
            "soma=seg:4:1,2:5,3:6",
            "soma=seg:1:4,2:5,3:6@",
            "soma=seg:1:4,2:5,3:6@99",
            "soma=seg:1:4,2:5,3:x",
            "soma=seg:1:1,2:5,3:6",
        ] {
            assert!(box_words(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_have_units_or_are_seconds() {
        for (text, milliseconds) in [
            ("0", Some(0)),
            ("20", Some(20_000)),
            ("20s", Some(20_000)),
            ("0.5s", Some(500)),
            ("250ms", Some(250)),
            ("15m", Some(900_000)),
            ("15min", Some(900_000)),
            ("2 h", Some(7_200_000)),
            ("1d", Some(86_400_000)),
            ("", None),
            ("m", None),
            ("-1s", None),
            ("inf", None),
            ("1 fortnight", None),
            ("999999999999d", None),
        ] {
            assert_eq!(duration(text).ok(), milliseconds.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn a_moment_is_a_time_with_its_zone_or_so_long_ago() {
        for (text, moment) in [
            ("2026-11-23T22:24:08Z", Some(Since::Time(1_795_472_648.0))),
            ("2026-11-23T17:24:08.9-05:00", Some(Since::Time(1_795_472_648.0))),
            ("1795472648", Some(Since::Time(1_795_472_648.0))),
            ("1795472648.5", Some(Since::Time(1_795_472_648.5))),
            ("0", Some(Since::Time(0.0))),
            ("30m", Some(Since::Ago(Duration::from_secs(1800)))),
            ("-30m", Some(Since::Ago(Duration::from_secs(1800)))),
            ("-2 h", Some(Since::Ago(Duration::from_secs(7200)))),
            ("2026-11-23T22:24:08", None),
            ("2026-11-23", None),
            ("-5", None),
            ("1e300", None),
            ("--30m", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(since(text).ok(), moment, "{text:?}");
        }
    }

    #[test]
    fn a_share_is_less_than_the_whole() {
        for (text, part) in [("5%", 0.05), ("0.25", 0.25), (" 0 ", 0.0), ("12.5 %", 0.125), ("0%", 0.0)] {
            assert_eq!(share(text), Ok(part), "{text:?}");
        }
        for text in ["", "%", "5", "100%", "-1%", "nan", "x"] {
            assert!(share(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_volume_is_named_and_has_a_file() {
        assert_eq!(volume("em=a=b.npy"), Ok(("em".into(), "a=b.npy".into())));
        assert_eq!(volume("em 1=/x/y z.npy"), Ok(("em 1".into(), "/x/y z.npy".into())));
        for text in ["", "em", "=x.npy", "em=", "a/b=x.npy", "..=x.npy", "a\nb=x.npy"] {
            assert!(volume(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_box_is_named_and_not_empty() {
        let voxels = VoxelBox::new(Coordinate::new(-4, 0, 5), Coordinate::new(10, 20, 30)).unwrap();
        assert_eq!(extents("gray=-4:10,0:20,5:30"), Ok(("gray".into(), voxels)));
        assert_eq!(extents("a=b=-4:10, 0:20, 5:30"), Ok(("a=b".into(), voxels)));
        for text in [
            "",
            "gray",
            "gray=",
            "=0:1,0:1,0:1",
            "gray=0:1,0:1",
            "gray=0:1,0:1,0:1,0:1",
            "gray=0:0,0:1,0:1",
            "gray=1:0,0:1,0:1",
            "gray=0:1,0:1,0:x",
            "gray=0:1,0:x,0:1,0:1",
            "gray=0:1,0:1,0:1,",
            "gray=0:1,0:1,0:99999999999999",
        ] {
            assert!(extents(text).is_err(), "{text:?}");
        }
    }
}
