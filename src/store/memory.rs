//! A store in memory, for simulations: no runtime, no disk, time from outside.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::check_length;
use super::prefix::Prefix;
use super::{Created, Deleted, ObjectEntry, ObjectKey, Store, StoreError, StoreErrorKind};
use crate::base::clock::{Clock, Timestamp};

/// How many entries a listing copies out before it lets writers in again.
const LIST_BATCH: usize = 256;

/// Objects in a map. Its content is gone when it is dropped.
#[derive(Debug)]
pub struct Memory {
    objects: Mutex<BTreeMap<ObjectKey, Object>>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Clone)]
struct Object {
    bytes: Bytes,
    modified: Timestamp,
}

impl Memory {
    /// An empty store that dates its objects by `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { objects: Mutex::default(), clock }
    }

    /// A second store with the same objects now, which then goes its own way: what a crash would leave.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        Self { objects: Mutex::new(self.objects().clone()), clock: Arc::clone(&self.clock) }
    }

    /// No writer leaves the map between two states, so a panic elsewhere does not spoil it.
    fn objects(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Object>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn object(&self, bytes: Bytes) -> Object {
        Object { bytes, modified: self.clock.now() }
    }

    fn batch(&self, prefix: &Prefix, after: Option<&ObjectKey>) -> Vec<ObjectEntry> {
        let start = match (after, prefix.key()) {
            (Some(after), _) => Bound::Excluded(after),
            (None, Some(prefix)) => Bound::Included(prefix),
            (None, None) => Bound::Unbounded,
        };
        let objects = self.objects();
        let near = objects.range((start, Bound::Unbounded)).take_while(|(key, _)| key.as_str().starts_with(prefix.as_str()));
        near.filter(|(key, _)| prefix.covers(key)).take(LIST_BATCH).map(entry).collect()
    }
}

fn entry((key, object): (&ObjectKey, &Object)) -> ObjectEntry {
    ObjectEntry { key: key.clone(), size: object.bytes.len() as u64, modified: object.modified }
}

impl Store for Memory {
    fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), StoreError> {
        check_length(bytes.len() as u64, "put", key)?;
        let object = self.object(bytes);
        self.objects().insert(key.clone(), object);
        Ok(())
    }

    fn put_if_absent(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, StoreError> {
        check_length(bytes.len() as u64, "put", key)?;
        let object = self.object(bytes);
        let mut objects = self.objects();
        if objects.contains_key(key) {
            return Ok(Created::AlreadyThere);
        }
        objects.insert(key.clone(), object);
        Ok(Created::New)
    }

    fn get(&self, key: &ObjectKey) -> Result<Bytes, StoreError> {
        let objects = self.objects();
        let object = objects.get(key).ok_or_else(|| StoreError::new(StoreErrorKind::NotFound, "get", key))?;
        Ok(object.bytes.clone())
    }

    fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        let whole = self.get(key)?;
        let out_of_range = || StoreError::new(StoreErrorKind::OutOfRange, "get", key);
        let start = usize::try_from(range.start).ok().filter(|&start| start < whole.len()).ok_or_else(out_of_range)?;
        let end = usize::try_from(range.end).unwrap_or(usize::MAX).clamp(start, whole.len());
        Ok(whole.slice(start..end))
    }

    fn size(&self, key: &ObjectKey) -> Result<u64, StoreError> {
        Ok(self.get(key)?.len() as u64)
    }

    fn list(&self, prefix: &str, visit: &mut dyn FnMut(ObjectEntry) -> ControlFlow<()>) -> Result<(), StoreError> {
        let prefix = Prefix::parse(prefix)?;
        let mut after = None;
        loop {
            let batch = self.batch(&prefix, after.as_ref());
            let Some(last) = batch.last() else { return Ok(()) };
            after = Some(last.key.clone());
            if batch.into_iter().try_for_each(&mut *visit).is_break() {
                return Ok(());
            }
        }
    }

    fn delete(&self, key: &ObjectKey) -> Result<Deleted, StoreError> {
        Ok(if self.objects().remove(key).is_some() { Deleted::Gone } else { Deleted::WasAbsent })
    }

    fn location(&self) -> String {
        "memory:".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract;
    use crate::testkit::manual_clock::ManualClock;

    #[test]
    fn memory_keeps_the_contract() {
        contract::check(&Memory::new(Arc::new(ManualClock::default())));
    }

    #[test]
    fn a_snapshot_goes_its_own_way_and_entries_carry_the_clocks_time() {
        let clock = Arc::new(ManualClock::new(Timestamp(77)));
        let store = Memory::new(clock);
        let key = ObjectKey::new("a").unwrap();
        store.put(&key, Bytes::from_static(b"1")).unwrap();
        let snapshot = store.snapshot();
        store.delete(&key).unwrap();
        let mut seen = Vec::new();
        snapshot
            .list("", &mut |entry| {
                seen.push(entry);
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(seen, [ObjectEntry { key: key.clone(), size: 1, modified: Timestamp(77) }]);
        assert!(store.get(&key).unwrap_err().is_not_found());
    }
}
