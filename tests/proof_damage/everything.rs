//! A repository with one of everything, and what must hold whatever becomes of one of its objects.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use icecore::base::cancel::Cancel;
use icecore::base::clock::Clock;
use icecore::base::progress::Silent;
use icecore::repository::format::slot::{Argon2Cost, SlotKind};
use icecore::repository::format::verdict::VerdictKind;
use icecore::repository::{CheckDepth, CollectOptions, NewSlot, Repository, RepositoryError, SAFE_WAIT, Secret, scrub};
use icecore::store::fault::{FaultPlan, Faulty};
use icecore::store::memory::Memory;
use icecore::store::{ObjectKey, Store};
use icecore::testkit::album::{Album, read_back};
use icecore::testkit::contents::{scribble, volume_bytes};
use icecore::testkit::manual_clock::ManualClock;
use icecore::testkit::seeded_entropy::SeededEntropy;
use icecore::testkit::trial::{self, environment};
use icecore::testkit::volume::MemoryVolume;

pub(crate) struct Everything {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Arc<Memory>,
    pub(crate) album: Album,
    pub(crate) volume: MemoryVolume,
}

impl Everything {
    /// Two volumes, verdicts of three kinds, a crashed writer's lease with its checkpoint, condemned packs, three slots.
    pub(crate) fn new(seed: u64) -> Self {
        let clock = Arc::new(ManualClock::default());
        let store = Arc::new(Memory::new(clock.clone()));
        let mut scene = Self { clock, store, album: Album::default(), volume: MemoryVolume::new(volume_bytes(400_000, seed)) };
        let repository = trial::init(&scene.store(), environment(&scene.clock, seed)).unwrap();
        let cost = Argon2Cost { passes: 1, memory_kib: 64, lanes: 1 };
        let words = Secret::Passphrase("words".to_owned().into());
        repository.add_key(&NewSlot { secret: words, kind: SlotKind::Passphrase(cost), label: "words".to_owned() }).unwrap();
        repository.export_key("paper").unwrap();
        for number in 0..4 {
            scene.back_up(&repository, if number == 3 { "w" } else { "v" });
        }
        scene.forget(&repository, 1);
        scene.clock.advance(SAFE_WAIT);
        repository.collect(CollectOptions { dry_run: false, wait: SAFE_WAIT }).unwrap();
        let ids = scene.album.ids();
        repository.add_verdict(ids[0], VerdictKind::Verified, "").unwrap();
        repository.add_verdict(ids[1], VerdictKind::Pinned, "for the auditors").unwrap();
        scene.crash_a_writer(seed);
        for prefix in ["config", "keys/", "packs/", "points/", "verdicts/", "leases/", "condemned/"] {
            assert!(scene.keys().iter().any(|key| key.as_str().starts_with(prefix)), "the scene has nothing under {prefix}");
        }
        scene
    }

    fn back_up(&mut self, repository: &Repository, volume: &str) {
        let point = trial::back_up(repository, volume, &self.volume).unwrap().point;
        self.album.keep(&point, self.volume.bytes());
        self.clock.advance(Duration::from_secs(60));
        self.volume.change(|bytes| *bytes = changed(bytes, self.clock.now().0));
    }

    fn forget(&mut self, repository: &Repository, index: usize) {
        let id = self.album.ids()[index];
        let point = repository.points().unwrap().points.into_iter().find(|point| point.id == id).unwrap();
        repository.forget_point(&point).unwrap();
        self.album.forget(&id);
    }

    fn crash_a_writer(&self, seed: u64) {
        let plan = FaultPlan { crash_after_writes: Some(7), ..FaultPlan::default() };
        let entropy = Box::new(SeededEntropy::new(seed));
        let store: Arc<dyn Store> = Arc::new(Faulty::new(self.store(), plan, self.clock.clone(), entropy));
        let repository = trial::open(&store, environment(&self.clock, seed + 1)).unwrap();
        let mut request = trial::request(&repository, "v");
        request.checkpoint_bytes = 50_000;
        let volume = MemoryVolume::new(volume_bytes(400_000, seed + 9));
        trial::run(&repository, &request, &volume).unwrap_err();
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    pub(crate) fn keys(&self) -> Vec<ObjectKey> {
        let mut keys = Vec::new();
        self.store
            .list("", &mut |entry| {
                keys.push(entry.key);
                ControlFlow::Continue(())
            })
            .unwrap();
        keys
    }

    pub(crate) fn copy(&self) -> Self {
        let clock = Arc::new(ManualClock::new(self.clock.now()));
        let store = Arc::new(self.store.snapshot());
        Self { clock, store, album: self.album.clone(), volume: MemoryVolume::new(self.volume.bytes()) }
    }

    pub(crate) fn open(&self) -> Result<Repository, RepositoryError> {
        trial::open(&self.store(), environment(&self.clock, 77))
    }

    /// What says that something is wrong: opening, a check with keys, a scrub without.
    pub(crate) fn notice(&self) -> Noticed {
        let keyless = match scrub(&*self.store, &Silent, &Cancel::new()) {
            Ok(report) => !report.problems.is_empty(),
            Err(error) => error.is_damage() || matches!(error, RepositoryError::NotARepository { .. }),
        };
        let check = |depth| match self.open() {
            Ok(repository) => !repository.check(depth, &Silent).unwrap().is_clean(),
            Err(_) => true,
        };
        Noticed { keyless, quick: check(CheckDepth::Quick), deep: check(CheckDepth::Deep) }
    }

    /// Does everything with the damaged store, then heals it: nothing that was good may be lost, and nothing wrong handed out.
    pub(crate) fn survive(&self, healed: &[(ObjectKey, Bytes)], what: &str) {
        if let Ok(mut repository) = self.open() {
            self.never_wrong(&repository, what);
            // Whether these succeed is another question; they must neither panic nor destroy.
            let _ = repository.key_slots();
            let _ = trial::back_up(&repository, "v", &self.volume);
            let _ = trial::back_up(&repository, "new", &self.volume);
            for _ in 0..3 {
                self.clock.advance(SAFE_WAIT * 2);
                let _ = repository.collect(CollectOptions { dry_run: false, wait: SAFE_WAIT });
            }
            let _ = repository.rotate_key();
            self.never_wrong(&repository, what);
        }
        healed.iter().for_each(|(key, bytes)| self.store.put(key, bytes.clone()).unwrap());
        let repository = self.open().unwrap_or_else(|error| panic!("{what}, healed: {error}"));
        for point in repository.points().unwrap().points {
            let Some(expected) = self.album.bytes(&point.id) else { continue };
            let (bytes, lost) = read_back(&repository, &point).unwrap();
            assert!(lost.is_empty() && bytes == expected, "{what}, healed: point {} lost {lost:?}", point.id);
        }
        let present = repository.points().unwrap().points;
        for id in self.album.ids() {
            assert!(present.iter().any(|point| point.id == id), "{what}, healed: point {id} is gone");
        }
    }

    fn never_wrong(&self, repository: &Repository, what: &str) {
        let listing = repository.points().unwrap_or_else(|error| panic!("{what}: points cannot be listed: {error}"));
        for point in &listing.points {
            let Some(expected) = self.album.bytes(&point.id) else { continue };
            let (bytes, lost) = read_back(repository, point).unwrap();
            let same = bytes.iter().zip(expected).enumerate().all(|(at, (a, b))| a == b || lost.contains(at as u64));
            assert!(same && bytes.len() == expected.len(), "{what}: point {} gives wrong bytes", point.id);
        }
    }
}

fn changed(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    scribble(&mut bytes, seed);
    bytes
}

/// Who noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Noticed {
    pub(crate) keyless: bool,
    pub(crate) quick: bool,
    pub(crate) deep: bool,
}
