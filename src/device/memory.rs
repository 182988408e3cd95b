//! Aligned buffers in a bounded pool; a buffer is owned by exactly one holder and goes home when dropped.
//!
//! ```text
//!   Pool --take--> Slot --> engine (in flight) --> Slot --> Lease in a Window --drop--> Pool
//! ```
#![expect(unsafe_code, reason = "direct I/O needs memory aligned to pages, which Vec cannot promise")]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ops::Range;
use std::ptr::NonNull;
use std::slice;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::base::io::WindowMemory;

/// No device asks direct I/O for more than a page.
pub(super) const PAGE_BYTES: usize = 4096;

/// Zeroed memory that begins on a page.
#[derive(Debug)]
pub(super) struct AlignedBuffer {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the memory belongs to this value alone and is reached only through it, like a boxed slice.
unsafe impl Send for AlignedBuffer {}
// SAFETY: a shared reference only reads.
unsafe impl Sync for AlignedBuffer {}

impl AlignedBuffer {
    /// At least `bytes` of zeros, rounded up to whole pages; `None` when memory is short.
    pub(super) fn new(bytes: usize) -> Option<Self> {
        let bytes = bytes.max(1).checked_next_multiple_of(PAGE_BYTES)?;
        let layout = Layout::from_size_align(bytes, PAGE_BYTES).ok()?;
        // SAFETY: the layout's size is at least one page.
        let start = unsafe { alloc_zeroed(layout) };
        Some(Self { start: NonNull::new(start)?, layout })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: `start` is valid and initialized for `layout.size()` bytes until this value is dropped.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.layout.size()) }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` proves that nobody else looks.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.layout.size()) }
    }

    /// Where the memory lies, for registering it with the kernel.
    pub(super) fn place(&self) -> Place {
        Place { address: self.start.as_ptr() as usize, length: self.layout.size() }
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this very layout, and freed only here.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// Where a buffer lies. Holding a place keeps nothing alive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) address: usize,
    pub(super) length: usize,
}

/// A fixed number of buffers of one length.
#[derive(Debug)]
pub(super) struct Pool {
    free: Mutex<Vec<(usize, AlignedBuffer)>>,
    came_home: Condvar,
    places: Vec<Place>,
}

impl Pool {
    /// `count` buffers of at least `bytes` each; fewer when memory is short, `None` when there is not even one.
    pub(super) fn new(count: usize, bytes: usize) -> Option<Arc<Self>> {
        let buffers: Vec<_> = (0..count.max(1)).map_while(|_| AlignedBuffer::new(bytes)).collect();
        let places: Vec<_> = buffers.iter().map(AlignedBuffer::place).collect();
        let free = buffers.into_iter().enumerate().collect();
        (!places.is_empty()).then(|| Arc::new(Self { free: Mutex::new(free), came_home: Condvar::new(), places }))
    }

    /// All buffers, by index, whether lent out or not.
    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    /// A buffer, if one is at home.
    pub(super) fn take(self: &Arc<Self>) -> Option<Slot> {
        let (index, buffer) = self.lock().pop()?;
        Some(Slot { index, buffer: Some(buffer), pool: Arc::clone(self) })
    }

    /// Waits until a buffer is at home.
    pub(super) fn wait(&self) {
        let mut free = self.lock();
        while free.is_empty() {
            free = self.came_home.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Buffers at home.
    #[cfg(test)]
    pub(super) fn at_home(&self) -> usize {
        self.lock().len()
    }

    /// The list stays whole whatever a holder's thread did: it is changed by one push or pop at a time.
    fn lock(&self) -> MutexGuard<'_, Vec<(usize, AlignedBuffer)>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One buffer on loan, owned by its holder.
#[derive(Debug)]
pub(super) struct Slot {
    index: usize,
    buffer: Option<AlignedBuffer>,
    pool: Arc<Pool>,
}

impl Slot {
    /// Its number within the pool, which is its number among registered buffers.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], AlignedBuffer::bytes)
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        self.buffer.as_mut().map_or(&mut [], AlignedBuffer::bytes_mut)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.pool.lock().push((self.index, buffer));
            self.pool.came_home.notify_one();
        }
    }
}

/// The wanted part of a slot, as handed to the caller.
#[derive(Debug)]
pub(super) struct Lease {
    slot: Slot,
    range: Range<usize>,
}

impl Lease {
    pub(super) fn new(slot: Slot, range: Range<usize>) -> Self {
        Self { slot, range }
    }
}

impl WindowMemory for Lease {
    fn bytes(&self) -> &[u8] {
        self.slot.bytes().get(self.range.clone()).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn buffers_are_aligned_zeroed_and_whole_pages() {
        let buffer = AlignedBuffer::new(5000).unwrap();
        assert_eq!(buffer.place().address % PAGE_BYTES, 0);
        assert_eq!(buffer.bytes(), [0; 2 * PAGE_BYTES]);
    }

    #[test]
    fn a_dropped_slot_goes_home_and_wakes_the_waiter() {
        let pool = Pool::new(1, 10).unwrap();
        let slot = pool.take().unwrap();
        assert!(pool.take().is_none());
        thread::scope(|scope| {
            scope.spawn(|| pool.wait());
            scope.spawn(move || drop(slot));
        });
        assert_eq!(pool.at_home(), 1);
    }

    #[test]
    fn a_lease_shows_the_wanted_part_and_outlives_the_last_other_owner_of_the_pool() {
        let pool = Pool::new(2, 100).unwrap();
        let mut slot = pool.take().unwrap();
        slot.bytes_mut()[7..9].copy_from_slice(b"ab");
        let lease = Lease::new(slot, 7..9);
        drop(pool);
        assert_eq!(lease.bytes(), b"ab");
    }
}
