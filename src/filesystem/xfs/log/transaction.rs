//! Transactions put together from the operations of many records.

use std::collections::BTreeMap;

use super::item::Item;
use super::operation::{COMMIT, CONTINUE, CONTINUED, END, Operation, START, UNMOUNT};
use crate::filesystem::error::{FilesystemError, Object};

/// "TRAN", in the byte order of the machine that wrote it.
const MAGIC: [u8; 4] = 0x5452_414e_u32.to_le_bytes();
const HEADER_BYTES: usize = 16;
/// What a transaction, an item or a region takes in memory beside its bytes, rounded up.
const OVERHEAD_BYTES: u64 = 96;

/// When a transaction began: how old its changes are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Moment {
    /// The place in the log of the record in which it began: cycle and block.
    pub(super) lsn: u64,
    /// Where that record begins, in bytes of the source.
    pub(super) byte: u64,
}

/// A transaction.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    /// When it began.
    pub(super) moment: Moment,
    /// What it changes.
    pub(super) items: Vec<Item>,
    header: Vec<u8>,
    held_bytes: u64,
}

/// Whether the regions of items are kept, or only the first of each, which says what the item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// The first.
    Formats,
    /// All.
    Everything,
}

/// Transactions that have begun, by number.
#[derive(Debug)]
pub(super) struct Assembly {
    keep: Keep,
    open: BTreeMap<u32, Transaction>,
    held_bytes: u64,
}

impl Assembly {
    /// Nothing has begun.
    pub(super) fn new(keep: Keep) -> Self {
        Self { keep, open: BTreeMap::new(), held_bytes: 0 }
    }

    /// Memory taken by transactions that have begun.
    pub(super) fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// True while a transaction of this age is open.
    pub(super) fn has_open(&self, lsn: u64) -> bool {
        self.open.values().any(|open| open.moment.lsn == lsn)
    }

    /// Takes the next operation, which stands in the record of this moment. A transaction that it completes is handed back. What
    /// belongs to transactions that began before the live part is passed over.
    pub(super) fn take(&mut self, operation: &Operation<'_>, moment: Moment) -> Result<Option<Transaction>, FilesystemError> {
        let Some(open) = self.open.get_mut(&operation.transaction) else {
            if operation.flags & START != 0 {
                self.held_bytes += OVERHEAD_BYTES;
                let begun = Transaction { moment, held_bytes: OVERHEAD_BYTES, ..Transaction::default() };
                self.open.insert(operation.transaction, begun);
            }
            return Ok(None);
        };
        let mut flags = operation.flags & !END;
        if flags & CONTINUED != 0 {
            flags &= !CONTINUE;
        }
        let (before, byte) = (open.held_bytes, moment.byte);
        match flags {
            0 | CONTINUE => open.begin_region(operation.data, self.keep, byte)?,
            CONTINUED => open.continue_region(operation.data, self.keep, byte)?,
            COMMIT => return Ok(self.close(operation.transaction)),
            UNMOUNT => drop(self.close(operation.transaction)),
            flags => return Err(corrupt(byte, format!("a log operation with the flags {flags:#x}"))),
        }
        self.held_bytes += self.open.get(&operation.transaction).map_or(0, |open| open.held_bytes - before);
        Ok(None)
    }

    fn close(&mut self, number: u32) -> Option<Transaction> {
        let transaction = self.open.remove(&number)?;
        self.held_bytes = self.held_bytes.saturating_sub(transaction.held_bytes);
        Some(transaction)
    }
}

impl Transaction {
    /// Memory taken by one transaction.
    pub(super) fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// Before its items, a transaction has a header, of which a record may hold only the beginning.
    fn begin_region(&mut self, data: &[u8], keep: Keep, byte: u64) -> Result<(), FilesystemError> {
        if data.is_empty() {
            return Ok(());
        }
        if self.header.is_empty() {
            return self.begin_header(data, byte);
        }
        let item = match self.items.last_mut() {
            Some(item) if !item.is_complete() => item,
            _ => {
                self.held_bytes += OVERHEAD_BYTES;
                self.items.push(Item::begin(data).map_err(|what| corrupt(byte, what))?);
                self.items.last_mut().ok_or_else(|| corrupt(byte, "a log item that is not there"))?
            }
        };
        let kept = if keep == Keep::Everything || item.is_empty() { data } else { &[] };
        self.held_bytes += OVERHEAD_BYTES + kept.len() as u64;
        item.add(kept);
        Ok(())
    }

    fn begin_header(&mut self, data: &[u8], byte: u64) -> Result<(), FilesystemError> {
        if data.len() > HEADER_BYTES || !data.starts_with(&MAGIC) {
            return Err(corrupt(byte, "a transaction without the header of one"));
        }
        self.header = data.to_vec();
        Ok(())
    }

    fn continue_region(&mut self, data: &[u8], keep: Keep, byte: u64) -> Result<(), FilesystemError> {
        if self.header.len() < HEADER_BYTES && self.items.is_empty() {
            self.header.extend_from_slice(data);
            let whole = self.header.len() <= HEADER_BYTES && self.header.starts_with(&MAGIC);
            return if whole { Ok(()) } else { Err(corrupt(byte, "a transaction whose header is too long")) };
        }
        let item = self.items.last_mut().ok_or_else(|| corrupt(byte, "a log region that goes on without a beginning"))?;
        let kept = if keep == Keep::Everything || item.is_first_region() { data } else { &[] };
        self.held_bytes += kept.len() as u64;
        item.extend(kept);
        Ok(())
    }
}

fn corrupt(byte: u64, what: impl Into<String>) -> FilesystemError {
    FilesystemError::corrupt(Object::Journal, byte, what)
}
