//! Which blocks of a group are free, from whichever of its two trees of free space is whole.

use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::xfs::disk::Disk;
use crate::filesystem::xfs::group::{self, FreeSpace};
use crate::filesystem::xfs::tree::{FREE_BY_LENGTH, FREE_SPACE, Root, Tree};

/// Free runs that are held in memory, at 8 bytes each. A group with more of them counts as unknown.
const MOST_RUNS: usize = 1 << 20;

/// The free runs of a group.
#[derive(Debug)]
pub(super) struct FreeBlocks {
    /// First block and number of blocks, ascending.
    runs: Vec<(u32, u32)>,
}

impl FreeBlocks {
    /// Of this group; `None` where neither tree can be believed.
    pub(super) fn of(disk: &Disk, group: u32) -> Option<Self> {
        let header = group::free_space(disk, group).ok()?;
        let trees = [(&FREE_SPACE, header.root), (&FREE_BY_LENGTH, header.by_length)];
        trees.into_iter().find_map(|(tree, root)| read(disk, tree, root, &header).ok())
    }

    /// True when the block is free.
    pub(super) fn contains(&self, block: u32) -> bool {
        let before = self.runs.partition_point(|(first, _)| *first <= block);
        before.checked_sub(1).and_then(|index| self.runs.get(index)).is_some_and(|(first, count)| block - first < *count)
    }
}

/// All runs of one tree, which must not overlap, and must add up to what the header says.
fn read(disk: &Disk, tree: &Tree, root: Root, header: &FreeSpace) -> Result<FreeBlocks, FilesystemError> {
    let (mut runs, mut blocks) = (Vec::new(), 0);
    tree.each(disk, root, &mut |record| {
        let (first, count) = (record.be32(0)?, record.be32(4)?);
        let fits = count > 0 && disk.geometry().in_group(root.group, first, count).is_some() && runs.len() < MOST_RUNS;
        if !fits {
            return Err(record.corrupt(format!("{count} free blocks from {first}, which cannot be, or are too many")));
        }
        runs.push((first, count));
        blocks += u64::from(count);
        Ok(())
    })?;
    runs.sort_unstable();
    let overlaps = runs.iter().zip(runs.iter().skip(1)).any(|((first, count), (next, _))| first.saturating_add(*count) > *next);
    if overlaps || blocks != header.blocks {
        let at = disk.geometry().group_byte(root.group);
        let what = format!("a tree of {blocks} free blocks, where the header says {}", header.blocks);
        return Err(FilesystemError::corrupt(Object::Group(root.group), at, what));
    }
    Ok(FreeBlocks { runs })
}
