//! One flipped bit, found by the checksum that it breaks.
//!
//! CRC-32C is linear: what a flipped bit does to the sum depends on how far it lies from the end, and on nothing else. Up to lengths
//! that no block has, no two bits do the same. So a sum that differs as one bit would make it differ names that bit. Of blocks that
//! hold noise, one of a hundred thousand looks like that; the caller's other checks stand after it.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::error::{FilesystemError, Object};

/// CRC-32C, reflected.
const POLYNOMIAL: u32 = 0x82F6_3B78;
/// Longer pieces of metadata do not exist.
const LONGEST_BYTES: usize = 64 << 10;
/// Objects that are remembered.
const MOST_NOTED: usize = 100_000;

/// Where the one bit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flip {
    /// In the stored sum: what it speaks of is whole.
    InSum,
    /// In what the sum speaks of.
    At {
        /// Its byte.
        byte: usize,
        /// The bit, as a mask.
        mask: u8,
    },
}

/// The one bit that makes `stored` differ from `computed`, the sum of `length` bytes; nothing when more than one is wrong.
pub(super) fn find(stored: u32, computed: u32, length: usize) -> Option<Flip> {
    let difference = stored ^ computed;
    if difference.is_power_of_two() {
        return Some(Flip::InSum);
    }
    let table = table();
    let mut effects: [u32; 8] = [0; 8];
    for (bit, effect) in effects.iter_mut().enumerate() {
        *effect = table[1 << bit];
    }
    for byte in (0..length.min(LONGEST_BYTES)).rev().filter(|_| length <= LONGEST_BYTES) {
        if let Some(bit) = effects.iter().position(|effect| *effect == difference) {
            return Some(Flip::At { byte, mask: 1 << bit });
        }
        for effect in &mut effects {
            *effect = (*effect >> 8) ^ table[(*effect & 0xFF) as usize];
        }
    }
    None
}

impl Flip {
    /// Turns it back in `bytes`, of which the sum of four bytes, little-endian, stands at `sum_at` and should be `right`.
    pub(super) fn turn_back(self, bytes: &mut [u8], sum_at: usize, right: u32) {
        match self {
            Self::InSum => {
                let sum = bytes.get_mut(sum_at..sum_at.saturating_add(4)).unwrap_or_default();
                sum.iter_mut().zip(right.to_le_bytes()).for_each(|(byte, right)| *byte = right);
            }
            Self::At { byte, mask } => bytes.get_mut(byte).into_iter().for_each(|byte| *byte ^= mask),
        }
    }
}

/// What was mended, so that nobody takes it for untouched.
#[derive(Debug, Default)]
pub(super) struct Mended {
    noted: Mutex<BTreeMap<u64, Object>>,
}

impl Mended {
    /// Notes an object that lies at byte `at`.
    pub(super) fn note(&self, object: Object, at: u64) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() < MOST_NOTED {
            noted.insert(at, object);
        }
    }

    /// What was noted.
    pub(super) fn list(&self) -> Vec<FilesystemError> {
        let noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.iter().map(|(at, object)| FilesystemError::corrupt(*object, *at, "its checksum names one wrong bit")).collect()
    }
}

/// What each byte does to a sum.
fn table() -> &'static [u32; 256] {
    static TABLE: OnceLock<[u32; 256]> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = [0; 256];
        for (byte, entry) in (0u32..).zip(table.iter_mut()) {
            *entry = (0..8).fold(byte, |sum, _| (sum >> 1) ^ (POLYNOMIAL * (sum & 1)));
        }
        table
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::contents::random_bytes;

    #[test]
    fn every_single_bit_of_a_block_is_found() {
        let block = random_bytes(512, 7);
        let stored = crc32c::crc32c(&block);
        for byte in 0..block.len() {
            for mask in (0..8).map(|bit| 1 << bit) {
                let mut broken = block.clone();
                broken[byte] ^= mask;
                assert_eq!(find(stored, crc32c::crc32c(&broken), broken.len()), Some(Flip::At { byte, mask }));
            }
        }
        for bit in 0..32 {
            assert_eq!(find(stored ^ 1 << bit, stored, block.len()), Some(Flip::InSum));
        }
    }

    #[test]
    fn two_bits_and_noise_are_not_put_right() {
        let block = random_bytes(4096, 8);
        let stored = crc32c::crc32c(&block);
        let mut wrong = 0;
        for seed in 0..2000 {
            let noise = random_bytes(4096, 1000 + seed);
            wrong += usize::from(find(stored, crc32c::crc32c(&noise), noise.len()).is_some());
            let mut broken = block.clone();
            broken[seed as usize] ^= 1;
            broken[seed as usize + 1000] ^= 0x10;
            assert_eq!(find(stored, crc32c::crc32c(&broken), broken.len()), None);
        }
        assert!(wrong <= 1, "{wrong} of 2000 blocks of noise look like one flipped bit");
    }
}
