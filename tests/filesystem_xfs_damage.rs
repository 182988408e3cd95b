//! Damaged, foreign and hostile XFS: each wrong byte is named, nothing is guessed, nothing ever panics.
#![allow(missing_docs, clippy::unwrap_used, reason = "helpers of tests may fail loudly; tests are read by their names")]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use icecore::base::extent::Extent;
use icecore::base::io::{IoError, ReadAt};
use icecore::filesystem::{Filesystem, FilesystemError, Object, View, Xfs};
use icecore::testkit;
use icecore::testkit::contents::random_bytes;
use icecore::testkit::dice::Dice;
use icecore::testkit::image::{FileSource, Image, run};
use patched::{Mark, Patched, find, walk};
use rustix::fs::{XattrFlags, lsetxattr};
use tempfile::TempDir;

#[path = "filesystem_xfs/patched.rs"]
mod patched;
#[path = "filesystem_xfs/prototype.rs"]
mod prototype;

const SIZE: u64 = 320 << 20;
/// Where mkfs and the kernel put metadata of a volume as small as ours: the whole of it.
const KINDS: &[Mark] = &[
    patched::INODE_HEADER,
    patched::INODE_TREE,
    patched::INODE,
    patched::MAP_TREE,
    patched::ONE_BLOCK,
    patched::DIRECTORY,
    patched::LEAF,
    patched::NODE,
    patched::LINK,
    patched::VALUE,
    patched::FREE_HEADER,
    patched::FREE_TREE,
];

/// A little of everything, in blocks of 1 KiB.
fn fill(mount: &Path) {
    let pieces = File::create(mount.join("pieces")).unwrap();
    (0..2_000).for_each(|piece| pieces.write_all_at(&random_bytes(900, piece), piece * 8_192).unwrap());
    for (folder, count) in [("short", 3), ("block", 20), ("leaf", 60), ("node", 700)] {
        fs::create_dir(mount.join(folder)).unwrap();
        (0..count).for_each(|number| drop(File::create(mount.join(folder).join(format!("a name of {number:03}"))).unwrap()));
    }
    for (name, count, length) in [("few", 3, 30), ("leaf", 10, 60), ("node", 60, 100), ("long", 2, 9_000)] {
        let path = mount.join(format!("attributes {name}"));
        fs::write(&path, b"some bytes").unwrap();
        for number in 0..count {
            lsetxattr(&path, format!("user.{number}"), &random_bytes(length, number), XattrFlags::empty()).unwrap();
        }
    }
    symlink("s".repeat(30), mount.join("short link")).unwrap();
    symlink("l".repeat(1_000), mount.join("long link")).unwrap();
}

fn make() -> Option<Image> {
    let image = Image::make(SIZE, "mkfs.xfs", &["-q", "-f", "-b", "size=1024"]).ok()?;
    let mounted = image.mount("").ok()?;
    fill(mounted.point());
    Some(image)
}

fn source(image: &Image) -> Arc<dyn ReadAt> {
    Arc::new(image.source().unwrap())
}

/// Whether a kind of metadata is what a message should name.
fn names(mark: Mark, object: Object) -> bool {
    match mark.magic {
        b"XAGI" | b"IAB3" => matches!(object, Object::Group(_)),
        b"IN" => matches!(object, Object::Inode(_)),
        b"BMA3" => matches!(object, Object::Map(_)),
        b"XDB3" | b"XDD3" => matches!(object, Object::Directory(_)),
        b"XSLM" => matches!(object, Object::Link(_)),
        _ => matches!(object, Object::Attributes(_)),
    }
}

#[test]
fn a_flipped_bit_is_named_with_its_object_and_its_byte() {
    let Some(image) = make() else { return testkit::skip("cannot make or mount XFS") };
    for mark in &KINDS[..10] {
        let places = find(&source(&image), *mark, SIZE);
        let mut patched = Patched::new(source(&image));
        places.iter().for_each(|at| patched.flip(at + mark.length as u64 - 1));
        let errors = Xfs::open(patched.source()).map_or_else(|error| vec![error], |xfs| walk(&xfs));
        assert!(!errors.is_empty(), "{mark:?}: nobody noticed");
        for error in errors {
            let FilesystemError::Corrupt { object, at, what } = &error else { panic!("{mark:?}: {error:?}") };
            assert!(names(*mark, *object) && places.contains(at) && what.contains("checksum"), "{mark:?}: {error}");
        }
    }
}

#[test]
fn free_space_in_doubt_is_not_free() {
    let Some(image) = make() else { return testkit::skip("cannot make or mount XFS") };
    let whole = Xfs::open(source(&image)).unwrap().allocation();
    for mark in &KINDS[10..] {
        let places = find(&source(&image), *mark, SIZE);
        let mut patched = Patched::new(source(&image));
        patched.flip(places[0] + mark.length as u64 - 1);
        let allocation = Xfs::open(patched.source()).unwrap().allocation();
        let [doubt] = allocation.doubts.as_slice() else { panic!("{mark:?}: {:?}", allocation.doubts) };
        assert!(doubt.reason.contains("checksum") && doubt.extent.intersect(&Extent::new(places[0], 1)).length == 1, "{doubt:?}");
        assert!(!allocation.free.intersects(&doubt.extent));
        assert_eq!(allocation.free, whole.free.difference(&doubt.extent.into()));
    }
    // A header that counts one block more than its tree has.
    let at = find(&source(&image), patched::FREE_HEADER, SIZE)[0];
    let mut patched = Patched::new(source(&image));
    let count = u32::from_be_bytes(patched.read(at + 52, 4).try_into().unwrap());
    patched.write(at + 52, &(count + 1).to_be_bytes());
    patched.seal(at, 512, 216);
    let doubts = Xfs::open(patched.source()).unwrap().allocation().doubts;
    assert!(doubts.len() == 1 && doubts[0].reason.contains("free blocks"), "{doubts:?}");
}

#[test]
fn a_whole_block_in_the_wrong_place_is_not_believed() {
    let Some(image) = make() else { return testkit::skip("cannot make or mount XFS") };
    for mark in [patched::DIRECTORY, patched::LEAF, patched::VALUE, patched::MAP_TREE, patched::INODE_TREE] {
        let places = find(&source(&image), mark, SIZE);
        for (offset, length, says) in own_fields(mark) {
            let mut patched = Patched::new(source(&image));
            for at in &places {
                let claimed = patched.read(at + offset, length);
                patched.write(at + offset, &claimed.iter().map(|byte| byte ^ 1).collect::<Vec<_>>());
                patched.seal(*at, mark.length, mark.checksum);
            }
            let errors = walk(&Xfs::open(patched.source()).unwrap());
            assert!(!errors.is_empty(), "{mark:?}: {says}");
            assert!(errors.iter().all(|error| error.to_string().contains(says)), "{mark:?}: {says}: {errors:?}");
        }
    }
}

/// Where a block says what it is: its place, its filesystem, its owner.
fn own_fields(mark: Mark) -> [(u64, usize, &'static str); 3] {
    let (place, uuid, owner, width) = match mark.magic {
        b"XDD3" => (8, 24, 40, 8),
        b"XARM" => (40, 16, 32, 8),
        b"BMA3" => (24, 40, 56, 8),
        b"IAB3" => (16, 32, 48, 4),
        _ => (16, 32, 48, 8),
    };
    [(place, 8, "was written for sector"), (uuid, 16, "another filesystem"), (owner, width, "belongs to")]
}

/// Opens the image with some bytes of its superblock changed, and its checksum right.
fn with_superblock(image: &Image, changes: &[(u64, &[u8])]) -> Result<Xfs, FilesystemError> {
    let mut patched = Patched::new(source(image));
    changes.iter().for_each(|(at, bytes)| patched.write(*at, bytes));
    patched.seal(0, 512, 224);
    Xfs::open(patched.source())
}

#[test]
fn features_that_change_the_meaning_of_bytes_are_refused_by_name() {
    let Some(image) = make() else { return testkit::skip("cannot make or mount XFS") };
    let incompatible = |bits: u32| [(216, bits.to_be_bytes())];
    for (bits, name) in [(0x20b, "zoned"), (0x40b, "zone_gaps"), (0x800b, "0x8000")] {
        let changes = incompatible(bits);
        let refused = with_superblock(&image, &changes.each_ref().map(|(at, bytes)| (*at, bytes.as_slice())));
        let Err(FilesystemError::Unsupported { object: Object::Superblock, feature }) = &refused else { panic!("{refused:?}") };
        assert!(feature.contains(name), "{feature}");
    }
    let groups = with_superblock(&image, &[(216, &0x10b_u32.to_be_bytes()), (272, &[0, 0, 0, 1])]);
    assert!(matches!(&groups, Err(FilesystemError::Unsupported { feature, .. }) if feature == "rtgroups"), "{groups:?}");
    let version = with_superblock(&image, &[(101, &[0xa3])]);
    assert!(matches!(version, Err(FilesystemError::Unsupported { .. })), "{version:?}");
    let unfinished = with_superblock(&image, &[(126, &[1])]);
    assert!(matches!(unfinished, Err(FilesystemError::Corrupt { object: Object::Superblock, .. })), "{unfinished:?}");
    let foreign = with_superblock(&image, &[(0, b"XFSC")]);
    assert!(matches!(foreign, Err(FilesystemError::Unrecognised { .. })), "{foreign:?}");
    let mut patched = Patched::new(source(&image));
    patched.flip(110);
    let damaged = Xfs::open(patched.source());
    assert!(matches!(damaged, Err(FilesystemError::Corrupt { object: Object::Superblock, at: 0, .. })), "{damaged:?}");
}

#[test]
fn what_may_be_older_than_the_kernel_would_show_is_called_stale_and_nothing_is_free() {
    let Some(image) = make() else { return testkit::skip("cannot make or mount XFS") };
    for (at, bytes, says) in
        [(216, &0x1b_u32.to_be_bytes()[..], "needsrepair"), (220, &[0, 0, 0, 2][..], "0x2"), (48, &[0; 8][..], "on another device")]
    {
        let xfs = with_superblock(&image, &[(at, bytes)]).unwrap();
        assert!(xfs.view().stale().is_some_and(|reason| reason.contains(says)), "{:?}", xfs.view());
        assert!(xfs.allocation().free.is_empty() && xfs.allocation().doubts.len() == 1, "{says}");
        assert_eq!(walk(&xfs).len(), 0, "{says}");
    }
    let xfs = with_superblock(&image, &[(212, &[0, 0, 1, 5])]).unwrap();
    assert_eq!(*xfs.view(), View::Clean, "a feature that readers need not know");
    assert!(xfs.allocation().free.is_empty() && xfs.allocation().doubts[0].reason.contains("0x100"));
}

#[test]
fn content_on_the_realtime_device_is_refused_and_the_rest_of_the_inode_is_shown() {
    let Some(image) = make() else { return testkit::skip("cannot make or mount XFS") };
    let xfs = Xfs::open(source(&image)).unwrap();
    let root = xfs.inode(xfs.root()).unwrap();
    let number = xfs.lookup(&root, b"pieces").unwrap().unwrap().inode;
    let at = xfs.inode_location(number).unwrap().offset;
    let mut patched = Patched::new(source(&image));
    let flags = patched.read(at + 91, 1)[0];
    patched.write(at + 91, &[flags | 1]);
    patched.seal(at, 512, 100);
    let xfs = Xfs::open(patched.source()).unwrap();
    let inode = xfs.inode(number).unwrap();
    let refused = xfs.map(&inode, Extent::new(0, 10));
    assert!(matches!(&refused, Err(FilesystemError::Unsupported { feature, .. }) if feature == "realtime"), "{refused:?}");
    assert!(xfs.xattrs(&inode).unwrap().is_empty());
}

/// The first bytes of a source.
#[derive(Debug)]
struct Cut(FileSource, u64);

impl ReadAt for Cut {
    fn size(&self) -> u64 {
        self.1
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        let extent = Extent::new(offset, out.len() as u64);
        if extent.end() > self.1 {
            return Err(IoError::OutOfRange { extent, size: self.1 });
        }
        self.0.read_at(offset, out)
    }
}

#[test]
fn what_lies_past_a_cut_is_an_error_and_never_zeros() {
    let Some(image) = make() else { return testkit::skip("cannot make or mount XFS") };
    for size in [0, 511, 512, 4_096, 100_000, SIZE / 4, SIZE / 2, SIZE * 7 / 10] {
        let cut: Arc<dyn ReadAt> = Arc::new(Cut(image.source().unwrap(), size));
        let errors = match Xfs::open(cut) {
            Ok(xfs) => {
                assert!(xfs.allocation().free.as_slice().iter().all(|extent| extent.end() <= size));
                walk(&xfs)
            }
            Err(error) => vec![error],
        };
        assert!(errors.iter().all(|error| matches!(error, FilesystemError::Io { .. })), "{size}: {errors:?}");
        assert!(!errors.is_empty() || size > SIZE / 2, "{size}: nobody noticed");
    }
}

/// Opens whatever this is, and looks at all of it.
fn survive(source: Arc<dyn ReadAt>) {
    if let Ok(xfs) = Xfs::open(source) {
        let _whatever_is_wrong = walk(&xfs);
        let allocation = xfs.allocation();
        assert!(allocation.doubts.iter().all(|doubt| !allocation.free.intersects(&doubt.extent)));
    }
}

/// Changes some bytes of some structures. With `seal` their checksums are right, and what is behind them is reached.
fn mutate(source: &Arc<dyn ReadAt>, places: &[(Mark, Vec<u64>)], seed: u64, seal: bool) -> Arc<dyn ReadAt> {
    let dice = Dice::new(seed);
    let mut patched = Patched::new(Arc::clone(source));
    for _ in 0..=dice.below(6) {
        let (mark, places) = &places[dice.index(places.len())];
        let at = places[dice.index(places.len())];
        for _ in 0..=dice.below(3) {
            let within = if dice.chance(700) { dice.below(128) } else { dice.below(mark.length as u64) };
            let interesting = [0, 1, 0x7f, 0x80, 0xff, dice.below(256) as u8];
            patched.write(at + within, &vec![interesting[dice.index(6)]; 1 << dice.below(3)]);
        }
        if seal {
            patched.seal(at, mark.length, mark.checksum);
        }
    }
    patched.source()
}

#[test]
fn hostile_metadata_with_right_checksums_never_panics_or_hangs() {
    let Some(image) = make() else { return testkit::skip("cannot make or mount XFS") };
    let source = source(&image);
    let superblock = (Mark { magic: b"XFSB", offset: 0, length: 512, checksum: 224 }, vec![0]);
    let kinds = KINDS.iter().map(|mark| (*mark, find(&source, *mark, SIZE)));
    let places: Vec<_> = kinds.filter(|(_, places)| !places.is_empty()).chain([superblock]).collect();
    assert_eq!(places.len(), KINDS.len() + 1);
    (0..250).for_each(|seed| survive(mutate(&source, &places, seed, true)));
}

#[test]
fn hostile_metadata_without_checksums_never_panics_or_hangs() {
    let folder = TempDir::new().unwrap();
    for name in 0..200 {
        fs::write(folder.path().join(format!("a.file.{name}")), random_bytes(name * 20, 1)).unwrap();
    }
    symlink("l".repeat(900), folder.path().join("link")).unwrap();
    let arguments = ["-m", "crc=0", "-b", "size=1024", "-i", "size=512"];
    let Some(image) = prototype::make(folder.path(), &arguments) else { return testkit::skip("mkfs.xfs makes no version 4") };
    let source = source(&image);
    let marks: [&[u8]; 7] = [b"XFSB", b"XAGF", b"XAGI", b"IN", b"ABTB", b"IABT", b"XD2D"];
    let kinds = marks.map(|magic| Mark { magic, offset: 0, length: if magic == b"IN" { 512 } else { 1024 }, checksum: 0 });
    let places: Vec<_> = kinds.into_iter().map(|mark| (mark, find(&source, Mark { length: 512, ..mark }, 100 << 20))).collect();
    assert!(places.iter().all(|(_, places)| !places.is_empty()));
    (0..250).for_each(|seed| survive(mutate(&source, &places, seed, false)));
}

#[test]
fn volumes_trashed_by_xfs_db_never_panic_or_hang() {
    let Some(image) = make() else { return testkit::skip("cannot make or mount XFS") };
    let folder = TempDir::new().unwrap();
    for seed in 0..8 {
        let copy = folder.path().join("copy");
        run(Command::new("cp").arg("--sparse=always").arg(image.path()).arg(&copy)).unwrap();
        let trash = format!("blocktrash -n 20 -s {seed} -x 512 -y 4096");
        run(Command::new("xfs_db").args(["-x", "-c", "blockget", "-c", &trash]).arg(&copy)).unwrap();
        survive(Arc::new(FileSource::open(&copy).unwrap()));
    }
}
