//! Retries: how often, how long, and what becomes of answers that were lost.

use super::*;
use crate::base::entropy::EntropyError;
use crate::store::contract;
use crate::store::fault::{FaultPlan, Faulty};
use crate::store::memory::Memory;
use crate::testkit::manual_clock::ManualClock;
use crate::testkit::seeded_entropy::SeededEntropy;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Mutex;

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name).unwrap()
}

struct World {
    clock: Arc<ManualClock>,
    memory: Arc<Memory>,
    faulty: Arc<Faulty>,
    store: Retrying,
}

fn world(plan: FaultPlan, seed: u64) -> World {
    println!("seed {seed}");
    let clock = Arc::new(ManualClock::default());
    let memory = Arc::new(Memory::new(clock.clone()));
    let faulty = Arc::new(Faulty::new(memory.clone(), plan, clock.clone(), Box::new(SeededEntropy::new(seed))));
    let store = Retrying::new(faulty.clone(), RetryPolicy::default(), clock.clone(), Arc::new(SeededEntropy::new(!seed)));
    World { clock, memory, faulty, store }
}

/// Answers each put-if-absent by the next line of a script, without keeping anything beyond what the script says.
#[derive(Debug)]
struct Scripted {
    memory: Memory,
    script: Mutex<Vec<Step>>,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    LoseRequest,
    LoseAnswer,
    LoseRequestWhileAnotherWrites,
    Refuse(StoreErrorKind),
}

impl Scripted {
    fn run<T>(&self, key: &ObjectKey, act: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut script = self.script.lock().unwrap();
        if script.is_empty() {
            return act();
        }
        let step = script.remove(0);
        drop(script);
        match step {
            Step::LoseRequest => {}
            Step::LoseAnswer => drop(act()?),
            Step::LoseRequestWhileAnotherWrites => drop(self.memory.put_if_absent(key, Bytes::from_static(b"another"))?),
            Step::Refuse(kind) => return Err(StoreError::new(kind, "put", key)),
        }
        Err(StoreError::new(StoreErrorKind::Temporary, "put", key))
    }
}

impl Store for Scripted {
    fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), StoreError> {
        self.run(key, || self.memory.put(key, bytes))
    }
    fn put_if_absent(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, StoreError> {
        self.run(key, || self.memory.put_if_absent(key, bytes))
    }
    fn get(&self, key: &ObjectKey) -> Result<Bytes, StoreError> {
        self.memory.get(key)
    }
    fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.memory.get_range(key, range)
    }
    fn size(&self, key: &ObjectKey) -> Result<u64, StoreError> {
        self.memory.size(key)
    }
    fn list(&self, prefix: &str, visit: &mut dyn FnMut(ObjectEntry) -> ControlFlow<()>) -> Result<(), StoreError> {
        self.memory.list(prefix, visit)
    }
    fn delete(&self, key: &ObjectKey) -> Result<Deleted, StoreError> {
        self.run(key, || self.memory.delete(key))
    }
    fn location(&self) -> String {
        self.memory.location()
    }
}

fn scripted(script: &[Step], policy: RetryPolicy) -> (Arc<ManualClock>, Retrying) {
    let clock = Arc::new(ManualClock::default());
    let inner = Scripted { memory: Memory::new(clock.clone()), script: Mutex::new(script.to_vec()) };
    (clock.clone(), Retrying::new(Arc::new(inner), policy, clock, Arc::new(SeededEntropy::new(1))))
}

#[test]
fn retries_over_a_faulty_store_keep_the_contract() {
    for seed in 1..=4 {
        let plan =
            FaultPlan { before_per_mille: 50, after_per_mille: 50, latency: Duration::from_millis(20), ..FaultPlan::default() };
        contract::check(&world(plan, seed).store);
    }
}

#[test]
fn a_lost_answer_of_a_put_if_absent_is_resolved_by_reading_back() {
    let check = |script: &[Step], expected: Created, content: &'static str| {
        let (_, store) = scripted(script, RetryPolicy::default());
        assert_eq!(store.put_if_absent(&key("a"), Bytes::from_static(b"mine")).unwrap(), expected, "{script:?}");
        assert_eq!(store.get(&key("a")).unwrap(), content, "{script:?}");
    };
    check(&[], Created::New, "mine");
    check(&[Step::LoseRequest], Created::New, "mine");
    check(&[Step::LoseAnswer], Created::New, "mine");
    check(&[Step::LoseAnswer, Step::LoseRequest, Step::LoseAnswer], Created::New, "mine");
    check(&[Step::LoseRequestWhileAnotherWrites], Created::AlreadyThere, "another");
}

#[test]
fn without_a_failure_a_taken_name_is_not_read_back() {
    let (_, store) = scripted(&[], RetryPolicy::default());
    store.put(&key("a"), Bytes::from_static(b"same")).unwrap();
    assert_eq!(store.put_if_absent(&key("a"), Bytes::from_static(b"same")).unwrap(), Created::AlreadyThere);
}

#[test]
fn a_lost_answer_of_a_delete_still_says_gone() {
    let (_, store) = scripted(&[], RetryPolicy::default());
    assert_eq!(store.delete(&key("a")).unwrap(), Deleted::WasAbsent);
    let (_, store) = scripted(&[Step::LoseAnswer], RetryPolicy::default());
    assert_eq!(store.delete(&key("a")).unwrap(), Deleted::Gone);
}

#[test]
fn waits_double_up_to_the_longest_and_are_jittered_by_at_most_half() {
    let policy = RetryPolicy { attempts: 9, deadline: Duration::from_secs(3_600), ..RetryPolicy::default() };
    let (clock, store) = scripted(&[Step::LoseRequest; 20], policy);
    assert_eq!(store.put(&key("a"), Bytes::new()).unwrap_err().kind, StoreErrorKind::Temporary);
    let slept = clock.slept();
    assert_eq!(slept.len(), 8, "nine tries have eight waits between them");
    for (index, full_ms) in [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000].into_iter().enumerate() {
        let full = Duration::from_millis(full_ms);
        assert!(slept[index] >= full / 2 && slept[index] <= full, "wait {index}: {:?}", slept[index]);
    }
    let shares: BTreeSet<u128> = slept.iter().enumerate().map(|(i, wait)| wait.as_millis() * 1_000 / (250 << i.min(7))).collect();
    assert!(shares.len() > 4, "no jitter in {slept:?}");
}

#[test]
fn no_wait_ends_past_the_deadline() {
    let policy = RetryPolicy { attempts: 1_000, deadline: Duration::from_secs(20), ..RetryPolicy::default() };
    let (clock, store) = scripted(&[Step::LoseRequest; 100], policy);
    store.put(&key("a"), Bytes::new()).unwrap_err();
    assert!(clock.monotonic() <= Duration::from_secs(20), "{:?}", clock.monotonic());
    assert!(clock.monotonic() >= Duration::from_secs(4), "gave up after {:?}", clock.monotonic());
}

#[test]
fn what_retrying_cannot_help_is_not_retried() {
    for kind in [StoreErrorKind::Denied, StoreErrorKind::Full, StoreErrorKind::Misconfigured, StoreErrorKind::Permanent] {
        let (clock, store) = scripted(&[Step::Refuse(kind)], RetryPolicy::default());
        assert_eq!(store.put(&key("a"), Bytes::new()).unwrap_err().kind, kind);
        assert!(clock.slept().is_empty());
    }
}

#[test]
fn an_outage_shorter_than_the_deadline_is_waited_out() {
    let plan = FaultPlan { outages: vec![Duration::ZERO..Duration::from_secs(60)], ..FaultPlan::default() };
    let world = world(plan, 1);
    world.store.put(&key("a"), Bytes::from_static(b"x")).unwrap();
    assert!(world.clock.monotonic() >= Duration::from_secs(60));
    assert_eq!(world.memory.get(&key("a")).unwrap(), "x");
}

#[test]
fn a_crash_ends_the_retries_at_once() {
    let world = world(FaultPlan { crash_after_writes: Some(0), ..FaultPlan::default() }, 1);
    world.store.put(&key("a"), Bytes::new()).unwrap_err();
    assert!(world.clock.slept().is_empty());
    assert_eq!(world.faulty.writes(), 1);
}

#[test]
fn a_listing_that_breaks_off_goes_on_without_repeats() {
    for seed in 0..50 {
        let world = world(FaultPlan { before_per_mille: 100, after_per_mille: 400, ..FaultPlan::default() }, seed);
        let all: Vec<ObjectKey> = (0..700).map(|index| key(&format!("points/{index:03}"))).collect();
        all.iter().for_each(|key| world.memory.put(key, Bytes::new()).unwrap());
        let mut shown = Vec::new();
        let collect = &mut |entry: ObjectEntry| {
            shown.push(entry.key);
            ControlFlow::Continue(())
        };
        world.store.list("points/", collect).unwrap();
        assert!(shown == all, "seed {seed}: {} shown", shown.len());
    }
}

/// Shows a fixed row of names; its first passes fail after as many of them as `fails_after` says.
#[derive(Debug)]
struct Row {
    names: Vec<&'static str>,
    fails_after: Mutex<VecDeque<usize>>,
    memory: Memory,
}

impl Row {
    fn listed(names: &[&'static str], fails_after: &[usize]) -> Result<Vec<String>, StoreErrorKind> {
        let clock = Arc::new(ManualClock::default());
        let row = Self {
            names: names.to_vec(),
            fails_after: Mutex::new(fails_after.iter().copied().collect()),
            memory: Memory::new(clock.clone()),
        };
        let policy = RetryPolicy { attempts: 2, ..RetryPolicy::default() };
        let store = Retrying::new(Arc::new(row), policy, clock, Arc::new(SeededEntropy::new(1)));
        let mut shown = Vec::new();
        let collect = &mut |entry: ObjectEntry| {
            shown.push(entry.key.to_string());
            ControlFlow::Continue(())
        };
        store.list("", collect).map(|()| shown).map_err(|error| error.kind)
    }
}

impl Store for Row {
    fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), StoreError> {
        self.memory.put(key, bytes)
    }
    fn put_if_absent(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, StoreError> {
        self.memory.put_if_absent(key, bytes)
    }
    fn get(&self, key: &ObjectKey) -> Result<Bytes, StoreError> {
        self.memory.get(key)
    }
    fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.memory.get_range(key, range)
    }
    fn size(&self, key: &ObjectKey) -> Result<u64, StoreError> {
        self.memory.size(key)
    }
    fn list(&self, prefix: &str, visit: &mut dyn FnMut(ObjectEntry) -> ControlFlow<()>) -> Result<(), StoreError> {
        let fails_after = self.fails_after.lock().unwrap().pop_front();
        for (index, name) in self.names.iter().enumerate() {
            if fails_after == Some(index) {
                return Err(StoreError::about(StoreErrorKind::Temporary, "list", prefix));
            }
            if visit(ObjectEntry { key: key(name), size: 0, modified: Default::default() }).is_break() {
                return Ok(());
            }
        }
        Ok(())
    }
    fn delete(&self, key: &ObjectKey) -> Result<Deleted, StoreError> {
        self.memory.delete(key)
    }
    fn location(&self) -> String {
        self.memory.location()
    }
}

#[test]
fn a_listing_in_no_order_fails_rather_than_leave_out_or_repeat() {
    let whole = |names: &[&str]| Ok(names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(Row::listed(&["b", "a", "c"], &[9]), whole(&["b", "a", "c"]), "order matters only after a failure");
    assert_eq!(Row::listed(&["b", "a", "c"], &[0]), whole(&["b", "a", "c"]), "and only when something was shown before it");
    assert_eq!(Row::listed(&["b", "a", "c"], &[1]), Err(StoreErrorKind::Temporary), "disorder that shows in the second pass");
    assert_eq!(Row::listed(&["b", "a", "c"], &[2]), Err(StoreErrorKind::Temporary), "disorder that shows in the first pass");
    assert_eq!(Row::listed(&["a", "b", "c"], &[2]), whole(&["a", "b", "c"]));
}

#[test]
fn a_listing_that_gets_further_each_time_has_its_tries_again() {
    let names = ["a", "b", "c", "d"];
    assert_eq!(Row::listed(&names, &[1, 2, 3]).unwrap(), names);
    assert_eq!(Row::listed(&names, &[1, 1]), Err(StoreErrorKind::Temporary), "but not when it stops at the same place");
}

#[derive(Debug)]
struct NoEntropy;

impl Entropy for NoEntropy {
    fn fill(&self, _out: &mut [u8]) -> Result<(), EntropyError> {
        Err(EntropyError)
    }
}

#[test]
fn without_randomness_the_full_wait_is_taken() {
    let clock = Arc::new(ManualClock::default());
    let inner = Scripted { memory: Memory::new(clock.clone()), script: Mutex::new(vec![Step::LoseRequest]) };
    let store = Retrying::new(Arc::new(inner), RetryPolicy::default(), clock.clone(), Arc::new(NoEntropy));
    store.put(&key("a"), Bytes::new()).unwrap();
    assert_eq!(clock.slept(), [Duration::from_millis(250)]);
}
