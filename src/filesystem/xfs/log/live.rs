//! The live part of the log: from the first record that was still needed to the last that is whole.

use super::head::{RECORDS_UNDER_WAY, Search, last_header, next_header, nth_header_back};
use super::header::Header;
use super::record::{Fault, Record, Records};
use super::ring::{BLOCK_BYTES, Ring};
use super::{LogFacts, LogPlace, operation};
use crate::filesystem::error::{FilesystemError, Object};

/// The live part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Live {
    /// The log is empty, or the filesystem was unmounted.
    Nothing,
    /// Records from the block `tail` up to, not including, `head`.
    Records {
        /// The first block.
        tail: u64,
        /// The block after the last.
        head: u64,
    },
}

/// Finds the live part.
#[derive(Debug)]
pub(super) struct Finder<'a> {
    ring: &'a Ring,
    version: u8,
    stripe_unit_bytes: u32,
    crc: bool,
}

impl<'a> Finder<'a> {
    /// Of this log.
    pub(super) fn new(ring: &'a Ring, place: &LogPlace, facts: &LogFacts) -> Self {
        Self { ring, version: place.version, stripe_unit_bytes: place.stripe_unit_bytes, crc: facts.crc }
    }

    /// The live part. An error where the log cannot be followed at all.
    pub(super) fn find(&self) -> Result<Live, FilesystemError> {
        let Some(head) = Search::new(self.ring, self.version).head()? else { return Ok(Live::Nothing) };
        let whole_ring = self.ring.blocks();
        let (block, last) = last_header(self.ring, head, whole_ring)?.ok_or_else(|| self.ring.corrupt(head, "no log record"))?;
        if self.is_unmount(block, &last, head)? {
            return Ok(Live::Nothing);
        }
        let head = self.before_torn(head, self.tail_of(block, &last)?)?;
        // The last record that is left says where the live part begins.
        let (block, last) = last_header(self.ring, head, whole_ring)?.ok_or_else(|| self.ring.corrupt(head, "no log record"))?;
        if self.is_unmount(block, &last, head)? {
            return Ok(Live::Nothing);
        }
        self.after_overwritten(self.tail_of(block, &last)?, head, last.buffer_bytes())
    }

    fn tail_of(&self, block: u64, header: &Header) -> Result<u64, FilesystemError> {
        let tail = header.tail_block();
        if tail < self.ring.blocks() {
            return Ok(tail);
        }
        Err(self.ring.corrupt(block, format!("a log record whose tail is block {tail} of {}", self.ring.blocks())))
    }

    /// True when the record at `block` is the last, and says that the filesystem was unmounted.
    fn is_unmount(&self, block: u64, header: &Header, head: u64) -> Result<bool, FilesystemError> {
        let ends_at_head = self.ring.after(block, header.total_blocks()) == head;
        if !ends_at_head || header.operations != 1 {
            return Ok(false);
        }
        let data = self.ring.read(self.ring.after(block, header.blocks()), 1)?;
        Ok(operation::says_unmounted(&data))
    }

    /// Moves the head back to the first of the last records that is not whole: writes that were under way come in any order.
    fn before_torn(&self, head: u64, tail: u64) -> Result<u64, FilesystemError> {
        let live = match self.ring.distance(tail, head) {
            0 => self.ring.blocks(),
            live => live,
        };
        let Some((start, _)) = nth_header_back(self.ring, head, live, RECORDS_UNDER_WAY)? else { return Ok(head) };
        match self.first_fault(start, head)? {
            Some(fault) => Ok(fault.block),
            None => Ok(head),
        }
    }

    /// Moves the tail forward over records that a write under way has overwritten: they were no longer needed.
    fn after_overwritten(&self, tail: u64, head: u64, buffer_bytes: u32) -> Result<Live, FilesystemError> {
        let reach = RECORDS_UNDER_WAY * u64::from(buffer_bytes) / BLOCK_BYTES;
        let mut start = self.header_from(tail, head)?;
        while let Some(tail) = start {
            let Some(fault) = self.first_fault(tail, head)? else { return Ok(Live::Records { tail, head }) };
            // Damage further away is no write under way: replay ends there, and says so.
            if self.ring.distance(head, fault.block) > reach {
                return Ok(Live::Records { tail, head });
            }
            start = self.header_from(self.ring.after(fault.block, 1), head)?;
        }
        // Only an unmount leaves no live part, and that was asked before.
        Err(self.ring.corrupt(tail, "no log record where the live part begins"))
    }

    fn header_from(&self, start: u64, head: u64) -> Result<Option<u64>, FilesystemError> {
        next_header(self.ring, start, self.ring.distance(start, head))
    }

    /// The first record from `start` on that is not whole.
    fn first_fault(&self, start: u64, head: u64) -> Result<Option<Fault>, FilesystemError> {
        for record in Records::between(self.ring, start, head, self.stripe_unit_bytes) {
            match record {
                Ok(record) if record.is_whole(self.crc) => {}
                Ok(record) => return Ok(Some(checksum_fault(&record))),
                Err(Fault { error: error @ FilesystemError::Io { .. }, .. }) => return Err(error),
                Err(fault) => return Ok(Some(fault)),
            }
        }
        Ok(None)
    }
}

/// What replay says of a record whose bytes are not those that were written.
pub(super) fn checksum_fault(record: &Record) -> Fault {
    let what = "a log record whose checksum is not that of its bytes";
    Fault { block: record.block, error: FilesystemError::corrupt(Object::Journal, record.byte, what) }
}
