//! Promise 4 at scale: ten thousand scattered writes on a volume of 64 GiB, and what they add to the tree. Long; see `make soak`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests and their helpers fail by panicking, and say what they found"
)]

use std::sync::Arc;

use icecore::base::cancel::Cancel;
use icecore::base::clock::SystemClock;
use icecore::base::entropy::Entropy;
use icecore::base::extent::ExtentSet;
use icecore::base::progress::Silent;
use icecore::job::backup::{BackupRequest, backup};
use icecore::repository::format::slot::SlotKind;
use icecore::repository::{Environment, InitOptions, ListedPoint, NewSlot, Repository};
use icecore::store::Missing;
use icecore::store::Store;
use icecore::store::directory::Directory;
use icecore::testkit::seeded_entropy::SeededEntropy;
use icecore::testkit::stamped::StampedVolume;
use icecore::testkit::trial;
use icecore::tracking::ChangeList;

const VOLUME_BYTES: u64 = 64 << 30;
const BLOCK: u64 = 4096;
const WRITES: u64 = 10_000;
/// One leaf of 64 chunks a write, and the nodes above: 2.4 KiB and a little.
const MOST_TREE_BYTES: u64 = 28 << 20;

fn back_up(repository: &Repository, volume: &StampedVolume, changed: Option<ExtentSet>) -> ListedPoint {
    let mut told = trial::told(changed.map(|extents| ChangeList { extents }));
    let request = BackupRequest { workers: 2, upload_threads: 2, checkpoint_bytes: u64::MAX, ..trial::request(repository, "v") };
    let mut open = |window: u64| Ok(volume.reader(window));
    backup(repository, &request, &mut told, &mut open, &Silent, &Cancel::new()).unwrap().point
}

#[test]
#[ignore = "takes a minute"]
fn soak_ten_thousand_scattered_writes_cost_a_leaf_each() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Directory::open(folder.path(), Missing::Create, &SystemClock::new()).unwrap());
    let environment = Environment { clock: Arc::new(SystemClock::new()), entropy: Arc::new(SeededEntropy::new(1)) };
    let first = NewSlot { secret: trial::secret(), kind: SlotKind::KeyFile, label: String::new() };
    let repository = Repository::init(store, environment, InitOptions::default(), &first).unwrap();
    let volume = StampedVolume::new(VOLUME_BYTES);
    back_up(&repository, &volume, None);
    let seed = 11;
    println!("seed {seed}");
    let dice = SeededEntropy::new(seed);
    let changed =
        (0..WRITES).flat_map(|_| volume.rewrite(dice.u64().unwrap() % (VOLUME_BYTES / BLOCK)).as_slice().to_vec()).collect();
    let done = back_up(&repository, &volume, Some(changed)).point.statistics;
    println!("new {} B, stored data {} B, tree {} B", done.new_bytes, done.data_stored_bytes, done.tree_stored_bytes);
    assert!(done.new_bytes <= WRITES * 4 * BLOCK, "no more than one chunk a write");
    assert!(done.tree_stored_bytes <= MOST_TREE_BYTES, "{} bytes of tree", done.tree_stored_bytes);
}
