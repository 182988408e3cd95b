//! Whether two inodes are alike: what they are, whose they are, and what they hold.

use super::{Both, CompareOptions, Side, Tree, is_one_volume};
use crate::base::cancel::Cancel;
use crate::base::extent::{Extent, ExtentSet};
use crate::base::progress::{Progress, Step};
use crate::catalog::index::Change;
use crate::filesystem::{FileKind, Filesystem, FilesystemError, Inode, is_data};
use crate::job::JobError;
use crate::job::extract::{Refusal, unreadable};

/// How much of a file is read at once on each side.
const PIECE_BYTES: u64 = 1 << 20;
/// A map is asked for this much at first, and for twice as much after each stretch without data.
const SHORT_STRETCH_BYTES: u64 = 4 << 20;
/// A stretch of single blocks is a quarter of a million segments, which is as much as may be held.
const LONG_STRETCH_BYTES: u64 = 1 << 30;

/// Why two inodes could not be compared.
#[derive(Debug)]
pub(super) enum Trouble {
    /// One side cannot be read.
    Here(Side, String),
    /// Nothing can be compared any more.
    Stop(JobError),
}

impl Trouble {
    pub(super) fn at(side: Side) -> impl Fn(FilesystemError) -> Self {
        move |error| match unreadable(error) {
            Refusal::Here(reason) | Refusal::Withheld(reason) => Self::Here(side, reason),
            Refusal::Stop(error) => Self::Stop(error),
        }
    }
}

/// Compares inodes of two trees.
pub(super) struct Likeness<'a> {
    filesystems: Both<&'a dyn Filesystem>,
    pub(super) is_one_volume: bool,
    options: CompareOptions,
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
    buffers: Both<Vec<u8>>,
    pub(super) compared_bytes: u64,
}

impl<'a> Likeness<'a> {
    pub(super) fn new(trees: &Both<Tree<'a>>, options: CompareOptions, progress: &'a dyn Progress, cancel: &'a Cancel) -> Self {
        let filesystems = Both { old: trees.old.filesystem, new: trees.new.filesystem };
        let buffers = Both { old: Vec::new(), new: Vec::new() };
        Self { filesystems, is_one_volume: is_one_volume(trees), options, progress, cancel, buffers, compared_bytes: 0 }
    }

    /// How an inode changed. Names that come and go change a directory's times and length, and are told by themselves.
    pub(super) fn change(&mut self, old: &Inode, new: &Inode) -> Result<Option<Change>, Trouble> {
        if old.kind != new.kind {
            return Ok(Some(Change::Modified));
        }
        let is_same = match old.kind {
            FileKind::Regular => old.size == new.size && self.is_same_content(old, new)?,
            FileKind::Symlink => self.of_both(old, new, |filesystem, inode| filesystem.link_target(inode))?,
            _ => true,
        };
        if !is_same {
            return Ok(Some(Change::Modified));
        }
        let modified = |inode: &Inode| if inode.is_directory() { None } else { Some(inode.modified) };
        let attributes = |inode: &Inode| (inode.mode, inode.uid, inode.gid, modified(inode));
        let is_same = attributes(old) == attributes(new) && self.of_both(old, new, |filesystem, inode| filesystem.xattrs(inode))?;
        Ok((!is_same).then_some(Change::Attributes))
    }

    /// True when both sides say the same.
    fn of_both<T: PartialEq>(
        &self,
        old: &Inode,
        new: &Inode,
        ask: impl Fn(&dyn Filesystem, &Inode) -> Result<T, FilesystemError>,
    ) -> Result<bool, Trouble> {
        let old = ask(self.filesystems.old, old).map_err(Trouble::at(Side::Old))?;
        let new = ask(self.filesystems.new, new).map_err(Trouble::at(Side::New))?;
        Ok(old == new)
    }

    fn is_same_content(&mut self, old: &Inode, new: &Inode) -> Result<bool, Trouble> {
        let stamp = |inode: &Inode| (inode.number, inode.generation, inode.modified, inode.changed);
        if self.is_one_volume && !self.options.content && stamp(old) == stamp(new) {
            return Ok(true);
        }
        let (mut at, mut length) = (0, SHORT_STRETCH_BYTES);
        while at < old.size {
            let stretch = Extent::between(at, at.saturating_add(length).min(old.size));
            let data = self.data_of(Side::Old, old, stretch)?.union(&self.data_of(Side::New, new, stretch)?);
            length = if data.is_empty() { (2 * length).min(LONG_STRETCH_BYTES) } else { SHORT_STRETCH_BYTES };
            for piece in data.as_slice().iter().flat_map(|extent| extent.cut(PIECE_BYTES)) {
                if !self.is_same_piece(old, new, piece)? {
                    return Ok(false);
                }
            }
            at = stretch.end();
        }
        Ok(true)
    }

    /// Where a side has bytes; the rest is zeros on both.
    fn data_of(&self, side: Side, inode: &Inode, stretch: Extent) -> Result<ExtentSet, Trouble> {
        if self.cancel.is_cancelled() {
            return Err(Trouble::Stop(JobError::Cancelled));
        }
        let segments = self.filesystems.of(side).map(inode, stretch).map_err(Trouble::at(side))?;
        let mut data = ExtentSet::new();
        segments.iter().filter(|segment| is_data(segment)).for_each(|segment| data.insert(segment.extent.intersect(&stretch)));
        Ok(data)
    }

    fn is_same_piece(&mut self, old: &Inode, new: &Inode, piece: Extent) -> Result<bool, Trouble> {
        if self.cancel.is_cancelled() {
            return Err(Trouble::Stop(JobError::Cancelled));
        }
        self.read(Side::Old, old, piece)?;
        self.read(Side::New, new, piece)?;
        self.compared_bytes += piece.length;
        self.progress.step(Step { done_bytes: piece.length, new_bytes: 0 });
        Ok(self.buffers.old == self.buffers.new)
    }

    fn read(&mut self, side: Side, inode: &Inode, piece: Extent) -> Result<(), Trouble> {
        let buffer = self.buffers.of_mut(side);
        // No piece is longer than PIECE_BYTES.
        buffer.resize(usize::try_from(piece.length.min(PIECE_BYTES)).unwrap_or(0), 0);
        let filled = self.filesystems.of(side).read(inode, piece.offset, buffer).map_err(Trouble::at(side))?;
        if filled < buffer.len() {
            return Err(Trouble::Here(side, format!("it ends within {piece}, before its size")));
        }
        Ok(())
    }
}
