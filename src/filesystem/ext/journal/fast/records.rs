//! The records of fast commits on disk: a tag, a length and a value each, valid up to the last tail whose checksum matches.

use std::mem;

use super::super::checksum::crc32c;
use super::super::doubts::Doubts;
use super::{FastName, FastRange};
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::{Fields, sums_agree};

mod tag {
    pub(super) const ADD_RANGE: u16 = 1;
    pub(super) const DEL_RANGE: u16 = 2;
    pub(super) const CREAT: u16 = 3;
    pub(super) const LINK: u16 = 4;
    pub(super) const UNLINK: u16 = 5;
    pub(super) const INODE: u16 = 6;
    pub(super) const PAD: u16 = 7;
    pub(super) const TAIL: u16 = 8;
    pub(super) const HEAD: u16 = 9;
}

/// The tag and the length.
const PREFIX_BYTES: usize = 4;
/// What a tail's checksum covers of it: prefix and transaction.
const SUMMED_TAIL_BYTES: usize = 8;
const SMALLEST_INODE_BYTES: usize = 128;
const LONGEST_NAME_BYTES: usize = 255;
/// An extent longer than this is unwritten, and so much shorter.
const LONGEST_WRITTEN: u16 = 1 << 15;

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    Inode { inode: u64, bytes: Vec<u8> },
    Range { inode: u64, range: FastRange },
    Name { directory: u64, name: FastName, created: bool },
}

/// What a block gave: records of commits that are whole.
#[derive(Debug)]
pub(super) enum Taken {
    /// The next block may go on.
    More(Vec<Record>),
    /// Nothing valid follows.
    Last(Vec<Record>),
}

/// Reads the area block by block.
#[derive(Debug)]
pub(super) struct Records {
    /// The transaction that was running when these were committed.
    expected: u32,
    blocks_in_filesystem: u64,
    /// Since the last tail.
    crc: u32,
    pending: Vec<Record>,
    has_begun: bool,
    has_tail: bool,
}

/// What to do after a record.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    GoOn,
    /// A tail: what was pending is whole.
    Commit,
    /// The area goes on with what an earlier transaction has left.
    Stale,
}

impl Records {
    pub(super) fn new(expected: u32, blocks_in_filesystem: u64) -> Self {
        Self { expected, blocks_in_filesystem, crc: 0, pending: Vec::new(), has_begun: false, has_tail: false }
    }

    /// Takes the next block of the area, which lies at `byte`. What is wrong after a valid tail is only the end; what is wrong before
    /// the first one makes the kernel refuse the journal, and is an error.
    pub(super) fn block(&mut self, block: &[u8], byte: u64, doubts: &mut Doubts) -> Result<Taken, FilesystemError> {
        let mut whole = Vec::new();
        let mut rest = block;
        while rest.len() >= PREFIX_BYTES {
            let next = match self.record(rest, byte) {
                Ok((next, after)) => {
                    rest = after;
                    next
                }
                Err(FilesystemError::Corrupt { .. }) if self.has_tail => return Ok(Taken::Last(whole)),
                Err(error) if self.has_tail => {
                    doubts.forgive(error)?;
                    return Ok(Taken::Last(whole));
                }
                Err(error) => return Err(error),
            };
            match next {
                Next::GoOn => {}
                Next::Commit => self.commit(&mut whole, byte, doubts),
                Next::Stale => return Ok(Taken::Last(whole)),
            }
        }
        Ok(Taken::More(whole))
    }

    /// The area is at its end.
    pub(super) fn finish(&self) -> Result<(), FilesystemError> {
        if self.has_begun && !self.has_tail {
            return Err(FilesystemError::corrupt(Object::Journal, 0, "the fast commits have no end"));
        }
        Ok(())
    }

    fn record<'a>(&mut self, rest: &'a [u8], byte: u64) -> Result<(Next, &'a [u8]), FilesystemError> {
        let fields = Fields::new(rest, Object::Journal, byte);
        let (kind, length) = (fields.le16(0)?, usize::from(fields.le16(2)?));
        if !self.has_begun && kind != tag::HEAD {
            return Ok((Next::Stale, &[]));
        }
        let bytes = fields.slice(0, PREFIX_BYTES + length)?;
        let value = Fields::new(fields.slice(PREFIX_BYTES, length)?, Object::Journal, byte);
        check_length(&value, kind)?;
        let next = self.one(kind, &value, bytes)?;
        Ok((next, rest.get(bytes.len()..).unwrap_or_default()))
    }

    fn one(&mut self, kind: u16, value: &Fields<'_>, bytes: &[u8]) -> Result<Next, FilesystemError> {
        match kind {
            tag::HEAD => return self.head(value, bytes),
            tag::TAIL => return self.tail(value, bytes),
            tag::PAD => {}
            _ => self.pending.push(parse(kind, value)?),
        }
        self.crc = crc32c(self.crc, bytes);
        Ok(Next::GoOn)
    }

    fn head(&mut self, value: &Fields<'_>, bytes: &[u8]) -> Result<Next, FilesystemError> {
        if value.le32(4)? != self.expected {
            return Ok(Next::Stale);
        }
        let features = value.le32(0)?;
        if features != 0 {
            let feature = format!("the fast commit features {features:#x}");
            return Err(FilesystemError::Unsupported { object: Object::Journal, feature });
        }
        self.has_begun = true;
        self.crc = crc32c(self.crc, bytes);
        Ok(Next::GoOn)
    }

    fn tail(&mut self, value: &Fields<'_>, bytes: &[u8]) -> Result<Next, FilesystemError> {
        let crc = crc32c(mem::take(&mut self.crc), bytes.get(..SUMMED_TAIL_BYTES).unwrap_or_default());
        if value.le32(0)? != self.expected || !sums_agree(value.le32(4)?, crc) {
            return Err(
                value.corrupt(format!("a fast commit after transaction {} fails its checksum", self.expected.wrapping_sub(1)))
            );
        }
        self.has_tail = true;
        Ok(Next::Commit)
    }

    fn commit(&mut self, whole: &mut Vec<Record>, byte: u64, doubts: &mut Doubts) {
        for record in mem::take(&mut self.pending) {
            match self.objection(&record) {
                None => whole.push(record),
                Some(what) => doubts.note_at(byte, what),
            }
        }
    }

    /// What a reader could not do with a record although its checksum matches.
    fn objection(&self, record: &Record) -> Option<String> {
        match record {
            Record::Range { inode, range: FastRange::Add { logical, length, physical, .. } } => {
                let end = physical.checked_add(u64::from(*length));
                let fits = end.is_some_and(|end| end <= self.blocks_in_filesystem) && logical.checked_add(*length).is_some();
                (!fits || *length == 0).then(|| format!("a fast commit puts inode {inode} at blocks {physical}+{length}"))
            }
            Record::Name { directory, name: FastName::Add { name, .. } | FastName::Remove { name, .. }, .. } => {
                let is_name = !name.iter().any(|byte| matches!(byte, 0 | b'/')) && name != b"." && name != b"..";
                (!is_name).then(|| format!("a fast commit changes an impossible name in directory inode {directory}"))
            }
            Record::Inode { .. } | Record::Range { range: FastRange::Remove { .. }, .. } => None,
        }
    }
}

fn check_length(value: &Fields<'_>, kind: u16) -> Result<(), FilesystemError> {
    let length = value.length();
    let fits = match kind {
        tag::HEAD => length == 8,
        tag::ADD_RANGE => length == 16,
        tag::DEL_RANGE => length == 12,
        tag::CREAT | tag::LINK | tag::UNLINK => (1..=LONGEST_NAME_BYTES).contains(&length.saturating_sub(8)),
        tag::INODE => length >= 4 + SMALLEST_INODE_BYTES,
        tag::TAIL => length >= 8,
        tag::PAD => true,
        _ => return Err(value.corrupt(format!("a fast commit has a record of the unknown kind {kind}"))),
    };
    if fits { Ok(()) } else { Err(value.corrupt(format!("a fast commit has a record of kind {kind} with {length} bytes"))) }
}

fn parse(kind: u16, value: &Fields<'_>) -> Result<Record, FilesystemError> {
    let first = u64::from(value.le32(0)?);
    match kind {
        tag::ADD_RANGE => Ok(Record::Range { inode: first, range: extent(value)? }),
        tag::DEL_RANGE => {
            Ok(Record::Range { inode: first, range: FastRange::Remove { logical: value.le32(4)?, length: value.le32(8)? } })
        }
        tag::INODE => Ok(Record::Inode { inode: first, bytes: value.slice(4, value.length().saturating_sub(4))?.to_vec() }),
        _ => name(kind, first, value),
    }
}

/// The form of an extent in a file's map.
fn extent(value: &Fields<'_>) -> Result<FastRange, FilesystemError> {
    let stored = value.le16(8)?;
    let unwritten = stored > LONGEST_WRITTEN;
    let length = if unwritten { stored - LONGEST_WRITTEN } else { stored };
    let physical = u64::from(value.le16(10)?) << 32 | u64::from(value.le32(12)?);
    Ok(FastRange::Add { logical: value.le32(4)?, length: u32::from(length), physical, unwritten })
}

fn name(kind: u16, directory: u64, value: &Fields<'_>) -> Result<Record, FilesystemError> {
    let inode = u64::from(value.le32(4)?);
    let name = value.slice(8, value.length().saturating_sub(8))?.to_vec();
    let change = if kind == tag::UNLINK { FastName::Remove { name, inode } } else { FastName::Add { name, inode } };
    Ok(Record::Name { directory, name: change, created: kind == tag::CREAT })
}
