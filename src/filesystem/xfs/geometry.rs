//! How numbers of blocks and inodes become bytes, and which of them can exist at all.
//!
//! ```text
//!   block number   group | block in group            (ag_block_log bits)
//!   inode number   group | block in group | slot     (ag_block_log + inodes_per_block_log bits)
//! ```

/// Sectors at the beginning of each group: superblock, free space, inodes, free list.
const HEADER_SECTORS: u32 = 4;

/// Sizes, parsed and checked once: shifts below cannot overflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Version 5: metadata carries checksums, its place, its filesystem and its owner.
    pub(super) crc: bool,
    /// Directory entries name the kind of their inode.
    pub(super) file_type: bool,
    /// Inode chunks may have holes.
    pub(super) sparse_inodes: bool,
    /// Bytes in a block as a power of two: 9 to 16.
    pub(super) block_log: u8,
    /// Bytes in a sector.
    pub(super) sector_bytes: u32,
    /// Bytes in a directory block as a power of two: block_log to 16.
    pub(super) directory_log: u8,
    /// Bytes in an inode: 256 to 2048.
    pub(super) inode_bytes: u16,
    /// Inodes in a block as a power of two.
    pub(super) inodes_per_block_log: u8,
    /// Blocks in every group but the last.
    pub(super) group_blocks: u32,
    /// Bits of a block number within a group: at most 31.
    pub(super) group_block_log: u8,
    /// Groups.
    pub(super) groups: u32,
    /// Blocks of the data section.
    pub(super) data_blocks: u64,
    /// What metadata names as its filesystem.
    pub(super) uuid: [u8; 16],
}

/// Where an inode lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct InodePlace {
    /// Its group.
    pub(super) group: u32,
    /// Its number within the group.
    pub(super) in_group: u32,
    /// Its byte of the filesystem.
    pub(super) byte: u64,
}

impl Geometry {
    /// Bytes in a block.
    pub(super) fn block_bytes(&self) -> u32 {
        1 << self.block_log
    }

    /// Bytes in a directory block.
    pub(super) fn directory_bytes(&self) -> u32 {
        1 << self.directory_log
    }

    /// Bytes of the data section.
    pub(super) fn bytes(&self) -> u64 {
        self.data_blocks << self.block_log
    }

    /// The first byte of a group.
    pub(super) fn group_byte(&self, group: u32) -> u64 {
        (u64::from(group) * u64::from(self.group_blocks)) << self.block_log
    }

    /// The group that begins at this byte, if one does.
    pub(super) fn group_at(&self, byte: u64) -> Option<u32> {
        let group = u32::try_from(byte / self.group_byte(1)).ok()?;
        (group < self.groups && self.group_byte(group) == byte).then_some(group)
    }

    /// The number of an inode, by its group and its number within that.
    pub(super) fn inode_number(&self, group: u32, in_group: u32) -> u64 {
        u64::from(group) << (self.group_block_log + self.inodes_per_block_log) | u64::from(in_group)
    }

    /// The group that an inode's number names; there may be no such group.
    pub(super) fn group_of(&self, number: u64) -> u32 {
        u32::try_from(number >> (self.group_block_log + self.inodes_per_block_log)).unwrap_or(u32::MAX)
    }

    /// Inodes that would fit a group up to its end, the space of its headers included.
    pub(super) fn inodes_of(&self, group: u32) -> u64 {
        u64::from(self.blocks_of(group)) << self.inodes_per_block_log
    }

    /// Blocks in this group: the last is shorter.
    pub(super) fn blocks_of(&self, group: u32) -> u32 {
        let before = u64::from(group) * u64::from(self.group_blocks);
        let left = self.data_blocks.saturating_sub(before);
        u32::try_from(left).unwrap_or(u32::MAX).min(self.group_blocks)
    }

    /// The first block of a group that is not its headers.
    pub(super) fn first_block(&self) -> u32 {
        (HEADER_SECTORS * self.sector_bytes).div_ceil(self.block_bytes())
    }

    /// The first byte of `count` blocks of a group. `None` where they reach into its headers or past its end.
    pub(super) fn in_group(&self, group: u32, block: u32, count: u32) -> Option<u64> {
        let end = block.checked_add(count)?;
        let inside = group < self.groups && block >= self.first_block() && end <= self.blocks_of(group);
        inside.then(|| self.group_byte(group) + (u64::from(block) << self.block_log))
    }

    /// The first byte of `count` blocks from a block number. `None` where they cannot exist.
    pub(super) fn blocks(&self, block: u64, count: u64) -> Option<u64> {
        let group = u32::try_from(block >> self.group_block_log).ok()?;
        let within = u32::try_from(block & ((1 << self.group_block_log) - 1)).ok()?;
        self.in_group(group, within, u32::try_from(count).ok()?)
    }

    /// Where an inode lies. `None` where none can be.
    pub(super) fn inode(&self, number: u64) -> Option<InodePlace> {
        let bits = self.group_block_log + self.inodes_per_block_log;
        let group = u32::try_from(number >> bits).ok()?;
        let in_group = u32::try_from(number & ((1 << bits) - 1)).ok()?;
        let slot = in_group & ((1 << self.inodes_per_block_log) - 1);
        let block = self.in_group(group, in_group >> self.inodes_per_block_log, 1)?;
        Some(InodePlace { group, in_group, byte: block + u64::from(slot) * u64::from(self.inode_bytes) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry() -> Geometry {
        Geometry {
            crc: true,
            file_type: true,
            sparse_inodes: true,
            block_log: 12,
            sector_bytes: 512,
            directory_log: 12,
            inode_bytes: 512,
            inodes_per_block_log: 3,
            group_blocks: 1000,
            group_block_log: 10,
            groups: 3,
            data_blocks: 2500,
            uuid: [7; 16],
        }
    }

    #[test]
    fn a_run_of_blocks_lies_in_one_group_behind_its_headers() {
        let geometry = geometry();
        assert_eq!(geometry.blocks(1, 1), Some(4096));
        assert_eq!(geometry.blocks(0, 1), None, "the headers");
        assert_eq!(geometry.blocks(999, 1), Some(999 << 12));
        assert_eq!(geometry.blocks(999, 2), None, "into the next group");
        assert_eq!(geometry.blocks(1000, 1), None, "numbers between groups");
        assert_eq!(geometry.blocks((1 << 10) + 1, 999), Some(1001 << 12));
        assert_eq!(geometry.blocks((2 << 10) + 499, 1), Some(2499 << 12));
        assert_eq!(geometry.blocks((2 << 10) + 499, 2), None, "past the shorter last group");
        assert_eq!(geometry.blocks((3 << 10) + 1, 1), None, "no such group");
        assert_eq!(geometry.blocks(u64::MAX, u64::MAX), None);
    }

    #[test]
    fn an_inode_number_is_group_block_and_slot() {
        let geometry = geometry();
        let place = geometry.inode((1 << 13) + 8 * 5 + 3).unwrap();
        assert_eq!((place.group, place.in_group, place.byte), (1, 43, (1005 << 12) + 3 * 512));
        assert!(geometry.inode(7).is_none(), "inside the headers");
        assert!(geometry.inode((2 << 13) + 8 * 500).is_none(), "past the last group");
        assert!(geometry.inode(u64::MAX).is_none());
    }

    #[test]
    fn large_sectors_take_more_blocks_for_headers() {
        let mut geometry = geometry();
        geometry.sector_bytes = 4096;
        assert_eq!(geometry.first_block(), 4);
        geometry.block_log = 16;
        assert_eq!(geometry.first_block(), 1);
    }
}
