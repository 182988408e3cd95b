//! Appendices made, held against the earlier ones, and put by until they get their places.

use std::mem;

use blake3::Hasher;

use super::error::FileTreeError;
use super::keep::digest;
use super::ledger::Ledger;
use crate::base::extent::Extent;
use crate::filesystem::Xattr;
use crate::filesystem::file_tree::{DIGEST_BYTES, FIRST_PLACE, TreeRecord, encode_front};

/// An appendix is put by in parts of this length.
const PART_BYTES: usize = 1 << 20;

/// An appendix that is being made. One that is not longer than a part is held until it is known to be new.
#[derive(Debug)]
pub(super) struct Appendix {
    number: u64,
    hasher: Hasher,
    length: u64,
    part: Vec<u8>,
    parts: u64,
}

impl Appendix {
    /// Begins with attributes and the map of a sparse file.
    pub(super) fn new(number: u64, attributes: &[Xattr], map: &[Extent]) -> Self {
        let part = encode_front(attributes, map);
        let mut appendix = Self { number, hasher: Hasher::new(), length: part.len() as u64, part, parts: 0 };
        appendix.hasher.update(&appendix.part);
        appendix
    }

    /// Appends to the body.
    pub(super) fn push(&mut self, ledger: &Ledger, bytes: &[u8]) -> Result<(), FileTreeError> {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        self.part.extend_from_slice(bytes);
        if self.part.len() >= PART_BYTES { self.put_by(ledger) } else { Ok(()) }
    }

    fn put_by(&mut self, ledger: &Ledger) -> Result<(), FileTreeError> {
        ledger.add_appendix(self.number, self.parts, &mem::take(&mut self.part))?;
        self.parts += 1;
        Ok(())
    }

    /// Gives `record` its appendix: the earlier one if it is the same, or a new one, whose place is told later.
    pub(super) fn finish(
        mut self,
        ledger: &Ledger,
        old: Option<&TreeRecord>,
        record: &mut TreeRecord,
    ) -> Result<(), FileTreeError> {
        record.appendix_digest = digest(&self.hasher);
        let same = old.filter(|old| old.appendix_digest == record.appendix_digest && old.appendix.length == self.length);
        if let Some(old) = same {
            record.appendix = old.appendix;
            return if self.parts > 0 { Ok(ledger.remove_appendix(self.number)?) } else { Ok(()) };
        }
        // Any place will do until it has its own.
        record.appendix = Extent::new(FIRST_PLACE, self.length);
        if self.part.is_empty() { Ok(()) } else { self.put_by(ledger) }
    }
}

/// The record has no appendix.
pub(super) fn without(record: &mut TreeRecord) {
    record.appendix = Extent::new(0, 0);
    record.appendix_digest = [0; DIGEST_BYTES];
}
