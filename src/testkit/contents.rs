//! What test volumes hold: random, repeated and zero pieces, and random changes to them.

use crate::base::extent::{Extent, ExtentSet};
use crate::testkit::dice::Dice;

/// Pieces end at no chunk boundary, so that chunks are mixed.
const PIECE_BYTES: usize = 6_000;

/// A volume of pieces: random, repeated, or zero.
#[must_use]
pub fn volume_bytes(size: usize, seed: u64) -> Vec<u8> {
    let dice = Dice::new(seed);
    let mut out = vec![0; size];
    for piece in out.chunks_mut(PIECE_BYTES) {
        match dice.below(4) {
            0 => {}
            1 => repeat(piece, dice.below(8)),
            _ => randomize(piece, dice.below(u64::MAX)),
        }
    }
    out
}

/// Bytes that do not compress.
#[must_use]
pub fn random_bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; length];
    randomize(&mut out, seed);
    out
}

/// Writes and zeroes a few random ranges and says which.
pub fn scribble(bytes: &mut [u8], seed: u64) -> ExtentSet {
    let dice = Dice::new(seed ^ 0x5c21bb1e);
    let mut changed = ExtentSet::new();
    for _ in 0..dice.within(1..6) {
        let start = dice.index(bytes.len());
        let end = bytes.len().min(start + dice.index(40_000) + 1);
        match dice.below(4) {
            0 => bytes[start..end].fill(0),
            1 => repeat(&mut bytes[start..end], dice.below(8)),
            _ => randomize(&mut bytes[start..end], dice.below(u64::MAX)),
        }
        changed.insert(Extent::between(start as u64, end as u64));
    }
    changed
}

fn randomize(piece: &mut [u8], seed: u64) {
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(piece);
}

fn repeat(piece: &mut [u8], word: u64) {
    let words = format!("the same words over and over, number {word}. ");
    piece.iter_mut().zip(words.bytes().cycle()).for_each(|(byte, letter)| *byte = letter);
}
