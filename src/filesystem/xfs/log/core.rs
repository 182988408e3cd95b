//! An inode as the log keeps it, in the byte order of the machine that wrote it, turned into one as it lies on disk.

use super::put::put;
use crate::filesystem::error::FilesystemError;
use crate::filesystem::fields::Fields;

/// Magic number, as the log has it.
const MAGIC: u16 = 0x494e;
/// Fields that are turned around: where they begin, and how many bytes they have.
const TURNED: &[(usize, usize)] = &[
    (0, 2),  // magic number
    (2, 2),  // mode
    (4, 1),  // version
    (5, 1),  // format of the data fork
    (8, 4),  // owner
    (12, 4), // group
    (16, 4), // links
    (20, 2), // project, low
    (22, 2), // project, high
    (56, 8), // size
    (64, 8), // blocks
    (72, 4), // extent size hint
    (76, 4), // extents of the data fork, or many of the attribute fork
    (80, 2), // extents of the attribute fork
    (82, 1), // where the attribute fork begins
    (83, 1), // format of the attribute fork
    (84, 4), // two fields of an old tape archive
    (88, 2),
    (90, 2), // flags
    (92, 4), // generation
];
/// The same, of what version 3 adds.
const TURNED_3: &[(usize, usize)] = &[
    (104, 8), // changes
    (120, 8), // more flags
    (128, 4), // extent size hint of copies
    (152, 8), // number
];
const TIMES: &[usize] = &[32, 40, 48];
const CREATED: usize = 144;

const BIG_TIME: u64 = 1 << 3;
const MANY_EXTENTS: u64 = 1 << 4;
const INTERNAL: u64 = 1 << 5;

/// Bytes before the forks.
pub(super) const CORE_BYTES: usize = 100;
/// The same in version 3.
pub(super) const CORE_BYTES_3: usize = 176;

/// A core in the log.
#[derive(Debug)]
pub(super) struct LogCore<'a> {
    fields: Fields<'a>,
    version: u8,
    flags2: u64,
}

impl<'a> LogCore<'a> {
    /// Reads it.
    pub(super) fn read(fields: Fields<'a>) -> Result<Self, FilesystemError> {
        if fields.le16(0)? != MAGIC {
            return Err(fields.corrupt("an inode in the log that is none"));
        }
        let version = fields.u8(4)?;
        let flags2 = if version >= 3 { fields.le64(120)? } else { 0 };
        Ok(Self { fields, version, flags2 })
    }

    /// How often it was written before; only older versions count.
    pub(super) fn flush_count(&self) -> Result<u16, FilesystemError> {
        self.fields.le16(30)
    }

    /// Bytes before the forks.
    pub(super) fn core_bytes(&self) -> usize {
        if self.version >= 3 { CORE_BYTES_3 } else { CORE_BYTES }
    }

    /// Puts it in place of the core of `inode`, as of the log's place `lsn`. The link to the next deleted inode stays: it is logged
    /// with the buffer.
    pub(super) fn put_into(&self, inode: &mut [u8], lsn: u64) -> Result<(), FilesystemError> {
        self.turn_all(inode, TURNED)?;
        TIMES.iter().try_for_each(|at| self.turn_time(inode, *at))?;
        put(inode, 6, &[0; 2])?;
        // Version 2 counts how often it was flushed here; replay begins to count anew.
        put(inode, 24, &[0; 8])?;
        if self.flags2 & MANY_EXTENTS != 0 {
            self.turn(inode, 24, 8)?;
        }
        if self.version >= 3 { self.put_rest(inode, lsn) } else { Ok(()) }
    }

    fn put_rest(&self, inode: &mut [u8], lsn: u64) -> Result<(), FilesystemError> {
        self.turn_all(inode, TURNED_3)?;
        self.turn_time(inode, CREATED)?;
        if self.flags2 & INTERNAL != 0 {
            self.turn(inode, 6, 2)?;
        }
        put(inode, 112, &lsn.to_be_bytes())?;
        put(inode, 132, &[0; 12])?;
        put(inode, 160, self.fields.slice(160, 16)?)
    }

    fn turn_all(&self, inode: &mut [u8], fields: &[(usize, usize)]) -> Result<(), FilesystemError> {
        fields.iter().try_for_each(|(at, length)| self.turn(inode, *at, *length))
    }

    fn turn(&self, inode: &mut [u8], at: usize, length: usize) -> Result<(), FilesystemError> {
        let mut bytes = self.fields.slice(at, length)?.to_vec();
        bytes.reverse();
        put(inode, at, &bytes)
    }

    /// A time is one number, or seconds and nanoseconds.
    fn turn_time(&self, inode: &mut [u8], at: usize) -> Result<(), FilesystemError> {
        if self.flags2 & BIG_TIME != 0 {
            return self.turn(inode, at, 8);
        }
        self.turn(inode, at, 4)?;
        self.turn(inode, at + 4, 4)
    }
}
