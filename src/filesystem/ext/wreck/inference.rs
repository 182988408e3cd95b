//! A superblock inferred from what is left when all copies are gone.
//!
//! Directories say their numbers, so that pairs of them give the length of inodes and the place of the first table; the checksums of
//! their inodes, run backwards, all give one seed if there are checksums; the bitmap before the first table shows by its padding how
//! many inodes a group has. What is found this way is believed only if inodes then lie where they should.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use super::super::features::{Features, compat, incompat, ro_compat};
use super::super::recovery::RAW_CACHE_BYTES;
use super::super::superblock::Superblock;
use super::super::volume::Volume;
use super::layout::by_layout;
use super::probe::{Likelihood, probe};
use super::witnesses::{Witness, hear};
use crate::base::io::ReadAt;
use crate::filesystem::error::FilesystemError;

/// The root and `lost+found`, which every volume has.
const LEAST_WITNESSES: usize = 2;
const INODE_BYTES: [u16; 6] = [256, 128, 512, 1024, 2048, 4096];
/// Witnesses that come after each other in place and are compared with each other.
const NEIGHBOURS: usize = 16;
/// Groups that keep their tables together, as logarithms: what mkfs does of its own accord, then none, then others.
const LOG_FLEX_GROUPS: [u8; 8] = [4, 0, 1, 2, 3, 5, 6, 7];
/// Blocks in a cluster; one, or what mkfs does of its own accord for clusters.
const CLUSTER_BLOCKS: [u32; 4] = [1, 16, 4, 8];
/// The first groups, in which inodes must lie for a superblock to be believed.
const TRIED_GROUPS: u32 = 8;
/// Witnesses that are asked about one superblock: there are thousands of these.
const MOST_ASKED: usize = 64;
/// The inode of the journal.
const JOURNAL: u32 = 8;
const FIRST_INODE: u32 = 11;

/// What all witnesses together say.
#[derive(Debug)]
struct Testimony {
    block_bytes: u32,
    inode_bytes: u16,
    /// The byte where the first inode table begins.
    table: u64,
    seed: Option<u32>,
    has_journal: bool,
    witnesses: Vec<Witness>,
}

/// A superblock that describes what is left, if enough is.
pub(super) fn infer(source: &Arc<dyn ReadAt>) -> Result<Option<Superblock>, FilesystemError> {
    let (block_bytes, witnesses) = hear(&**source)?;
    let Some(testimony) = agree(&**source, block_bytes, witnesses) else { return Ok(None) };
    let shapes = LOG_FLEX_GROUPS.into_iter().flat_map(|flex| CLUSTER_BLOCKS.map(|cluster| (flex, cluster)));
    let likely = shapes.flat_map(|(flex, cluster)| testimony.superblocks(&**source, flex, cluster));
    // Of equals, the first one is the usual one.
    let mut best: Option<(usize, Superblock)> = None;
    for superblock in likely {
        let borne_out = testimony.borne_out(&superblock);
        if best.as_ref().is_none_or(|(most, _)| borne_out > *most) {
            best = Some((borne_out, superblock));
        }
    }
    Ok(best.map(|(_, superblock)| superblock).filter(|superblock| is_borne_out(superblock, source)))
}

/// True when inodes lie where a superblock says, in one of the first groups.
pub(super) fn is_borne_out(superblock: &Superblock, source: &Arc<dyn ReadAt>) -> bool {
    let volume = Volume::of_wreck(superblock.clone(), Arc::clone(source), RAW_CACHE_BYTES);
    let groups = u32::try_from(superblock.group_count()).unwrap_or(u32::MAX).min(TRIED_GROUPS);
    (0..groups).any(|group| {
        let decided = volume.decided(group);
        decided.is_ok_and(|decided| probe(&volume, group, decided.descriptor.inode_table) == Likelihood::Proven)
    })
}

/// The value that comes most often, the first of equals, and how often.
fn most_common<T: Hash + Eq + Copy>(values: impl Iterator<Item = T>) -> Option<(T, usize)> {
    let mut counts: HashMap<T, (usize, usize)> = HashMap::new();
    for (index, value) in values.enumerate() {
        counts.entry(value).or_insert((0, index)).0 += 1;
    }
    let best = counts.into_iter().max_by_key(|(_, (count, index))| (*count, usize::MAX - index));
    best.map(|(value, (count, _))| (value, count))
}

/// Works out what the witnesses have in common.
fn agree(source: &dyn ReadAt, block_bytes: u32, witnesses: Vec<Witness>) -> Option<Testimony> {
    if witnesses.len() < LEAST_WITNESSES {
        return None;
    }
    let pairs = witnesses
        .iter()
        .enumerate()
        .flat_map(|(index, one)| witnesses.iter().skip(index + 1).take(NEIGHBOURS).map(move |other| (one, other)));
    let (inode_bytes, _) = most_common(pairs.filter_map(|(one, other)| distance(one, other)))?;
    // Copies in a journal say the same of other places; the table is where most of it is, and lies before the journal.
    let lowest = witnesses.iter().map(|witness| witness.number).min()?;
    let near = |witness: &&Witness| witness.number <= lowest.saturating_add(8 * block_bytes);
    let tables = witnesses.iter().filter(near).filter_map(|witness| {
        witness
            .at
            .checked_sub(u64::from(witness.number - 1) * u64::from(inode_bytes))
            .filter(|at| at.is_multiple_of(u64::from(block_bytes)))
    });
    let (table, _) = most_common(tables)?;
    let seeds = witnesses.iter().filter_map(|witness| witness.seed(source, inode_bytes));
    let seed = most_common(seeds).filter(|(_, count)| *count >= LEAST_WITNESSES).map(|(seed, _)| seed);
    let has_journal = has_journal(source, table, inode_bytes);
    Some(Testimony { block_bytes, inode_bytes, table, seed, has_journal, witnesses })
}

/// True when the journal's inode was ever written.
fn has_journal(source: &dyn ReadAt, table: u64, inode_bytes: u16) -> bool {
    let mut bytes = vec![0; usize::from(inode_bytes)];
    let at = table.saturating_add(u64::from(JOURNAL - 1) * u64::from(inode_bytes));
    source.read_at(at, &mut bytes).is_ok() && bytes.iter().any(|byte| *byte != 0)
}

/// How long inodes are if these two lie in one table.
fn distance(one: &Witness, other: &Witness) -> Option<u16> {
    let (bytes, inodes) = (other.at.checked_sub(one.at)?, u64::from(other.number.checked_sub(one.number)?));
    let length = bytes.checked_div(inodes).filter(|length| length * inodes == bytes)?;
    INODE_BYTES.into_iter().find(|known| u64::from(*known) == length)
}

impl Testimony {
    /// Superblocks of volumes of one shape, if such a volume can have its first table where it is.
    fn superblocks(&self, source: &dyn ReadAt, log_flex_groups: u8, cluster_blocks: u32) -> Vec<Superblock> {
        let blocks_per_group = u64::from(self.block_bytes) * u64::from(self.block_bytes) * 8 * u64::from(cluster_blocks);
        let together = 1_u64 << log_flex_groups;
        // The bitmaps of a few groups lie closer together.
        let mut rooms = vec![together, source.size().div_ceil(blocks_per_group).clamp(1, together)];
        rooms.dedup();
        rooms.into_iter().flat_map(|room| self.with_room(source, room, log_flex_groups, cluster_blocks)).collect()
    }

    fn with_room(&self, source: &dyn ReadAt, room: u64, log_flex_groups: u8, cluster_blocks: u32) -> Vec<Superblock> {
        let table = self.table / u64::from(self.block_bytes);
        let first_block = u64::from(self.block_bytes == 1024 && cluster_blocks == 1);
        let Some(leading) = table.checked_sub(2 * room + first_block) else { return Vec::new() };
        let make = |inodes_per_group: u32| {
            let shape = Shape { log_flex_groups, cluster_blocks, leading, inodes_per_group };
            self.superblock(source.size(), &shape).filter(|superblock| superblock.check().is_ok())
        };
        self.inodes_in_a_group(source, table - room).into_iter().filter_map(make).collect()
    }

    /// What the padding of the bitmap in this block says; where it says nothing, everything that can be, the most first.
    fn inodes_in_a_group(&self, source: &dyn ReadAt, bitmap: u64) -> Vec<u32> {
        let in_a_block = self.block_bytes / u32::from(self.inode_bytes);
        let mut bytes = vec![0; self.block_bytes as usize];
        let is_read = source.read_at(bitmap.saturating_mul(u64::from(self.block_bytes)), &mut bytes).is_ok();
        let used = bytes.iter().rposition(|byte| *byte != 0xFF).map_or(0, |last| (last as u32 + 1) * 8);
        // The reserved inodes are always in use.
        let is_bitmap = is_read && bytes.first() == Some(&0xFF) && used > 0 && used < self.block_bytes * 8;
        if is_bitmap && used.is_multiple_of(in_a_block) {
            return vec![used];
        }
        (1..=self.block_bytes * 8 / in_a_block)
            .rev()
            .map(|blocks| blocks * in_a_block)
            .filter(|inodes| inodes.is_multiple_of(8))
            .collect()
    }

    /// How many witnesses lie where a superblock puts them.
    fn borne_out(&self, superblock: &Superblock) -> usize {
        let lies_right = |witness: &&Witness| {
            let index = witness.number - 1;
            let (group, skip) = (index / superblock.inodes_per_group, u64::from(index % superblock.inodes_per_group));
            let place = |table: u64| table * u64::from(superblock.block_bytes) + skip * u64::from(superblock.inode_bytes);
            by_layout(superblock, group).any(|found| place(found.inode_table) == witness.at)
        };
        let every = self.witnesses.len().div_ceil(MOST_ASKED);
        self.witnesses.iter().step_by(every.max(1)).filter(lies_right).count()
    }
}

/// What is not known from the witnesses alone.
struct Shape {
    log_flex_groups: u8,
    cluster_blocks: u32,
    /// Blocks before the first bitmap, from the first block of the group on.
    leading: u64,
    inodes_per_group: u32,
}

impl Testimony {
    fn superblock(&self, size: u64, shape: &Shape) -> Option<Superblock> {
        let blocks = size / u64::from(self.block_bytes);
        let blocks_per_group = self.block_bytes.checked_mul(8)?.checked_mul(shape.cluster_blocks)?;
        let first_data_block = u32::from(self.block_bytes == 1024 && shape.cluster_blocks == 1);
        let groups = blocks.checked_sub(u64::from(first_data_block))?.div_ceil(u64::from(blocks_per_group));
        let features = self.features(shape);
        let descriptor_bytes = if features.has_incompat(incompat::BITS_64) { 64 } else { 32 };
        let descriptor_blocks = groups.div_ceil(u64::from(self.block_bytes) / u64::from(descriptor_bytes));
        Some(Superblock {
            features,
            uuid: [0; 16],
            label: Vec::new(),
            inodes: u32::try_from(groups.checked_mul(u64::from(shape.inodes_per_group))?).ok()?,
            blocks,
            first_data_block,
            block_bytes: self.block_bytes,
            cluster_blocks: shape.cluster_blocks,
            blocks_per_group,
            inodes_per_group: shape.inodes_per_group,
            inode_bytes: self.inode_bytes,
            descriptor_bytes,
            first_meta_group: 0,
            group: Some(0),
            log_flex_groups: shape.log_flex_groups,
            reserved_descriptor_blocks: u16::try_from(shape.leading.checked_sub(1 + descriptor_blocks)?).ok()?,
            backup_groups: [0; 2],
            multi_mount_block: 0,
            first_inode: FIRST_INODE,
            hidden_inodes: [0; 4],
            journal_inode: JOURNAL,
            journal_device: 0,
            journal_backup: None,
            made_by_linux: true,
            state: 0,
            seed: self.seed.unwrap_or_default(),
        })
    }

    /// Only what changes how inodes and directories are read.
    fn features(&self, shape: &Shape) -> Features {
        let any = |says: fn(&Witness) -> bool, bit: u32| if self.witnesses.iter().any(says) { bit } else { 0 };
        let when = |holds: bool, bit: u32| if holds { bit } else { 0 };
        let has_checksums = self.seed.is_some();
        let has_trees = any(|witness| witness.has_tree, incompat::EXTENTS);
        Features {
            compat: compat::DIR_INDEX | when(self.has_journal, compat::HAS_JOURNAL),
            incompat: has_trees
                | any(|witness| witness.has_kinds, incompat::FILETYPE)
                | when(shape.log_flex_groups > 0, incompat::FLEX_BG)
                | when(has_checksums, incompat::BITS_64),
            ro_compat: ro_compat::SPARSE_SUPER
                | when(has_trees != 0, ro_compat::HUGE_FILE)
                | when(shape.cluster_blocks > 1, ro_compat::BIGALLOC)
                | when(has_checksums, ro_compat::METADATA_CSUM),
        }
    }
}
