//! Extent trees: the map of ext4, verified node by node on the way down.

use std::ops::Range;

use super::checksum::crc32c;
use super::runs::{OnLoss, Run, push};
use super::volume::Volume;
use crate::filesystem::error::FilesystemError;
use crate::filesystem::fields::{Fields, sums_agree};

const MAGIC: u16 = 0xF30A;
/// Bytes of the header, and of every entry after it.
const ENTRY_BYTES: usize = 12;
/// Levels below the root that a tree can have.
const MAX_DEPTH: u16 = 5;
/// Longer extents are unwritten ones, and this much shorter.
const MAX_WRITTEN: u16 = 0x8000;
/// Blocks that a file can have are numbered in 32 bits.
const ALL: Range<u64> = 0..1 << 32;

/// True when `body` begins as a tree does.
pub(super) fn is_tree(body: &[u8]) -> bool {
    body.get(..2) == Some(&MAGIC.to_le_bytes())
}

/// The runs of `wanted`, ascending; `seed` begins the checksums of the owner. Only nodes on the way to them are read, and what a
/// broken one stood for is told.
pub(super) fn find(
    volume: &Volume,
    seed: u32,
    root: &Fields<'_>,
    wanted: &Range<u64>,
    on_loss: OnLoss<'_>,
) -> Result<Vec<Run>, FilesystemError> {
    let depth = root.le16(6)?;
    if depth > MAX_DEPTH {
        on_loss(wanted.clone(), root.corrupt(format!("a tree of {depth} levels cannot be")))?;
        return Ok(Vec::new());
    }
    let mut walk = Walk { volume, seed, wanted, runs: Vec::new(), on_loss };
    walk.node(root, depth, ALL)?;
    Ok(walk.runs)
}

struct Walk<'a> {
    volume: &'a Volume,
    seed: u32,
    wanted: &'a Range<u64>,
    runs: Vec<Run>,
    on_loss: OnLoss<'a>,
}

impl Walk<'_> {
    /// Visits a node that stands for `covers`. Each level has a depth one less, so this ends.
    fn node(&mut self, node: &Fields<'_>, depth: u16, covers: Range<u64>) -> Result<(), FilesystemError> {
        match header(node, depth) {
            Ok(entries) if depth == 0 => self.leaf(node, entries, &covers),
            Ok(entries) => self.interior(node, entries, depth, &covers),
            Err(error) => (self.on_loss)(covers, error),
        }
    }

    fn leaf(&mut self, node: &Fields<'_>, entries: usize, covers: &Range<u64>) -> Result<(), FilesystemError> {
        let mut next = covers.start;
        for entry in 1..=entries {
            let run = extent(node, entry * ENTRY_BYTES)?;
            if run.logical < next || run.end() > covers.end || run.count == 0 {
                // Nothing that follows can be believed either.
                let error = node.corrupt(format!("extent {entry} for block {} is out of order", run.logical));
                return (self.on_loss)(next..covers.end, error);
            }
            next = run.end();
            if !self.volume.holds(run.physical, run.count) {
                let error = node.corrupt(format!("extent {entry} lies outside the volume, at block {}", run.physical));
                (self.on_loss)(run.logical..run.end(), error)?;
            } else if let Some(part) = run.within(self.wanted) {
                push(&mut self.runs, part);
            }
        }
        Ok(())
    }

    fn interior(&mut self, node: &Fields<'_>, entries: usize, depth: u16, covers: &Range<u64>) -> Result<(), FilesystemError> {
        if entries == 0 {
            return (self.on_loss)(covers.clone(), node.corrupt("a node with levels below it is empty"));
        }
        let key = |entry: usize| node.le32(entry * ENTRY_BYTES).map(u64::from);
        let (mut start, mut reached) = (key(1)?, covers.start);
        for entry in 1..=entries {
            let end = if entry < entries { key(entry + 1)? } else { covers.end };
            if start < covers.start || start >= end || end > covers.end {
                let error = node.corrupt(format!("entry {entry} for block {start} is out of order"));
                return (self.on_loss)(reached..covers.end, error);
            }
            if start < self.wanted.end && end > self.wanted.start {
                self.child(node, entry, depth - 1, start..end)?;
            }
            reached = end;
            start = end;
        }
        Ok(())
    }

    fn child(&mut self, parent: &Fields<'_>, entry: usize, depth: u16, covers: Range<u64>) -> Result<(), FilesystemError> {
        let at = entry * ENTRY_BYTES;
        let block = u64::from(parent.le32(at + 4)?) | u64::from(parent.le16(at + 8)?) << 32;
        if !self.volume.holds(block, 1) {
            return (self.on_loss)(covers, parent.corrupt(format!("entry {entry} points outside the volume, to block {block}")));
        }
        let object = parent.object();
        let mut bytes = match self.volume.block(object, block) {
            Ok(bytes) => bytes,
            Err(error) => return (self.on_loss)(covers, error),
        };
        self.volume.mend_extents(object, self.volume.place_of(block), self.seed, &mut bytes);
        let node = Fields::new(&bytes, object, self.volume.place_of(block));
        match self.verify(&node) {
            Ok(()) => self.node(&node, depth, covers),
            Err(error) => (self.on_loss)(covers, error),
        }
    }

    /// The checksum stands behind the room for entries.
    fn verify(&self, node: &Fields<'_>) -> Result<(), FilesystemError> {
        if !self.volume.superblock.has_metadata_checksums() {
            return Ok(());
        }
        let tail = (usize::from(node.le16(4)?) + 1) * ENTRY_BYTES;
        if !sums_agree(node.le32(tail)?, crc32c(self.seed, node.slice(0, tail)?)) {
            return Err(node.corrupt("the checksum of an extent node does not match"));
        }
        Ok(())
    }
}

/// Checks the header of a node and says how many entries it has.
fn header(node: &Fields<'_>, depth: u16) -> Result<usize, FilesystemError> {
    if node.le16(0)? != MAGIC {
        return Err(node.corrupt("an extent node has the wrong magic number"));
    }
    let (entries, room, found) = (usize::from(node.le16(2)?), usize::from(node.le16(4)?), node.le16(6)?);
    if found != depth {
        return Err(node.corrupt(format!("an extent node says level {found}, but stands at level {depth}")));
    }
    if room == 0 || entries > room || (room + 1) * ENTRY_BYTES > node.length() {
        return Err(node.corrupt(format!("an extent node says {entries} of {room} entries")));
    }
    Ok(entries)
}

fn extent(node: &Fields<'_>, at: usize) -> Result<Run, FilesystemError> {
    let length = node.le16(at + 4)?;
    let unwritten = length > MAX_WRITTEN;
    Ok(Run {
        logical: u64::from(node.le32(at)?),
        count: u64::from(if unwritten { length - MAX_WRITTEN } else { length }),
        physical: u64::from(node.le32(at + 8)?) | u64::from(node.le16(at + 6)?) << 32,
        unwritten,
    })
}
