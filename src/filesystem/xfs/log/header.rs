//! The header of a record: how long it is, where the live part of the log began when it was written, and its checksum.

use super::ring::{BLOCK_BYTES, HEADER_MAGIC};
use crate::filesystem::error::FilesystemError;
use crate::filesystem::fields::Fields;

/// Bytes of data whose cycle words one block of header can hold.
const COVERED_BYTES: u32 = 32 << 10;
/// No record is longer.
const LONGEST_BYTES: u32 = 256 << 10;
/// Version 2: the header says how long its buffer was, and has a block for each 32 KiB of that.
const VERSION_2: u32 = 2;
const KNOWN_VERSIONS: u32 = 3;

/// A record's header. The block that holds it was verified only to begin with the magic number.
#[derive(Debug, Clone)]
pub(super) struct Header {
    version: u32,
    /// Bytes of data.
    pub(super) length: u32,
    /// The place of the record: cycle and block.
    pub(super) lsn: u64,
    /// The first record that was still needed when this one was written.
    pub(super) tail_lsn: u64,
    /// The checksum that it carries; 0 where it was never computed.
    pub(super) checksum: u32,
    /// How many operations it holds.
    pub(super) operations: u32,
    /// In whose byte order the operations are.
    pub(super) format: u32,
    /// The filesystem whose log it is.
    pub(super) uuid: [u8; 16],
    /// Length of the buffer from which it was written; 0 in version 1.
    size: u32,
}

impl Header {
    /// Reads the first block of a record.
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, FilesystemError> {
        if fields.be32(0)? != HEADER_MAGIC {
            return Err(fields.corrupt("no log record begins here"));
        }
        let version = fields.be32(8)?;
        Ok(Self {
            version,
            length: fields.be32(12)?,
            lsn: fields.be64(16)?,
            tail_lsn: fields.be64(24)?,
            checksum: fields.le32(32)?,
            operations: fields.be32(40)?,
            format: fields.be32(300)?,
            uuid: fields.array(304)?,
            size: if version & VERSION_2 == 0 { 0 } else { fields.be32(320)? },
        })
    }

    /// Says what makes the record impossible. `stripe_unit_bytes` is what records of this log are rounded up to.
    pub(super) fn check(&self, fields: &Fields<'_>, stripe_unit_bytes: u32) -> Result<(), FilesystemError> {
        if self.version == 0 || self.version & !KNOWN_VERSIONS != 0 {
            return Err(fields.corrupt(format!("a log record of version {}", self.version)));
        }
        // mkfs writes its only record with a buffer shorter than a stripe, rounded up to one.
        let buffer = if self.operations == 1 { self.buffer_bytes().max(stripe_unit_bytes) } else { self.buffer_bytes() };
        if self.length == 0 || self.length > buffer.min(LONGEST_BYTES) || self.size > LONGEST_BYTES {
            return Err(fields.corrupt(format!("a log record of {} bytes in a buffer of {}", self.length, self.buffer_bytes())));
        }
        Ok(())
    }

    /// 1 or 2, as the superblock counts them.
    pub(super) fn version(&self) -> u8 {
        if self.version & VERSION_2 == 0 { 1 } else { 2 }
    }

    /// How much of the log could be on its way in one write.
    pub(super) fn buffer_bytes(&self) -> u32 {
        if self.size == 0 { COVERED_BYTES } else { self.size }
    }

    /// Blocks that the header takes.
    pub(super) fn blocks(&self) -> u64 {
        u64::from(self.size.div_ceil(COVERED_BYTES).max(1))
    }

    /// Blocks that the data takes.
    pub(super) fn data_blocks(&self) -> u64 {
        u64::from(self.length).div_ceil(BLOCK_BYTES)
    }

    /// Blocks that the record takes.
    pub(super) fn total_blocks(&self) -> u64 {
        self.blocks() + self.data_blocks()
    }

    /// The block of the ring in which the live part of the log began.
    pub(super) fn tail_block(&self) -> u64 {
        self.tail_lsn & u64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::error::Object;

    fn header(version: u32, length: u32, size: u32, operations: u32) -> Result<Header, FilesystemError> {
        let mut block = [0; 512];
        block[..4].copy_from_slice(&HEADER_MAGIC.to_be_bytes());
        block[8..12].copy_from_slice(&version.to_be_bytes());
        block[12..16].copy_from_slice(&length.to_be_bytes());
        block[40..44].copy_from_slice(&operations.to_be_bytes());
        block[320..324].copy_from_slice(&size.to_be_bytes());
        let fields = Fields::new(&block, Object::Journal, 0);
        let header = Header::read(&fields)?;
        header.check(&fields, 128 << 10).map(|()| header)
    }

    #[test]
    fn a_header_has_a_block_for_each_32_kib_of_its_buffer() {
        for (version, size, blocks) in [(1, 256 << 10, 1), (2, 16 << 10, 1), (2, 32 << 10, 1), (2, 33 << 10, 2), (2, 256 << 10, 8)]
        {
            assert_eq!(header(version, 512, size, 9).unwrap().blocks(), blocks, "version {version}, {size}");
        }
    }

    #[test]
    fn impossible_lengths_and_versions_are_refused() {
        for (version, length, size, operations) in [
            (0, 512, 0, 9),
            (4, 512, 32 << 10, 9),
            (2, 0, 32 << 10, 9),
            (2, (32 << 10) + 1, 32 << 10, 9),
            (1, (32 << 10) + 1, 0, 9),
            (2, 512, (256 << 10) + 1, 9),
            (2, (128 << 10) + 1, 32 << 10, 1),
            (2, u32::MAX, u32::MAX, 9),
        ] {
            assert!(header(version, length, size, operations).is_err(), "{version} {length} {size} {operations}");
        }
        assert!(header(2, 128 << 10, 32 << 10, 1).is_ok(), "the record of mkfs is rounded up to a stripe");
    }
}
