//! The operations in a record: each is a piece of a transaction.

use super::record::Record;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;

/// Bytes before each operation's data.
const HEADER_BYTES: usize = 12;
/// Who may write operations: transactions, and the log itself.
const CLIENTS: [u8; 2] = [0x69, 0xaa];

/// A transaction begins.
pub(super) const START: u8 = 0x01;
/// It is complete.
pub(super) const COMMIT: u8 = 0x02;
/// The region goes on in the next record.
pub(super) const CONTINUE: u8 = 0x04;
/// The region began in the record before.
pub(super) const CONTINUED: u8 = 0x08;
/// A region that went over several records ends.
pub(super) const END: u8 = 0x10;
/// The filesystem is unmounted.
pub(super) const UNMOUNT: u8 = 0x20;

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Operation<'a> {
    /// The transaction it belongs to.
    pub(super) transaction: u32,
    /// What it does.
    pub(super) flags: u8,
    /// Its data.
    pub(super) data: &'a [u8],
}

/// True when the first operation of a record says that the filesystem was unmounted. Its cycle word tells nothing of the flags.
pub(super) fn says_unmounted(data: &[u8]) -> bool {
    data.get(9).is_some_and(|flags| flags & UNMOUNT != 0)
}

/// The operations of a record, in order.
#[derive(Debug)]
pub(super) struct Operations<'a> {
    fields: Fields<'a>,
    at: usize,
    left: u32,
}

impl<'a> Operations<'a> {
    /// All of them.
    pub(super) fn of(record: &'a Record) -> Self {
        Self { fields: Fields::new(&record.data, Object::Journal, record.byte), at: 0, left: record.header.operations }
    }

    fn read(&mut self) -> Result<Operation<'a>, FilesystemError> {
        let (fields, at) = (self.fields, self.at);
        let client = fields.u8(at + 8)?;
        if !CLIENTS.contains(&client) {
            return Err(fields.corrupt(format!("a log operation at {at} by the unknown client {client:#x}")));
        }
        let length = usize::try_from(fields.be32(at + 4)?).unwrap_or(usize::MAX);
        let data = fields.slice(at + HEADER_BYTES, length)?;
        self.at = at + HEADER_BYTES + length;
        Ok(Operation { transaction: fields.be32(at)?, flags: fields.u8(at + 9)?, data })
    }
}

impl<'a> Iterator for Operations<'a> {
    type Item = Result<Operation<'a>, FilesystemError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 || self.at >= self.fields.length() {
            return None;
        }
        self.left -= 1;
        let operation = self.read();
        if operation.is_err() {
            self.left = 0;
        }
        Some(operation)
    }
}
