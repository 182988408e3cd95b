//! The list of entries that extended attributes share, whether behind an inode or in a block.

use crate::filesystem::error::FilesystemError;
use crate::filesystem::fields::Fields;

/// Bytes of an entry before its name.
const ENTRY_BYTES: usize = 16;

/// A name, and where its value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AttributeEntry<'a> {
    /// Which prefix belongs before the name.
    pub(super) index: u8,
    pub(super) name: &'a [u8],
    value_offset: u16,
    /// The inode that holds the value; zero when it lies beside the entries.
    pub(super) value_inode: u32,
    pub(super) value_bytes: u32,
}

impl<'a> AttributeEntry<'a> {
    /// The value beside the entries; offsets count from `start`.
    pub(super) fn value(&self, fields: &Fields<'a>, start: usize) -> Result<&'a [u8], FilesystemError> {
        let length = usize::try_from(self.value_bytes).unwrap_or(usize::MAX);
        fields.slice(start + usize::from(self.value_offset), length)
    }
}

/// All entries from `at` on. There are no more than fit, for each takes at least sixteen bytes.
pub(super) fn entries<'a>(fields: &Fields<'a>, mut at: usize) -> Result<Vec<AttributeEntry<'a>>, FilesystemError> {
    let mut found = Vec::new();
    while fields.le32(at)? != 0 {
        let name_bytes = usize::from(fields.u8(at)?);
        found.push(AttributeEntry {
            index: fields.u8(at + 1)?,
            name: fields.slice(at + ENTRY_BYTES, name_bytes)?,
            value_offset: fields.le16(at + 2)?,
            value_inode: fields.le32(at + 4)?,
            value_bytes: fields.le32(at + 8)?,
        });
        at += ENTRY_BYTES + name_bytes.next_multiple_of(4);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::error::Object;

    fn entry(index: u8, name: &[u8], offset: u16, length: u32) -> Vec<u8> {
        let mut bytes = vec![u8::try_from(name.len()).unwrap(), index];
        bytes.extend(offset.to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(name);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn a_list_ends_at_its_zero_word_and_not_later() {
        let mut bytes = [entry(1, b"first", 60, 3), entry(4, b"", 63, 0), vec![0; 4]].concat();
        bytes.resize(60, 0);
        bytes.extend(b"abc");
        let fields = Fields::new(&bytes, Object::Attributes(12), 0);
        let found = entries(&fields, 0).unwrap();
        let seen: Vec<_> = found.iter().map(|entry| (entry.index, entry.name, entry.value(&fields, 0).unwrap())).collect();
        assert_eq!(seen, [(1, &b"first"[..], &b"abc"[..]), (4, b"", b"")]);
    }

    #[test]
    fn a_list_without_an_end_and_a_value_outside_are_errors() {
        let bytes = entry(1, b"first", 60, 3);
        let fields = Fields::new(&bytes, Object::Attributes(12), 0);
        assert!(entries(&fields, 0).unwrap_err().to_string().contains("extended attributes of inode 12"));
        let bytes = [entry(1, b"first", 60, 3), vec![0; 4]].concat();
        let fields = Fields::new(&bytes, Object::Attributes(12), 0);
        assert!(entries(&fields, 0).unwrap()[0].value(&fields, 0).is_err());
    }
}
