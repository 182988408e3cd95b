//! Trees of which parts are broken: what the rest says, and about which numbers the broken parts would have said something.

use std::ops::{ControlFlow, Range};

use super::{Node, Root, Tree};
use crate::filesystem::error::FilesystemError;
use crate::filesystem::fields::Fields;
use crate::filesystem::xfs::disk::Disk;

/// Gaps that are told apart: a tree with more of them has nothing to say, and whoever made it wants to be asked forever.
const MOST_GAPS: usize = 4096;

/// A part of a tree whose items are sorted by their first number.
#[derive(Debug)]
pub(in crate::filesystem::xfs) enum Part<'a> {
    /// A record.
    Record(Fields<'a>),
    /// The records that begin at these numbers are lost.
    Lost(Range<u64>),
}

/// A walk through what is left.
struct Walk<'a> {
    tree: &'a Tree,
    disk: &'a Disk,
    /// The smallest number that the next record may have.
    next: u64,
    gaps: usize,
    visit: &'a mut dyn FnMut(Part<'_>) -> ControlFlow<()>,
}

impl Tree {
    /// Shows every record in order, and every gap, of a tree whose numbers are below `end`.
    pub(in crate::filesystem::xfs) fn each_around(
        &self,
        disk: &Disk,
        root: Root,
        end: u64,
        visit: &mut dyn FnMut(Part<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        Walk { tree: self, disk, next: 0, gaps: 0, visit }.below(root, end)
    }
}

impl Walk<'_> {
    /// Shows what a part of the tree says of numbers below `end`. Ends: levels fall by one, and the numbers of children are disjoint.
    fn below(&mut self, root: Root, end: u64) -> ControlFlow<()> {
        let is_worth_it = self.gaps < MOST_GAPS;
        let Some(node) = is_worth_it.then(|| self.tree.node(self.disk, root).ok()).flatten() else { return self.lose(end) };
        for index in 0..node.count {
            match self.item(&node, index, root, end) {
                Ok(flow) => flow?,
                Err(_) => return self.lose(end),
            }
        }
        self.next = self.next.max(end);
        ControlFlow::Continue(())
    }

    fn item(&mut self, node: &Node, index: usize, root: Root, end: u64) -> Result<ControlFlow<()>, FilesystemError> {
        let first = u64::from(node.first(index)?);
        let after = if index + 1 < node.count { u64::from(node.first(index + 1)?).min(end) } else { end };
        if first < self.next || first >= after {
            return Err(node.fields().corrupt(format!("its item {first} is out of order")));
        }
        if root.levels == 1 {
            self.next = first + 1;
            return Ok((self.visit)(Part::Record(node.item(index)?)));
        }
        let child = node.child(index, root)?;
        self.next = first;
        Ok(self.below(child, after))
    }

    /// Gives up what is left below `end`. Why is of no use to anybody: what stands for it is searched for in another way.
    fn lose(&mut self, end: u64) -> ControlFlow<()> {
        let lost = self.next..end.max(self.next);
        self.next = lost.end;
        self.gaps += 1;
        if lost.is_empty() { ControlFlow::Continue(()) } else { (self.visit)(Part::Lost(lost)) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::filesystem::xfs::geometry::Geometry;
    use crate::filesystem::xfs::tree::INODES;
    use crate::testkit::volume::MemoryVolume;

    const BLOCK_BYTES: usize = 512;

    fn geometry() -> Geometry {
        Geometry {
            crc: false,
            file_type: false,
            sparse_inodes: false,
            block_log: 9,
            sector_bytes: 512,
            directory_log: 9,
            inode_bytes: 256,
            inodes_per_block_log: 1,
            group_blocks: 100,
            group_block_log: 7,
            groups: 1,
            data_blocks: 100,
            uuid: [0; 16],
        }
    }

    fn node(volume: &mut [u8], block: usize, level: u8, items: &[(u32, u32)]) {
        let at = block * BLOCK_BYTES;
        volume[at..at + 8].copy_from_slice(&[b'I', b'A', b'B', b'T', 0, level, 0, items.len() as u8]);
        for (index, (first, child)) in items.iter().enumerate() {
            let (item, children) = if level == 0 { (16, 0) } else { (4, 16 + 4 * ((BLOCK_BYTES - 16) / 8)) };
            volume[at + 16 + index * item..][..4].copy_from_slice(&first.to_be_bytes());
            if level > 0 {
                volume[at + children + index * 4..][..4].copy_from_slice(&child.to_be_bytes());
            }
        }
    }

    /// Records and gaps, as they are shown; a gap is shown by its beginning and its end.
    fn shown(hurt: impl FnOnce(&mut [u8])) -> Vec<(u64, u64)> {
        let mut volume = vec![0; 100 * BLOCK_BYTES];
        node(&mut volume, 10, 1, &[(0, 20), (200, 21), (400, 22)]);
        node(&mut volume, 20, 0, &[(0, 0), (64, 0)]);
        node(&mut volume, 21, 0, &[(200, 0), (264, 0)]);
        node(&mut volume, 22, 0, &[(400, 0)]);
        hurt(&mut volume);
        let disk = Disk::new(Arc::new(MemoryVolume::new(volume)), geometry());
        let mut shown = Vec::new();
        let _all = INODES.each_around(&disk, Root { group: 0, block: 10, levels: 2 }, 1000, &mut |part| {
            shown.push(match part {
                Part::Record(record) => (record.be32(0).unwrap().into(), 0),
                Part::Lost(numbers) => (numbers.start, numbers.end),
            });
            ControlFlow::Continue(())
        });
        shown
    }

    #[test]
    fn a_broken_part_costs_what_its_keys_speak_of() {
        assert_eq!(shown(|_| {}), [(0, 0), (64, 0), (200, 0), (264, 0), (400, 0)]);
        assert_eq!(shown(|volume| volume[20 * BLOCK_BYTES] = 0), [(0, 200), (200, 0), (264, 0), (400, 0)]);
        assert_eq!(shown(|volume| volume[21 * BLOCK_BYTES] = 0), [(0, 0), (64, 0), (200, 400), (400, 0)]);
        assert_eq!(shown(|volume| volume[22 * BLOCK_BYTES] = 0), [(0, 0), (64, 0), (200, 0), (264, 0), (400, 1000)]);
        assert_eq!(shown(|volume| volume[10 * BLOCK_BYTES] = 0), [(0, 1000)]);
    }

    #[test]
    fn what_is_out_of_order_costs_what_follows_it() {
        // A record that belongs elsewhere, and a leaf that is named twice.
        assert_eq!(shown(|volume| node(volume, 21, 0, &[(200, 0), (500, 0)])), [(0, 0), (64, 0), (200, 0), (201, 400), (400, 0)]);
        let twice = |volume: &mut [u8]| node(volume, 10, 1, &[(0, 20), (200, 20), (400, 22)]);
        assert_eq!(shown(twice), [(0, 0), (64, 0), (200, 400), (400, 0)]);
        // Nothing is asked of a child whose key is not where it should be.
        assert_eq!(shown(|volume| node(volume, 10, 1, &[(0, 20), (400, 21), (200, 22)])), [(0, 0), (64, 0), (400, 1000)]);
    }
}
