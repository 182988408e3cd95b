//! A part of the tree: what is wanted, and the directories on the way to it.

use std::ops::ControlFlow;

use super::error::SalvageError;
use super::inodes::stop_on;
use super::tree::PiecedTree;
use crate::filesystem::{Filesystem, Inode, Loss, Spot, TreeVisitor, walk};

/// Hides everything that `wants` neither wants nor needs on the way. Says how many names it wants.
pub(super) fn select(tree: &PiecedTree, wants: &dyn Fn(&[u8]) -> bool) -> Result<u64, SalvageError> {
    let root = tree.inode(tree.root())?;
    let mut selector = Selector { tree, wants, way: Vec::new(), inside: 0, wanted: 0, failed: None };
    let _ended = walk(tree, &root, b"", &mut selector);
    let Selector { wanted, failed, .. } = selector;
    failed.map_or(Ok(()), Err)?;
    tree.finds().begin_selection();
    Ok(wanted)
}

struct Selector<'a> {
    tree: &'a PiecedTree,
    wants: &'a dyn Fn(&[u8]) -> bool,
    /// The directories that are open: number, and the name under which the one before holds it.
    way: Vec<(u64, Vec<u8>)>,
    /// How many of them lie in a directory that is wanted whole.
    inside: usize,
    wanted: u64,
    failed: Option<SalvageError>,
}

impl Selector<'_> {
    /// Marks a name, and all that lead to it.
    fn want(&mut self, name: &[u8]) -> Result<(), SalvageError> {
        self.wanted += 1;
        let holders = self.way.iter().map(|(number, _)| *number);
        let names = self.way.iter().skip(1).map(|(_, name)| name.as_slice()).chain([name]);
        for (directory, name) in holders.zip(names) {
            self.tree.finds().want(directory, name)?;
        }
        Ok(())
    }

    fn consider(&mut self, spot: &Spot<'_>) -> ControlFlow<(), bool> {
        let wanted = !spot.name.is_empty() && (self.inside > 0 || (self.wants)(&spot.path()));
        if wanted {
            let marked = self.want(spot.name);
            stop_on(marked, &mut self.failed).map_continue(|()| true)
        } else {
            ControlFlow::Continue(false)
        }
    }
}

impl TreeVisitor for Selector<'_> {
    fn enter(&mut self, spot: &Spot<'_>, directory: &Inode) -> ControlFlow<(), bool> {
        let wanted = match self.consider(spot) {
            ControlFlow::Break(()) => return ControlFlow::Break(()),
            ControlFlow::Continue(wanted) => wanted,
        };
        self.inside += usize::from(wanted);
        let number = self.tree.plain_number(directory.number).0;
        self.way.push((number, spot.name.to_vec()));
        ControlFlow::Continue(true)
    }

    fn leave(&mut self, _directory: &Inode) -> ControlFlow<()> {
        self.way.pop();
        self.inside = self.inside.saturating_sub(1);
        ControlFlow::Continue(())
    }

    fn entry(&mut self, spot: &Spot<'_>, _inode: &Inode) -> ControlFlow<()> {
        self.consider(spot).map_continue(drop)
    }

    fn lost(&mut self, spot: &Spot<'_>, _loss: Loss) -> ControlFlow<()> {
        self.consider(spot).map_continue(drop)
    }
}
