//! One look at the whole source for superblocks, wherever they stand.

use std::ops::ControlFlow;

use super::super::superblock::{BYTES, MAGIC, Superblock};
use super::copies::{are_of_one_volume, is_in_its_place};
use crate::base::extent::Extent;
use crate::base::io::ReadAt;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::sweep::pieces;

/// Superblocks begin at multiples of this.
const STEP: usize = 1024;
/// Superblocks that stand where they do not belong: those that a journal holds, and those of images in files.
const MOST_ELSEWHERE: usize = 16;

/// Superblocks that were seen, each with its place.
#[derive(Debug, Default)]
pub(super) struct Sighting {
    /// The first one that stands where it says.
    pub(super) in_place: Option<(Superblock, u64)>,
    /// Others; of one volume only the first.
    pub(super) elsewhere: Vec<(Superblock, u64)>,
}

/// Looks for superblocks anywhere. Ends at the first that stands in its place.
pub(super) fn look_out(source: &dyn ReadAt) -> Result<Sighting, FilesystemError> {
    let mut sighting = Sighting::default();
    let looked = pieces(source, Extent::new(0, source.size()), &mut |piece, bytes| match bytes {
        Ok(bytes) => sighting.search(piece.offset, bytes),
        Err(_) => ControlFlow::Continue(()),
    });
    let _ended_early = looked.map_err(|source| FilesystemError::Io { object: Object::Superblock, source })?;
    Ok(sighting)
}

impl Sighting {
    fn search(&mut self, start: u64, bytes: &[u8]) -> ControlFlow<()> {
        for (at, bytes) in (start..).step_by(STEP).zip(bytes.chunks_exact(BYTES)) {
            if bytes.get(56..58) != Some(&MAGIC.to_le_bytes()) {
                continue;
            }
            let Ok(superblock) = Superblock::parse(bytes, at) else { continue };
            if is_in_its_place(&superblock, at) {
                self.in_place = Some((superblock, at));
                return ControlFlow::Break(());
            }
            if self.elsewhere.len() < MOST_ELSEWHERE
                && !self.elsewhere.iter().any(|(known, _)| are_of_one_volume(known, &superblock))
            {
                self.elsewhere.push((superblock, at));
            }
        }
        ControlFlow::Continue(())
    }
}
