//! The checksums of a journal: CRC-32C since its second version, and a CRC-32 that begins at the other end before that.

/// Where CRC-32C begins when nothing else is said.
pub(super) const CRC32C_START: u32 = !0;
/// Where the checksum of a transaction begins, before checksums were in every block.
pub(super) const CRC32_BE_START: u32 = !0;

/// CRC-32C as ext4 carries it on: nothing is inverted, neither before nor after.
pub(super) fn crc32c(start: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!start, bytes)
}

/// CRC-32C of a structure whose checksum is the four bytes at `field`, which count as zeros. A short structure has none.
pub(super) fn crc32c_without(start: u32, bytes: &[u8], field: usize) -> Option<u32> {
    let before = bytes.get(..field)?;
    let after = bytes.get(field.checked_add(4)?..)?;
    Some(crc32c(crc32c(crc32c(start, before), &[0; 4]), after))
}

/// CRC-32 with the most significant bit first, and nothing inverted.
pub(super) fn crc32_be(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |crc, byte| (crc << 8) ^ BE_TABLE[usize::from((crc >> 24) as u8 ^ byte)])
}

const BE_TABLE: [u32; 256] = be_table();

const fn be_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let mut crc = (index as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000_0000 == 0 { crc << 1 } else { (crc << 1) ^ 0x04c1_1db7 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_agree_with_the_published_check_values() {
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283, "CRC-32C");
        assert_eq!(crc32_be(!0, b"123456789"), 0x0376_e6e7, "CRC-32/MPEG-2");
    }

    #[test]
    fn the_field_of_the_checksum_counts_as_zeros() {
        let bytes = *b"abcdWXYZefgh";
        assert_eq!(crc32c_without(7, &bytes, 4), Some(crc32c(7, b"abcd\0\0\0\0efgh")));
        assert_eq!(crc32c_without(7, &bytes, 8), Some(crc32c(7, b"abcdWXYZ\0\0\0\0")));
        assert_eq!(crc32c_without(7, &bytes, 9), None);
    }
}
