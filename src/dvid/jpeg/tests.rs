use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use crate::fuzz::STEP;

use super::*;

/// Smooth enough to come back within a few values.
fn picture(width: usize, height: usize) -> Vec<u8> {
    (0..height).flat_map(|y| (0..width).map(move |x| u8::try_from((3 * x + y / 8) % 200).unwrap())).collect()
}

fn encoded(pixels: &[u8], width: u16, height: u16, color: ColorType, progressive: bool) -> Vec<u8> {
    let mut bytes = vec![];
    let mut encoder = Encoder::new(&mut bytes, 90);
    encoder.set_progressive(progressive);
    encoder.set_sampling_factor(SamplingFactor::F_1_1);
    encoder.encode(pixels, width, height, color).unwrap();
    bytes
}

#[test]
fn two_decoders_agree_within_two() {
    for (width, height) in [(17, 33), (32, 1024), (64, 4096)].into_iter().step_by(STEP) {
        for progressive in [false, true] {
            let bytes = encoded(&picture(width.into(), height.into()), width, height, ColorType::Luma, progressive);
            let ours = decode_jpeg(&bytes, width.into(), height.into()).unwrap();
            let theirs = jpeg_decoder::Decoder::new(&bytes[..]).decode().unwrap();
            assert_eq!(ours.len(), theirs.len());
            assert!(ours.iter().zip(&theirs).all(|(a, b)| a.abs_diff(*b) <= 2), "{width}x{height} {progressive}");
        }
    }
}

#[test]
fn an_image_of_another_size_or_kind_is_refused_before_it_is_decoded() {
    let gray = encoded(&picture(32, 64), 32, 64, ColorType::Luma, false);
    for (width, height) in [(64, 32), (32, 63), (32, 65)] {
        assert!(matches!(decode_jpeg(&gray, width, height), Err(PayloadError::BadJpeg(_))), "{width}x{height}");
    }
    let color = encoded(&vec![9; 32 * 64 * 3], 32, 64, ColorType::Rgb, false);
    assert_eq!(decode_jpeg(&color, 32, 64), Err(PayloadError::BadJpeg("not 8-bit gray".into())));
    let mut huge = gray.clone();
    let frame = huge.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    huge[frame + 5..frame + 9].fill(0xff);
    assert!(decode_jpeg(&huge, 32, 64).is_err());
}

#[test]
fn a_cut_or_prolonged_image_is_refused() {
    for progressive in [false, true] {
        let whole = encoded(&picture(32, 64), 32, 64, ColorType::Luma, progressive);
        for end in (0..whole.len()).step_by(STEP) {
            assert!(decode_jpeg(&whole[..end], 32, 64).is_err(), "{end} of {}", whole.len());
        }
        assert!(decode_jpeg(&[&whole[..], b"error"].concat(), 32, 64).is_err());
        assert!(decode_jpeg(&[&whole[..], &whole[..]].concat(), 32, 64).is_err());
    }
}

#[test]
fn a_thousand_scans_are_a_bomb() {
    let whole = encoded(&picture(32, 64), 32, 64, ColorType::Luma, true);
    let scan = whole.windows(2).position(|marker| marker == [0xff, 0xda]).unwrap();
    let (head, scans) = (&whole[..scan], &whole[scan..whole.len() - 2]);
    let bomb = [head, &scans.repeat(1000), &[0xff, 0xd9]].concat();
    assert_eq!(decode_jpeg(&bomb, 32, 64), Err(PayloadError::BadJpeg("too many scans".into())));
}

#[test]
fn damaged_images_never_end_the_program() {
    let whole = encoded(&picture(32, 64), 32, 64, ColorType::Luma, false);
    for at in (0..whole.len()).step_by(STEP) {
        for bit in [0, 3, 7] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            if let Ok(pixels) = decode_jpeg(&damaged, 32, 64) {
                assert_eq!(pixels.len(), 32 * 64);
            }
        }
    }
}
