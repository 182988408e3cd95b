//! A volume read at any place: what comes back is the volume, or a gap that is named; and only what is needed is fetched.

use bytes::Bytes;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::anatomy::Anatomy;
use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::{IoError, ReadAt};
use crate::repository::{Gaps, ListedPoint, Repository, names};
use crate::store::Store;
use crate::store::memory::Memory;
use crate::testkit::contents::{random_bytes, volume_bytes};
use crate::testkit::dice::{Dice, each_seed};
use crate::testkit::manual_clock::ManualClock;
use crate::testkit::trial::{self, environment};
use crate::testkit::volume::MemoryVolume;

struct Scene {
    store: Arc<Memory>,
    repository: Repository,
    point: ListedPoint,
    bytes: Vec<u8>,
}

fn scene(seed: u64, bytes: Vec<u8>, unreadable: ExtentSet) -> Scene {
    let clock = Arc::new(ManualClock::default());
    let store = Arc::new(Memory::new(clock.clone()));
    let shared: Arc<dyn Store> = store.clone();
    let repository = trial::init(&shared, environment(&clock, seed)).unwrap();
    let volume = MemoryVolume::new(bytes);
    volume.break_at(unreadable);
    let point = trial::back_up(&repository, "v", &volume).unwrap().point;
    Scene { store, repository, point, bytes: volume.bytes() }
}

/// Reads of every kind of length, most of them unaligned.
fn random_extent(dice: &Dice, size: u64) -> Extent {
    let offset = dice.below(size);
    let longest = [10, 5000, 70_000, size][dice.below(4) as usize];
    Extent::between(offset, (offset + dice.below(longest) + 1).min(size))
}

#[test]
fn any_bytes_at_any_place_come_back() {
    each_seed(0..8, |seed| {
        let size = 3_000_001;
        let scene = scene(seed, volume_bytes(size, seed), ExtentSet::new());
        let reader = scene.repository.read_point(&scene.point);
        let dice = Dice::new(seed);
        assert_eq!(reader.size(), size as u64);
        for _ in 0..200 {
            let extent = random_extent(&dice, size as u64);
            let mut out = vec![0xaa; extent.length as usize];
            reader.read_at(extent.offset, &mut out).unwrap();
            assert!(out == scene.bytes[extent.offset as usize..extent.end() as usize], "{extent}");
        }
        for (offset, length) in [(size, 1), (size - 1, 2), (usize::MAX, 1)] {
            let refused = reader.read_at(offset as u64, &mut vec![0; length]);
            assert!(matches!(refused, Err(IoError::OutOfRange { .. })), "{refused:?}");
        }
        reader.read_at(size as u64, &mut []).unwrap();
    });
}

#[test]
fn threads_read_beside_each_other() {
    let scene = scene(1, random_bytes(2_000_000, 1), ExtentSet::new());
    let reader = scene.repository.read_point(&scene.point);
    thread::scope(|scope| {
        for seed in 0..4 {
            let (reader, bytes) = (&reader, &scene.bytes);
            scope.spawn(move || {
                let dice = Dice::new(seed);
                for _ in 0..100 {
                    let extent = random_extent(&dice, bytes.len() as u64);
                    let mut out = vec![0; extent.length as usize];
                    reader.read_at(extent.offset, &mut out).unwrap();
                    assert!(out == bytes[extent.offset as usize..extent.end() as usize], "{extent}");
                }
            });
        }
    });
}

#[test]
fn only_what_is_asked_for_is_fetched_and_nothing_short_twice() {
    let scene = scene(2, random_bytes(8 << 20, 2), ExtentSet::new());
    let reader = scene.repository.read_point(&scene.point);
    assert_eq!(reader.fetched_bytes(), 0, "opening a point costs nothing");
    reader.read_at(1_000_000, &mut [0; 100]).unwrap();
    let first = reader.fetched_bytes();
    // A frame of several chunks, and the leaves that lie beside the one that is wanted.
    assert!((4096..400_000).contains(&first), "{first} bytes for 100");
    reader.read_at(1_000_200, &mut [0; 100]).unwrap();
    assert_eq!(reader.fetched_bytes(), first, "the chunk is at hand");
    reader.read_at(4 << 20, &mut vec![0; 1 << 20]).unwrap();
    let second = reader.fetched_bytes() - first;
    assert!((1 << 20..(1 << 20) + 200_000).contains(&second), "{second} bytes for 1 MiB");
}

#[test]
fn what_came_with_a_short_read_is_at_hand() {
    let scene = scene(4, random_bytes(8 << 20, 4), ExtentSet::new());
    let anatomy = Anatomy::of(&scene.repository, &scene.point);
    let reader = scene.repository.read_point(&scene.point);
    reader.read_at(1 << 20, &mut [0; 1]).unwrap();
    let first = reader.fetched_bytes();
    let chunk_bytes = u64::from(scene.point.point.tree.chunk_bytes);
    let frame = anatomy.frame_at(1 << 20).unwrap();
    let companion = (1 << 20) + chunk_bytes;
    assert_eq!(anatomy.frame_at(companion), Some(frame), "the next chunk lies in the same frame");
    let mut out = vec![0; 100];
    reader.read_at(companion, &mut out).unwrap();
    assert_eq!(out, scene.bytes[companion as usize..companion as usize + 100]);
    assert_eq!(reader.fetched_bytes(), first);
}

#[test]
fn a_source_beside_is_believed_only_where_it_still_agrees() {
    each_seed(0..8, |seed| {
        let size = 1_000_001;
        let lost: ExtentSet = [Extent::new(40_960, 512)].into_iter().collect();
        let scene = scene(seed, volume_bytes(size, seed), lost.clone());
        let dice = Dice::new(seed);
        let mut changed = scene.bytes.clone();
        for _ in 0..20 {
            changed[dice.below(size as u64) as usize] ^= 1;
        }
        let whole = Extent::new(0, size as u64);
        let check = |beside: &MemoryVolume| {
            let beside: Arc<dyn ReadAt> = Arc::new(beside.clone());
            let reader = scene.repository.read_volume(scene.point.point.tree, Gaps::of(&scene.point), Some(beside));
            for extent in whole.cut(10_000).chain((0..50).map(|_| random_extent(&dice, size as u64))) {
                let mut out = vec![0xaa; extent.length as usize];
                match reader.read_at(extent.offset, &mut out) {
                    Ok(()) => assert!(out == scene.bytes[extent.offset as usize..extent.end() as usize], "{extent}"),
                    Err(IoError::Missing { extent: gap, .. }) => assert!(lost.intersects(&gap) && lost.intersects(&extent)),
                    Err(other) => panic!("{other}"),
                }
            }
            reader.fetched_bytes()
        };
        let (same, other) = (MemoryVolume::new(scene.bytes.clone()), MemoryVolume::new(changed));
        let shorter = MemoryVolume::new(scene.bytes[..size / 2].to_vec());
        let [same, other, shorter] = [&same, &other, &shorter].map(check);
        assert!(same < other && same < shorter, "fetched {same} {other} {shorter}");
    });
}

#[test]
fn what_was_left_out_is_missing_and_not_zero() {
    let scene = scene(5, random_bytes(100_000, 5), ExtentSet::new());
    let omitted: ExtentSet = [Extent::new(20_480, 4096)].into_iter().collect();
    let gaps = Gaps { omitted, ..Gaps::default() };
    let reader = scene.repository.read_volume(scene.point.point.tree, gaps, None);
    for (offset, length, gap) in [(20_000, 480, None), (20_000, 481, Some(1)), (24_575, 10, Some(1)), (24_576, 10, None)] {
        match (reader.read_at(offset, &mut vec![0; length]), gap) {
            (Ok(()), None) => {}
            (Err(IoError::Missing { extent, reason }), Some(length)) => {
                assert!(extent.length == length && reason.contains("no file used it"), "{extent} {reason}");
            }
            (other, _) => panic!("{offset}+{length}: {other:?}"),
        }
    }
}

#[test]
fn what_the_source_lost_is_missing_and_its_neighbours_are_not() {
    let lost: ExtentSet = [Extent::new(10_240, 512), Extent::new(40_960, 8192)].into_iter().collect();
    let scene = scene(3, random_bytes(100_000, 3), lost.clone());
    assert_eq!(scene.point.point.unreadable, lost);
    let reader = scene.repository.read_point(&scene.point);
    for at in (0..99_840u64).step_by(256) {
        let mut out = [0; 256];
        match reader.read_at(at, &mut out) {
            Ok(()) => {
                assert!(!lost.intersects(&Extent::new(at, 256)));
                assert_eq!(out, scene.bytes[at as usize..at as usize + 256]);
            }
            Err(IoError::Missing { extent, reason }) => {
                assert_eq!(extent, Extent::new(at, 256));
                assert!(lost.intersects(&extent) && reason.contains("source"), "{extent} {reason}");
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn damage_is_a_gap_of_exactly_the_damaged_chunks_and_never_other_bytes() {
    each_seed(0..6, |seed| {
        let scene = scene(seed, volume_bytes(1_000_000, seed), ExtentSet::new());
        let anatomy = Anatomy::of(&scene.repository, &scene.point);
        let mut packs = Vec::new();
        let list = scene.store.list(names::PACKS, &mut |entry| {
            packs.push(entry.key);
            ControlFlow::Continue(())
        });
        list.unwrap();
        let bad = packs[Dice::new(seed).below(packs.len() as u64) as usize].clone();
        let bad_id = names::parse_pack(&bad).unwrap();
        let junk = random_bytes(scene.store.get(&bad).unwrap().len(), seed);
        scene.store.put(&bad, Bytes::from(junk)).unwrap();
        let lost = anatomy.lost(|frame| frame.pack == bad_id);
        assert!(!lost.is_empty());
        // Equal windows that were cut at once are stored twice, and each stands in for the other.
        let twice = anatomy.ids_outside(&lost).collect();
        let lost = anatomy.lost_for_good(&lost, &anatomy.lost_nodes(|frame| frame.pack == bad_id), &twice);
        let reader = scene.repository.read_point(&scene.point);
        for extent in Extent::new(0, scene.bytes.len() as u64).cut(4096) {
            let mut out = vec![0; extent.length as usize];
            match reader.read_at(extent.offset, &mut out) {
                Ok(()) => {
                    assert!(!lost.intersects(&extent), "{extent} is lost, but was read");
                    assert!(out == scene.bytes[extent.offset as usize..extent.end() as usize]);
                }
                Err(IoError::Missing { extent: gap, .. }) => {
                    assert!(lost.intersects(&extent), "{extent} is there, but was not read");
                    assert_eq!(gap, extent);
                }
                Err(other) => panic!("{other}"),
            }
        }
    });
}

/// A source that counts how often it is asked, and cannot read some of its bytes.
#[derive(Debug)]
struct Asked {
    volume: MemoryVolume,
    broken: Extent,
    times: AtomicU64,
}

impl ReadAt for Asked {
    fn size(&self) -> u64 {
        ReadAt::size(&self.volume)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        self.times.fetch_add(1, Ordering::Relaxed);
        let extent = Extent::new(offset, out.len() as u64);
        if !extent.intersect(&self.broken).is_empty() {
            return Err(IoError::Missing { extent, reason: "it is broken".to_owned() });
        }
        self.volume.read_at(offset, out)
    }
}

#[test]
fn reads_that_go_on_are_read_ahead_beside_and_what_comes_ahead_is_verified_too() {
    let scene = scene(3, random_bytes(4 << 20, 3), ExtentSet::new());
    let check = |volume: MemoryVolume, broken: Extent, allowed: u64| {
        let beside = Arc::new(Asked { volume, broken, times: AtomicU64::new(0) });
        let reader = scene.repository.read_volume(scene.point.point.tree, Gaps::of(&scene.point), Some(Arc::clone(&beside) as _));
        for (offset, expected) in (0..).step_by(4096).zip(scene.bytes.chunks(4096)) {
            let mut out = [0; 4096];
            reader.read_at(offset, &mut out).unwrap();
            assert!(out == expected, "at {offset}");
        }
        assert!(beside.times.load(Ordering::Relaxed) <= allowed, "{} reads", beside.times.load(Ordering::Relaxed));
        reader.fetched_bytes()
    };
    let same = MemoryVolume::new(scene.bytes.clone());
    let tree = check(same.clone(), Extent::new(0, 0), 30);
    let moved_on = MemoryVolume::new(scene.bytes.clone());
    moved_on.change(|bytes| bytes[1_000_000..1_000_010].fill(0));
    assert!(check(moved_on, Extent::new(0, 0), 60) > tree, "the chunk that is another now comes from the store");
    assert!(check(same, Extent::new(2_000_000, 512), 120) > tree, "as does the one that cannot be read");
}
