//! The ways in which persisted bytes can be wrong, each with the numbers needed to find the place again.

use thiserror::Error;

use crate::base::bytes::{ByteReader, Truncated};

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FormatError {
    /// The object ends too early.
    #[error("{what} is cut short: {cut}")]
    Cut {
        /// Which structure.
        what: &'static str,
        /// Which field, by place.
        cut: Truncated,
    },
    /// The object goes on after its end.
    #[error("{what} has {extra} bytes after its end")]
    Trailing {
        /// Which structure.
        what: &'static str,
        /// How many bytes too many.
        extra: usize,
    },
    /// The first bytes are not the structure's own.
    #[error("{what} does not begin with its magic number")]
    Magic {
        /// Which structure.
        what: &'static str,
    },
    /// The object was made by a newer icecore.
    #[error("{what} has format version {found}, and this icecore reads up to {known}: use a newer icecore")]
    Version {
        /// Which structure.
        what: &'static str,
        /// The version found.
        found: u8,
        /// The newest version known here.
        known: u8,
    },
    /// A field without which the object cannot be understood is unknown here.
    #[error("{what} has the unknown field {tag:#06x}, which must be understood: use a newer icecore")]
    UnknownField {
        /// Which structure.
        what: &'static str,
        /// The field's tag.
        tag: u16,
    },
    /// A required field is not there.
    #[error("{what} lacks field {tag:#06x}")]
    MissingField {
        /// Which structure.
        what: &'static str,
        /// The field's tag.
        tag: u16,
    },
    /// The stored bytes changed since they were written.
    #[error("{what} fails its CRC-32")]
    Checksum {
        /// Which structure.
        what: &'static str,
    },
    /// A value that no writer writes.
    #[error("{what}: {field} is {value}, which is not allowed")]
    Value {
        /// Which structure.
        what: &'static str,
        /// Which field.
        field: &'static str,
        /// What stands there.
        value: u64,
    },
}

/// Gives a cursor's errors the name of the structure being read.
pub(super) trait In<T> {
    /// Names the structure.
    fn within(self, what: &'static str) -> Result<T, FormatError>;
}

impl<T> In<T> for Result<T, Truncated> {
    fn within(self, what: &'static str) -> Result<T, FormatError> {
        self.map_err(|cut| FormatError::Cut { what, cut })
    }
}

/// Refuses bytes after the end.
pub(super) fn expect_end(reader: &ByteReader<'_>, what: &'static str) -> Result<(), FormatError> {
    if reader.is_empty() { Ok(()) } else { Err(FormatError::Trailing { what, extra: reader.remaining() }) }
}

/// Checks magic and version, the first nine bytes of most objects.
pub(super) fn expect_magic(reader: &mut ByteReader<'_>, magic: &[u8; 8], what: &'static str) -> Result<(), FormatError> {
    if &reader.array::<8>().within(what)? != magic {
        return Err(FormatError::Magic { what });
    }
    match reader.u8().within(what)? {
        super::FORMAT_VERSION => Ok(()),
        found => Err(FormatError::Version { what, found, known: super::FORMAT_VERSION }),
    }
}

/// Splits off the last four bytes and holds the rest against them.
pub(super) fn strip_crc<'a>(bytes: &'a [u8], what: &'static str) -> Result<&'a [u8], FormatError> {
    let (body, crc) =
        bytes.split_last_chunk::<4>().ok_or(FormatError::Cut { what, cut: Truncated { at: 0, wanted: 4, have: bytes.len() } })?;
    if crc32fast::hash(body) == u32::from_le_bytes(*crc) { Ok(body) } else { Err(FormatError::Checksum { what }) }
}

/// The length of a slice as stored in four bytes. Every structure here is bounded far below 4 GiB.
pub(super) fn length_u32(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// A stored length as a slice length; 32-bit values fit `usize` on every target that has block devices.
pub(super) fn to_usize(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
