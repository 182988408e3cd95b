//! CRC-32C run backwards: from a checksum and its bytes to the seed that they began with.
//!
//! ```text
//!   checksum of a directory block = crc32c(seed of the directory, block)
//!   checksum of an inode          = crc32c(crc32c(crc32c(seed of the volume, number), generation), inode)
//! ```
//! So a block tells which directory it belongs to when nobody else does, and an inode tells its number, or the volume's seed.

/// The polynomial, reflected.
const POLYNOMIAL: u32 = 0x82F6_3B78;
const FORWARDS: [u32; 256] = forwards();
/// The index of the entry in [`FORWARDS`] with this highest byte: no two entries share one.
const BY_HIGHEST_BYTE: [u8; 256] = by_highest_byte();

/// The seed from which `bytes` lead to `checksum`.
pub(super) fn seed_of(checksum: u32, bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(checksum, |crc, byte| {
        let index = BY_HIGHEST_BYTE[(crc >> 24) as usize];
        (crc ^ FORWARDS[usize::from(index)]) << 8 | u32::from(index ^ byte)
    })
}

const fn forwards() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ POLYNOMIAL };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

const fn by_highest_byte() -> [u8; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        table[(FORWARDS[index] >> 24) as usize] = index as u8;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::checksum::{crc32c, inode_seed};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn backwards_undoes_forwards(seed: u32, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(seed_of(crc32c(seed, &bytes), &bytes), seed);
        }

        #[test]
        fn four_bytes_and_a_seed_can_change_places(seed: u32, number: u32, generation: u32) {
            let known = seed_of(seed_of(inode_seed(seed, number, generation), &generation.to_le_bytes()), &[0; 4]);
            prop_assert_eq!(known, seed ^ number);
        }
    }
}
