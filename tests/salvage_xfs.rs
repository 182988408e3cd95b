//! Damaged XFS: whatever was not hit is found, with its names, and nothing is found that was not there.
#![allow(missing_docs, clippy::unwrap_used, reason = "helpers of tests may fail loudly; tests are read by their names")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::process::Command;
use std::sync::Arc;

use icecore::base::extent::Extent;
use icecore::base::io::ReadAt;
use icecore::filesystem::{Entry, FileKind, Filesystem, Inode, InodeNumber, Proof, Source, View, Xfs, salvage};
use icecore::testkit;
use icecore::testkit::contents::random_bytes;
use icecore::testkit::damage::{Body, Class, Damage};
use icecore::testkit::image::{Image, run};
use icecore::testkit::tree::populate;
use intact::{Intact, VERSION_4, VERSION_5, version_4, version_5};
use judge::{check, directory_bytes, layout, names_found, scanned};
use parts::{Cut, by_number, bytes};

#[path = "salvage_xfs/intact.rs"]
mod intact;
#[path = "salvage_xfs/judge.rs"]
mod judge;
#[path = "salvage_xfs/parts.rs"]
mod parts;
#[path = "filesystem_xfs/prototype.rs"]
mod prototype;

/// Damage of which nothing whole may be lost.
const CLASSES: &[Class] = &[
    Class::Nothing,
    Class::Superblock,
    Class::FirstMebibyte,
    Class::Root,
    Class::Metadata(16),
    Class::Metadata(64),
    Class::InodeTable(16),
    Class::Directories(32),
    Class::Truncated(70),
    Class::Flips(100),
    Class::MetadataFlips(100),
    Class::Journal,
    Class::Descriptors,
    Class::SuperblockDescriptorsRoot,
];

fn every_class(intact: &Intact) {
    for (seed, class) in (0..).zip(CLASSES) {
        let damage = Damage::plan(*class, &intact.anatomy, seed);
        check(intact, &format!("{class:?}"), &damage, matches!(class, Class::Nothing | Class::Superblock | Class::Directories(_)));
    }
    let mut but_one = intact.cut.superblocks();
    but_one.remove(2);
    check(intact, "all superblocks but one", &Damage::default().and_zeros(&but_one), true);
    let one_group = [intact.cut.headers(0)];
    check(intact, "headers of a group", &Damage::default().and_zeros(&one_group), false);
}

/// Every superblock is lost, and more besides. Says what must be said about that.
fn without_superblocks(intact: &Intact, has_headers: bool, has_logged_superblock: bool) {
    let all = Damage::default().and_zeros(&intact.cut.superblocks());
    let headers: Vec<Extent> = (0..intact.cut.groups).map(|group| intact.cut.headers(group)).collect();
    let log = &intact.anatomy.journal;
    let said = if has_logged_superblock { "it is taken from the log" } else { "are concluded from" };
    let mut rows = vec![
        ("all superblocks", all.clone(), true, said),
        ("all and the log", all.clone().and_zeros(log), true, "are concluded from"),
    ];
    if has_headers {
        rows.push(("all and the headers", all.clone().and_zeros(&headers), false, said));
        rows.push(("all, headers and log", all.and_zeros(log).and_zeros(&headers), false, "are concluded from"));
    }
    for (what, damage, is_free_space_known, says) in rows {
        check(intact, what, &damage, is_free_space_known);
        let wreck = intact.wreck(&damage);
        let said: Vec<String> = wreck.damage().iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|said| said.contains(says)), "{} {what}: {said:?}", intact.what);
        let (is, was) = (wreck.identity(), intact.xfs.identity());
        assert_eq!((is.size, is.block_bytes), (was.size, was.block_bytes), "{} {what}", intact.what);
    }
}

#[test]
fn volumes_with_checksums_are_read_although_every_superblock_is_lost() {
    for index in 0..VERSION_5.len() {
        let Some(intact) = version_5(index) else { return testkit::skip("cannot make or mount XFS") };
        without_superblocks(&intact, true, true);
    }
}

#[test]
fn volumes_without_checksums_are_read_although_every_superblock_is_lost_if_the_headers_of_groups_are_there() {
    for index in 0..VERSION_4.len() {
        let Some(intact) = version_4(index) else { return testkit::skip("mkfs.xfs makes no version 4") };
        // What mkfs alone has filled has an empty log.
        without_superblocks(&intact, false, false);
    }
}

/// Inodes that never were or are no more, by what is said of their use.
fn ghosts(intact: &Intact, damage: &Damage) -> BTreeMap<Option<bool>, usize> {
    let known = by_number(&intact.anatomy);
    let mut ghosts = BTreeMap::new();
    for found in scanned(&*intact.wreck(damage), 0).values().filter(|found| !known.contains_key(&found.inode.number)) {
        *ghosts.entry(found.in_use).or_default() += 1;
    }
    ghosts
}

#[test]
fn inodes_of_chunks_that_were_freed_are_called_free_wherever_anything_still_tells() {
    for index in 0..VERSION_5.len() {
        let Some(intact) = version_5(index) else { return testkit::skip("cannot make or mount XFS") };
        let headers = |first: u64, count: u64| -> Vec<Extent> {
            let sector = intact.cut.sector_bytes;
            let header = |group| Extent::new(intact.cut.group_byte(group) + first * sector, count * sector);
            (0..intact.cut.groups).map(header).collect()
        };
        let zeros = |extents: &[Extent]| Damage::default().and_zeros(extents);
        assert_eq!(ghosts(&intact, &Damage::default()), BTreeMap::new(), "{}: trees tell", intact.what);
        // Without the headers of inodes, the trees of free space tell.
        let by_space = ghosts(&intact, &zeros(&headers(2, 1)));
        assert!(by_space.get(&Some(false)).is_some_and(|count| *count > 500), "{}: {by_space:?}", intact.what);
        assert_eq!(by_space.len(), 1, "{}: {by_space:?}", intact.what);
        // One of the two trees of free space is enough.
        let first_trees: Vec<Extent> = intact.anatomy.accounts.chunks(3).map(|roots| roots[0]).collect();
        assert_eq!(ghosts(&intact, &zeros(&[headers(2, 1), first_trees].concat())), by_space, "{}: by length", intact.what);
        // Without either, nobody knows, and nothing is claimed.
        let unknown = ghosts(&intact, &zeros(&headers(1, 2)));
        assert_eq!(unknown, BTreeMap::from([(None, by_space[&Some(false)])]), "{}", intact.what);
    }
}

#[test]
fn what_was_not_hit_is_found_in_volumes_with_checksums() {
    for index in 0..VERSION_5.len() {
        let Some(intact) = version_5(index) else { return testkit::skip("cannot make or mount XFS") };
        every_class(&intact);
    }
}

#[test]
fn what_was_not_hit_is_found_in_volumes_without_checksums() {
    for index in 0..VERSION_4.len() {
        let Some(intact) = version_4(index) else { return testkit::skip("mkfs.xfs makes no version 4") };
        every_class(&intact);
    }
}

#[test]
fn inodes_that_were_hit_are_found_in_the_log_as_they_were() {
    let Some(intact) = version_5(1) else { return testkit::skip("cannot make or mount XFS") };
    let damage = Damage::plan(Class::InodeTable(40), &intact.anatomy, 5);
    let wreck = intact.wreck(&damage);
    let found = scanned(&*wreck, 0);
    let lost = |body: &&Body| !damage.spares(body.place) && body.nodes.iter().all(|node| damage.spares(*node));
    let (mut asked, mut answered) = (0, 0);
    for body in intact.anatomy.bodies.iter().filter(lost) {
        asked += 1;
        assert!(!found.contains_key(&body.inode.number), "inode {} is found in noise", body.inode.number.0);
        let Some(older) = wreck.older(body.inode.number) else { continue };
        answered += 1;
        let facts = |inode: &Inode| (inode.kind, inode.size, inode.links, inode.generation, inode.mode, inode.uid, inode.modified);
        assert_eq!(facts(&older), facts(&body.inode), "inode {}", body.inode.number.0);
        assert_eq!(layout(&*wreck, &older), layout(&intact.xfs, &body.inode), "inode {}", body.inode.number.0);
        if older.kind == FileKind::Symlink {
            assert_eq!(wreck.link_target(&older).unwrap(), intact.xfs.link_target(&body.inode).unwrap());
        }
    }
    assert!(asked > 40 && 2 * answered > asked, "{answered} of {asked} inodes are in the log");
    // What was deleted for good has no older copy either: the youngest says that it is free.
    let undead: Vec<_> = intact.gone.iter().filter(|number| wreck.older(**number).is_some()).collect();
    assert!(intact.gone.len() == 1_500 && undead.is_empty(), "{} of {}: {undead:?}", undead.len(), intact.gone.len());
}

type NamesOfOne = BTreeSet<(Vec<u8>, InodeNumber)>;

/// What directories hold, and where their blocks lie.
fn directories(intact: &Intact) -> BTreeMap<InodeNumber, (NamesOfOne, Vec<Extent>)> {
    let mut directories = BTreeMap::new();
    for body in intact.anatomy.bodies.iter().filter(|body| body.inode.is_directory()) {
        let mut names = BTreeSet::new();
        let mut note = |entry: Entry| {
            names.insert((entry.name, entry.inode));
            ControlFlow::Continue(())
        };
        intact.xfs.list(&body.inode, &mut note).unwrap();
        directories.insert(body.inode.number, (names, body.content.clone()));
    }
    directories
}

#[test]
fn directory_blocks_that_were_hit_are_put_together_from_the_log() {
    for index in 0..VERSION_5.len() {
        let Some(intact) = version_5(index) else { return testkit::skip("cannot make or mount XFS") };
        let directories = directories(&intact);
        let damage = Damage::plan(Class::Directories(usize::MAX), &intact.anatomy, 9);
        let wreck = intact.wreck(&damage);
        let mut told: BTreeMap<InodeNumber, NamesOfOne> = BTreeMap::new();
        wreck.older_strays(&mut |stray| {
            let directory = stray.directory.unwrap();
            assert_eq!(stray.proof, Proof::OlderCopy);
            assert!(directories[&directory].1.iter().any(|run| run.offset <= stray.at && stray.at < run.end()), "{}", stray.at);
            told.entry(directory).or_default().extend(stray.names.into_iter().map(|name| (name.name, name.inode)));
            ControlFlow::Continue(())
        });
        let in_blocks = || directories.iter().filter(|(_, (_, blocks))| !blocks.is_empty());
        let (mut missing, mut all) = (0, 0);
        for (number, (names, _)) in in_blocks() {
            let told = told.remove(number).unwrap_or_default();
            let never: Vec<_> = told.difference(names).collect();
            assert!(never.is_empty(), "{}: directory {}: {never:?}", intact.what, number.0);
            (missing, all) = (missing + names.difference(&told).count(), all + names.len());
        }
        println!("{}: {missing} of {all} names in blocks are not in the log", intact.what);
        assert!(all > 2_000 && missing * 20 < all, "{}: {missing} of {all} names are missing", intact.what);
        // Blocks that are there are not looked for.
        intact.wreck(&Damage::default()).older_strays(&mut |stray| panic!("a block at {}", stray.at));
    }
}

/// How many names the index confirms of a volume without a log. Names that are not right are never among them.
fn confirmed(intact: &Intact, directories: &BTreeMap<InodeNumber, (NamesOfOne, Vec<Extent>)>, damage: &Damage) -> usize {
    let wreck = intact.wreck(&damage.clone().and_zeros(&intact.anatomy.journal));
    // Only what was met is known to be broken.
    wreck.older_strays(&mut |stray| panic!("a block at {}", stray.at));
    let _names = names_found(&*wreck, &scanned(&*wreck, 0));
    let mut right = 0;
    wreck.older_strays(&mut |stray| {
        let names = &directories[&stray.directory.unwrap()].0;
        assert_eq!(stray.proof, Proof::Plausible);
        for name in stray.names {
            assert!(names.iter().any(|(known, _)| *known == name.name), "{:?} is no name", name.name.escape_ascii().to_string());
            right += usize::from(names.contains(&(name.name, name.inode)));
        }
        ControlFlow::Continue(())
    });
    right
}

#[test]
fn names_in_broken_blocks_are_shown_where_the_index_of_their_directory_confirms_them() {
    for index in [0, 1, 4] {
        let Some(intact) = version_5(index) else { return testkit::skip("cannot make or mount XFS") };
        let directories = directories(&intact);
        let block_bytes = directory_bytes(&intact);
        let cut = |run: &Extent| {
            let offset = run.offset;
            (0..run.length / block_bytes).map(move |nth| Extent::new(offset + nth * block_bytes, block_bytes))
        };
        let blocks = directories.values().flat_map(|(_, content)| content.iter().flat_map(cut));
        let with_entries: Vec<Extent> = blocks.filter(|block| bytes(&*intact.source, block.offset, 4).starts_with(b"XD")).collect();
        // Eight bytes of each, wherever they fall: an inode number, a part of a name, the end of an entry.
        let holes: Vec<Extent> =
            (0..).zip(&with_entries).map(|(nth, block)| Extent::new(block.offset + 96 + nth % 64 * 8, 8)).collect();
        let all: usize = directories.values().filter(|(_, blocks)| !blocks.is_empty()).map(|(names, _)| names.len()).sum();
        let shown = confirmed(&intact, &directories, &Damage::default().and_zeros(&holes));
        println!("{}: {shown} of {all} names, {} blocks broken", intact.what, holes.len());
        assert!(shown <= all && shown + 3 * holes.len() > all, "{}: {shown} of {all} names, {} blocks", intact.what, holes.len());
        for seed in 0..4 {
            let flips = Damage::plan(Class::MetadataFlips(1_000), &intact.anatomy, seed);
            let right = confirmed(&intact, &directories, &flips);
            println!("{}: {right} names are right after flips of seed {seed}", intact.what);
        }
    }
}

#[test]
fn a_map_is_lost_where_its_node_is_and_nowhere_else() {
    let Some(intact) = version_5(1) else { return testkit::skip("cannot make or mount XFS") };
    let is_large = |body: &&Body| body.inode.kind == FileKind::Regular && body.nodes.len() > 3;
    let body = intact.anatomy.bodies.iter().find(is_large).unwrap();
    let whole = layout(&intact.xfs, &body.inode);
    for node in &body.nodes {
        let damage = Damage::default().and_zeros(&[*node]);
        let wreck = intact.wreck(&damage);
        let inode = wreck.inode(body.inode.number).unwrap();
        let segments = layout(&*wreck, &inode);
        let is_lost = |source: &Source| matches!(source, Source::Lost(_));
        let lost: Vec<Extent> = segments.iter().filter(|(_, source)| is_lost(source)).map(|(extent, _)| *extent).collect();
        let lost: u64 = lost.iter().map(|extent| extent.length).sum();
        assert!(lost > 0 && lost < inode.size, "{lost} bytes of {} are lost", inode.size);
        // Byte by byte: what is not lost is what it was.
        for (extent, source) in segments.iter().filter(|(_, source)| !is_lost(source)) {
            let was = whole.iter().find(|(other, _)| other.offset <= extent.offset && extent.end() <= other.end());
            let (other, was) = was.unwrap_or_else(|| panic!("{extent} is {source:?}"));
            let skip = extent.offset - other.offset;
            let expected = match was {
                Source::Disk(at) => Source::Disk(at + skip),
                Source::Unwritten(at) => Source::Unwritten(at + skip),
                other => other.clone(),
            };
            assert_eq!((extent, source), (extent, &expected));
        }
        // The usual reader refuses to guess.
        let strict = Xfs::open(Arc::new(damage.done_to(Arc::clone(&intact.source)))).unwrap();
        assert!(strict.map(&inode, Extent::new(0, inode.size)).is_err());
    }
}

#[test]
fn what_was_inferred_is_said_and_makes_free_space_doubtful() {
    let Some(intact) = version_5(0) else { return testkit::skip("cannot make or mount XFS") };
    let whole = intact.wreck(&Damage::default());
    assert!(whole.damage().is_empty() && whole.view().stale().is_none() && whole.allocation().doubts.is_empty());
    assert_eq!(u64::from(whole.agreeing_superblocks()), intact.cut.groups);
    assert_eq!(whole.identity(), intact.xfs.identity());
    for (class, says) in [
        (Class::Journal, "the log is nothing but zeros"),
        (Class::Superblock, "no XFS superblock"),
        (Class::Truncated(70), "the source ends at byte"),
    ] {
        let wreck = intact.wreck(&Damage::plan(class, &intact.anatomy, 1));
        let said: Vec<String> = wreck.damage().iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|said| said.contains(says)), "{class:?}: {said:?}");
        assert!(wreck.view().stale().is_some() || class != Class::Journal, "{class:?}");
        let allocation = wreck.allocation();
        assert!(allocation.free.is_empty() && !allocation.doubts.is_empty(), "{class:?}");
        assert_eq!(wreck.identity(), intact.xfs.identity(), "{class:?}");
    }
}

#[test]
fn a_scan_goes_on_from_any_number() {
    let Some(intact) = version_5(2) else { return testkit::skip("cannot make or mount XFS") };
    for class in [Class::Nothing, Class::Descriptors] {
        let wreck = intact.wreck(&Damage::plan(class, &intact.anatomy, 1));
        let all = scanned(&*wreck, 0);
        for from in all.keys().step_by(all.len() / 7 + 1).flat_map(|number| [number.0, number.0 + 1]) {
            let rest: Vec<_> = scanned(&*wreck, from).into_keys().collect();
            let expected: Vec<_> = all.range(InodeNumber(from)..).map(|(number, _)| *number).collect();
            assert_eq!(rest, expected, "{class:?} from {from}");
        }
    }
}

/// All inodes that names lead to.
fn reachable(xfs: &Xfs) -> BTreeMap<InodeNumber, Inode> {
    let mut reached = BTreeMap::new();
    let mut waiting = vec![xfs.root()];
    while let Some(number) = waiting.pop() {
        let inode = xfs.inode(number).unwrap();
        if inode.is_directory() && !reached.contains_key(&number) {
            let mut push = |entry: Entry| {
                waiting.push(entry.inode);
                ControlFlow::Continue(())
            };
            xfs.list(&inode, &mut push).unwrap();
        }
        reached.insert(number, inode);
    }
    reached
}

#[test]
fn the_log_is_replayed_although_the_superblock_is_lost() {
    let Ok(image) = Image::make(320 << 20, "mkfs.xfs", &["-q", "-f", "-b", "size=1024"]) else {
        return testkit::skip("cannot make XFS");
    };
    let Ok(mounted) = image.mount("") else { return testkit::skip("cannot mount XFS") };
    populate(mounted.point(), 5).unwrap();
    fs::remove_dir_all(mounted.point().join("wide")).unwrap();
    fs::write(mounted.point().join("last"), random_bytes(9_000, 1)).unwrap();
    run(Command::new("xfs_io").args(["-x", "-c", "shutdown -f"]).arg(mounted.point())).unwrap();
    drop(mounted);
    let source: Arc<dyn ReadAt> = Arc::new(image.source().unwrap());
    let strict = Xfs::open(Arc::clone(&source)).unwrap();
    assert!(matches!(strict.view(), View::Replayed { .. }), "{:?}", strict.view());
    let (cut, known) = (Cut::of(&*source), reachable(&strict));
    let mut but_one = cut.superblocks();
    but_one.remove(1);
    for zeros in [&cut.superblocks()[..1], &but_one, &cut.superblocks()[..], &[]] {
        let damage = Damage::default().and_zeros(zeros);
        let wreck = salvage(Arc::new(damage.done_to(Arc::clone(&source)))).unwrap();
        assert_eq!(wreck.view(), strict.view(), "{zeros:?}");
        let found = scanned(&*wreck, 0).into_values().filter(|found| found.in_use != Some(false));
        let found: BTreeMap<_, _> = found.map(|found| (found.inode.number, found.inode)).collect();
        assert_eq!(found, known, "{zeros:?}");
    }
}
