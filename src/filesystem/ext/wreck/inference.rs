//! A superblock inferred from what is left when all copies are gone.
//!
//! Directories say their numbers, so that pairs of them give the length of inodes and the place of the first table; the checksums of
//! their inodes, run backwards, all give one seed if there are checksums; the bitmap before the first table shows by its padding how
//! many inodes a group has. What is found this way is believed only if inodes then lie where they should.

use std::sync::Arc;

use super::super::features::{Features, compat, incompat, ro_compat};
use super::super::recovery::RAW_CACHE_BYTES;
use super::super::superblock::Superblock;
use super::super::volume::Volume;
use super::layout::by_layout;
use super::probe::{Likelihood, probe};
use super::testimony::Testimony;
use super::witnesses::Witness;
use crate::base::io::ReadAt;
use crate::filesystem::error::FilesystemError;

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

/// A superblock that describes what is left, if enough is.
pub(super) fn infer(source: &Arc<dyn ReadAt>) -> Result<Option<Superblock>, FilesystemError> {
    let Some(testimony) = Testimony::hear(&**source)? else { return Ok(None) };
    let shapes = testimony.shapes(&**source);
    // Bitmaps tell how many inodes a group has. Only where they are lost too, everything that can be is tried.
    let by_bitmaps = testimony.best(shapes.iter().filter(|shape| shape.inodes_per_group.is_some()));
    let best = match by_bitmaps.filter(|(borne_out, _)| 2 * borne_out >= testimony.asked()) {
        Some(best) => Some(best),
        None => testimony.best(shapes.iter()),
    };
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

impl Testimony {
    /// Shapes that a volume can have with its first table in one of its places, the usual ones first.
    fn shapes(&self, source: &dyn ReadAt) -> Vec<Shape> {
        let mut shapes = Vec::new();
        for table in &self.tables {
            let has_journal = has_journal(source, *table, self.inode_bytes);
            for log_flex_groups in LOG_FLEX_GROUPS {
                for cluster_blocks in CLUSTER_BLOCKS {
                    let make =
                        |room| self.shape(source, *table / u64::from(self.block_bytes), room, log_flex_groups, cluster_blocks);
                    let likely = self.rooms(source.size(), log_flex_groups, cluster_blocks).into_iter().filter_map(make);
                    shapes.extend(likely.map(|shape| Shape { has_journal, ..shape }));
                }
            }
        }
        shapes
    }

    /// How many bitmaps of a kind lie before the first table: those of all groups that keep theirs together, if there are as many.
    fn rooms(&self, size: u64, log_flex_groups: u8, cluster_blocks: u32) -> Vec<u64> {
        let group_bytes = u64::from(self.block_bytes) * u64::from(self.block_bytes) * 8 * u64::from(cluster_blocks);
        let together = 1_u64 << log_flex_groups;
        let mut rooms = vec![together, size.div_ceil(group_bytes).clamp(1, together)];
        rooms.dedup();
        rooms
    }

    fn shape(&self, source: &dyn ReadAt, table: u64, room: u64, log_flex_groups: u8, cluster_blocks: u32) -> Option<Shape> {
        let first_block = u64::from(self.block_bytes == 1024 && cluster_blocks == 1);
        let leading = table.checked_sub(2 * room + first_block)?;
        let inodes_per_group = self.inodes_in_a_group(source, table - room);
        Some(Shape { log_flex_groups, cluster_blocks, leading, inodes_per_group, has_journal: false, size: source.size() })
    }

    /// The superblock of the shape that most witnesses bear out, and how many do; of equals, the first.
    fn best<'a>(&self, shapes: impl Iterator<Item = &'a Shape>) -> Option<(usize, Superblock)> {
        let mut best: Option<(usize, Superblock)> = None;
        for superblock in shapes.flat_map(|shape| self.superblocks(shape)) {
            let borne_out = self.borne_out(&superblock);
            if best.as_ref().is_none_or(|(most, _)| borne_out > *most) {
                best = Some((borne_out, superblock));
            }
        }
        best
    }

    /// Superblocks of one shape: where the bitmap is lost, with all numbers of inodes that can be, the most first.
    fn superblocks<'a>(&'a self, shape: &'a Shape) -> impl Iterator<Item = Superblock> + 'a {
        let in_a_block = self.block_bytes / u32::from(self.inode_bytes);
        let blocks = match shape.inodes_per_group {
            Some(inodes) => inodes / in_a_block..=inodes / in_a_block,
            None => 1..=self.block_bytes * 8 / in_a_block,
        };
        let likely = blocks.rev().map(move |blocks| blocks * in_a_block).filter(|inodes| inodes.is_multiple_of(8));
        likely.filter_map(|inodes| self.superblock(shape, inodes)).filter(|superblock| superblock.check().is_ok())
    }

    /// What the padding of the bitmap in this block says.
    fn inodes_in_a_group(&self, source: &dyn ReadAt, bitmap: u64) -> Option<u32> {
        let in_a_block = self.block_bytes / u32::from(self.inode_bytes);
        let mut bytes = vec![0; self.block_bytes as usize];
        source.read_at(bitmap.saturating_mul(u64::from(self.block_bytes)), &mut bytes).ok()?;
        let used = (bytes.iter().rposition(|byte| *byte != 0xFF)? as u32 + 1) * 8;
        // The reserved inodes are always in use.
        let is_bitmap = bytes.first() == Some(&0xFF) && used < self.block_bytes * 8 && used.is_multiple_of(in_a_block);
        is_bitmap.then_some(used)
    }

    /// How many witnesses are asked about a superblock.
    fn asked(&self) -> usize {
        self.witnesses.len().div_ceil(self.every())
    }

    fn every(&self) -> usize {
        self.witnesses.len().div_ceil(MOST_ASKED).max(1)
    }

    /// How many witnesses lie where a superblock puts them.
    fn borne_out(&self, superblock: &Superblock) -> usize {
        let lies_right = |witness: &&Witness| {
            let index = witness.number - 1;
            let (group, skip) = (index / superblock.inodes_per_group, u64::from(index % superblock.inodes_per_group));
            let place = |table: u64| table * u64::from(superblock.block_bytes) + skip * u64::from(superblock.inode_bytes);
            by_layout(superblock, group).any(|found| place(found.inode_table) == witness.at)
        };
        self.witnesses.iter().step_by(self.every()).filter(lies_right).count()
    }
}

/// What is not known from the witnesses alone.
#[derive(Debug, Clone, Copy)]
struct Shape {
    log_flex_groups: u8,
    cluster_blocks: u32,
    /// Blocks before the first bitmap, from the first block of the group on.
    leading: u64,
    /// What the padding of the first bitmap says; nothing when that is lost.
    inodes_per_group: Option<u32>,
    has_journal: bool,
    /// Bytes in the image.
    size: u64,
}

impl Testimony {
    fn superblock(&self, shape: &Shape, inodes_per_group: u32) -> Option<Superblock> {
        let blocks = shape.size / u64::from(self.block_bytes);
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
            inodes: u32::try_from(groups.checked_mul(u64::from(inodes_per_group))?).ok()?,
            blocks,
            first_data_block,
            block_bytes: self.block_bytes,
            cluster_blocks: shape.cluster_blocks,
            blocks_per_group,
            inodes_per_group,
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
            // Nobody else knows it: no index can be a witness.
            hash_seed: [0; 4],
            hash_unsigned: false,
        })
    }

    /// Only what changes how inodes and directories are read.
    fn features(&self, shape: &Shape) -> Features {
        let any = |says: fn(&Witness) -> bool, bit: u32| if self.witnesses.iter().any(says) { bit } else { 0 };
        let when = |holds: bool, bit: u32| if holds { bit } else { 0 };
        let has_checksums = self.seed.is_some();
        let has_trees = any(|witness| witness.has_tree, incompat::EXTENTS);
        Features {
            compat: compat::DIR_INDEX | when(shape.has_journal, compat::HAS_JOURNAL),
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

/// True when the journal's inode was ever written.
fn has_journal(source: &dyn ReadAt, table: u64, inode_bytes: u16) -> bool {
    let mut bytes = vec![0; usize::from(inode_bytes)];
    let at = table.saturating_add(u64::from(JOURNAL - 1) * u64::from(inode_bytes));
    source.read_at(at, &mut bytes).is_ok() && bytes.iter().any(|byte| *byte != 0)
}
