//! A volume that is read one window at a time: the next is delivered once the last one's memory has come back.
//!
//! A backup over it does one thing after the other, whatever threads it has, and so makes the same store calls in the same order
//! each time.

use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::base::extent::Extent;
use crate::base::io::{BulkRead, IoError, Window, WindowMemory};

/// Reads bytes in lockstep with whoever uses them.
#[derive(Debug)]
pub struct LockstepReader {
    bytes: Arc<Vec<u8>>,
    window_bytes: u64,
    returned: Arc<Returned>,
}

#[derive(Debug, Default)]
struct Returned {
    is_out: Mutex<bool>,
    changed: Condvar,
}

#[derive(Debug)]
struct Lent {
    bytes: Vec<u8>,
    returned: Arc<Returned>,
}

impl LockstepReader {
    /// A reader of `bytes` with windows of this length.
    #[must_use]
    pub fn new(bytes: Arc<Vec<u8>>, window_bytes: u64) -> Self {
        Self { bytes, window_bytes, returned: Arc::default() }
    }

    fn lend(&self, extent: Extent) -> Result<Lent, IoError> {
        let size = self.bytes.len() as u64;
        let range = usize::try_from(extent.offset).ok().zip(usize::try_from(extent.end()).ok());
        let slice = range.and_then(|(start, end)| self.bytes.get(start..end)).ok_or(IoError::OutOfRange { extent, size })?;
        *self.returned.is_out.lock().unwrap_or_else(PoisonError::into_inner) = true;
        Ok(Lent { bytes: slice.to_vec(), returned: Arc::clone(&self.returned) })
    }

    fn wait(&self) {
        let mut is_out = self.returned.is_out.lock().unwrap_or_else(PoisonError::into_inner);
        while *is_out {
            is_out = self.returned.changed.wait(is_out).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl WindowMemory for Lent {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.returned.is_out.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.returned.changed.notify_all();
    }
}

impl BulkRead for LockstepReader {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
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
            let window = Window { extent, memory: Box::new(self.lend(extent)?), unreadable: Vec::new() };
            if deliver(window).is_break() {
                return Err(IoError::Cancelled);
            }
            self.wait();
        }
        Ok(())
    }
}
