//! Promise 2 for small objects: a flipped bit, a cut, a deletion or a swap is noticed, never believed, and costs nobody else.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests and their helpers fail by panicking, and say what they found"
)]

use bytes::Bytes;
use icecore::base::clock::Timestamp;
use icecore::base::progress::Silent;
use icecore::repository::ids::PointId;
use icecore::repository::scrub;
use icecore::repository::{CheckDepth, RepositoryError};
use icecore::store::fault::{Damage, damage};
use icecore::store::{ObjectKey, Store};
use icecore::testkit::dice::{Dice, each_seed};
use icecore::testkit::trial;

#[path = "proof_damage/everything.rs"]
mod everything;
use everything::{Everything, Noticed};

const ALL: Noticed = Noticed { keyless: true, quick: true, deep: true };

fn small_objects(scene: &Everything) -> Vec<ObjectKey> {
    scene.keys().into_iter().filter(|key| !key.as_str().starts_with("packs/")).collect()
}

#[test]
fn every_flipped_byte_of_a_small_object_is_noticed_with_and_without_keys() {
    let scene = Everything::new(1);
    let dice = Dice::new(1);
    for key in small_objects(&scene) {
        for byte in 0..scene.store.size(&key).unwrap() {
            let copy = scene.copy();
            damage(&*copy.store, &key, Damage::FlipBit { byte, bit: dice.below(8) as u32 }).unwrap();
            // A deep check of every single byte would take minutes and looks at nothing more.
            let Noticed { keyless, quick, .. } = copy.notice_quickly();
            assert!(keyless && quick, "{key} with byte {byte} flipped: keyless {keyless}, with keys {quick}");
        }
    }
}

#[test]
fn damage_of_a_small_object_costs_nobody_else_anything() {
    each_seed(0..2, |seed| {
        let scene = Everything::new(seed);
        let dice = Dice::new(seed);
        for key in small_objects(&scene) {
            let good = scene.store.get(&key).unwrap();
            // The version byte tells a newer format from damage, and one bit is enough to claim the one or the other.
            let places = [8, dice.below(good.len() as u64), dice.below(good.len() as u64)];
            let flips = places.map(|byte| Damage::FlipBit { byte, bit: dice.below(8) as u32 });
            let cuts = [0, 9, dice.below(good.len() as u64)].map(|length| Damage::Truncate { length });
            for how in flips.into_iter().chain(cuts) {
                let copy = scene.copy();
                damage(&*copy.store, &key, how).unwrap();
                let what = format!("{key} after {how:?}");
                assert_eq!(copy.notice(), ALL, "{what}");
                copy.check_runs(&what);
                copy.survive(&[(key.clone(), good.clone())], &what);
            }
        }
    });
}

#[test]
fn a_deleted_object_is_noticed_where_anything_depends_on_it() {
    let scene = Everything::new(3);
    let points = scene.open().unwrap().points().unwrap().points;
    for key in scene.keys() {
        let good = scene.store.get(&key).unwrap();
        let mut copy = scene.copy();
        copy.store.delete(&key).unwrap();
        let noticed = copy.notice();
        // What only a deleted manifest reached is rightly collected.
        points
            .iter()
            .filter(|point| key.as_str().ends_with(&point.id.object_name()))
            .for_each(|point| copy.album.forget(&point.id));
        let opens = |key: &ObjectKey| {
            scene.open().unwrap().key_slots().unwrap().iter().any(|s| s.in_use && key.file_name() == s.id.to_string())
        };
        let name = key.as_str();
        let built_on = points.iter().any(|point| point.point.previous.is_some_and(|id| name.ends_with(&id.id.object_name())));
        match name.split('/').next().unwrap() {
            "config" => assert_eq!(noticed, ALL, "{key}"),
            "packs" if scene.is_needed(&key) => assert!(noticed.quick && noticed.deep, "{key}"),
            // Nobody but its own successor knows that a point was there.
            "points" if built_on => assert!(noticed.quick && noticed.deep, "{key}"),
            "keys" if opens(&key) => assert!(noticed.quick && noticed.deep, "{key}"),
            _ => {}
        }
        copy.survive(&[(key.clone(), good)], &format!("{key} deleted"));
    }
}

#[test]
fn objects_that_change_places_are_noticed_and_believed_nowhere() {
    each_seed(0..2, |seed| {
        let scene = Everything::new(seed);
        let dice = Dice::new(seed + 40);
        let keys = scene.keys();
        let mut pairs: Vec<(usize, usize)> = (1..keys.len()).map(|index| (index - 1, index)).collect();
        pairs.extend((0..40).map(|_| (dice.index(keys.len()), dice.index(keys.len()))));
        for (one, other) in pairs.into_iter().filter(|(one, other)| one != other) {
            let (one, other) = (&keys[one], &keys[other]);
            let copy = scene.copy();
            let (a, b) = (scene.store.get(one).unwrap(), scene.store.get(other).unwrap());
            copy.store.put(one, b.clone()).unwrap();
            copy.store.put(other, a.clone()).unwrap();
            let what = format!("{one} and {other} swapped");
            let noticed = copy.notice();
            assert!(noticed.keyless && noticed.deep, "{what}: {noticed:?}");
            copy.survive(&[(one.clone(), a), (other.clone(), b)], &what);
        }
    });
}

#[test]
fn a_point_copied_to_another_name_or_volume_is_no_point() {
    let scene = Everything::new(4);
    let points: Vec<_> = scene.keys().into_iter().filter(|key| key.as_str().starts_with("points/")).collect();
    let volume_of = |key: &ObjectKey| key.as_str().rsplit_once('/').unwrap().0.to_owned();
    let elsewhere = points.iter().find(|key| volume_of(key) != volume_of(&points[0])).unwrap();
    let later = PointId { time: Timestamp(1_900_000_000_000), random: [7; 10] }.object_name();
    let names = [format!("{}/{later}", volume_of(&points[0])), format!("{}/{}", volume_of(elsewhere), points[0].file_name())];
    for name in names {
        let copy = scene.copy();
        let key = ObjectKey::new(name).unwrap();
        copy.store.put(&key, scene.store.get(&points[0]).unwrap()).unwrap();
        assert_eq!(copy.notice(), ALL, "{key}");
        let repository = copy.open().unwrap();
        let listing = repository.points().unwrap();
        assert_eq!(listing.points.len(), scene.album.ids().len());
        assert_eq!(listing.damaged.len(), 1);
        // The next backup builds on the newest true point.
        let next = trial::back_up(&repository, "v", &copy.volume).unwrap().point;
        assert!(scene.album.bytes(&next.point.previous.unwrap().id).is_some());
    }
}

#[test]
fn a_missing_point_breaks_the_chain_and_a_forgotten_one_does_not() {
    let scene = Everything::new(5);
    let repository = scene.open().unwrap();
    // One point in the middle was forgotten when the scene was made.
    assert!(repository.check(CheckDepth::Quick, &Silent).unwrap().chain_breaks.is_empty());
    let points = repository.points().unwrap().points;
    let successor = points.iter().find(|point| point.point.previous.is_some()).unwrap();
    let forgotten = successor.point.previous.unwrap();
    assert!(points.iter().all(|point| point.id != forgotten.id), "the scene has no forgotten point");
    // The note that said so is gone: now it is a point that somebody took away.
    let copy = scene.copy();
    for key in copy.keys().into_iter().filter(|key| key.as_str().contains(&forgotten.id.object_name())) {
        copy.store.delete(&key).unwrap();
    }
    let report = copy.open().unwrap().check(CheckDepth::Quick, &Silent).unwrap();
    assert_eq!(report.chain_breaks, [(successor.id, forgotten)]);
    // A point that a later one was built on is replaced by another with its name: the signature holds it.
    let copy = scene.copy();
    let key = ObjectKey::new(format!("points/{}/{}", points[0].volume, points[0].id.object_name())).unwrap();
    let other = ObjectKey::new(format!("points/{}/{}", points[1].volume, points[1].id.object_name())).unwrap();
    copy.store.put(&key, scene.store.get(&other).unwrap()).unwrap();
    assert!(matches!(copy.open().unwrap().points().unwrap().damaged[0].1, RepositoryError::Damaged { .. }));
}

impl Everything {
    fn notice_quickly(&self) -> Noticed {
        use icecore::base::cancel::Cancel;
        let mut small = self.copy();
        // Packs are another test's; without them a scrub takes no time.
        small.keys().iter().filter(|key| key.as_str().starts_with("packs/")).for_each(|key| {
            small.store.put(key, Bytes::new()).unwrap();
        });
        let problems = |scene: &Self| match scrub(&*scene.store, &Silent, &Cancel::new()) {
            Ok(report) => report.problems.len(),
            Err(_) => usize::MAX,
        };
        let packs = small.keys().iter().filter(|key| key.as_str().starts_with("packs/")).count();
        let keyless = problems(&small) > packs;
        small.album = self.album.clone();
        let quick = match self.open() {
            Ok(repository) => !repository.check(CheckDepth::Quick, &Silent).unwrap().is_clean(),
            Err(_) => true,
        };
        Noticed { keyless, quick, deep: quick }
    }

    /// Unless it does not even open, a check runs to its end and a backup still works.
    fn check_runs(&self, what: &str) {
        let Ok(repository) = self.open() else { return };
        repository.check(CheckDepth::Quick, &Silent).unwrap_or_else(|error| panic!("{what}: check gave up: {error}"));
        let copy = self.copy();
        let repository = copy.open().unwrap();
        trial::back_up(&repository, "v", &copy.volume).unwrap_or_else(|error| panic!("{what}: backups stopped: {error}"));
    }

    /// True when some point hangs on the pack.
    fn is_needed(&self, pack: &ObjectKey) -> bool {
        let copy = self.copy();
        copy.store.put(pack, Bytes::new()).unwrap();
        !copy.open().unwrap().check(CheckDepth::Quick, &Silent).unwrap().damage.is_empty()
    }
}
