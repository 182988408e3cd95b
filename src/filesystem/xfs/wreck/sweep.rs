//! Reads over long stretches in large pieces, around what cannot be read.

use std::ops::ControlFlow;

use crate::base::extent::Extent;
use crate::base::io::ReadAt;

/// Bytes of a stretch that are in memory at once.
const PIECE_BYTES: u64 = 1 << 20;
/// What is given up around a byte that cannot be read.
const UNIT_BYTES: u64 = 4 << 10;

/// Receives a piece: where it lies, its bytes and those behind it, and what of both cannot be read.
type Visit<'a> = dyn FnMut(Extent, &[u8], &[Extent]) -> ControlFlow<()> + 'a;

/// Shows `within` in order, in pieces that are cut at multiples of [`PIECE_BYTES`], with up to `more_bytes` of what lies behind each. What
/// cannot be read is zeros, and listed.
pub(super) fn sweep(source: &dyn ReadAt, within: Extent, more_bytes: u64, visit: &mut Visit<'_>) -> ControlFlow<()> {
    let within = within.intersect(&Extent::new(0, source.size()));
    let mut bytes = Vec::new();
    for piece in within.cut(PIECE_BYTES) {
        let whole = Extent::new(piece.offset, piece.length.saturating_add(more_bytes)).intersect(&Extent::new(0, source.size()));
        bytes.resize(usize::try_from(whole.length).unwrap_or(0), 0);
        let unreadable = read(source, whole, &mut bytes);
        visit(piece, &bytes, &unreadable)?;
    }
    ControlFlow::Continue(())
}

/// Fills `out` from `extent`; what cannot be read is filled with zeros, and handed back.
pub(super) fn read(source: &dyn ReadAt, extent: Extent, out: &mut [u8]) -> Vec<Extent> {
    if source.read_at(extent.offset, out).is_ok() {
        return Vec::new();
    }
    let mut unreadable = Vec::new();
    let mut left = out;
    for unit in extent.cut(UNIT_BYTES) {
        let (bytes, rest) = left.split_at_mut(usize::try_from(unit.length).unwrap_or(0).min(left.len()));
        if source.read_at(unit.offset, bytes).is_err() {
            bytes.fill(0);
            unreadable.push(unit);
        }
        left = rest;
    }
    unreadable
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::io::IoError;

    /// Bytes that say where they are, and a few that cannot be read.
    #[derive(Debug)]
    struct Worn {
        size: u64,
        worn: Extent,
    }

    impl ReadAt for Worn {
        fn size(&self) -> u64 {
            self.size
        }

        fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
            let extent = Extent::new(offset, out.len() as u64);
            if extent.end() > self.size || !extent.intersect(&self.worn).is_empty() {
                return Err(IoError::Missing { extent, reason: "worn".to_owned() });
            }
            out.iter_mut().zip(offset..).for_each(|(byte, at)| *byte = (at % 251 + 1) as u8);
            Ok(())
        }
    }

    #[test]
    fn every_byte_is_shown_but_those_that_cannot_be_read() {
        let worn = Worn { size: (3 << 20) + 5, worn: Extent::new((1 << 20) + 7, 2) };
        let within = Extent::new(100, 1 << 40);
        let (mut shown, mut gaps) = (100, Vec::new());
        let ended = sweep(&worn, within, 64, &mut |piece, bytes, unreadable| {
            assert_eq!(piece.offset, shown);
            for (byte, at) in bytes.iter().zip(piece.offset..) {
                let gap = unreadable.iter().any(|gap| gap.offset <= at && at < gap.end());
                assert_eq!(u64::from(*byte), if gap { 0 } else { at % 251 + 1 }, "{at}");
            }
            gaps.extend_from_slice(unreadable);
            shown = piece.end();
            ControlFlow::Continue(())
        });
        assert!(ended.is_continue());
        assert_eq!(shown, worn.size);
        // Once behind the first piece, and once in its own.
        assert_eq!(gaps, [Extent::new(1 << 20, 64), Extent::new(1 << 20, UNIT_BYTES)]);
    }
}
