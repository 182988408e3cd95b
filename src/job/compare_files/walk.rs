//! Two trees walked side by side: each directory once, pairs by name, and around everything that is wrong.

use std::cmp::Ordering;
use std::mem;

use super::likeness::{Likeness, Trouble};
use super::moves::match_up;
use super::names::SortedNames;
use super::{Both, CompareOptions, FileComparison, Held, Side, Tree};
use crate::base::cancel::Cancel;
use crate::base::progress::Progress;
use crate::catalog::index::{Change, Difference};
use crate::catalog::{Content, Record};
use crate::filesystem::{Entry, FilesystemError, Inode, InodeNumber, MAX_DEPTH, SeenInodes};
use crate::job::JobError;

/// Names held of one directory.
const BATCH_BYTES: usize = 4 << 20;
/// The same below [`WIDE_LEVELS`], so that deep trees of large directories take no more memory than shallow ones.
const DEEP_BATCH_BYTES: usize = 64 << 10;
/// Levels that hold the larger batch.
const WIDE_LEVELS: usize = 8;

/// A directory of one side or both.
struct Level {
    /// Its path; nothing for the root.
    path: Vec<u8>,
    sides: Both<Option<Opened>>,
}

/// A name, and what it leads to on each side.
type Pair = (Vec<u8>, Both<Option<InodeNumber>>);

struct Opened {
    directory: Inode,
    names: SortedNames,
}

pub(super) struct Walk<'a> {
    trees: Both<Tree<'a>>,
    likeness: Likeness<'a>,
    cancel: &'a Cancel,
    seen: Both<SeenInodes>,
    levels: Vec<Level>,
    held: Held,
    report: FileComparison,
}

impl<'a> Walk<'a> {
    pub(super) fn new(trees: Both<Tree<'a>>, options: CompareOptions, progress: &'a dyn Progress, cancel: &'a Cancel) -> Self {
        let likeness = Likeness::new(&trees, options, progress, cancel);
        let (seen, levels, held, report) = Default::default();
        Self { trees, likeness, cancel, seen, levels, held, report }
    }

    pub(super) fn run(&mut self, path: &[u8]) -> Result<(), JobError> {
        let inodes = Both { old: Some(self.trees.old.start.clone()), new: Some(self.trees.new.start.clone()) };
        self.show(path.to_vec(), b"", Both::default(), inodes)?;
        while !self.levels.is_empty() {
            if self.cancel.is_cancelled() {
                return Err(JobError::Cancelled);
            }
            self.step()?;
        }
        Ok(())
    }

    pub(super) fn into_report(mut self) -> Result<FileComparison, JobError> {
        let found = mem::take(&mut self.held.list);
        if self.likeness.is_one_volume {
            let matched = match_up(found);
            self.held.list = matched.differences;
            matched.stayed.into_iter().try_for_each(|stayed| self.stayed(stayed))?;
        } else {
            self.held.list = found;
        }
        self.report.differences = self.held.list;
        self.report.differences.sort_by(|a, b| a.path.cmp(&b.path));
        self.report.left_out = self.held.left_out;
        self.report.compared_bytes = self.likeness.compared_bytes;
        Ok(self.report)
    }

    /// The next name of the innermost directory.
    fn step(&mut self) -> Result<(), JobError> {
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        let next = level.next(&self.trees);
        let (complaints, directory) = (level.complaints(), &level.path);
        complaints.into_iter().for_each(|(side, complaint)| self.report.find(side, shown(directory.clone()), complaint));
        match next {
            Ok(Some((name, entries))) => self.visit(&name, entries),
            Ok(None) => {
                self.levels.pop();
                Ok(())
            }
            // What one side hides is neither gone nor new on the other.
            Err(trouble) => {
                let path = self.levels.pop().map(|level| level.path).unwrap_or_default();
                self.trouble(path, trouble)
            }
        }
    }

    fn visit(&mut self, name: &[u8], entries: Both<Option<InodeNumber>>) -> Result<(), JobError> {
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        let (parents, directory) = (level.parents(), level.path.clone());
        let path = [directory.as_slice(), b"/", name].concat();
        let inode = |side: Side, number: Option<InodeNumber>| {
            number.map(|number| self.trees.of(side).filesystem.inode(number).map_err(Trouble::at(side))).transpose()
        };
        let inodes = inode(Side::Old, entries.old).and_then(|old| Ok(Both { old, new: inode(Side::New, entries.new)? }));
        match inodes {
            Ok(inodes) => self.show(path, name, parents, inodes),
            Err(trouble) => self.trouble(path, trouble),
        }
    }

    fn show(&mut self, path: Vec<u8>, name: &[u8], parents: Both<u64>, inodes: Both<Option<Inode>>) -> Result<(), JobError> {
        let record = |inode: &Inode, parent: u64| {
            let named = Record::new(inode, Content::Unlisted);
            Record { parent, name: name.to_vec(), ..named }
        };
        let old = inodes.old.as_ref().map(|inode| record(inode, parents.old));
        let new = inodes.new.as_ref().map(|inode| record(inode, parents.new));
        match (&inodes.old, &inodes.new) {
            (Some(was), Some(is)) => match self.likeness.change(was, is) {
                Ok(Some(change)) => self.held.push(shown(path.clone()), change, old, new),
                Ok(None) => {}
                Err(trouble) => self.trouble(path.clone(), trouble)?,
            },
            (Some(_), None) => self.held.push(shown(path.clone()), Change::Removed, old, None),
            (None, _) => self.held.push(shown(path.clone()), Change::Added, None, new),
        }
        let directories = Both { old: inodes.old.filter(Inode::is_directory), new: inodes.new.filter(Inode::is_directory) };
        self.enter(path, directories);
        Ok(())
    }

    fn enter(&mut self, path: Vec<u8>, directories: Both<Option<Inode>>) {
        for side in [Side::Old, Side::New] {
            let Some(directory) = directories.of(side) else { continue };
            let refused = match self.seen.of_mut(side).insert(directory.number.0) {
                _ if self.levels.len() >= MAX_DEPTH => "it lies deeper than any walk goes; compare a part of the tree",
                Some(true) => continue,
                Some(false) => "this directory was reached before under another name",
                None => "there are more directories than one walk can remember; compare a part of the tree",
            };
            return self.report.find(side, shown(path), refused);
        }
        let max_bytes = if self.levels.len() < WIDE_LEVELS { BATCH_BYTES } else { DEEP_BATCH_BYTES };
        let open = |directory: Inode| Opened { directory, names: SortedNames::new(max_bytes) };
        let sides = Both { old: directories.old.map(open), new: directories.new.map(open) };
        if sides.old.is_some() || sides.new.is_some() {
            self.levels.push(Level { path, sides });
        }
    }

    /// Compares the inodes of a name that moved with its directory.
    fn stayed(&mut self, stayed: Difference) -> Result<(), JobError> {
        let inode = |side: Side, record: &Option<Record>| {
            let number = InodeNumber(record.as_ref().map_or(0, |record| record.inode));
            self.trees.of(side).filesystem.inode(number).map_err(Trouble::at(side))
        };
        let inodes = inode(Side::Old, &stayed.old).and_then(|old| Ok((old, inode(Side::New, &stayed.new)?)));
        match inodes.and_then(|(old, new)| self.likeness.change(&old, &new)) {
            Ok(Some(change)) => self.held.push(stayed.path, change, stayed.old, stayed.new),
            Ok(None) => {}
            Err(trouble) => self.trouble(stayed.path, trouble)?,
        }
        Ok(())
    }

    fn trouble(&mut self, path: Vec<u8>, trouble: Trouble) -> Result<(), JobError> {
        match trouble {
            Trouble::Here(side, reason) => self.report.find(side, shown(path), &reason),
            Trouble::Stop(error) => return Err(error),
        }
        Ok(())
    }
}

impl Level {
    /// The smallest name of both sides, and what it leads to on each.
    fn next(&mut self, trees: &Both<Tree<'_>>) -> Result<Option<Pair>, Trouble> {
        let peek = |side: &mut Option<Opened>, tree: &Tree<'_>| -> Result<Option<Vec<u8>>, FilesystemError> {
            let Some(opened) = side else { return Ok(None) };
            Ok(opened.names.peek(tree.filesystem, &opened.directory)?.map(<[u8]>::to_vec))
        };
        let old = peek(&mut self.sides.old, &trees.old).map_err(Trouble::at(Side::Old))?;
        let new = peek(&mut self.sides.new, &trees.new).map_err(Trouble::at(Side::New))?;
        let order = match (&old, &new) {
            (None, None) => return Ok(None),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.cmp(new),
        };
        let take = |side: &mut Option<Opened>| side.as_mut().and_then(|opened| opened.names.take()).map(|entry: Entry| entry.inode);
        let from_old = if order.is_le() { take(&mut self.sides.old) } else { None };
        let from_new = if order.is_ge() { take(&mut self.sides.new) } else { None };
        let name = if order.is_le() { old } else { new };
        Ok(name.map(|name| (name, Both { old: from_old, new: from_new })))
    }

    fn parents(&self) -> Both<u64> {
        let number = |side: &Option<Opened>| side.as_ref().map_or(0, |opened| opened.directory.number.0);
        Both { old: number(&self.sides.old), new: number(&self.sides.new) }
    }

    /// What is wrong with the names themselves, said once.
    fn complaints(&mut self) -> Vec<(Side, &'static str)> {
        let complaint = |opened: &mut Option<Opened>| opened.as_mut().and_then(|opened| opened.names.complaint.take());
        let (old, new) = (complaint(&mut self.sides.old), complaint(&mut self.sides.new));
        old.map(|words| (Side::Old, words)).into_iter().chain(new.map(|words| (Side::New, words))).collect()
    }
}

/// The start itself is a slash.
fn shown(path: Vec<u8>) -> Vec<u8> {
    if path.is_empty() { b"/".to_vec() } else { path }
}
