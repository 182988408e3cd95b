//! Which inode is which: numbers given to inodes, and found again.

use super::error::FileTreeError;
use super::keep::{kind_of, looks_the_same};
use super::ledger::{Candidate, Ledger};
use crate::files::Facts;
use crate::filesystem::SeenInodes;
use crate::filesystem::file_tree::{FileTree, MAX_NUMBER, ROOT, TreeRecord};

/// What an inode was found to be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Identity {
    /// It has not been met in this run.
    First {
        /// Its number.
        number: u64,
        /// What the earlier tree has of it.
        old: Option<TreeRecord>,
    },
    /// It was met in this run under another name.
    Again(u64),
}

/// Gives numbers.
#[derive(Debug)]
pub(super) struct Numbers {
    next: u64,
    seen: SeenInodes,
    /// Inodes of this run.
    pub(super) count: u64,
}

impl Numbers {
    /// Begins with those of the earlier tree, which are put into the ledger.
    pub(super) fn new(ledger: &Ledger, earlier: Option<&FileTree>) -> Result<Self, FileTreeError> {
        let mut numbers = Self { next: ROOT + 1, seen: SeenInodes::default(), count: 0 };
        if let Some(earlier) = earlier {
            numbers.next = earlier.state().next_number.max(numbers.next);
            earlier.each_record(&mut |number, record| {
                ledger.add_known(record.inode, record.device, number, Some(&record)).map_err(FileTreeError::from)
            })?;
        }
        Ok(numbers)
    }

    /// The first number that nobody has.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// True if an inode of the earlier tree is still there.
    pub(super) fn is_seen(&self, number: u64) -> bool {
        self.seen.contains(number)
    }

    /// The root keeps its number, whatever it was.
    pub(super) fn root(&mut self, ledger: &Ledger, facts: &Facts) -> Result<(), FileTreeError> {
        self.meet(ROOT)?;
        Ok(ledger.add_known(facts.inode, facts.device, ROOT, None)?)
    }

    /// The inode with these facts.
    pub(super) fn identify(&mut self, ledger: &Ledger, facts: &Facts) -> Result<Identity, FileTreeError> {
        let candidates = ledger.candidates(facts.inode)?;
        let here = candidates.iter().find(|candidate| candidate.record.is_none() && candidate.device == facts.device);
        if let Some(met) = here {
            return Ok(Identity::Again(met.number));
        }
        let same_device = candidates.iter().find(|candidate| candidate.device == facts.device && is_same_file(candidate, facts));
        if let Some(met) = same_device.filter(|found| self.is_seen(found.number)) {
            return Ok(Identity::Again(met.number));
        }
        // Devices of network filesystems have other numbers after each mount.
        let looks = |candidate: &&Candidate| candidate.record.is_some_and(|record| looks_the_same(&record, facts));
        let same_looks = || candidates.iter().find(|candidate| looks(candidate) && !self.is_seen(candidate.number));
        let (number, old) = match same_device.or_else(same_looks) {
            Some(found) => (found.number, found.record),
            None => (self.draw()?, None),
        };
        self.meet(number)?;
        if facts.is_directory() || facts.links > 1 {
            ledger.add_known(facts.inode, facts.device, number, None)?;
        }
        Ok(Identity::First { number, old })
    }

    fn meet(&mut self, number: u64) -> Result<(), FileTreeError> {
        self.count += 1;
        self.seen.insert(number).map(drop).ok_or(FileTreeError::TooMany)
    }

    fn draw(&mut self) -> Result<u64, FileTreeError> {
        let number = self.next;
        if number >= MAX_NUMBER {
            return Err(FileTreeError::Full { what: "numbers" });
        }
        self.next += 1;
        Ok(number)
    }
}

/// A number that was used again is another file: it was made at another time, or is something else.
fn is_same_file(candidate: &Candidate, facts: &Facts) -> bool {
    let Some(record) = candidate.record else { return false };
    let made = record.created.map(|time| (time.seconds, time.nanoseconds));
    let makes = facts.created.map(|time| (time.seconds, time.nanoseconds));
    let same_birth = made.zip(makes).is_none_or(|(then, now)| then == now);
    kind_of(facts) == Some(record.kind) && same_birth
}
