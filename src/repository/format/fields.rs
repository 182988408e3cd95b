//! Tagged fields: the body of points, leases, verdicts and condemned lists, so that later versions can add to them.
//!
//! ```text
//! field := tag u16 | length u32 | value        tags ascend, each at most once
//! ```
//! A tag with its top bit set must be understood; any other unknown tag is skipped.

use std::collections::BTreeMap;
use std::mem;

use super::bounds::{FormatError, In, length_u32, to_usize};
use crate::base::bytes::{ByteReader, PutBytes};

/// Tags at or above this must be understood by the reader.
pub(super) const CRITICAL: u16 = 0x8000;

/// Collects fields in ascending order of their tags.
#[derive(Debug, Default)]
pub(super) struct FieldWriter {
    out: Vec<u8>,
}

impl FieldWriter {
    /// Appends a field.
    pub(super) fn put(&mut self, tag: u16, value: &[u8]) -> &mut Self {
        self.out.put_u16(tag);
        self.out.put_u32(length_u32(value));
        self.out.put(value);
        self
    }

    /// Appends an eight-byte number.
    pub(super) fn put_u64(&mut self, tag: u16, value: u64) -> &mut Self {
        self.put(tag, &value.to_le_bytes())
    }

    /// The encoded fields.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        mem::take(&mut self.out)
    }
}

/// The fields of one object, by tag.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    what: &'static str,
    values: BTreeMap<u16, &'a [u8]>,
}

impl<'a> Fields<'a> {
    /// Splits `bytes` into fields; `known` are the critical tags that the caller understands.
    pub(super) fn parse(bytes: &'a [u8], what: &'static str, known: &[u16]) -> Result<Self, FormatError> {
        let mut reader = ByteReader::new(bytes);
        let mut values = BTreeMap::new();
        let mut last = None;
        while !reader.is_empty() {
            let tag = reader.u16().within(what)?;
            let length = reader.u32().within(what)?;
            let value = reader.take(to_usize(length)).within(what)?;
            if last.is_some_and(|last| last >= tag) {
                return Err(FormatError::Value { what, field: "field order", value: tag.into() });
            }
            if tag >= CRITICAL && !known.contains(&tag) {
                return Err(FormatError::UnknownField { what, tag });
            }
            last = Some(tag);
            values.insert(tag, value);
        }
        Ok(Self { what, values })
    }

    /// A field that may be absent.
    pub(super) fn optional(&self, tag: u16) -> Option<&'a [u8]> {
        self.values.get(&tag).copied()
    }

    /// A field that must be there.
    pub(super) fn required(&self, tag: u16) -> Result<&'a [u8], FormatError> {
        self.optional(tag).ok_or(FormatError::MissingField { what: self.what, tag })
    }

    /// A required field of exactly `N` bytes.
    pub(super) fn array<const N: usize>(&self, tag: u16) -> Result<[u8; N], FormatError> {
        let value = self.required(tag)?;
        value.try_into().map_err(|_| FormatError::Value {
            what: self.what,
            field: "length of a fixed field",
            value: u64::from(length_u32(value)),
        })
    }

    /// A required eight-byte number.
    pub(super) fn u64(&self, tag: u16) -> Result<u64, FormatError> {
        self.array(tag).map(u64::from_le_bytes)
    }

    /// A required piece of text; bytes that are no UTF-8 are shown as replacement characters.
    pub(super) fn text(&self, tag: u16) -> Result<String, FormatError> {
        self.required(tag).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// Text that is empty when absent.
    pub(super) fn text_or_empty(&self, tag: u16) -> String {
        self.optional(tag).map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_skipped_unless_they_must_be_understood() {
        let bytes = FieldWriter::default().put(1, b"a").put_u64(7, 9).put(CRITICAL, b"").finish();
        assert_eq!(Fields::parse(&bytes, "x", &[]).unwrap_err(), FormatError::UnknownField { what: "x", tag: CRITICAL });
        let fields = Fields::parse(&bytes, "x", &[CRITICAL]).unwrap();
        assert_eq!(fields.u64(7), Ok(9));
        assert_eq!(fields.text(1), Ok("a".into()));
        assert_eq!(fields.required(2), Err(FormatError::MissingField { what: "x", tag: 2 }));
        assert!(fields.array::<3>(1).is_err());
    }

    #[test]
    fn fields_out_of_order_or_cut_short_are_refused() {
        let twice = FieldWriter::default().put(1, b"a").put(1, b"b").finish();
        assert!(matches!(Fields::parse(&twice, "x", &[]), Err(FormatError::Value { .. })));
        let cut = &twice[..6];
        assert!(matches!(Fields::parse(cut, "x", &[]), Err(FormatError::Cut { .. })));
        let huge = [1, 0, 0xff, 0xff, 0xff, 0xff];
        assert!(matches!(Fields::parse(&huge, "x", &[]), Err(FormatError::Cut { .. })));
    }
}
