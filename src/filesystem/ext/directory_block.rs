//! One directory block: its checksum, wherever it stands, and its entries.

use std::ops::{ControlFlow, Range};

use super::checksum::crc32c;
use crate::filesystem::error::FilesystemError;
use crate::filesystem::face::Entry;
use crate::filesystem::fields::{Fields, sums_agree};
use crate::filesystem::inode::InodeNumber;

/// Bytes of an entry before its name.
pub(super) const HEADER: usize = 8;
/// The shortest entry.
pub(super) const SHORTEST: usize = 12;
/// An entry of no name at the end of a block that holds its checksum.
pub(super) const TAIL_BYTES: usize = 12;
pub(super) const TAIL_KIND: u8 = 0xDE;
/// Where the entries of an index begin: in the root behind `.`, `..` and eight bytes of information; in other nodes at once.
pub(super) const ROOT_ENTRIES: usize = 32;
const NODE_ENTRIES: usize = 8;
pub(super) const INDEX_ENTRY: usize = 8;

/// The length of an entry. Blocks of 64 KiB need two bits more, and keep them where the lowest ones are always zero.
pub(super) fn entry_length(raw: u16, block_bytes: usize) -> usize {
    let raw = usize::from(raw);
    match block_bytes {
        ..0x1_0000 => raw,
        _ if raw == 0 || raw == 0xFFFF => block_bytes,
        _ => (raw & 0xFFFC) | (raw & 3) << 16,
    }
}

/// Compares the checksum of a block: of a node of the index, or of a block of names.
pub(super) fn verify(block: &Fields<'_>, seed: u32, indexed: bool, first: bool) -> Result<(), FilesystemError> {
    let matches = match index_entries(block).filter(|_| indexed) {
        Some(entries) if first || entries == NODE_ENTRIES => index_matches(block, seed, entries)?,
        _ => leaf_matches(block, seed)?,
    };
    if matches { Ok(()) } else { Err(block.corrupt("the checksum of this block does not match")) }
}

/// Where the entries of an index begin, if the block looks like a node of one.
pub(super) fn index_entries(block: &Fields<'_>) -> Option<usize> {
    let length = |at: usize| block.le16(at).ok().map(|raw| entry_length(raw, block.length()));
    let first = length(4)?;
    if first == block.length() {
        return Some(NODE_ENTRIES);
    }
    let information = block.u8(29).ok()?;
    (first == SHORTEST && length(16)? == block.length() - SHORTEST && information == 8).then_some(ROOT_ENTRIES)
}

/// The sum covers what is used, then the four bytes before the sum, then zeros in its place. It stands behind the room for entries.
fn index_matches(block: &Fields<'_>, seed: u32, entries: usize) -> Result<bool, FilesystemError> {
    let (limit, count) = (usize::from(block.le16(entries)?), usize::from(block.le16(entries + 2)?));
    if count > limit {
        return Ok(false);
    }
    let tail = entries + limit * INDEX_ENTRY;
    let parts = [block.slice(0, entries + count * INDEX_ENTRY)?, block.slice(tail, 4)?, &[0; 4]];
    Ok(sums_agree(block.le32(tail + 4)?, parts.iter().fold(seed, |crc, part| crc32c(crc, part))))
}

fn leaf_matches(block: &Fields<'_>, seed: u32) -> Result<bool, FilesystemError> {
    let tail = block.length().saturating_sub(TAIL_BYTES);
    let shape = (block.le32(tail)?, block.le16(tail + 4)?, block.u8(tail + 6)?, block.u8(tail + 7)?);
    let expected = (0, 12, 0, TAIL_KIND);
    Ok(sums_agree(shape, expected) && sums_agree(block.le32(tail + 8)?, crc32c(seed, block.slice(0, tail)?)))
}

/// The entries in a range of a block.
pub(super) struct Names<'a> {
    block: &'a Fields<'a>,
    place: Range<usize>,
    inodes: u32,
}

impl<'a> Names<'a> {
    /// Entries in `place` that lead to inodes up to number `inodes`.
    pub(super) fn new(block: &'a Fields<'a>, place: Range<usize>, inodes: u32) -> Self {
        Self { block, place, inodes }
    }

    /// Shows them all. Every entry is at least twelve bytes long, so this ends.
    pub(super) fn show(self, visit: &mut dyn FnMut(Entry) -> ControlFlow<()>) -> Result<ControlFlow<()>, FilesystemError> {
        let mut at = self.place.start;
        while at < self.place.end {
            let length = entry_length(self.block.le16(at + 4)?, self.block.length());
            if length < SHORTEST || !length.is_multiple_of(4) || length > self.place.end - at {
                return Err(self.wrong(at, &format!("is {length} bytes long")));
            }
            if let Some(entry) = self.entry(at, length)?
                && visit(entry).is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
            at += length;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn entry(&self, at: usize, length: usize) -> Result<Option<Entry>, FilesystemError> {
        let inode = self.block.le32(at)?;
        let name_bytes = usize::from(self.block.u8(at + 6)?);
        if inode == 0 {
            return Ok(None);
        }
        if name_bytes == 0 || HEADER + name_bytes > length {
            return Err(self.wrong(at, &format!("has a name of {name_bytes} bytes")));
        }
        if inode > self.inodes {
            return Err(self.wrong(at, &format!("leads to inode {inode}, which is beyond the last one")));
        }
        let name = self.block.slice(at + HEADER, name_bytes)?;
        if name.iter().any(|byte| *byte == 0 || *byte == b'/') {
            return Err(self.wrong(at, "has a name that cannot be"));
        }
        let dots = name == b"." || name == b"..";
        Ok((!dots).then(|| Entry { name: name.to_vec(), inode: InodeNumber(u64::from(inode)) }))
    }

    fn wrong(&self, at: usize, what: &str) -> FilesystemError {
        self.block.corrupt(format!("the entry at byte {at} of this block {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::error::Object;

    fn entry(inode: u32, length: u16, name: &[u8]) -> Vec<u8> {
        let mut bytes = inode.to_le_bytes().to_vec();
        bytes.extend(length.to_le_bytes());
        bytes.extend([u8::try_from(name.len()).unwrap(), 1]);
        bytes.extend(name);
        bytes.resize(usize::from(length), 0);
        bytes
    }

    fn shown(bytes: &[u8]) -> Result<Vec<String>, String> {
        let block = Fields::new(bytes, Object::Directory(2), 4096);
        let mut names = Vec::new();
        let end = Names::new(&block, 0..bytes.len(), 100).show(&mut |entry| {
            names.push(format!("{}={}", String::from_utf8_lossy(&entry.name), entry.inode.0));
            ControlFlow::Continue(())
        });
        end.map(|_| names).map_err(|error| error.to_string())
    }

    #[test]
    fn free_entries_and_dots_are_passed_over() {
        let block = [entry(2, 12, b"."), entry(2, 12, b".."), entry(0, 16, b"gone"), entry(12, 16, b"here"), entry(100, 12, b"x")];
        assert_eq!(shown(&block.concat()), Ok(vec!["here=12".to_owned(), "x=100".to_owned()]));
    }

    #[test]
    fn an_entry_that_cannot_be_is_named_by_its_place() {
        let check = |bad: Vec<u8>, expected: &str| {
            let said = shown(&[entry(12, 16, b"good"), bad].concat()).unwrap_err();
            assert!(
                said.contains("directory inode 2, byte 4096") && said.contains("at byte 16") && said.contains(expected),
                "{said}"
            );
        };
        let with_length = |length: u8| {
            let mut bytes = entry(12, 16, b"bad");
            bytes[4] = length;
            bytes
        };
        check(with_length(0), "0 bytes long");
        check(with_length(8), "8 bytes long");
        check(with_length(14), "14 bytes long");
        check(with_length(20), "20 bytes long");
        check(entry(101, 12, b"x"), "beyond the last");
        check(entry(12, 12, b"a/b"), "cannot be");
        check(entry(12, 12, b""), "0 bytes");
        check(entry(12, 12, b"12345"), "5 bytes");
        assert!(shown(&entry(12, 16, b"good")[..14]).is_err());
        assert!(shown(&[1, 2, 3]).is_err());
    }

    #[test]
    fn lengths_in_the_largest_blocks_take_two_bits_more() {
        let check = |raw, block_bytes, expected| assert_eq!(entry_length(raw, block_bytes), expected, "{raw}");
        check(0xFFFF, 0x1_0000, 0x1_0000);
        check(0, 0x1_0000, 0x1_0000);
        check(0xFFF4, 0x1_0000, 0xFFF4);
        check(12, 0x1_0000, 12);
        check(12, 4096, 12);
        check(0, 4096, 0);
    }
}
