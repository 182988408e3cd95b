//! One look at the whole source, in large reads: a piece after the other, around what cannot be read.

use std::ops::ControlFlow;

use super::super::superblock::{BYTES, MAGIC, Superblock};
use super::copies::{are_of_one_volume, is_in_its_place};
use crate::base::extent::Extent;
use crate::base::io::{IoError, ReadAt};
use crate::filesystem::error::{FilesystemError, Object};

/// How much is read at once.
pub(super) const PIECE_BYTES: u64 = 1 << 20;
/// How much is given up where a read fails.
const LEAST_BYTES: u64 = 4 << 10;
/// Superblocks begin at multiples of this.
const STEP: usize = 1024;
/// Superblocks that stand where they do not belong: those that a journal holds, and those of images in files.
const MOST_ELSEWHERE: usize = 16;

/// Is shown a piece, or why it cannot be read.
pub(super) type OnPiece<'a> = &'a mut dyn FnMut(Extent, Result<&[u8], IoError>) -> ControlFlow<()>;

/// Shows `within` piece by piece, ascending: a piece begins at `within` or at a multiple of [`PIECE_BYTES`], unless something before
/// it could not be read; what cannot be read is shown as an error.
pub(super) fn pieces(source: &dyn ReadAt, within: Extent, visit: OnPiece<'_>) -> Result<ControlFlow<()>, IoError> {
    let mut buffer = vec![0; usize::try_from(PIECE_BYTES.min(within.length)).unwrap_or(0)];
    for piece in within.cut(PIECE_BYTES) {
        if read(source, piece, &mut buffer, visit)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Reads a piece at once, or else in short parts.
fn read(source: &dyn ReadAt, piece: Extent, buffer: &mut [u8], visit: OnPiece<'_>) -> Result<ControlFlow<()>, IoError> {
    let out = buffer.get_mut(..usize::try_from(piece.length).unwrap_or(usize::MAX)).unwrap_or_default();
    match source.read_at(piece.offset, out) {
        Ok(()) => return Ok(visit(piece, Ok(out))),
        Err(IoError::Cancelled) => return Err(IoError::Cancelled),
        Err(error) if piece.length <= LEAST_BYTES => return Ok(visit(piece, Err(error))),
        Err(_) => {}
    }
    for part in piece.cut(LEAST_BYTES) {
        if read(source, part, buffer, visit)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

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
