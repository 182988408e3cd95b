//! Inodes as the log still has them, in the live part of it and in what is left of the time before.
//!
//! An index knows, for each inode, in which transactions it was written last: its core, and each of its forks, for a transaction
//! carries only the forks that changed. Asked for one, these few transactions are read again and applied to nothing, in their order.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::header::Header;
use super::inode::{self, Format};
use super::item::{Item, Kind};
use super::operation::Operations;
use super::pass;
use super::put::put;
use super::record::Record;
use super::ring::{HEADER_MAGIC, Ring, word};
use super::transaction::{Assembly, Keep, Moment, Transaction};
use super::{LogFacts, LogPlace};
use crate::base::io::ReadAt;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;
use crate::filesystem::xfs::inode_core::{FORMAT_DEVICE, FORMAT_LOCAL, FORMAT_RUNS, Layout};
use crate::filesystem::xfs::run::RUN_BYTES;

/// Inodes that are remembered, at some 60 bytes each.
const MOST_INODES: usize = 1 << 19;
/// Records that are put in order, at 8 bytes each: no log has more of the shortest.
const MOST_RECORDS: usize = 1 << 20;
/// Transactions that have begun may take so much memory; longer ones are passed over.
const OPEN_BYTES: u64 = 64 << 20;
/// Fields of an inode: its length, what changes when its number is used again, and a link to another one.
const SIZE: usize = 56;
const GENERATION: usize = 92;
const NEXT_UNLINKED: usize = 96;
/// The region of an item that holds the data fork, if any does.
const DATA_REGION: usize = 2;

/// The log, and where in it each inode was written last.
#[derive(Debug)]
pub(in crate::filesystem::xfs) struct Older {
    ring: Ring,
    stripe_unit_bytes: u32,
    uuids: [[u8; 16]; 2],
    facts: LogFacts,
    places: HashMap<u64, Places>,
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
        let mut older = Self {
            ring: Ring::new(source, place).ok()?,
            stripe_unit_bytes: place.stripe_unit_bytes,
            uuids: pass::uuids(source, facts),
            facts: facts.clone(),
            places: HashMap::new(),
        };
        let mut places = HashMap::new();
        let mut reader = Reader::new(&older, Keep::Formats);
        for lsn in records(&older.ring).ok()? {
            reader.step(lsn & u64::from(u32::MAX), &mut |transaction| learn(transaction, &mut places));
        }
        older.places = places;
        Some(older)
    }

    /// The youngest state of an inode, as it would lie on disk; `None` where the log does not have all of it. Without its attributes
    /// if the log does not have these.
    pub(in crate::filesystem::xfs) fn inode(&self, number: u64) -> Option<Vec<u8>> {
        let places = self.places.get(&number)?;
        let wanted: BTreeSet<u64> = [Some(places.core), places.data, places.attributes].into_iter().flatten().collect();
        let mut state = State { bytes: self.blank(), data: None };
        for lsn in wanted {
            for item in self.items(lsn, number) {
                state.apply(&item, Moment { lsn, byte: 0 }, self.facts.crc).ok()?;
            }
        }
        state.is_whole().then_some(state.bytes)
    }

    /// An inode that nothing is known of.
    fn blank(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.facts.inode_bytes.into()];
        let _fits = put(&mut bytes, NEXT_UNLINKED, &u32::MAX.to_be_bytes());
        bytes
    }

    /// What the transactions of this age change of an inode.
    fn items(&self, lsn: u64, number: u64) -> Vec<Item> {
        let mut found = Vec::new();
        let mut reader = Reader::new(self, Keep::Everything);
        let mut next = Some(lsn & u64::from(u32::MAX));
        let mut left = self.ring.blocks();
        while let Some(block) = next.filter(|_| left > 0) {
            next = reader.step(block, &mut |mut transaction| {
                let is_of_age = transaction.moment.lsn == lsn;
                found.extend(transaction.items.drain(..).filter(|item| is_of_age && is_about(item, number)));
            });
            next = next.filter(|_| reader.assembly.has_open(lsn));
            left = left.saturating_sub(1);
        }
        found
    }
}

/// The ages of all records that can be seen in the ring, ascending.
fn records(ring: &Ring) -> Result<Vec<u64>, FilesystemError> {
    let mut found = Vec::new();
    ring.scan(0, ring.blocks(), &mut |block, bytes| {
        if word(bytes, 0) == HEADER_MAGIC && found.len() < MOST_RECORDS {
            let header = Header::read(&Fields::new(bytes, Object::Journal, ring.byte(block)));
            found.extend(header.ok().map(|header| header.lsn).filter(|lsn| lsn & u64::from(u32::MAX) == block));
        }
        ControlFlow::Continue(())
    })?;
    found.sort_unstable();
    Ok(found)
}

fn learn(transaction: Transaction, places: &mut HashMap<u64, Places>) {
    let lsn = transaction.moment.lsn;
    for item in transaction.items.iter().filter(|item| item.kind() == Kind::Inode) {
        let Ok(format) = Format::read(item.format(), transaction.moment.byte) else { continue };
        let is_full = places.len() >= MOST_INODES;
        let known = match places.entry(format.inode) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if is_full => continue,
            Entry::Vacant(new) => new.insert(Places::default()),
        };
        known.core = lsn;
        known.data = if format.has_data() { Some(lsn) } else { known.data };
        known.attributes = if format.has_attributes() { Some(lsn) } else { known.attributes };
    }
}

fn is_about(item: &Item, number: u64) -> bool {
    item.kind() == Kind::Inode && Format::read(item.format(), 0).is_ok_and(|format| format.inode == number)
}

/// An inode as it grows from what the log has of it.
struct State {
    bytes: Vec<u8>,
    /// How many bytes of the data fork there are, and the format that the core had then.
    data: Option<(u8, usize)>,
}

impl State {
    fn apply(&mut self, item: &Item, moment: Moment, crc: bool) -> Result<(), FilesystemError> {
        let before = self.generation();
        inode::put_into(&mut self.bytes, item, moment, crc)?;
        if Format::read(item.format(), moment.byte)?.has_data() {
            self.data = Some((self.layout().format()?, item.region(DATA_REGION).map_or(0, <[u8]>::len)));
        } else if before != self.generation() {
            self.data = None;
        }
        Ok(())
    }

    fn layout(&self) -> Layout<'_> {
        Layout::of(Fields::new(&self.bytes, Object::Journal, 0))
    }

    fn generation(&self) -> Option<Vec<u8>> {
        self.bytes.get(GENERATION..GENERATION + 4).map(<[u8]>::to_vec)
    }

    /// True when the content is all there: the core can be younger than the last change of the fork, but not of another format.
    fn is_whole(&self) -> bool {
        let (Ok(format), Ok(runs)) = (self.layout().format(), self.layout().data_runs()) else { return false };
        let size = Fields::new(&self.bytes, Object::Journal, 0).be64(SIZE).unwrap_or(u64::MAX);
        let needed = match format {
            FORMAT_RUNS => runs.saturating_mul(RUN_BYTES as u64),
            FORMAT_LOCAL => size,
            _ => 1,
        };
        let is_device = format == FORMAT_DEVICE && self.data.is_some();
        let there = self.data.filter(|(known, _)| *known == format).map_or(0, |(_, length)| length as u64);
        is_device || there >= needed
    }
}

/// Records read one after the other, and the transactions in them.
struct Reader<'a> {
    older: &'a Older,
    keep: Keep,
    assembly: Assembly,
    /// Where the next record begins, if it goes on from the last.
    next: Option<u64>,
}

impl<'a> Reader<'a> {
    fn new(older: &'a Older, keep: Keep) -> Self {
        Self { older, keep, assembly: Assembly::new(keep), next: None }
    }

    /// Shows the transactions that end in the record at `block`, and says where the next one begins. What has begun is forgotten where
    /// the records do not follow each other.
    fn step(&mut self, block: u64, visit: &mut dyn FnMut(Transaction)) -> Option<u64> {
        if self.next != Some(block) {
            self.assembly = Assembly::new(self.keep);
        }
        self.next = self.read(block, visit).ok();
        self.next
    }

    fn read(&mut self, block: u64, visit: &mut dyn FnMut(Transaction)) -> Result<u64, FilesystemError> {
        let (ring, older) = (&self.older.ring, self.older);
        let record = Record::read(ring, block, ring.blocks(), older.stripe_unit_bytes).map_err(|fault| fault.error)?;
        pass::check(&record, older.facts.crc, &older.uuids)?;
        let moment = Moment { lsn: record.header.lsn, byte: record.byte };
        for operation in Operations::of(&record) {
            if let Some(transaction) = self.assembly.take(&operation?, moment)? {
                visit(transaction);
            }
            if self.assembly.held_bytes() > OPEN_BYTES {
                return Err(FilesystemError::TooLarge { object: Object::Journal, limit: OPEN_BYTES });
            }
        }
        Ok(ring.after(block, record.header.total_blocks()))
    }
}
