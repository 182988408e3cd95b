//! Records read one after the other, wherever they can be read, and the transactions in them.

use std::ops::ControlFlow;

use super::super::header::Header;
use super::super::operation::Operations;
use super::super::pass;
use super::super::record::Record;
use super::super::ring::{HEADER_MAGIC, Ring, word};
use super::super::transaction::{Assembly, Keep, Moment, Transaction};
use super::Older;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;

/// Records that are put in order, at 8 bytes each: no log has more of the shortest.
const MOST_RECORDS: usize = 1 << 20;
/// Transactions that have begun may take so much memory; longer ones are passed over.
const OPEN_BYTES: u64 = 64 << 20;

/// The ages of all records that can be seen in the ring, ascending.
pub(super) fn records(ring: &Ring) -> Result<Vec<u64>, FilesystemError> {
    let mut found = Vec::new();
    ring.scan(0, ring.blocks(), &mut |block, bytes| {
        if word(bytes, 0) == HEADER_MAGIC && found.len() < MOST_RECORDS {
            let header = Header::read(&Fields::new(bytes, Object::Journal, ring.byte(block)));
            found.extend(header.ok().map(|header| header.lsn).filter(|lsn| lsn & u64::from(u32::MAX) == block));
        }
        ControlFlow::Continue(())
    })?;
    found.sort_unstable();
    Ok(found)
}

/// The reader.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    older: &'a Older,
    keep: Keep,
    assembly: Assembly,
    /// Where the next record begins, if it goes on from the last.
    next: Option<u64>,
    /// How often records did not follow each other.
    breaks: u32,
}

impl<'a> Reader<'a> {
    /// Nothing is read yet.
    pub(super) fn new(older: &'a Older, keep: Keep) -> Self {
        Self { older, keep, assembly: Assembly::new(keep), next: None, breaks: 0 }
    }

    /// True while a transaction of this age is open.
    pub(super) fn has_open(&self, lsn: u64) -> bool {
        self.assembly.has_open(lsn)
    }

    /// How often the records that were read did not follow each other: what lies between two of them nobody knows.
    pub(super) fn breaks(&self) -> u32 {
        self.breaks
    }

    /// Shows the transactions that end in the record at `block`, and says where the next one begins. What has begun is forgotten where
    /// the records do not follow each other.
    pub(super) fn step(&mut self, block: u64, visit: &mut dyn FnMut(Transaction)) -> Option<u64> {
        if self.next != Some(block) {
            self.assembly = Assembly::new(self.keep);
            self.breaks = self.breaks.saturating_add(1);
        }
        self.next = self.read(block, visit).ok();
        self.next
    }

    fn read(&mut self, block: u64, visit: &mut dyn FnMut(Transaction)) -> Result<u64, FilesystemError> {
        let (ring, older) = (&self.older.ring, self.older);
        let record = Record::read(ring, block, ring.blocks(), older.stripe_unit_bytes).map_err(|fault| fault.error)?;
        pass::check(&record, older.facts.crc, &older.uuids)?;
        let moment = Moment { lsn: record.header.lsn, byte: record.byte };
        for operation in Operations::of(&record) {
            if let Some(transaction) = self.assembly.take(&operation?, moment)? {
                visit(transaction);
            }
            if self.assembly.held_bytes() > OPEN_BYTES {
                return Err(FilesystemError::TooLarge { object: Object::Journal, limit: OPEN_BYTES });
            }
        }
        Ok(ring.after(block, record.header.total_blocks()))
    }
}
