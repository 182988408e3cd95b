//! A volume as it would be after its journal was replayed: the source, with some units replaced in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::extent::Extent;
use crate::base::io::{IoError, ReadAt};

/// What stands in place of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Patch {
    /// The unit's new content lies unchanged from this byte of the source on.
    Elsewhere(u64),
    /// The unit's new content.
    Bytes(Arc<[u8]>),
}

/// Replaced units of a volume, by number.
#[derive(Debug, Clone)]
pub struct Overlay {
    unit_bytes: u32,
    patches: BTreeMap<u64, Patch>,
}

impl Overlay {
    /// Nothing replaced yet. A unit is a block or a sector; its length must not be zero.
    #[must_use]
    pub fn new(unit_bytes: u32) -> Self {
        Self { unit_bytes: unit_bytes.max(1), patches: BTreeMap::new() }
    }

    /// Bytes in a unit.
    #[must_use]
    pub fn unit_bytes(&self) -> u32 {
        self.unit_bytes
    }

    /// Replaces a unit; a later patch wins over an earlier one.
    pub fn replace(&mut self, unit: u64, patch: Patch) {
        self.patches.insert(unit, patch);
    }

    /// What stands in place of a unit.
    #[must_use]
    pub fn patch(&self, unit: u64) -> Option<&Patch> {
        self.patches.get(&unit)
    }

    /// How many units are replaced.
    #[must_use]
    pub fn count(&self) -> usize {
        self.patches.len()
    }

    /// The replaced units, ascending.
    pub fn units(&self) -> impl Iterator<Item = u64> + '_ {
        self.patches.keys().copied()
    }
}

/// A source seen through an overlay.
#[derive(Debug)]
pub struct Overlaid {
    source: Arc<dyn ReadAt>,
    overlay: Overlay,
}

impl Overlaid {
    /// Puts `overlay` in front of `source`.
    #[must_use]
    pub fn new(source: Arc<dyn ReadAt>, overlay: Overlay) -> Self {
        Self { source, overlay }
    }

    /// What is replaced.
    #[must_use]
    pub fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    /// The volume as it lies on disk.
    #[must_use]
    pub fn source(&self) -> &Arc<dyn ReadAt> {
        &self.source
    }

    fn apply(&self, patch: &Patch, skip: u64, out: &mut [u8]) -> Result<(), IoError> {
        match patch {
            Patch::Elsewhere(at) => self.source.read_at(at.saturating_add(skip), out),
            Patch::Bytes(bytes) => {
                let skip = usize::try_from(skip).unwrap_or(usize::MAX);
                let have = bytes.get(skip..).unwrap_or_default();
                let length = have.len().min(out.len());
                out[..length].copy_from_slice(&have[..length]);
                Ok(())
            }
        }
    }
}

impl ReadAt for Overlaid {
    fn size(&self) -> u64 {
        self.source.size()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        let whole = Extent::new(offset, out.len() as u64);
        let unit_bytes = u64::from(self.overlay.unit_bytes);
        let (first, after) = (offset / unit_bytes, whole.end().div_ceil(unit_bytes));
        let mut patches = self.overlay.patches.range(first..after.max(first)).peekable();
        if patches.peek().is_none_or(|(unit, patch)| !covers(**unit, patch, unit_bytes, whole)) {
            self.source.read_at(offset, out)?;
        }
        for (unit, patch) in patches {
            let place = Extent::new(unit.saturating_mul(unit_bytes), unit_bytes).intersect(&whole);
            let start = usize::try_from(place.offset - offset).unwrap_or(usize::MAX);
            let length = usize::try_from(place.length).unwrap_or(usize::MAX);
            self.apply(patch, place.offset % unit_bytes, &mut out[start..start + length])?;
        }
        Ok(())
    }
}

/// True when one patch alone answers the whole read, so that the source need not be asked.
fn covers(unit: u64, patch: &Patch, unit_bytes: u64, whole: Extent) -> bool {
    let place = Extent::new(unit.saturating_mul(unit_bytes), unit_bytes);
    let full = match patch {
        Patch::Elsewhere(_) => true,
        Patch::Bytes(bytes) => bytes.len() as u64 >= unit_bytes,
    };
    full && place.intersect(&whole) == whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Letters;

    impl ReadAt for Letters {
        fn size(&self) -> u64 {
            26
        }
        fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
            for (at, byte) in (offset..).zip(out) {
                *byte = b'a' + u8::try_from(at).unwrap_or(0);
            }
            Ok(())
        }
    }

    fn read(overlaid: &Overlaid, offset: u64, length: usize) -> String {
        let mut out = vec![0; length];
        overlaid.read_at(offset, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn reads_see_replaced_units_wherever_they_begin_and_end() {
        let mut overlay = Overlay::new(4);
        overlay.replace(1, Patch::Bytes(Arc::from(*b"WXYZ")));
        overlay.replace(3, Patch::Elsewhere(20));
        let overlaid = Overlaid::new(Arc::new(Letters), overlay);
        assert_eq!(read(&overlaid, 0, 20), "abcdWXYZijkluvwxqrst");
        assert_eq!(read(&overlaid, 5, 2), "XY");
        assert_eq!(read(&overlaid, 2, 4), "cdWX");
        assert_eq!(read(&overlaid, 13, 5), "vwxqr");
        assert_eq!(read(&overlaid, 8, 0), "");
    }
}
