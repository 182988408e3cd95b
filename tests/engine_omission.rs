//! What no file uses is left out: recorded as left out, never as zeros that were read, and never forgotten once it is used again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::absolute_paths,
    reason = "a test may fail by panicking, in its helpers too"
)]

use std::sync::Arc;
use std::time::Duration;

use icecore::base::cancel::Cancel;
use icecore::base::clock::{Clock, Timestamp};
use icecore::base::extent::{Extent, ExtentSet};
use icecore::base::progress::Silent;
use icecore::job::backup::{BackupReport, BackupRequest};
use icecore::job::restore::{RestoreOptions, restore};
use icecore::repository::Repository;
use icecore::store::Store;
use icecore::store::memory::Memory;
use icecore::testkit::manual_clock::ManualClock;
use icecore::testkit::trial::{self, PLAIN, environment, request, restored};
use icecore::testkit::volume::MemoryVolume;
use icecore::tracking::ChangeList;
use proptest::prelude::*;

const CHUNK: u64 = 4096;

fn repository(seed: u64) -> (Arc<ManualClock>, Repository) {
    let clock = Arc::new(ManualClock::new(Timestamp(1_700_000_000_000)));
    let store: Arc<dyn Store> = Arc::new(Memory::new(clock.clone()));
    let repository = trial::init(&store, environment(&clock, seed)).unwrap();
    (clock, repository)
}

fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; size];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

fn set(extents: &[(u64, u64)]) -> ExtentSet {
    extents.iter().map(|(offset, length)| Extent::new(*offset, *length)).collect()
}

fn back_up_allocated(
    (clock, repository): (&ManualClock, &Repository),
    volume: &MemoryVolume,
    free: &ExtentSet,
    listed: Option<ExtentSet>,
) -> BackupReport {
    // The order of points is the order of their times.
    clock.sleep(Duration::from_secs(1));
    let changed = listed.map(|extents| ChangeList { extents });
    let request = BackupRequest { free: free.clone(), ..request(repository, "v") };
    trial::run_told(repository, &request, changed, volume).unwrap()
}

/// `bytes` with everything in `omitted` zero.
fn without(mut bytes: Vec<u8>, omitted: &ExtentSet) -> Vec<u8> {
    omitted.as_slice().iter().for_each(|extent| bytes[extent.offset as usize..extent.end() as usize].fill(0));
    bytes
}

#[test]
fn free_ranges_are_not_read_and_everything_else_comes_back() {
    let (clock, repository) = repository(1);
    let volume = MemoryVolume::new(noise(3_000_000, 1));
    let free = set(&[(100_000, 300_000), (1_000_000, 5000), (2_500_000, 500_000)]);
    let report = back_up_allocated((&clock, &repository), &volume, &free, None);
    let omitted = report.point.point.omitted.clone();
    assert_eq!(omitted, set(&[(102_400, 294_912), (2_502_656, 497_344)]), "whole chunks only, and the volume's end");
    assert!(volume.take_reads().intersection(&omitted).is_empty());
    assert_eq!(report.point.point.statistics.read_bytes, 3_000_000 - omitted.bytes());
    let (bytes, restored) = restored(&repository, &report.point, PLAIN).unwrap();
    assert!(bytes == without(volume.bytes(), &omitted));
    assert_eq!(restored.omitted_bytes, omitted.bytes());
}

#[test]
fn a_block_written_while_it_was_free_is_read_once_it_is_used_though_no_list_names_it() {
    let (clock, repository) = repository(2);
    let volume = MemoryVolume::new(noise(2_000_000, 2));
    let first = back_up_allocated((&clock, &repository), &volume, &set(&[(0, 400_000), (1_000_000, 400_000)]), None);
    // Nothing was written since, but the file system has put the first range into a file.
    let still_free = set(&[(1_000_000, 400_000)]);
    let second = back_up_allocated((&clock, &repository), &volume, &still_free, Some(ExtentSet::new()));
    let omitted = &second.point.point.omitted;
    assert!(!omitted.is_empty() && omitted.difference(&still_free).is_empty() && first.point.point.omitted.contains(0));
    let (bytes, _) = restored(&repository, &second.point, PLAIN).unwrap();
    assert!(bytes == without(volume.bytes(), omitted));
    // And without any map, all of it is read.
    let third = back_up_allocated((&clock, &repository), &volume, &ExtentSet::new(), Some(ExtentSet::new()));
    assert!(third.point.point.omitted.is_empty());
    assert!(restored(&repository, &third.point, PLAIN).unwrap().0 == volume.bytes());
}

#[test]
fn writing_only_differences_leaves_alone_what_was_left_out() {
    let (clock, repository) = repository(3);
    let volume = MemoryVolume::new(noise(1_000_000, 3));
    let report = back_up_allocated((&clock, &repository), &volume, &set(&[(200_000, 600_000)]), None);
    let target = MemoryVolume::new(noise(1_000_000, 4));
    let before = target.bytes();
    let options = RestoreOptions { only_differences: true, ..PLAIN };
    restore(&repository, &report.point, &target, options, &Silent, &Cancel::new()).unwrap();
    let mut expected = volume.bytes();
    for extent in &report.point.point.omitted {
        let range = extent.offset as usize..extent.end() as usize;
        expected[range.clone()].copy_from_slice(&before[range]);
    }
    assert!(target.bytes() == expected);
}

#[test]
fn the_audit_does_not_take_left_out_ranges_for_a_lying_list() {
    let (clock, repository) = repository(5);
    let volume = MemoryVolume::new(noise(1_000_000, 5));
    let free = set(&[(0, 700_000)]);
    back_up_allocated((&clock, &repository), &volume, &free, None);
    volume.change(|bytes| bytes[..600_000].fill(0x33));
    let report = back_up_allocated((&clock, &repository), &volume, &free, Some(ExtentSet::new()));
    assert_eq!(report.point.point.incident, None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// A life of writes and changing free space: each point equals the volume outside of what that point left out.
    #[test]
    fn every_point_is_right_outside_what_it_left_out(
        steps in prop::collection::vec((prop::collection::vec((0u64..300, 1u64..80), 0..4), prop::collection::vec((0u64..300, 1u64..20), 0..4), any::<bool>()), 1..6),
        seed in any::<u64>(),
    ) {
        let (clock, repository) = repository(seed);
        let volume = MemoryVolume::new(noise(300 * CHUNK as usize, seed));
        let mut points = Vec::new();
        for (index, (free, writes, is_listed)) in steps.into_iter().enumerate() {
            let clip = |raw: Vec<(u64, u64)>| -> ExtentSet {
                raw.into_iter().map(|(at, count)| Extent::between(at * CHUNK, ((at + count) * CHUNK).min(300 * CHUNK))).collect()
            };
            let (free, writes) = (clip(free), clip(writes));
            volume.change(|bytes| {
                for extent in &writes {
                    let range = extent.offset as usize..extent.end() as usize;
                    bytes[range.clone()].copy_from_slice(&noise(range.len(), seed ^ index as u64));
                }
            });
            let listed = Some(writes).filter(|_| is_listed);
            let report = back_up_allocated((&clock, &repository), &volume, &free, listed);
            prop_assert_eq!(report.point.point.incident, None);
            points.push((report.point, volume.bytes()));
        }
        for (point, bytes) in points {
            let (found, _) = restored(&repository, &point, PLAIN).unwrap();
            let wanted = without(bytes, &point.point.omitted);
            let wrong = found.chunks(CHUNK as usize).zip(wanted.chunks(CHUNK as usize)).position(|(a, b)| a != b);
            prop_assert_eq!(wrong, None, "chunk of point {} that left out {:?}", point.id, point.point.omitted);
        }
    }
}
