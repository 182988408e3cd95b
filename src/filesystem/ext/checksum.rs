//! The two checksums of ext4: CRC-32C chained from a seed, and the CRC-16 of old group descriptors.

use crc32c::crc32c_append;

/// The seed before any seed.
pub(super) const START: u32 = u32::MAX;

/// CRC-32C as ext4 chains it: neither the seed nor the result is inverted.
pub(super) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c_append(!seed, bytes)
}

/// The seed of everything that belongs to an inode.
pub(super) fn inode_seed(volume_seed: u32, number: u32, generation: u32) -> u32 {
    crc32c(crc32c(volume_seed, &number.to_le_bytes()), &generation.to_le_bytes())
}

/// CRC-16 with the polynomial 0x8005, reflected.
pub(super) fn crc16(seed: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(seed, |crc, byte| (0..8).fold(crc ^ u16::from(*byte), |crc, _| (crc >> 1) ^ (0xA001 * (crc & 1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_give_their_published_check_values() {
        assert_eq!(!crc32c(START, b"123456789"), 0xE306_9283);
        assert_eq!(crc16(0, b"123456789"), 0xBB3D);
        assert_eq!(crc32c(crc32c(START, b"1234"), b"56789"), crc32c(START, b"123456789"));
    }
}
