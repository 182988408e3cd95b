//! Promise 4: an increment costs what changed, whatever the size of the volume and the length of its history.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests and their helpers fail by panicking, and say what they found"
)]

use std::sync::Arc;

use icecore::base::cancel::Cancel;
use icecore::base::extent::{Extent, ExtentSet};
use icecore::base::progress::Silent;
use icecore::job::backup::{AuditPolicy, BackupRequest, backup};
use icecore::repository::{ListedPoint, Repository};
use icecore::store::Store;
use icecore::store::memory::Memory;
use icecore::testkit::guarded::{Guarded, Ledger, Operation};
use icecore::testkit::manual_clock::ManualClock;
use icecore::testkit::stamped::StampedVolume;
use icecore::testkit::trial::{self, environment};
use icecore::tracking::ChangeList;

const CHUNK: u64 = 4096;
/// A node of 64 entries, its frame's header, tag, slot and share of the pack.
const NODE_BYTES: u64 = 3_200;

struct Scene {
    repository: Repository,
    ledger: Arc<Ledger>,
    volume: StampedVolume,
}

/// What some calls came to.
#[derive(Debug, Clone, Copy)]
struct Bill {
    reads: u64,
    read_bytes: u64,
    writes: u64,
    written_bytes: u64,
}

fn bill(operations: &[Operation]) -> Bill {
    let count = |is_write| operations.iter().filter(|operation| operation.act.is_write() == is_write).count() as u64;
    let bytes = |is_write| operations.iter().filter(|operation| operation.act.is_write() == is_write).map(|o| o.bytes).sum();
    Bill { reads: count(false), read_bytes: bytes(false), writes: count(true), written_bytes: bytes(true) }
}

impl Scene {
    fn new(chunks: u64) -> Self {
        let clock = Arc::new(ManualClock::default());
        let ledger = Arc::new(Ledger::default());
        let store: Arc<dyn Store> = Arc::new(Guarded::new(Arc::new(Memory::new(clock.clone())), Arc::clone(&ledger)));
        let repository = trial::init(&store, environment(&clock, 1)).unwrap();
        let scene = Self { repository, ledger, volume: StampedVolume::new(chunks * CHUNK) };
        scene.back_up(None);
        let _ = (scene.ledger.take(), scene.volume.take_read_bytes());
        scene
    }

    fn back_up(&self, changed: Option<ExtentSet>) -> ListedPoint {
        let request = BackupRequest {
            // One chunk is sampled: its cost is part of the bill.
            audit: AuditPolicy { wrong_share: 0.5, detection: 0.5 },
            checkpoint_bytes: u64::MAX,
            ..trial::request(&self.repository, "v")
        };
        let mut open = |window: u64| Ok(self.volume.reader(window));
        let mut told = trial::told(changed.map(|extents| ChangeList { extents }));
        backup(&self.repository, &request, &mut told, &mut open, &Silent, &Cancel::new()).unwrap().point
    }

    fn bill(&self) -> Bill {
        bill(&self.ledger.take())
    }
}

#[test]
fn one_changed_chunk_costs_a_path_of_the_tree_in_a_small_volume_and_in_a_large_one() {
    let mut bills = Vec::new();
    for (chunks, levels) in [(64 * 64, 2), (64 * 64 * 64, 3)] {
        let scene = Scene::new(chunks);
        let changed = scene.volume.rewrite(chunks / 3);
        let point = scene.back_up(Some(changed)).point;
        let bill = scene.bill();
        println!("{chunks} chunks: {bill:?}, {:?}", point.statistics);
        assert_eq!(scene.volume.take_read_bytes(), 2 * CHUNK, "the changed chunk and the sampled one");
        assert_eq!(point.statistics.new_bytes, CHUNK);
        assert!(point.statistics.data_stored_bytes < 200);
        assert!(point.statistics.tree_stored_bytes <= levels * NODE_BYTES, "more than a path was stored");
        // Config and slots are read once, at opening; here: points, verdicts, leases, and nodes with their brothers, three times.
        assert!(bill.reads <= 12 + 3 * 2 * levels, "{bill:?}");
        assert!(bill.read_bytes <= 3 * (64 + levels) * NODE_BYTES + 4_096, "{bill:?}");
        assert!(bill.writes <= 6 && bill.written_bytes <= levels * NODE_BYTES + 4_096, "{bill:?}");
        bills.push(bill);
    }
    assert!(bills[1].reads <= bills[0].reads + 6, "one more level costs more than its nodes");
    assert_eq!(bills[1].writes, bills[0].writes);
}

#[test]
fn a_long_history_makes_the_next_increment_no_dearer() {
    let scene = Scene::new(4_096);
    let mut bills = Vec::new();
    for number in 0..40 {
        let changed = scene.volume.rewrite(number * 97 % 4_096);
        scene.back_up(Some(changed));
        bills.push(scene.bill());
    }
    let (early, late) = (bills[1], bills[39]);
    assert!(late.reads <= early.reads + 8, "{early:?} became {late:?}");
    assert_eq!(late.writes, early.writes);
}

#[test]
fn comparing_two_points_reads_what_differs() {
    let scene = Scene::new(64 * 64 * 64);
    let old = scene.back_up(Some(ExtentSet::new()));
    let changed = [5, 100_000, 100_001, 250_000].map(|block| scene.volume.rewrite(block));
    let changed = changed.iter().fold(ExtentSet::new(), |all, extents| all.union(extents));
    let new = scene.back_up(Some(changed.clone()));
    let _ = scene.bill();
    let found = scene.repository.diff(&old.point.tree, &new.point.tree).unwrap();
    assert_eq!(found, changed);
    let bill = scene.bill();
    println!("{bill:?}");
    // Three leaves differ, and each is fetched with its brothers, on both sides.
    assert!(bill.reads <= 2 * 3 * 3 * 2 && bill.read_bytes <= 2 * 3 * (64 + 2) * NODE_BYTES, "{bill:?}");
    scene.repository.diff(&new.point.tree, &new.point.tree).unwrap();
    assert_eq!(scene.bill().reads, 0, "equal trees were read");
}

#[test]
fn what_moved_nowhere_is_not_stored_twice_inside_a_run() {
    // Two volumes' worth of the same 64 chunks: the second half costs no data.
    let scene = Scene::new(64);
    let mut half = Vec::new();
    scene.volume.fill(Extent::new(0, 64 * CHUNK), &mut half);
    let mut request = trial::request(&scene.repository, "w");
    request.checkpoint_bytes = u64::MAX;
    // One window after the other: windows on their way together cannot know of each other.
    let report = trial::run_in_lockstep(&scene.repository, &request, None, &half.repeat(40), &Silent, &Cancel::new()).unwrap();
    let done = report.point.point.statistics;
    assert_eq!(done.new_bytes, 64 * CHUNK, "{done:?}");
}
