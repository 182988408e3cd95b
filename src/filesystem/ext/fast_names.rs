//! Names of a directory after fast commits: what they added and removed, applied to what lies on disk.

use std::collections::BTreeMap;

use super::journal::FastName;
use crate::filesystem::face::Entry;
use crate::filesystem::inode::InodeNumber;

/// What happened to the names of one directory.
#[derive(Debug)]
pub(super) struct FastNames<'a> {
    /// The changes of each name that was not shown yet, in order.
    changes: BTreeMap<&'a [u8], Vec<&'a FastName>>,
}

impl<'a> FastNames<'a> {
    /// Sorts changes by name.
    pub(super) fn new(changes: &'a [FastName]) -> Self {
        let mut by_name: BTreeMap<&[u8], Vec<&FastName>> = BTreeMap::new();
        for change in changes {
            let (FastName::Add { name, .. } | FastName::Remove { name, .. }) = change;
            by_name.entry(name).or_default().push(change);
        }
        Self { changes: by_name }
    }

    /// What became of an entry on disk.
    pub(super) fn pass(&mut self, entry: Entry) -> Option<Entry> {
        match self.changes.remove(&entry.name[..]) {
            None => Some(entry),
            Some(changes) => outcome(&changes, Some(entry.inode)).map(|inode| Entry { inode, ..entry }),
        }
    }

    /// The names that no block holds yet.
    pub(super) fn rest(&self) -> impl Iterator<Item = Entry> + '_ {
        let outcomes = self.changes.iter().map(|(name, changes)| (name, outcome(changes, None)));
        outcomes.filter_map(|(name, inode)| inode.map(|inode| Entry { name: name.to_vec(), inode }))
    }
}

/// A name is removed only if it leads to the inode that the removal names.
fn outcome(changes: &[&FastName], before: Option<InodeNumber>) -> Option<InodeNumber> {
    changes.iter().fold(before, |now, change| match change {
        FastName::Add { inode, .. } => Some(InodeNumber(*inode)),
        FastName::Remove { inode, .. } => now.filter(|now| now.0 != *inode),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(name: &[u8], inode: u64) -> FastName {
        FastName::Add { name: name.to_vec(), inode }
    }

    fn remove(name: &[u8], inode: u64) -> FastName {
        FastName::Remove { name: name.to_vec(), inode }
    }

    #[test]
    fn changes_apply_in_their_order() {
        let changes =
            [add(b"new", 20), remove(b"old", 11), remove(b"kept", 99), add(b"both", 21), remove(b"both", 21), add(b"moved", 22)];
        let mut names = FastNames::new(&changes);
        let on_disk = [(b"old".to_vec(), 11), (b"kept".to_vec(), 12), (b"moved".to_vec(), 13), (b"other".to_vec(), 14)];
        let passed = on_disk.into_iter().filter_map(|(name, inode)| names.pass(Entry { name, inode: InodeNumber(inode) }));
        let mut seen: Vec<_> = passed.map(|entry| (String::from_utf8(entry.name).unwrap(), entry.inode.0)).collect();
        seen.extend(names.rest().map(|entry| (String::from_utf8(entry.name).unwrap(), entry.inode.0)));
        let expected = [("kept", 12), ("moved", 22), ("other", 14), ("new", 20)];
        assert_eq!(seen, expected.map(|(name, inode)| (name.to_owned(), inode)));
    }
}
