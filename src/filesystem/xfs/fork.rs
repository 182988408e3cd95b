//! A fork of an inode: a few bytes in the inode itself, a list of runs, or a tree of runs.

use super::disk::Disk;
use super::found::{Found, Span};
use super::geometry::Geometry;
use super::inode_core::{FORMAT_LOCAL, FORMAT_RUNS, FORMAT_TREE, Layout};
use super::run::{RUN_BYTES, Run};
use super::seal::{MAP_TREE, Seal};
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

    /// Puts a flipped bit right in what was read from byte `at`.
    pub(super) fn mend(&self, at: u64, seal: &Seal, bytes: &mut [u8]) {
        self.disk.mend(self.object, at, seal, bytes);
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
        let mut found = Found::whole(first, count);
        self.search(&mut found)?;
        Ok(found.runs)
    }

    /// The same around everything that is broken: what the broken parts could say something about is lost.
    pub(super) fn runs_around(&self, first: u64, count: u64) -> Found {
        let mut found = Found::around(first, count);
        if let Err(error) = self.search(&mut found) {
            found.lose_all(error);
        }
        found
    }

    fn search(&self, found: &mut Found) -> Result<(), FilesystemError> {
        match self.format {
            FORMAT_RUNS => self.list(&self.fields, 0, self.runs, Span::ALL, found),
            FORMAT_TREE => self.root(found),
            other => Err(self.corrupt(format!("it has format {other}, which has no blocks"))),
        }
    }

    /// Takes what is wanted from `count` runs that stand one after the other, and speak of the blocks in `span`.
    fn list(&self, fields: &Fields<'_>, at: usize, count: u64, span: Span, found: &mut Found) -> Result<(), FilesystemError> {
        let room = (fields.length().saturating_sub(at) / RUN_BYTES) as u64;
        if count > room {
            return found.lose(span, fields.corrupt(format!("{count} runs where {room} have room")));
        }
        let mut end = found.runs.last().map_or(0, Run::end).max(span.first);
        let mut wrong = None;
        for offset in (at..).step_by(RUN_BYTES).take(usize::try_from(count).unwrap_or(0)) {
            match self.run(fields, offset, end, span, found) {
                Ok(next) => {
                    if let Some(error) = wrong.take() {
                        found.lose_before(Span { first: end, end: next.first }, error);
                    }
                    end = next.end;
                }
                Err(error) if found.is_around() => wrong = Some(error),
                Err(error) => return Err(error),
            }
        }
        match wrong {
            Some(error) => found.lose(Span { first: end, end: span.end }, error),
            None => Ok(()),
        }
    }

    /// Takes one run, which begins at `end` or behind it, and says what it speaks of.
    fn run(&self, fields: &Fields<'_>, offset: usize, end: u64, span: Span, found: &mut Found) -> Result<Span, FilesystemError> {
        let (first, blocks) = Run::claimed(fields, offset)?;
        let claimed = Span { first, end: first + blocks };
        match Run::parse(fields, offset, self.geometry()) {
            Ok(_) if first < end => return Err(fields.corrupt(format!("its run of block {first} is out of order"))),
            Ok(_) if !found.wanted.meets(&claimed) => {}
            Ok(_) if claimed.end > span.end => {
                return Err(fields.corrupt(format!("its run of block {first} is not what its key says")));
            }
            Ok(run) => found.runs.push(run),
            Err(error) if blocks > 0 && first >= end && claimed.end <= span.end => found.lose(claimed, error)?,
            Err(error) => return Err(error),
        }
        Ok(claimed)
    }

    fn root(&self, found: &mut Found) -> Result<(), FilesystemError> {
        let level = self.fields.be16(0)?;
        if !(1..=MOST_LEVELS).contains(&level) {
            return Err(self.corrupt(format!("a tree of {level} levels")));
        }
        self.children(&self.fields, ROOT_HEADER_BYTES, self.fields.be16(2)?, level, Span::ALL, found)
    }

    /// Follows the children that can speak of what is wanted. Ends: levels fall by one, and spans of children are disjoint.
    fn children(
        &self,
        node: &Fields<'_>,
        header: usize,
        count: u16,
        level: u16,
        span: Span,
        found: &mut Found,
    ) -> Result<(), FilesystemError> {
        let most = node.length().saturating_sub(header) / (2 * KEY_BYTES);
        let count = usize::from(count);
        if count == 0 || count > most {
            return found.lose(span, node.corrupt(format!("{count} children where 1 to {most} have room")));
        }
        let mut past = span.first;
        for index in 0..count {
            let first = node.be64(header + index * KEY_BYTES)?;
            let next = if index + 1 < count { node.be64(header + (index + 1) * KEY_BYTES)? } else { span.end };
            if first < past || next <= first || next > span.end {
                return found.lose(Span { first: past, end: span.end }, node.corrupt(format!("its key {first} is out of order")));
            }
            let child = Span { first, end: next };
            if child.meets(&found.wanted) {
                let block = node.be64(header + (most + index) * KEY_BYTES)?;
                if let Err(error) = self.node(block, level - 1, child, found) {
                    found.lose(child, error)?;
                }
            }
            past = next;
        }
        Ok(())
    }

    /// Reads a node or a leaf. An error is one of the whole of it: nothing was taken from it.
    fn node(&self, block: u64, level: u16, span: Span, found: &mut Found) -> Result<(), FilesystemError> {
        let at = self.geometry().blocks(block, 1);
        let at = at.ok_or_else(|| self.corrupt(format!("its tree leads to block {block}, which cannot be")))?;
        // The tree of any fork is the map of its inode.
        let object = Object::Map(self.inode);
        let mut bytes = self.disk.block(object, at)?;
        self.disk.mend(object, at, &MAP_TREE, &mut bytes);
        let fields = Fields::new(&bytes, object, at);
        self.check_node(&fields, at, level)?;
        let header = if self.geometry().crc { HEADER_BYTES_5 } else { HEADER_BYTES_4 };
        let count = fields.be16(6)?;
        match level {
            0 => self.list(&fields, header, count.into(), span, found),
            _ => self.children(&fields, header, count, level, span, found),
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
