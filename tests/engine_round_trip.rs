//! Volumes come back: random contents, changes, sizes and change lists against a plain copy.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::absolute_paths,
    reason = "a test may fail by panicking, in its helpers too"
)]

use std::sync::Arc;
use std::time::Duration;

use icecore::base::clock::Timestamp;
use icecore::base::extent::{Extent, ExtentSet};
use icecore::base::finding::Finding;
use icecore::job::backup::{AuditPolicy, BackupReport, BackupRequest};
use icecore::repository::Repository;
use icecore::repository::format::changes::{ChangeSource as Known, Rung};
use icecore::repository::format::frame::Codec;
use icecore::store::Store;
use icecore::store::memory::Memory;
use icecore::testkit::manual_clock::ManualClock;
use icecore::testkit::trial::{self, PLAIN, back_up, back_up_changed, environment, restored};
use icecore::testkit::volume::MemoryVolume;
use icecore::tracking::{ChangeList, Objection, PlanPolicy};
use proptest::prelude::*;

fn repository(seed: u64) -> (Arc<ManualClock>, Repository) {
    let clock = Arc::new(ManualClock::new(Timestamp(1_700_000_000_000)));
    let store: Arc<dyn Store> = Arc::new(Memory::new(clock.clone()));
    let repository = trial::init(&store, environment(&clock, seed)).unwrap();
    (clock, repository)
}

/// A volume of pieces: random, repeated, or zero.
fn volume_bytes(size: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; size];
    for (index, piece) in out.chunks_mut(6000).enumerate() {
        let key = seed ^ (index as u64) << 8;
        match blake3::hash(&key.to_le_bytes()).as_bytes()[0] % 3 {
            0 => {}
            1 => blake3::Hasher::new().update(&key.to_le_bytes()).finalize_xof().fill(piece),
            _ => piece.iter_mut().zip(b"the same words over and over. ".iter().cycle()).for_each(|(a, b)| *a = *b),
        }
    }
    out
}

/// A step in a volume's life.
#[derive(Debug, Clone)]
enum Change {
    Write { at: usize, length: usize, seed: u64 },
    Zero { at: usize, length: usize },
    Resize { size: usize },
}

fn apply(bytes: &mut Vec<u8>, change: &Change) -> Extent {
    let clip = |bytes: &[u8], at: usize, length: usize| {
        let start = at.min(bytes.len());
        start..(start + length).min(bytes.len())
    };
    match *change {
        Change::Write { at, length, seed } => {
            let range = clip(bytes, at, length);
            blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes[range.clone()]);
            Extent::between(range.start as u64, range.end as u64)
        }
        Change::Zero { at, length } => {
            let range = clip(bytes, at, length);
            bytes[range.clone()].fill(0);
            Extent::between(range.start as u64, range.end as u64)
        }
        Change::Resize { size } => {
            let old = bytes.len();
            bytes.resize(size, 0x5a);
            Extent::between(old as u64, size as u64)
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let size = 0usize..1_500_000;
    prop_oneof![
        4 => (size.clone(), 1usize..40_000, any::<u64>()).prop_map(|(at, length, seed)| Change::Write { at, length, seed }),
        2 => (size.clone(), 1usize..200_000).prop_map(|(at, length)| Change::Zero { at, length }),
        1 => size.prop_map(|size| Change::Resize { size }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn every_point_of_a_changing_volume_comes_back_byte_for_byte(
        size in 0usize..1_500_000,
        seed in any::<u64>(),
        steps in prop::collection::vec((prop::collection::vec(change(), 0..5), any::<bool>()), 1..6),
    ) {
        let (clock, repository) = repository(seed);
        let volume = MemoryVolume::new(volume_bytes(size, seed));
        let mut expected = vec![(back_up(&repository, "v", &volume).unwrap().point, volume.bytes())];
        for (changes, listed) in steps {
            clock.advance(std::time::Duration::from_secs(60));
            let mut extents = ExtentSet::new();
            volume.change(|bytes| changes.iter().for_each(|change| extents.insert(apply(bytes, change))));
            let report = if listed {
                back_up_changed(&repository, "v", &volume, ChangeList { extents }, AuditPolicy::default()).unwrap()
            } else {
                back_up(&repository, "v", &volume).unwrap()
            };
            prop_assert!(report.findings.is_empty(), "{:?}", report.findings);
            expected.push((report.point, volume.bytes()));
        }
        let listing = repository.points().unwrap();
        prop_assert_eq!(listing.points.len(), expected.len());
        prop_assert!(repository.chain_breaks(&listing.points, &repository.verdicts().unwrap()).is_empty());
        for (point, bytes) in &expected {
            let (found, _) = restored(&repository, point, PLAIN).unwrap();
            prop_assert!(found == *bytes, "point {} differs", point.id);
        }
        for pair in expected.windows(2) {
            let differing = repository.diff(&pair[0].0.point.tree, &pair[1].0.point.tree).unwrap();
            let (old, new) = (&pair[0].1, &pair[1].1);
            for chunk in 0..old.len().max(new.len()).div_ceil(4096) {
                let range = |bytes: &Vec<u8>| bytes.get(chunk * 4096..((chunk + 1) * 4096).min(bytes.len())).map(<[u8]>::to_vec);
                let differs = range(old).unwrap_or_default() != range(new).unwrap_or_default();
                prop_assert!(!differs || differing.contains(chunk as u64 * 4096), "chunk {chunk} differs unseen");
            }
        }
    }
}

#[test]
fn a_listed_backup_reads_the_list_and_the_sample_and_nothing_else() {
    let (_, repository) = repository(1);
    let volume = MemoryVolume::new(volume_bytes(8 << 20, 7));
    back_up(&repository, "v", &volume).unwrap();
    let _ = volume.take_reads();
    volume.change(|bytes| bytes[3_000_000..3_010_000].fill(9));
    let extents: ExtentSet = Extent::new(3_000_000, 10_000).into();
    let audit = AuditPolicy { wrong_share: 0.1, detection: 0.99 };
    let report = back_up_changed(&repository, "v", &volume, ChangeList { extents: extents.clone() }, audit).unwrap();
    let reads = volume.take_reads();
    assert!(extents.difference(&reads).is_empty());
    assert_eq!(reads.bytes(), extents.align_outward(4096, 8 << 20).bytes() + 44 * 4096);
    let Known::Told { by: Rung::List, listed_bytes, sampled_chunks, .. } = report.point.point.changes.source else {
        panic!("{:?}", report.point.point.changes)
    };
    assert_eq!((listed_bytes, sampled_chunks), (10_000, 44));
    assert!(report.point.point.statistics.data_stored_bytes < 64 << 10);
}

#[test]
fn a_lying_change_list_is_caught_and_the_point_is_right_all_the_same() {
    let (_, repository) = repository(2);
    let volume = MemoryVolume::new(volume_bytes(4 << 20, 8));
    back_up(&repository, "v", &volume).unwrap();
    volume.change(|bytes| bytes[1 << 20..3 << 20].fill(7));
    let report = back_up_changed(&repository, "v", &volume, ChangeList::default(), AuditPolicy::default()).unwrap();
    assert!(report.point.point.incident.is_some());
    assert!(!report.findings.is_empty());
    assert_eq!(restored(&repository, &report.point, PLAIN).unwrap().0, volume.bytes());
}

#[test]
fn who_was_caught_lying_is_not_believed_again_until_somebody_says_so() {
    let (clock, repository) = repository(12);
    // The order of points is the order of their times.
    let next = || clock.advance(Duration::from_secs(1));
    let volume = MemoryVolume::new(volume_bytes(4 << 20, 8));
    back_up(&repository, "v", &volume).unwrap();
    volume.change(|bytes| bytes[1 << 20..3 << 20].fill(7));
    next();
    back_up_changed(&repository, "v", &volume, ChangeList::default(), AuditPolicy::default()).unwrap();
    // Nothing has changed since, so that even an empty list would be right.
    let changes = |report: &BackupReport| report.point.point.changes.clone();
    for _ in 0..2 {
        next();
        let report = back_up_changed(&repository, "v", &volume, ChangeList::default(), AuditPolicy::default()).unwrap();
        assert_eq!((changes(&report).source, changes(&report).distrusted), (Known::Compare, vec![Rung::List]));
        assert!(changes(&report).passed_over[0].text.contains("--trust") && report.findings.is_empty());
    }
    let belief = PlanPolicy { compare_every: 3, trusted_again: vec![Rung::List] };
    let mut request = BackupRequest { belief, ..trial::request(&repository, "v") };
    next();
    let again = trial::run_told(&repository, &request, Some(ChangeList::default()), &volume).unwrap();
    assert!(matches!(changes(&again).source, Known::Told { by: Rung::List, .. }) && changes(&again).distrusted.is_empty());
    request.belief.trusted_again.clear();
    let sources: Vec<bool> = (0..6)
        .inspect(|_| next())
        .map(|_| trial::run_told(&repository, &request, Some(ChangeList::default()), &volume).unwrap())
        .map(|report| matches!(changes(&report).source, Known::Told { .. }))
        .collect();
    assert_eq!(sources, [true, false, true, true, false, true], "every third point compares everything");
}

#[test]
fn a_full_comparison_holds_the_word_to_what_it_finds() {
    let (clock, repository) = repository(13);
    let next = || clock.advance(Duration::from_secs(1));
    let belief = PlanPolicy { compare_every: 1, trusted_again: vec![Rung::List] };
    let request = BackupRequest { belief, ..trial::request(&repository, "v") };
    let tell = |volume: &MemoryVolume, list: &str| {
        next();
        trial::run_told(&repository, &request, Some(ChangeList::parse(list).unwrap()), volume).unwrap()
    };
    let volume = MemoryVolume::new(volume_bytes(4 << 20, 8));
    back_up(&repository, "v", &volume).unwrap();
    volume.change(|bytes| bytes[1 << 20] ^= 1);
    let right = tell(&volume, "1048576 1\n");
    assert_eq!(right.point.point.changes.source, Known::Compare);
    assert_eq!((right.point.point.incident, right.findings.len()), (None, 0));
    assert_eq!(right.passed_over[0].objection, Objection::CompareDue);

    // What cannot be read has not changed for all that is known.
    volume.break_at(Extent::new(2 << 20, 512).into());
    assert_eq!(tell(&volume, "").point.point.incident, None);
    volume.break_at(ExtentSet::new());
    assert_eq!(tell(&volume, "").point.point.incident, None, "and what could not be read before may be anything");

    volume.change(|bytes| bytes[3 << 20] ^= 1);
    let wrong = tell(&volume, "0 4096\n");
    let point = &wrong.point.point;
    assert_eq!((point.incident, &point.changes.distrusted[..]), (Some(Extent::new(3 << 20, 4096)), &[Rung::List][..]));
    assert_eq!(wrong.passed_over.last().unwrap().objection, Objection::Caught);
    assert!(matches!(wrong.findings[..], [Finding::ChangeListWrong { .. }]));
    assert_eq!(restored(&repository, &wrong.point, PLAIN).unwrap().0, volume.bytes());
}

#[test]
fn what_the_source_cannot_give_is_named_and_never_restored_as_zeros() {
    let (_, repository) = repository(3);
    let volume = MemoryVolume::new(vec![0x77; 1 << 20]);
    let broken: ExtentSet = [Extent::new(512, 512), Extent::new(40_960, 8192)].into_iter().collect();
    volume.break_at(broken.clone());
    let report = back_up(&repository, "v", &volume).unwrap();
    assert_eq!(report.point.point.unreadable, broken);
    assert!(restored(&repository, &report.point, PLAIN).unwrap_err().to_string().contains("--degraded"));
    let options = icecore::job::restore::RestoreOptions { degraded: true, ..PLAIN };
    let (bytes, restored_report) = restored(&repository, &report.point, options).unwrap();
    assert_eq!(restored_report.findings.len(), 2);
    for (at, byte) in bytes.iter().enumerate() {
        let expected = if broken.contains(at as u64) { 0xee } else { 0x77 };
        assert_eq!(*byte, expected, "byte {at}: the target keeps its own where nothing is known");
    }
    // A later listed backup reads the doubtful chunks again although nobody lists them.
    volume.break_at(ExtentSet::new());
    let healed = back_up_changed(&repository, "v", &volume, ChangeList::default(), AuditPolicy::default()).unwrap();
    assert!(healed.point.point.unreadable.is_empty() && healed.findings.is_empty());
    assert_eq!(restored(&repository, &healed.point, PLAIN).unwrap().0, volume.bytes());
}

#[test]
fn an_unchanged_volume_costs_a_manifest_and_nothing_else() {
    let (_, repository) = repository(4);
    let volume = MemoryVolume::new(volume_bytes(3 << 20, 9));
    back_up(&repository, "v", &volume).unwrap();
    let second = back_up(&repository, "v", &volume).unwrap().point.point;
    assert_eq!((second.statistics.data_stored_bytes, second.statistics.tree_stored_bytes), (0, 0));
}

#[test]
fn every_codec_and_chunk_size_comes_back() {
    for (number, codec) in [Codec::None, Codec::Lz4, Codec::Zstd(1), Codec::Zstd(9)].into_iter().enumerate() {
        for chunk_bytes in [4096, 16384, 65536, 1 << 20] {
            let (_, repository) = repository(number as u64);
            let volume = MemoryVolume::new(volume_bytes(5_000_001, u64::from(chunk_bytes)));
            let request = BackupRequest {
                chunk_bytes: Some(chunk_bytes),
                codec: Some(codec),
                workers: 3,
                upload_threads: 2,
                ..trial::request(&repository, "v")
            };
            let point = trial::run(&repository, &request, &volume).unwrap().point;
            assert!(restored(&repository, &point, PLAIN).unwrap().0 == volume.bytes(), "{codec:?}, {chunk_bytes}");
        }
    }
}

#[test]
fn only_differences_writes_exactly_the_chunks_that_differ() {
    use icecore::base::cancel::Cancel;
    use icecore::base::progress::Silent;
    use icecore::job::restore::{RestoreOptions, restore};
    let (_, repository) = repository(5);
    let volume = MemoryVolume::new(volume_bytes(2 << 20, 3));
    let point = back_up(&repository, "v", &volume).unwrap().point;
    let target = MemoryVolume::new(volume.bytes());
    target.change(|bytes| bytes[100_000] ^= 1);
    let options = RestoreOptions { only_differences: true, verify: true, ..PLAIN };
    let report = restore(&repository, &point, &target, options, &Silent, &Cancel::new()).unwrap();
    assert_eq!(target.bytes(), volume.bytes());
    assert_eq!(
        report.written_bytes + report.zero_bytes,
        if volume.bytes()[98_304..102_400].iter().all(|b| *b == 0) { 1 << 20 } else { 4096 }
    );
}
