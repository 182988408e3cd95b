//! Leases at their bounds: what a writer that was away may still do, and what a collector may do meanwhile.

use crate::base::clock::Clock;
use crate::repository::CollectReport;
use crate::repository::WriterOptions;
use crate::repository::format::frame::Codec;
use crate::repository::list_all;
use std::sync::Arc;
use std::time::Duration;

use crate::base::progress::Silent;
use crate::repository::ids::PackId;
use crate::repository::leases::HeldLease;
use crate::repository::{CLOCK_SKEW, CheckDepth, CollectOptions, LEASE_DURATION, Repository, RepositoryError, SAFE_WAIT, names};
use crate::store::Store;
use crate::store::memory::Memory;
use crate::testkit::contents::volume_bytes;
use crate::testkit::manual_clock::ManualClock;
use crate::testkit::trial::{self, environment};
use crate::testkit::volume::MemoryVolume;

impl Repository {
    /// The packs in the store.
    pub(super) fn list_packs_for_tests(&self) -> Vec<PackId> {
        let entries = super::super::list_all(self.store.as_ref(), names::PACKS).unwrap();
        entries.iter().filter_map(|entry| names::parse_pack(&entry.key)).collect()
    }
}

fn repository() -> (Arc<ManualClock>, Repository) {
    let clock = Arc::new(ManualClock::default());
    let store: Arc<dyn Store> = Arc::new(Memory::new(clock.clone()));
    let repository = trial::init(&store, environment(&clock, 1)).unwrap();
    (clock, repository)
}

fn lease(repository: &Repository) -> HeldLease {
    HeldLease::take(repository, repository.volume_key("v"), None, "test").unwrap()
}

const MINUTE: Duration = Duration::from_secs(60);

fn collect(repository: &Repository, wait: Duration) -> Result<CollectReport, RepositoryError> {
    repository.collect(CollectOptions { dry_run: false, wait })
}

#[test]
fn a_lease_is_renewed_until_the_moment_it_lapses_and_never_after() {
    for (away, alive) in [(Duration::ZERO, true), (59 * MINUTE, true), (60 * MINUTE, false), (61 * MINUTE, false)] {
        let (clock, repository) = repository();
        let mut held = lease(&repository);
        clock.advance(away);
        assert_eq!(held.prepare_commit().is_ok(), alive, "away for {away:?}");
    }
}

#[test]
fn a_lease_lapses_by_either_clock() {
    // The machine slept: the wall clock went on, the monotonic one stood still.
    let (clock, repository) = repository();
    let mut held = lease(&repository);
    let now = Clock::now(&*clock);
    clock.jump_to(now.plus(LEASE_DURATION + MINUTE));
    assert!(matches!(held.prepare_commit(), Err(RepositoryError::LeaseLost)));
    // The wall clock was set back: the monotonic one tells.
    clock.jump_to(now);
    let mut held = lease(&repository);
    clock.advance(LEASE_DURATION);
    clock.jump_to(now);
    assert!(matches!(held.prepare_commit(), Err(RepositoryError::LeaseLost)));
}

#[test]
fn a_lease_that_somebody_removed_is_lost() {
    let (clock, repository) = repository();
    let mut held = lease(&repository);
    repository.store.delete(&names::lease(held.id())).unwrap();
    held.keep().unwrap();
    clock.advance(16 * MINUTE);
    assert!(matches!(held.keep(), Err(RepositoryError::LeaseLost)));
    assert!(repository.leases().unwrap().is_empty(), "a lost lease was put again");
}

#[test]
fn a_commit_is_covered_only_well_inside_the_lease() {
    for (took, covered) in
        [(Duration::ZERO, true), (44 * MINUTE, true), (45 * MINUTE, false), (59 * MINUTE, false), (300 * MINUTE, false)]
    {
        let (clock, repository) = repository();
        let mut held = lease(&repository);
        held.prepare_commit().unwrap();
        clock.advance(took);
        assert_eq!(held.covers_commit(), covered, "a commit that took {took:?}");
    }
}

#[test]
fn a_collector_removes_a_lease_only_after_the_skew_of_clocks() {
    for (passed, removed) in
        [(LEASE_DURATION, 0), (LEASE_DURATION + CLOCK_SKEW, 0), (LEASE_DURATION + CLOCK_SKEW + Duration::from_millis(1), 1)]
    {
        let (clock, repository) = repository();
        let _held = lease(&repository);
        clock.advance(passed);
        assert_eq!(collect(&repository, SAFE_WAIT).unwrap().leases_removed, removed, "after {passed:?}");
    }
}

#[test]
fn a_collection_that_does_not_wait_is_refused_while_any_writer_lives() {
    let (clock, repository) = repository();
    let _held = lease(&repository);
    for wait in [Duration::ZERO, SAFE_WAIT - Duration::from_millis(1)] {
        assert!(matches!(collect(&repository, wait), Err(RepositoryError::Busy { .. })), "{wait:?}");
    }
    collect(&repository, SAFE_WAIT).unwrap();
    clock.advance(LEASE_DURATION + CLOCK_SKEW + MINUTE);
    collect(&repository, Duration::ZERO).unwrap();
}

/// A writer that stored packs and was killed before its first checkpoint.
fn litter(repository: &Repository) -> usize {
    let volume = MemoryVolume::new(volume_bytes(400_000, 3));
    let before = repository.list_packs_for_tests().len();
    let options = WriterOptions {
        volume: "w".to_owned(),
        size: 400_000,
        chunk_bytes: 4096,
        codec: Codec::None,
        previous: None,
        whole: true,
        distrust: false,
        host: String::new(),
        upload_threads: 0,
        checkpoint_bytes: u64::MAX,
    };
    let mut writer = repository.write_point(options).unwrap();
    let bytes = volume.bytes();
    for (number, window) in bytes.chunks(131_072).enumerate() {
        let cut = writer.cutter().cut(number as u64 * 131_072, window, &[], &[]).unwrap();
        writer.append(&cut).unwrap();
    }
    repository.list_packs_for_tests().len() - before
}

#[test]
fn packs_of_a_living_writer_are_spared_and_those_of_a_dead_one_wait_their_time() {
    let (clock, repository) = repository();
    let packs = litter(&repository) as u64;
    assert!(packs > 1);
    for _ in 0..3 {
        clock.advance(10 * MINUTE);
        let report = collect(&repository, SAFE_WAIT).unwrap();
        assert_eq!((report.leased.packs, report.waiting.packs, report.deleted.packs), (packs, 0, 0));
    }
    clock.advance(LEASE_DURATION + CLOCK_SKEW);
    // The lapsed lease still protects in the collection that removes it.
    assert_eq!(collect(&repository, SAFE_WAIT).unwrap().leased.packs, packs);
    let condemned = collect(&repository, SAFE_WAIT).unwrap();
    assert_eq!((condemned.waiting.packs, condemned.deleted.packs), (packs, 0));
    clock.advance(SAFE_WAIT - Duration::from_millis(1));
    let early = collect(&repository, SAFE_WAIT).unwrap();
    assert_eq!((early.waiting.packs, early.deleted.packs), (packs, 0), "deleted before its time");
    assert_eq!(early.next, condemned.next);
    clock.advance(Duration::from_millis(1));
    assert_eq!(collect(&repository, SAFE_WAIT).unwrap().deleted.packs, packs);
    assert!(repository.check(CheckDepth::Deep, &Silent).unwrap().is_clean());
}

#[test]
fn a_dry_run_says_what_would_happen_and_changes_nothing() {
    let (clock, repository) = repository();
    litter(&repository);
    clock.advance(LEASE_DURATION + CLOCK_SKEW + MINUTE);
    collect(&repository, SAFE_WAIT).unwrap();
    let before = list_all(repository.store.as_ref(), "").unwrap();
    let dry = repository.collect(CollectOptions { dry_run: true, wait: Duration::ZERO }).unwrap();
    assert!(dry.deleted.packs > 0);
    assert_eq!(list_all(repository.store.as_ref(), "").unwrap(), before);
    assert_eq!(collect(&repository, Duration::ZERO).unwrap().deleted, dry.deleted);
}

#[test]
fn a_held_point_cannot_be_forgotten() {
    use crate::repository::format::verdict::VerdictKind;
    let (_, repository) = repository();
    let point = trial::back_up(&repository, "v", &MemoryVolume::new(volume_bytes(50_000, 1))).unwrap().point;
    repository.add_verdict(point.id, VerdictKind::Held, "a court asked").unwrap();
    assert!(matches!(repository.forget_point(&point), Err(RepositoryError::Busy { .. })));
    repository.remove_verdicts(point.id, &VerdictKind::Held).unwrap();
    repository.forget_point(&point).unwrap();
}

#[test]
fn a_point_under_a_running_backup_cannot_be_forgotten_and_one_that_is_being_forgotten_cannot_be_built_on() {
    use crate::repository::format::verdict::VerdictKind;
    let (_, repository) = repository();
    let point = trial::back_up(&repository, "v", &MemoryVolume::new(volume_bytes(50_000, 1))).unwrap().point;
    let held = HeldLease::take(&repository, point.volume, Some(&point), "test").unwrap();
    assert!(matches!(repository.forget_point(&point), Err(RepositoryError::Busy { .. })));
    assert!(repository.verdicts().unwrap().is_empty(), "a refused forgetting left its note");
    held.release().unwrap();
    // A forgetter died after its note.
    repository.add_verdict(point.id, VerdictKind::Forgotten { digest: point.digest, previous: None }, "").unwrap();
    let next = trial::back_up(&repository, "v", &MemoryVolume::new(volume_bytes(50_000, 1))).unwrap().point;
    assert_eq!(next.point.previous, None);
}

#[test]
fn a_lease_that_nobody_can_read_stops_collection_and_nothing_else() {
    let (clock, repository) = repository();
    let volume = MemoryVolume::new(volume_bytes(50_000, 1));
    let point = trial::back_up(&repository, "v", &volume).unwrap().point;
    let key = names::lease(lease(&repository).id());
    let good = repository.store.get(&key).unwrap();
    // A flipped bit, and what only a newer icecore could read.
    for byte in [8, 40] {
        let mut bytes = good.to_vec();
        bytes[byte] ^= 4;
        repository.store.put(&key, bytes.into()).unwrap();
        for wait in [SAFE_WAIT, Duration::ZERO] {
            let refused = collect(&repository, wait);
            assert!(matches!(refused, Err(RepositoryError::Damaged { .. } | RepositoryError::Busy { .. })), "{refused:?}");
        }
        trial::back_up(&repository, "w", &volume).unwrap();
    }
    repository.forget_point(&point).unwrap();
    // It lapses for nobody, since nobody knows when: an operator removes it, and all goes on.
    clock.advance(100 * SAFE_WAIT);
    assert!(matches!(collect(&repository, SAFE_WAIT), Err(RepositoryError::Damaged { .. })));
    repository.store.delete(&key).unwrap();
    collect(&repository, SAFE_WAIT).unwrap();
}
