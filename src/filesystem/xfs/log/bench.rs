//! What the tests of the log stand on: a source in memory, and a log in it.

use std::sync::Arc;

use super::LogPlace;
use super::ring::BLOCK_BYTES;
use crate::base::extent::Extent;
use crate::base::io::{IoError, ReadAt};

/// A source in memory.
#[derive(Debug)]
pub(super) struct Memory(Vec<u8>);

impl Memory {
    /// A source of these bytes.
    pub(super) fn new(bytes: Vec<u8>) -> Arc<dyn ReadAt> {
        Arc::new(Self(bytes))
    }
}

impl ReadAt for Memory {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let extent = Extent::new(offset, out.len() as u64);
        let bytes = start.checked_add(out.len()).and_then(|end| self.0.get(start..end));
        out.copy_from_slice(bytes.ok_or(IoError::OutOfRange { extent, size: self.size() })?);
        Ok(())
    }
}

/// A log of version 2 that has `blocks` blocks from byte `offset` on.
pub(super) fn place(offset: u64, blocks: u64) -> LogPlace {
    LogPlace { offset, bytes: blocks * BLOCK_BYTES, version: 2, sector_bytes: 512, stripe_unit_bytes: 0 }
}
