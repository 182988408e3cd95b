//! A walk through the ring of the log: the blocks that are not data, one transaction after the other, none of them twice.

use super::area::Area;
use super::checksum::crc32c_without;
use super::descriptor::Tags;
use super::superblock::{JournalSuperblock, MAGIC};
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::{Fields, sums_agree};

/// A journal that has something to replay.
#[derive(Debug)]
pub(super) struct Log<'a> {
    pub(super) area: Area<'a>,
    pub(super) superblock: JournalSuperblock,
    /// Where the oldest transaction begins.
    pub(super) start: u64,
}

/// What the walk has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A list of the data blocks that follow it, with their homes.
    Descriptor,
    /// The end of a transaction.
    Commit,
    /// A list of blocks whose older content must not be replayed.
    Revoke,
    /// Anything else: here the log has not been written since the last time round.
    End,
}

/// A place in the log.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    log: &'a Log<'a>,
    /// The transaction whose blocks are expected.
    pub(super) sequence: u32,
    next: u64,
    /// Blocks of the ring not seen yet. It bounds the walk, whatever the log says.
    left: u64,
    block: Vec<u8>,
    byte: u64,
}

impl<'a> Walk<'a> {
    /// Starts at the oldest transaction.
    pub(super) fn new(log: &'a Log<'a>) -> Self {
        let ring = &log.superblock.ring;
        let (sequence, left) = (log.superblock.sequence, ring.end - ring.start);
        Self { log, sequence, next: log.start, left, block: Vec::new(), byte: 0 }
    }

    /// Reads the next block, which is no data.
    pub(super) fn step(&mut self) -> Result<Step, FilesystemError> {
        let Some(position) = self.take() else { return Ok(Step::End) };
        self.byte = self.log.area.read(position, &mut self.block)?;
        let fields = self.fields();
        if fields.be32(0)? != MAGIC || fields.be32(8)? != self.sequence {
            return Ok(Step::End);
        }
        Ok(match fields.be32(4)? {
            1 => Step::Descriptor,
            2 => Step::Commit,
            5 => Step::Revoke,
            _ => Step::End,
        })
    }

    /// Passes one block and says where in the journal it is; `None` once the whole ring was passed.
    pub(super) fn take(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        let position = self.next;
        let ring = &self.log.superblock.ring;
        self.next = if position + 1 >= ring.end { ring.start } else { position + 1 };
        Some(position)
    }

    /// Passes the data that the descriptor of the last step lists.
    pub(super) fn skip_data(&mut self) {
        let blocks = Tags::new(self.fields(), &self.log.superblock).count();
        for _ in 0..blocks {
            self.take();
        }
    }

    /// The block of the last step.
    pub(super) fn fields(&self) -> Fields<'_> {
        Fields::new(&self.block, Object::Journal, self.byte)
    }

    /// True when the checksum at `field` of the last step's block matches, or the log has none.
    pub(super) fn matches_checksum(&self, field: usize) -> Result<bool, FilesystemError> {
        if !self.log.superblock.checksums.in_blocks() {
            return Ok(true);
        }
        let stored = self.fields().be32(field)?;
        Ok(sums_agree(Some(stored), crc32c_without(self.log.superblock.seed, &self.block, field)))
    }

    /// Where descriptors and revoke records keep their checksum: at their end.
    pub(super) fn tail(&self) -> usize {
        self.block.len().saturating_sub(4)
    }
}
