//! Promise 5: ten million chunks, and the memory that each act takes for them. Long; see `make soak`.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests and their helpers fail by panicking, and say what they found"
)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use icecore::base::cancel::Cancel;
use icecore::base::clock::{Clock, SystemClock};
use icecore::base::extent::ExtentSet;
use icecore::base::progress::Silent;
use icecore::job::backup::{AuditPolicy, BackupRequest, backup};
use icecore::repository::format::frame::Codec;
use icecore::repository::format::slot::SlotKind;
use icecore::repository::{CheckDepth, CollectOptions, Environment, InitOptions, ListedPoint, NewSlot, Repository, SAFE_WAIT};
use icecore::store::directory::Directory;
use icecore::store::{Missing, Store};
use icecore::testkit::seeded_entropy::SeededEntropy;
use icecore::testkit::stamped::StampedVolume;
use icecore::testkit::trial;
use icecore::tracking::ChangeList;

const CHUNKS: u64 = 10_000_000;
const CHUNK: u64 = 4096;
/// What an agent may take on a node.
const LIMIT_KIB: u64 = 256 << 10;

/// The most memory that this process has held since the last call, in KiB.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let peak = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    fs::write("/proc/self/clear_refs", "5").unwrap();
    peak
}

struct Scene {
    repository: Repository,
    volume: StampedVolume,
    clock: SystemClock,
    problems: Vec<String>,
}

impl Scene {
    fn new(path: &Path) -> Self {
        let clock = SystemClock::new();
        let store: Arc<dyn Store> = Arc::new(Directory::open(path, Missing::Create, &clock).unwrap());
        let environment = Environment { clock: Arc::new(clock), entropy: Arc::new(SeededEntropy::new(1)) };
        let first = NewSlot { secret: trial::secret(), kind: SlotKind::KeyFile, label: String::new() };
        let options = InitOptions { chunk_bytes: CHUNK as u32, codec: Codec::Lz4, ..InitOptions::default() };
        let repository = Repository::init(store, environment, options, &first).unwrap();
        Self { repository, volume: StampedVolume::new(CHUNKS * CHUNK), clock, problems: Vec::new() }
    }

    fn back_up(&self, changed: Option<ExtentSet>) -> ListedPoint {
        let request = BackupRequest {
            audit: AuditPolicy::default(),
            workers: 2,
            upload_threads: 2,
            checkpoint_bytes: 1 << 30,
            ..trial::request(&self.repository, "v")
        };
        let mut open = |window: u64| Ok(self.volume.reader(window));
        let mut told = trial::told(changed.map(|extents| ChangeList { extents }));
        backup(&self.repository, &request, &mut told, &mut open, &Silent, &Cancel::new()).unwrap().point
    }

    /// Runs an act and says how long it took and how much memory.
    fn measure<T>(&mut self, what: &str, act: impl FnOnce(&Self) -> T) -> T {
        let _ = peak_kib();
        let begun = self.clock.monotonic();
        let result = act(self);
        let (took, peak) = (self.clock.monotonic() - begun, peak_kib());
        println!("{what:<40} {:>8.2} s {:>6} MiB at most", took.as_secs_f64(), peak >> 10);
        if peak > LIMIT_KIB {
            self.problems.push(format!("{what} took {} MiB", peak >> 10));
        }
        result
    }
}

#[test]
#[ignore = "takes minutes and a gigabyte of disk"]
fn soak_ten_million_chunks_fit_in_an_agents_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mut scene = Scene::new(folder.path());
    let first = scene.measure("full backup", |scene| scene.back_up(None));
    let second = scene.measure("nothing changed, by a change list", |scene| scene.back_up(Some(ExtentSet::new())));
    assert_eq!(second.point.statistics.tree_stored_bytes, 0);
    let changed: ExtentSet = (0..1_000).flat_map(|number| scene.volume.rewrite(number * 9_973).as_slice().to_vec()).collect();
    let third = scene.measure("1,000 scattered chunks, by a change list", |scene| scene.back_up(Some(changed.clone())));
    let found = scene.measure("diff", |scene| scene.repository.diff(&first.point.tree, &third.point.tree).unwrap());
    assert_eq!(found, changed);
    scene.measure("everything read and compared", |scene| scene.back_up(None));
    let report = scene.measure("quick check", |scene| scene.repository.check(CheckDepth::Quick, &Silent).unwrap());
    assert!(report.is_clean());
    scene.measure("forgetting and collecting", |scene| {
        scene.repository.forget_point(&third).unwrap();
        scene.repository.collect(CollectOptions { dry_run: false, wait: SAFE_WAIT }).unwrap()
    });
    let report = scene.measure("deep check", |scene| scene.repository.check(CheckDepth::Deep, &Silent).unwrap());
    assert!(report.is_clean());
    assert!(scene.problems.is_empty(), "more than {} MiB: {:?}", LIMIT_KIB >> 10, scene.problems);
}
