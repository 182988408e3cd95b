//! A point read at any place: what comes back is the volume, or a gap that is named; and only what is needed is fetched.

use bytes::Bytes;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;

use super::anatomy::Anatomy;
use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::{IoError, ReadAt};
use crate::repository::{ListedPoint, Repository, names};
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
