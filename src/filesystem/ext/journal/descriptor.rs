//! Lists in the log: the tags of a descriptor, each naming the home of a logged block, and the numbers of a revoke record.

use super::superblock::{Checksums, JournalSuperblock};
use crate::filesystem::error::FilesystemError;
use crate::filesystem::fields::Fields;

/// The header that every block of the log begins with.
const HEADER_BYTES: usize = 12;
/// The checksum at the end of a list, in logs that have checksums in blocks.
const TAIL_BYTES: usize = 4;
/// Follows a tag whose UUID is not that of the tag before. Nothing reads it: a journal serves one filesystem.
const UUID_BYTES: usize = 16;

mod flag {
    pub(super) const ESCAPED: u16 = 1;
    pub(super) const SAME_UUID: u16 = 2;
    pub(super) const LAST: u16 = 8;
}

/// One logged block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag {
    /// Its home in the filesystem.
    pub(super) block: u64,
    /// Its first four bytes were the log's magic, and zeros stand in their place.
    pub(super) escaped: bool,
    /// The checksum of the block as logged; its lower 16 bits in logs of version 2. Meaningless without checksums in blocks.
    pub(super) checksum: u32,
}

/// The tags of a descriptor block, in the order of the blocks that follow it.
///
/// The flag for a deleted block is not looked at: no kernel sets it, and recovery has never heeded it.
#[derive(Debug, Clone)]
pub(super) struct Tags<'a> {
    fields: Fields<'a>,
    at: usize,
    end: usize,
    tag_bytes: usize,
    checksums: Checksums,
    wide: bool,
}

impl<'a> Tags<'a> {
    pub(super) fn new(descriptor: Fields<'a>, superblock: &JournalSuperblock) -> Self {
        let (checksums, wide) = (superblock.checksums, superblock.wide);
        let end = descriptor.length().saturating_sub(tail_bytes(checksums));
        Self { fields: descriptor, at: HEADER_BYTES, end, tag_bytes: tag_bytes(checksums, wide), checksums, wide }
    }

    fn parse(&self) -> Option<(Tag, u16)> {
        let low = self.fields.be32(self.at).ok()?;
        let flags = self.fields.be16(self.at + 6).ok()?;
        let high = if self.wide { self.fields.be32(self.at + 8).ok()? } else { 0 };
        let checksum = match self.checksums {
            Checksums::V3 => self.fields.be32(self.at + 12).ok()?,
            Checksums::None | Checksums::Transaction | Checksums::V2 => u32::from(self.fields.be16(self.at + 4).ok()?),
        };
        let block = u64::from(high) << 32 | u64::from(low);
        Some((Tag { block, escaped: flags & flag::ESCAPED != 0, checksum }, flags))
    }
}

impl Iterator for Tags<'_> {
    type Item = Tag;

    fn next(&mut self) -> Option<Tag> {
        if self.at + self.tag_bytes > self.end {
            return None;
        }
        let (tag, flags) = self.parse()?;
        self.at += self.tag_bytes + if flags & flag::SAME_UUID == 0 { UUID_BYTES } else { 0 };
        if flags & flag::LAST != 0 {
            self.at = self.end;
        }
        Some(tag)
    }
}

/// How long a tag is. Version 2 adds two bytes that nothing uses.
fn tag_bytes(checksums: Checksums, wide: bool) -> usize {
    let narrow = match checksums {
        Checksums::V3 => return 16,
        Checksums::V2 => 10,
        Checksums::None | Checksums::Transaction => 8,
    };
    if wide { narrow + 4 } else { narrow }
}

fn tail_bytes(checksums: Checksums) -> usize {
    if checksums.in_blocks() { TAIL_BYTES } else { 0 }
}

/// The blocks that a revoke record lists.
pub(super) fn revoked<'a>(
    record: Fields<'a>,
    superblock: &JournalSuperblock,
) -> Result<impl Iterator<Item = u64> + use<'a>, FilesystemError> {
    // The count is in bytes, and includes the header and itself.
    let used = record.be32(HEADER_BYTES)? as usize;
    let room = record.length().saturating_sub(tail_bytes(superblock.checksums));
    if used > room {
        return Err(record.corrupt(format!("a revoke record claims {used} bytes of the {room} that it has")));
    }
    let number_bytes = if superblock.wide { 8 } else { 4 };
    let first = HEADER_BYTES + 4;
    let numbers = record.slice(first, used.saturating_sub(first))?;
    Ok(numbers.chunks_exact(number_bytes).map(|number| number.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))))
}
