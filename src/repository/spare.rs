//! Memory of finished packs, used again: freed and taken anew, buffers of this size stay in the allocator's heap beside each other.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Buffers kept for later. A writer fills two packs at once, so more would only lie there.
const MAX_SPARE: usize = 2;

type Shelf = Mutex<Vec<Vec<u8>>>;

/// Buffers waiting for their next pack.
#[derive(Debug, Clone, Default)]
pub(crate) struct SpareBuffers {
    shelf: Arc<Shelf>,
}

impl SpareBuffers {
    /// An empty buffer with room for `capacity` bytes, so that a growing pack is not copied.
    pub(crate) fn take(&self, capacity: usize) -> Vec<u8> {
        let mut buffer = lock(&self.shelf).pop().unwrap_or_default();
        buffer.reserve_exact(capacity);
        buffer
    }

    /// Lends a finished pack to whoever puts it. Its memory comes back when the last of them is done with it.
    pub(crate) fn lend(&self, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { buffer, shelf: Arc::clone(&self.shelf) })
    }
}

fn lock(shelf: &Shelf) -> MutexGuard<'_, Vec<Vec<u8>>> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Lent {
    buffer: Vec<u8>,
    shelf: Arc<Shelf>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut shelf = lock(&self.shelf);
        if shelf.len() < MAX_SPARE {
            self.buffer.clear();
            shelf.push(mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_empty_once_nobody_reads_it() {
        let spare = SpareBuffers::default();
        let mut buffer = spare.take(1000);
        buffer.extend_from_slice(b"pack");
        let place = buffer.as_ptr();
        let lent = spare.lend(buffer);
        let second_reader = lent.clone();
        drop(lent);
        assert_eq!(&second_reader[..], b"pack");
        let other = spare.take(10);
        assert_ne!(other.as_ptr(), place, "a buffer that is still read was handed out");
        drop(second_reader);
        let again = spare.take(1000);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }

    #[test]
    fn only_a_few_buffers_are_kept() {
        let spare = SpareBuffers::default();
        let lent: Vec<Bytes> = (0..10).map(|_| spare.lend(spare.take(64))).collect();
        drop(lent);
        assert_eq!(lock(&spare.shelf).len(), MAX_SPARE);
    }
}
