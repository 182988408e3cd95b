//! The transactions that were read last: inodes that are asked for one after the other were mostly written together.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::super::inode::Format;
use super::super::item::{Item, Kind};

/// Changes of inodes that are kept, at less than a KiB each. A transaction with more of them is read anew each time.
const MOST_ITEMS: usize = 1 << 16;

/// What transactions change of each inode.
pub(super) type Inodes = HashMap<u64, Vec<Item>>;

/// Transactions by age, the one that was read last at the end.
#[derive(Debug, Default)]
pub(super) struct Recent {
    kept: VecDeque<(u64, Arc<Inodes>)>,
}

impl Recent {
    /// What transactions of this age change, if that was kept.
    pub(super) fn get(&self, lsn: u64) -> Option<Arc<Inodes>> {
        self.kept.iter().find(|(kept, _)| *kept == lsn).map(|(_, inodes)| Arc::clone(inodes))
    }

    /// Keeps it, and forgets what is oldest.
    pub(super) fn keep(&mut self, lsn: u64, inodes: &Arc<Inodes>) {
        self.kept.push_back((lsn, Arc::clone(inodes)));
        let items = |inodes: &Inodes| inodes.values().map(|items| items.len().max(1)).sum::<usize>().max(1);
        while self.kept.iter().map(|(_, inodes)| items(inodes)).sum::<usize>() > MOST_ITEMS {
            self.kept.pop_front();
        }
    }
}

/// Adds a change, if it is one of an inode.
pub(super) fn add(inodes: &mut Inodes, item: Item) {
    if item.kind() == Kind::Inode
        && let Ok(format) = Format::read(item.format(), 0)
    {
        inodes.entry(format.inode).or_default().push(item);
    }
}
