//! Block groups: where their descriptors lie, and what the descriptors say.

use super::checksum::{crc16, crc32c};
use super::features::{compat, incompat, ro_compat};
use super::superblock::{PLACE, Superblock};
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::{Fields, sums_agree};

/// The inode table was never written.
pub(super) const INODES_UNINITIALISED: u16 = 1;
/// The block bitmap was never written: only the group's own metadata is in use.
pub(super) const BLOCKS_UNINITIALISED: u16 = 2;
const CHECKSUM: usize = 30;

/// What a group says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) block_bitmap: u64,
    pub(super) inode_bitmap: u64,
    pub(super) inode_table: u64,
    /// Free clusters.
    pub(super) free_clusters: u32,
    pub(super) flags: u16,
    /// How many inodes at the end of the table were never used.
    pub(super) unused_inodes: u32,
    pub(super) block_bitmap_checksum: u32,
}

impl Descriptor {
    /// Decodes and checks one descriptor; its pointers lie inside the volume.
    pub(super) fn parse(superblock: &Superblock, group: u32, bytes: &[u8], at: u64) -> Result<Self, FilesystemError> {
        let fields = Fields::new(bytes, Object::Group(group), at);
        if !checksum_matches(superblock, group, &fields)? {
            return Err(fields.corrupt("the checksum of its descriptor does not match"));
        }
        let descriptor = Self::decode(&fields, superblock)?;
        let table = descriptor.inode_table.saturating_add(superblock.inode_table_blocks());
        for (block, after) in [
            (descriptor.block_bitmap, descriptor.block_bitmap.saturating_add(1)),
            (descriptor.inode_bitmap, descriptor.inode_bitmap.saturating_add(1)),
            (descriptor.inode_table, table),
        ] {
            if block < u64::from(superblock.first_data_block) || block == 0 || after > superblock.blocks {
                return Err(fields.corrupt(format!("its descriptor points to block {block}, outside the volume")));
            }
        }
        Ok(descriptor)
    }

    fn decode(fields: &Fields<'_>, superblock: &Superblock) -> Result<Self, FilesystemError> {
        let wide = superblock.descriptor_bytes >= 64;
        let block = |low: usize| -> Result<u64, FilesystemError> {
            let high = if wide { u64::from(fields.le32(low + 32)?) << 32 } else { 0 };
            Ok(u64::from(fields.le32(low)?) | high)
        };
        let count = |low: usize, high: usize| -> Result<u32, FilesystemError> {
            let high = if wide { u32::from(fields.le16(high)?) << 16 } else { 0 };
            Ok(u32::from(fields.le16(low)?) | high)
        };
        let flags = if superblock.has_descriptor_checksums() { fields.le16(18)? } else { 0 };
        Ok(Self {
            block_bitmap: block(0)?,
            inode_bitmap: block(4)?,
            inode_table: block(8)?,
            free_clusters: count(12, 44)?,
            flags,
            unused_inodes: if superblock.has_descriptor_checksums() { count(28, 50)? } else { 0 },
            block_bitmap_checksum: count(24, 56)?,
        })
    }
}

fn checksum_matches(superblock: &Superblock, group: u32, fields: &Fields<'_>) -> Result<bool, FilesystemError> {
    if !superblock.has_descriptor_checksums() {
        return Ok(true);
    }
    let (before, after) = (fields.slice(0, CHECKSUM)?, fields.slice(CHECKSUM + 2, fields.length().saturating_sub(CHECKSUM + 2))?);
    let number = group.to_le_bytes();
    let computed = if superblock.has_metadata_checksums() {
        let parts = [&number[..], before, &[0, 0], after];
        // The lower half is all that is kept.
        (parts.iter().fold(superblock.seed, |crc, part| crc32c(crc, part)) & 0xFFFF) as u16
    } else {
        let parts = [&superblock.uuid[..], &number, before, after];
        parts.iter().fold(u16::MAX, |crc, part| crc16(crc, part))
    };
    Ok(sums_agree(fields.le16(CHECKSUM)?, computed))
}

impl Superblock {
    /// Blocks of an inode table.
    pub(super) fn inode_table_blocks(&self) -> u64 {
        (u64::from(self.inodes_per_group) * u64::from(self.inode_bytes)).div_ceil(u64::from(self.block_bytes))
    }

    pub(super) fn descriptors_per_block(&self) -> u64 {
        u64::from(self.block_bytes / u32::from(self.descriptor_bytes))
    }

    /// Blocks that all descriptors fill.
    pub(super) fn descriptor_blocks(&self) -> u64 {
        self.group_count().div_ceil(self.descriptors_per_block())
    }

    /// The block that holds the superblock.
    pub(super) fn superblock_block(&self) -> u64 {
        PLACE / u64::from(self.block_bytes)
    }

    pub(super) fn first_block_of(&self, group: u64) -> u64 {
        u64::from(self.first_data_block) + group * u64::from(self.blocks_per_group)
    }

    /// The first block after a group: the last group may be shorter.
    pub(super) fn end_of(&self, group: u64) -> u64 {
        self.first_block_of(group + 1).min(self.blocks)
    }

    fn has_meta_groups(&self) -> bool {
        self.features.has_incompat(incompat::META_BG)
    }

    /// The byte where the descriptor of a group begins.
    pub(super) fn descriptor_place(&self, group: u64) -> u64 {
        let per_block = self.descriptors_per_block();
        let index = group / per_block;
        let block = if !self.has_meta_groups() || index < u64::from(self.first_meta_group) {
            self.superblock_block() + 1 + index
        } else {
            let leader = index * per_block;
            self.first_block_of(leader) + self.blocks_before_descriptors(leader)
        };
        block * u64::from(self.block_bytes) + (group % per_block) * u64::from(self.descriptor_bytes)
    }

    /// Blocks of a group's superblock copy: one, or none; group 0 of 1 KiB blocks in clusters also has the boot block.
    fn blocks_before_descriptors(&self, group: u64) -> u64 {
        let boot = group == 0 && self.superblock_block() > u64::from(self.first_data_block);
        u64::from(self.has_superblock(group)) + u64::from(boot)
    }

    /// True when a group begins with a copy of the superblock.
    pub(super) fn has_superblock(&self, group: u64) -> bool {
        if group == 0 {
            return true;
        }
        if self.features.has_compat(compat::SPARSE_SUPER2) {
            return self.backup_groups.iter().any(|backup| u64::from(*backup) == group);
        }
        !self.features.has_ro_compat(ro_compat::SPARSE_SUPER) || [3, 5, 7].iter().any(|base| is_power(group, *base))
    }

    /// How many blocks at the beginning of a group hold the superblock, descriptors, and room for more descriptors.
    pub(super) fn leading_metadata_blocks(&self, group: u64) -> u64 {
        let (index, place) = (group / self.descriptors_per_block(), group % self.descriptors_per_block());
        let descriptors = if self.has_meta_groups() && index >= u64::from(self.first_meta_group) {
            u64::from(place == 0 || place == 1 || place == self.descriptors_per_block() - 1)
        } else if !self.has_superblock(group) {
            0
        } else if self.has_meta_groups() {
            u64::from(self.first_meta_group) + u64::from(self.reserved_descriptor_blocks)
        } else {
            self.descriptor_blocks() + u64::from(self.reserved_descriptor_blocks)
        };
        self.blocks_before_descriptors(group) + descriptors
    }
}

/// True for 1 and for every power of `base`.
fn is_power(mut number: u64, base: u64) -> bool {
    while number > 1 && number.is_multiple_of(base) {
        number /= base;
    }
    number == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_the_superblock_stand_in_powers_of_three_five_and_seven() {
        let holders: Vec<u64> = (1..130).filter(|group| [3, 5, 7].iter().any(|base| is_power(*group, *base))).collect();
        assert_eq!(holders, [1, 3, 5, 7, 9, 25, 27, 49, 81, 125]);
    }
}
