//! Random damage: whatever a volume holds, reading it ends, soon, with an answer or an error.

use std::collections::HashSet;
use std::fs;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use icecore::base::extent::Extent;
use icecore::base::io::{IoError, ReadAt};
use icecore::filesystem::{self, Filesystem, FilesystemError, Inode};
use icecore::testkit::contents::random_bytes;
use icecore::testkit::dice::{Dice, each_seed};
use icecore::testkit::image::Image;
use tempfile::TempDir;

use crate::MIB;

/// How many times its own length may be read of a volume, by a walk that reads every file once.
const READS: u64 = 64;
/// A damaged directory can name everything a million times.
const ENTRIES: usize = 3_000;
const READ_BYTES: u64 = 256 << 10;

/// Counts what is read.
#[derive(Debug)]
struct Counted {
    bytes: Vec<u8>,
    read: Arc<AtomicU64>,
}

impl ReadAt for Counted {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        let extent = Extent::new(offset, out.len() as u64);
        self.read.fetch_add(extent.length, Ordering::Relaxed);
        let place = extent.offset as usize..extent.end() as usize;
        let piece = self.bytes.get(place).filter(|piece| piece.len() == out.len());
        out.copy_from_slice(piece.ok_or(IoError::OutOfRange { extent, size: self.bytes.len() as u64 })?);
        Ok(())
    }
}

fn image(arguments: &[&str]) -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    let tree = folder.path();
    for number in 0..12 {
        let inside = tree.join(format!("folder {number}"));
        fs::create_dir(&inside).unwrap();
        for (size, name) in [(0, "empty"), (40, "tiny"), (3_000, "small"), (40_000, "large")] {
            fs::write(inside.join(name), random_bytes(size, number)).unwrap();
        }
        symlink("t".repeat(40 + number as usize * 20), inside.join("link")).unwrap();
    }
    for number in 0..80 {
        fs::write(tree.join("folder 3").join(format!("{number} {}", "n".repeat(60))), b"").unwrap();
    }
    let all = [&["-q", "-F", "-d", tree.to_str().unwrap()], arguments].concat();
    fs::read(Image::make(2 * MIB, "mkfs.ext4", &all).unwrap().path()).unwrap()
}

/// Ranges that hold something: flipping free space tests nothing.
fn interesting(bytes: &[u8]) -> Vec<Range<usize>> {
    let pieces = (0..bytes.len()).step_by(64).map(|start| start..(start + 64).min(bytes.len()));
    pieces.filter(|piece| bytes[piece.clone()].iter().any(|byte| *byte != 0)).collect()
}

fn damage(bytes: &mut Vec<u8>, places: &[Range<usize>], dice: &Dice) {
    for _ in 0..dice.within(1..12) {
        let place = &places[dice.index(places.len())];
        let at = place.start + dice.index(place.len().saturating_sub(8)) / 4 * 4;
        match dice.below(5) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at..at + 4].fill(0xFF),
            2 => bytes[at..at + 2].copy_from_slice(&[0xFF, 0x7F]),
            3 => bytes[at..at + 4].copy_from_slice(&(dice.below(4_000) as u32).to_le_bytes()),
            _ => {
                let from = &places[dice.index(places.len())];
                let piece = bytes[from.clone()].to_vec();
                let length = piece.len().min(place.len());
                bytes[place.start..place.start + length].copy_from_slice(&piece[..length]);
            }
        }
    }
    if dice.chance(100) {
        bytes.truncate(dice.index(bytes.len()));
    }
}

/// Visits everything that can be reached; errors end a branch, not the walk.
fn walk(ours: &dyn Filesystem) {
    let mut waiting = vec![ours.root()];
    let mut seen = HashSet::new();
    while let Some(number) = waiting.pop() {
        if seen.len() >= ENTRIES || !seen.insert(number) {
            continue;
        }
        let Ok(inode) = ours.inode(number) else { continue };
        let _wrong: Result<(), FilesystemError> = visit(ours, &inode);
        let _partly_listed = ours.list(&inode, &mut |entry| {
            waiting.push(entry.inode);
            if waiting.len() < ENTRIES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
    }
    ours.allocation();
    ours.replayed();
}

fn visit(ours: &dyn Filesystem, inode: &Inode) -> Result<(), FilesystemError> {
    ours.xattrs(inode)?;
    ours.link_target(inode)?;
    let start = inode.size.saturating_sub(READ_BYTES);
    for offset in [0, start] {
        let mut out = vec![0; READ_BYTES.min(inode.size) as usize];
        ours.read(inode, offset, &mut out)?;
    }
    Ok(())
}

fn check(arguments: &[&str], seeds: Range<u64>) {
    let whole = image(arguments);
    let places = interesting(&whole);
    each_seed(seeds, |seed| {
        let mut bytes = whole.clone();
        damage(&mut bytes, &places, &Dice::new(seed));
        let (size, read) = (bytes.len() as u64, Arc::new(AtomicU64::new(0)));
        if let Ok(ours) = filesystem::open(Arc::new(Counted { bytes, read: Arc::clone(&read) })) {
            walk(&*ours);
        }
        assert!(read.load(Ordering::Relaxed) <= READS * size.max(MIB), "{} bytes read", read.load(Ordering::Relaxed));
    });
}

/// Without checksums the damage reaches every parser.
const BARE: &str = "^metadata_csum,^uninit_bg,^has_journal";

#[test]
fn random_damage_ends_in_an_answer_or_an_error() {
    check(&["-b", "1024", "-O", BARE], 0..150);
    check(&["-b", "1024", "-O", &format!("{BARE},^extent,^64bit"), "-I", "128"], 0..150);
    check(&["-b", "1024", "-O", &format!("{BARE},inline_data"), "-I", "512"], 0..150);
    check(&["-b", "1024"], 0..100);
}

#[test]
#[ignore = "long: thousands of damaged volumes"]
fn soak_random_damage_ends_in_an_answer_or_an_error() {
    for arguments in [&["-b", "1024", "-O", BARE][..], &["-b", "4096", "-O", BARE], &["-b", "2048"]] {
        check(arguments, 0..5_000);
    }
    check(&["-b", "1024", "-O", &format!("{BARE},^extent,^64bit,meta_bg,^resize_inode")], 0..5_000);
    check(&["-b", "1024", "-O", &format!("{BARE},inline_data,bigalloc"), "-I", "512"], 0..5_000);
}
