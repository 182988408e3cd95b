//! What the log does to the view: clean, replayed, or not to be trusted.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::log;
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
    let Some(place) = &superblock.log else { return Ok(stale("the log is on another device")) };
    let unknown = superblock.features.unknown_log;
    if unknown != 0 {
        return Ok(stale(format!("the log uses unknown features {unknown:#x}")));
    }
    let replay = log::replay(source, place, &superblock.log_facts())?;
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

fn stale(reason: impl Into<String>) -> Recovered {
    let view = View::Stale { reason: reason.into() };
    Recovered { overlay: Overlay::new(UNIT_BYTES), view, uncertain: BTreeSet::new() }
}
