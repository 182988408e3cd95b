//! Extended attributes: in the room behind an inode, in a block of their own, and values in inodes of their own.

use super::acl;
use super::attribute_entries::{AttributeEntry, entries};
use super::checksum::crc32c;
use super::record::Record;
use super::{Ext, flags};
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::face::Xattr;
use crate::filesystem::fields::{Fields, sums_agree};
use crate::filesystem::inode::Inode;

const MAGIC: u32 = 0xEA02_0000;
/// Bytes before the entries in a block.
const BLOCK_HEADER: usize = 32;
const BLOCK_CHECKSUM: usize = 16;
/// The longest value that the kernel stores or shows.
const VALUE_BYTES: u32 = 64 << 10;
/// All values of one inode together: as many as a block of names can lead to fit in.
const VALUES_BYTES: usize = 16 << 20;
const SYSTEM: u8 = 7;

impl Ext {
    /// All attributes that have a name outside, sorted.
    pub(super) fn attributes(&self, inode: &Inode) -> Result<Vec<Xattr>, FilesystemError> {
        let record = self.record_of(inode)?;
        let mut found = Vec::new();
        let mut total = 0;
        self.in_inode(&record, &mut |fields, start, entry| self.collect(&record, fields, start, entry, &mut found, &mut total))?;
        self.in_block(&record, &mut |fields, start, entry| self.collect(&record, fields, start, entry, &mut found, &mut total))?;
        found.sort_by(|a: &Xattr, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// The part of inline content that does not fit where the map would be: the attribute `system.data`.
    pub(super) fn inline_rest(&self, record: &Record<'_>) -> Result<Vec<u8>, FilesystemError> {
        let mut rest = Vec::new();
        self.in_inode(record, &mut |fields, start, entry| {
            if is_inline_data(entry) {
                rest = entry.value(fields, start)?.to_vec();
            }
            Ok(())
        })?;
        Ok(rest)
    }

    fn in_inode(&self, record: &Record<'_>, each: Each<'_>) -> Result<(), FilesystemError> {
        let Some((start, room)) = record.attribute_room().filter(|(_, room)| room.len() > 4) else { return Ok(()) };
        let at = record.at + start as u64;
        let fields = Fields::new(room, Object::Attributes(u64::from(record.number)), at);
        if fields.le32(0)? != MAGIC {
            return Ok(());
        }
        entries(&fields, 4)?.iter().try_for_each(|entry| each(&fields, 4, entry))
    }

    fn in_block(&self, record: &Record<'_>, each: Each<'_>) -> Result<(), FilesystemError> {
        let block = record.attribute_block(&self.volume.superblock)?;
        if block == 0 {
            return Ok(());
        }
        let object = Object::Attributes(u64::from(record.number));
        if !self.volume.holds(block, 1) {
            return Err(FilesystemError::corrupt(object, self.volume.place_of(block), "their block lies outside the volume"));
        }
        let bytes = self.volume.block(object, block)?;
        let fields = Fields::new(&bytes, object, self.volume.place_of(block));
        self.verify_block(&fields, block)?;
        entries(&fields, BLOCK_HEADER)?.iter().try_for_each(|entry| each(&fields, 0, entry))
    }

    fn verify_block(&self, fields: &Fields<'_>, block: u64) -> Result<(), FilesystemError> {
        if fields.le32(0)? != MAGIC || fields.le32(8)? != 1 {
            return Err(fields.corrupt("the header of their block is wrong"));
        }
        if !self.volume.superblock.has_metadata_checksums() {
            return Ok(());
        }
        let after = fields.slice(BLOCK_CHECKSUM + 4, fields.length().saturating_sub(BLOCK_CHECKSUM + 4))?;
        let parts = [&block.to_le_bytes()[..], fields.slice(0, BLOCK_CHECKSUM)?, &[0; 4], after];
        let computed = parts.iter().fold(self.volume.superblock.seed, |crc, part| crc32c(crc, part));
        if !sums_agree(fields.le32(BLOCK_CHECKSUM)?, computed) {
            return Err(fields.corrupt("the checksum of their block does not match"));
        }
        Ok(())
    }

    fn collect(
        &self,
        record: &Record<'_>,
        fields: &Fields<'_>,
        start: usize,
        entry: &AttributeEntry<'_>,
        found: &mut Vec<Xattr>,
        total: &mut usize,
    ) -> Result<(), FilesystemError> {
        let Some(prefix) = prefix(entry.index).filter(|_| !is_inline_data(entry)) else { return Ok(()) };
        let stored = match entry.value_inode {
            0 => entry.value(fields, start)?.to_vec(),
            inode => self.value_of(record, fields, inode, entry)?,
        };
        *total += stored.len();
        if *total > VALUES_BYTES {
            return Err(FilesystemError::TooLarge { object: fields.object(), limit: VALUES_BYTES as u64 });
        }
        let value = if acl::is_list(entry.index) { acl::as_seen(&stored).map_err(|what| fields.corrupt(what))? } else { stored };
        found.push(Xattr { name: [prefix, entry.name].concat(), value });
        Ok(())
    }

    /// A value that has an inode of its own, compared with the hash that the inode keeps where others keep a time.
    fn value_of(
        &self,
        record: &Record<'_>,
        fields: &Fields<'_>,
        number: u32,
        entry: &AttributeEntry<'_>,
    ) -> Result<Vec<u8>, FilesystemError> {
        if entry.value_bytes > VALUE_BYTES {
            return Err(FilesystemError::TooLarge { object: fields.object(), limit: u64::from(VALUE_BYTES) });
        }
        let raw = self.raw_inode(number)?;
        let holder = Record::new(number, &raw, self.volume.inode_place(number)?.offset)?;
        let size = holder.size(&self.volume.superblock)?;
        if !holder.has_flag(flags::EA_INODE)? || size != u64::from(entry.value_bytes) {
            return Err(fields.corrupt(format!("inode {number} does not hold the value that it should")));
        }
        let value = self.metadata(fields.object(), &holder, entry.value_bytes as usize)?;
        // Lustre kept no hash, but the inode that the value belongs to.
        let of_lustre = holder.fields.le32(16)? == record.number && holder.fields.le32(100)? == record.fields.le32(100)?;
        if !sums_agree(holder.fields.le32(8)?, crc32c(self.volume.superblock.seed, &value)) && !of_lustre {
            return Err(fields.corrupt(format!("the hash of the value in inode {number} does not match")));
        }
        Ok(value)
    }
}

/// Called with the structure, the byte from which value offsets count, and an entry.
type Each<'a> = &'a mut dyn FnMut(&Fields<'_>, usize, &AttributeEntry<'_>) -> Result<(), FilesystemError>;

fn is_inline_data(entry: &AttributeEntry<'_>) -> bool {
    entry.index == SYSTEM && entry.name == b"data"
}

/// What stands before the stored name. Others, such as the context of an encryption, have no name outside.
fn prefix(index: u8) -> Option<&'static [u8]> {
    Some(match index {
        1 => b"user.",
        2 => b"system.posix_acl_access",
        3 => b"system.posix_acl_default",
        4 => b"trusted.",
        6 => b"security.",
        SYSTEM => b"system.",
        8 => b"system.richacl",
        _ => return None,
    })
}
