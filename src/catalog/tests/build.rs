//! A catalog built on the earlier one is, byte for byte, the one that is made anew.

use std::collections::HashSet;
use std::env;
use std::sync::Arc;

use super::pages::{Pages, Watched};
use crate::base::extent::{Extent, ExtentSet};
use crate::catalog::layout::{Shelf, directories_page, shelf};
use crate::catalog::{Basis, Built, CatalogError, Content, Earlier, build, prepare};
use crate::filesystem::Filesystem;
use crate::testkit::dice::{Dice, each_seed};
use crate::testkit::toy_disk::ToyDisk;
use crate::testkit::toy_filesystem::open_toy;
use crate::testkit::volume::MemoryVolume;

fn open(image: &[u8]) -> Box<dyn Filesystem> {
    open_toy(Arc::new(MemoryVolume::new(image.to_vec()))).unwrap()
}

fn run(filesystem: &dyn Filesystem, basis: Basis<'_>, pages: &mut Pages) -> Result<Built, CatalogError> {
    let mut last = None;
    build(filesystem, basis, &env::temp_dir(), &mut |number, page| {
        assert!(last.replace(number).is_none_or(|last| last < number), "page {number} comes after {last:?}");
        pages.put(number, page);
        Ok(())
    })
}

fn anew(filesystem: &dyn Filesystem) -> (Pages, Built) {
    let mut pages = Pages::default();
    let built = run(filesystem, Basis::anew(), &mut pages).unwrap();
    (pages, built)
}

/// Chunks in which two images differ.
fn changed(old: &[u8], new: &[u8], granule: usize) -> ExtentSet {
    let differing = old.chunks(granule).zip(new.chunks(granule)).enumerate().filter(|(_, (a, b))| a != b);
    differing.map(|(index, _)| Extent::new((index * granule) as u64, granule as u64)).collect()
}

/// Builds on `old` and returns the pages after it, and how many inodes were read.
fn follow(filesystem: &dyn Filesystem, old: &(Pages, Built), changed: &ExtentSet) -> (Pages, Built) {
    let (pages, built, _) = follow_watched(filesystem, old, changed);
    (pages, built)
}

/// The same, and which pages of the earlier catalog were read.
fn follow_watched(filesystem: &dyn Filesystem, old: &(Pages, Built), changed: &ExtentSet) -> (Pages, Built, Vec<u64>) {
    let mut source = Watched { pages: old.0.clone(), read: Vec::new() };
    let mut pages = old.0.clone();
    let earlier = Earlier { pages: &mut source, changed, inodes: old.1.inodes };
    let basis = prepare(filesystem, earlier).unwrap();
    assert!(!basis.is_anew());
    let built = run(filesystem, basis, &mut pages).unwrap();
    let once: HashSet<u64> = source.read.iter().copied().collect();
    assert_eq!(once.len(), source.read.len(), "a page is read twice");
    (pages, built, source.read)
}

fn check(seed: u64, rounds: usize, mutations: u64) {
    let dice = Dice::new(seed);
    let mut disk = ToyDisk::default();
    (0..dice.below(400)).for_each(|_| disk.mutate(&dice));
    let mut image = disk.image(&dice);
    let mut known = anew(open(&image).as_ref());
    let granule = [512, 4096, 16_384][dice.index(3)];
    for round in 0..rounds {
        (0..dice.below(mutations)).for_each(|_| disk.mutate(&dice));
        let next = disk.image(&dice);
        let filesystem = open(&next);
        let expected = anew(filesystem.as_ref());
        assert_eq!(expected.0.names(), disk.names(), "round {round}");
        assert_eq!((expected.1.left_out, expected.1.names), (0, disk.names().len() as u64));
        let found = follow(filesystem.as_ref(), &known, &changed(&image, &next, granule));
        let differing = found.0.0.iter().filter(|(number, page)| expected.0.0.get(number) != Some(page)).map(|(number, _)| number);
        assert!(found.0 == expected.0, "round {round}: pages {:?} differ", differing.collect::<Vec<_>>());
        assert_eq!((found.1.inodes, found.1.names), (expected.1.inodes, expected.1.names), "round {round}");
        (image, known) = (next, found);
    }
}

#[test]
fn a_catalog_built_on_the_earlier_one_equals_one_made_anew() {
    each_seed(0..25, |seed| check(seed, 12, 12));
}

#[test]
#[ignore = "soak"]
fn soak_a_catalog_built_on_the_earlier_one_equals_one_made_anew() {
    each_seed(1000..3000, |seed| check(seed, 20, 1 + seed % 60));
}

#[test]
fn what_did_not_change_is_not_read() {
    let dice = Dice::new(5);
    let mut disk = ToyDisk::default();
    (0..700).for_each(|_| disk.mutate(&dice));
    let image = disk.image(&dice);
    let filesystem = open(&image);
    let known = anew(filesystem.as_ref());
    assert!(known.1.inodes > 100 && known.1.parsed >= known.1.inodes, "{:?}", known.1);
    let replayed = filesystem.replayed().bytes();
    let same = follow(filesystem.as_ref(), &known, &ExtentSet::new());
    assert!(same.1.parsed * BLOCKS_OF_INODES <= (1 + replayed / 4096) * known.1.inodes * 2, "{:?}, replayed {replayed}", same.1);
    assert_eq!(same.0, known.0);
}

#[test]
fn of_an_unchanged_volume_no_record_is_read_however_scattered_its_directories() {
    let mut scattered = 0;
    each_seed(0..40, |seed| {
        let dice = Dice::new(seed);
        let mut disk = ToyDisk::default();
        (0..700).for_each(|_| disk.mutate(&dice));
        let filesystem = open(&disk.image(&dice));
        if !filesystem.replayed().is_empty() {
            return;
        }
        let known = anew(filesystem.as_ref());
        let directories = known.0.records().into_iter().filter(|record| record.is_directory());
        scattered += directories.filter(|record| record.content == Content::Unlisted).count();
        let (pages, _, read) = follow_watched(filesystem.as_ref(), &known, &ExtentSet::new());
        assert_eq!(pages, known.0);
        assert!(read.iter().all(|number| !matches!(shelf(*number), Shelf::Records(_))), "{read:?}");
    });
    assert!(scattered > 0, "no directory had to be told by its names");
}

/// Twenty blocks hold the inodes of the toy.
const BLOCKS_OF_INODES: u64 = 20;

#[test]
fn a_catalog_that_does_not_fit_is_not_built_upon() {
    let dice = Dice::new(9);
    let mut disk = ToyDisk::default();
    (0..200).for_each(|_| disk.mutate(&dice));
    let image = disk.image(&dice);
    let filesystem = open(&image);
    let known = anew(filesystem.as_ref());
    let nothing = ExtentSet::new();
    let is_anew = |pages: &mut Pages| {
        let earlier = Earlier { pages, changed: &nothing, inodes: known.1.inodes };
        prepare(filesystem.as_ref(), earlier).unwrap().is_anew()
    };
    assert!(!is_anew(&mut known.0.clone()));
    assert!(is_anew(&mut Pages::default()), "an empty one");
    // Version, filesystem, view (stale), UUID, block size.
    for (at, byte) in [(0, 9), (4, 4), (5, 3), (6, 1), (22, 1)] {
        let mut other = known.0.clone();
        other.0.get_mut(&0).unwrap()[at] = byte;
        assert!(is_anew(&mut other), "byte {at}");
    }
    let mut damaged = known.0.clone();
    damaged.0.insert(directories_page(0), vec![1, 4, 255, 255]);
    assert!(is_anew(&mut damaged), "a damaged page of directories");
}

#[test]
fn changes_that_nobody_told_of_are_noticed_or_leave_the_catalog_as_it_was() {
    each_seed(0..40, |seed| {
        let dice = Dice::new(seed);
        let mut disk = ToyDisk::default();
        (0..150).for_each(|_| disk.mutate(&dice));
        let image = disk.image(&dice);
        let known = anew(open(&image).as_ref());
        (0..10).for_each(|_| disk.mutate(&dice));
        let next = disk.image(&dice);
        let filesystem = open(&next);
        // Half of what changed is kept secret: the result may be old or refused, and must not panic.
        let told: ExtentSet = changed(&image, &next, 4096).as_slice().iter().copied().filter(|_| dice.chance(500)).collect();
        let mut source = known.0.clone();
        let earlier = Earlier { pages: &mut source, changed: &told, inodes: known.1.inodes };
        let basis = prepare(filesystem.as_ref(), earlier).unwrap();
        match run(filesystem.as_ref(), basis, &mut known.0.clone()) {
            Ok(_) | Err(CatalogError::Inconsistent { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    });
}
