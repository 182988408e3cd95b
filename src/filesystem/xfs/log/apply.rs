//! A transaction applied: its changes in the order in which they depend on each other.

use super::buffer::{self, Format};
use super::cancel::Cancelled;
use super::create;
use super::inode::{self, Outcome};
use super::intent::Intents;
use super::item::{Item, Kind};
use super::state::State;
use super::transaction::{Moment, Transaction};
use crate::filesystem::error::{FilesystemError, Object};

/// When an item's turn comes. Inodes need the chunk that they are in; the links of deleted inodes are put into inodes that say they
/// are free; a freeing must not be forgotten before everything else has looked at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Buffers,
    Others,
    InodeBuffers,
    Cancels,
}

fn turn(item: &Item, byte: u64) -> Result<Turn, FilesystemError> {
    Ok(match item.kind() {
        Kind::Buffer => {
            let format = Format::read(item.format(), byte)?;
            match (format.is_cancel(), format.is_inodes()) {
                (true, _) => Turn::Cancels,
                (false, true) => Turn::InodeBuffers,
                (false, false) => Turn::Buffers,
            }
        }
        Kind::InodeCreate => Turn::Buffers,
        _ => Turn::Others,
    })
}

/// The first pass: what is freed.
pub(super) fn survey(transaction: &Transaction, cancelled: &mut Cancelled) -> Result<(), FilesystemError> {
    for item in transaction.items.iter().filter(|item| item.kind() == Kind::Buffer) {
        let format = Format::read(item.format(), transaction.moment.byte)?;
        if format.is_cancel() {
            cancelled.add(format.buffer)?;
        }
    }
    Ok(())
}

/// The second pass: what is changed.
#[derive(Debug)]
pub(super) struct Applier {
    pub(super) state: State,
    pub(super) intents: Intents,
    /// Transactions applied.
    pub(super) transactions: u64,
    /// Buffers, inodes and chunks of inodes changed.
    pub(super) changes: u64,
    /// The first change that could not be applied.
    pub(super) problem: Option<FilesystemError>,
}

impl Applier {
    /// Nothing is applied yet.
    pub(super) fn new(state: State) -> Self {
        Self { state, intents: Intents::default(), transactions: 0, changes: 0, problem: None }
    }

    /// Applies all changes of a transaction. One that cannot be applied is remembered and does not hold up the others: without them
    /// the volume would only be older in more places.
    pub(super) fn apply(&mut self, transaction: &Transaction) -> Result<(), FilesystemError> {
        let moment = transaction.moment;
        self.state.pending.advance(moment.lsn, &mut self.state.target, &self.state.facts)?;
        let mut turns = Vec::with_capacity(transaction.items.len());
        for item in &transaction.items {
            match turn(item, moment.byte) {
                Ok(turn) => turns.push((turn, item)),
                Err(error) => self.note(error),
            }
        }
        turns.sort_by_key(|(turn, _)| *turn);
        for (_, item) in turns {
            match self.apply_item(item, moment) {
                Ok(changed) => self.changes += u64::from(changed),
                Err(error @ FilesystemError::TooLarge { .. }) => return Err(error),
                Err(error) => self.note(error),
            }
        }
        self.transactions += 1;
        Ok(())
    }

    /// Seals what is not sealed yet.
    pub(super) fn finish(&mut self) -> Result<(), FilesystemError> {
        self.state.pending.settle(&mut self.state.target, &self.state.facts)
    }

    fn note(&mut self, error: FilesystemError) {
        self.problem.get_or_insert(error);
    }

    fn apply_item(&mut self, item: &Item, moment: Moment) -> Result<bool, FilesystemError> {
        match item.kind() {
            Kind::Buffer => self.apply_buffer(item, moment),
            Kind::Inode => self.apply_inode(item, moment),
            Kind::InodeCreate => create::replay(item, moment, &mut self.state),
            Kind::MapIntent | Kind::MapDone | Kind::ExchangeIntent | Kind::ExchangeDone => {
                self.intents.take(item, moment).map(|()| false)
            }
            Kind::Ignored => Ok(false),
            Kind::Unknown(number) => Err(unknown(number)),
        }
    }

    fn apply_buffer(&mut self, item: &Item, moment: Moment) -> Result<bool, FilesystemError> {
        let format = Format::read(item.format(), moment.byte)?;
        if format.is_cancel() {
            self.state.cancelled.pass(format.buffer);
            return Ok(false);
        }
        if self.state.cancelled.contains(format.buffer) {
            return Ok(false);
        }
        buffer::replay(item, &format, moment, &mut self.state)
    }

    fn apply_inode(&mut self, item: &Item, moment: Moment) -> Result<bool, FilesystemError> {
        match inode::replay(item, moment, &mut self.state)? {
            Outcome::Applied => Ok(true),
            Outcome::Passed => Ok(false),
            Outcome::OwnerChanges(number) => self.intents.doubt(number).map(|()| true),
        }
    }
}

fn unknown(number: u16) -> FilesystemError {
    FilesystemError::Unsupported { object: Object::Journal, feature: format!("a log item of the type {number:#06x}") }
}
