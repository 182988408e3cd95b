//! The I/O seams: positioned reads and writes, and bulk reads with many requests in flight.

use super::extent::Extent;
use std::fmt;
use std::io;
use std::ops::ControlFlow;
use thiserror::Error;

/// A positioned read or write that failed.
#[derive(Debug, Error)]
pub enum IoError {
    /// The operating system refused.
    #[error("{act} {extent} failed")]
    Os {
        /// What was being done: "read", "write", "zero", "sync".
        act: &'static str,
        /// Where.
        extent: Extent,
        /// What the system said.
        source: io::Error,
    },
    /// The range lies beyond the end.
    #[error("{extent} reaches past the end at byte {size}")]
    OutOfRange {
        /// The range asked for.
        extent: Extent,
        /// Size of the thing in bytes.
        size: u64,
    },
    /// The bytes are known to be lost: unreadable at the source, or damaged in the repository.
    #[error("{extent} is missing: {reason}")]
    Missing {
        /// The lost range.
        extent: Extent,
        /// Why.
        reason: String,
    },
    /// The caller asked to stop.
    #[error("stopped on request")]
    Cancelled,
}

/// Bytes that can be read at any place: a device, an image, a recovery point.
pub trait ReadAt: Send + Sync + fmt::Debug {
    /// Size in bytes.
    fn size(&self) -> u64;
    /// Fills `out` from `offset`; all of it, or an error.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError>;
}

/// How a range came to read back as zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zeroed {
    /// The storage made a hole or discarded it, and that provably reads back as zeros.
    Deallocated,
    /// Zeros were written.
    Written,
}

/// Bytes that can be written at any place.
pub trait WriteAt: Send + Sync + fmt::Debug {
    /// Size in bytes.
    fn size(&self) -> u64;
    /// Writes all of `data` at `offset`.
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), IoError>;
    /// Makes `extent` read back as zeros, by the cheapest way that is sure to.
    fn zero(&self, extent: Extent) -> Result<Zeroed, IoError>;
    /// Returns when everything written is on stable storage.
    fn sync(&self) -> Result<(), IoError>;
}

/// Memory of a [`Window`]; it goes back to its pool when dropped.
pub trait WindowMemory: Send + fmt::Debug {
    /// The bytes read.
    fn bytes(&self) -> &[u8];
}

/// Bytes of their own, which no pool waits for.
impl WindowMemory for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// One finished piece of a bulk read.
#[derive(Debug)]
pub struct Window {
    /// Which bytes of the volume these are. Never longer than [`BulkRead::window_bytes`].
    pub extent: Extent,
    /// The bytes; exactly `extent.length` of them. What could not be read is zero here, and listed below.
    pub memory: Box<dyn WindowMemory>,
    /// The ranges inside `extent` that could not be read, ascending and disjoint.
    pub unreadable: Vec<Extent>,
}

/// Reads long lists of extents with many requests in flight and bounded memory.
pub trait BulkRead: Send {
    /// Size of the source in bytes.
    fn size(&self) -> u64;

    /// The longest window, a power of two. Callers cut their plan so that no extent is longer.
    fn window_bytes(&self) -> u64;

    /// Reads each extent of `plan` once and hands it to `deliver`, in any order, on the calling thread.
    ///
    /// An extent that cannot be read is delivered with `unreadable` set; only a failure of the engine itself is an error. When
    /// `deliver` breaks, reading stops, everything in flight is waited for, and the result is [`IoError::Cancelled`].
    /// `deliver` may keep windows; the engine waits for memory to come back once its pool is empty.
    fn read(
        &mut self,
        plan: &mut dyn Iterator<Item = Extent>,
        deliver: &mut dyn FnMut(Window) -> ControlFlow<()>,
    ) -> Result<(), IoError>;
}
