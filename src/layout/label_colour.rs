//! The colour that stands for a label in a picture.
//!
//! The function is part of the layout and never changes: a label has one colour in all pictures, on all machines. With
//! all arithmetic in whole numbers, rounded down:
//!
//! ```text
//! 0 is black. For any other label, modulo 2^64:
//!     h = (label ^ label >> 30) * 0xbf58476d1ce4e5b9
//!     h = (h ^ h >> 27) * 0x94d049bb133111eb
//!     h = h ^ h >> 31
//! hue = (h mod 2^16) * 6, saturation s = 128 + (h >> 16) mod 128, value v = 160 + (h >> 32) mod 96
//! f = (hue >> 8) mod 256, p = v * (255 - s) / 255
//! falling q = v * (65025 - s * f) / 65025, rising t = v * (65025 - s * (255 - f)) / 65025
//! (red, green, blue) by hue >> 16: 0 (v,t,p), 1 (q,v,p), 2 (p,v,t), 3 (p,q,v), 4 (t,p,v), 5 (v,p,q)
//! ```
//!
//! The hash is the one that splitmix64 ends with, so that labels in a row look unlike; the rest is HSV to RGB, kept bright.

/// Red, green and blue of a label.
#[allow(clippy::cast_possible_truncation)] // each channel is at most v, which is below 256
pub(super) fn colour_of(label: u64) -> [u8; 3] {
    if label == 0 {
        return [0; 3];
    }
    let hash = mixed(label);
    let hue = (hash & 0xffff) * 6;
    let saturation = 128 + (hash >> 16) % 128;
    let value = 160 + (hash >> 32) % 96;
    let fraction = (hue >> 8) % 256;
    let low = value * (255 - saturation) / 255;
    let falling = value * (255 * 255 - saturation * fraction) / (255 * 255);
    let rising = value * (255 * 255 - saturation * (255 - fraction)) / (255 * 255);
    let rgb = match hue >> 16 {
        0 => [value, rising, low],
        1 => [falling, value, low],
        2 => [low, value, rising],
        3 => [low, falling, value],
        4 => [rising, low, value],
        _ => [value, low, falling],
    };
    rgb.map(|channel| channel as u8)
}

/// One to one: no two labels have one hash.
fn mixed(label: u64) -> u64 {
    let hash = (label ^ (label >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_the_colour_that_it_always_had() {
        // From a Python program that was written after the description above.
        for (label, colour) in [
            (0, [0, 0, 0]),
            (1, [221, 117, 100]),
            (2, [247, 161, 81]),
            (3, [205, 200, 86]),
            (255, [6, 238, 179]),
            (65_536, [31, 225, 65]),
            (1 << 32, [233, 72, 97]),
            ((1 << 53) + 1, [2, 244, 9]),
            (1 << 62, [22, 210, 19]),
            (1 << 63, [31, 34, 165]),
            (u64::MAX, [139, 51, 252]),
        ] {
            assert_eq!(colour_of(label), colour, "{label}");
        }
    }

    #[test]
    fn only_nothing_is_black_and_neighbours_differ() {
        for label in 1..100_000 {
            let colour = colour_of(label);
            assert!(colour.iter().any(|&channel| channel >= 160), "{label} is dark: {colour:?}");
            assert_ne!(colour, colour_of(label + 1), "{label}");
        }
    }
}
