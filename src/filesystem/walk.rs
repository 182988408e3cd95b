//! A walk over a tree: depth first, each directory once, and around everything that is wrong.
//!
//! Nothing in a tree can make it endless or large: the depth is bounded, a directory that was seen is not entered again, and of a large
//! directory only a batch of names is held at a time.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use thiserror::Error;

use super::error::FilesystemError;
use super::face::{Entry, Filesystem};
use super::inode::Inode;
use super::names::is_plain_name;
use super::seen::SeenInodes;

/// Levels below the start. Deeper trees are not made by people, and whoever extracts holds an open directory for each level, of which
/// the usual limit is 1024.
pub const MAX_DEPTH: usize = 512;
/// Names held of one directory. Directories with fewer are walked in the order of their names, larger ones batch by batch.
const BATCH: usize = 16 << 10;
/// The same below [`WIDE_LEVELS`], so that a deep tree of large directories takes no more memory than a shallow one.
const DEEP_BATCH: usize = 512;
/// Levels that hold the larger batch.
const WIDE_LEVELS: usize = 8;

/// Where in the tree something stands.
#[derive(Debug, Clone, Copy)]
pub struct Spot<'a> {
    /// The path of the directory that holds it, from the start of the walk; empty at the start itself.
    pub directory: &'a [u8],
    /// Its name there.
    pub name: &'a [u8],
}

impl Spot<'_> {
    /// The whole path from the start of the walk.
    #[must_use]
    pub fn path(&self) -> Vec<u8> {
        join(self.directory, self.name)
    }
}

/// Why something is not shown.
#[derive(Debug, Error)]
pub enum Loss {
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] FilesystemError),
    /// No directory may hold such a name; a reader that obeyed it could be led anywhere.
    #[error("its name is not one that a directory may hold")]
    BadName,
    /// Deeper than any walk goes.
    #[error("it lies deeper than {MAX_DEPTH} directories")]
    TooDeep,
    /// A second way to a directory: damage, or a trap.
    #[error("this directory was reached before under another name")]
    SeenBefore,
    /// More directories than a walk remembers.
    #[error("there are more directories than one walk can remember; walk a part of the tree")]
    TooMany,
}

/// Is shown a tree. `Break` ends the walk at once.
pub trait TreeVisitor {
    /// A directory, before what is in it; `false` goes around it.
    fn enter(&mut self, spot: &Spot<'_>, directory: &Inode) -> ControlFlow<(), bool>;
    /// The innermost directory, after what is in it.
    fn leave(&mut self, directory: &Inode) -> ControlFlow<()>;
    /// Anything else.
    fn entry(&mut self, spot: &Spot<'_>, inode: &Inode) -> ControlFlow<()>;
    /// Something that cannot be shown, or a directory of which the rest cannot.
    fn lost(&mut self, spot: &Spot<'_>, loss: Loss) -> ControlFlow<()>;
}

/// Shows `start`, called `name`, and everything below it.
pub fn walk(filesystem: &dyn Filesystem, start: &Inode, name: &[u8], visitor: &mut dyn TreeVisitor) -> ControlFlow<()> {
    let mut walk = Walk { filesystem, visitor, path: Vec::new(), levels: Vec::new(), seen: SeenInodes::default() };
    walk.show(name, start.clone())?;
    while !walk.levels.is_empty() {
        walk.step()?;
    }
    ControlFlow::Continue(())
}

struct Walk<'a> {
    filesystem: &'a dyn Filesystem,
    visitor: &'a mut dyn TreeVisitor,
    /// Of the innermost directory.
    path: Vec<u8>,
    levels: Vec<Level>,
    seen: SeenInodes,
}

struct Level {
    directory: Inode,
    name: Vec<u8>,
    /// How long the path was before this directory.
    outer_path: usize,
    /// Names listed, not yet shown.
    waiting: VecDeque<Entry>,
    /// How many names were listed until now.
    listed: usize,
    ended: bool,
}

impl Walk<'_> {
    fn step(&mut self) -> ControlFlow<()> {
        let Some(level) = self.levels.last_mut() else { return ControlFlow::Break(()) };
        match level.waiting.pop_front() {
            Some(entry) => self.show_entry(&entry),
            None if level.ended => self.leave(),
            None => self.refill(),
        }
    }

    fn show_entry(&mut self, entry: &Entry) -> ControlFlow<()> {
        if !is_plain_name(&entry.name) {
            return self.lost(&entry.name, Loss::BadName);
        }
        match self.filesystem.inode(entry.inode) {
            Ok(inode) => self.show(&entry.name, inode),
            Err(error) => self.lost(&entry.name, error.into()),
        }
    }

    fn show(&mut self, name: &[u8], inode: Inode) -> ControlFlow<()> {
        if inode.is_directory() {
            return self.enter(name, inode);
        }
        self.visitor.entry(&Spot { directory: &self.path, name }, &inode)
    }

    fn enter(&mut self, name: &[u8], directory: Inode) -> ControlFlow<()> {
        if self.levels.len() >= MAX_DEPTH {
            return self.lost(name, Loss::TooDeep);
        }
        match self.seen.insert(directory.number.0) {
            Some(true) => {}
            Some(false) => return self.lost(name, Loss::SeenBefore),
            None => return self.lost(name, Loss::TooMany),
        }
        if self.visitor.enter(&Spot { directory: &self.path, name }, &directory)? {
            let outer_path = self.path.len();
            self.path = join(&self.path, name);
            let (waiting, name) = (VecDeque::new(), name.to_vec());
            self.levels.push(Level { directory, name, outer_path, waiting, listed: 0, ended: false });
        }
        ControlFlow::Continue(())
    }

    fn leave(&mut self) -> ControlFlow<()> {
        let Some(level) = self.levels.pop() else { return ControlFlow::Break(()) };
        self.path.truncate(level.outer_path);
        self.visitor.leave(&level.directory)
    }

    fn lost(&mut self, name: &[u8], loss: Loss) -> ControlFlow<()> {
        self.visitor.lost(&Spot { directory: &self.path, name }, loss)
    }

    /// Lists the next batch of the innermost directory. A larger one is listed again from its start, which costs less than its names
    /// in memory would.
    fn refill(&mut self) -> ControlFlow<()> {
        let limit = if self.levels.len() <= WIDE_LEVELS { BATCH } else { DEEP_BATCH };
        let Some(level) = self.levels.last_mut() else { return ControlFlow::Break(()) };
        let (mut batch, mut skip) = (Vec::new(), level.listed);
        let listed = self.filesystem.list(&level.directory, &mut |entry| {
            if skip > 0 {
                skip -= 1;
                return ControlFlow::Continue(());
            }
            batch.push(entry);
            if batch.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        level.ended = batch.len() < limit;
        level.listed += batch.len();
        batch.sort_by(|a, b| a.name.cmp(&b.name));
        level.waiting = batch.into();
        match listed {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                level.ended = true;
                let directory = self.path.get(..level.outer_path).unwrap_or_default();
                self.visitor.lost(&Spot { directory, name: &level.name }, error.into())
            }
        }
    }
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match (directory, name) {
        (b"", name) => name.to_vec(),
        (directory, b"") => directory.to_vec(),
        (directory, name) => [directory, b"/", name].concat(),
    }
}

#[cfg(test)]
mod tests;
