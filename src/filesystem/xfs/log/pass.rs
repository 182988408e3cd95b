//! A pass over the live part: every transaction that is complete there, in the order of their completion.

use std::sync::Arc;

use super::LogFacts;
use super::live::checksum_fault;
use super::operation::Operations;
use super::record::{Record, Records};
use super::ring::Ring;
use super::transaction::{Assembly, Keep, Moment, Transaction};
use crate::base::io::ReadAt;
use crate::filesystem::error::{FilesystemError, Object};

/// Memory that replay takes: transactions that are not complete, and the overlay. The kernel lets at most 64 MiB gather in one
/// transaction, and what the longest log can change beside that fits in most cases; where it does not, the view says so.
pub(super) const MEMORY_BYTES: u64 = 192 << 20;

/// The only byte order that is written today: the little one.
const LITTLE_ENDIAN: u32 = 1;
/// Where the superblock has the name that the user gave; the log carries that one.
const USER_UUID: u64 = 32;

/// The live part, and what its records must look like.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    ring: &'a Ring,
    tail: u64,
    head: u64,
    stripe_unit_bytes: u32,
    crc: bool,
    uuids: [[u8; 16]; 2],
}

impl<'a> Pass<'a> {
    /// Over the records from `tail` up to `head`.
    pub(super) fn new(
        ring: &'a Ring,
        (tail, head): (u64, u64),
        stripe_unit_bytes: u32,
        source: &Arc<dyn ReadAt>,
        facts: &LogFacts,
    ) -> Self {
        Self { ring, tail, head, stripe_unit_bytes, crc: facts.crc, uuids: uuids(source, facts) }
    }

    /// Hands each transaction to `visit`, which says how much memory it takes from then on.
    pub(super) fn run(
        &self,
        keep: Keep,
        visit: &mut dyn FnMut(&Transaction) -> Result<u64, FilesystemError>,
    ) -> Result<(), FilesystemError> {
        let mut assembly = Assembly::new(keep);
        let mut held_bytes = 0;
        for record in Records::between(self.ring, self.tail, self.head, self.stripe_unit_bytes) {
            let record = record.map_err(|fault| fault.error)?;
            self.check(&record)?;
            let moment = Moment { lsn: record.header.lsn, byte: record.byte };
            for operation in Operations::of(&record) {
                let complete = assembly.take(&operation?, moment)?;
                if let Some(transaction) = &complete {
                    held_bytes = visit(transaction)?;
                }
                // While it is visited, a transaction and what it changes are both in memory.
                let visited_bytes = complete.as_ref().map_or(0, Transaction::held_bytes);
                if assembly.held_bytes().saturating_add(visited_bytes).saturating_add(held_bytes) > MEMORY_BYTES {
                    return Err(FilesystemError::TooLarge { object: Object::Journal, limit: MEMORY_BYTES });
                }
            }
        }
        Ok(())
    }

    fn check(&self, record: &Record) -> Result<(), FilesystemError> {
        check(record, self.crc, &self.uuids)
    }
}

/// The names that a filesystem's records may carry.
pub(super) fn uuids(source: &Arc<dyn ReadAt>, facts: &LogFacts) -> [[u8; 16]; 2] {
    // Without a readable superblock there is the other name, which is the same one as long as nobody changed it.
    let mut user = facts.uuid;
    if source.read_at(USER_UUID, &mut user).is_err() {
        user = facts.uuid;
    }
    [facts.uuid, user]
}

/// Says what keeps a record from being followed.
pub(super) fn check(record: &Record, crc: bool, uuids: &[[u8; 16]]) -> Result<(), FilesystemError> {
    if !record.is_whole(crc) {
        return Err(checksum_fault(record).error);
    }
    if record.header.format != LITTLE_ENDIAN {
        let feature = format!("a log in the byte order of another machine (h_fmt {})", record.header.format);
        return Err(FilesystemError::Unsupported { object: Object::Journal, feature });
    }
    if !uuids.contains(&record.header.uuid) {
        return Err(FilesystemError::corrupt(Object::Journal, record.byte, "a log record of another filesystem"));
    }
    Ok(())
}
