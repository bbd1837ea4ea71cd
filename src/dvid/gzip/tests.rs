use libdeflater::{CompressionLvl, Compressor};

use super::super::test_support::body;
use super::*;
use crate::fuzz::{KIB, Peak};

fn member(bytes: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(CompressionLvl::default());
    let mut member = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let length = compressor.gzip_compress(bytes, &mut member).unwrap();
    member.truncate(length);
    member
}

/// The first payload of a recorded answer: a gzipped label block of the server's own making.
fn recorded() -> Vec<u8> {
    body("labels32-specific-default")[16..].to_vec()
}

#[test]
fn a_member_gives_what_went_in() {
    for bytes in [&b""[..], b"voxels", &[7; 100_000]] {
        assert_eq!(gunzip(&member(bytes), bytes.len()).unwrap(), bytes);
    }
    assert!(gunzip(&recorded(), 1 << 20).unwrap().starts_with(&[4, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0]));
}

#[test]
fn a_cut_member_is_refused_at_every_length() {
    let whole = recorded();
    for end in 0..whole.len() {
        assert!(gunzip(&whole[..end], 1 << 20).is_err(), "{end} of {}", whole.len());
    }
}

#[test]
fn anything_behind_the_member_is_refused() {
    for whole in [recorded(), member(b""), member(b"voxels"), member(&[7; 100_000])] {
        let crc_and_size = &whole[whole.len() - 8..];
        for tail in [&b"x"[..], b"unable to get label block", &[0; 8], &[0; 18], crc_and_size, &whole, &member(b"")] {
            assert!(gunzip(&[&whole, tail].concat(), 1 << 20).is_err(), "{} bytes", tail.len());
        }
    }
}

#[test]
fn no_flipped_bit_gives_other_bytes() {
    let whole = recorded();
    let right = gunzip(&whole, 1 << 20).unwrap();
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            // Bits of the header that say nothing about the content may change unseen.
            if let Ok(bytes) = gunzip(&damaged, 1 << 20) {
                assert_eq!(bytes, right, "bit {bit} of byte {at}");
            }
        }
    }
}

#[test]
fn a_bomb_is_refused_by_the_size_it_claims_or_hides() {
    let mut bomb = member(&vec![0; 1 << 24]);
    assert_eq!(gunzip(&bomb, 1 << 20), Err(PayloadError::OverLimit { claimed: 1 << 24, limit: 1 << 20 }));
    let size_at = bomb.len() - 4;
    bomb[size_at..].copy_from_slice(&1000_u32.to_le_bytes());
    assert_eq!(gunzip(&bomb, 1 << 20), Err(PayloadError::BadGzip("more than its size")));
    bomb[size_at..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(gunzip(&bomb, usize::MAX), Err(PayloadError::BadGzip("a size that it cannot hold")));
}

#[test]
fn a_wrong_checksum_takes_no_more_memory_than_the_content() {
    let mut damaged = member(&[7; 1 << 20]);
    let crc_at = damaged.len() - 8;
    damaged[crc_at] ^= 1;
    let found = Peak::of(|| gunzip(&damaged, 1 << 20)).at_most((1 << 20) + 64 * KIB);
    assert_eq!(found, Err(PayloadError::BadCrc));
}
