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
