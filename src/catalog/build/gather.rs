//! Directories listed: all of them, or those that may have changed and those that are new.

use std::collections::HashSet;
use std::mem;
use std::ops::ControlFlow;
use std::path::Path;

use super::may_have_changed;
use super::old::OldCatalog;
use crate::base::extent::ExtentSet;
use crate::catalog::content::Content;
use crate::catalog::error::CatalogError;
use crate::catalog::layout::MAX_INODE;
use crate::catalog::record::Record;
use crate::catalog::sorter::{Named, Sorted, Sorter};
use crate::filesystem::{Entry, Filesystem, FilesystemError, Inode, InodeNumber, is_plain_name};

/// Names in memory before they are spilled.
const SORTED_BYTES: usize = 48 << 20;
/// More directories than this are left out: their numbers alone take 150 MiB.
const MAX_DIRECTORIES: usize = 6 << 20;

/// What was gathered.
pub(super) struct Gathered {
    /// Names found, with what was read of their inodes; nothing, where the inode is sure to be what it was.
    pub(super) names: Sorted,
    /// Directories whose names of old count no more.
    pub(super) listed: HashSet<u64>,
    pub(super) losses: Losses,
    pub(super) parsed: u64,
}

/// What could not be read.
#[derive(Debug, Default)]
pub(super) struct Losses {
    pub(super) count: u64,
    pub(super) first: Option<String>,
}

impl Losses {
    pub(super) fn add(&mut self, why: impl ToString) {
        self.count += 1;
        if self.first.is_none() {
            self.first = Some(why.to_string());
        }
    }
}

pub(super) struct Gatherer<'a> {
    filesystem: &'a dyn Filesystem,
    /// What may have changed; `None` is everything.
    changed: Option<&'a ExtentSet>,
    sorter: Sorter,
    waiting: Vec<u64>,
    listed: HashSet<u64>,
    losses: Losses,
    parsed: u64,
}

impl<'a> Gatherer<'a> {
    pub(super) fn new(filesystem: &'a dyn Filesystem, old: Option<&'a OldCatalog<'_>>, scratch: &Path) -> Self {
        let root = filesystem.root().0;
        let waiting = match old {
            None => vec![root],
            Some(old) => {
                let is_suspect = |inode: u64| may_have_changed(filesystem, &old.changed, inode);
                let suspects =
                    old.directories.iter().filter(|known| is_suspect(known.inode) || known.may_have_changed(&old.changed));
                suspects.map(|known| known.inode).collect()
            }
        };
        let listed = waiting.iter().copied().collect();
        let changed = old.map(|old| &old.changed);
        let sorter = Sorter::new(scratch, SORTED_BYTES);
        Self { filesystem, changed, sorter, waiting, listed, losses: Losses::default(), parsed: 0 }
    }

    pub(super) fn gather(&mut self) -> Result<(), CatalogError> {
        while let Some(directory) = self.waiting.pop() {
            self.list(directory)?;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Gathered, CatalogError> {
        Ok(Gathered { names: self.sorter.sorted()?, listed: self.listed, losses: self.losses, parsed: self.parsed })
    }

    fn list(&mut self, number: u64) -> Result<(), CatalogError> {
        let is_root = number == self.filesystem.root().0;
        let directory = match self.filesystem.inode(InodeNumber(number)) {
            Ok(inode) if inode.is_directory() => inode,
            // What was a directory, and is none any more.
            Ok(_) | Err(FilesystemError::NotFound { .. }) if !is_root => return Ok(()),
            Ok(_) => return Err(CatalogError::page(0, "the root is no directory")),
            Err(error) => {
                self.losses.add(error);
                return Ok(());
            }
        };
        if is_root {
            let payload = self.payload(&directory);
            self.sorter.push(Named { inode: number, parent: number, name: Vec::new(), payload })?;
        }
        let filesystem = self.filesystem;
        let mut failed = None;
        let listing = filesystem.list(&directory, &mut |entry| match self.add(number, entry) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        });
        if let Err(error) = listing {
            self.losses.add(error);
        }
        failed.map_or(Ok(()), Err)
    }

    fn add(&mut self, parent: u64, entry: Entry) -> Result<(), CatalogError> {
        let number = entry.inode.0;
        if !is_plain_name(&entry.name) || number >= MAX_INODE {
            self.losses.add(format!("directory inode {parent} has a name that leads nowhere"));
            return Ok(());
        }
        let payload = if self.changed.is_none_or(|changed| may_have_changed(self.filesystem, changed, number)) {
            match self.filesystem.inode(entry.inode) {
                Ok(inode) => {
                    self.follow(&inode);
                    self.payload(&inode)
                }
                Err(error) => {
                    self.losses.add(error);
                    return Ok(());
                }
            }
        } else {
            Vec::new()
        };
        Ok(self.sorter.push(Named { inode: number, parent, name: entry.name, payload })?)
    }

    /// Lists a directory later, if nobody has.
    fn follow(&mut self, inode: &Inode) {
        if !inode.is_directory() || self.listed.contains(&inode.number.0) {
            return;
        }
        if self.listed.len() >= MAX_DIRECTORIES {
            self.losses.add(format!("there are more than {MAX_DIRECTORIES} directories"));
            return;
        }
        self.listed.insert(inode.number.0);
        self.waiting.push(inode.number.0);
    }

    fn payload(&mut self, inode: &Inode) -> Vec<u8> {
        self.parsed += 1;
        let mut out = Vec::new();
        record(self.filesystem, inode, &mut self.losses).encode(&mut out);
        mem::take(&mut out)
    }
}

/// What is kept of an inode. Where its bytes lie is told by few; who needs it asks the filesystem.
pub(super) fn record(filesystem: &dyn Filesystem, inode: &Inode, losses: &mut Losses) -> Record {
    let content = Content::of(filesystem, inode).unwrap_or_else(|error| {
        losses.add(error);
        Content::Unlisted
    });
    Record::new(inode, content)
}
