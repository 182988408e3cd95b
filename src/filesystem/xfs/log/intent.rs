//! Changes of block maps that the log promises: the kernel carries out those that it does not see finished.

use std::collections::{BTreeMap, BTreeSet};

use super::item::{Item, Kind};
use super::transaction::Moment;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;

/// Inodes of unfinished changes that are remembered. The kernel keeps only as many under way as fit in a few transactions.
const MOST: usize = 1 << 16;
/// Where the extents of an intent begin, and how long each is.
const EXTENTS: usize = 16;
const EXTENT_BYTES: usize = 32;

/// Changes that were begun, by the number that the log gives them.
#[derive(Debug, Default)]
pub(super) struct Intents {
    open: BTreeMap<(Kind, u64), BTreeSet<u64>>,
    /// Inodes whose map needs more than this replay does.
    others: BTreeSet<u64>,
    count: usize,
}

impl Intents {
    /// Takes an intent, or the word that one is finished.
    pub(super) fn take(&mut self, item: &Item, moment: Moment) -> Result<(), FilesystemError> {
        let fields = Fields::new(item.format(), Object::Journal, moment.byte);
        let number = fields.le64(8)?;
        match item.kind() {
            Kind::MapIntent => self.begin((Kind::MapIntent, number), mapped(&fields)?),
            Kind::ExchangeIntent => self.begin((Kind::ExchangeIntent, number), [fields.le64(16)?, fields.le64(24)?].into()),
            Kind::MapDone => self.finish((Kind::MapIntent, number)),
            Kind::ExchangeDone => self.finish((Kind::ExchangeIntent, number)),
            _ => Ok(()),
        }
    }

    /// Remembers an inode for another reason.
    pub(super) fn doubt(&mut self, inode: u64) -> Result<(), FilesystemError> {
        self.count(1)?;
        self.others.insert(inode);
        Ok(())
    }

    /// Inodes whose block map the log leaves half changed.
    pub(super) fn unfinished(self) -> BTreeSet<u64> {
        self.open.into_values().flatten().chain(self.others).collect()
    }

    fn begin(&mut self, key: (Kind, u64), inodes: BTreeSet<u64>) -> Result<(), FilesystemError> {
        self.count(inodes.len())?;
        self.open.entry(key).or_default().extend(inodes);
        Ok(())
    }

    fn finish(&mut self, key: (Kind, u64)) -> Result<(), FilesystemError> {
        let inodes = self.open.remove(&key).map_or(0, |inodes| inodes.len());
        self.count = self.count.saturating_sub(inodes);
        Ok(())
    }

    fn count(&mut self, more: usize) -> Result<(), FilesystemError> {
        self.count += more;
        if self.count <= MOST {
            return Ok(());
        }
        Err(FilesystemError::TooLarge { object: Object::Journal, limit: MOST as u64 * 64 })
    }
}

/// The inodes that own the extents of an intent.
fn mapped(fields: &Fields<'_>) -> Result<BTreeSet<u64>, FilesystemError> {
    let count = usize::try_from(fields.le32(4)?).unwrap_or(usize::MAX);
    let there = fields.length().saturating_sub(EXTENTS) / EXTENT_BYTES;
    (0..count.min(there)).map(|index| fields.le64(EXTENTS + index * EXTENT_BYTES)).collect()
}
