//! Whether the space that an inode says it takes can be what its map leads to.
//!
//! Without checksums this is what tells a map that lost a branch from one that never had it. What the map itself takes is not known,
//! only how much it can be at most.

use crate::base::extent::Extent;
use crate::filesystem::{FileKind, Inode, Segment, Source, Wreck};

/// Inodes count the space that they take in these.
const SECTOR_BYTES: u64 = 512;
/// Blocks on the longest way through a map, and one of attributes.
const MOST_OTHER_BLOCKS: u64 = 6;
/// The first pointers stand in the inode itself.
const DIRECT_POINTERS: u64 = 12;
const POINTER_BYTES: u64 = 4;
/// The longest extent that one entry of any map describes, in blocks.
const EXTENT_BLOCKS: u64 = 1 << 15;

/// The space that the map of one file leads to.
#[derive(Debug)]
pub(super) struct Account {
    block_bytes: u64,
    mapped_bytes: u64,
    /// Entries that an extent map needs at most.
    extents: u64,
    /// Blocks of pointers that an indirect map needs at most, of the lowest level and of the next.
    pointer_blocks: [Touched; 2],
}

impl Account {
    pub(super) fn new(block_bytes: u32) -> Self {
        let block_bytes = u64::from(block_bytes).max(SECTOR_BYTES);
        let pointers = block_bytes / POINTER_BYTES;
        let pointer_blocks = [pointers, pointers * pointers].map(Touched::every);
        Self { block_bytes, mapped_bytes: 0, extents: 0, pointer_blocks }
    }

    /// Adds what a segment leads to; segments come in ascending order.
    pub(super) fn add(&mut self, segment: &Segment) {
        if !matches!(segment.source, Source::Disk(_) | Source::Unwritten(_)) || segment.extent.is_empty() {
            return;
        }
        let (first, last) = (segment.extent.offset / self.block_bytes, (segment.extent.end() - 1) / self.block_bytes);
        self.mapped_bytes = self.mapped_bytes.saturating_add(segment.extent.length);
        self.extents = self.extents.saturating_add(1 + (last - first) / EXTENT_BLOCKS);
        self.pointer_blocks.iter_mut().for_each(|touched| touched.add(first, last));
    }

    /// Why the inode contradicts its map, if it does.
    pub(super) fn contradiction(mut self, wreck: &dyn Wreck, inode: &Inode) -> Option<String> {
        if inode.kind != FileKind::Regular {
            return None;
        }
        let accounted = inode.sectors.saturating_mul(SECTOR_BYTES);
        let within_file = self.mapped_bytes;
        if accounted > self.most_bytes() {
            self.add_reserve(wreck, inode);
        }
        let fits = within_file <= accounted && accounted <= self.most_bytes();
        (!fits).then(|| format!("its map leads to {} bytes, and its inode accounts for {accounted}", self.mapped_bytes))
    }

    /// The most that an inode with this map can account for.
    fn most_bytes(&self) -> u64 {
        let pointers = self.pointer_blocks.iter().map(|touched| touched.count).fold(0, u64::saturating_add);
        let map = pointers.max(self.extents).saturating_add(MOST_OTHER_BLOCKS);
        self.mapped_bytes.next_multiple_of(self.block_bytes).saturating_add(map.saturating_mul(self.block_bytes))
    }

    /// Adds the space that is reserved behind the end of the file: a map is asked as if the file were longer.
    fn add_reserve(&mut self, wreck: &dyn Wreck, inode: &Inode) {
        let end = inode.size.next_multiple_of(self.block_bytes);
        let reserve = Extent::between(end, end.saturating_add(wreck.volume().size()));
        let mut longer = inode.clone();
        longer.size = reserve.end();
        wreck.map(&longer, reserve).unwrap_or_default().iter().for_each(|segment| self.add(segment));
    }
}

/// How many groups of so many blocks a file has something in.
#[derive(Debug)]
struct Touched {
    blocks: u64,
    count: u64,
    /// The first group that was not counted yet.
    next: u64,
}

impl Touched {
    fn every(blocks: u64) -> Self {
        Self { blocks, count: 0, next: 0 }
    }

    fn add(&mut self, first: u64, last: u64) {
        // Groups begin behind the direct pointers.
        let group = |block: u64| (block + self.blocks - DIRECT_POINTERS) / self.blocks;
        let (first, after) = (group(first).max(self.next), group(last) + 1);
        self.count += after.saturating_sub(first);
        self.next = self.next.max(after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = 1024;

    /// The most that can be accounted for when each of `offsets` begins four blocks of data.
    fn most(offsets: impl Iterator<Item = u64>) -> u64 {
        let mut account = Account::new(BLOCK as u32);
        for offset in offsets {
            account.add(&Segment { extent: Extent::new(offset, 4 * BLOCK), source: Source::Disk(0) });
        }
        account.most_bytes()
    }

    #[test]
    fn a_dense_file_takes_its_blocks_and_those_of_its_map() {
        // 1024 blocks: four blocks with 256 pointers each, and one that leads to three of them.
        let most = most((0..256).map(|index| index * 4 * BLOCK)) / BLOCK;
        assert!((1024 + 5..1024 + 256 + MOST_OTHER_BLOCKS + 5).contains(&most), "{most}");
    }

    #[test]
    fn a_sparse_file_may_take_a_block_of_pointers_for_each_piece() {
        // As mkfs.ext2 -b 1024 has it: 600 pieces, each 8 KiB after the last, take 2400 blocks and 20 of pointers.
        assert!(most((0..600).map(|index| index * 8 * BLOCK)) >= 2420 * BLOCK);
        // Pieces that are far apart need a path of pointers each.
        assert!(most((1..20).map(|index| index << 26)) >= (19 * 4 + 19 * 2) * BLOCK);
    }

    #[test]
    fn what_holes_stand_for_is_not_accounted_for() {
        let mut account = Account::new(BLOCK as u32);
        account.add(&Segment { extent: Extent::new(0, 1 << 30), source: Source::Hole });
        assert_eq!(account.most_bytes(), MOST_OTHER_BLOCKS * BLOCK);
    }
}
