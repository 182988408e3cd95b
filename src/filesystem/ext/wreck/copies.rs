//! Where copies of the superblock stand, and whether two of them describe one volume.

use super::super::features::{compat, ro_compat};
use super::super::superblock::{PLACE, Superblock};

/// Copies that are looked at. Volumes of the usual layout have fewer up to 16 TiB.
const MOST_KEEPERS: usize = 24;

/// Groups after the first that begin with a copy of the superblock, the first of them.
pub(super) fn keepers(superblock: &Superblock) -> Vec<u64> {
    let groups = superblock.group_count();
    let mut keepers: Vec<u64> = if superblock.features.has_compat(compat::SPARSE_SUPER2) {
        superblock.backup_groups.iter().map(|group| u64::from(*group)).collect()
    } else if superblock.features.has_ro_compat(ro_compat::SPARSE_SUPER) {
        sparse()
    } else {
        (1..=MOST_KEEPERS as u64).collect()
    };
    keepers.retain(|group| *group > 0 && *group < groups);
    keepers.sort_unstable();
    keepers.dedup();
    keepers.truncate(MOST_KEEPERS);
    keepers
}

/// One, and the powers of three, five and seven that 32 bits hold.
fn sparse() -> Vec<u64> {
    let powers = [3_u64, 5, 7].into_iter().flat_map(|base| (1..=20).map_while(move |power| base.checked_pow(power)));
    [1].into_iter().chain(powers.filter(|group| *group <= u64::from(u32::MAX))).collect()
}

/// The byte where a group's copy begins.
pub(super) fn place(superblock: &Superblock, group: u64) -> u64 {
    if group == 0 { PLACE } else { superblock.first_block_of(group).saturating_mul(u64::from(superblock.block_bytes)) }
}

/// True when a copy stands where it says it does. Images that lie in files of the volume carry copies of their own.
pub(super) fn is_in_its_place(superblock: &Superblock, at: u64) -> bool {
    let group_bytes = u64::from(superblock.blocks_per_group).saturating_mul(u64::from(superblock.block_bytes)).max(1);
    let group = superblock.group.map_or(at / group_bytes, u64::from);
    group < superblock.group_count() && place(superblock, group) == at
}

/// True when two copies describe the same volume, whenever they were written.
pub(super) fn are_of_one_volume(one: &Superblock, other: &Superblock) -> bool {
    let same = |superblock: &Superblock| {
        let sizes = (superblock.block_bytes, superblock.inode_bytes, superblock.descriptor_bytes, superblock.cluster_blocks);
        (superblock.uuid, superblock.seed, sizes, superblock.blocks_per_group, superblock.inodes_per_group)
    };
    same(one) == same(other)
}
