//! Promise 3: writers, a forgetter, collectors and a reader at once, in orders that seeds think of, while time jumps.
//!
//! Whatever exists in the end gives back what its writer saw.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests and their helpers fail by panicking, and say what they found"
)]

use icecore::base::extent::ExtentSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use icecore::base::cancel::Cancel;
use icecore::base::progress::{Progress, Step};
use icecore::job::JobError;
use icecore::job::backup::{AuditPolicy, BackupRequest};
use icecore::repository::{CollectOptions, ListedPoint, Repository, RepositoryError, SAFE_WAIT};
use icecore::store::Store;
use icecore::store::memory::Memory;
use icecore::testkit::album::{Album, read_back};
use icecore::testkit::contents::{scribble, volume_bytes};
use icecore::testkit::dice::{Dice, each_seed};
use icecore::testkit::guarded::Act;
use icecore::testkit::manual_clock::ManualClock;
use icecore::testkit::trial::{self, environment};
use icecore::testkit::turnstile::{Turnstile, Weather};
use icecore::tracking::ChangeList;

/// What the actors share.
struct Stage {
    seed: u64,
    clock: Arc<ManualClock>,
    store: Arc<dyn Store>,
    album: Mutex<Album>,
    tally: Mutex<Tally>,
}

/// Asks a backup to stop after so many windows.
#[derive(Debug)]
struct Stopper {
    left: AtomicU64,
    cancel: Cancel,
}

impl Stopper {
    fn after(windows: u64) -> Self {
        Self { left: AtomicU64::new(windows), cancel: Cancel::new() }
    }
}

impl Progress for Stopper {
    fn begin(&self, _: &str, _: u64) {}
    fn step(&self, _: Step) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.cancel.cancel();
        }
    }
    fn warn(&self, _: &str) {}
    fn finish(&self) {}
}

/// What happened, so that a proof which never meets its danger is noticed.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    commits: u64,
    resumed: u64,
    leases_lost: u64,
    bases_gone: u64,
    forgotten: u64,
    deleted: u64,
    rewritten: u64,
    read: u64,
}

/// Which dangers a scene has.
#[derive(Clone, Copy)]
struct Scene {
    writers: usize,
    wait: Duration,
    jumps: &'static [u64],
    jump_per_mille: u64,
    /// Somebody may oversleep.
    may_lose: bool,
}

const MINUTES: u64 = 60;
/// Writers wake up on both sides of every bound: renewal, commit margin, lapse, skew, wait.
const ROUGH: Scene = Scene {
    writers: 2,
    wait: SAFE_WAIT,
    jumps: &[MINUTES, 10 * MINUTES, 16 * MINUTES, 50 * MINUTES, 95 * MINUTES, 200 * MINUTES],
    jump_per_mille: 15,
    may_lose: true,
};
/// Time passes, and nobody oversleeps: no backup may fail.
const FAIR: Scene = Scene { writers: 2, wait: SAFE_WAIT, jumps: &[MINUTES, 3 * MINUTES], jump_per_mille: 60, may_lose: false };
/// A collector that does not wait, beside writers that begin and end.
const HASTY: Scene = Scene { writers: 2, wait: Duration::ZERO, jumps: &[MINUTES], jump_per_mille: 50, may_lose: false };

impl Stage {
    fn new(seed: u64) -> Self {
        let clock = Arc::new(ManualClock::default());
        let store: Arc<dyn Store> = Arc::new(Memory::new(clock.clone()));
        let repository = trial::init(&store, environment(&clock, seed)).unwrap();
        let stage = Self { seed, clock, store, album: Mutex::default(), tally: Mutex::default() };
        // A history to forget, in which packs are partly dead.
        let mut bytes = stage.contents();
        for number in 0..3 {
            scribble(&mut bytes, seed * 7 + number);
            stage.back_up(&repository, "v0", &bytes, None, &Stopper::after(u64::MAX)).unwrap();
            stage.clock.advance(Duration::from_secs(60));
        }
        *stage.tally.lock().unwrap() = Tally::default();
        stage
    }

    /// Several windows, mostly zero, so that packs hold several frames.
    fn contents(&self) -> Vec<u8> {
        let mut bytes = vec![0; 900_000];
        (0..3).for_each(|number| drop(scribble(&mut bytes, self.seed * 13 + number)));
        bytes
    }

    fn back_up(
        &self,
        repository: &Repository,
        volume: &str,
        bytes: &[u8],
        changed: Option<ChangeList>,
        stopper: &Stopper,
    ) -> Result<ListedPoint, JobError> {
        let audit = AuditPolicy { wrong_share: 0.3, detection: 0.8 };
        let request = BackupRequest { audit, checkpoint_bytes: 70_000, ..trial::request(repository, volume) };
        let report = trial::run_in_lockstep(repository, &request, changed, bytes, stopper, &stopper.cancel)?;
        let point = report.point;
        self.album.lock().unwrap().keep(&point, bytes.to_vec());
        let mut tally = self.tally.lock().unwrap();
        tally.commits += 1;
        tally.resumed += u64::from(report.resumed);
        Ok(point)
    }

    /// Two writers of the same volume and of different ones; contents change by little and by much.
    fn write(&self, repository: &Repository, actor: u64, scene: Scene) {
        let dice = Dice::new(self.seed * 100 + actor);
        let mut bytes = self.contents();
        for _ in 0..3 {
            let volume = if dice.chance(700) { "v0".to_owned() } else { format!("v{actor}") };
            // Only a list relative to the newest point would be true; a list of everything always is.
            let everything = ChangeList { extents: ExtentSet::whole(bytes.len() as u64) };
            match dice.below(3) {
                0 => {}
                1 => drop(scribble(&mut bytes, dice.below(u64::MAX))),
                _ => bytes = volume_bytes(150_000 + dice.index(80_000), dice.below(u64::MAX)),
            }
            let changed = dice.chance(300).then_some(everything);
            let windows = if dice.chance(300) { dice.within(1..4) } else { u64::MAX };
            match self.back_up(repository, &volume, &bytes, changed, &Stopper::after(windows)) {
                Ok(_) | Err(JobError::Cancelled) => {}
                Err(JobError::Repository(RepositoryError::LeaseLost)) if scene.may_lose => {
                    self.tally.lock().unwrap().leases_lost += 1;
                }
                // What it was to build on was forgotten, or taken back, under its feet.
                Err(JobError::Repository(RepositoryError::BasisGone { .. })) => self.tally.lock().unwrap().bases_gone += 1,
                Err(error) => panic!("writer {actor} failed: {error:?}"),
            }
        }
    }

    fn forget(&self, repository: &Repository) {
        let dice = Dice::new(self.seed + 55);
        for _ in 0..6 {
            let points = repository.points().unwrap().points;
            if points.is_empty() {
                continue;
            }
            let point = &points[dice.index(points.len())];
            match repository.forget_point(point) {
                Ok(()) => self.tally.lock().unwrap().forgotten += 1,
                Err(RepositoryError::Busy { .. }) => {}
                Err(error) => panic!("forgetting failed: {error:?}"),
            }
        }
    }

    fn collect(&self, repository: &Repository, scene: Scene) {
        for _ in 0..6 {
            match repository.collect(CollectOptions { dry_run: false, wait: scene.wait }) {
                Ok(report) => {
                    let mut tally = self.tally.lock().unwrap();
                    tally.deleted += report.deleted.packs;
                    tally.rewritten += report.rewritten.packs;
                }
                Err(RepositoryError::Busy { .. }) => {}
                // A point was forgotten and its packs collected while this collection walked it; it comes back later.
                Err(error) if error.is_damage() => {}
                Err(error) => panic!("collecting failed: {error:?}"),
            }
        }
    }

    /// A point that is still there after it was read must have been read whole.
    fn read(&self, repository: &Repository) {
        let dice = Dice::new(self.seed + 66);
        for _ in 0..4 {
            let points = repository.points().unwrap().points;
            if points.is_empty() {
                continue;
            }
            let point = &points[dice.index(points.len())];
            let outcome = read_back(repository, point);
            let still_there = repository.points().unwrap().points.iter().any(|listed| listed.id == point.id);
            let album = self.album.lock().unwrap();
            let known = album.bytes(&point.id);
            match outcome {
                Ok((bytes, lost)) if lost.is_empty() => assert!(known.is_none_or(|known| known == bytes), "read wrong bytes"),
                // A writer that overslept takes its point back; until then nobody has promised anything.
                Ok((_, lost)) => assert!(!still_there || known.is_none(), "lost {lost:?} of a point that exists"),
                Err(error) => panic!("reading failed: {error:?}"),
            }
            self.tally.lock().unwrap().read += 1;
        }
    }
}

/// Plays one seed and returns who did what in which order.
fn play(seed: u64, scene: Scene) -> (Vec<(usize, Act, String)>, Tally) {
    let stage = Stage::new(seed);
    let actors = scene.writers + 4;
    let weather = Weather {
        jump_per_mille: scene.jump_per_mille,
        jumps: scene.jumps.iter().map(|seconds| Duration::from_secs(*seconds)).collect(),
        sleep_per_mille: 30,
        longest_sleep: 60,
    };
    let turnstile = Turnstile::new(actors, seed, weather, Arc::clone(&stage.clock));
    thread::scope(|scope| {
        for actor in 0..actors {
            let (turnstile, stage) = (Arc::clone(&turnstile), &stage);
            scope.spawn(move || {
                let _here = turnstile.attend(actor);
                let store = turnstile.store(actor, Arc::clone(&stage.store));
                let repository = trial::open(&store, environment(&stage.clock, seed * 1_000 + actor as u64 + 1)).unwrap();
                match actor.checked_sub(scene.writers) {
                    None => stage.write(&repository, actor as u64, scene),
                    Some(0) => stage.forget(&repository),
                    Some(1) => stage.read(&repository),
                    Some(_) => stage.collect(&repository, scene),
                }
            });
        }
    });
    let trace = turnstile.trace();
    let repository = trial::open(&stage.store, environment(&stage.clock, 1)).unwrap();
    let album = stage.album.into_inner().unwrap();
    if let Err(why) = album.compare_existing(&repository) {
        panic!("{why}\n{}", story(&trace));
    }
    (trace, stage.tally.into_inner().unwrap())
}

fn story(trace: &[(usize, Act, String)]) -> String {
    let line = |(actor, act, name): &(usize, Act, String)| format!("{actor} {act:?} {name}\n");
    trace.iter().map(line).collect()
}

fn play_all(seeds: u64, scene: Scene) -> Tally {
    let mut sum = Tally::default();
    each_seed(0..seeds, |seed| {
        let (_, tally) = play(seed, scene);
        sum.commits += tally.commits;
        sum.resumed += tally.resumed;
        sum.leases_lost += tally.leases_lost;
        sum.bases_gone += tally.bases_gone;
        sum.forgotten += tally.forgotten;
        sum.deleted += tally.deleted;
        sum.rewritten += tally.rewritten;
        sum.read += tally.read;
    });
    println!("{sum:?}");
    sum
}

#[test]
fn one_seed_gives_one_trace() {
    for seed in [1, 2, 3] {
        assert!(play(seed, ROUGH).0 == play(seed, ROUGH).0, "seed {seed} gave two traces");
    }
}

#[test]
fn whatever_exists_after_rough_times_gives_back_what_its_writer_saw() {
    let tally = play_all(200, ROUGH);
    assert!(
        tally.deleted > 0 && tally.rewritten > 0 && tally.leases_lost > 0 && tally.forgotten > 0 && tally.resumed > 0,
        "nothing was at stake"
    );
}

#[test]
fn no_writer_fails_while_leases_are_renewed_in_time() {
    let tally = play_all(100, FAIR);
    assert!(tally.forgotten > 0, "nothing was at stake");
}

#[test]
fn a_collection_that_does_not_wait_spares_writers_that_begin_and_end_beside_it() {
    let tally = play_all(200, HASTY);
    assert!(tally.deleted > 0, "nothing was at stake");
}
