//! A fork of an inode: a few bytes in the inode itself, a list of runs, or a tree of runs.

use super::disk::Disk;
use super::geometry::Geometry;
use super::inode_core::{FORMAT_LOCAL, FORMAT_RUNS, FORMAT_TREE, Layout};
use super::run::{RUN_BYTES, Run};
use super::seal::MAP_TREE;
use crate::base::extent::Extent;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;
use crate::filesystem::inode::{FileKind, Inode};

/// More levels than a tree of 2^48 runs needs.
const MOST_LEVELS: u16 = 9;
const ROOT_HEADER_BYTES: usize = 4;
const HEADER_BYTES_4: usize = 24;
const HEADER_BYTES_5: usize = 72;
/// A key and a child.
const KEY_BYTES: usize = 8;

/// One fork.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fork<'a> {
    disk: &'a Disk,
    /// What messages name.
    object: Object,
    inode: u64,
    /// Where the inode lies.
    at: u64,
    fields: Fields<'a>,
    format: u8,
    runs: u64,
}

/// The blocks of a file between the keys of a node: what a child may speak of.
#[derive(Debug, Clone, Copy)]
struct Span {
    first: u64,
    end: u64,
}

impl Span {
    fn meets(&self, other: &Self) -> bool {
        self.first < other.end && other.first < self.end
    }
}

impl<'a> Fork<'a> {
    /// The fork of the content. `object` makes the name that messages give it.
    pub(super) fn data(disk: &'a Disk, inode: &'a Inode, object: fn(u64) -> Object) -> Result<Self, FilesystemError> {
        let (layout, at) = layout(disk, inode, object(inode.number.0))?;
        if inode.kind == FileKind::Regular && layout.is_realtime()? {
            let object = Object::Inode(inode.number.0);
            return Err(FilesystemError::Unsupported { object, feature: "realtime".to_owned() });
        }
        let (bytes, _) = layout.forks()?;
        Ok(Self::new(disk, inode, bytes, at, object(inode.number.0), layout.format()?, layout.data_runs()?))
    }

    /// The fork of extended attributes, if there is one.
    pub(super) fn attributes(disk: &'a Disk, inode: &'a Inode) -> Result<Option<Self>, FilesystemError> {
        let object = Object::Attributes(inode.number.0);
        let (layout, at) = layout(disk, inode, object)?;
        let Some(bytes) = layout.forks()?.1 else { return Ok(None) };
        Ok(Some(Self::new(disk, inode, bytes, at, object, layout.attribute_format()?, layout.attribute_runs()?)))
    }

    fn new(disk: &'a Disk, inode: &Inode, bytes: &'a [u8], at: u64, object: Object, format: u8, runs: u64) -> Self {
        Self { disk, object, inode: inode.number.0, at, fields: Fields::new(bytes, object, at), format, runs }
    }

    /// What numbers mean there.
    pub(super) fn geometry(&self) -> &'a Geometry {
        self.disk.geometry()
    }

    /// What messages name.
    pub(super) fn object(&self) -> Object {
        self.object
    }

    /// The byte where its inode lies.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Whose fork it is.
    pub(super) fn inode(&self) -> u64 {
        self.inode
    }

    /// The bytes in the inode, for a fork that is kept there.
    pub(super) fn local(&self) -> Option<Fields<'a>> {
        (self.format == FORMAT_LOCAL).then_some(self.fields)
    }

    /// True for a fork of no runs at all.
    pub(super) fn is_empty(&self) -> bool {
        self.format == FORMAT_RUNS && self.runs == 0
    }

    /// Says what is wrong with the fork.
    pub(super) fn corrupt(&self, what: impl Into<String>) -> FilesystemError {
        self.fields.corrupt(what)
    }

    /// All runs that share a block with the `count` blocks from `first`, ascending. No more than `count`.
    pub(super) fn runs(&self, first: u64, count: u64) -> Result<Vec<Run>, FilesystemError> {
        let wanted = Span { first, end: first.saturating_add(count) };
        let mut found = Vec::new();
        match self.format {
            FORMAT_RUNS => self.list(&self.fields, 0, self.runs, wanted, &mut found)?,
            FORMAT_TREE => self.root(wanted, &mut found)?,
            other => return Err(self.corrupt(format!("it has format {other}, which has no blocks"))),
        }
        Ok(found)
    }

    /// Takes what is wanted from `count` runs that stand one after the other.
    fn list(&self, fields: &Fields<'_>, at: usize, count: u64, wanted: Span, found: &mut Vec<Run>) -> Result<(), FilesystemError> {
        let room = (fields.length().saturating_sub(at) / RUN_BYTES) as u64;
        if count > room {
            return Err(fields.corrupt(format!("{count} runs where {room} have room")));
        }
        let mut end = found.last().map_or(0, Run::end);
        for offset in (at..).step_by(RUN_BYTES).take(usize::try_from(count).unwrap_or(0)) {
            let run = Run::parse(fields, offset, self.geometry())?;
            if run.file_block < end {
                return Err(fields.corrupt(format!("its run of block {} is out of order", run.file_block)));
            }
            end = run.end();
            if wanted.meets(&Span { first: run.file_block, end }) {
                found.push(run);
            }
        }
        Ok(())
    }

    fn root(&self, wanted: Span, found: &mut Vec<Run>) -> Result<(), FilesystemError> {
        let level = self.fields.be16(0)?;
        if !(1..=MOST_LEVELS).contains(&level) {
            return Err(self.corrupt(format!("a tree of {level} levels")));
        }
        let all = Span { first: 0, end: u64::MAX };
        self.children(&self.fields, ROOT_HEADER_BYTES, self.fields.be16(2)?, level, all, wanted, found)
    }

    /// Follows the children that can speak of what is wanted. Ends: levels fall by one, and spans of children are disjoint.
    #[expect(clippy::too_many_arguments, reason = "one node: where its keys are, what it may say, what is asked, what was found")]
    fn children(
        &self,
        node: &Fields<'_>,
        header: usize,
        count: u16,
        level: u16,
        span: Span,
        wanted: Span,
        found: &mut Vec<Run>,
    ) -> Result<(), FilesystemError> {
        let most = node.length().saturating_sub(header) / (2 * KEY_BYTES);
        let count = usize::from(count);
        if count == 0 || count > most {
            return Err(node.corrupt(format!("{count} children where 1 to {most} have room")));
        }
        for index in 0..count {
            let first = node.be64(header + index * KEY_BYTES)?;
            let next = if index + 1 < count { node.be64(header + (index + 1) * KEY_BYTES)? } else { span.end };
            if first < span.first || next <= first || next > span.end {
                return Err(node.corrupt(format!("its key {first} is out of order")));
            }
            let child = Span { first, end: next };
            if child.meets(&wanted) {
                self.node(node.be64(header + (most + index) * KEY_BYTES)?, level - 1, child, wanted, found)?;
            }
        }
        Ok(())
    }

    fn node(&self, block: u64, level: u16, span: Span, wanted: Span, found: &mut Vec<Run>) -> Result<(), FilesystemError> {
        let at = self.geometry().blocks(block, 1);
        let at = at.ok_or_else(|| self.corrupt(format!("its tree leads to block {block}, which cannot be")))?;
        // The tree of any fork is the map of its inode.
        let object = Object::Map(self.inode);
        let bytes = self.disk.block(object, at)?;
        let fields = Fields::new(&bytes, object, at);
        self.check_node(&fields, at, level)?;
        let header = if self.geometry().crc { HEADER_BYTES_5 } else { HEADER_BYTES_4 };
        let count = fields.be16(6)?;
        if level > 0 {
            return self.children(&fields, header, count, level, span, wanted, found);
        }
        let before = found.len();
        self.list(&fields, header, count.into(), wanted, found)?;
        let outside = |run: &Run| run.file_block < span.first || run.end() > span.end;
        match found.get(before..).unwrap_or_default().iter().find(|run| outside(run)) {
            Some(run) => Err(fields.corrupt(format!("its run of block {} is not what its key says", run.file_block))),
            None => Ok(()),
        }
    }

    fn check_node(&self, fields: &Fields<'_>, at: u64, level: u16) -> Result<(), FilesystemError> {
        let magic: &[u8] = if self.geometry().crc { b"BMA3" } else { b"BMAP" };
        if fields.slice(0, 4)? != magic {
            return Err(fields.corrupt(format!("no {} node", String::from_utf8_lossy(magic))));
        }
        MAP_TREE.check(fields, self.geometry(), at, self.inode)?;
        match fields.be16(4)? {
            found if found == level => Ok(()),
            found => Err(fields.corrupt(format!("a node of level {found} where level {level} belongs"))),
        }
    }

    /// Blocks of metadata that lie in `runs`, put together; the byte is where the first of them lies. `None` where nothing lies.
    pub(super) fn gather(&self, runs: &[Run], first: u64, count: u64) -> Result<Option<(u64, Vec<u8>)>, FilesystemError> {
        let wanted = Span { first, end: first.saturating_add(count) };
        let (mut bytes, mut at, mut next) = (Vec::new(), None, first);
        for run in runs.iter().filter(|run| wanted.meets(&Span { first: run.file_block, end: run.end() })) {
            let start = run.file_block.max(first);
            if start != next || run.unwritten {
                return Err(self.corrupt(format!("its block {next} has no place")));
            }
            let end = run.end().min(wanted.end);
            let log = self.geometry().block_log;
            let piece = Extent::new(run.byte + ((start - run.file_block) << log), (end - start) << log);
            let length = u32::try_from(piece.length).unwrap_or(u32::MAX);
            bytes.append(&mut self.disk.read(self.object, piece.offset, length)?);
            at = at.or(Some(piece.offset));
            next = end;
        }
        match at {
            Some(_) if next != wanted.end => Err(self.corrupt(format!("its block {next} has no place"))),
            found => Ok(found.map(|at| (at, bytes))),
        }
    }

    /// One block of metadata, by its number in the fork.
    pub(super) fn block(&self, block: u64) -> Result<(u64, Vec<u8>), FilesystemError> {
        let gathered = self.gather(&self.runs(block, 1)?, block, 1)?;
        gathered.ok_or_else(|| self.corrupt(format!("its block {block} has no place")))
    }
}

/// The inode's own layout, and the byte where it lies.
fn layout<'a>(disk: &Disk, inode: &'a Inode, object: Object) -> Result<(Layout<'a>, u64), FilesystemError> {
    let at = disk.geometry().inode(inode.number.0).map_or(0, |place| place.byte);
    Ok((Layout::of(Fields::new(&inode.raw, object, at)), at))
}

#[cfg(test)]
mod tests;
