//! Runs of blocks in a fork: which blocks of the file lie where.

use super::geometry::Geometry;
use crate::filesystem::error::FilesystemError;
use crate::filesystem::fields::Fields;

/// Bytes of a run on disk.
pub(super) const RUN_BYTES: usize = 16;

/// Blocks of a file that lie one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// The first block of the file.
    pub(super) file_block: u64,
    /// How many.
    pub(super) blocks: u64,
    /// The byte of the filesystem where the first one lies.
    pub(super) byte: u64,
    /// Reserved, never written: zeros.
    pub(super) unwritten: bool,
}

impl Run {
    /// The first block of the file behind the run.
    pub(super) fn end(&self) -> u64 {
        self.file_block + self.blocks
    }

    /// The first block of the file, and how many, of a run whose place cannot be.
    pub(super) fn claimed(fields: &Fields<'_>, offset: usize) -> Result<(u64, u64), FilesystemError> {
        Ok((fields.be64(offset)? >> 9 & ((1 << 54) - 1), fields.be64(offset + 8)? & ((1 << 21) - 1)))
    }

    /// Reads 16 bytes: a flag, 54 bits of file block, 52 bits of block number, 21 bits of length.
    pub(super) fn parse(fields: &Fields<'_>, offset: usize, geometry: &Geometry) -> Result<Self, FilesystemError> {
        let (high, low) = (fields.be64(offset)?, fields.be64(offset + 8)?);
        let (file_block, blocks) = Self::claimed(fields, offset)?;
        let block = (high & 0x1ff) << 43 | low >> 21;
        match geometry.blocks(block, blocks).filter(|_| blocks > 0) {
            Some(byte) => Ok(Self { file_block, blocks, byte, unwritten: high >> 63 != 0 }),
            None => Err(fields.corrupt(format!("{blocks} blocks from block {block}, which cannot be"))),
        }
    }
}
