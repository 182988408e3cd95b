//! Numbers of one to ten bytes: seven bits a byte, lowest first, the top bit set while more follow.

use crate::base::bytes::{ByteReader, PutBytes, Truncated};

/// The longest number, in bytes.
pub(super) const MAX_VARINT_BYTES: usize = 10;

/// Appends a number.
pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Reads a number. Bits beyond the sixty-fourth are dropped: no writer writes them.
pub(super) fn take(reader: &mut ByteReader<'_>) -> Result<u64, Truncated> {
    let mut value = 0u64;
    for index in 0..MAX_VARINT_BYTES {
        let byte = reader.u8()?;
        value |= u64::from(byte & 0x7f).checked_shl(7 * index as u32).unwrap_or(0);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Ok(value)
}

/// Small numbers of either sign as small numbers.
pub(super) fn fold(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// What [`fold`] folded.
pub(super) fn unfold(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_number_comes_back_and_takes_as_little_as_it_can(value in any::<u64>(), shift in 0u32..64) {
            let value = value >> shift;
            let mut out = Vec::new();
            put(&mut out, value);
            prop_assert_eq!(out.len(), (64 - value.leading_zeros()).div_ceil(7).max(1) as usize);
            prop_assert_eq!(take(&mut ByteReader::new(&out)), Ok(value));
            prop_assert_eq!(unfold(fold(value as i64)), value as i64);
        }
    }

    #[test]
    fn a_number_that_never_ends_is_cut_off() {
        assert!(take(&mut ByteReader::new(&[0xff; 9])).is_err());
        let endless = [0xff; 20];
        let mut reader = ByteReader::new(&endless);
        assert!(take(&mut reader).is_ok());
        assert_eq!(reader.position(), MAX_VARINT_BYTES);
    }
}
