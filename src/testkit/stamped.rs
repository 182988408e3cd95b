//! Volumes of any size that take no memory: every chunk repeats a stamp of its own number, so misplaced data betrays itself.

use std::collections::BTreeMap;
use std::mem;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::{BulkRead, IoError, Window, WindowMemory};

/// Stamps stand at multiples of this; chunks are never smaller.
const STAMPED_BYTES: u64 = 4096;

/// A volume made up as it is read. Clones are the same volume.
#[derive(Debug, Clone)]
pub struct StampedVolume {
    size: u64,
    /// How often each block was rewritten, if ever.
    versions: Arc<Mutex<BTreeMap<u64, u64>>>,
    read_bytes: Arc<AtomicU64>,
    pool: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl StampedVolume {
    /// A volume of `size` bytes.
    #[must_use]
    pub fn new(size: u64) -> Self {
        Self { size, versions: Arc::default(), read_bytes: Arc::default(), pool: Arc::default() }
    }

    /// Rewrites the 4 KiB block `block`, and says which bytes that changed.
    pub fn rewrite(&self, block: u64) -> ExtentSet {
        *self.versions.lock().unwrap_or_else(PoisonError::into_inner).entry(block).or_default() += 1;
        Extent::new(block * STAMPED_BYTES, STAMPED_BYTES).into()
    }

    /// Bytes read since the last call.
    #[must_use]
    pub fn take_read_bytes(&self) -> u64 {
        self.read_bytes.swap(0, Ordering::SeqCst)
    }

    /// A bulk reader with windows of this length.
    #[must_use]
    pub fn reader(&self, window_bytes: u64) -> Box<dyn BulkRead> {
        Box::new(StampedReader { volume: self.clone(), window_bytes })
    }

    /// What the volume holds in `extent`, which begins at a block.
    pub fn fill(&self, extent: Extent, out: &mut Vec<u8>) {
        out.resize(usize::try_from(extent.length).unwrap_or_default(), 0);
        let first = extent.offset / STAMPED_BYTES;
        let versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        for (block, bytes) in (first..).zip(out.chunks_mut(STAMPED_BYTES as usize)) {
            // Never zero, and different for every block and version.
            let version = versions.get(&block).copied().unwrap_or_default();
            let stamp = (block + 1) ^ (version << 40) ^ 0x5a00_0000_0000_0000;
            let length = bytes.len();
            bytes[..8].copy_from_slice(&stamp.to_le_bytes());
            let mut filled = 8;
            while filled < length {
                let more = filled.min(length - filled);
                bytes.copy_within(..more, filled);
                filled += more;
            }
        }
    }
}

#[derive(Debug)]
struct StampedReader {
    volume: StampedVolume,
    window_bytes: u64,
}

#[derive(Debug)]
struct Lent {
    bytes: Vec<u8>,
    pool: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl WindowMemory for Lent {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).push(mem::take(&mut self.bytes));
    }
}

impl BulkRead for StampedReader {
    fn size(&self) -> u64 {
        self.volume.size
    }

    fn window_bytes(&self) -> u64 {
        self.window_bytes
    }

    fn read(
        &mut self,
        plan: &mut dyn Iterator<Item = Extent>,
        deliver: &mut dyn FnMut(Window) -> ControlFlow<()>,
    ) -> Result<(), IoError> {
        for extent in plan {
            let pool = &self.volume.pool;
            let mut bytes = pool.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
            self.volume.fill(extent, &mut bytes);
            self.volume.read_bytes.fetch_add(extent.length, Ordering::SeqCst);
            let memory = Box::new(Lent { bytes, pool: Arc::clone(pool) });
            if deliver(Window { extent, memory, unreadable: Vec::new() }).is_break() {
                return Err(IoError::Cancelled);
            }
        }
        Ok(())
    }
}
