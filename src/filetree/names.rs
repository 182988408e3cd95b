//! The names of the directory that is being listed: sorted, and in memory only as long as they are not many.

use std::mem;

use super::appendices::Appendix;
use super::error::FileTreeError;
use super::ledger::Ledger;
use crate::filesystem::file_tree::encode_name;

/// Names held; of a larger directory all go to the table.
const HELD: usize = 32 << 10;

/// Names with their numbers.
#[derive(Debug, Default)]
pub(super) struct Names {
    held: Vec<(Vec<u8>, u64)>,
    is_large: bool,
}

impl Names {
    pub(super) fn add(&mut self, ledger: &Ledger, name: Vec<u8>, number: u64) -> Result<(), FileTreeError> {
        self.held.push((name, number));
        if self.held.len() < HELD {
            return Ok(());
        }
        self.is_large = true;
        self.spill(ledger)
    }

    fn spill(&mut self, ledger: &Ledger) -> Result<(), FileTreeError> {
        mem::take(&mut self.held).iter().try_for_each(|(name, number)| Ok(ledger.add_entry(name, *number)?))
    }

    /// Puts all names into the directory's appendix, and says how many bytes they take.
    pub(super) fn put(mut self, ledger: &Ledger, appendix: &mut Appendix) -> Result<u64, FileTreeError> {
        if !self.is_large {
            // A name that the system showed twice, as it may while the directory changes, is one.
            self.held.sort_unstable();
            self.held.dedup_by(|next, kept| next.0 == kept.0);
            return put(ledger, appendix, &self.held);
        }
        self.spill(ledger)?;
        let (mut last, mut length) = (Vec::new(), 0);
        loop {
            let batch = ledger.entries_after(&last)?;
            let Some((name, _)) = batch.last() else { break };
            last.clone_from(name);
            length += put(ledger, appendix, &batch)?;
        }
        ledger.clear_entries()?;
        Ok(length)
    }
}

fn put(ledger: &Ledger, appendix: &mut Appendix, names: &[(Vec<u8>, u64)]) -> Result<u64, FileTreeError> {
    let mut encoded = Vec::new();
    names.iter().for_each(|(name, number)| encode_name(&mut encoded, *number, name));
    appendix.push(ledger, &encoded)?;
    Ok(encoded.len() as u64)
}
