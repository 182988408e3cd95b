//! Keys: the wrong one says so, rotation rewrites no data, and an act cut short at any write locks nobody out.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests and their helpers fail by panicking, and say what they found"
)]

use icecore::base::cancel::Cancel;
use icecore::base::clock::Clock;
use icecore::base::progress::Silent;
use icecore::job::JobError;
use icecore::repository::CheckDepth;
use icecore::repository::scrub;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use icecore::job::JobErrorKind;
use icecore::repository::format::config::Config;
use icecore::repository::format::slot::{Argon2Cost, SlotKind};
use icecore::repository::ids::SlotId;
use icecore::repository::{KeyBytes, NewSlot, Repository, RepositoryError, Secret};
use icecore::store::fault::{FaultPlan, Faulty};
use icecore::store::memory::Memory;
use icecore::store::{ObjectKey, Store};
use icecore::testkit::album::Album;
use icecore::testkit::contents::{scribble, volume_bytes};
use icecore::testkit::manual_clock::ManualClock;
use icecore::testkit::seeded_entropy::SeededEntropy;
use icecore::testkit::trial::{self, environment, secret};
use icecore::testkit::volume::MemoryVolume;
use zeroize::Zeroizing;

/// Quick to stretch, since its strength is not what is tested.
const QUICK: Argon2Cost = Argon2Cost { passes: 1, memory_kib: 64, lanes: 1 };

fn passphrase(text: &str) -> Secret {
    Secret::Passphrase(text.to_owned().into())
}

fn other_key() -> Secret {
    Secret::Key(KeyBytes(Zeroizing::new([0x77; 32])))
}

struct Scene {
    clock: Arc<ManualClock>,
    store: Arc<Memory>,
    album: Album,
    volume: MemoryVolume,
}

impl Scene {
    fn empty() -> Self {
        let clock = Arc::new(ManualClock::default());
        let store = Arc::new(Memory::new(clock.clone()));
        Self { clock, store, album: Album::default(), volume: MemoryVolume::new(volume_bytes(300_000, 1)) }
    }

    /// Three ways in, and a point.
    fn new(seed: u64) -> Self {
        let mut scene = Self::empty();
        let repository = trial::init(&scene.store(), environment(&scene.clock, seed)).unwrap();
        let slot = |secret, kind, label: &str| NewSlot { secret, kind, label: label.to_owned() };
        repository.add_key(&slot(passphrase("correct horse"), SlotKind::Passphrase(QUICK), "words")).unwrap();
        repository.add_key(&slot(other_key(), SlotKind::KeyFile, "other")).unwrap();
        scene.back_up(&repository);
        scene
    }

    fn secrets() -> [Secret; 3] {
        [secret(), passphrase("correct horse"), other_key()]
    }

    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    fn copy(&self) -> Self {
        let store = Arc::new(self.store.snapshot());
        Self { clock: Arc::clone(&self.clock), store, album: self.album.clone(), volume: MemoryVolume::new(self.volume.bytes()) }
    }

    fn open(&self, secret: &Secret, seed: u64) -> Result<Repository, RepositoryError> {
        Repository::open(self.store(), environment(&self.clock, seed), secret)
    }

    fn back_up(&mut self, repository: &Repository) {
        self.clock.advance(Duration::from_secs(60));
        self.volume.change(|bytes| drop(scribble(bytes, Clock::now(&*self.clock).0)));
        let point = trial::back_up(repository, "v", &self.volume).unwrap().point;
        self.album.keep(&point, self.volume.bytes());
    }

    fn objects(&self, prefix: &str) -> BTreeMap<ObjectKey, Bytes> {
        let mut keys = Vec::new();
        self.store
            .list(prefix, &mut |entry| {
                keys.push(entry.key);
                ControlFlow::Continue(())
            })
            .unwrap();
        keys.into_iter().map(|key| (key.clone(), self.store.get(&key).unwrap())).collect()
    }

    /// The same store behind one that dies at the write after so many.
    fn dying(&self, writes: u64) -> (Arc<Faulty>, Arc<dyn Store>) {
        let plan = FaultPlan { crash_after_writes: Some(writes), ..FaultPlan::default() };
        let faulty = Arc::new(Faulty::new(self.store(), plan, self.clock.clone(), Box::new(SeededEntropy::new(writes))));
        (faulty.clone(), faulty)
    }
}

#[test]
fn a_wrong_key_says_that_it_is_wrong() {
    let scene = Scene::new(1);
    let wrong_key = Secret::Key(KeyBytes(Zeroizing::new([0x43; 32])));
    for wrong in [wrong_key, passphrase("correct hors"), passphrase("")] {
        let error = scene.open(&wrong, 2).unwrap_err();
        assert!(matches!(error, RepositoryError::WrongKey { slots: 3 }), "{error}");
        assert_eq!(JobError::from(error).kind(), JobErrorKind::Key);
    }
    for right in Scene::secrets() {
        scene.album.compare(&scene.open(&right, 3).unwrap()).unwrap();
    }
}

#[test]
fn a_slot_or_config_of_another_repository_opens_nothing() {
    let (scene, other) = (Scene::new(1), Scene::new(50));
    let config = ObjectKey::new("config").unwrap();
    let mixed = scene.copy();
    mixed.store.put(&config, other.store.get(&config).unwrap()).unwrap();
    let error = mixed.open(&secret(), 2).unwrap_err();
    assert!(matches!(error, RepositoryError::Damaged { .. }), "{error}");

    let mixed = scene.copy();
    scene.objects("keys/").keys().for_each(|key| assert!(mixed.store.delete(key).is_ok()));
    other.objects("keys/").into_iter().for_each(|(key, bytes)| mixed.store.put(&key, bytes).unwrap());
    let error = mixed.open(&secret(), 2).unwrap_err();
    assert!(matches!(error, RepositoryError::Damaged { .. }), "{error}");

    // A stranger's slot beside our own opens nothing for the stranger, hides nothing from us, and never receives our keys.
    let mixed = scene.copy();
    other.objects("keys/").into_iter().for_each(|(key, bytes)| mixed.store.put(&key, bytes).unwrap());
    let mut repository = mixed.open(&secret(), 2).unwrap();
    assert!(mixed.album.compare_existing(&repository).unwrap_err().contains("not made with this repository's keys"));
    assert!(matches!(repository.rotate_key().unwrap_err(), RepositoryError::Damaged { .. }));
    for (key, bytes) in other.objects("keys/") {
        assert_eq!(mixed.store.get(&key).unwrap(), bytes, "a stranger's slot was written");
        repository.remove_key(key.file_name()).unwrap();
    }
    repository.rotate_key().unwrap();
    mixed.album.compare(&repository).unwrap();
}

#[test]
fn a_config_with_a_good_checksum_and_other_contents_is_refused() {
    let scene = Scene::new(1);
    let key = ObjectKey::new("config").unwrap();
    let (config, seal) = Config::parse(&scene.store.get(&key).unwrap()).unwrap();
    for forged in [Config { chunk_bytes: 8_192, ..config }, Config { pack_bytes: 128 << 10, ..config }] {
        scene.store.put(&key, Bytes::from(forged.encode(seal))).unwrap();
        assert!(matches!(scene.open(&secret(), 2), Err(RepositoryError::Damaged { .. })));
    }
    scene.store.put(&key, Bytes::from(config.encode(seal))).unwrap();
    scene.open(&secret(), 2).unwrap();
}

#[test]
fn two_slots_that_changed_places_are_noticed_with_and_without_a_key() {
    let scene = Scene::new(1);
    let slots: Vec<_> = scene.objects("keys/").into_iter().collect();
    scene.store.put(&slots[0].0, slots[1].1.clone()).unwrap();
    scene.store.put(&slots[1].0, slots[0].1.clone()).unwrap();
    let opened = Scene::secrets().into_iter().find_map(|secret| scene.open(&secret, 2).ok()).unwrap();
    let report = opened.check(CheckDepth::Quick, &Silent).unwrap();
    assert_eq!(report.objects.len(), 2, "{report:?}");
    let scrubbed = scrub(&*scene.store, &Silent, &Cancel::new()).unwrap();
    assert_eq!(scrubbed.problems.len(), 2, "{scrubbed:?}");
}

#[test]
fn rotation_keeps_old_points_gives_new_packs_the_new_key_and_rewrites_no_data() {
    let mut scene = Scene::new(1);
    let mut repository = scene.open(&secret(), 2).unwrap();
    for epoch in 1..4 {
        let before = scene.objects("packs/");
        assert_eq!(repository.rotate_key().unwrap(), epoch);
        assert_eq!(scene.objects("packs/"), before);
        scene.back_up(&repository);
        let new: Vec<_> = scene.objects("packs/").into_iter().filter(|(key, _)| !before.contains_key(key)).collect();
        assert!(!new.is_empty());
        for (key, bytes) in new {
            assert_eq!(u16::from_le_bytes([bytes[10], bytes[11]]), epoch, "{key} has the epoch of another time");
        }
        for secret in Scene::secrets() {
            scene.album.compare(&scene.open(&secret, 3).unwrap()).unwrap();
        }
    }
}

#[test]
fn a_removed_slot_opens_nothing_and_the_last_one_stays() {
    let mut scene = Scene::new(1);
    let mut repository = scene.open(&secret(), 2).unwrap();
    for (label, secret) in [("words", passphrase("correct horse")), ("other", other_key())] {
        let slot = repository.key_slots().unwrap().into_iter().find(|slot| slot.label == label).unwrap();
        let bytes = scene.store.get(&ObjectKey::new(format!("keys/{}", slot.id)).unwrap()).unwrap();
        repository.remove_key(&slot.id.to_string()).unwrap();
        assert!(matches!(scene.open(&secret, 3), Err(RepositoryError::WrongKey { .. })));
        repository.rotate_key().unwrap();
        scene.back_up(&repository);
        // Whoever kept a copy of the slot can put it back; the new key is not in it, and nobody adds it.
        let restored = scene.copy();
        restored.store.put(&ObjectKey::new(format!("keys/{}", slot.id)).unwrap(), bytes).unwrap();
        let back = restored.open(&secret, 4).unwrap();
        let newest = *restored.album.ids().last().unwrap();
        assert!(back.points().unwrap().points.iter().all(|point| point.id != newest), "a removed slot reads new points");
        let mut owner = restored.open(&trial::secret(), 5).unwrap();
        assert!(matches!(owner.rotate_key(), Err(RepositoryError::Damaged { .. })), "the new key went into a removed slot");
    }
    let last = repository.key_slots().unwrap();
    assert!(matches!(repository.remove_key(&last[0].id.to_string()), Err(RepositoryError::LastSlot { .. })));
    assert!(matches!(repository.remove_key(&SlotId([9; 8]).to_string()), Err(RepositoryError::NoSuchSlot { .. })));
}

#[test]
fn a_rotation_may_die_at_every_write_and_whoever_began_it_can_finish_it() {
    for beginner in 0..3 {
        for writes in 0.. {
            let mut scene = Scene::new(7).copy();
            let (faulty, store) = scene.dying(writes);
            let secrets = Scene::secrets();
            let mut repository = Repository::open(store, environment(&scene.clock, 9), &secrets[beginner]).unwrap();
            let done = repository.rotate_key().is_ok();
            for (number, secret) in secrets.iter().enumerate() {
                let opened = scene.open(secret, 10 + number as u64).unwrap_or_else(|error| panic!("{writes} writes: {error}"));
                scene.album.compare(&opened).unwrap_or_else(|why| panic!("{writes} writes, slot {number}: {why}"));
                // Whichever slot a writer has, what it writes now is readable through every slot.
                scene.back_up(&opened);
                for other in &secrets {
                    scene.album.compare(&scene.open(other, 20).unwrap()).unwrap_or_else(|why| panic!("{writes} writes: {why}"));
                }
                assert_eq!(opened.key_slots().unwrap().len(), 3);
            }
            let mut again = scene.open(&secrets[beginner], 30).unwrap();
            let epoch = again.rotate_key().unwrap_or_else(|error| panic!("cut short after {writes} writes, it stays so: {error}"));
            assert!(epoch == 2 || (epoch == 1 && !done), "epoch {epoch} after {writes} writes");
            scene.back_up(&again);
            for secret in &secrets {
                scene.album.compare(&scene.open(secret, 40).unwrap()).unwrap();
            }
            if faulty.writes() <= writes {
                break;
            }
        }
    }
}

#[test]
fn making_a_repository_may_die_at_every_write_and_be_tried_again_with_the_same_key() {
    // Slots are tried in the order of their random names, so several seeds meet both orders.
    for seed in 0..12 {
        for writes in 0.. {
            let mut scene = Scene::empty();
            let (faulty, store) = scene.dying(writes);
            let done = trial::init(&store, environment(&scene.clock, seed)).is_ok();
            if !done {
                trial::init(&scene.store(), environment(&scene.clock, seed + 100)).unwrap();
            }
            let mut repository = scene.open(&secret(), 3).unwrap_or_else(|error| panic!("seed {seed}, {writes} writes: {error}"));
            scene.back_up(&repository);
            assert_eq!(repository.key_slots().unwrap().len(), 1);
            repository.rotate_key().unwrap();
            scene.album.compare(&scene.open(&secret(), 4).unwrap()).unwrap();
            if faulty.writes() <= writes {
                break;
            }
        }
    }
}
