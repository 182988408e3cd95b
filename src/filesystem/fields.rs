//! Fields of on-disk structures at fixed offsets, in either byte order, with errors that name the structure.

use super::error::{FilesystemError, Object};

/// Compares a checksum with the one that its bytes have. A fuzzer never hits the right one, so there every sum counts as right: what
/// lies behind it must hold against any bytes.
pub(super) fn sums_agree<T: PartialEq>(stored: T, computed: T) -> bool {
    cfg!(fuzzing) || stored == computed
}

/// The bytes of one structure on disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    object: Object,
    at: u64,
}

impl<'a> Fields<'a> {
    /// The structure `object`, which begins at byte `at` of the filesystem.
    pub(super) fn new(bytes: &'a [u8], object: Object, at: u64) -> Self {
        Self { bytes, object, at }
    }

    /// All bytes.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What this is, for messages.
    pub(super) fn object(&self) -> Object {
        self.object
    }

    /// How many bytes there are.
    pub(super) fn length(&self) -> usize {
        self.bytes.len()
    }

    /// An error about this structure.
    pub(super) fn corrupt(&self, what: impl Into<String>) -> FilesystemError {
        FilesystemError::corrupt(self.object, self.at, what)
    }

    /// `length` bytes from `offset`.
    pub(super) fn slice(&self, offset: usize, length: usize) -> Result<&'a [u8], FilesystemError> {
        let end = offset.checked_add(length);
        end.and_then(|end| self.bytes.get(offset..end)).ok_or_else(|| {
            self.corrupt(format!("a field of {length} bytes at {offset} reaches past its {} bytes", self.bytes.len()))
        })
    }

    /// `N` bytes from `offset`.
    pub(super) fn array<const N: usize>(&self, offset: usize) -> Result<[u8; N], FilesystemError> {
        let mut out = [0; N];
        out.copy_from_slice(self.slice(offset, N)?);
        Ok(out)
    }

    /// One byte.
    pub(super) fn u8(&self, offset: usize) -> Result<u8, FilesystemError> {
        Ok(u8::from_le_bytes(self.array(offset)?))
    }

    /// Two bytes, little-endian.
    pub(super) fn le16(&self, offset: usize) -> Result<u16, FilesystemError> {
        Ok(u16::from_le_bytes(self.array(offset)?))
    }

    /// Four bytes, little-endian.
    pub(super) fn le32(&self, offset: usize) -> Result<u32, FilesystemError> {
        Ok(u32::from_le_bytes(self.array(offset)?))
    }

    /// Eight bytes, little-endian.
    pub(super) fn le64(&self, offset: usize) -> Result<u64, FilesystemError> {
        Ok(u64::from_le_bytes(self.array(offset)?))
    }

    /// Two bytes, big-endian.
    pub(super) fn be16(&self, offset: usize) -> Result<u16, FilesystemError> {
        Ok(u16::from_be_bytes(self.array(offset)?))
    }

    /// Four bytes, big-endian.
    pub(super) fn be32(&self, offset: usize) -> Result<u32, FilesystemError> {
        Ok(u32::from_be_bytes(self.array(offset)?))
    }

    /// Eight bytes, big-endian.
    pub(super) fn be64(&self, offset: usize) -> Result<u64, FilesystemError> {
        Ok(u64::from_be_bytes(self.array(offset)?))
    }
}
