//! A volume with bytes laid over it, that counts what is read of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::extent::Extent;
use crate::base::io::{IoError, ReadAt};

/// The base is shared; the bytes over it are its own.
pub struct Patched {
    base: Arc<[u8]>,
    /// The later over the earlier.
    patches: Vec<(u64, Vec<u8>)>,
    read_bytes: AtomicU64,
}

impl Patched {
    /// The base as it is.
    #[must_use]
    pub fn new(base: Arc<[u8]>) -> Self {
        Self { base, patches: Vec::new(), read_bytes: AtomicU64::new(0) }
    }

    /// Lays bytes over what is there from `offset` on. What reaches past the end is lost.
    pub fn lay(&mut self, offset: u64, bytes: Vec<u8>) {
        self.patches.push((offset, bytes));
    }

    /// How many bytes were read so far.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Patched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patched").field("size", &self.size()).field("patches", &self.patches.len()).finish_non_exhaustive()
    }
}

impl ReadAt for Patched {
    fn size(&self) -> u64 {
        self.base.len() as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        let outside = IoError::OutOfRange { extent: Extent::new(offset, out.len() as u64), size: self.size() };
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let Some(bytes) = start.checked_add(out.len()).and_then(|end| self.base.get(start..end)) else { return Err(outside) };
        self.read_bytes.fetch_add(out.len() as u64, Ordering::Relaxed);
        out.copy_from_slice(bytes);
        let asked = Extent::new(offset, out.len() as u64);
        for (at, bytes) in &self.patches {
            let both = asked.intersect(&Extent::new(*at, bytes.len() as u64));
            if both.is_empty() {
                continue;
            }
            let (to, from, length) = (both.offset - offset, both.offset - at, both.length as usize);
            out[to as usize..][..length].copy_from_slice(&bytes[from as usize..][..length]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_bytes_lie_over_earlier_ones_and_every_byte_read_is_counted() {
        let mut volume = Patched::new((0..20).collect());
        volume.lay(4, vec![100; 6]);
        volume.lay(8, vec![200; 40]);
        let read = |offset, length| {
            let mut out = vec![0; length];
            volume.read_at(offset, &mut out).map(|()| out).ok()
        };
        assert_eq!(read(2, 8), Some(vec![2, 3, 100, 100, 100, 100, 200, 200]));
        assert_eq!(read(0, 3), Some(vec![0, 1, 2]));
        assert_eq!(read(18, 2), Some(vec![200, 200]));
        assert_eq!((read(18, 3), read(u64::MAX, 1)), (None, None));
        assert_eq!(volume.read_bytes(), 13);
    }
}
