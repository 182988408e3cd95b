//! Single moments at which somebody else acts between two calls: what the seeds of the interleavings find only now and then.

use bytes::Bytes;
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::base::cancel::Cancel;
use crate::base::progress::{Progress, Silent, Step};
use crate::repository::fetch::read_slots;
use crate::repository::format::frame::Codec;
use crate::repository::format::pack::{PackSlot, encode_footer};
use crate::repository::{
    CLOCK_SKEW, CheckDepth, CollectOptions, LEASE_DURATION, ListedPoint, PointWriter, Repository, RepositoryError, SAFE_WAIT,
    WriterOptions, list_all, names,
};
use crate::store::fault::{FaultPlan, Faulty};
use crate::store::memory::Memory;
use crate::store::{Store, StoreError};
use crate::testkit::album::read_back;
use crate::testkit::contents::{random_bytes, volume_bytes};
use crate::testkit::guarded::{Act, Doorkeeper, Guarded};
use crate::testkit::manual_clock::ManualClock;
use crate::testkit::seeded_entropy::SeededEntropy;
use crate::testkit::trial::{self, environment};
use crate::testkit::volume::MemoryVolume;

/// Does something once, just before the awaited call.
struct Meddler {
    awaited: (Act, String),
    /// How many calls of the awaited kind pass before.
    passing: Mutex<usize>,
    deed: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Meddler {
    fn new(act: Act, name: impl Into<String>, passing: usize, deed: impl FnOnce() + Send + 'static) -> Arc<Self> {
        let deed: Box<dyn FnOnce() + Send> = Box::new(deed);
        Arc::new(Self { awaited: (act, name.into()), passing: Mutex::new(passing), deed: Mutex::new(Some(deed)) })
    }
}

impl fmt::Debug for Meddler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Meddler({:?})", self.awaited)
    }
}

impl Doorkeeper for Meddler {
    fn enter(&self, act: Act, name: &str) -> Result<(), StoreError> {
        if act != self.awaited.0 || !name.starts_with(&self.awaited.1) {
            return Ok(());
        }
        let passing = mem::replace(&mut *self.passing.lock().unwrap(), 0).checked_sub(1);
        let deed = match passing {
            Some(left) => {
                *self.passing.lock().unwrap() = left;
                None
            }
            None => self.deed.lock().unwrap().take(),
        };
        if let Some(deed) = deed {
            deed();
        }
        Ok(())
    }
}

struct Scene {
    clock: Arc<ManualClock>,
    store: Arc<dyn Store>,
    repository: Repository,
}

impl Scene {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::default());
        let store: Arc<dyn Store> = Arc::new(Memory::new(clock.clone()));
        let repository = trial::init(&store, environment(&clock, 1)).unwrap();
        Self { clock, store, repository }
    }

    /// The repository as someone sees it who is meddled with.
    fn meddled(&self, act: Act, name: impl Into<String>, deed: impl FnOnce() + Send + 'static) -> Repository {
        self.meddled_later(act, name, 0, deed)
    }

    /// Meddles before the call that comes after `passing` others of its kind.
    fn meddled_later(&self, act: Act, name: impl Into<String>, passing: usize, deed: impl FnOnce() + Send + 'static) -> Repository {
        let keeper = Meddler::new(act, name, passing, deed);
        let store: Arc<dyn Store> = Arc::new(Guarded::new(Arc::clone(&self.store), keeper));
        trial::open(&store, environment(&self.clock, 2)).unwrap()
    }

    fn back_up(&self, volume: &MemoryVolume) -> ListedPoint {
        self.clock.advance(Duration::from_secs(60));
        trial::back_up(&self.repository, "v", volume).unwrap().point
    }
}

/// Backs up with checkpoints; true if an earlier run's was used.
fn run(repository: &Repository, volume: &MemoryVolume, checkpoint_bytes: u64) -> Result<bool, String> {
    let mut request = trial::request(repository, "v");
    request.checkpoint_bytes = checkpoint_bytes;
    trial::run(repository, &request, volume).map(|report| report.resumed).map_err(|error| error.to_string())
}

/// A pack of several frames, most of which the second point has no use for.
fn two_points(scene: &Scene) -> (ListedPoint, ListedPoint, MemoryVolume) {
    let volume = MemoryVolume::new(vec![0; 2 << 20]);
    volume.change(|bytes| {
        for window in 0..8 {
            bytes[window << 18..(window << 18) + 5_000].copy_from_slice(&random_bytes(5_000, window as u64));
        }
    });
    let first = scene.back_up(&volume);
    volume.change(|bytes| bytes[..6 << 18].fill(0));
    (first, scene.back_up(&volume), volume)
}

#[test]
fn a_pack_rewritten_under_a_reader_is_no_damage() {
    // The reader's hint has grown old already, and the pack shrinks again between any two of its reads.
    for (act, depth) in [(Act::Size, 0), (Act::GetRange, 0), (Act::GetRange, 1), (Act::GetRange, 2)] {
        let scene = Scene::new();
        let (first, second, volume) = two_points(&scene);
        scene.repository.forget_point(&first).unwrap();
        scene.clock.advance(SAFE_WAIT);
        scene.repository.collect(CollectOptions { dry_run: false, wait: SAFE_WAIT }).unwrap();
        scene.clock.advance(SAFE_WAIT);
        let collector = scene.repository.clone();
        let before: u64 = list_all(scene.store.as_ref(), names::PACKS).unwrap().iter().map(|entry| entry.size).sum();
        let reader = scene.meddled_later(act, "packs/", depth, move || {
            collector.collect(CollectOptions { dry_run: false, wait: SAFE_WAIT }).unwrap();
        });
        let (bytes, lost) = read_back(&reader, &second).unwrap();
        assert!(lost.is_empty() && bytes == volume.bytes(), "{act:?} {depth}: lost {lost:?}");
        assert!(reader.check(CheckDepth::Deep, &Silent).unwrap().is_clean());
        let after: u64 = list_all(scene.store.as_ref(), names::PACKS).unwrap().iter().map(|entry| entry.size).sum();
        assert!(act == Act::Size || after < before, "nothing was rewritten");
    }
}

#[test]
fn a_table_read_while_its_pack_shrinks_is_read_again() {
    let scene = Scene::new();
    two_points(&scene);
    for pack in list_all(scene.store.as_ref(), names::PACKS).unwrap() {
        let id = names::parse_pack(&pack.key).unwrap();
        let whole = scene.store.get(&pack.key).unwrap();
        let expected = read_slots(scene.store.as_ref(), id).unwrap().len();
        let (store, key) = (Arc::clone(&scene.store), pack.key.clone());
        // A stand-in for a rewrite: the same slots, none of them alive any more.
        let empty = encode_footer(&vec![PackSlot::default(); expected]);
        let small = Bytes::from([&whole[..64], &empty].concat());
        let keeper = Meddler::new(Act::GetRange, pack.key.to_string(), 0, move || store.put(&key, small).unwrap());
        let slots = read_slots(&Guarded::new(Arc::clone(&scene.store), keeper), id).unwrap();
        assert_eq!(slots.len(), expected);
        scene.store.put(&pack.key, whole).unwrap();
    }
}

#[test]
fn a_point_is_not_built_on_one_that_is_forgotten_at_that_moment() {
    for (act, name) in [(Act::Put, "leases/"), (Act::List, "verdicts/"), (Act::Size, "points/")] {
        let scene = Scene::new();
        let volume = MemoryVolume::new(volume_bytes(300_000, 1));
        let point = scene.back_up(&volume);
        let (forgetter, doomed) = (scene.repository.clone(), point.clone());
        // The first look at the verdicts belongs to the search for the newest point.
        let depth = usize::from(act == Act::List);
        let writer = scene.meddled_later(act, name, depth, move || {
            let _ = forgetter.forget_point(&doomed);
        });
        let outcome = trial::back_up(&writer, "v", &volume);
        let exists = scene.repository.points().unwrap().points.iter().any(|listed| listed.id == point.id);
        match trial::repository_error(&outcome) {
            Some(RepositoryError::BasisGone { .. }) => assert!(!exists, "{act:?} {name}"),
            _ => assert!(outcome.is_ok() && exists, "{act:?} {name}: it was built on, and it is gone: {outcome:?}"),
        }
        assert!(scene.repository.check(CheckDepth::Deep, &Silent).unwrap().is_clean());
    }
}

/// Begins to build on a point, however it was found.
fn build_on(repository: &Repository, point: &ListedPoint) -> Result<PointWriter, RepositoryError> {
    repository.write_point(WriterOptions {
        volume: "v".to_owned(),
        size: point.point.tree.size,
        chunk_bytes: point.point.tree.chunk_bytes,
        codec: Codec::None,
        previous: Some(point.clone()),
        whole: false,
        distrust: false,
        host: String::new(),
        upload_threads: 0,
        checkpoint_bytes: u64::MAX,
    })
}

#[test]
fn a_writer_that_comes_too_late_for_the_forgetter_sees_its_note() {
    let scene = Scene::new();
    let point = scene.back_up(&MemoryVolume::new(volume_bytes(300_000, 1)));
    // The forgetter has looked at the leases and is about to delete: the lease comes too late, the point is still there.
    let (writer, basis) = (scene.repository.clone(), point.clone());
    let forgetter = scene.meddled(Act::Delete, "points/", move || {
        let outcome = build_on(&writer, &basis).map(drop);
        assert!(matches!(outcome, Err(RepositoryError::BasisGone { .. })), "{outcome:?}");
    });
    forgetter.forget_point(&point).unwrap();
    assert!(scene.repository.leases().unwrap().is_empty());
}

#[test]
fn a_point_that_is_gone_without_a_trace_is_not_built_on() {
    let scene = Scene::new();
    let point = scene.back_up(&MemoryVolume::new(volume_bytes(300_000, 1)));
    scene.store.delete(&names::point(point.volume, point.id)).unwrap();
    assert!(matches!(build_on(&scene.repository, &point), Err(RepositoryError::BasisGone { .. })));
    assert!(scene.repository.leases().unwrap().is_empty());
}

#[test]
fn a_last_upload_that_takes_almost_an_hour_is_committed_all_the_same() {
    let scene = Scene::new();
    let clock = Arc::clone(&scene.clock);
    // One window: a data pack, then a tree pack, and nothing is appended after them that would renew the lease.
    let writer = scene.meddled_later(Act::PutIfAbsent, "packs/", 1, move || clock.advance(Duration::from_secs(50 * 60)));
    trial::back_up(&writer, "v", &MemoryVolume::new(random_bytes(200_000, 1))).unwrap();
}

#[derive(Debug)]
struct StopAtFirstStep(Cancel);

impl Progress for StopAtFirstStep {
    fn begin(&self, _: &str, _: u64) {}
    fn step(&self, _: Step) {
        self.0.cancel();
    }
    fn warn(&self, _: &str) {}
    fn finish(&self) {}
}

#[test]
fn what_a_stopped_run_took_from_a_killed_one_is_kept_for_the_next() {
    let scene = Scene::new();
    let volume = MemoryVolume::new(random_bytes(1 << 20, 1));
    let plan = FaultPlan { crash_after_writes: Some(8), ..FaultPlan::default() };
    let faulty = Faulty::new(Arc::clone(&scene.store), plan, scene.clock.clone(), Box::new(SeededEntropy::new(1)));
    let dying: Arc<dyn Store> = Arc::new(faulty);
    let dying = trial::open(&dying, environment(&scene.clock, 3)).unwrap();
    run(&dying, &volume, 200_000).unwrap_err();
    // The next run takes over what there is, stores something of its own, and is stopped.
    scene.clock.advance(Duration::from_secs(55 * 60));
    volume.change(|bytes| bytes[..5_000].fill(9));
    let stop = StopAtFirstStep(Cancel::new());
    let request = trial::request(&scene.repository, "v");
    let outcome = trial::run_in_lockstep(&scene.repository, &request, None, &volume.bytes(), &stop, &stop.0);
    assert_eq!(outcome.unwrap_err().to_string(), "stopped on request");
    // The killed run's lease goes, and then whoever collects is in a hurry.
    scene.clock.advance(CLOCK_SKEW + Duration::from_secs(10 * 60));
    scene.repository.collect(CollectOptions { dry_run: false, wait: SAFE_WAIT }).unwrap();
    assert_eq!(scene.repository.leases().unwrap().len(), 1);
    scene.repository.collect(CollectOptions { dry_run: false, wait: Duration::ZERO }).unwrap();
    assert!(run(&scene.repository, &volume, 200_000).unwrap());
    assert!(scene.repository.check(CheckDepth::Deep, &Silent).unwrap().is_clean());
}

#[test]
fn a_forgetter_that_finds_a_writer_takes_its_note_back() {
    let scene = Scene::new();
    let volume = MemoryVolume::new(volume_bytes(300_000, 1));
    let point = scene.back_up(&volume);
    // The writer's lease comes between the note and the look at the leases: the writer must lose, or the forgetter.
    let (writer, copy) = (scene.repository.clone(), volume.clone());
    let forgetter = scene.meddled(Act::List, "leases/", move || {
        let outcome = trial::back_up(&writer, "v", &copy);
        let stands_alone = outcome.as_ref().is_ok_and(|report| report.point.point.previous.is_none());
        let gave_way = matches!(trial::repository_error(&outcome), Some(RepositoryError::BasisGone { .. }));
        assert!(stands_alone || gave_way, "{outcome:?}");
    });
    forgetter.forget_point(&point).unwrap();
    assert!(scene.repository.check(CheckDepth::Deep, &Silent).unwrap().is_clean());
}

#[test]
fn a_point_whose_basis_was_taken_back_is_not_committed() {
    let scene = Scene::new();
    let volume = MemoryVolume::new(volume_bytes(300_000, 1));
    let point = scene.back_up(&volume);
    volume.change(|bytes| bytes[..5_000].fill(3));
    let (store, key) = (Arc::clone(&scene.store), names::point(point.volume, point.id));
    let writer = scene.meddled(Act::PutIfAbsent, "packs/", move || assert!(store.delete(&key).is_ok()));
    let outcome = trial::back_up(&writer, "v", &volume);
    assert!(matches!(trial::repository_error(&outcome), Some(RepositoryError::BasisGone { .. })), "{outcome:?}");
    assert!(scene.repository.points().unwrap().points.is_empty());
    assert!(scene.repository.leases().unwrap().iter().all(|lease| !lease.may_commit()), "its lease stands in the way");
}

#[test]
fn a_manifest_that_landed_too_late_is_taken_back() {
    let scene = Scene::new();
    let clock = Arc::clone(&scene.clock);
    let writer = scene.meddled(Act::PutIfAbsent, "points/", move || clock.advance(LEASE_DURATION + CLOCK_SKEW + SAFE_WAIT));
    let outcome = trial::back_up(&writer, "v", &MemoryVolume::new(volume_bytes(300_000, 1)));
    assert!(matches!(trial::repository_error(&outcome), Some(RepositoryError::LeaseLost)), "{outcome:?}");
    assert!(scene.repository.points().unwrap().points.is_empty());
}

#[test]
fn a_checkpoint_whose_lease_goes_while_it_is_taken_over_is_not_used() {
    let scene = Scene::new();
    let volume = MemoryVolume::new(volume_bytes(600_000, 1));
    let plan = FaultPlan { crash_after_writes: Some(6), ..FaultPlan::default() };
    let faulty = Faulty::new(Arc::clone(&scene.store), plan, scene.clock.clone(), Box::new(SeededEntropy::new(1)));
    let dying: Arc<dyn Store> = Arc::new(faulty);
    let dying = trial::open(&dying, environment(&scene.clock, 3)).unwrap();
    run(&dying, &volume, 60_000).unwrap_err();
    assert!(scene.repository.points().unwrap().points.is_empty());
    let left = scene.repository.leases().unwrap();
    assert!(left[0].lease.as_ref().unwrap().checkpoint.is_some());
    // The lease and all it held are collected while its successor reads it.
    let (store, lease) = (Arc::clone(&scene.store), names::lease(left[0].id));
    let writer = scene.meddled(Act::Size, "leases/", move || {
        store.delete(&lease).unwrap();
        // The tree stays readable, which is the worse case: it speaks of chunks that are gone.
        for pack in list_all(store.as_ref(), names::PACKS).unwrap() {
            let kind = store.get_range(&pack.key, 65..66).unwrap()[0];
            if kind == 1 {
                store.delete(&pack.key).unwrap();
            }
        }
    });
    run(&writer, &volume, 60_000).unwrap();
    assert!(scene.repository.check(CheckDepth::Deep, &Silent).unwrap().is_clean());
    assert!(read_back(&scene.repository, &scene.repository.points().unwrap().points[0]).unwrap().0 == volume.bytes());
}

#[test]
fn a_checkpoint_in_use_is_held_by_whoever_uses_it() {
    let scene = Scene::new();
    let volume = MemoryVolume::new(volume_bytes(600_000, 1));
    let plan = FaultPlan { crash_after_writes: Some(6), ..FaultPlan::default() };
    let faulty = Faulty::new(Arc::clone(&scene.store), plan, scene.clock.clone(), Box::new(SeededEntropy::new(1)));
    let dying: Arc<dyn Store> = Arc::new(faulty);
    let dying = trial::open(&dying, environment(&scene.clock, 3)).unwrap();
    run(&dying, &volume, 60_000).unwrap_err();
    // Its writer is long dead; the lease lapses, goes, and its packs are due, all while the successor is at work.
    scene.clock.advance(LEASE_DURATION + CLOCK_SKEW - Duration::from_secs(10));
    let (collector, clock) = (scene.repository.clone(), Arc::clone(&scene.clock));
    let writer = scene.meddled(Act::PutIfAbsent, "packs/", move || {
        clock.advance(Duration::from_secs(20));
        for _ in 0..3 {
            collector.collect(CollectOptions { dry_run: false, wait: SAFE_WAIT }).unwrap();
        }
        // No wait ends within the successor's own lease, so the condemned are hurried along.
        let condemned = collector.condemned_lists().unwrap().into_iter().flat_map(|(_, list)| list.packs);
        condemned.for_each(|(pack, _)| assert!(collector.store.delete(&names::pack(pack)).is_ok()));
    });
    assert!(run(&writer, &volume, u64::MAX).unwrap());
    assert!(scene.repository.check(CheckDepth::Deep, &Silent).unwrap().is_clean());
}

#[test]
fn collection_looks_again_when_a_listed_point_is_gone_before_it_is_read() {
    let scene = Scene::new();
    let volume = MemoryVolume::new(volume_bytes(300_000, 1));
    let point = scene.back_up(&volume);
    let (other, copy, doomed) = (scene.repository.clone(), volume.clone(), point.clone());
    // Between the listing and the reading, a successor comes and its basis is forgotten.
    let collector = scene.meddled(Act::Get, format!("points/{}", point.volume), move || {
        trial::back_up(&other, "v", &copy).unwrap();
        other.forget_point(&doomed).unwrap();
    });
    collector.collect(CollectOptions { dry_run: false, wait: Duration::ZERO }).unwrap();
    assert!(scene.repository.check(CheckDepth::Deep, &Silent).unwrap().is_clean());
    assert_eq!(scene.repository.points().unwrap().points.len(), 1);
}

#[test]
fn a_thread_that_dies_fails_its_backup_and_keeps_nobody_waiting() {
    for upload_threads in [0, 1, 3] {
        let scene = Scene::new();
        let writer = scene.meddled_later(Act::PutIfAbsent, "packs/", 1, || panic!("on purpose"));
        let mut request = trial::request(&writer, "v");
        (request.upload_threads, request.checkpoint_bytes) = (upload_threads, 60_000);
        let volume = MemoryVolume::new(volume_bytes(2_000_000, 1));
        let outcome = trial::run(&writer, &request, &volume);
        assert!(outcome.is_err(), "{upload_threads} upload threads");
        assert!(scene.repository.points().unwrap().points.is_empty());
        // And whatever it left is sound.
        let point = trial::back_up(&scene.repository, "v", &volume).unwrap().point;
        assert!(trial::restored(&scene.repository, &point, trial::PLAIN).unwrap().0 == volume.bytes());
        assert!(scene.repository.check(CheckDepth::Deep, &Silent).unwrap().is_clean());
    }
}
