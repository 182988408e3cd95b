//! Comparison of files: two trees of any two volumes, walked side by side in the order of their names.
//!
//! ```text
//!   old tree ──names of a directory, sorted──┐
//!                                            ├─ merge ─► pairs ─► kind, attributes, content ─► differences
//!   new tree ──names of a directory, sorted──┘        └► names of one side ─► moves, if both are one volume
//! ```
//! What cannot be read on either side is a finding, and never counts as equal, removed or added. Memory is bounded: names are held
//! batch by batch, and of differences beyond [`MAX_HELD_BYTES`] only the number is kept.

mod likeness;
mod moves;
mod names;
mod walk;

#[cfg(test)]
mod tests;

use std::mem;

use crate::base::cancel::Cancel;
use crate::base::progress::Progress;
use crate::catalog::Record;
use crate::catalog::index::{Change, Difference};
use crate::filesystem::{Filesystem, Inode};
use crate::job::JobError;
use crate::job::extract::{FileFindingKind, FileFindings};
use walk::Walk;

/// What the differences of one comparison may take in memory: some 150,000 with paths of usual length.
pub const MAX_HELD_BYTES: usize = 64 << 20;

/// A file or directory with everything below it.
#[derive(Debug, Clone, Copy)]
pub struct Tree<'a> {
    /// Where it is.
    pub filesystem: &'a dyn Filesystem,
    /// The file or directory.
    pub start: &'a Inode,
}

/// How to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CompareOptions {
    /// Compare bytes also where inode and times say that nothing was written.
    pub content: bool,
}

/// What differs between two trees.
#[derive(Debug, Default)]
pub struct FileComparison {
    /// Ordered by path; paths begin with a slash, which is the start of the trees.
    pub differences: Vec<Difference>,
    /// Differences found beyond those.
    pub left_out: u64,
    /// What could not be compared.
    pub findings: FileFindings,
    /// Bytes of content that were read on each side.
    pub compared_bytes: u64,
}

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Old,
    New,
}

/// A thing of each side.
#[derive(Debug, Clone, Copy, Default)]
struct Both<T> {
    old: T,
    new: T,
}

impl<T> Both<T> {
    fn of(&self, side: Side) -> &T {
        match side {
            Side::Old => &self.old,
            Side::New => &self.new,
        }
    }

    fn of_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Old => &mut self.old,
            Side::New => &mut self.new,
        }
    }
}

/// Compares two trees. `path` is what the starts are called: empty, or a slash and a name.
pub fn compare_files(
    old: Tree<'_>,
    new: Tree<'_>,
    path: &[u8],
    options: CompareOptions,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<FileComparison, JobError> {
    progress.begin("comparing files", 0);
    let mut walk = Walk::new(Both { old, new }, options, progress, cancel);
    walk.run(path)?;
    let report = walk.into_report()?;
    progress.finish();
    Ok(report)
}

/// Two states of one volume name their inodes alike.
fn is_one_volume(trees: &Both<Tree<'_>>) -> bool {
    trees.old.filesystem.identity().uuid == trees.new.filesystem.identity().uuid
}

impl FileComparison {
    fn find(&mut self, side: Side, path: Vec<u8>, reason: &str) {
        let whose = match side {
            Side::Old => "in the old one",
            Side::New => "in the new one",
        };
        self.findings.add(path, FileFindingKind::Lost, format!("{whose}: {reason}"));
    }
}

/// Differences while they are found.
#[derive(Debug, Default)]
struct Held {
    list: Vec<Difference>,
    bytes: usize,
    left_out: u64,
}

impl Held {
    fn push(&mut self, path: Vec<u8>, change: Change, old: Option<Record>, new: Option<Record>) {
        // A path, and the last name of it in each record.
        let bytes = mem::size_of::<Difference>() + 3 * path.len();
        if self.bytes + bytes > MAX_HELD_BYTES {
            self.left_out += 1;
            return;
        }
        self.bytes += bytes;
        self.list.push(Difference { path, change, old, new });
    }
}
