//! Catalogs in a repository: each describes its point, is collected and checked, and is never in a volume's way.
//!
//! The local index gives the same answers however it came about.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail by panicking, in its helpers too")]

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use icecore::base::io::ReadAt;
use icecore::base::progress::Silent;
use icecore::catalog::index::{Change, Index, Pattern, Query, Which};
use icecore::catalog::{PageContent, read_contents};
use icecore::job::backup::{AuditPolicy, BackupReport, BackupRequest, CatalogOutcome, CatalogRequest, MadeCatalog};
use icecore::repository::{CheckDepth, CollectOptions, ListedPoint, Repository, SAFE_WAIT};
use icecore::store::memory::Memory;
use icecore::store::{ObjectKey, Store};
use icecore::testkit::dice::{Dice, each_seed};
use icecore::testkit::manual_clock::ManualClock;
use icecore::testkit::toy_disk::ToyDisk;
use icecore::testkit::toy_filesystem::open_toy;
use icecore::testkit::trial::{self, PLAIN, environment, restored};
use icecore::testkit::volume::MemoryVolume;
use icecore::tracking::ChangeList;

/// Inode, parent, name.
type Names = BTreeSet<(u64, u64, Vec<u8>)>;

struct Scene {
    clock: Arc<ManualClock>,
    store: Arc<Memory>,
    repository: Repository,
    dice: Dice,
    disk: ToyDisk,
    /// What each point must hold.
    expected: Vec<(ListedPoint, Names, Vec<u8>)>,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let clock = Arc::new(ManualClock::default());
        let store = Arc::new(Memory::new(clock.clone()));
        let shared: Arc<dyn Store> = store.clone();
        let repository = trial::init(&shared, environment(&clock, seed)).unwrap();
        let (dice, mut disk) = (Dice::new(seed), ToyDisk::default());
        (0..200).for_each(|_| disk.mutate(&dice));
        Self { clock, store, repository, dice, disk, expected: Vec::new() }
    }

    fn request(&self, beside: Option<Arc<dyn ReadAt>>) -> BackupRequest {
        let catalog = Some(CatalogRequest { open: open_toy, beside, scratch: env::temp_dir() });
        BackupRequest { catalog, ..trial::request(&self.repository, "v") }
    }

    fn back_up(&mut self, mutations: u64) -> MadeCatalog {
        (0..mutations).for_each(|_| self.disk.mutate(&self.dice));
        let image = self.disk.image(&self.dice);
        let request = self.request(None);
        self.run(&request, image)
    }

    fn run(&mut self, request: &BackupRequest, image: Vec<u8>) -> MadeCatalog {
        self.run_told(request, None, image)
    }

    fn run_told(&mut self, request: &BackupRequest, changed: Option<ChangeList>, image: Vec<u8>) -> MadeCatalog {
        self.clock.advance(Duration::from_secs(60));
        let report = trial::run_told(&self.repository, request, changed, &MemoryVolume::new(image.clone())).unwrap();
        self.expected.push((report.point.clone(), self.disk.names(), image));
        made(report)
    }

    fn open(&self, store: Memory) -> Repository {
        let store: Arc<dyn Store> = Arc::new(store);
        trial::open(&store, environment(&self.clock, 99)).unwrap()
    }

    fn check(&self, repository: &Repository) {
        for (point, names, image) in &self.expected {
            assert!(names_of(repository, point) == *names, "names of {}", point.id);
            assert!(restored(repository, point, PLAIN).unwrap().0 == *image, "bytes of {}", point.id);
        }
        assert!(repository.check(CheckDepth::Deep, &Silent).unwrap().is_clean());
    }

    fn packs(&self) -> Vec<ObjectKey> {
        let mut keys = Vec::new();
        self.store
            .list("packs/", &mut |entry| {
                keys.push(entry.key);
                ControlFlow::Continue(())
            })
            .unwrap();
        keys
    }
}

fn made(report: BackupReport) -> MadeCatalog {
    match report.catalog {
        CatalogOutcome::Made(made) => made,
        other => panic!("{other:?}"),
    }
}

fn names_of(repository: &Repository, point: &ListedPoint) -> Names {
    let catalog = point.point.catalog.unwrap();
    let mut pages = repository.catalog_pages(catalog.tree).unwrap();
    let numbers = pages.present().unwrap();
    let mut names = Names::new();
    read_contents(&mut pages, &numbers, &mut |content| {
        match content {
            PageContent::Records { records, .. } => names.extend(records.into_iter().map(|r| (r.inode, r.parent, r.name))),
            PageContent::Links(links) => names.extend(links.into_iter().map(|link| (link.inode, link.parent, link.name))),
            PageContent::Other => {}
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(names.len() as u64, catalog.summary.unwrap().names);
    names
}

#[test]
fn each_catalog_describes_its_point_and_costs_what_changed() {
    each_seed(0..4, |seed| {
        let mut scene = Scene::new(seed);
        assert!(scene.back_up(0).anew);
        for _ in 0..8 {
            let made = scene.back_up(scene.dice.below(15));
            assert!(!made.anew && made.left_out == 0);
        }
        let first = scene.expected[0].0.point.catalog.unwrap().summary.unwrap();
        let again = scene.back_up(0);
        assert!(!again.anew);
        let same = scene.expected.last().unwrap().0.point.catalog.unwrap().summary.unwrap();
        assert!(same.stored_bytes * 2 < first.stored_bytes, "{same:?} after {first:?}");
        scene.check(&scene.repository);
    });
}

#[test]
fn a_catalog_describes_what_the_point_holds_even_where_the_source_has_moved_on() {
    let mut scene = Scene::new(11);
    scene.back_up(0);
    (0..30).for_each(|_| scene.disk.mutate(&scene.dice));
    let image = scene.disk.image(&scene.dice);
    let mut later = scene.disk.clone();
    (0..30).for_each(|_| later.mutate(&scene.dice));
    let beside = Arc::new(MemoryVolume::new(later.image(&scene.dice)));
    let request = scene.request(Some(beside));
    scene.run(&request, image);
    scene.check(&scene.repository);
}

#[test]
fn a_change_list_is_as_good_a_basis_as_a_comparison() {
    let mut scene = Scene::new(12);
    scene.back_up(0);
    for _ in 0..4 {
        (0..10).for_each(|_| scene.disk.mutate(&scene.dice));
        let (old, image) = (scene.expected.last().unwrap().2.clone(), scene.disk.image(&scene.dice));
        let blocks = old.chunks(512).zip(image.chunks(512)).enumerate().filter(|(_, (a, b))| a != b);
        let list: String = blocks.map(|(index, _)| format!("{} 512\n", index * 512)).collect();
        let audit = AuditPolicy { wrong_share: 0.5, detection: 0.5 };
        let request = BackupRequest { audit, ..scene.request(None) };
        assert!(!scene.run_told(&request, Some(ChangeList::parse(&list).unwrap()), image).anew);
    }
    scene.check(&scene.repository);
}

#[test]
fn a_point_without_a_catalog_between_two_with_one_makes_the_next_begin_anew() {
    let mut scene = Scene::new(13);
    scene.back_up(0);
    let image = scene.disk.image(&scene.dice);
    trial::back_up(&scene.repository, "v", &MemoryVolume::new(image)).unwrap();
    assert!(scene.back_up(5).anew);
    let image = scene.disk.image(&scene.dice);
    let request = BackupRequest { full: true, ..scene.request(None) };
    assert!(scene.run(&request, image).anew, "--full shares nothing");
    scene.check(&scene.repository);
}

#[test]
fn a_volume_without_a_known_filesystem_has_no_catalog_and_is_backed_up() {
    let scene = Scene::new(14);
    let volume = MemoryVolume::new(vec![5; 100_000]);
    let report = trial::run(&scene.repository, &scene.request(None), &volume).unwrap();
    assert!(matches!(report.catalog, CatalogOutcome::None { .. }), "{:?}", report.catalog);
    assert!(report.point.point.catalog.is_none());
    assert!(restored(&scene.repository, &report.point, PLAIN).unwrap().0 == volume.bytes());
}

#[test]
fn collection_keeps_what_catalogs_need_and_nothing_more() {
    let mut scene = Scene::new(15);
    for _ in 0..6 {
        scene.back_up(25);
        scene.clock.advance(Duration::from_secs(60));
    }
    let before = scene.packs().len();
    for (point, ..) in scene.expected.drain(..4) {
        scene.repository.forget_point(&point).unwrap();
    }
    for _ in 0..3 {
        scene.clock.advance(SAFE_WAIT + Duration::from_secs(1));
        scene.repository.collect(CollectOptions { dry_run: false, wait: SAFE_WAIT }).unwrap();
    }
    assert!(scene.packs().len() < before, "nothing was collected");
    scene.check(&scene.repository);
    assert!(!scene.back_up(3).anew);
    scene.check(&scene.repository);
}

#[test]
fn a_lost_catalog_is_named_costs_no_volume_a_byte_and_stops_neither_collection_nor_backups() {
    let mut scene = Scene::new(16);
    scene.back_up(0);
    scene.back_up(5);
    let mut only_catalogs = 0;
    for key in scene.packs() {
        let store = scene.store.snapshot();
        store.delete(&key).unwrap();
        let repository = scene.open(store);
        let deep = repository.check(CheckDepth::Deep, &Silent).unwrap();
        let quick = repository.check(CheckDepth::Quick, &Silent).unwrap();
        assert!(!deep.is_clean() && !quick.is_clean(), "{key}");
        if deep.catalogs.is_empty() || !deep.damage.is_empty() {
            continue;
        }
        only_catalogs += 1;
        for (point, _, image) in &scene.expected {
            assert!(restored(&repository, point, PLAIN).unwrap().0 == *image, "{key}");
        }
        repository.collect(CollectOptions { dry_run: false, wait: SAFE_WAIT }).unwrap();
        let image = scene.expected[1].2.clone();
        let report = trial::run(&repository, &scene.request(None), &MemoryVolume::new(image.clone())).unwrap();
        assert!(restored(&repository, &report.point, PLAIN).unwrap().0 == image, "{key}");
    }
    assert!(only_catalogs > 1, "{only_catalogs}");
}

fn everything(index: &Index, which: Which) -> Vec<(Vec<u8>, u64, u64, String, String, u64)> {
    let query = Query { pattern: Pattern::parse(b"").unwrap(), which, volume: None, limit: usize::MAX };
    let (found, complete) = index.find(&query, &|_| true).unwrap();
    assert!(complete);
    found.into_iter().map(|f| (f.path, f.record.inode, f.record.size, f.first, f.last, f.points)).collect()
}

/// Paths of a set of names.
fn paths(names: &Names) -> BTreeSet<(Vec<u8>, u64)> {
    let up: BTreeMap<u64, (u64, &[u8])> = names.iter().map(|(inode, parent, name)| (*inode, (*parent, name.as_slice()))).collect();
    let path = |parent: u64, name: &[u8]| {
        let (mut path, mut at) = (name.to_vec(), parent);
        while let Some((next, name)) = up.get(&at).filter(|(next, _)| *next != at) {
            path = [name, &b"/"[..], &path].concat();
            at = *next;
        }
        [&b"/"[..], &path].concat()
    };
    names.iter().map(|(inode, parent, name)| (path(*parent, name), *inode)).collect()
}

#[test]
fn the_index_tells_what_each_point_holds_and_is_the_same_when_made_anew() {
    each_seed(20..23, |seed| {
        let mut scene = Scene::new(seed);
        let (kept, fresh) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut index = Index::open(kept.path()).unwrap();
        for round in 0..8 {
            scene.back_up(scene.dice.below(25));
            if round == 4 || round == 6 {
                let (forgotten, ..) = scene.expected.remove(scene.dice.index(scene.expected.len()));
                scene.repository.forget_point(&forgotten).unwrap();
            }
            if round != 3 {
                let points = scene.repository.points().unwrap().points;
                let filled = index.fill(&scene.repository, &points).unwrap();
                assert!(filled.unusable.is_empty(), "{filled:?}");
                assert_eq!(index.fill(&scene.repository, &points).unwrap().added, 0);
            }
            let mut anew = Index::anew(fresh.path()).unwrap();
            anew.fill(&scene.repository, &scene.repository.points().unwrap().points).unwrap();
            for (point, names, _) in &scene.expected {
                let id = point.id.to_string();
                let found = everything(&anew, Which::Point(id.clone()));
                let found: BTreeSet<_> = found.into_iter().map(|(path, inode, ..)| (path, inode)).collect();
                assert_eq!(found, paths(names), "round {round}, point {id}");
                if round != 3 {
                    assert_eq!(everything(&index, Which::Point(id.clone())), everything(&anew, Which::Point(id)), "round {round}");
                }
            }
        }
    });
}

#[test]
fn a_damaged_or_strange_index_is_made_anew() {
    let scene = {
        let mut scene = Scene::new(30);
        scene.back_up(0);
        scene
    };
    let folder = tempfile::tempdir().unwrap();
    let points = scene.repository.points().unwrap().points;
    Index::open(folder.path()).unwrap().fill(&scene.repository, &points).unwrap();
    let file = folder.path().join("catalog.sqlite");
    fs::write(&file, b"this is no database, and too short to be one").unwrap();
    let mut index = Index::open(folder.path()).unwrap();
    assert!(index.rebuilt.is_some());
    assert_eq!(index.fill(&scene.repository, &points).unwrap().added, 1);
    assert_eq!(everything(&index, Which::Latest).len(), scene.disk.names().len());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn every_path_that_came_or_went_between_two_points_is_told() {
    each_seed(40..44, |seed| {
        let mut scene = Scene::new(seed);
        for _ in 0..4 {
            scene.back_up(15);
        }
        let folder = tempfile::tempdir().unwrap();
        let mut index = Index::open(folder.path()).unwrap();
        index.fill(&scene.repository, &scene.repository.points().unwrap().points).unwrap();
        for (old, new) in [(0, 1), (0, 3), (2, 1)] {
            let ((a, old, _), (b, new, _)) = (&scene.expected[old], &scene.expected[new]);
            let found = index.compare(&a.id.to_string(), &b.id.to_string()).unwrap().unwrap();
            let only = |set: &Names| paths(set).into_iter().map(|(path, _)| path).collect::<BTreeSet<_>>();
            let (old, new) = (only(old), only(new));
            let moved: Vec<(&[u8], &[u8])> = found
                .iter()
                .filter_map(
                    |d| if let Change::Renamed(from) = &d.change { Some((from.as_slice(), d.path.as_slice())) } else { None },
                )
                .collect();
            let is_below = |path: &[u8], above: &[u8]| path == above || path.starts_with(&[above, b"/"].concat());
            for path in new.difference(&old) {
                let added = found.iter().any(|d| d.path == *path && matches!(d.change, Change::Added));
                assert!(added || moved.iter().any(|(_, to)| is_below(path, to)), "{path:?} came");
            }
            for path in old.difference(&new) {
                let removed = found.iter().any(|d| d.path == *path && d.change == Change::Removed);
                assert!(removed || moved.iter().any(|(from, _)| is_below(path, from)), "{path:?} went");
            }
            for difference in found.iter().filter(|d| d.change == Change::Removed) {
                assert!(old.contains(&difference.path) && difference.new.is_none());
            }
        }
        assert!(index.compare("nothing", "else").unwrap().is_none());
    });
}
