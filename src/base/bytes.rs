//! Little-endian byte cursors that cannot panic, for every persisted format.

use thiserror::Error;

/// The input ended before the field did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("input ends at byte {have}, but {wanted} bytes are needed from byte {at}")]
pub struct Truncated {
    /// Where the field begins.
    pub at: usize,
    /// How long the field is.
    pub wanted: usize,
    /// How long the input is.
    pub have: usize,
}

/// Reads fields from the front of a byte slice.
#[derive(Debug, Clone)]
pub struct ByteReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> ByteReader<'a> {
    /// Starts at the first byte of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes already taken.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    /// Bytes not taken yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// True when nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Truncated> {
        let truncated = Truncated { at: self.at, wanted: length, have: self.bytes.len() };
        let end = self.at.checked_add(length).ok_or(truncated)?;
        let field = self.bytes.get(self.at..end).ok_or(truncated)?;
        self.at = end;
        Ok(field)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Truncated> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self) -> Result<u16, Truncated> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self) -> Result<u32, Truncated> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self) -> Result<u64, Truncated> {
        Ok(u64::from_le_bytes(self.array()?))
    }
}

/// Appends little-endian fields to a vector.
pub trait PutBytes {
    /// Appends one byte.
    fn put_u8(&mut self, value: u8);
    /// Appends two bytes, little-endian.
    fn put_u16(&mut self, value: u16);
    /// Appends four bytes, little-endian.
    fn put_u32(&mut self, value: u32);
    /// Appends eight bytes, little-endian.
    fn put_u64(&mut self, value: u64);
    /// Appends `bytes` as they are.
    fn put(&mut self, bytes: &[u8]);
}

impl PutBytes for Vec<u8> {
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }
    fn put_u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_they_were_put() {
        let mut out = Vec::new();
        out.put_u8(1);
        out.put_u16(0x0203);
        out.put_u32(0x0405_0607);
        out.put_u64(0x0809_0a0b_0c0d_0e0f);
        out.put(b"xyz");
        let mut reader = ByteReader::new(&out);
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.u16(), Ok(0x0203));
        assert_eq!(reader.u32(), Ok(0x0405_0607));
        assert_eq!(reader.u64(), Ok(0x0809_0a0b_0c0d_0e0f));
        assert_eq!(reader.array::<3>(), Ok(*b"xyz"));
        assert!(reader.is_empty());
    }

    #[test]
    fn a_short_input_names_the_field_it_cut() {
        let mut reader = ByteReader::new(&[1, 2, 3]);
        assert_eq!(reader.u16(), Ok(0x0201));
        assert_eq!(reader.u32(), Err(Truncated { at: 2, wanted: 4, have: 3 }));
        assert_eq!(reader.u8(), Ok(3), "a failed read takes nothing");
        assert_eq!(reader.take(usize::MAX).map_err(|e| e.wanted), Err(usize::MAX));
    }
}
