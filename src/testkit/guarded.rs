//! A store whose every call passes a door: to be counted, held up, or announced.

use bytes::Bytes;
use std::fmt;
use std::mem;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex, PoisonError};

use crate::store::{Created, Deleted, ObjectEntry, ObjectKey, Store, StoreError};

/// The calls of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Act {
    /// An object written.
    Put,
    /// An object written if it was not there.
    PutIfAbsent,
    /// An object read whole.
    Get,
    /// A part of an object read.
    GetRange,
    /// An object's size asked for.
    Size,
    /// A listing; its bytes count its entries.
    List,
    /// An object deleted.
    Delete,
}

impl Act {
    /// True for the calls that change the store.
    #[must_use]
    pub fn is_write(self) -> bool {
        matches!(self, Self::Put | Self::PutIfAbsent | Self::Delete)
    }
}

/// One finished call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// What was done.
    pub act: Act,
    /// To which object or prefix.
    pub name: String,
    /// Bytes written or brought; entries of a listing; 0 for a failure.
    pub bytes: u64,
}

/// Stands at the door of a store. Calls come from many threads.
pub trait Doorkeeper: Send + Sync + fmt::Debug {
    /// A call is about to begin. It does when this returns, unless it is turned away.
    fn enter(&self, _act: Act, _name: &str) -> Result<(), StoreError> {
        Ok(())
    }
    /// A call has ended that was not turned away.
    fn leave(&self, _operation: Operation) {}
}

/// A store behind a door.
#[derive(Debug)]
pub struct Guarded<K> {
    inner: Arc<dyn Store>,
    keeper: Arc<K>,
}

impl<K: Doorkeeper> Guarded<K> {
    /// Puts `keeper` before `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, keeper: Arc<K>) -> Self {
        Self { inner, keeper }
    }

    fn pass<T>(
        &self,
        act: Act,
        name: &str,
        bytes: impl FnOnce(&T) -> u64,
        run: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.keeper.enter(act, name)?;
        let result = run();
        self.keeper.leave(Operation { act, name: name.to_owned(), bytes: result.as_ref().map(bytes).unwrap_or_default() });
        result
    }
}

impl<K: Doorkeeper> Store for Guarded<K> {
    fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), StoreError> {
        let length = bytes.len() as u64;
        self.pass(Act::Put, key.as_str(), |()| length, || self.inner.put(key, bytes))
    }

    fn put_if_absent(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, StoreError> {
        let length = bytes.len() as u64;
        self.pass(Act::PutIfAbsent, key.as_str(), |_| length, || self.inner.put_if_absent(key, bytes))
    }

    fn get(&self, key: &ObjectKey) -> Result<Bytes, StoreError> {
        self.pass(Act::Get, key.as_str(), |bytes: &Bytes| bytes.len() as u64, || self.inner.get(key))
    }

    fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.pass(Act::GetRange, key.as_str(), |bytes: &Bytes| bytes.len() as u64, || self.inner.get_range(key, range))
    }

    fn size(&self, key: &ObjectKey) -> Result<u64, StoreError> {
        self.pass(Act::Size, key.as_str(), |_| 0, || self.inner.size(key))
    }

    /// Gathers the listing behind the door and shows it before it, so that a visitor may call the store itself.
    fn list(&self, prefix: &str, visit: &mut dyn FnMut(ObjectEntry) -> ControlFlow<()>) -> Result<(), StoreError> {
        let gather = || {
            let mut entries = Vec::new();
            self.inner.list(prefix, &mut |entry| {
                entries.push(entry);
                ControlFlow::Continue(())
            })?;
            Ok(entries)
        };
        let entries = self.pass(Act::List, prefix, |entries: &Vec<ObjectEntry>| entries.len() as u64, gather)?;
        // Whether the visitor broke off is its own affair.
        let _ = entries.into_iter().try_for_each(visit);
        Ok(())
    }

    fn delete(&self, key: &ObjectKey) -> Result<Deleted, StoreError> {
        self.pass(Act::Delete, key.as_str(), |_| 0, || self.inner.delete(key))
    }

    fn location(&self) -> String {
        self.inner.location()
    }
}

/// Writes down every call.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Vec<Operation>>);

impl Ledger {
    /// The calls since the last time.
    #[must_use]
    pub fn take(&self) -> Vec<Operation> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Doorkeeper for Ledger {
    fn leave(&self, operation: Operation) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(operation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract;
    use crate::store::memory::Memory;
    use crate::testkit::manual_clock::ManualClock;

    #[test]
    fn a_guarded_store_keeps_the_contract_and_every_call_is_written_down() {
        let ledger = Arc::new(Ledger::default());
        let store = Guarded::new(Arc::new(Memory::new(Arc::new(ManualClock::default()))), Arc::clone(&ledger));
        contract::check(&store);
        let _ = ledger.take();
        let key = ObjectKey::new("a").unwrap();
        store.put(&key, Bytes::from_static(b"123")).unwrap();
        store.get_range(&key, 1..2).unwrap();
        let calls: Vec<_> = ledger.take().into_iter().map(|operation| (operation.act, operation.bytes)).collect();
        assert_eq!(calls, [(Act::Put, 3), (Act::GetRange, 1)]);
    }
}
