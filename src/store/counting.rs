//! A store that counts the bytes it hands out: what a reader cost.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::{Created, Deleted, ObjectEntry, ObjectKey, Store, StoreError};

/// Another store, with a count of what was read from it.
#[derive(Debug)]
pub struct Counting {
    inner: Arc<dyn Store>,
    read_bytes: AtomicU64,
}

impl Counting {
    /// Nothing read yet.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, read_bytes: AtomicU64::new(0) }
    }

    /// Bytes of objects handed out until now.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }

    fn counted(&self, bytes: Bytes) -> Bytes {
        self.read_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        bytes
    }
}

impl Store for Counting {
    fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), StoreError> {
        self.inner.put(key, bytes)
    }

    fn put_if_absent(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, StoreError> {
        self.inner.put_if_absent(key, bytes)
    }

    fn get(&self, key: &ObjectKey) -> Result<Bytes, StoreError> {
        self.inner.get(key).map(|bytes| self.counted(bytes))
    }

    fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.inner.get_range(key, range).map(|bytes| self.counted(bytes))
    }

    fn size(&self, key: &ObjectKey) -> Result<u64, StoreError> {
        self.inner.size(key)
    }

    fn list(&self, prefix: &str, visit: &mut dyn FnMut(ObjectEntry) -> ControlFlow<()>) -> Result<(), StoreError> {
        self.inner.list(prefix, visit)
    }

    fn delete(&self, key: &ObjectKey) -> Result<Deleted, StoreError> {
        self.inner.delete(key)
    }

    fn location(&self) -> String {
        self.inner.location()
    }
}
