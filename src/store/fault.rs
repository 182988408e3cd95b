//! A store that fails on purpose, by a seed: before or after it acted, in outages, when full, and for good at a chosen crash point.

use bytes::{Bytes, BytesMut};
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Created, Deleted, ObjectEntry, ObjectKey, Store, StoreError, StoreErrorKind};
use crate::base::clock::Clock;
use crate::base::entropy::Entropy;

/// Which faults happen; the default is none.
#[derive(Debug, Clone, Default)]
pub struct FaultPlan {
    /// Of 1,000 calls, how many fail without having done anything.
    pub before_per_mille: u64,
    /// Of 1,000 calls, how many are done and then reported as failed; listings break off in the middle.
    pub after_per_mille: u64,
    /// Each call takes up to this long on the clock.
    pub latency: Duration,
    /// Times of the monotonic clock in which every call fails.
    pub outages: Vec<Range<Duration>>,
    /// Bytes that fit in; a put beyond them finds the store full.
    pub room_bytes: Option<u64>,
    /// Writes (puts and deletes) that still work; from the next one on every call of any kind fails. The inner store then holds
    /// what a crash would leave.
    pub crash_after_writes: Option<u64>,
}

/// Wraps a store and spoils its calls by a [`FaultPlan`].
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn Store>,
    plan: FaultPlan,
    clock: Arc<dyn Clock>,
    entropy: Box<dyn Entropy>,
    is_healed: AtomicBool,
    is_crashed: AtomicBool,
    writes: AtomicU64,
    used_bytes: Mutex<u64>,
}

/// What befalls one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Works,
    FailsBefore,
    FailsAfter,
}

impl Faulty {
    /// Wraps `inner`. The same entropy and the same calls give the same faults.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, plan: FaultPlan, clock: Arc<dyn Clock>, entropy: Box<dyn Entropy>) -> Self {
        Self {
            inner,
            plan,
            clock,
            entropy,
            is_healed: AtomicBool::new(false),
            is_crashed: AtomicBool::new(false),
            writes: AtomicU64::new(0),
            used_bytes: Mutex::new(0),
        }
    }

    /// Ends all faults, the crash included.
    pub fn heal(&self) {
        self.is_healed.store(true, Ordering::SeqCst);
    }

    /// Writes begun so far, those after the crash not counted: the number of crash points of a run without faults.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }

    fn call<T>(&self, act: &'static str, object: &str, run: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let fail = |kind, why: &str| Err(StoreError::about(kind, act, object).caused_by(why));
        if self.is_healed.load(Ordering::SeqCst) {
            return run();
        }
        if self.is_crashed.load(Ordering::SeqCst) {
            return fail(StoreErrorKind::Permanent, "simulated crash");
        }
        self.take_time();
        if self.is_out() {
            return fail(StoreErrorKind::Temporary, "simulated outage");
        }
        match self.fate() {
            Fate::Works => run(),
            Fate::FailsBefore => fail(StoreErrorKind::Temporary, "simulated fault before the act"),
            Fate::FailsAfter => run().and_then(|_| fail(StoreErrorKind::Temporary, "simulated fault after the act")),
        }
    }

    fn write<T>(&self, act: &'static str, key: &ObjectKey, run: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        if !self.is_healed.load(Ordering::SeqCst) && !self.is_crashed.load(Ordering::SeqCst) {
            let earlier = self.writes.fetch_add(1, Ordering::SeqCst);
            if self.plan.crash_after_writes.is_some_and(|allowed| earlier >= allowed) {
                self.is_crashed.store(true, Ordering::SeqCst);
            }
        }
        self.call(act, key.as_str(), run)
    }

    fn put_with<T>(
        &self,
        key: &ObjectKey,
        bytes: Bytes,
        run: impl FnOnce(Bytes) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.write("put", key, || {
            self.claim_room(key, bytes.len() as u64)?;
            run(bytes)
        })
    }

    /// Room is not given back by deletes: a simulation that needs that can size its room for it.
    fn claim_room(&self, key: &ObjectKey, length: u64) -> Result<(), StoreError> {
        let mut used = self.used_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let after = used.saturating_add(length);
        if self.plan.room_bytes.is_some_and(|room| after > room) {
            return Err(StoreError::new(StoreErrorKind::Full, "put", key).caused_by("simulated full store"));
        }
        *used = after;
        Ok(())
    }

    fn take_time(&self) {
        if !self.plan.latency.is_zero() {
            self.clock.sleep(self.plan.latency.mul_f64(self.draw(1_001) as f64 / 1_000.0));
        }
    }

    fn is_out(&self) -> bool {
        let now = self.clock.monotonic();
        self.plan.outages.iter().any(|outage| outage.contains(&now))
    }

    fn fate(&self) -> Fate {
        let drawn = self.draw(1_000);
        if drawn < self.plan.before_per_mille {
            Fate::FailsBefore
        } else if drawn < self.plan.before_per_mille + self.plan.after_per_mille {
            Fate::FailsAfter
        } else {
            Fate::Works
        }
    }

    fn draw(&self, below: u64) -> u64 {
        self.entropy.u64().unwrap_or_default() % below
    }
}

impl Store for Faulty {
    fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), StoreError> {
        self.put_with(key, bytes, |bytes| self.inner.put(key, bytes))
    }

    fn put_if_absent(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, StoreError> {
        self.put_with(key, bytes, |bytes| self.inner.put_if_absent(key, bytes))
    }

    fn get(&self, key: &ObjectKey) -> Result<Bytes, StoreError> {
        self.call("get", key.as_str(), || self.inner.get(key))
    }

    fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.call("get", key.as_str(), || self.inner.get_range(key, range))
    }

    fn size(&self, key: &ObjectKey) -> Result<u64, StoreError> {
        self.call("get", key.as_str(), || self.inner.size(key))
    }

    fn list(&self, prefix: &str, visit: &mut dyn FnMut(ObjectEntry) -> ControlFlow<()>) -> Result<(), StoreError> {
        let is_healed = self.is_healed.load(Ordering::SeqCst);
        let breaks_off = !is_healed && self.draw(1_000) < self.plan.after_per_mille;
        let mut left = if breaks_off { self.draw(1_000) } else { u64::MAX };
        let listing = self.call("list", prefix, || {
            self.inner.list(prefix, &mut |entry| {
                let Some(rest) = left.checked_sub(1) else { return ControlFlow::Break(()) };
                left = rest;
                visit(entry)
            })
        });
        if breaks_off && left == 0 {
            return Err(StoreError::about(StoreErrorKind::Temporary, "list", prefix).caused_by("simulated fault in mid-listing"));
        }
        listing
    }

    fn delete(&self, key: &ObjectKey) -> Result<Deleted, StoreError> {
        self.write("delete", key, || self.inner.delete(key))
    }

    fn location(&self) -> String {
        self.inner.location()
    }
}

/// How an object at rest goes bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// One bit of one byte turns over; the byte counts modulo the object's length.
    FlipBit {
        /// Which byte.
        byte: u64,
        /// Which bit of it, modulo 8.
        bit: u32,
    },
    /// Only this many bytes remain.
    Truncate {
        /// How many.
        length: u64,
    },
}

/// Damages an object behind everybody's back. An empty object has no bit to flip and stays as it is.
pub fn damage(store: &dyn Store, key: &ObjectKey, damage: Damage) -> Result<(), StoreError> {
    let mut bytes = BytesMut::from(&store.get(key)?[..]);
    match damage {
        Damage::FlipBit { byte, bit } => {
            let index = usize::try_from(byte % (bytes.len() as u64).max(1)).unwrap_or_default();
            if let Some(byte) = bytes.get_mut(index) {
                *byte ^= 1 << (bit % 8);
            }
        }
        Damage::Truncate { length } => bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX)),
    }
    store.put(key, bytes.freeze())
}

#[cfg(test)]
mod tests;
