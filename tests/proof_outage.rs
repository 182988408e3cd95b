//! A store that is full or out of reach in the middle of a backup: the run fails cleanly, and the next one goes on from there.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests and their helpers fail by panicking, and say what they found"
)]

use std::env;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use icecore::base::clock::Clock;
use icecore::job::JobErrorKind;
use icecore::job::backup::BackupRequest;
use icecore::repository::{CLOCK_SKEW, CollectOptions, LEASE_DURATION, Repository, SAFE_WAIT};
use icecore::store::fault::{FaultPlan, Faulty};
use icecore::store::memory::Memory;
use icecore::store::retry::{RetryPolicy, Retrying};
use icecore::store::{Store, StoreError, StoreErrorKind};
use icecore::testkit::album::Album;
use icecore::testkit::contents::volume_bytes;
use icecore::testkit::dice::{Dice, each_seed};
use icecore::testkit::guarded::{Act, Doorkeeper, Guarded};
use icecore::testkit::manual_clock::ManualClock;
use icecore::testkit::seeded_entropy::SeededEntropy;
use icecore::testkit::trial::{self, environment};
use icecore::testkit::volume::MemoryVolume;

const SIZE: usize = 1_500_000;

struct Scene {
    clock: Arc<ManualClock>,
    store: Arc<dyn Store>,
    album: Album,
    volume: MemoryVolume,
}

impl Scene {
    /// One point, and a volume that is all new since.
    fn new(seed: u64) -> Self {
        let clock = Arc::new(ManualClock::default());
        let store: Arc<dyn Store> = Arc::new(Memory::new(clock.clone()));
        let repository = trial::init(&store, environment(&clock, seed)).unwrap();
        let volume = MemoryVolume::new(volume_bytes(SIZE, seed));
        let mut album = Album::default();
        album.keep(&trial::back_up(&repository, "v", &volume).unwrap().point, volume.bytes());
        volume.change(|bytes| *bytes = volume_bytes(SIZE, seed + 1_000));
        clock.advance(Duration::from_secs(60));
        Self { clock, store, album, volume }
    }

    fn open(&self, store: &Arc<dyn Store>, seed: u64) -> Repository {
        trial::open(store, environment(&self.clock, seed)).unwrap()
    }

    fn faulty(&self, plan: FaultPlan, seed: u64) -> Arc<Faulty> {
        Arc::new(Faulty::new(Arc::clone(&self.store), plan, self.clock.clone(), Box::new(SeededEntropy::new(seed))))
    }

    /// Retries as the program does.
    fn retrying(&self, faulty: Arc<Faulty>) -> Arc<dyn Store> {
        Arc::new(Retrying::new(faulty, RetryPolicy::default(), self.clock.clone(), Arc::new(SeededEntropy::new(9))))
    }

    fn request(&self, repository: &Repository, upload_threads: usize) -> BackupRequest {
        BackupRequest { upload_threads, checkpoint_bytes: 150_000, ..trial::request(repository, "v") }
    }

    /// The same volume again, over a store without faults.
    fn run_again(&mut self, seed: u64) -> bool {
        self.clock.advance(Duration::from_secs(60));
        let repository = self.open(&self.store, seed);
        self.album.compare(&repository).unwrap();
        let report = trial::run(&repository, &self.request(&repository, 0), &self.volume).unwrap();
        self.album.keep(&report.point, self.volume.bytes());
        self.album.compare(&repository).unwrap();
        for _ in 0..3 {
            self.clock.advance(LEASE_DURATION + CLOCK_SKEW + SAFE_WAIT);
            repository.collect(CollectOptions { dry_run: false, wait: SAFE_WAIT }).unwrap();
        }
        self.album.compare(&repository).unwrap();
        report.resumed
    }
}

#[test]
fn a_store_that_fills_up_fails_the_backup_and_nothing_else() {
    each_seed(0..15, |seed| {
        let dice = Dice::new(seed);
        for upload_threads in [0, 2] {
            let mut scene = Scene::new(seed);
            let faulty = scene.faulty(FaultPlan { room_bytes: Some(dice.below(700_000)), ..FaultPlan::default() }, seed);
            let store: Arc<dyn Store> = faulty.clone();
            let repository = scene.open(&store, seed + 5);
            let error = trial::run(&repository, &scene.request(&repository, upload_threads), &scene.volume).unwrap_err();
            assert_eq!(error.kind(), JobErrorKind::Failure, "{error}");
            assert!(error.to_string().contains("no room"), "{error}");
            scene.run_again(seed + 6);
        }
    });
}

#[test]
fn a_pack_that_was_refused_is_in_no_checkpoint() {
    // The store refuses one pack and is well again at once, so that giving up can write what it likes.
    each_seed(0..25, |seed| {
        let dice = Dice::new(seed);
        for upload_threads in [0, 1, 3] {
            let mut scene = Scene::new(seed);
            let keeper = Arc::new(RefuseOnce(Mutex::new(Some(dice.below(18)))));
            let store: Arc<dyn Store> = Arc::new(Guarded::new(Arc::clone(&scene.store), keeper));
            let repository = scene.open(&store, seed + 5);
            if let Ok(report) = trial::run(&repository, &scene.request(&repository, upload_threads), &scene.volume) {
                scene.album.keep(&report.point, scene.volume.bytes());
            }
            scene.run_again(seed + 6);
        }
    });
}

#[test]
fn a_short_outage_is_borne_by_retries() {
    each_seed(0..10, |seed| {
        let mut scene = Scene::new(seed);
        let now = scene.clock.monotonic();
        let outage = now + Duration::from_millis(300)..now + Duration::from_secs(40);
        let plan = FaultPlan {
            outages: vec![outage],
            latency: Duration::from_millis(100),
            before_per_mille: 30,
            after_per_mille: 30,
            ..FaultPlan::default()
        };
        let store = scene.retrying(scene.faulty(plan, seed));
        let repository = scene.open(&store, seed + 5);
        let report = trial::run(&repository, &scene.request(&repository, 0), &scene.volume).unwrap();
        scene.album.keep(&report.point, scene.volume.bytes());
        assert!(scene.clock.slept().iter().any(|slept| *slept > Duration::from_secs(1)), "nothing was out");
        scene.run_again(seed + 6);
    });
}

#[test]
fn a_long_outage_fails_the_backup_and_the_next_run_goes_on_from_its_checkpoint() {
    let mut resumed = 0;
    each_seed(0..20, |seed| {
        let mut scene = Scene::new(seed);
        let begin = scene.clock.monotonic() + Duration::from_millis(Dice::new(seed).within(500..1_500));
        let plan = FaultPlan {
            outages: vec![begin..begin + Duration::from_secs(12 * 3_600)],
            latency: Duration::from_millis(100),
            ..FaultPlan::default()
        };
        let store = scene.retrying(scene.faulty(plan, seed));
        let repository = scene.open(&store, seed + 5);
        match trial::run(&repository, &scene.request(&repository, 0), &scene.volume) {
            Ok(report) => scene.album.keep(&report.point, scene.volume.bytes()),
            Err(error) => assert_eq!(error.kind(), JobErrorKind::Unavailable, "{error}"),
        }
        resumed += u64::from(scene.run_again(seed + 6));
    });
    assert!(resumed > 0 || env::var("ICECORE_TEST_SEED").is_ok(), "no run left a checkpoint");
}

/// Turns one put of a pack away, and is well before and after.
#[derive(Debug)]
struct RefuseOnce(Mutex<Option<u64>>);

impl Doorkeeper for RefuseOnce {
    fn enter(&self, act: Act, name: &str) -> Result<(), StoreError> {
        let mut left = self.0.lock().unwrap();
        if act != Act::PutIfAbsent || !name.starts_with("packs/") {
            return Ok(());
        }
        let turned_away = *left == Some(0);
        *left = left.and_then(|left| left.checked_sub(1));
        if turned_away { Err(StoreError::about(StoreErrorKind::Temporary, "put", name)) } else { Ok(()) }
    }
}
