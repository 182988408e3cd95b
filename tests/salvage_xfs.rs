//! Damaged XFS: whatever was not hit is found, with its names, and nothing is found that was not there.
#![allow(missing_docs, clippy::unwrap_used, reason = "helpers of tests may fail loudly; tests are read by their names")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use icecore::base::extent::Extent;
use icecore::base::io::ReadAt;
use icecore::filesystem::{
    Entry, FileKind, Filesystem, FoundEntry, FoundInode, Inode, InodeNumber, Scanned, Source, View, Wreck, Xfs, map_stretches,
    salvage,
};
use icecore::testkit;
use icecore::testkit::contents::random_bytes;
use icecore::testkit::damage::{Anatomy, Body, Class, Damage};
use icecore::testkit::image::{Image, run};
use icecore::testkit::tree::populate;
use parts::{Cut, anatomy, by_number};
use tempfile::TempDir;

#[path = "salvage_xfs/parts.rs"]
mod parts;
#[path = "filesystem_xfs/prototype.rs"]
mod prototype;

const VERSION_5: &[(u64, &[&str])] = &[
    (320, &[]),
    (320, &["-b", "size=1024"]),
    (1280, &["-d", "agcount=16"]),
    (320, &["-m", "rmapbt=1,reflink=1", "-i", "nrext64=1"]),
    (320, &["-n", "size=16384", "-i", "size=1024"]),
    (320, &["-s", "size=4096"]),
];
const VERSION_4: &[&[&str]] =
    &[&["-m", "crc=0"], &["-m", "crc=0", "-n", "ftype=0"], &["-m", "crc=0", "-i", "size=256", "-b", "size=1024"]];
/// Stands for a directory that is not known.
const NOBODY: InodeNumber = InodeNumber(u64::MAX);
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

/// An intact volume, and where everything lies in it.
struct Intact {
    what: String,
    source: Arc<dyn ReadAt>,
    xfs: Xfs,
    cut: Cut,
    anatomy: Anatomy,
    /// Inodes that were there once.
    gone: BTreeSet<InodeNumber>,
    _image: Image,
}

impl Intact {
    fn of(image: Image, what: String) -> Self {
        let source: Arc<dyn ReadAt> = Arc::new(image.source().unwrap());
        let xfs = Xfs::open(Arc::clone(&source)).unwrap();
        let (cut, anatomy) = (Cut::of(&*source), anatomy(&*source, &xfs));
        Self { what, source, xfs, cut, anatomy, gone: BTreeSet::new(), _image: image }
    }

    fn wreck(&self, damage: &Damage) -> Box<dyn Wreck> {
        salvage(Arc::new(damage.done_to(Arc::clone(&self.source)))).unwrap_or_else(|error| panic!("{}: {error}", self.what))
    }
}

/// Files that will go again.
fn come(mount: &Path) {
    let folder = mount.join("gone");
    fs::create_dir(&folder).unwrap();
    for number in 0..1_500 {
        fs::write(folder.join(format!("{number}")), random_bytes(number % 300, number as u64)).unwrap();
    }
}

/// Removes them; says which inodes they had. Whole chunks of inodes become free, and on disk keep their looks.
fn go(mount: &Path) -> BTreeSet<InodeNumber> {
    let folder = mount.join("gone");
    let number = |entry: fs::DirEntry| InodeNumber(entry.metadata().unwrap().ino());
    let gone = fs::read_dir(&folder).unwrap().map(|entry| number(entry.unwrap())).collect();
    fs::remove_dir_all(folder).unwrap();
    gone
}

fn version_5(index: usize) -> Option<Intact> {
    let (mebibytes, arguments) = VERSION_5[index];
    let image = Image::make(mebibytes << 20, "mkfs.xfs", &[&["-q", "-f"], arguments].concat()).ok()?;
    let mounted = image.mount("").ok()?;
    come(mounted.point());
    populate(mounted.point(), 77 + index as u64).unwrap();
    // Only an unmount writes inodes in place: what is removed before was never there.
    drop(mounted);
    let mounted = image.mount("").ok()?;
    let gone = go(mounted.point());
    drop(mounted);
    Some(Intact { gone, ..Intact::of(image, format!("{arguments:?}")) })
}

fn version_4(index: usize) -> Option<Intact> {
    let folder = TempDir::new().unwrap();
    for (name, files, bytes) in [("sizes", 40, 5_000), ("wide", 1_500, 3), ("large", 2, 3_000_000)] {
        fs::create_dir(folder.path().join(name)).unwrap();
        for number in 0..files {
            let content = random_bytes(bytes * (number % 40), number as u64);
            fs::write(folder.path().join(name).join(format!("a.file.{number:05}")), content).unwrap();
        }
    }
    let deep = folder.path().join("deep/".repeat(30));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("bottom"), b"here").unwrap();
    for length in [1, 100, 700] {
        symlink("t".repeat(length), folder.path().join(format!("link.{length}"))).unwrap();
    }
    let image = prototype::make(folder.path(), VERSION_4[index])?;
    Some(Intact::of(image, format!("{:?}", VERSION_4[index])))
}

fn scanned(wreck: &dyn Wreck, from: u64) -> BTreeMap<InodeNumber, FoundInode> {
    let (mut found, mut last) = (BTreeMap::new(), from);
    wreck
        .scan(from, &mut |scanned| {
            let (first, end) = match &scanned {
                Scanned::Inode(inode) => (inode.inode.number.0, inode.inode.number.0 + 1),
                Scanned::Lost { inodes, .. } => (inodes.start, inodes.end),
            };
            assert!(last <= first && first < end, "{first}..{end} after {last}");
            last = end;
            if let Scanned::Inode(inode) = scanned {
                found.insert(inode.inode.number, inode);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

/// Where the bytes of a file lie.
fn layout(filesystem: &dyn Filesystem, file: &Inode) -> Vec<(Extent, Source)> {
    let mut layout: Vec<(Extent, Source)> = Vec::new();
    map_stretches(filesystem, file, |_, segments| {
        layout.extend(segments.unwrap().into_iter().map(|segment| (segment.extent, segment.source)));
        Ok::<_, ()>(())
    })
    .unwrap();
    layout
}

/// Says what is wrong with a survivor.
fn survivor(intact: &Intact, wreck: &dyn Wreck, body: &Body, found: Option<&FoundInode>) -> Option<String> {
    let Some(found) = found else { return Some("not found".to_owned()) };
    let (is, was) = (&found.inode, &body.inode);
    if found.in_use == Some(false) || is != was {
        return Some(format!("found as {found:?}"));
    }
    match was.kind {
        FileKind::Regular if layout(wreck, is) != layout(&intact.xfs, was) => Some("lies elsewhere".to_owned()),
        FileKind::Regular if was.size < 1 << 20 => {
            let (mut one, mut two) = (vec![0; was.size as usize], vec![0; was.size as usize]);
            let read = (wreck.read(is, 0, &mut one).unwrap(), intact.xfs.read(was, 0, &mut two).unwrap());
            (read.0 != read.1 || one != two).then(|| "has other bytes".to_owned())
        }
        FileKind::Symlink if wreck.link_target(is).ok() != intact.xfs.link_target(was).ok() => Some("leads elsewhere".to_owned()),
        _ => None,
    }
}

/// The names that a directory must still show: those of its blocks that were not hit, or of its inode.
fn names_left(intact: &Intact, damage: &Damage, body: &Body) -> BTreeSet<(Vec<u8>, InodeNumber)> {
    let mut names = BTreeSet::new();
    if body.content.is_empty() && damage.spares(body.place) {
        let listed = |entry: Entry| {
            names.insert((entry.name, entry.inode));
            ControlFlow::Continue(())
        };
        let mut listed = listed;
        intact.xfs.list(&body.inode, &mut listed).unwrap();
    }
    for extent in &body.content {
        intact
            .xfs
            .strays(*extent, &mut |stray| {
                let block = Extent::new(stray.at, directory_bytes(intact));
                if damage.spares(block) {
                    names.extend(stray.names.into_iter().map(|name| (name.name, name.inode)));
                }
                ControlFlow::Continue(())
            })
            .unwrap();
    }
    names
}

fn directory_bytes(intact: &Intact) -> u64 {
    let log = parts::bytes(&*intact.source, 192, 1)[0];
    intact.cut.block_bytes << log
}

/// Names by directory, from whichever way finds them; and the parents that were found.
type Names = BTreeMap<InodeNumber, BTreeSet<(Vec<u8>, InodeNumber)>>;

fn names_found(wreck: &dyn Wreck, found: &BTreeMap<InodeNumber, FoundInode>) -> (Names, BTreeMap<InodeNumber, InodeNumber>) {
    let (mut names, mut parents) = (Names::new(), BTreeMap::new());
    for directory in found.values().filter(|found| found.inode.is_directory() && found.in_use != Some(false)) {
        let own = names.entry(directory.inode.number).or_default();
        wreck.names(&directory.inode, &mut |entry| {
            match entry {
                FoundEntry::Name(name) => drop(own.insert((name.name, name.inode))),
                FoundEntry::Parent(parent) => drop(parents.insert(directory.inode.number, parent)),
                FoundEntry::Lost(_) => {}
            }
            ControlFlow::Continue(())
        });
    }
    let whole = Extent::new(0, u64::MAX);
    wreck
        .strays(whole, &mut |stray| {
            // Without checksums, only the first block of a directory says whose it is.
            let directory = stray.directory.unwrap_or(NOBODY);
            let own = names.entry(directory).or_default();
            own.extend(stray.names.into_iter().map(|name| (name.name, name.inode)));
            parents.extend(stray.parent.map(|parent| (directory, parent)));
            ControlFlow::Continue(())
        })
        .unwrap();
    (names, parents)
}

/// Everything that must be true of a damaged volume.
fn check(intact: &Intact, class: &str, damage: &Damage, is_free_space_known: bool) {
    let wreck = intact.wreck(damage);
    let found = scanned(&*wreck, 0);
    let known = by_number(&intact.anatomy);
    let mut wrong = Vec::new();
    for body in intact.anatomy.bodies.iter().filter(|body| damage.spares_body(body)) {
        let problem = survivor(intact, &*wreck, body, found.get(&body.inode.number));
        wrong.extend(problem.map(|problem| format!("inode {} {:?}: {problem}", body.inode.number.0, body.inode.kind)));
    }
    for ghost in found.values().filter(|found| !known.contains_key(&found.inode.number)) {
        let is_shown = ghost.in_use == Some(true) || ghost.in_use.is_none() && is_free_space_known;
        wrong.extend(is_shown.then(|| format!("inode {} never was: {:?}", ghost.inode.number.0, ghost.in_use)));
    }
    let (names, _) = names_found(&*wreck, &found);
    for body in intact.anatomy.bodies.iter().filter(|body| body.inode.is_directory()) {
        let own = names.get(&body.inode.number).cloned().unwrap_or_default();
        let is_reached = body.nodes.iter().chain([&body.place]).all(|part| damage.spares(*part));
        let nobodys = names.get(&NOBODY).filter(|_| !is_reached).cloned().unwrap_or_default();
        let missing = names_left(intact, damage, body).difference(&own).filter(|name| !nobodys.contains(name)).count();
        wrong.extend((missing > 0).then(|| format!("directory {}: {missing} names are missing", body.inode.number.0)));
    }
    assert_eq!(wreck.root(), intact.xfs.root(), "{} {class}", intact.what);
    let count = wrong.len();
    wrong.truncate(12);
    assert!(wrong.is_empty(), "{} {class}: {count} faults, damage {:?}\n{}", intact.what, wreck.damage(), wrong.join("\n"));
}

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
    for zeros in [&cut.superblocks()[..1], &but_one, &[]] {
        let damage = Damage::default().and_zeros(zeros);
        let wreck = salvage(Arc::new(damage.done_to(Arc::clone(&source)))).unwrap();
        assert_eq!(wreck.view(), strict.view(), "{zeros:?}");
        let found = scanned(&*wreck, 0).into_values().filter(|found| found.in_use != Some(false));
        let found: BTreeMap<_, _> = found.map(|found| (found.inode.number, found.inode)).collect();
        assert_eq!(found, known, "{zeros:?}");
    }
}
