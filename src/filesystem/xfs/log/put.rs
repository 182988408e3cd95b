//! Fields written at fixed offsets, refused instead of panicking where they do not fit; and the checksum over a structure.

use crate::filesystem::error::{FilesystemError, Object};

/// Bytes of a checksum.
const CHECKSUM_BYTES: usize = 4;

/// Replaces the bytes from `offset` on.
pub(in crate::filesystem::xfs) fn put(bytes: &mut [u8], offset: usize, value: &[u8]) -> Result<(), FilesystemError> {
    let length = bytes.len();
    let end = offset.checked_add(value.len());
    let field = end.and_then(|end| bytes.get_mut(offset..end));
    let field = field.ok_or_else(|| {
        let what = format!("a change of {} bytes at {offset} reaches past the {length} bytes of its object", value.len());
        FilesystemError::corrupt(Object::Journal, 0, what)
    })?;
    field.copy_from_slice(value);
    Ok(())
}

/// Sets the CRC32C of a structure, which counts its own four bytes at `offset` as zeros.
pub(in crate::filesystem::xfs) fn seal(bytes: &mut [u8], offset: usize) -> Result<(), FilesystemError> {
    put(bytes, offset, &[0; CHECKSUM_BYTES])?;
    let checksum = crc32c::crc32c(bytes);
    put(bytes, offset, &checksum.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_does_not_fit_is_refused_and_nothing_changes() {
        let mut bytes = [7; 8];
        for (offset, length) in [(5, 4), (8, 1), (usize::MAX, 2), (0, 9)] {
            assert!(put(&mut bytes, offset, &vec![1; length]).is_err(), "{length} bytes at {offset}");
        }
        assert_eq!(bytes, [7; 8]);
        put(&mut bytes, 6, &[1, 2]).unwrap();
        assert_eq!(bytes, [7, 7, 7, 7, 7, 7, 1, 2]);
    }

    #[test]
    fn a_seal_counts_itself_as_zeros() {
        let mut bytes = *b"abcd????efgh";
        seal(&mut bytes, 4).unwrap();
        assert_eq!(bytes[4..8], crc32c::crc32c(b"abcd\0\0\0\0efgh").to_le_bytes());
    }
}
