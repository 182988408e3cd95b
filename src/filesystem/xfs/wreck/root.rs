//! Where mkfs puts the root directory: in the first inodes behind everything else that it makes in the first group.

use crate::filesystem::error::FilesystemError;
use crate::filesystem::fields::Fields;
use crate::filesystem::xfs::geometry::Geometry;

/// Fields of the superblock that say what lies before it.
const LOG_START_AT: usize = 48;
const LOG_BLOCKS_AT: usize = 96;
const VERSION_AT: usize = 100;
const INODE_ALIGNMENT_AT: usize = 180;
const STRIPE_UNIT_AT: usize = 184;
const READ_ONLY_FEATURES_AT: usize = 212;
/// `sb_versionnum`: inodes and data are aligned.
const ALIGNED_INODES: u16 = 0x0080;
const ALIGNED_DATA: u16 = 0x0100;
/// `sb_features_ro_compat`: trees that each group has besides the three that all have.
const FREE_INODE_TREE: u32 = 0x1;
const OWNER_TREE: u32 = 0x2;
const SHARING_TREE: u32 = 0x4;
/// Roots of the trees that every group has.
const ROOTS: u32 = 3;
/// Blocks that are kept in store for each tree that describes free space or owners.
const STORED_BLOCKS: u32 = 2;

/// The number of the root directory as mkfs chooses it. `superblock` is any copy.
pub(super) fn usual_root(superblock: &Fields<'_>, geometry: &Geometry) -> Result<u64, FilesystemError> {
    let features = if geometry.crc { superblock.be32(READ_ONLY_FEATURES_AT)? } else { 0 };
    let more_trees = [FREE_INODE_TREE, OWNER_TREE, SHARING_TREE].into_iter().filter(|tree| features & tree != 0);
    let stored_for = if features & OWNER_TREE == 0 { 2 } else { 3 };
    let trees = ROOTS + u32::try_from(more_trees.count()).unwrap_or(0) + STORED_BLOCKS * stored_for;
    let block = geometry.first_block().saturating_add(trees).saturating_add(log_before(superblock, geometry)?);
    let block = block.checked_next_multiple_of(alignment(superblock)?).unwrap_or(block);
    let number = u64::from(block) << geometry.inodes_per_block_log;
    match geometry.inode(number) {
        Some(_) => Ok(number),
        None => Err(superblock.corrupt("no copy names the root directory, and where it usually is there is no room")),
    }
}

/// Blocks of the log, when it lies in the first group.
fn log_before(superblock: &Fields<'_>, geometry: &Geometry) -> Result<u32, FilesystemError> {
    let start = superblock.be64(LOG_START_AT)?;
    let is_in_first = start != 0 && start < u64::from(geometry.group_blocks);
    if is_in_first { superblock.be32(LOG_BLOCKS_AT) } else { Ok(0) }
}

fn alignment(superblock: &Fields<'_>) -> Result<u32, FilesystemError> {
    let (version, unit) = (superblock.be16(VERSION_AT)?, superblock.be32(STRIPE_UNIT_AT)?);
    let inodes = if version & ALIGNED_INODES == 0 { 1 } else { superblock.be32(INODE_ALIGNMENT_AT)? };
    let on_stripes = version & ALIGNED_DATA != 0 && unit > 0 && inodes > 0 && unit.is_multiple_of(inodes);
    Ok(if on_stripes { unit } else { inodes }.max(1))
}
