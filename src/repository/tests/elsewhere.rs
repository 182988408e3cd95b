//! Chunks that their own packs have lost, given back by whoever holds them too: other points, other volumes, the point itself.

use bytes::Bytes;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::anatomy::Anatomy;
use crate::base::clock::Timestamp;
use crate::base::extent::{Extent, ExtentSet};
use crate::base::finding::Finding;
use crate::base::io::{IoError, ReadAt};
use crate::base::progress::Silent;
use crate::repository::elsewhere::Limits;
use crate::repository::format::changes::{ChangeRecord, ChangeSource};
use crate::repository::format::frame::Codec;
use crate::repository::format::point::Consistency;
use crate::repository::ids::{PackId, PointId};
use crate::repository::{
    CheckDepth, CollectOptions, FoundElsewhere, ListedPoint, PointFacts, Repository, SAFE_WAIT, WriterOptions, names,
};
use crate::store::memory::Memory;
use crate::store::{Deleted, ObjectKey, Store};
use crate::testkit::contents::random_bytes;
use crate::testkit::dice::{Dice, each_seed};
use crate::testkit::guarded::{Act, Guarded, Ledger};
use crate::testkit::manual_clock::ManualClock;
use crate::testkit::trial::{self, PLAIN, environment, restored};
use crate::testkit::volume::MemoryVolume;

const CHUNK: usize = 4096;

struct Scene {
    clock: Arc<ManualClock>,
    store: Arc<Memory>,
    ledger: Arc<Ledger>,
    repository: Repository,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let clock = Arc::new(ManualClock::default());
        let store = Arc::new(Memory::new(clock.clone()));
        let ledger = Arc::new(Ledger::default());
        let shared: Arc<dyn Store> = Arc::new(Guarded::new(store.clone(), Arc::clone(&ledger)));
        let repository = trial::init(&shared, environment(&clock, seed)).unwrap();
        Self { clock, store, ledger, repository }
    }

    fn back_up(&self, name: &str, bytes: &[u8], full: bool) -> ListedPoint {
        self.clock.advance(Duration::from_secs(60));
        let mut request = trial::request(&self.repository, name);
        request.full = full;
        trial::run(&self.repository, &request, &MemoryVolume::new(bytes.to_vec())).unwrap().point
    }

    fn anatomy(&self, point: &ListedPoint) -> Anatomy {
        Anatomy::of(&self.repository, point)
    }

    /// The packs that hold a point's chunks and none of its nodes.
    fn data_packs(&self, point: &ListedPoint) -> Vec<PackId> {
        let packs: HashSet<PackId> = self.anatomy(point).chunks.iter().map(|(chunk, _)| chunk.frame.pack).collect();
        packs.into_iter().collect()
    }

    fn damage(&self, pack: PackId, how: How) {
        let key = names::pack(pack);
        let whole = self.store.get(&key).unwrap();
        match how {
            How::Deleted => assert_eq!(self.store.delete(&key).unwrap(), Deleted::Gone),
            How::Cut => self.store.put(&key, whole.slice(..whole.len() / 2)).unwrap(),
            How::Flipped => {
                let mut bytes = whole.to_vec();
                bytes[whole.len() / 2] ^= 4;
                self.store.put(&key, Bytes::from(bytes)).unwrap();
            }
            How::Garbage => self.store.put(&key, Bytes::from(random_bytes(whole.len(), 77))).unwrap(),
        }
    }

    fn lost_in_place(&self, point: &ListedPoint) -> ExtentSet {
        self.repository.verify_point(point).unwrap()
    }

    /// A plain restore gives everything, and says what came from whom; so does reading at any place.
    #[track_caller]
    fn expect_whole(&self, point: &ListedPoint, bytes: &[u8], givers: &[PointId]) {
        let lost = self.lost_in_place(point);
        assert!(!lost.is_empty(), "nothing is damaged");
        let (found, report) = restored(&self.repository, point, PLAIN).unwrap();
        assert!(found == bytes && report.findings.is_empty());
        let from = report.found_elsewhere;
        assert_eq!((from.bytes, from.points.as_slice(), from.gave_up), (lost.bytes(), givers, false));
        let reader = self.repository.read_point(point);
        let mut found = vec![0; bytes.len()];
        reader.read_at(0, &mut found).unwrap();
        assert!(found == bytes);
        assert_eq!((reader.found_elsewhere().bytes, reader.found_elsewhere().points.as_slice()), (lost.bytes(), givers));
    }

    /// A degraded restore names exactly these ranges, and gives everything else.
    #[track_caller]
    fn expect_lost(&self, point: &ListedPoint, bytes: &[u8], lost: &ExtentSet) -> u64 {
        let mut options = PLAIN;
        options.degraded = true;
        let (found, report) = restored(&self.repository, point, options).unwrap();
        let named = report.findings.iter().map(|finding| match finding {
            Finding::Damaged { extent, .. } => *extent,
            other => panic!("{other:?}"),
        });
        assert_eq!(named.collect::<ExtentSet>(), *lost);
        let same = |at: usize| found[at] == bytes[at] || lost.contains(at as u64);
        assert!((0..bytes.len()).all(same));
        report.found_elsewhere.bytes
    }

    fn listings(&self) -> usize {
        self.ledger.take().iter().filter(|operation| operation.act == Act::List).count()
    }
}

#[derive(Debug, Clone, Copy)]
enum How {
    Deleted,
    Cut,
    Flipped,
    Garbage,
}

const EVERY_WAY: [How; 4] = [How::Deleted, How::Cut, How::Flipped, How::Garbage];

#[test]
fn a_full_backup_after_the_damage_gives_older_points_back_whole() {
    for (seed, how) in (0..).zip(EVERY_WAY) {
        let scene = Scene::new(seed);
        let bytes = random_bytes(1_300_000, seed);
        let old = scene.back_up("v", &bytes, false);
        let packs = scene.data_packs(&old);
        assert!(packs.len() > 3);
        packs[..seed as usize + 1].iter().for_each(|pack| scene.damage(*pack, how));
        // An increment believes that what it finds named is there: it heals nothing.
        let increment = scene.back_up("v", &bytes, false);
        assert_eq!(scene.lost_in_place(&increment), scene.lost_in_place(&old), "{how:?}");
        scene.expect_lost(&increment, &bytes, &scene.lost_in_place(&old));
        let full = scene.back_up("v", &bytes, true);
        assert!(scene.lost_in_place(&full).is_empty(), "{how:?}");
        scene.expect_whole(&old, &bytes, &[full.id]);
        scene.expect_whole(&increment, &bytes, &[full.id]);
    }
}

#[test]
fn what_changed_since_is_lost_and_the_rest_is_not() {
    each_seed(0..4, |seed| {
        let scene = Scene::new(seed);
        let mut bytes = random_bytes(400_000, seed);
        let first = bytes.clone();
        let old = scene.back_up("v", &bytes, false);
        scene.data_packs(&old).into_iter().for_each(|pack| scene.damage(pack, How::Garbage));
        let dice = Dice::new(seed);
        let changed: ExtentSet = (0..5).map(|_| Extent::new(dice.below(390_000), 5_000)).collect();
        for extent in &changed {
            bytes[extent.offset as usize..extent.end() as usize].fill(seed as u8 + 1);
        }
        scene.back_up("v", &bytes, true);
        let lost = changed.align_outward(CHUNK as u64, 400_000);
        assert_eq!(scene.expect_lost(&old, &first, &lost), 400_000 - lost.bytes());
        let reader = scene.repository.read_point(&old);
        for extent in Extent::new(0, 400_000).cut(CHUNK as u64) {
            let mut out = vec![0; extent.length as usize];
            match reader.read_at(extent.offset, &mut out) {
                Ok(()) => assert!(out == first[extent.offset as usize..extent.end() as usize] && !lost.intersects(&extent)),
                Err(IoError::Missing { extent: gap, .. }) => assert!(gap == extent && lost.intersects(&extent)),
                Err(other) => panic!("{other}"),
            }
        }
    });
}

#[test]
fn another_volume_gives_chunks_wherever_they_stand_in_it() {
    let scene = Scene::new(10);
    let bytes = random_bytes(40 * CHUNK + 100, 10);
    let mut rotated = bytes[..40 * CHUNK].to_vec();
    rotated.rotate_left(13 * CHUNK);
    // The short chunk at the end is found as the short chunk of another end.
    rotated.extend_from_slice(&bytes[40 * CHUNK..]);
    let clone = scene.back_up("clone", &rotated, false);
    let point = scene.back_up("v", &bytes, false);
    scene.data_packs(&point).into_iter().for_each(|pack| scene.damage(pack, How::Flipped));
    scene.expect_whole(&point, &bytes, &[clone.id]);
}

#[test]
fn bad_copies_are_passed_over_until_a_good_one_turns_up() {
    let scene = Scene::new(11);
    let bytes = random_bytes(30 * CHUNK, 11);
    let points: Vec<_> = (0..4).map(|_| scene.back_up("v", &bytes, true)).collect();
    let other = scene.back_up("other", &bytes, false);
    for (point, how) in points.iter().zip(EVERY_WAY) {
        scene.data_packs(point).into_iter().for_each(|pack| scene.damage(pack, how));
    }
    // Each way leaves other frames whole, and points of the volume are asked first.
    let lost = scene.lost_in_place(&points[0]);
    let (found, report) = restored(&scene.repository, &points[0], PLAIN).unwrap();
    assert!(found == bytes);
    assert_eq!(report.found_elsewhere.bytes, lost.bytes());
    assert!(report.found_elsewhere.points.contains(&other.id));
    scene.data_packs(&other).into_iter().for_each(|pack| scene.damage(pack, How::Garbage));
    let nowhere = points[..3].iter().map(|point| scene.lost_in_place(point)).fold(lost, |all, lost| all.intersection(&lost));
    assert!(!nowhere.is_empty());
    scene.expect_lost(&points[0], &bytes, &nowhere);
}

#[test]
fn points_of_the_volume_are_asked_before_others_and_the_newest_first() {
    let scene = Scene::new(12);
    let bytes = random_bytes(20 * CHUNK, 12);
    let bad = scene.back_up("v", &bytes, false);
    let older = scene.back_up("v", &bytes, true);
    let newer = scene.back_up("v", &bytes, true);
    let other = scene.back_up("w", &bytes, false);
    let damage = |point: &ListedPoint| scene.data_packs(point).into_iter().for_each(|pack| scene.damage(pack, How::Deleted));
    damage(&bad);
    for giver in [&newer, &older, &other] {
        scene.expect_whole(&bad, &bytes, &[giver.id]);
        damage(giver);
    }
    scene.expect_lost(&bad, &bytes, &ExtentSet::whole(bytes.len() as u64));
}

fn options(size: u64) -> WriterOptions {
    WriterOptions {
        volume: "v".to_owned(),
        size,
        chunk_bytes: CHUNK as u32,
        codec: Codec::None,
        previous: None,
        whole: true,
        distrust: false,
        host: String::new(),
        upload_threads: 0,
        checkpoint_bytes: u64::MAX,
    }
}

fn facts() -> PointFacts {
    PointFacts {
        cut: Timestamp(1),
        source: String::new(),
        changes: ChangeRecord::of(ChangeSource::Full),
        consistency: Consistency::Quiescent,
        unreadable: ExtentSet::new(),
        omitted: ExtentSet::new(),
        incident: None,
        read_bytes: 0,
        duration_ms: 0,
        file_tree: None,
    }
}

#[test]
fn a_point_that_holds_a_chunk_twice_helps_itself() {
    let scene = Scene::new(13);
    let half = random_bytes(64 * CHUNK, 13);
    let mut writer = scene.repository.write_point(options(2 * half.len() as u64)).unwrap();
    // Two threads that cut equal windows at the same time know nothing of each other, and both are stored.
    let windows: Vec<_> = [0, half.len() as u64].map(|offset| writer.cutter().cut(offset, &half, &[], &[]).unwrap()).into();
    windows.iter().for_each(|window| writer.append(window).unwrap());
    let point = writer.commit(facts()).unwrap();
    let anatomy = scene.anatomy(&point);
    let (first, second) = (anatomy.frame_at(0).unwrap(), anatomy.frame_at(half.len() as u64).unwrap());
    assert_ne!(first.pack, second.pack);
    scene.damage(second.pack, How::Deleted);
    scene.expect_whole(&point, &[half.clone(), half].concat(), &[point.id]);
}

#[test]
fn what_nobody_holds_is_looked_for_once() {
    let scene = Scene::new(14);
    let bytes = random_bytes(200_000, 14);
    let old = scene.back_up("v", &bytes, false);
    scene.back_up("w", &random_bytes(200_000, 15), false);
    for pack in scene.data_packs(&old) {
        scene.damage(pack, How::Deleted);
    }
    let reader = scene.repository.read_point(&old);
    let read = |offset| reader.read_at(offset, &mut [0; 100]).unwrap_err();
    let _ = scene.ledger.take();
    read(0);
    assert_eq!(scene.listings(), 1, "the points");
    for _ in 0..3 {
        (0..200_000 - 100).step_by(CHUNK).for_each(|offset| drop(read(offset)));
    }
    assert_eq!(scene.listings(), 0);
    let _ = scene.ledger.take();
    (0..200_000 - 100).step_by(CHUNK).for_each(|offset| drop(read(offset)));
    assert!(scene.ledger.take().is_empty(), "a chunk that is known to be lost is not asked for again");
}

#[test]
fn a_sound_point_never_looks_at_others() {
    let scene = Scene::new(16);
    let bytes = random_bytes(200_000, 16);
    let point = scene.back_up("v", &bytes, false);
    scene.back_up("w", &bytes, false);
    let _ = scene.ledger.take();
    assert_eq!(restored(&scene.repository, &point, PLAIN).unwrap().1.found_elsewhere.bytes, 0);
    scene.repository.read_point(&point).read_at(0, &mut vec![0; bytes.len()]).unwrap();
    assert_eq!(scene.listings(), 0);
}

/// Reads all chunks of a point within limits, and says how many of them come back.
fn readable(scene: &Scene, point: &ListedPoint, bytes: &[u8], limits: Limits) -> (usize, FoundElsewhere) {
    let elsewhere = scene.repository.elsewhere_within(point, limits);
    let reader = scene.repository.read_point_with(point, &elsewhere);
    let read = |extent: &Extent| {
        let mut out = vec![0; extent.length as usize];
        let read = reader.read_at(extent.offset, &mut out).is_ok();
        assert!(!read || out == bytes[extent.offset as usize..extent.end() as usize]);
        read
    };
    (Extent::new(0, bytes.len() as u64).cut(CHUNK as u64).filter(read).count(), elsewhere.found())
}

#[test]
fn limits_end_the_search_and_that_is_said() {
    let scene = Scene::new(19);
    let bytes = random_bytes(10 << 18, 19);
    let point = scene.back_up("v", &bytes, false);
    let clone = scene.back_up("w", &bytes, false);
    let packs = scene.data_packs(&point);
    assert_eq!(packs.len(), 10);
    packs.iter().for_each(|pack| scene.damage(*pack, How::Flipped));
    let check = |limits, chunks: usize, gave_up| {
        let (read, found) = readable(&scene, &point, &bytes, limits);
        assert_eq!((read, found.bytes, found.gave_up), (chunks, (chunks * CHUNK) as u64, gave_up), "{limits:?}");
        assert!(found.points == [clone.id] || chunks == 0);
    };
    // The volume has 640 chunks, 64 in each pack.
    check(Limits { searches: 1, wanted: 640 }, 640, false);
    check(Limits { searches: 1, wanted: 639 }, 64, true);
    check(Limits { searches: 4, wanted: 639 }, 4 * 64, true);
    check(Limits { searches: 99, wanted: 500 }, 500, true);
    check(Limits { searches: 0, wanted: 640 }, 0, true);
    // Packs that are not even there, or end too early, cost one search together.
    packs[..5].iter().for_each(|pack| scene.damage(*pack, How::Deleted));
    packs[5..9].iter().for_each(|pack| scene.damage(*pack, How::Cut));
    check(Limits { searches: 2, wanted: 639 }, 639, true);
    check(Limits { searches: 1, wanted: 640 }, 640, false);
    let (read, _) = readable(&scene, &point, &bytes, Limits { searches: 1, wanted: 639 });
    assert!(read >= 9 * 64, "{read}");
}

#[test]
fn forgetting_what_is_damaged_leaves_a_clean_repository() {
    let scene = Scene::new(20);
    let bytes = random_bytes(300_000, 20);
    let old = scene.back_up("v", &bytes, false);
    scene.damage(scene.data_packs(&old)[0], How::Flipped);
    let full = scene.back_up("v", &bytes, true);
    scene.expect_whole(&old, &bytes, &[full.id]);
    assert!(!scene.repository.check(CheckDepth::Deep, &Silent).unwrap().is_clean(), "its own pack is damaged all the same");
    scene.repository.forget_point(&old).unwrap();
    for _ in 0..3 {
        scene.clock.advance(SAFE_WAIT * 2);
        scene.repository.collect(CollectOptions { dry_run: false, wait: SAFE_WAIT }).unwrap();
    }
    assert!(scene.repository.check(CheckDepth::Deep, &Silent).unwrap().is_clean());
    let mut left: Vec<ObjectKey> = Vec::new();
    let list = scene.store.list(names::PACKS, &mut |entry| {
        left.push(entry.key);
        ControlFlow::Continue(())
    });
    list.unwrap();
    assert!(scene.data_packs(&full).iter().all(|pack| left.contains(&names::pack(*pack))));
}
