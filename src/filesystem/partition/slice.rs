//! A part of a source, as a source of its own.

use std::sync::Arc;

use crate::base::extent::Extent;
use crate::base::io::{IoError, ReadAt};

/// The bytes of `extent`.
#[derive(Debug)]
pub(super) struct Slice {
    source: Arc<dyn ReadAt>,
    extent: Extent,
}

impl Slice {
    pub(super) fn new(source: Arc<dyn ReadAt>, extent: Extent) -> Self {
        Self { source, extent }
    }
}

impl ReadAt for Slice {
    fn size(&self) -> u64 {
        self.extent.length
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        let asked = Extent::new(offset, out.len() as u64);
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > self.extent.length) {
            return Err(IoError::OutOfRange { extent: asked, size: self.extent.length });
        }
        self.source.read_at(self.extent.offset.saturating_add(offset), out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::volume::MemoryVolume;

    #[test]
    fn a_slice_begins_and_ends_where_it_should() {
        let slice = Slice::new(Arc::new(MemoryVolume::new((0..100).collect())), Extent::new(10, 20));
        let mut out = [0; 5];
        slice.read_at(15, &mut out).unwrap();
        assert_eq!(out, [25, 26, 27, 28, 29]);
        assert!(slice.read_at(16, &mut out).is_err());
        assert!(slice.read_at(u64::MAX, &mut out).is_err());
        assert_eq!(slice.size(), 20);
    }
}
