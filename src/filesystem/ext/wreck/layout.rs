//! Where mkfs puts the metadata of a group when nothing else says where it is.

use super::super::groups::Descriptor;
use super::super::superblock::Superblock;

/// Where mkfs puts bitmaps and tables: side by side behind the descriptors, for all groups of a flexible group together.
pub(super) fn by_layout(superblock: &Superblock, group: u32) -> impl Iterator<Item = Descriptor> + '_ {
    let together = 1_u64.checked_shl(u32::from(superblock.log_flex_groups)).unwrap_or(1).max(1);
    let leader = u64::from(group) / together * together;
    let (index, start) = (u64::from(group) - leader, superblock.first_block_of(leader));
    let first = start.saturating_add(superblock.leading_metadata_blocks(leader));
    let table = move |room: u64| first.saturating_add(2 * room).saturating_add(index * superblock.inode_table_blocks());
    // A last flexible group that is shorter may have less room.
    let rooms = [together, superblock.group_count().saturating_sub(leader).clamp(1, together)];
    let layout = move |room: u64| Descriptor {
        block_bitmap: first.saturating_add(index),
        inode_bitmap: first.saturating_add(room).saturating_add(index),
        inode_table: table(room),
        ..Descriptor::default()
    };
    rooms.into_iter().map(layout).filter(|found| found.outside(superblock).is_none())
}
