//! Everything that a filesystem can be asked, on bytes that nobody vouches for: each answer ends, and keeps the promises of the face.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::patched::Patched;
use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::ReadAt;
use crate::filesystem::{self, Entry, FileKind, Filesystem, Inode, InodeNumber, Source};

/// Inodes that a walk visits, and names that it takes from one directory: a damaged one can name everything a million times.
const MAX_INODES: usize = 80;
const MAX_NAMES: usize = 400;
/// How much of a file is mapped and read at once.
const PIECE_BYTES: u64 = 1 << 20;
const READ_BYTES: usize = 8 << 10;
/// The longest target of a link, and the longest name.
const MAX_TARGET_BYTES: usize = 4096;
const MAX_NAME_BYTES: usize = 255;
/// How many times its own length may be read of a volume: by one question, and by all of them.
const READS_OF_ONE: u64 = 4;
const READS_OF_ALL: u64 = 64;
/// What a question may read of the smallest volume.
const READS_BYTES: u64 = 1 << 20;
/// The smallest block: no map has more segments than its range has of these.
const SMALLEST_BLOCK_BYTES: u64 = 512;

/// What a walk came across.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// True when there was a filesystem, or a table, to ask.
    pub opened: bool,
    /// Inodes that could be read, or partitions.
    pub inodes: usize,
    /// Names.
    pub names: usize,
    /// Segments that lie somewhere.
    pub segments: usize,
    /// Attributes.
    pub attributes: usize,
    /// Targets of links.
    pub links: usize,
    /// Answers that were errors.
    pub errors: usize,
}

/// Asks a filesystem everything.
///
/// # Panics
/// When an answer breaks a promise.
pub fn exercise(volume: &Arc<Patched>) -> Seen {
    let mut walk = Walk { volume, seen: Seen::default() };
    let opened = walk.ask("open", |volume| filesystem::open(Arc::clone(volume) as Arc<dyn ReadAt>));
    if let Some(opened) = opened {
        walk.seen.opened = true;
        walk.whole(&*opened);
        walk.tree(&*opened);
    }
    let limit = READS_OF_ALL * volume.size() + 16 * READS_BYTES;
    assert!(volume.read_bytes() <= limit, "{} bytes were read of a volume of {}", volume.read_bytes(), volume.size());
    walk.seen
}

/// Asks a disk for its partitions, and each of these for its bytes.
///
/// # Panics
/// When an answer breaks a promise.
pub fn exercise_partitions(disk: &Arc<Patched>) -> Seen {
    let source = Arc::clone(disk) as Arc<dyn ReadAt>;
    let mut walk = Walk { volume: disk, seen: Seen::default() };
    let found = walk.ask("partitions", |_| filesystem::partitions(&*source)).unwrap_or_default();
    assert!(found.windows(2).all(|pair| pair[0].number < pair[1].number), "numbers that do not ascend");
    for partition in &found {
        walk.seen.opened = true;
        let Some(slice) = walk.ask("partition", |_| filesystem::partition(&source, partition.number)) else { continue };
        walk.seen.inodes += 1;
        assert_eq!(slice.size(), partition.extent.length);
        assert!(partition.extent.end() <= disk.size(), "{} lies outside the disk", partition.extent);
        let _nothing_there = walk.ask("open", |_| filesystem::open(slice));
    }
    let _nothing_there = walk.ask("open", |_| filesystem::open(source));
    walk.seen
}

struct Walk<'a> {
    volume: &'a Arc<Patched>,
    seen: Seen,
}

impl Walk<'_> {
    /// One question, which may not read the volume over and over.
    fn ask<T, E>(&mut self, what: &str, question: impl FnOnce(&Arc<Patched>) -> Result<T, E>) -> Option<T> {
        let before = self.volume.read_bytes();
        let answer = question(self.volume);
        let read = self.volume.read_bytes() - before;
        let limit = READS_OF_ONE * self.volume.size() + READS_BYTES;
        assert!(read <= limit, "{what} read {read} bytes of a volume of {}", self.volume.size());
        self.seen.errors += usize::from(answer.is_err());
        answer.ok()
    }

    fn whole(&mut self, opened: &dyn Filesystem) {
        let identity = opened.identity();
        assert!(identity.block_bytes.is_power_of_two(), "blocks of {} bytes", identity.block_bytes);
        let _why = opened.view().stale();
        let allocation = self.ask("allocation", |_| Ok::<_, ()>(opened.allocation())).unwrap_or_default();
        inside("free", &allocation.free, identity.size.min(opened.volume().size()));
        for doubt in &allocation.doubts {
            assert!(!allocation.free.intersects(&doubt.extent), "{} is free, and in doubt: {}", doubt.extent, doubt.reason);
        }
        inside("replayed", &opened.replayed(), identity.size.max(opened.volume().size()));
        for number in (0..24).chain([u64::from(u32::MAX), u64::MAX, u64::MAX - 1, 1 << 40]) {
            let _in_use = self.inode(opened, InodeNumber(number));
        }
    }

    fn tree(&mut self, opened: &dyn Filesystem) {
        let mut waiting = vec![opened.root()];
        let mut known: BTreeSet<InodeNumber> = waiting.iter().copied().collect();
        while let Some(number) = waiting.pop() {
            let Some(inode) = self.inode(opened, number) else { continue };
            self.seen.inodes += 1;
            for entry in self.names(opened, &inode) {
                if known.len() < MAX_INODES && known.insert(entry.inode) {
                    waiting.push(entry.inode);
                }
            }
            self.content(opened, &inode);
            self.attributes(opened, &inode);
            self.link(opened, &inode);
        }
    }

    fn inode(&mut self, opened: &dyn Filesystem, number: InodeNumber) -> Option<Inode> {
        if let Some(place) = opened.inode_location(number) {
            inside("inode", &place.into(), opened.identity().size);
        }
        let inode = self.ask("inode", |_| opened.inode(number))?;
        assert_eq!(inode.number, number);
        assert!(inode.mode <= 0o7777, "mode {:o}", inode.mode);
        for time in [inode.accessed, inode.modified, inode.changed].into_iter().chain(inode.created) {
            assert!(time.nanoseconds < 1_000_000_000, "{time:?}");
        }
        Some(inode)
    }

    fn names(&mut self, opened: &dyn Filesystem, directory: &Inode) -> Vec<Entry> {
        let mut entries = Vec::new();
        let listed = self.ask("list", |_| {
            opened.list(directory, &mut |entry| {
                entries.push(entry);
                if entries.len() < MAX_NAMES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
        });
        assert!(listed.is_none() || directory.is_directory(), "{:?} has names", directory.kind);
        entries.iter().for_each(name);
        self.seen.names += entries.len();
        if let Some(first) = entries.first() {
            let found = self.ask("lookup", |_| opened.lookup(directory, &first.name));
            assert_eq!(found.flatten().as_ref(), Some(first));
        }
        entries
    }

    fn content(&mut self, opened: &dyn Filesystem, file: &Inode) {
        let half = file.size / 2;
        let end = file.size.saturating_sub(READ_BYTES as u64 / 2);
        for start in BTreeSet::from([0, half, end, u64::MAX - PIECE_BYTES]) {
            let asked = Extent::new(start, PIECE_BYTES);
            self.map(opened, file, asked);
            self.read(opened, file, start);
        }
    }

    fn map(&mut self, opened: &dyn Filesystem, file: &Inode, asked: Extent) {
        let Some(segments) = self.ask("map", |_| opened.map(file, asked)) else { return };
        let wanted = asked.intersect(&Extent::new(0, file.size));
        assert!(segments.len() as u64 <= wanted.length / SMALLEST_BLOCK_BYTES + 2, "{} segments for {wanted}", segments.len());
        let mut at = wanted.offset;
        for segment in &segments {
            assert!(segment.extent.offset == at && !segment.extent.is_empty(), "{} does not begin at {at}", segment.extent);
            at = segment.extent.end();
            match &segment.source {
                Source::Disk(place) | Source::Unwritten(place) => {
                    let place = Extent::new(*place, segment.extent.length);
                    assert!(place.end() <= opened.identity().size, "{place} lies outside the volume");
                    self.seen.segments += 1;
                }
                Source::Inline(bytes) => assert!(bytes.len() <= 64 << 10, "{} inline bytes", bytes.len()),
                Source::Hole | Source::Lost(_) => {}
            }
        }
        let covers = at == wanted.end() || wanted.is_empty() || (segments.is_empty() && file.kind != FileKind::Regular);
        assert!(covers, "the map of {wanted} ends at {at}");
    }

    fn read(&mut self, opened: &dyn Filesystem, file: &Inode, start: u64) {
        let mut out = vec![0; READ_BYTES];
        let Some(filled) = self.ask("read", |_| opened.read(file, start, &mut out)) else { return };
        let there = (READ_BYTES as u64).min(file.size.saturating_sub(start));
        assert!(file.kind != FileKind::Regular || filled as u64 == there, "{filled} of {there} bytes were read from {start}");
    }

    fn attributes(&mut self, opened: &dyn Filesystem, inode: &Inode) {
        let Some(attributes) = self.ask("xattrs", |_| opened.xattrs(inode)) else { return };
        assert!(attributes.windows(2).all(|pair| pair[0].name <= pair[1].name), "attributes that are not sorted");
        assert!(attributes.iter().all(|attribute| !attribute.name.is_empty()), "an attribute without a name");
        self.seen.attributes += attributes.len();
    }

    fn link(&mut self, opened: &dyn Filesystem, inode: &Inode) {
        let Some(target) = self.ask("link", |_| opened.link_target(inode)) else { return };
        assert!(inode.kind == FileKind::Symlink, "{:?} has a target", inode.kind);
        assert!(target.len() <= MAX_TARGET_BYTES, "a target of {} bytes", target.len());
        self.seen.links += 1;
    }
}

fn inside(what: &str, set: &ExtentSet, size: u64) {
    let end = set.as_slice().last().map_or(0, Extent::end);
    assert!(end <= size, "{what} up to byte {end} of a volume of {size}");
}

fn name(entry: &Entry) {
    let name = &entry.name;
    assert!(!name.is_empty() && name.len() <= MAX_NAME_BYTES, "a name of {} bytes", name.len());
    assert!(!name.iter().any(|byte| *byte == 0 || *byte == b'/'), "the name {name:?}");
    assert!(name != b"." && name != b"..", "{name:?} is no entry");
}
