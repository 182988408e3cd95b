//! Where the next record would be written: found by the cycle numbers, and moved back over writes that were under way.
//!
//! ```text
//!   block   0 ............... head ............... last        in a ring that is written for the third time
//!   cycle   3 3 3 3 3 3 3 3 3 | 2 2 2 2 2 2 2 2 2 2
//!           3 3 3 3 3 2 3 2 3 | 2 2 ...                        writes that were under way: the first 2 is the head
//! ```

use std::ops::ControlFlow;

use super::header::Header;
use super::ring::{HEADER_MAGIC, Ring, cycle_of, word};
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;

/// So many records may be on their way to the disk at once, in any order.
pub(super) const RECORDS_UNDER_WAY: u64 = 8;
/// Blocks that the longest record's data takes: 256 KiB; 32 KiB in version 1.
const LONGEST_BLOCKS: [u64; 2] = [64, 512];

/// The search.
#[derive(Debug)]
pub(super) struct Search<'a> {
    ring: &'a Ring,
    longest_blocks: u64,
}

impl<'a> Search<'a> {
    /// A search of a log of this version.
    pub(super) fn new(ring: &'a Ring, version: u8) -> Self {
        Self { ring, longest_blocks: if version >= 2 { LONGEST_BLOCKS[1] } else { LONGEST_BLOCKS[0] } }
    }

    /// Where the next record would be written. `None` when nothing was ever written.
    pub(super) fn head(&self) -> Result<Option<u64>, FilesystemError> {
        let last = self.ring.blocks() - 1;
        match (self.ring.cycle(0)?, self.ring.cycle(last)?) {
            (0, _) => Ok(None),
            (_, 0) => self.in_new_log(last).map(Some),
            (first, of_last) => self.in_used_log(first, of_last).map(Some),
        }
    }

    /// The end of what was written in a ring that was never written to its end.
    fn in_new_log(&self, last: u64) -> Result<u64, FilesystemError> {
        let zeroed = self.first_of_cycle(last, 0)?;
        let scanned = self.under_way().min(zeroed);
        let head = self.first_with(zeroed - scanned, scanned, 0)?.unwrap_or(zeroed);
        let start = head - scanned.min(head);
        self.end_of_record(start, head, 0)?.ok_or_else(|| self.no_record(head))
    }

    fn in_used_log(&self, first: u32, last: u32) -> Result<u64, FilesystemError> {
        let blocks = self.ring.blocks();
        // With one cycle throughout, the head is at the end, and only a write under way can have left the cycle before.
        let (head, older) =
            if first == last { (blocks, last.wrapping_sub(1)) } else { (self.first_of_cycle(blocks - 1, last)?, last) };
        let head = self.before_holes(head, older)?;
        Ok(self.before_part(head)? % blocks)
    }

    /// The first block of `cycle` below `end`, which has it, when blocks before it do not: to an approximation.
    fn first_of_cycle(&self, mut end: u64, cycle: u32) -> Result<u64, FilesystemError> {
        let mut first = 0;
        while end - first > 1 {
            let middle = first + (end - first) / 2;
            if self.ring.cycle(middle)? == cycle {
                end = middle;
            } else {
                first = middle;
            }
        }
        Ok(end)
    }

    /// Moves the head back to the first block that a write under way did not reach.
    fn before_holes(&self, head: u64, older: u32) -> Result<u64, FilesystemError> {
        let scanned = self.under_way();
        if head >= scanned {
            return Ok(self.first_with(head - scanned, scanned, older)?.unwrap_or(head));
        }
        // What was under way began before the end of the ring, where one cycle less is what such a write leaves.
        let rest = scanned - head;
        if let Some(hole) = self.first_with(self.ring.blocks() - rest, rest, older.wrapping_sub(1))? {
            return Ok(hole);
        }
        Ok(self.first_with(0, head, older)?.unwrap_or(head))
    }

    /// Moves the head back to the beginning of a record that is there in part.
    fn before_part(&self, head: u64) -> Result<u64, FilesystemError> {
        let scanned = self.longest_blocks.min(self.ring.blocks());
        if head >= scanned {
            return self.end_of_record(head - scanned, head, 0)?.ok_or_else(|| self.no_record(head));
        }
        if let Some(found) = self.end_of_record(0, head, 0)? {
            return Ok(found);
        }
        let blocks = self.ring.blocks();
        let start = blocks - (scanned - head);
        let found = self.end_of_record(start, blocks, head)?.ok_or_else(|| self.no_record(head))?;
        Ok(if found == blocks { head } else { found })
    }

    /// `end`, if the last record that begins in `start..end` ends `beyond` blocks after it; otherwise where that record begins.
    fn end_of_record(&self, start: u64, end: u64, beyond: u64) -> Result<Option<u64>, FilesystemError> {
        let Some((block, header)) = last_header(self.ring, end, end - start)? else { return Ok(None) };
        let whole = end - block + beyond == header.total_blocks();
        Ok(Some(if whole { end } else { block }))
    }

    /// The first block with `cycle` among `count` from `start` on.
    fn first_with(&self, start: u64, count: u64, cycle: u32) -> Result<Option<u64>, FilesystemError> {
        let mut found = None;
        self.ring.scan(start, count, &mut |block, bytes| {
            if cycle_of(bytes) == cycle {
                found = Some(block);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// Blocks in which writes may have been under way.
    fn under_way(&self) -> u64 {
        (RECORDS_UNDER_WAY * self.longest_blocks).min(self.ring.blocks())
    }

    fn no_record(&self, head: u64) -> FilesystemError {
        self.ring.corrupt(head, "no log record before the end of the log")
    }
}

/// The last record header among the `count` blocks before `end`, and where it is.
pub(super) fn last_header(ring: &Ring, end: u64, count: u64) -> Result<Option<(u64, Header)>, FilesystemError> {
    nth_header_back(ring, end, count, 1)
}

/// The header of the `nth` record among the `count` blocks before `end`, counted from the end, or of the earliest there is.
pub(super) fn nth_header_back(ring: &Ring, end: u64, count: u64, nth: u64) -> Result<Option<(u64, Header)>, FilesystemError> {
    let mut seen = 0;
    let mut found = None;
    ring.scan_back(end, count, &mut |block, bytes| {
        if word(bytes, 0) == HEADER_MAGIC {
            found = Some((block, bytes.to_vec()));
            seen += 1;
        }
        if seen == nth { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    found.map(|(block, bytes)| parsed(ring, block, &bytes)).transpose()
}

/// The first record header among `count` blocks from `start` on.
pub(super) fn next_header(ring: &Ring, start: u64, count: u64) -> Result<Option<u64>, FilesystemError> {
    let mut found = None;
    ring.scan(start, count, &mut |block, bytes| {
        if word(bytes, 0) == HEADER_MAGIC {
            found = Some(block);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

fn parsed(ring: &Ring, block: u64, bytes: &[u8]) -> Result<(u64, Header), FilesystemError> {
    Ok((block, Header::read(&Fields::new(bytes, Object::Journal, ring.byte(block)))?))
}
