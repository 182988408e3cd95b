//! One look at long stretches, in large reads, around what cannot be read.

use std::ops::ControlFlow;

use crate::base::extent::Extent;
use crate::base::io::{IoError, ReadAt};

/// Bytes of a stretch that are in memory at once.
pub(super) const PIECE_BYTES: u64 = 1 << 20;
/// What is given up around a byte that cannot be read.
const LEAST_BYTES: u64 = 4 << 10;

/// Is shown a piece, or why it cannot be read.
pub(super) type OnPiece<'a> = &'a mut dyn FnMut(Extent, Result<&[u8], IoError>) -> ControlFlow<()>;
/// Receives a piece: where it lies, its bytes and those behind it, and what of both cannot be read.
pub(super) type OnOverlapping<'a> = &'a mut dyn FnMut(Extent, &[u8], &[Extent]) -> ControlFlow<()>;

/// Shows `within` piece by piece, ascending: a piece begins at `within` or at a multiple of [`PIECE_BYTES`], unless something before
/// it could not be read; what cannot be read is shown as an error. Fails only when somebody wants the work to end.
pub(super) fn pieces(source: &dyn ReadAt, within: Extent, visit: OnPiece<'_>) -> Result<ControlFlow<()>, IoError> {
    let mut buffer = vec![0; usize::try_from(PIECE_BYTES.min(within.length)).unwrap_or(0)];
    for piece in within.cut(PIECE_BYTES) {
        let out = buffer.get_mut(..usize::try_from(piece.length).unwrap_or(usize::MAX)).unwrap_or_default();
        if parts(source, piece, out, visit)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Shows what of `within` the source has in order, in pieces that are cut at multiples of [`PIECE_BYTES`], with up to `more_bytes` of what
/// lies behind each. What cannot be read is zeros, and listed. Fails only when somebody wants the work to end.
pub(super) fn overlapping(
    source: &dyn ReadAt,
    within: Extent,
    more_bytes: u64,
    visit: OnOverlapping<'_>,
) -> Result<ControlFlow<()>, IoError> {
    let there = Extent::new(0, source.size());
    let mut bytes = Vec::new();
    for piece in within.intersect(&there).cut(PIECE_BYTES) {
        let whole = Extent::new(piece.offset, piece.length.saturating_add(more_bytes)).intersect(&there);
        bytes.resize(usize::try_from(whole.length).unwrap_or(0), 0);
        let unreadable = fill(source, whole, &mut bytes)?;
        if visit(piece, &bytes, &unreadable).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Fills `out` from `extent`; what cannot be read is filled with zeros, and handed back. Fails only when somebody wants the work to end.
pub(super) fn fill(source: &dyn ReadAt, extent: Extent, out: &mut [u8]) -> Result<Vec<Extent>, IoError> {
    let mut unreadable = Vec::new();
    let _never_breaks = parts(source, extent, out, &mut |part, read| {
        unreadable.extend(read.is_err().then_some(part));
        ControlFlow::Continue(())
    })?;
    Ok(unreadable)
}

/// Reads a piece at once, or else in short parts, each into its own place of `out`.
fn parts(source: &dyn ReadAt, piece: Extent, out: &mut [u8], visit: OnPiece<'_>) -> Result<ControlFlow<()>, IoError> {
    match source.read_at(piece.offset, out) {
        Ok(()) => return Ok(visit(piece, Ok(out))),
        Err(IoError::Cancelled) => return Err(IoError::Cancelled),
        Err(error) if piece.length <= LEAST_BYTES => {
            out.fill(0);
            return Ok(visit(piece, Err(error)));
        }
        Err(_) => {}
    }
    let mut left = out;
    for part in piece.cut(LEAST_BYTES) {
        let (bytes, rest) = left.split_at_mut(usize::try_from(part.length).unwrap_or(0).min(left.len()));
        if parts(source, part, bytes, visit)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        left = rest;
    }
    Ok(ControlFlow::Continue(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that say where they are, and a few that cannot be read.
    #[derive(Debug)]
    struct Worn {
        size: u64,
        worn: Extent,
        is_cancelled: bool,
    }

    impl ReadAt for Worn {
        fn size(&self) -> u64 {
            self.size
        }

        fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
            let extent = Extent::new(offset, out.len() as u64);
            if extent.end() > self.size || !extent.intersect(&self.worn).is_empty() {
                let reason = "worn".to_owned();
                return Err(if self.is_cancelled { IoError::Cancelled } else { IoError::Missing { extent, reason } });
            }
            out.iter_mut().zip(offset..).for_each(|(byte, at)| *byte = (at % 251 + 1) as u8);
            Ok(())
        }
    }

    fn worn(is_cancelled: bool) -> Worn {
        Worn { size: (3 << 20) + 5, worn: Extent::new((1 << 20) + 7, 2), is_cancelled }
    }

    const WITHIN: Extent = Extent { offset: 100, length: 1 << 40 };

    #[test]
    fn every_byte_is_shown_but_those_that_cannot_be_read() {
        let worn = worn(false);
        let (mut shown, mut gaps) = (100, Vec::new());
        let ended = overlapping(&worn, WITHIN, 64, &mut |piece, bytes, unreadable| {
            assert_eq!(piece.offset, shown);
            for (byte, at) in bytes.iter().zip(piece.offset..) {
                let gap = unreadable.iter().any(|gap| gap.offset <= at && at < gap.end());
                assert_eq!(u64::from(*byte), if gap { 0 } else { at % 251 + 1 }, "{at}");
            }
            gaps.extend_from_slice(unreadable);
            shown = piece.end();
            ControlFlow::Continue(())
        });
        assert!(ended.unwrap().is_continue());
        assert_eq!(shown, worn.size);
        // Once behind the first piece, and once in its own.
        assert_eq!(gaps, [Extent::new(1 << 20, 64), Extent::new(1 << 20, LEAST_BYTES)]);
    }

    #[test]
    fn pieces_follow_each_other_and_what_cannot_be_read_is_one_of_them() {
        let (mut shown, mut lost) = (100, Vec::new());
        let worn = worn(false);
        let ended = pieces(&worn, WITHIN.intersect(&Extent::new(0, worn.size)), &mut |piece, bytes| {
            assert_eq!(piece.offset, shown);
            shown = piece.end();
            match bytes {
                Ok(bytes) => assert_eq!((bytes.len() as u64, u64::from(bytes[0])), (piece.length, piece.offset % 251 + 1)),
                Err(_) => lost.push(piece),
            }
            ControlFlow::Continue(())
        });
        assert!(ended.unwrap().is_continue());
        assert_eq!((shown, lost), (worn.size, vec![Extent::new(1 << 20, LEAST_BYTES)]));
    }

    #[test]
    fn whoever_wants_to_stop_is_not_taken_for_damage() {
        let worn = worn(true);
        assert!(matches!(overlapping(&worn, WITHIN, 0, &mut |_, _, _| ControlFlow::Continue(())), Err(IoError::Cancelled)));
        let within = Extent::new(0, worn.size);
        assert!(matches!(pieces(&worn, within, &mut |_, _| ControlFlow::Continue(())), Err(IoError::Cancelled)));
        assert!(matches!(fill(&worn, Extent::new(1 << 20, 64), &mut [0; 64]), Err(IoError::Cancelled)));
        let mut seen = 0;
        let ended = overlapping(&worn, WITHIN, 0, &mut |_, _, _| {
            seen += 1;
            ControlFlow::Break(())
        });
        assert!(ended.unwrap().is_break() && seen == 1, "what lies behind is not read");
    }
}
