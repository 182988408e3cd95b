//! The second pass: which blocks were freed as metadata, and may since hold data that an older copy must not overwrite.

use std::collections::HashMap;

use super::descriptor::revoked;
use super::scan;
use super::walk::{Log, Step, Walk};
use crate::filesystem::error::{FilesystemError, Object};

/// More than the kernel ever has in one journal: a gigabyte of log, of which each tenth block is a list of revoked ones.
const MOST_REVOKED: usize = 1 << 22;
/// What an entry of the table takes.
const ENTRY_BYTES: u64 = 32;

/// The last transaction that revoked each block.
#[derive(Debug, Default)]
pub(super) struct Revoked {
    last: HashMap<u64, u32>,
}

impl Revoked {
    /// Reads the revoke records of all whole transactions.
    pub(super) fn read(log: &Log<'_>, extent: &scan::Extent) -> Result<Self, FilesystemError> {
        let mut table = Self::default();
        let mut walk = Walk::new(log);
        while walk.sequence != extent.end {
            match walk.step()? {
                Step::End => return Err(walk.fields().corrupt("the log has changed while it was read")),
                Step::Descriptor => walk.skip_data(),
                Step::Commit => walk.sequence = walk.sequence.wrapping_add(1),
                Step::Revoke => {
                    for block in revoked(walk.fields(), &log.superblock)? {
                        table.add(block, walk.sequence)?;
                    }
                }
            }
        }
        Ok(table)
    }

    /// Later transactions come later, so the last one stays.
    fn add(&mut self, block: u64, sequence: u32) -> Result<(), FilesystemError> {
        self.last.insert(block, sequence);
        if self.last.len() > MOST_REVOKED {
            return Err(FilesystemError::TooLarge { object: Object::Journal, limit: MOST_REVOKED as u64 * ENTRY_BYTES });
        }
        Ok(())
    }

    /// True when a block logged by this transaction must not be replayed.
    pub(super) fn covers(&self, block: u64, sequence: u32) -> bool {
        self.last.get(&block).is_some_and(|last| is_not_before(*last, sequence))
    }
}

/// True when transaction `a` is `b` or comes after it. Numbers go round.
pub(super) fn is_not_before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 >= 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_transactions_goes_round() {
        for (a, b, expected) in
            [(5, 5, true), (6, 5, true), (5, 6, false), (0, u32::MAX, true), (u32::MAX, 0, false), (3, 0xffff_fff0, true)]
        {
            assert_eq!(is_not_before(a, b), expected, "{a} {b}");
        }
    }
}
