//! Volumes in memory: read in bulk, written, and broken in chosen places.

use std::mem;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::{BulkRead, IoError, ReadAt, Window, WriteAt, Zeroed};

/// Bytes behind a lock, shared by its clones.
#[derive(Debug, Clone, Default)]
pub struct MemoryVolume {
    bytes: Arc<Mutex<Vec<u8>>>,
    unreadable: Arc<Mutex<ExtentSet>>,
    reads: Arc<Mutex<ExtentSet>>,
}

impl MemoryVolume {
    /// A volume that holds `bytes`.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes: Arc::new(Mutex::new(bytes)), ..Self::default() }
    }

    /// What it holds.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.lock().clone()
    }

    /// Changes what it holds.
    pub fn change(&self, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.lock());
    }

    /// Makes ranges fail when read.
    pub fn break_at(&self, extents: ExtentSet) {
        *self.unreadable.lock().unwrap_or_else(PoisonError::into_inner) = extents;
    }

    /// Everything that was read in bulk since the last call.
    #[must_use]
    pub fn take_reads(&self) -> ExtentSet {
        mem::take(&mut *self.reads.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A bulk reader with windows of this length.
    #[must_use]
    pub fn reader(&self, window_bytes: u64) -> Box<dyn BulkRead> {
        Box::new(MemoryReader { volume: self.clone(), window_bytes })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, extent: Extent) -> Result<Range<usize>, IoError> {
        let size = self.lock().len() as u64;
        if extent.end() > size {
            return Err(IoError::OutOfRange { extent, size });
        }
        Ok(extent.offset as usize..extent.end() as usize)
    }
}

impl ReadAt for MemoryVolume {
    fn size(&self) -> u64 {
        self.lock().len() as u64
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        let range = self.check(Extent::new(offset, out.len() as u64))?;
        out.copy_from_slice(&self.lock()[range]);
        Ok(())
    }
}

impl WriteAt for MemoryVolume {
    fn size(&self) -> u64 {
        self.lock().len() as u64
    }
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), IoError> {
        let range = self.check(Extent::new(offset, data.len() as u64))?;
        self.lock()[range].copy_from_slice(data);
        Ok(())
    }
    fn zero(&self, extent: Extent) -> Result<Zeroed, IoError> {
        let range = self.check(extent)?;
        self.lock()[range].fill(0);
        Ok(Zeroed::Written)
    }
    fn sync(&self) -> Result<(), IoError> {
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryReader {
    volume: MemoryVolume,
    window_bytes: u64,
}

impl BulkRead for MemoryReader {
    fn size(&self) -> u64 {
        ReadAt::size(&self.volume)
    }

    fn window_bytes(&self) -> u64 {
        self.window_bytes
    }

    /// Delivers every pair of windows in the wrong order, since real engines do not keep it either.
    fn read(
        &mut self,
        plan: &mut dyn Iterator<Item = Extent>,
        deliver: &mut dyn FnMut(Window) -> ControlFlow<()>,
    ) -> Result<(), IoError> {
        while let Some(first) = plan.next() {
            let second = plan.next();
            for extent in second.into_iter().chain([first]) {
                let range = self.volume.check(extent)?;
                let mut bytes = self.volume.lock()[range].to_vec();
                self.volume.reads.lock().unwrap_or_else(PoisonError::into_inner).insert(extent);
                let broken = self.volume.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
                let unreadable = broken.intersection(&extent.into());
                drop(broken);
                for gap in &unreadable {
                    bytes[(gap.offset - extent.offset) as usize..(gap.end() - extent.offset) as usize].fill(0);
                }
                let unreadable = unreadable.as_slice().to_vec();
                let window = Window { extent, memory: Box::new(bytes), unreadable };
                if deliver(window).is_break() {
                    return Err(IoError::Cancelled);
                }
            }
        }
        Ok(())
    }
}
