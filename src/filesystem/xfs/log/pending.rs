//! Changed buffers that are not sealed yet.
//!
//! Several transactions can begin in one record and so have one age. A buffer that took the age of the first would refuse the changes
//! of the others, so that it gets its new age only when a transaction of another age is complete.

use std::collections::BTreeMap;

use super::LogFacts;
use super::stamp;
use super::target::Target;
use crate::base::extent::Extent;
use crate::filesystem::error::FilesystemError;

/// A changed buffer.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    length: usize,
    kind: u8,
}

/// Changed buffers of one age.
#[derive(Debug, Default)]
pub(super) struct Pending {
    lsn: u64,
    waiting: BTreeMap<u64, Waiting>,
}

impl Pending {
    /// A transaction of this age is complete: what another one changed is sealed.
    pub(super) fn advance(&mut self, lsn: u64, target: &mut Target, facts: &LogFacts) -> Result<(), FilesystemError> {
        if lsn == self.lsn {
            return Ok(());
        }
        self.settle(target, facts)?;
        self.lsn = lsn;
        Ok(())
    }

    /// Remembers a buffer that was changed, and what it is said to be.
    pub(super) fn add(&mut self, byte: u64, length: usize, kind: u8) {
        self.waiting.insert(byte, Waiting { length, kind });
    }

    /// Forgets buffers in whose place something else was put.
    pub(super) fn forget(&mut self, bytes: Extent) {
        self.waiting.retain(|byte, _| *byte < bytes.offset || *byte >= bytes.end());
    }

    /// Seals all of them.
    pub(super) fn settle(&mut self, target: &mut Target, facts: &LogFacts) -> Result<(), FilesystemError> {
        while let Some((byte, waiting)) = self.waiting.pop_first() {
            let mut bytes = target.read(byte, waiting.length)?;
            let Some(structure) = stamp::structure_of(waiting.kind, &bytes) else { continue };
            structure.renew(&mut bytes, self.lsn, facts.block_bytes)?;
            target.write(byte, &bytes)?;
        }
        Ok(())
    }
}
