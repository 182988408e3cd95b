//! The journal of ext3 and ext4 (JBD2), replayed in memory: which blocks would differ after the kernel's recovery, and how.
//!
//! ```text
//!   the journal's file
//!   ┌───────────┬──────────────────────────────────────────────┬───────────────────┐
//!   │ superblock│ ring: descriptor data … revoke commit, again  │ fast commits (ext4)│
//!   └───────────┴──────────────────────────────────────────────┴───────────────────┘
//!     scan: how far is it whole ► revoke: which copies are void ► apply: the last copy of each block ► fast: what came after
//! ```
//! Nothing is copied but the few blocks that were escaped: a patch says where in the journal the block's content lies. What the kernel
//! would refuse to replay is told in [`Replay::incomplete`]; what was whole before it is applied all the same.

mod apply;
mod area;
mod checksum;
mod descriptor;
mod doubts;
mod fast;
mod logged;
mod revoke;
mod scan;
mod superblock;
#[cfg(test)]
mod tests;
mod walk;

use std::sync::Arc;

use super::super::error::FilesystemError;
use super::super::overlay::Overlay;
use crate::base::io::ReadAt;

use apply::Application;
use area::Area;
use doubts::Doubts;
use revoke::Revoked;
use superblock::JournalSuperblock;
use walk::Log;

pub(in crate::filesystem) use fast::{FastCommits, FastName, FastRange};
pub(in crate::filesystem) use logged::LoggedBlocks;

/// Where the journal lies, and what the filesystem's superblock says of it.
#[derive(Debug, Clone)]
pub(in crate::filesystem) struct JournalPlace {
    /// The blocks of the journal's file in their order: first filesystem block and count.
    pub(in crate::filesystem) runs: Vec<(u64, u64)>,
    /// Bytes in a block of the filesystem, which is also one of the journal.
    pub(in crate::filesystem) block_bytes: u32,
    /// Blocks that the filesystem has.
    pub(in crate::filesystem) blocks_in_filesystem: u64,
    /// The feature `needs_recovery`. Without it the kernel ignores what the journal holds.
    pub(in crate::filesystem) needs_recovery: bool,
    /// The feature `fast_commit`.
    pub(in crate::filesystem) superblock_feature_fast_commit: bool,
}

/// What recovery would change.
#[derive(Debug)]
pub(in crate::filesystem) struct Replay {
    /// Blocks of the filesystem whose content lies in the journal.
    pub(in crate::filesystem) overlay: Overlay,
    /// Whole transactions found.
    pub(in crate::filesystem) transactions: u64,
    /// Why the kernel would have stopped, or shown something else. `None` when the replay is all that the kernel would do.
    pub(in crate::filesystem) incomplete: Option<String>,
    /// What was committed after the last whole transaction.
    pub(in crate::filesystem) fast: FastCommits,
    /// True when the kernel noted an error in the journal before it stopped: the filesystem wants to be checked.
    pub(in crate::filesystem) error_recorded: bool,
}

/// Replays the journal of a filesystem. An error means that the journal itself cannot be made sense of.
pub(in crate::filesystem) fn replay(source: &Arc<dyn ReadAt>, place: &JournalPlace) -> Result<Replay, FilesystemError> {
    let area = Area::new(source.as_ref(), place)?;
    let superblock = match JournalSuperblock::read(&area) {
        Ok(superblock) => superblock,
        // What nobody will replay need not be whole.
        Err(_) if !place.needs_recovery => return Ok(nothing(place, false)),
        Err(error @ FilesystemError::Unsupported { .. }) => {
            return Ok(Replay { incomplete: Some(error.to_string()), ..nothing(place, false) });
        }
        Err(error) => return Err(error),
    };
    let error_recorded = superblock.error_recorded;
    let Some(start) = superblock.start.filter(|_| place.needs_recovery) else { return Ok(nothing(place, error_recorded)) };
    let replay = replay_log(&Log { area, superblock, start }, place)?;
    Ok(Replay { error_recorded, ..replay })
}

fn nothing(place: &JournalPlace, error_recorded: bool) -> Replay {
    let overlay = Overlay::new(place.block_bytes);
    Replay { overlay, transactions: 0, incomplete: None, fast: FastCommits::default(), error_recorded }
}

fn replay_log(log: &Log<'_>, place: &JournalPlace) -> Result<Replay, FilesystemError> {
    let mut doubts = Doubts::default();
    let extent = scan::scan(log, &mut doubts)?;
    let overlay = match Revoked::read(log, &extent) {
        Ok(revoked) => apply(log, &extent, &revoked, place, &mut doubts)?,
        // Without knowing what is void, no copy can be trusted.
        Err(error) => {
            doubts.forgive(error)?;
            Overlay::new(place.block_bytes)
        }
    };
    let fast = fast::read(log, extent.end, place, &mut doubts)?;
    let transactions = u64::from(extent.transactions);
    Ok(Replay { overlay, transactions, incomplete: doubts.reason(), fast, error_recorded: false })
}

fn apply(
    log: &Log<'_>,
    extent: &scan::Extent,
    revoked: &Revoked,
    place: &JournalPlace,
    doubts: &mut Doubts,
) -> Result<Overlay, FilesystemError> {
    let mut application = Application::new(log, revoked, place.blocks_in_filesystem, Overlay::new(place.block_bytes));
    if let Err(error) = application.run(extent, doubts) {
        doubts.forgive(error)?;
    }
    Ok(application.into_overlay())
}
