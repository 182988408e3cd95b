//! The log: which of its transactions are complete, and what a volume looks like once they are applied.
//!
//! ```text
//!   ring of blocks ─► live part: tail ......... head ─► records ─► operations ─► transactions ─► items
//!                     the last record says where        whole?     cut into      at their        buffers, inodes,
//!                     it begins; torn writes at         unpacked   pieces        commit          chunks of inodes
//!                     its end are left out
//! ```
//! Two passes: the first learns which buffers are freed, so that the second does not write what was in them over what came after.
//! Each object keeps its age, and a change that is older than what lies in place is passed over. Everything that is changed is sealed
//! anew, as the kernel does when it writes it in place, so that a reader can verify the replayed volume like any other.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::io::ReadAt;
use crate::filesystem::error::FilesystemError;
use crate::filesystem::overlay::Overlay;

mod apply;
#[cfg(test)]
mod bench;
mod buffer;
mod cancel;
mod core;
#[cfg(test)]
mod crash_tests;
mod create;
mod fork;
mod head;
mod header;
#[cfg(test)]
mod hostile_tests;
mod inode;
#[cfg(test)]
mod inode_tests;
mod intent;
mod item;
mod live;
mod older;
mod operation;
mod pass;
mod pending;
mod put;
mod record;
mod ring;
mod sightings;
mod stamp;
mod state;
mod target;
#[cfg(test)]
mod tests;
mod transaction;

pub(super) use older::{LoggedBlock, Older};
pub(super) use put::{put, seal};
pub(super) use sightings::Sightings;

use apply::Applier;
use cancel::Cancelled;
use live::{Finder, Live};
use pass::Pass;
use ring::Ring;
use state::State;
use transaction::Keep;

/// Where the log lies, and how it is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::filesystem) struct LogPlace {
    /// Byte of the source where the log begins.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
    /// 1 or 2.
    pub version: u8,
    /// Bytes in a sector of the log.
    pub sector_bytes: u32,
    /// What a record is rounded up to; 0 or 1 for nothing beyond a sector.
    pub stripe_unit_bytes: u32,
}

/// What replay must know of the filesystem.
#[derive(Debug, Clone)]
pub(in crate::filesystem) struct LogFacts {
    /// True for version 5: metadata carries checksums.
    pub crc: bool,
    /// Bytes in a block.
    pub block_bytes: u32,
    /// The same as a power of two.
    pub block_log: u8,
    /// Blocks in an allocation group.
    pub ag_blocks: u32,
    /// Bits that a block number within a group takes.
    pub ag_block_log: u8,
    /// Allocation groups.
    pub ag_count: u32,
    /// Bytes in an inode.
    pub inode_bytes: u16,
    /// Inodes in a block, as a power of two.
    pub inodes_per_block_log: u8,
    /// What metadata names as its filesystem.
    pub uuid: [u8; 16],
    /// Blocks of the data section.
    pub data_blocks: u64,
    /// Bytes in a sector.
    pub sector_bytes: u32,
}

impl LogFacts {
    /// For a log that is read without its filesystem: only its name is known.
    pub(in crate::filesystem) fn unknown(uuid: [u8; 16]) -> Self {
        Self {
            crc: false,
            block_bytes: 0,
            block_log: 0,
            ag_blocks: 0,
            ag_block_log: 0,
            ag_count: 0,
            inode_bytes: 0,
            inodes_per_block_log: 0,
            uuid,
            data_blocks: 0,
            sector_bytes: 0,
        }
    }
}

/// What the log changes.
#[derive(Debug)]
pub(in crate::filesystem) struct Replay {
    /// Replaced units of 512 bytes.
    pub overlay: Overlay,
    /// Transactions applied.
    pub transactions: u64,
    /// Buffers, inodes and chunks of inodes changed by them.
    pub changes: u64,
    /// Why not everything could be applied. Then the overlay holds what could.
    pub incomplete: Option<String>,
    /// Inodes whose mapping was in the middle of a change.
    pub uncertain: BTreeSet<u64>,
    /// True when there was nothing to apply.
    pub clean: bool,
}

/// Applies the log in memory. An error is one of the source below it; what is wrong with the log makes the replay incomplete.
pub(in crate::filesystem) fn replay(
    source: &Arc<dyn ReadAt>,
    place: &LogPlace,
    facts: &LogFacts,
) -> Result<Replay, FilesystemError> {
    match live_part(source, place, facts) {
        Ok((_, Live::Nothing)) => Ok(Replay { clean: true, ..nothing() }),
        Ok((ring, Live::Records { tail, head })) => {
            let pass = Pass::new(&ring, (tail, head), place.stripe_unit_bytes, source, facts);
            apply_live(&pass, source, facts)
        }
        Err(error @ FilesystemError::Io { .. }) => Err(error),
        Err(error) => Ok(Replay { incomplete: Some(in_words(&error)), ..nothing() }),
    }
}

/// True when nothing was ever written to the log. mkfs leaves a record behind: somebody zeroed it.
pub(in crate::filesystem) fn is_blank(source: &Arc<dyn ReadAt>, place: &LogPlace) -> bool {
    Ring::new(source, place).and_then(|ring| ring.cycle(0)).is_ok_and(|cycle| cycle == 0)
}

fn live_part(source: &Arc<dyn ReadAt>, place: &LogPlace, facts: &LogFacts) -> Result<(Ring, Live), FilesystemError> {
    let ring = Ring::new(source, place)?;
    let live = Finder::new(&ring, place, facts).find()?;
    Ok((ring, live))
}

/// Both passes. A fault in the middle of the log ends both at the same place: what comes before is a state that the volume had.
fn apply_live(pass: &Pass<'_>, source: &Arc<dyn ReadAt>, facts: &LogFacts) -> Result<Replay, FilesystemError> {
    let mut cancelled = Cancelled::default();
    let surveyed = pass.run(Keep::Formats, &mut |transaction| apply::survey(transaction, &mut cancelled).map(|()| 0));
    let mut applier = Applier::new(State::new(source, cancelled, facts));
    let applied = pass.run(Keep::Everything, &mut |transaction| {
        applier.apply(transaction)?;
        Ok(applier.state.target.held_bytes())
    });
    let finished = applier.finish();
    let stopped = [surveyed.err(), applied.err(), finished.err()].into_iter().flatten().next();
    if let Some(error @ FilesystemError::Io { .. }) = stopped {
        return Err(error);
    }
    let incomplete = stopped.or(applier.problem).map(|error| in_words(&error));
    Ok(Replay {
        overlay: applier.state.target.into_overlay(),
        transactions: applier.transactions,
        changes: applier.changes,
        incomplete,
        uncertain: applier.intents.unfinished(),
        clean: false,
    })
}

fn nothing() -> Replay {
    Replay {
        overlay: Overlay::new(target::UNIT_BYTES),
        transactions: 0,
        changes: 0,
        incomplete: None,
        uncertain: BTreeSet::new(),
        clean: false,
    }
}

fn in_words(error: &FilesystemError) -> String {
    format!("the log could not be replayed completely: {error}")
}
