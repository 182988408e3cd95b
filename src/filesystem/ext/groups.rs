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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
    pub(super) inode_bitmap_checksum: u32,
}

impl Descriptor {
    /// Decodes and checks one descriptor; its pointers lie inside the volume.
    pub(super) fn parse(superblock: &Superblock, group: u32, bytes: &[u8], at: u64) -> Result<Self, FilesystemError> {
        let fields = Fields::new(bytes, Object::Group(group), at);
        if !checksum_matches(superblock, group, &fields)? {
            return Err(fields.corrupt("the checksum of its descriptor does not match"));
        }
        let descriptor = Self::decode(&fields, superblock)?;
        match descriptor.outside(superblock) {
            Some(block) => Err(fields.corrupt(format!("its descriptor points to block {block}, outside the volume"))),
            None => Ok(descriptor),
        }
    }

    /// The first block that it points to and that no volume of this superblock has.
    pub(super) fn outside(&self, superblock: &Superblock) -> Option<u64> {
        let counts = [(self.block_bitmap, 1), (self.inode_bitmap, 1), (self.inode_table, superblock.inode_table_blocks())];
        let is_outside = |(block, count): &(u64, u64)| {
            *block < u64::from(superblock.first_data_block) || *block == 0 || block.saturating_add(*count) > superblock.blocks
        };
        counts.into_iter().find(is_outside).map(|(block, _)| block)
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
            inode_bitmap_checksum: count(26, 58)?,
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
        u64::from(self.first_data_block).saturating_add(group.saturating_mul(u64::from(self.blocks_per_group)))
    }

    /// The first block after a group: the last group may be shorter.
    pub(super) fn end_of(&self, group: u64) -> u64 {
        self.first_block_of(group + 1).min(self.blocks)
    }

    /// True when the descriptor of a group lies in the groups that it describes, and not behind the superblock.
    pub(super) fn is_in_meta_group(&self, group: u64) -> bool {
        let index = group / self.descriptors_per_block();
        self.features.has_incompat(incompat::META_BG) && index >= u64::from(self.first_meta_group)
    }

    /// The byte where the descriptor of a group begins.
    pub(super) fn descriptor_place(&self, group: u64) -> u64 {
        let index = group / self.descriptors_per_block();
        let block = match self.is_in_meta_group(group) {
            true => self.leading_descriptors(index * self.descriptors_per_block()),
            false => self.superblock_block().saturating_add(1).saturating_add(index),
        };
        self.in_descriptor_block(block, group)
    }

    /// The byte where the copy of a group's descriptor begins that another group keeps.
    pub(super) fn descriptor_copy(&self, group: u64, keeper: u64) -> u64 {
        let first = self.leading_descriptors(keeper);
        let index = if self.is_in_meta_group(group) { 0 } else { group / self.descriptors_per_block() };
        self.in_descriptor_block(first.saturating_add(index), group)
    }

    /// The first block of descriptors in a group.
    fn leading_descriptors(&self, keeper: u64) -> u64 {
        self.first_block_of(keeper).saturating_add(self.blocks_before_descriptors(keeper))
    }

    fn in_descriptor_block(&self, block: u64, group: u64) -> u64 {
        let skip = (group % self.descriptors_per_block()) * u64::from(self.descriptor_bytes);
        block.saturating_mul(u64::from(self.block_bytes)).saturating_add(skip)
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
        let place = group % self.descriptors_per_block();
        let descriptors = if self.is_in_meta_group(group) {
            u64::from(place == 0 || place == 1 || place == self.descriptors_per_block() - 1)
        } else if !self.has_superblock(group) {
            0
        } else if self.features.has_incompat(incompat::META_BG) {
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
