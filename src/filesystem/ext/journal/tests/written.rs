//! Replays what the journal writer wrote and compares block by block.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::logbook::{BLOCK, Logbook};
use crate::base::io::ReadAt;
use crate::filesystem::error::FilesystemError;
use crate::filesystem::ext::journal::{Replay, replay};
use crate::filesystem::overlay::Overlaid;
use crate::testkit::volume::MemoryVolume;

pub(super) fn source(logbook: &Logbook) -> Arc<dyn ReadAt> {
    Arc::new(MemoryVolume::new(logbook.image.clone()))
}

pub(super) fn replayed(logbook: &Logbook) -> Result<Replay, FilesystemError> {
    replay(&source(logbook), &logbook.place())
}

/// The replaced blocks as they read through the overlay.
pub(super) fn blocks(logbook: &Logbook, replay: &Replay) -> BTreeMap<u64, Vec<u8>> {
    let overlaid = Overlaid::new(source(logbook), replay.overlay.clone());
    let read = |block: u64| {
        let mut out = vec![0; BLOCK];
        overlaid.read_at(block * BLOCK as u64, &mut out).unwrap();
        (block, out)
    };
    replay.overlay.units().map(read).collect()
}
