//! Which inodes of a group are accounted for as used, where the bitmap that says so can be believed.

use super::super::checksum::crc32c;
use super::super::volume::Volume;
use super::descriptors::{Decided, Origin};
use crate::filesystem::error::Object;
use crate::filesystem::fields::sums_agree;

/// The bitmap of one group.
#[derive(Debug)]
pub(super) struct InodeBitmap(Vec<u8>);

impl InodeBitmap {
    /// Reads it; nothing when nobody vouches for it.
    pub(super) fn read(volume: &Volume, group: u32, decided: &Decided) -> Option<Self> {
        let superblock = &volume.superblock;
        let bytes = volume.block(Object::Group(group), decided.descriptor.inode_bitmap).ok()?;
        let (used, padding) = bytes.split_at_checked((superblock.inodes_per_group / 8) as usize)?;
        let believed = match superblock.has_metadata_checksums() {
            true => decided.origin == Origin::First && checksum_matches(volume, used, decided.descriptor.inode_bitmap_checksum),
            // What stands for no inode is set, which nothing but a bitmap has.
            false => !padding.is_empty() && padding.iter().all(|byte| *byte == 0xFF),
        };
        believed.then(|| Self(used.to_vec()))
    }

    /// Whether the inode at a place in the table is used.
    pub(super) fn is_used(&self, index: u32) -> Option<bool> {
        self.0.get(index as usize / 8).map(|byte| byte & (1 << (index % 8)) != 0)
    }
}

fn checksum_matches(volume: &Volume, bitmap: &[u8], stored: u32) -> bool {
    let computed = crc32c(volume.superblock.seed, bitmap);
    let kept = if volume.superblock.descriptor_bytes >= 64 { computed } else { computed & 0xFFFF };
    sums_agree(stored, kept)
}
