//! What the log still has of inodes and of directory blocks, in the live part of it and in what is left of the time before.
//!
//! An index knows, for each inode, in which transactions it was written last: its core, and each of its forks, for a transaction
//! carries only the forks that changed. Asked for one, these few transactions are read again and applied to nothing, in their order.
//! Of directory blocks it knows which there are. Asked for some of them, all of the log is read again, once for all of them.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use super::inode::Format;
use super::item::{Item, Kind};
use super::ring::{BLOCK_BYTES, Ring};
use super::transaction::{Keep, Moment, Transaction};
use super::{LogFacts, LogPlace, buffer, pass, stamp};
use crate::base::extent::Extent;
use crate::base::io::ReadAt;

mod blocks;
mod reader;
mod recent;
mod state;
#[cfg(test)]
mod tests;

pub(in crate::filesystem::xfs) use blocks::LoggedBlock;

use blocks::Blocks;
use reader::{Reader, records};
use recent::{Inodes, Recent};
use state::State;

/// Inodes that are remembered, at some 60 bytes each.
const MOST_INODES: usize = 1 << 19;
/// Directory blocks that are remembered, at some 30 bytes each.
const MOST_BLOCKS: usize = 1 << 19;
/// What the superblock says that matters here.
const SUPERBLOCK_BYTES: usize = 272;

/// The log, where in it each inode was written last, and which directory blocks are in it.
#[derive(Debug)]
pub(in crate::filesystem::xfs) struct Older {
    ring: Ring,
    stripe_unit_bytes: u32,
    uuids: [[u8; 16]; 2],
    facts: LogFacts,
    /// The ages of all records, ascending.
    records: Vec<u64>,
    index: Index,
    /// What was read last: whoever asks for one inode asks for its neighbours.
    recent: Mutex<Recent>,
}

/// What is in the log.
#[derive(Debug, Default)]
struct Index {
    inodes: HashMap<u64, Places>,
    /// Directory blocks that were not freed: the first block of 512 bytes of each, and how many it has.
    directory_blocks: BTreeMap<u64, u64>,
    /// How many such blocks the superblock has, if it was changed.
    superblock: Option<u64>,
}

/// When an inode was written last, as the ages of transactions.
#[derive(Debug, Clone, Copy, Default)]
struct Places {
    core: u64,
    data: Option<u64>,
    attributes: Option<u64>,
}

impl Older {
    /// Goes through all of the log. `None` where there is none that can be read.
    pub(in crate::filesystem::xfs) fn of(source: &Arc<dyn ReadAt>, place: &LogPlace, facts: &LogFacts) -> Option<Self> {
        let ring = Ring::new(source, place).ok()?;
        let mut older = Self {
            records: records(&ring).ok()?,
            ring,
            stripe_unit_bytes: place.stripe_unit_bytes,
            uuids: pass::uuids(source, facts),
            facts: facts.clone(),
            index: Index::default(),
            recent: Mutex::default(),
        };
        let mut index = Index::default();
        let mut reader = Reader::new(&older, Keep::Formats);
        for lsn in &older.records {
            reader.step(lsn & u64::from(u32::MAX), &mut |transaction| index.learn(&transaction));
        }
        older.index = index;
        Some(older)
    }

    /// The youngest state of an inode, as it would lie on disk; `None` where the log does not have all of it. Without its attributes
    /// if the log does not have these.
    pub(in crate::filesystem::xfs) fn inode(&self, number: u64) -> Option<Vec<u8>> {
        let places = self.index.inodes.get(&number)?;
        let wanted: BTreeSet<u64> = [Some(places.core), places.data, places.attributes].into_iter().flatten().collect();
        let mut state = State::blank(self.facts.inode_bytes);
        for lsn in wanted {
            for item in self.items(lsn).get(&number).into_iter().flatten() {
                state.apply(item, Moment { lsn, byte: 0 }, self.facts.crc).ok()?;
            }
        }
        state.into_whole()
    }

    /// The places of directory blocks that the log changes and does not free, ascending.
    pub(in crate::filesystem::xfs) fn directory_places(&self) -> impl Iterator<Item = Extent> {
        let places = self.index.directory_blocks.iter();
        places.map(|(block, blocks)| Extent::new(block.saturating_mul(BLOCK_BYTES), blocks.saturating_mul(BLOCK_BYTES)))
    }

    /// The youngest state of the directory blocks in these places, as far as the log has it. They are all in memory at once.
    pub(in crate::filesystem::xfs) fn directory_blocks(&self, places: &[Extent]) -> Vec<LoggedBlock> {
        self.assemble(places, stamp::holds_entries)
    }

    /// The youngest state of the first superblock, if the log has all of it. Its checksum is not computed.
    pub(in crate::filesystem::xfs) fn superblock(&self) -> Option<Vec<u8>> {
        let place = Extent::new(0, self.index.superblock?.saturating_mul(BLOCK_BYTES));
        let block = self.assemble(&[place], stamp::is_superblock).pop()?;
        block.knows(0..SUPERBLOCK_BYTES).then_some(block.bytes)
    }

    fn assemble(&self, places: &[Extent], is_wanted: fn(u8) -> bool) -> Vec<LoggedBlock> {
        let mut blocks = Blocks::blank(places, is_wanted);
        let mut reader = Reader::new(self, Keep::Everything);
        for lsn in &self.records {
            let mut ended = Vec::new();
            reader.step(lsn & u64::from(u32::MAX), &mut |transaction| ended.push(transaction));
            ended.iter().for_each(|transaction| blocks.apply(transaction, reader.breaks(), &self.facts));
        }
        blocks.into_told()
    }

    /// The inodes that the transactions of this age change, and how.
    fn items(&self, lsn: u64) -> Arc<Inodes> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.get(lsn).unwrap_or_else(|| {
            let inodes = Arc::new(self.read_items(lsn));
            recent.keep(lsn, &inodes);
            inodes
        })
    }

    fn read_items(&self, lsn: u64) -> Inodes {
        let mut found = Inodes::new();
        let mut reader = Reader::new(self, Keep::Everything);
        let mut next = Some(lsn & u64::from(u32::MAX));
        let mut left = self.ring.blocks();
        while let Some(block) = next.filter(|_| left > 0) {
            next = reader.step(block, &mut |transaction| {
                let of_age = Some(transaction).filter(|transaction| transaction.moment.lsn == lsn);
                of_age.into_iter().flat_map(|transaction| transaction.items).for_each(|item| recent::add(&mut found, item));
            });
            next = next.filter(|_| reader.has_open(lsn));
            left = left.saturating_sub(1);
        }
        found
    }
}

impl Index {
    fn learn(&mut self, transaction: &Transaction) {
        for item in &transaction.items {
            match item.kind() {
                Kind::Inode => self.learn_inode(item, transaction.moment),
                Kind::Buffer => self.learn_buffer(item, transaction.moment),
                _ => {}
            }
        }
    }

    fn learn_inode(&mut self, item: &Item, moment: Moment) {
        let Ok(format) = Format::read(item.format(), moment.byte) else { return };
        let is_full = self.inodes.len() >= MOST_INODES;
        let known = match self.inodes.entry(format.inode) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if is_full => return,
            Entry::Vacant(new) => new.insert(Places::default()),
        };
        known.core = moment.lsn;
        known.data = if format.has_data() { Some(moment.lsn) } else { known.data };
        known.attributes = if format.has_attributes() { Some(moment.lsn) } else { known.attributes };
    }

    fn learn_buffer(&mut self, item: &Item, moment: Moment) {
        let Ok(format) = buffer::Format::read(item.format(), moment.byte) else { return };
        if format.is_cancel() {
            self.directory_blocks.remove(&format.buffer.block);
        } else if stamp::holds_entries(format.kind()) && self.directory_blocks.len() < MOST_BLOCKS {
            self.directory_blocks.insert(format.buffer.block, format.buffer.blocks);
        } else if stamp::is_superblock(format.kind()) && format.buffer.block == 0 {
            self.superblock = Some(format.buffer.blocks);
        }
    }
}
