//! Files that were there when they were looked at, and not when they were read: their names are taken out again.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use super::appendices::Appendix;
use super::error::FileTreeError;
use super::names::Names;
use super::survey::Survey;
use crate::filesystem::file_tree::{FileTree, TreeRecord, names_in};
use crate::filesystem::{Filesystem, InodeNumber, Xattr};

/// Inodes that are gone, and the directories that name them.
#[derive(Debug, Default)]
pub(super) struct Vanished {
    numbers: HashSet<u64>,
    directories: BTreeMap<u64, u64>,
}

impl Vanished {
    pub(super) fn add(&mut self, directory: u64, number: u64) {
        self.numbers.insert(number);
        *self.directories.entry(directory).or_default() += 1;
    }

    pub(super) fn holds(&self, number: u64) -> bool {
        self.numbers.contains(&number)
    }

    pub(super) fn count(&self) -> u64 {
        self.numbers.len() as u64
    }
}

impl Survey<'_> {
    /// Makes the appendices of directories anew that name what is gone.
    pub(super) fn forget_vanished(&mut self) -> Result<(), FileTreeError> {
        let directories: Vec<u64> = self.vanished.directories.keys().copied().collect();
        directories.into_iter().filter(|number| self.is_present(*number)).try_for_each(|number| self.name_anew(number))
    }

    fn name_anew(&self, number: u64) -> Result<(), FileTreeError> {
        let earlier = self.request.earlier;
        let old = earlier.map(|earlier| earlier.record(number)).transpose()?.flatten();
        let Some(mut record) = self.ledger.node(number)?.or(old) else { return Ok(()) };
        let is_kept = self.ledger.appendix_part(number, 0)?.is_none();
        let (attributes, names) = match earlier.filter(|_| is_kept) {
            Some(earlier) => self.kept_names(earlier, number)?,
            None => self.made_names(number)?,
        };
        let mut appendix = Appendix::new(number, &attributes, &[]);
        self.ledger.remove_appendix(number)?;
        record.size = names.put(&self.ledger, &mut appendix)?;
        appendix.finish(&self.ledger, None::<&TreeRecord>, &mut record)?;
        Ok(self.ledger.put_node(number, &record)?)
    }

    /// Of the earlier tree.
    fn kept_names(&self, earlier: &FileTree, number: u64) -> Result<(Vec<Xattr>, Names), FileTreeError> {
        let directory = earlier.inode(InodeNumber(number))?;
        let (mut names, mut failed) = (Names::default(), Ok(()));
        earlier.list(&directory, &mut |entry| {
            failed = self.keep_name(&mut names, entry.name, entry.inode.0);
            if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        failed?;
        Ok((earlier.xattrs(&directory)?, names))
    }

    /// Of this run, not laid yet.
    fn made_names(&self, number: u64) -> Result<(Vec<Xattr>, Names), FileTreeError> {
        let mut parts = Vec::new();
        while let Some(part) = self.ledger.appendix_part(number, parts.len() as u64)? {
            parts.push(part);
        }
        let mut names = Names::default();
        let bytes = parts.concat();
        let attributes = names_in(&bytes, &mut |entry| self.keep_name(&mut names, entry.name, entry.inode.0))?;
        Ok((attributes, names))
    }

    fn keep_name(&self, names: &mut Names, name: Vec<u8>, number: u64) -> Result<(), FileTreeError> {
        if self.vanished.holds(number) { Ok(()) } else { names.add(&self.ledger, name, number) }
    }
}
