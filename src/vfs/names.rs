//! How a name of the server becomes a name in the mount: percent style, no two names to one.

use std::fmt::Write as _;

/// The longest name that a file system holds, in bytes.
pub(super) const MAX_NAME_BYTES: usize = 255;

/// Names that mean something to us or to a reader that looks into any directory for them.
pub(super) const RESERVED: &[&str] = &[
    ".",
    "..",
    ".dvidfs",
    ".zarray",
    ".zattrs",
    ".zgroup",
    ".zmetadata",
    "README.txt",
    "attributes.json",
    "attrs.json",
    "boxes",
    "info",
    "neuroglancer.json",
    "node.json",
    "zarr.json",
];

/// Stands for the empty name. No other name has a `%` before a letter that is no hexadecimal digit.
pub(super) const EMPTY: &str = "%empty";
/// Stands between the beginning of an over-long name and its hash. No escape begins so.
pub(super) const CUT: &str = "%~";

/// The name in the mount of something that the server calls `name`.
///
/// Characters that a file system or a reader cannot hold, and those that nobody can see, become `%` and two
/// hexadecimal digits for each byte; so does `%` itself, and the first byte of a name that is reserved. A name that
/// is then longer than 255 bytes is cut and ends in a hash of the whole. The result is a valid file name, is
/// reserved for nothing, and differs for different names (for over-long ones but for a clash of 128 bit hashes).
#[must_use]
pub fn escape(name: &str) -> String {
    if name.is_empty() {
        return EMPTY.to_owned();
    }
    let mut escaped = String::with_capacity(name.len());
    for (at, char) in name.char_indices() {
        if is_plain(char) && !(at == 0 && RESERVED.contains(&name)) {
            escaped.push(char);
        } else {
            for byte in char.encode_utf8(&mut [0; 4]).bytes() {
                push_byte(&mut escaped, byte);
            }
        }
    }
    if escaped.len() > MAX_NAME_BYTES { shortened(name, &escaped) } else { escaped }
}

fn push_byte(escaped: &mut String, byte: u8) {
    write!(escaped, "%{byte:02X}").expect("a string takes every write");
}

/// The beginning of an escaped name, and a hash of the name itself.
fn shortened(name: &str, escaped: &str) -> String {
    let hash = format!("{CUT}{:032x}", fnv_1a(name.as_bytes()));
    let mut end = MAX_NAME_BYTES - hash.len();
    // Not in the middle of a character, nor of an escape.
    while !escaped.is_char_boundary(end) || escaped.as_bytes()[end - 2..end].contains(&b'%') {
        end -= 1;
    }
    format!("{}{hash}", &escaped[..end])
}

/// FNV-1a of 128 bits: the same in every version of this program.
fn fnv_1a(bytes: &[u8]) -> u128 {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    bytes.iter().fold(OFFSET, |hash, &byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}

/// Whether a character stands for itself.
fn is_plain(char: char) -> bool {
    match char {
        '%' | '/' => false,
        // zarr cuts a path at `?` and turns `\` into `/`; fsspec takes `::` and `://` for the address of a server.
        '?' | '\\' | ':' => false,
        ' '..='~' => true,
        _ => !(char.is_control() || char.is_whitespace() || is_unseen(char)),
    }
}

/// Characters that nobody sees, that change how others are shown, or that no reader knows: format characters (Cf),
/// combining marks of the blocks made of nothing else, variation selectors, private use (Co) and noncharacters.
fn is_unseen(char: char) -> bool {
    let code = u32::from(char);
    UNSEEN.iter().any(|&(first, last)| (first..=last).contains(&code)) || code & 0xfffe == 0xfffe
}

/// Ranges of Unicode 16, inclusive, ascending.
const UNSEEN: &[(u32, u32)] = &[
    (0x00ad, 0x00ad),     // soft hyphen
    (0x0300, 0x036f),     // combining diacritical marks
    (0x0483, 0x0489),     // combining Cyrillic
    (0x0600, 0x0605),     // Arabic number signs
    (0x061c, 0x061c),     // Arabic letter mark
    (0x06dd, 0x06dd),     // Arabic end of ayah
    (0x070f, 0x070f),     // Syriac abbreviation mark
    (0x0890, 0x0891),     // Arabic pound and piastre marks
    (0x08e2, 0x08e2),     // Arabic disputed end of ayah
    (0x115f, 0x1160),     // Hangul fillers
    (0x17b4, 0x17b5),     // Khmer inherent vowels
    (0x180b, 0x180f),     // Mongolian selectors, vowel separator
    (0x1ab0, 0x1aff),     // combining diacritical marks extended
    (0x1dc0, 0x1dff),     // combining diacritical marks supplement
    (0x200b, 0x200f),     // zero width, direction marks
    (0x202a, 0x202e),     // bidi embeddings and overrides
    (0x2060, 0x206f),     // word joiner, invisible operators, bidi isolates
    (0x20d0, 0x20ff),     // combining marks for symbols
    (0x2800, 0x2800),     // blank Braille pattern
    (0x3164, 0x3164),     // Hangul filler
    (0xe000, 0xf8ff),     // private use
    (0xfdd0, 0xfdef),     // noncharacters
    (0xfe00, 0xfe0f),     // variation selectors
    (0xfe20, 0xfe2f),     // combining half marks
    (0xfeff, 0xfeff),     // byte order mark
    (0xffa0, 0xffa0),     // halfwidth Hangul filler
    (0xfff0, 0xfffb),     // unassigned, interlinear annotation
    (0x110bd, 0x110bd),   // Kaithi number sign
    (0x110cd, 0x110cd),   // Kaithi number sign above
    (0x13430, 0x1343f),   // Egyptian format controls
    (0x1bca0, 0x1bca3),   // shorthand format controls
    (0x1d165, 0x1d169),   // combining musical symbols
    (0x1d16d, 0x1d182),   // combining musical symbols, format controls
    (0x323b0, 0x10_ffff), // unassigned planes, tags, variation selectors, private use
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::super::fuzz::unescaped;
    use super::*;

    #[track_caller]
    fn check_valid(name: &str) {
        let escaped = escape(name);
        assert!((1..=255).contains(&escaped.len()), "{name:?} -> {escaped:?}");
        assert!(!escaped.contains(['/', '\0', '?', '\\']), "{name:?} -> {escaped:?}");
        assert!(!escaped.chars().any(char::is_control), "{name:?} -> {escaped:?}");
        assert!(!RESERVED.contains(&escaped.as_str()), "{name:?} -> {escaped:?}");
    }

    proptest! {
        #[test]
        fn any_name_becomes_a_valid_one_that_tells_the_name(name in any::<String>()) {
            check_valid(&name);
            let escaped = escape(&name);
            if !escaped.contains(CUT) {
                prop_assert_eq!(unescaped(&escaped), name);
            }
        }

        #[test]
        fn nearly_equal_names_stay_apart(a in "[%2F/.aé\u{202e}?~]{0,6}", b in "[%2F/.aé\u{202e}?~]{0,6}") {
            prop_assert_eq!(a == b, escape(&a) == escape(&b));
        }

        #[test]
        fn long_names_stay_apart_and_valid(
            base in "[a%é\u{202e}]{80,400}", tail in "[ab]{1,3}", other in "[ab]{1,3}",
        ) {
            let (a, b) = (format!("{base}{tail}"), format!("{base}{other}"));
            check_valid(&a);
            prop_assert_eq!(a == b, escape(&a) == escape(&b));
        }
    }

    #[test]
    fn names_come_out_as_a_person_expects() {
        for (name, expected) in [
            ("grayscale", "grayscale"),
            ("Größe 7 (v2)~", "Größe 7 (v2)~"),
            ("日本語", "日本語"),
            ("a/b", "a%2Fb"),
            ("/", "%2F"),
            ("%2F", "%252F"),
            (".", "%2E"),
            ("..", "%2E."),
            ("...", "..."),
            ("", "%empty"),
            ("%empty", "%25empty"),
            ("a?b", "a%3Fb"),
            ("tab\there", "tab%09here"),
            ("\u{1b}[2J", "%1B[2J"),
            ("\u{9b}2J", "%C2%9B2J"),
            ("\u{7f}", "%7F"),
            ("a\u{202e}b", "a%E2%80%AEb"),
            ("a\u{feff}", "a%EF%BB%BF"),
            ("e\u{301}", "e%CC%81"),
            ("\u{e000}", "%EE%80%80"),
            ("\u{e0041}", "%F3%A0%81%81"),
            ("\u{2028}", "%E2%80%A8"),
            ("info", "%69nfo"),
            (".zgroup", "%2Ezgroup"),
            ("node.json", "%6Eode.json"),
            ("README.txt", "%52EADME.txt"),
            (".dvidfs", "%2Edvidfs"),
            ("Info", "Info"),
            ("info ", "info "),
        ] {
            assert_eq!(escape(name), expected, "{name:?}");
        }
    }

    #[test]
    fn names_at_the_limit_are_kept_and_longer_ones_cut() {
        let name = "x".repeat(255);
        assert_eq!(escape(&name), name);
        let lengths = [256, 1024, 65_536];
        let escaped: HashSet<_> = lengths.iter().map(|&n| escape(&"x".repeat(n))).collect();
        assert_eq!(escaped.len(), lengths.len());
        assert!(escaped.iter().all(|name| name.len() == 255 && name.starts_with("xxxx")));
        // A short name cannot look like a cut one.
        assert!(!escaped.contains(&escape(escaped.iter().next().unwrap())));
        assert!(escape(&"\u{202e}".repeat(100)).len() <= 255);
    }

    #[test]
    fn the_hash_is_that_of_the_published_test_vectors() {
        assert_eq!(fnv_1a(b""), 0x6c62272e07bb014262b821756295c58d);
        assert_eq!(fnv_1a(b"a"), 0xd228cb696f1a8caf78912b704e4a8964);
        assert_eq!(fnv_1a(b"foobar"), 0x343e1662793c64bf6f0d3597ba446f18);
    }
}
