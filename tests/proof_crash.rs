//! Promise 1: a crash after any store call leaves earlier points whole, the unfinished one invisible, and a re-run correct.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests and their helpers fail by panicking, and say what they found"
)]

use icecore::base::clock::Clock;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use icecore::base::extent::ExtentSet;
use icecore::base::progress::Silent;
use icecore::job::backup::{AuditPolicy, BackupRequest};
use icecore::repository::{CLOCK_SKEW, CheckDepth, CollectOptions, LEASE_DURATION, Repository, SAFE_WAIT};
use icecore::store::fault::{FaultPlan, Faulty};
use icecore::store::memory::Memory;
use icecore::store::{ObjectKey, Store};
use icecore::testkit::album::Album;
use icecore::testkit::contents::{scribble, volume_bytes};
use icecore::testkit::dice::each_seed;
use icecore::testkit::manual_clock::ManualClock;
use icecore::testkit::seeded_entropy::SeededEntropy;
use icecore::testkit::trial::{self, environment};
use icecore::testkit::volume::MemoryVolume;
use icecore::tracking::ChangeList;

/// A repository before the act that will be cut short.
struct Scene {
    clock: Arc<ManualClock>,
    store: Arc<Memory>,
    album: Album,
    volume: MemoryVolume,
    changed: Option<ExtentSet>,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let clock = Arc::new(ManualClock::default());
        let store = Arc::new(Memory::new(clock.clone()));
        let volume = MemoryVolume::new(volume_bytes(700_000, seed));
        let scene = Self { clock, store, album: Album::default(), volume, changed: None };
        trial::init(&scene.store(), environment(&scene.clock, seed)).unwrap();
        scene
    }

    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    /// The same scene, going its own way.
    fn copy(&self) -> Self {
        let clock = Arc::new(ManualClock::new(Clock::now(&*self.clock)));
        let store = Arc::new(self.store.snapshot());
        let volume = MemoryVolume::new(self.volume.bytes());
        Self { clock, store, album: self.album.clone(), volume, changed: self.changed.clone() }
    }

    fn open(&self, seed: u64) -> Repository {
        trial::open(&self.store(), environment(&self.clock, seed)).unwrap()
    }

    /// Opens it through a store that dies at the write after so many, runs `act`, and returns how many writes were begun.
    fn crash(&self, writes: u64, seed: u64, act: &dyn Fn(&mut Repository, &Self)) -> u64 {
        let plan = FaultPlan { crash_after_writes: Some(writes), ..FaultPlan::default() };
        let faulty = Arc::new(Faulty::new(self.store(), plan, self.clock.clone(), Box::new(SeededEntropy::new(seed))));
        let store: Arc<dyn Store> = faulty.clone();
        let mut repository = trial::open(&store, environment(&self.clock, seed ^ 0xc0ffee)).unwrap();
        act(&mut repository, self);
        faulty.writes()
    }

    fn request(&self, repository: &Repository) -> BackupRequest {
        BackupRequest {
            audit: AuditPolicy { wrong_share: 0.2, detection: 0.9 },
            checkpoint_bytes: 100_000,
            ..trial::request(repository, "v")
        }
    }

    fn changes(&self) -> Option<ChangeList> {
        self.changed.clone().map(|extents| ChangeList { extents })
    }

    fn back_up(&mut self, seed: u64) {
        let repository = self.open(seed);
        let point = trial::run_told(&repository, &self.request(&repository), self.changes(), &self.volume).unwrap().point;
        self.album.keep(&point, self.volume.bytes());
        self.clock.advance(Duration::from_secs(60));
    }

    /// A point that was committed although its writer never learned of it is a point.
    fn admit(&mut self, repository: &Repository) {
        for point in repository.points().unwrap().points {
            if self.album.bytes(&point.id).is_none() {
                self.album.keep(&point, self.volume.bytes());
            }
        }
    }

    /// Lets every lease lapse and every wait end, and collects until nothing is left to do.
    fn collect_all(&self, repository: &Repository) {
        for _ in 0..3 {
            self.clock.advance(LEASE_DURATION + CLOCK_SKEW + SAFE_WAIT);
            repository.collect(CollectOptions { dry_run: false, wait: SAFE_WAIT }).unwrap();
        }
    }

    /// Every pack that is there is needed: without it, some point is damaged.
    fn assert_no_litter(&self, repository: &Repository) {
        for prefix in ["leases/", "condemned/"] {
            assert_eq!(keys(&self.store, prefix), Vec::<ObjectKey>::new(), "{prefix} is not empty");
        }
        for pack in keys(&self.store, "packs/") {
            let without = Arc::new(self.store.snapshot());
            without.delete(&pack).unwrap();
            let store: Arc<dyn Store> = without;
            let report = trial::open(&store, environment(&self.clock, 1)).unwrap().check(CheckDepth::Quick, &Silent).unwrap();
            assert!(!report.damage.is_empty(), "{pack} is there, and nobody needs it");
        }
        self.album.compare(repository).unwrap();
    }
}

fn keys(store: &Memory, prefix: &str) -> Vec<ObjectKey> {
    let mut keys = Vec::new();
    store
        .list(prefix, &mut |entry| {
            keys.push(entry.key);
            ControlFlow::Continue(())
        })
        .unwrap();
    keys
}

/// Crashes `act` at each of its writes and hands what is left to `after`.
fn crash_everywhere(scene: &Scene, seed: u64, act: &dyn Fn(&mut Repository, &Scene), after: &dyn Fn(Scene, u64)) {
    for writes in 0.. {
        let copy = scene.copy();
        let begun = copy.crash(writes, seed, act);
        after(copy, writes);
        if begun <= writes {
            assert!(writes >= 1, "the act wrote nothing: the proof would prove nothing");
            return;
        }
    }
}

fn back_up_on(repository: &mut Repository, scene: &Scene) {
    // Whether it ended well is for the store to say.
    let _ = trial::run_told(repository, &scene.request(repository), scene.changes(), &scene.volume);
}

fn after_backup(mut scene: Scene, writes: u64) {
    let repository = scene.open(writes + 100);
    let existing = scene.album.ids();
    scene.admit(&repository);
    assert!(scene.album.ids().len() <= existing.len() + 1);
    scene.album.compare(&repository).unwrap_or_else(|why| panic!("after {writes} writes: {why}"));
    scene.clock.advance(Duration::from_secs(60));
    scene.back_up(writes + 200);
    scene.album.compare(&repository).unwrap_or_else(|why| panic!("re-run after {writes} writes: {why}"));
    scene.collect_all(&repository);
    scene.assert_no_litter(&repository);
}

#[test]
fn a_first_backup_may_die_at_every_write() {
    each_seed(0..4, |seed| crash_everywhere(&Scene::new(seed), seed, &back_up_on, &after_backup));
}

#[test]
fn an_incremental_backup_may_die_at_every_write() {
    each_seed(0..6, |seed| {
        for listed in [false, true] {
            let mut scene = Scene::new(seed);
            scene.back_up(seed);
            let mut changed = ExtentSet::new();
            scene.volume.change(|bytes| {
                changed = scribble(bytes, seed).union(&scribble(bytes, seed + 1_000)).union(&scribble(bytes, seed + 2_000));
            });
            scene.changed = listed.then_some(changed);
            crash_everywhere(&scene, seed, &back_up_on, &after_backup);
        }
    });
}

#[test]
fn a_resumed_backup_may_die_at_every_write() {
    each_seed(0..4, |seed| {
        let mut scene = Scene::new(seed);
        scene.back_up(seed);
        scene.volume.change(|bytes| *bytes = volume_bytes(700_000, seed + 77));
        let clean = scene.copy();
        let total = clean.crash(u64::MAX, seed, &back_up_on);
        scene.crash(total * 2 / 3, seed, &back_up_on);
        scene.clock.advance(Duration::from_secs(600));
        let repository = scene.open(5);
        let trial = scene.copy();
        let resumed = trial::run(&trial.open(6), &trial.request(&repository), &trial.volume).unwrap().resumed;
        assert!(resumed, "the scene has no checkpoint to resume from");
        crash_everywhere(&scene, seed + 9, &back_up_on, &after_backup);
    });
}

/// Several points of a changing volume, some of which have been forgotten.
fn history(seed: u64, points: u64) -> Scene {
    let mut scene = Scene::new(seed);
    for number in 0..points {
        scene.back_up(seed * 31 + number);
        scene.volume.change(|bytes| {
            scribble(bytes, seed * 17 + number);
        });
    }
    scene
}

#[test]
fn forgetting_may_die_at_every_write() {
    each_seed(0..6, |seed| {
        let scene = history(seed, 4);
        let doomed = [scene.album.ids()[1], scene.album.ids()[2]];
        let forget = |repository: &mut Repository, _: &Scene| {
            let points = repository.points().unwrap().points;
            for point in points.iter().filter(|point| doomed.contains(&point.id)) {
                if repository.forget_point(point).is_err() {
                    return;
                }
            }
        };
        crash_everywhere(&scene, seed, &forget, &|mut scene, writes| {
            let mut repository = scene.open(writes);
            let left = scene.album.compare_existing(&repository).unwrap();
            let survivors: Vec<_> = scene.album.ids().into_iter().filter(|id| !doomed.contains(id)).collect();
            assert!(survivors.iter().all(|id| left.contains(id)));
            // A backup goes on in the middle of it, whatever half-forgotten point is there.
            scene.back_up(writes + 500);
            scene.album.compare_existing(&repository).unwrap();
            forget(&mut repository, &scene);
            doomed.iter().for_each(|id| scene.album.forget(id));
            scene.album.compare(&repository).unwrap();
            scene.collect_all(&repository);
            scene.assert_no_litter(&repository);
        });
    });
}

#[test]
fn forgetting_the_newest_point_may_die_at_every_write_and_backups_go_on() {
    let scene = history(3, 3);
    let newest = *scene.album.ids().last().unwrap();
    let forget = |repository: &mut Repository, _: &Scene| {
        let points = repository.points().unwrap().points;
        if let Some(point) = points.iter().find(|point| point.id == newest) {
            let _ = repository.forget_point(point);
        }
    };
    crash_everywhere(&scene, 3, &forget, &|mut scene, writes| {
        let mut repository = scene.open(writes);
        scene.back_up(writes + 500);
        scene.album.compare_existing(&repository).unwrap();
        forget(&mut repository, &scene);
        scene.album.forget(&newest);
        scene.collect_all(&repository);
        scene.assert_no_litter(&repository);
    });
}

#[test]
fn collecting_may_die_at_every_write() {
    each_seed(0..6, |seed| {
        let mut scene = history(seed, 5);
        // A killed run leaves litter and a lease.
        scene.crash(3, seed, &back_up_on);
        let repository = scene.open(seed);
        let points = repository.points().unwrap().points;
        for index in [0, 2, 3] {
            scene.clock.advance(LEASE_DURATION + CLOCK_SKEW + Duration::from_secs(1));
            // The crashed writer's lease goes first; it may hold a point.
            if index == 0 {
                repository.collect(CollectOptions { dry_run: false, wait: SAFE_WAIT }).unwrap();
            }
            repository.forget_point(&points[index]).unwrap();
            scene.album.forget(&points[index].id);
        }
        let collect = |repository: &mut Repository, scene: &Scene| {
            for _ in 0..3 {
                scene.clock.advance(LEASE_DURATION + CLOCK_SKEW + SAFE_WAIT);
                if repository.collect(CollectOptions { dry_run: false, wait: SAFE_WAIT }).is_err() {
                    return;
                }
            }
        };
        crash_everywhere(&scene, seed, &collect, &|scene, writes| {
            let repository = scene.open(writes);
            scene.album.compare(&repository).unwrap_or_else(|why| panic!("after {writes} writes: {why}"));
            scene.collect_all(&repository);
            scene.assert_no_litter(&repository);
        });
    });
}
