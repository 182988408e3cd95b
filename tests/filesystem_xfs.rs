//! XFS of version 5, made by mkfs and filled by the kernel, reads back as the kernel shows it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests may fail loudly; tests are read by their names"
)]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use icecore::filesystem::{Allocation, Filesystem, FilesystemError, InodeNumber, Kind, View, Xfs};
use icecore::testkit;
use icecore::testkit::contents::random_bytes;
use icecore::testkit::differential::compare;
use icecore::testkit::image::{Image, Mounted, run};
use icecore::testkit::tree::populate;
use rustix::fs::{FallocateFlags, XattrFlags, fallocate, lsetxattr};

const MIB: u64 = 1 << 20;

/// What mkfs can be asked for, and how large the volume must be.
const VARIANTS: &[(&str, u64, &[&str])] = &[
    ("as mkfs likes it", 400, &[]),
    ("16 groups", 1280, &["-d", "agcount=16"]),
    ("reverse maps, reflinks, wide counters", 400, &["-m", "rmapbt=1,reflink=1", "-i", "nrext64=1"]),
    ("old times, no free inode tree", 400, &["-m", "bigtime=0,finobt=0,reflink=0", "-i", "sparse=0"]),
    ("sectors of 4 KiB", 400, &["-s", "size=4096"]),
    ("blocks of 1 KiB", 400, &["-b", "size=1024"]),
    ("inodes of 2 KiB", 400, &["-i", "size=2048"]),
    ("directory blocks of 16 KiB, inodes of 1 KiB", 400, &["-n", "size=16384", "-i", "size=1024"]),
    ("directory blocks of 64 KiB over blocks of 1 KiB", 400, &["-b", "size=1024", "-n", "size=65536"]),
    ("blocks of 64 KiB", 1600, &["-b", "size=65536"]),
];

fn make(size_mib: u64, arguments: &[&str]) -> Option<(Image, Mounted)> {
    let image = Image::make(size_mib * MIB, "mkfs.xfs", &[&["-q", "-f"], arguments].concat()).ok()?;
    let mounted = image.mount("").ok()?;
    Some((image, mounted))
}

fn open(image: &Image) -> Xfs {
    Xfs::open(Arc::new(image.source().unwrap())).unwrap()
}

#[track_caller]
fn assert_equal(image: &Image, what: &str) {
    let xfs = open(image);
    let mounted = image.mount("ro,norecovery").unwrap();
    let differences = compare(mounted.point(), &xfs);
    assert!(differences.is_empty(), "{what}:\n{}", differences.join("\n"));
}

/// What only XFS can do, or does in its own way.
fn extras(mount: &Path) -> io::Result<()> {
    let folder = mount.join("extras");
    fs::create_dir(&folder)?;
    let pieces = File::create(folder.join("in 3000 pieces"))?;
    let block = random_bytes(4096, 5);
    for piece in 0..3_000 {
        pieces.write_all_at(&block[..100 + piece % 3_900], piece as u64 * 65_536)?;
    }
    let many = folder.join("attributes in a tree");
    fs::write(&many, b"")?;
    for number in 0..400 {
        lsetxattr(&many, format!("user.{number:04}"), &random_bytes(150 + number, 9), XattrFlags::empty())?;
    }
    for number in 0..10 {
        lsetxattr(&many, format!("user.long {number}"), &random_bytes(5_000 * (number + 1), 8), XattrFlags::empty())?;
    }
    share(&folder.join("in 3000 pieces"), &folder.join("shared"));
    names(&folder.join("one block"), 30)?;
    names(&folder.join("many blocks"), 12_000)
}

/// Shares blocks between two files, and then writes to some. Without reflink there is nothing to share.
fn share(from: &Path, to: &Path) {
    if run(Command::new("cp").arg("--reflink=always").arg(from).arg(to)).is_ok() {
        let file = OpenOptions::new().write(true).open(to).unwrap();
        file.write_all_at(&random_bytes(200_000, 3), 70_000).unwrap();
    }
}

fn names(folder: &Path, count: usize) -> io::Result<()> {
    fs::create_dir(folder)?;
    fs::write(folder.join("first"), b"1")?;
    (0..count)
        .try_for_each(|number| fs::hard_link(folder.join("first"), folder.join(format!("a name with number {number:06}"))))?;
    // Whole blocks in the middle are given back, and leave holes.
    (count / 3..count / 2).try_for_each(|number| fs::remove_file(folder.join(format!("a name with number {number:06}"))))
}

#[test]
fn every_variant_is_shown_as_the_kernel_shows_it() {
    for (number, (what, size_mib, arguments)) in VARIANTS.iter().enumerate() {
        let Some((image, mounted)) = make(*size_mib, arguments) else {
            return testkit::skip(&format!("cannot make or mount XFS with {what}"));
        };
        populate(mounted.point(), 100 + number as u64).unwrap();
        extras(mounted.point()).unwrap();
        drop(mounted);
        assert_equal(&image, what);
    }
}

#[test]
fn nobody_misses_what_is_called_free() {
    for (what, size_mib, arguments) in [VARIANTS[0], VARIANTS[1], VARIANTS[2], VARIANTS[5]] {
        let Some((image, mounted)) = make(size_mib, arguments) else {
            return testkit::skip(&format!("cannot make or mount XFS with {what}"));
        };
        populate(mounted.point(), 3).unwrap();
        extras(mounted.point()).unwrap();
        drop(mounted);
        let allocation = open(&image).allocation();
        assert_eq!(allocation.doubts, [], "{what}");
        assert_most_is_free(&image, &allocation, what);
        overwrite(&image, &allocation);
        assert_eq!(open(&image).allocation(), allocation, "{what}");
        assert_equal(&image, what);
        run(Command::new("xfs_repair").arg("-n").arg(image.path())).unwrap();
    }
}

/// The superblock counts free blocks too, with those that the trees and lists themselves keep in hand.
fn assert_most_is_free(image: &Image, allocation: &Allocation, what: &str) {
    let mut superblock = [0; 512];
    File::open(image.path()).unwrap().read_exact_at(&mut superblock, 0).unwrap();
    let block_bytes = u64::from(u32::from_be_bytes(superblock[4..8].try_into().unwrap()));
    let free = u64::from_be_bytes(superblock[144..152].try_into().unwrap()) * block_bytes;
    let groups = u64::from(u32::from_be_bytes(superblock[88..92].try_into().unwrap()));
    let ours = allocation.free.bytes();
    assert!(ours <= free && ours + groups * 64 * block_bytes >= free, "{what}: {ours} of {free} bytes, {groups} groups");
}

fn overwrite(image: &Image, allocation: &Allocation) {
    let file = OpenOptions::new().write(true).open(image.path()).unwrap();
    let junk = random_bytes(1 << 20, 77);
    for piece in allocation.free.as_slice().iter().flat_map(|extent| extent.cut(1 << 20)) {
        file.write_all_at(&junk[..piece.length as usize], piece.offset).unwrap();
    }
}

/// Free space in pieces of seven blocks, where a whole chunk of inodes needs eight.
#[test]
fn inodes_of_sparse_chunks_are_found_and_their_holes_are_not() {
    let Some((image, mounted)) = make(320, &["-i", "sparse=1", "-d", "agcount=2"]) else {
        return testkit::skip("cannot make or mount XFS");
    };
    let made = mounted.point().join("made");
    fs::create_dir(&made).unwrap();
    let fill = File::create(mounted.point().join("fill")).unwrap();
    let pieces = (0..4_096).take_while(|piece| fallocate(&fill, FallocateFlags::empty(), piece * 65_536, 65_536).is_ok()).count();
    for piece in 0..pieces as u64 {
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&fill, punch, piece * 65_536, 28_672).unwrap();
    }
    // What the kernel held back until now.
    fallocate(&fill, FallocateFlags::empty(), 1 << 30, 17 << 20).unwrap();
    drop(fill);
    (0..4_000).for_each(|number| drop(File::create(made.join(format!("{number}"))).unwrap()));
    drop(mounted);
    assert!(sparse_chunks(&image) > 0, "the kernel found room for whole chunks");
    assert_equal(&image, "sparse");
}

/// How many chunks have holes, as `xfs_db` sees it: `number:[first,mask,...`.
fn sparse_chunks(image: &Image) -> usize {
    let commands = ["agi 0", "addr root", "p", "agi 1", "addr root", "p"];
    let arguments = commands.iter().flat_map(|command| ["-c", command]);
    let output = Command::new("xfs_db").arg("-r").args(arguments).arg(image.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| line.contains(":[") && line.split(',').nth(1).is_some_and(|mask| mask != "0")).count()
}

#[test]
fn a_volume_says_who_it_is() {
    let arguments = ["-L", "a label", "-m", "uuid=01234567-89ab-4cde-8f01-23456789abcd"];
    let Some((image, mounted)) = make(320, &arguments) else { return testkit::skip("cannot make or mount XFS") };
    drop(mounted);
    let check = |xfs: &Xfs| {
        let identity = xfs.identity();
        assert_eq!((identity.kind, identity.label.as_slice(), identity.block_bytes), (Kind::Xfs, b"a label".as_slice(), 4096));
        assert_eq!((identity.size, *xfs.view() == View::Clean), (320 * MIB, true));
        identity.uuid
    };
    assert_eq!(check(&open(&image))[..4], [0x01, 0x23, 0x45, 0x67]);
    // Metadata keeps the first UUID when users choose another.
    run(Command::new("xfs_admin").args(["-U", "fedcba98-7654-4321-8fed-cba987654321"]).arg(image.path())).unwrap();
    let xfs = open(&image);
    assert_eq!(check(&xfs)[..4], [0xfe, 0xdc, 0xba, 0x98]);
    assert!(xfs.inode(xfs.root()).unwrap().is_directory());
}

#[test]
fn inodes_that_are_free_or_cannot_be_are_not_found() {
    let Some((image, mounted)) = make(320, &[]) else { return testkit::skip("cannot make or mount XFS") };
    fs::write(mounted.point().join("gone"), b"x").unwrap();
    fs::write(mounted.point().join("kept"), b"x").unwrap();
    drop(mounted);
    let xfs = open(&image);
    let root = xfs.inode(xfs.root()).unwrap();
    let gone = xfs.lookup(&root, b"gone").unwrap().unwrap().inode;
    xfs.inode(gone).unwrap();
    // The kernel calls a file that is deleted while it is open the same: an inode without names.
    let inode = format!("inode {}", gone.0);
    run(Command::new("xfs_db").args(["-x", "-c", &inode, "-c", "write core.nlinkv2 0"]).arg(image.path())).unwrap();
    let xfs = open(&image);
    for number in [gone.0, xfs.root().0 + 60, 0, 1 << 40, u64::MAX] {
        let found = xfs.inode(InodeNumber(number));
        assert!(matches!(found, Err(FilesystemError::NotFound { .. })), "{number}: {found:?}");
    }
}
