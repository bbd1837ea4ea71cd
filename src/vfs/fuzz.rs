//! Fuzz target `name_codec`: whatever the server calls a thing, its name in the mount is valid, tells it from all
//! others, and means nothing else.

use crate::fuzz::{Input, Target};

use super::escape;
use super::names::{CUT, EMPTY, MAX_NAME_BYTES, RESERVED};

/// Two names: the length of the first, in two bytes, then both.
pub(crate) const NAME_CODEC: Target = Target { name: "name_codec", run, seeds };

/// Format characters (Cf) of Unicode 16, from its own table.
const FORMAT_CHARS: &[(char, char)] = &[
    ('\u{ad}', '\u{ad}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{180e}', '\u{180e}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{2064}'),
    ('\u{2066}', '\u{206f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{fff9}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0001}', '\u{e0001}'),
    ('\u{e0020}', '\u{e007f}'),
];

fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let n = usize::from(input.u16());
    let [one, other] = [input.bytes(n), input.rest()].map(String::from_utf8_lossy);
    // A name that looks like the escaped form of another must not become what that one became.
    let names = [one.clone().into_owned(), other.into_owned(), escape(&one)];
    let escaped = names.each_ref().map(|name| checked(name));
    for (i, j) in [(0, 1), (0, 2), (1, 2)] {
        assert_eq!(names[i] == names[j], escaped[i] == escaped[j], "{:?} and {:?}", names[i], names[j]);
    }
}

/// The escaped form of a name, which is a valid one and tells the name.
fn checked(name: &str) -> String {
    let escaped = escape(name);
    let is_format = |char| FORMAT_CHARS.iter().any(|&(first, last)| (first..=last).contains(&char));
    assert!((1..=MAX_NAME_BYTES).contains(&escaped.len()), "{name:?} -> {escaped:?}");
    assert!(!escaped.contains(['/', '\0']), "{name:?} -> {escaped:?}");
    assert!(!escaped.chars().any(|char| char.is_control() || is_format(char)), "{name:?} -> {escaped:?}");
    assert!(!RESERVED.contains(&escaped.as_str()), "{name:?} -> {escaped:?}");
    if !escaped.contains(CUT) {
        assert_eq!(unescaped(&escaped), name, "{escaped:?}");
    }
    escaped
}

/// The name that a short escaped name stands for: written from the rule, not from the code.
pub(super) fn unescaped(escaped: &str) -> String {
    if escaped == EMPTY {
        return String::new();
    }
    let mut bytes = Vec::new();
    let mut rest = escaped.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let digits = std::str::from_utf8(&after[..2]).expect("digits are ASCII");
            bytes.push(u8::from_str_radix(digits, 16).expect("two digits behind a percent sign"));
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).expect("a name is text")
}

fn seeds() -> Vec<Vec<u8>> {
    let long = "x".repeat(300);
    let wide = "\u{202e}é%".repeat(60);
    let pairs = [
        ("grayscale", "segmentation"),
        ("a/b", "a%2Fb"),
        ("", "%empty"),
        (".", ".."),
        ("info", "%69nfo"),
        (".zgroup", "attributes.json"),
        ("a?b::c\\", "\u{1b}[2J\0"),
        ("e\u{301}\u{feff}", "\u{e0041}\u{2028}"),
        (&long, &long[1..]),
        (&wide, &wide[3..]),
    ];
    let pair = |(a, b): (&str, &str)| {
        let n = u16::try_from(a.len()).expect("a short name");
        [&n.to_le_bytes(), a.as_bytes(), b.as_bytes()].concat()
    };
    pairs.map(|(a, b)| pair((a, b))).into()
}
