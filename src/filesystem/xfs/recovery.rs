//! What the log does to the view: clean, replayed, or not to be trusted.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::log::{self, LogFacts, LogPlace};
use super::superblock::Superblock;
use crate::base::io::ReadAt;
use crate::filesystem::error::FilesystemError;
use crate::filesystem::overlay::Overlay;
use crate::filesystem::view::View;

/// Overlays count in these.
const UNIT_BYTES: u32 = 512;

/// The outcome.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) overlay: Overlay,
    pub(super) view: View,
    pub(super) uncertain: BTreeSet<u64>,
}

/// Applies the log in memory, as far as it can be.
pub(super) fn replay(source: &Arc<dyn ReadAt>, superblock: &Superblock) -> Result<Recovered, FilesystemError> {
    let (place, facts) = match followable(superblock) {
        Ok(followable) => followable,
        Err(reason) => return Ok(stale(reason)),
    };
    let replay = log::replay(source, place, &facts)?;
    let view = match replay.incomplete {
        Some(reason) => View::Stale { reason },
        None if superblock.features.needs_repair => {
            View::Stale { reason: "the superblock asks for xfs_repair (needsrepair)".to_owned() }
        }
        None if replay.clean => View::Clean,
        None => View::Replayed { transactions: replay.transactions, changes: replay.changes },
    };
    Ok(Recovered { overlay: replay.overlay, view, uncertain: replay.uncertain })
}

/// The same for a volume of which parts are lost: whatever keeps the log from being applied only makes the view stale. Of a log that
/// somebody zeroed nobody knows what it held.
pub(super) fn replay_what_is_left(source: &Arc<dyn ReadAt>, superblock: &Superblock) -> Recovered {
    let recovered = replay(source, superblock).unwrap_or_else(|error| stale(format!("the log cannot be read: {error}")));
    match followable(superblock).map(|(place, _)| log::is_blank(source, place)) {
        Ok(true) => stale("the log is nothing but zeros: what it held is lost"),
        _ => recovered,
    }
}

/// The volume as it lies, because of what replay made of it.
pub(super) fn not_replayed(error: &FilesystemError) -> Recovered {
    stale(format!("the log cannot be applied: {error}"))
}

/// Where a log lies that can be followed, or why none can.
fn followable(superblock: &Superblock) -> Result<(&LogPlace, LogFacts), String> {
    let place = superblock.log.as_ref().ok_or("the log is on another device")?;
    match superblock.features.unknown_log {
        0 => Ok((place, superblock.log_facts())),
        unknown => Err(format!("the log uses unknown features {unknown:#x}")),
    }
}

fn stale(reason: impl Into<String>) -> Recovered {
    let view = View::Stale { reason: reason.into() };
    Recovered { overlay: Overlay::new(UNIT_BYTES), view, uncertain: BTreeSet::new() }
}
