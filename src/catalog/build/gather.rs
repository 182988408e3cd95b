//! Directories listed: all of them, or those that may have changed and those that are new.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::Path;

use super::digest::{NamesDigest, has_digest};
use super::may_have_changed;
use super::old::OldCatalog;
use crate::base::extent::ExtentSet;
use crate::catalog::content::Content;
use crate::catalog::error::CatalogError;
use crate::catalog::layout::{INODES_A_PAGE, MAX_INODE};
use crate::catalog::lists::{DIGEST_BYTES, DirectoryPlaces, Names};
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
    /// First inodes of the pages of records that these names touch, if that is not all of them.
    pub(super) named: BTreeSet<u64>,
    /// Directories whose names of old count no more.
    pub(super) listed: HashSet<u64>,
    /// Digests of the names of those that lie in more runs than are kept.
    pub(super) digests: HashMap<u64, [u8; DIGEST_BYTES]>,
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
    named: BTreeSet<u64>,
    waiting: Waiting,
    listed: HashSet<u64>,
    digests: HashMap<u64, [u8; DIGEST_BYTES]>,
    losses: Losses,
    parsed: u64,
}

impl<'a> Gatherer<'a> {
    pub(super) fn new(filesystem: &'a dyn Filesystem, old: Option<&'a OldCatalog<'_>>, scratch: &Path) -> Self {
        let mut waiting = Waiting::default();
        match old {
            None => waiting.add(0, filesystem.root().0),
            Some(old) => {
                let suspects = old.directories.iter().filter(|known| is_suspect(filesystem, &old.changed, known));
                suspects.for_each(|known| waiting.add(place(filesystem, known.inode, &known.names), known.inode));
            }
        }
        let changed = old.map(|old| &old.changed);
        let listed = waiting.inodes().collect();
        let sorter = Sorter::new(scratch, SORTED_BYTES);
        let (named, digests, losses) = Default::default();
        Self { filesystem, changed, sorter, named, waiting, listed, digests, losses, parsed: 0 }
    }

    pub(super) fn gather(&mut self) -> Result<(), CatalogError> {
        while let Some(directory) = self.waiting.take() {
            self.list(directory)?;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Gathered, CatalogError> {
        let Self { sorter, named, listed, digests, losses, parsed, .. } = self;
        Ok(Gathered { names: sorter.sorted()?, named, listed, digests, losses, parsed })
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
            let payload = encoded(&self.parse(&directory));
            self.sorter.push(Named { inode: number, parent: number, name: Vec::new(), payload })?;
        }
        self.add_names(&directory)
    }

    fn add_names(&mut self, directory: &Inode) -> Result<(), CatalogError> {
        let (filesystem, number) = (self.filesystem, directory.number.0);
        let mut digest = matches!(Content::of(filesystem, directory), Ok(Content::Unlisted)).then(NamesDigest::default);
        let mut failed = None;
        let listing = filesystem.list(directory, &mut |entry| {
            digest.iter_mut().for_each(|digest| digest.add(&entry));
            match self.add(number, entry) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        if let Some(digest) = digest {
            self.digests.insert(number, digest.finish());
        }
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
                    let record = self.parse(&inode);
                    self.follow(&record);
                    encoded(&record)
                }
                Err(error) => {
                    self.losses.add(error);
                    return Ok(());
                }
            }
        } else {
            Vec::new()
        };
        if self.changed.is_some() {
            self.named.insert(number - number % INODES_A_PAGE);
        }
        Ok(self.sorter.push(Named { inode: number, parent, name: entry.name, payload })?)
    }

    /// Lists a directory later, if nobody has.
    fn follow(&mut self, record: &Record) {
        if !record.is_directory() || self.listed.contains(&record.inode) {
            return;
        }
        if self.listed.len() >= MAX_DIRECTORIES {
            self.losses.add(format!("there are more than {MAX_DIRECTORIES} directories"));
            return;
        }
        self.listed.insert(record.inode);
        let names = Names::new(&record.content, Default::default);
        self.waiting.add(place(self.filesystem, record.inode, &names), record.inode);
    }

    fn parse(&mut self, inode: &Inode) -> Record {
        self.parsed += 1;
        record(self.filesystem, inode, &mut self.losses)
    }
}

fn encoded(record: &Record) -> Vec<u8> {
    let mut out = Vec::new();
    record.encode(&mut out);
    out
}

/// True unless the names of a directory are sure to be what they were.
fn is_suspect(filesystem: &dyn Filesystem, changed: &ExtentSet, known: &DirectoryPlaces) -> bool {
    may_have_changed(filesystem, changed, known.inode)
        || match &known.names {
            Names::In(extents) => extents.iter().any(|extent| changed.intersects(extent)),
            Names::Elsewhere(digest) => !has_digest(filesystem, known.inode, *digest),
        }
}

/// The byte of the filesystem from which on a directory is read.
fn place(filesystem: &dyn Filesystem, inode: u64, names: &Names) -> u64 {
    let first = match names {
        Names::In(extents) => extents.first().copied(),
        Names::Elsewhere(_) => None,
    };
    first.or_else(|| filesystem.inode_location(InodeNumber(inode))).map_or(0, |extent| extent.offset)
}

/// Directories to be listed, with where their names begin. They are taken in the order of the disk, again and again, so that one read
/// brings what the next ones ask for.
#[derive(Debug, Default)]
struct Waiting {
    directories: BTreeSet<(u64, u64)>,
    at: u64,
}

impl Waiting {
    fn add(&mut self, place: u64, inode: u64) {
        self.directories.insert((place, inode));
    }

    fn inodes(&self) -> impl Iterator<Item = u64> + '_ {
        self.directories.iter().map(|(_, inode)| *inode)
    }

    fn take(&mut self) -> Option<u64> {
        let next = *self.directories.range((self.at, 0)..).next().or_else(|| self.directories.first())?;
        self.directories.remove(&next);
        self.at = next.0;
        Some(next.1)
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
