//! A store that tries again: jittered exponential waits, a bound on attempts and on time, and an honest end to ambiguous puts.

use bytes::Bytes;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

use super::{Created, Deleted, ObjectEntry, ObjectKey, Store, StoreError, StoreErrorKind};
use crate::base::clock::Clock;
use crate::base::entropy::Entropy;

/// Passes of one listing. Each failed one got at least a page further, so this bears a very flaky store and ends on a hopeless one.
const MAX_PASSES: u32 = 100;

/// How long and how often to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries of one call, the first included.
    pub attempts: u32,
    /// The wait after the first failure; it doubles with each further one.
    pub first_wait: Duration,
    /// No wait is longer.
    pub longest_wait: Duration,
    /// No wait begins that would end later than this after the call began. The last try may run past it, by its own time limits.
    pub deadline: Duration,
}

impl Default for RetryPolicy {
    /// Bears a store's restart or a short outage (some two minutes of waits), and gives up while an operator may still be looking.
    fn default() -> Self {
        Self {
            attempts: 10,
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_secs(30),
            deadline: Duration::from_secs(300),
        }
    }
}

impl RetryPolicy {
    /// The wait after `failures` failures without jitter.
    fn full_wait(&self, failures: u32) -> Duration {
        let doubled = self.first_wait.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
        doubled.min(self.longest_wait)
    }
}

/// Repeats the calls of another store while their failures are temporary.
///
/// A put-if-absent whose answer was lost may have worked. So when a later try finds the name taken, the object is read back: if it
/// holds our bytes it counts as [`Created::New`]. Writers that race for being the one must therefore put something of their own
/// into the bytes.
#[derive(Debug)]
pub struct Retrying {
    inner: Arc<dyn Store>,
    policy: RetryPolicy,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// One call's tries so far.
struct Tries<'a> {
    of: &'a Retrying,
    begun: Duration,
    failures: u32,
}

impl Retrying {
    /// Wraps `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, policy: RetryPolicy, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { inner, policy, clock, entropy }
    }

    fn begin(&self) -> Tries<'_> {
        Tries { of: self, begun: self.clock.monotonic(), failures: 0 }
    }

    fn repeat<T>(&self, mut call: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut tries = self.begin();
        loop {
            match call() {
                Err(error) => tries.wait_after(error)?,
                done => return done,
            }
        }
    }

    /// Between half of the full wait and all of it, so that clients which failed together do not come back together.
    fn jittered(&self, full: Duration) -> Duration {
        // Without randomness the full wait is still a wait.
        let random = self.entropy.u64().unwrap_or(u64::MAX);
        let share = f64::from(u32::try_from(random >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX);
        full.mul_f64(0.5 + share / 2.0)
    }

    /// Whether the object that is there now is the one we put, in a try that we took for failed.
    fn resolve(&self, key: &ObjectKey, bytes: &Bytes) -> Result<Created, StoreError> {
        match self.get(key) {
            Ok(there) if there == bytes => Ok(Created::New),
            Ok(_) => Ok(Created::AlreadyThere),
            Err(error) if error.is_not_found() => Ok(Created::AlreadyThere),
            Err(error) => Err(error),
        }
    }
}

impl Tries<'_> {
    /// Waits for the next try, or gives the error back when there is none.
    fn wait_after(&mut self, error: StoreError) -> Result<(), StoreError> {
        self.failures += 1;
        let policy = &self.of.policy;
        if !error.kind.is_retryable() || self.failures >= policy.attempts {
            return Err(error);
        }
        let wait = self.of.jittered(policy.full_wait(self.failures));
        let elapsed = self.of.clock.monotonic().saturating_sub(self.begun);
        if elapsed.saturating_add(wait) > policy.deadline {
            return Err(error);
        }
        let cause = error.source.as_ref().map(ToString::to_string).unwrap_or_default();
        warn!(%error, cause, failures = self.failures, wait_ms = wait.as_millis(), "trying again");
        self.of.clock.sleep(wait);
        Ok(())
    }
}

impl Store for Retrying {
    fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), StoreError> {
        self.repeat(|| self.inner.put(key, bytes.clone()))
    }

    fn put_if_absent(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, StoreError> {
        let mut tries = self.begin();
        loop {
            match self.inner.put_if_absent(key, bytes.clone()) {
                Ok(Created::AlreadyThere) if tries.failures > 0 => return self.resolve(key, &bytes),
                Err(error) => tries.wait_after(error)?,
                done => return done,
            }
        }
    }

    fn get(&self, key: &ObjectKey) -> Result<Bytes, StoreError> {
        self.repeat(|| self.inner.get(key))
    }

    fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.repeat(|| self.inner.get_range(key, range.clone()))
    }

    fn size(&self, key: &ObjectKey) -> Result<u64, StoreError> {
        self.repeat(|| self.inner.size(key))
    }

    /// Lists again after a failure, passing by what was shown. That needs a store that lists in ascending order, as all clouds and
    /// the memory do; elsewhere a failure after the first entry is final, since only a memory of all names could avoid repeats.
    fn list(&self, prefix: &str, visit: &mut dyn FnMut(ObjectEntry) -> ControlFlow<()>) -> Result<(), StoreError> {
        let mut tries = self.begin();
        let mut progress = Progress::default();
        for _ in 1..MAX_PASSES {
            let shown_before = progress.shown;
            let Err(error) = progress.pass(&*self.inner, prefix, visit) else { return Ok(()) };
            if progress.was_told_to_stop {
                return Ok(());
            }
            if progress.is_unordered {
                return Err(error);
            }
            if progress.shown > shown_before {
                // The listing got further, so this is not one lasting fault.
                tries = self.begin();
            }
            tries.wait_after(error)?;
        }
        let last = progress.pass(&*self.inner, prefix, visit);
        if progress.was_told_to_stop { Ok(()) } else { last }
    }

    fn delete(&self, key: &ObjectKey) -> Result<Deleted, StoreError> {
        let mut tries = self.begin();
        loop {
            match self.inner.delete(key) {
                // The try that we took for failed may be the one that removed it.
                Ok(Deleted::WasAbsent) if tries.failures > 0 => return Ok(Deleted::Gone),
                Err(error) => tries.wait_after(error)?,
                done => return done,
            }
        }
    }

    fn location(&self) -> String {
        self.inner.location()
    }
}

/// How far a listing came, over all its passes.
#[derive(Debug, Default)]
struct Progress {
    shown: u64,
    /// An earlier pass showed something already.
    continues: bool,
    /// The greatest key shown so far.
    last: Option<ObjectKey>,
    /// The key that came before in this pass.
    previous: Option<ObjectKey>,
    is_unordered: bool,
    /// The visitor broke off: it has what it wanted, whatever becomes of the rest of the call.
    was_told_to_stop: bool,
}

impl Progress {
    /// Lists once and shows what was not shown before.
    fn pass(
        &mut self,
        store: &dyn Store,
        prefix: &str,
        visit: &mut dyn FnMut(ObjectEntry) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.continues = self.shown > 0;
        self.previous = None;
        store.list(prefix, &mut |entry| self.step(entry, visit))?;
        if self.is_unordered && self.continues {
            let cause = "the listing was interrupted, and this store's order does not let it go on";
            return Err(StoreError::about(StoreErrorKind::Temporary, "list", prefix).caused_by(cause));
        }
        Ok(())
    }

    fn step(&mut self, entry: ObjectEntry, visit: &mut dyn FnMut(ObjectEntry) -> ControlFlow<()>) -> ControlFlow<()> {
        self.is_unordered |= self.previous.as_ref() > Some(&entry.key);
        if self.is_unordered && self.continues {
            return ControlFlow::Break(());
        }
        self.previous = Some(entry.key.clone());
        if self.continues && self.last.as_ref() >= Some(&entry.key) {
            return ControlFlow::Continue(());
        }
        self.shown += 1;
        self.last = Some(entry.key.clone());
        let flow = visit(entry);
        self.was_told_to_stop = flow.is_break();
        flow
    }
}

#[cfg(test)]
mod tests;
