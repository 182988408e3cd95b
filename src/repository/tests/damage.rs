//! Damage of packs: what is lost is named exactly, the rest comes back, and nothing wrong is ever handed out.

use bytes::Bytes;
use std::collections::HashSet;
use std::iter;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::anatomy::Anatomy;
use crate::base::cancel::Cancel;
use crate::base::extent::ExtentSet;
use crate::base::finding::Finding;
use crate::base::progress::Silent;
use crate::repository::format::node::FrameRef;
use crate::repository::ids::ContentId;
use crate::repository::{CheckDepth, CheckReport, CollectOptions, ListedPoint, Repository, SAFE_WAIT, VolumePiece, names, scrub};
use crate::store::memory::Memory;
use crate::store::{ObjectKey, Store};
use crate::testkit::album::{LOST, read_back};
use crate::testkit::contents::{random_bytes, scribble, volume_bytes};
use crate::testkit::dice::{Dice, each_seed};
use crate::testkit::manual_clock::ManualClock;
use crate::testkit::trial::{self, PLAIN, environment, restored};
use crate::testkit::volume::MemoryVolume;

struct Scene {
    clock: Arc<ManualClock>,
    store: Arc<Memory>,
    points: Vec<(ListedPoint, Vec<u8>, Anatomy)>,
}

impl Scene {
    fn new(seed: u64, size: usize) -> Self {
        let clock = Arc::new(ManualClock::default());
        let store = Arc::new(Memory::new(clock.clone()));
        let shared: Arc<dyn Store> = store.clone();
        let repository = trial::init(&shared, environment(&clock, seed)).unwrap();
        // Content at both ends and little between them, so that a tall tree costs little.
        let mut bytes = volume_bytes(size.min(500_000), seed);
        bytes.resize(size, 0);
        let tail = volume_bytes(100_000, seed + 1);
        bytes[size - tail.len()..].copy_from_slice(&tail);
        let volume = MemoryVolume::new(bytes);
        let mut points = Vec::new();
        for number in 0..3 {
            let point = trial::back_up(&repository, "v", &volume).unwrap().point;
            points.push((point.clone(), volume.bytes(), Anatomy::of(&repository, &point)));
            volume.change(|bytes| drop(scribble(bytes, seed * 3 + number)));
            clock.advance(Duration::from_secs(60));
        }
        Self { clock, store, points }
    }

    fn packs(&self) -> Vec<ObjectKey> {
        let mut keys = Vec::new();
        self.store
            .list(names::PACKS, &mut |entry| {
                keys.push(entry.key);
                ControlFlow::Continue(())
            })
            .unwrap();
        keys
    }

    fn open(&self, store: Memory) -> Repository {
        let store: Arc<dyn Store> = Arc::new(store);
        trial::open(&store, environment(&self.clock, 99)).unwrap()
    }

    /// Holds everything that can be asked of a damaged store against the frames that are bad in it.
    fn compare(&self, store: Memory, is_bad: impl Fn(&FrameRef) -> bool, what: &str) {
        let scrubbed = scrub(&store, &Silent, &Cancel::new()).unwrap();
        let repository = self.open(store);
        let deep = repository.check(CheckDepth::Deep, &Silent).unwrap();
        let mut any = false;
        let in_place: Vec<ExtentSet> = self.points.iter().map(|(.., anatomy)| anatomy.lost(&is_bad)).collect();
        let readable: HashSet<ContentId> =
            iter::zip(&self.points, &in_place).flat_map(|((.., anatomy), lost)| anatomy.ids_outside(lost)).collect();
        for (known, lost) in iter::zip(&self.points, in_place) {
            let (point, ..) = known;
            any |= !lost.is_empty();
            assert_eq!(damage_of(&deep, point), lost, "{what}: the deep check of {}", point.id);
            assert_eq!(repository.verify_point(point).unwrap(), lost, "{what}: verify {}", point.id);
            self.compare_restores(&repository, known, &lost, &readable, what);
        }
        assert!(!any || !deep.objects.is_empty(), "{what}: no object is named");
        assert!(!any || !scrubbed.problems.is_empty() || what.contains("deleted"), "{what}: unnoticed without a key");
    }

    /// `lost` is what the point's own packs cannot give, `readable` what can be had somewhere.
    fn compare_restores(
        &self,
        repository: &Repository,
        (point, bytes, anatomy): &(ListedPoint, Vec<u8>, Anatomy),
        lost: &ExtentSet,
        readable: &HashSet<ContentId>,
        what: &str,
    ) {
        let for_good = anatomy.lost_for_good(lost, &lost_below_nodes(repository, point), readable);
        assert_eq!(restored(repository, point, PLAIN).is_err(), !for_good.is_empty(), "{what}: plain restore of {}", point.id);
        let mut options = PLAIN;
        options.degraded = true;
        let (found, report) = restored(repository, point, options).unwrap();
        let named: ExtentSet = report
            .findings
            .iter()
            .map(|finding| match finding {
                Finding::Damaged { extent, .. } => *extent,
                other => panic!("{what}: {other:?}"),
            })
            .collect();
        assert_eq!(named, for_good, "{what}: degraded restore of {}", point.id);
        assert_eq!(report.found_elsewhere.bytes, lost.difference(&for_good).bytes(), "{what}: found for {}", point.id);
        assert!(found == without(bytes, &for_good), "{what}: degraded restore of {} gives other bytes", point.id);
        let (found, _) = read_back(repository, point).unwrap();
        assert!(found == without(bytes, lost), "{what}: reading {} gives other bytes", point.id);
    }
}

fn without(bytes: &[u8], lost: &ExtentSet) -> Vec<u8> {
    let mut rest = bytes.to_vec();
    for extent in lost {
        rest[extent.offset as usize..extent.end() as usize].fill(LOST);
    }
    rest
}

fn lost_below_nodes(repository: &Repository, point: &ListedPoint) -> ExtentSet {
    let mut lost = ExtentSet::new();
    let walked = repository.walk_volume(&point.point.tree, &mut |piece| {
        if let VolumePiece::Lost { extent, .. } = piece {
            lost.insert(extent);
        }
        Ok(())
    });
    walked.unwrap();
    lost
}

fn damage_of(report: &CheckReport, point: &ListedPoint) -> ExtentSet {
    report.damage.iter().find(|damage| damage.id == point.id).map(|damage| damage.extents.clone()).unwrap_or_default()
}

fn scenes(run: impl Fn(u64, &Scene)) {
    each_seed(0..3, |seed| run(seed, &Scene::new(seed, if seed == 0 { 17 << 20 } else { 900_000 })));
}

#[test]
fn a_deleted_pack_loses_exactly_what_lay_in_it() {
    scenes(|_, scene| {
        for key in scene.packs() {
            let store = scene.store.snapshot();
            store.delete(&key).unwrap();
            let id = names::parse_pack(&key).unwrap();
            let quick = scene.open(store.snapshot()).check(CheckDepth::Quick, &Silent).unwrap();
            for (point, _, anatomy) in &scene.points {
                assert_eq!(damage_of(&quick, point), anatomy.lost(|frame| frame.pack == id), "the quick check of {key}");
            }
            scene.compare(store, |frame| frame.pack == id, &format!("{key} deleted"));
        }
    });
}

#[test]
fn a_pack_cut_short_loses_the_frames_behind_the_cut() {
    scenes(|seed, scene| {
        let dice = Dice::new(seed);
        for key in scene.packs() {
            let whole = scene.store.get(&key).unwrap();
            let length = dice.index(whole.len());
            let store = scene.store.snapshot();
            store.put(&key, whole.slice(..length)).unwrap();
            let id = names::parse_pack(&key).unwrap();
            let is_bad = |frame: &FrameRef| frame.pack == id && frame.offset as usize + frame.stored as usize > length;
            let quick = scene.open(store.snapshot()).check(CheckDepth::Quick, &Silent).unwrap();
            for (point, _, anatomy) in &scene.points {
                assert_eq!(damage_of(&quick, point), anatomy.lost(is_bad), "the quick check of {key} cut to {length}");
            }
            scene.compare(store, is_bad, &format!("{key} cut to {length} of {}", whole.len()));
        }
    });
}

#[test]
fn a_flipped_bit_loses_its_frame_and_no_other() {
    scenes(|seed, scene| {
        let dice = Dice::new(seed);
        for key in scene.packs() {
            let whole = scene.store.get(&key).unwrap();
            let id = names::parse_pack(&key).unwrap();
            // Anywhere, and the parts that belong to no frame.
            for at in [dice.index(whole.len()), dice.index(64), whole.len() - 1 - dice.index(44)] {
                let mut bytes = whole.to_vec();
                bytes[at] ^= 1 << dice.below(8);
                let store = scene.store.snapshot();
                store.put(&key, Bytes::from(bytes)).unwrap();
                let holds = |frame: &FrameRef| (frame.offset as usize..frame.offset as usize + frame.stored as usize).contains(&at);
                let what = format!("{key} with byte {at} of {} changed", whole.len());
                assert_eq!(scrub(&store, &Silent, &Cancel::new()).unwrap().problems.len(), 1, "{what}");
                assert!(!scene.open(store.snapshot()).check(CheckDepth::Deep, &Silent).unwrap().is_clean(), "{what}");
                scene.compare(store, |frame| frame.pack == id && holds(frame), &what);
            }
        }
    });
}

#[test]
fn packs_that_changed_places_lose_both_and_are_never_taken_for_each_other() {
    scenes(|_, scene| {
        for pair in scene.packs().windows(2) {
            let store = scene.store.snapshot();
            store.put(&pair[0], scene.store.get(&pair[1]).unwrap()).unwrap();
            store.put(&pair[1], scene.store.get(&pair[0]).unwrap()).unwrap();
            let ids = [names::parse_pack(&pair[0]).unwrap(), names::parse_pack(&pair[1]).unwrap()];
            scene.compare(store, |frame| ids.contains(&frame.pack), &format!("{} and {} swapped", pair[0], pair[1]));
        }
    });
}

#[test]
fn garbage_in_place_of_a_pack_loses_the_pack() {
    scenes(|seed, scene| {
        for (number, key) in scene.packs().into_iter().enumerate() {
            let length = [0, 1, 31, 32, 63, 64, 95, 96, 5_000, 1 << 20][number % 10];
            let whole = scene.store.get(&key).unwrap();
            let id = names::parse_pack(&key).unwrap();
            let store = scene.store.snapshot();
            store.put(&key, Bytes::from(random_bytes(length, seed))).unwrap();
            scene.compare(store, |frame| frame.pack == id, &format!("{length} bytes of garbage in {key}"));
            // A good beginning and then garbage.
            let mut bytes = whole[..whole.len() / 2].to_vec();
            bytes.extend(random_bytes(whole.len() - bytes.len(), seed + 1));
            let store = scene.store.snapshot();
            store.put(&key, Bytes::from(bytes)).unwrap();
            let half = whole.len() / 2;
            let is_bad = |frame: &FrameRef| frame.pack == id && frame.offset as usize + frame.stored as usize > half;
            scene.compare(store, is_bad, &format!("{key} ends in garbage"));
        }
    });
}

#[test]
fn a_pack_rolled_back_to_before_its_rewrite_does_no_harm_and_one_that_lost_slots_is_noticed() {
    scenes(|_, scene| {
        let store = Arc::new(scene.store.snapshot());
        let shared: Arc<dyn Store> = store.clone();
        let repository = trial::open(&shared, environment(&scene.clock, 7)).unwrap();
        for (point, ..) in &scene.points[..2] {
            repository.forget_point(point).unwrap();
        }
        for _ in 0..2 {
            scene.clock.advance(SAFE_WAIT + SAFE_WAIT);
            repository.collect(CollectOptions { dry_run: false, wait: SAFE_WAIT }).unwrap();
        }
        let rewritten: Vec<_> = scene
            .packs()
            .into_iter()
            .filter(|key| store.get(key).is_ok_and(|bytes| bytes != scene.store.get(key).unwrap()))
            .collect();
        let (last, bytes, _) = &scene.points[2];
        for key in &rewritten {
            store.put(key, scene.store.get(key).unwrap()).unwrap();
        }
        assert!(repository.check(CheckDepth::Deep, &Silent).unwrap().is_clean());
        assert!(restored(&repository, last, PLAIN).unwrap().0 == *bytes);
        // A forgotten manifest that comes back finds its chunks collected, and that shows.
        let collected = scene.packs().into_iter().find(|key| store.get(key).is_err());
        let Some(collected) = collected else { return };
        let id = names::parse_pack(&collected).unwrap();
        let mut readable: HashSet<ContentId> = scene.points[2].2.ids_outside(&ExtentSet::new()).collect();
        for known in &scene.points[..2] {
            let (point, _, anatomy) = known;
            let key = names::point(point.volume, point.id);
            store.put(&key, scene.store.get(&key).unwrap()).unwrap();
            let lost = repository.verify_point(point).unwrap();
            assert!(anatomy.lost(|frame| frame.pack == id).difference(&lost).is_empty());
            readable.extend(anatomy.ids_outside(&lost));
            scene.compare_restores(&repository, known, &lost, &readable, "a manifest that came back");
        }
        assert!(!repository.check(CheckDepth::Quick, &Silent).unwrap().is_clean());
    });
}
