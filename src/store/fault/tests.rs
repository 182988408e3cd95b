//! The faults themselves: they happen when planned, the same way for the same seed.

use super::*;
use crate::store::memory::Memory;
use crate::testkit::manual_clock::ManualClock;
use crate::testkit::seeded_entropy::SeededEntropy;

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name).unwrap()
}

fn faulty(plan: FaultPlan, seed: u64) -> (Arc<Memory>, Arc<ManualClock>, Faulty) {
    let clock = Arc::new(ManualClock::default());
    let memory = Arc::new(Memory::new(clock.clone()));
    let store = Faulty::new(memory.clone(), plan, clock.clone(), Box::new(SeededEntropy::new(seed)));
    (memory, clock, store)
}

#[test]
fn one_seed_gives_one_row_of_faults() {
    let run = |seed| {
        let plan = FaultPlan { before_per_mille: 200, after_per_mille: 200, ..FaultPlan::default() };
        let (_, _, store) = faulty(plan, seed);
        (0..200).map(|index| store.put(&key(&format!("a{index}")), Bytes::new()).is_ok()).collect::<Vec<_>>()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    let failed = run(1).iter().filter(|worked| !**worked).count();
    assert!((50..110).contains(&failed), "{failed} of 200 failed");
}

#[test]
fn a_fault_before_does_nothing_and_a_fault_after_has_done_it() {
    let all = |before_per_mille, after_per_mille| FaultPlan { before_per_mille, after_per_mille, ..FaultPlan::default() };
    for (plan, is_there) in [(all(1_000, 0), false), (all(0, 1_000), true)] {
        let (memory, _, store) = faulty(plan, 1);
        let error = store.put(&key("a"), Bytes::new()).unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Temporary);
        assert_eq!(memory.get(&key("a")).is_ok(), is_there);
        store.heal();
        store.put(&key("b"), Bytes::new()).unwrap();
    }
}

#[test]
fn after_the_crash_point_nothing_changes_and_nothing_answers() {
    let (memory, _, store) = faulty(FaultPlan { crash_after_writes: Some(2), ..FaultPlan::default() }, 1);
    store.put(&key("a"), Bytes::new()).unwrap();
    store.get(&key("a")).unwrap();
    store.delete(&key("a")).unwrap();
    store.size(&key("a")).unwrap_err();
    assert_eq!(store.put_if_absent(&key("b"), Bytes::new()).unwrap_err().kind, StoreErrorKind::Permanent);
    assert_eq!(store.get(&key("a")).unwrap_err().kind, StoreErrorKind::Permanent);
    assert!(memory.get(&key("b")).unwrap_err().is_not_found());
    assert_eq!(store.writes(), 3);
}

#[test]
fn a_put_that_does_not_fit_finds_the_store_full() {
    let (_, _, store) = faulty(FaultPlan { room_bytes: Some(10), ..FaultPlan::default() }, 1);
    store.put(&key("a"), Bytes::from_static(b"123456")).unwrap();
    assert_eq!(store.put(&key("b"), Bytes::from_static(b"12345")).unwrap_err().kind, StoreErrorKind::Full);
    store.put(&key("c"), Bytes::from_static(b"1234")).unwrap();
}

#[test]
fn an_outage_begins_and_ends_by_the_clock() {
    let seconds = Duration::from_secs;
    let (_, clock, store) = faulty(FaultPlan { outages: vec![seconds(10)..seconds(20)], ..FaultPlan::default() }, 1);
    for (pass, works) in [(9, true), (1, false), (9, false), (1, true)] {
        clock.advance(seconds(pass));
        assert_eq!(store.put(&key("a"), Bytes::new()).is_ok(), works, "at {:?}", clock.monotonic());
    }
}

#[test]
fn latency_passes_on_the_clock() {
    let (_, clock, store) = faulty(FaultPlan { latency: Duration::from_millis(100), ..FaultPlan::default() }, 1);
    (0..50).for_each(|_| store.put(&key("a"), Bytes::new()).unwrap());
    assert!((1_500..3_500).contains(&clock.monotonic().as_millis()), "{:?}", clock.monotonic());
}

#[test]
fn damage_changes_one_bit_or_cuts_the_end() {
    let (memory, ..) = faulty(FaultPlan::default(), 1);
    let check = |what, expected: &'static [u8]| {
        memory.put(&key("a"), Bytes::from_static(b"abc")).unwrap();
        damage(&*memory, &key("a"), what).unwrap();
        assert_eq!(memory.get(&key("a")).unwrap(), expected);
    };
    check(Damage::FlipBit { byte: 1, bit: 0 }, b"acc");
    check(Damage::FlipBit { byte: 4, bit: 8 }, b"acc");
    check(Damage::Truncate { length: 2 }, b"ab");
    check(Damage::Truncate { length: 9 }, b"abc");
}
