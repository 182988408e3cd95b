//! Everything that a damaged filesystem can be asked, on bytes that nobody vouches for: each answer ends, and keeps its promises.

use std::cmp::Reverse;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::exercise::Seen;
use super::patched::Patched;
use crate::base::extent::Extent;
use crate::base::io::ReadAt;
use crate::filesystem::{self, FileKind, FoundEntry, FoundName, Inode, InodeNumber, Scanned, Source, Wreck, is_plain_name};

/// Inodes that are looked at more closely, and what is taken from one directory.
const MAX_INODES: usize = 60;
const MAX_ENTRIES: usize = 400;
/// How much of a file is mapped at once, and read.
const PIECE_BYTES: u64 = 1 << 20;
const READ_BYTES: usize = 8 << 10;
/// How many times its own length may be read of a volume: by one question, and by all of them.
const READS_OF_ONE: u64 = 8;
const READS_OF_ALL: u64 = 128;
/// What a question may read of the smallest volume.
const READS_BYTES: u64 = 2 << 20;
/// The smallest block: no map has more segments than its range has of these.
const SMALLEST_BLOCK_BYTES: u64 = 512;

/// Asks what is left of a filesystem everything.
///
/// # Panics
/// When an answer breaks a promise.
pub fn exercise_wreck(volume: &Arc<Patched>) -> Seen {
    let mut walk = Walk { volume, seen: Seen::default() };
    let opened = walk.ask("salvage", |volume| filesystem::salvage(Arc::clone(volume) as Arc<dyn ReadAt>));
    if let Ok(wreck) = opened {
        walk.seen.opened = true;
        walk.whole(&*wreck);
        walk.inodes(&*wreck);
        walk.strays(&*wreck);
    }
    let limit = READS_OF_ALL * volume.size() + 32 * READS_BYTES;
    assert!(volume.read_bytes() <= limit, "{} bytes were read of a volume of {}", volume.read_bytes(), volume.size());
    walk.seen
}

struct Walk<'a> {
    volume: &'a Arc<Patched>,
    seen: Seen,
}

impl Walk<'_> {
    /// One question, which may not read the volume over and over.
    fn ask<T>(&mut self, what: &str, question: impl FnOnce(&Arc<Patched>) -> T) -> T {
        let before = self.volume.read_bytes();
        let answer = question(self.volume);
        let read = self.volume.read_bytes() - before;
        let limit = READS_OF_ONE * self.volume.size() + READS_BYTES;
        assert!(read <= limit, "{what} read {read} bytes of a volume of {}", self.volume.size());
        answer
    }

    fn whole(&mut self, wreck: &dyn Wreck) {
        let _said: Vec<String> = wreck.damage().iter().map(ToString::to_string).collect();
        // None agrees when even the superblock had to be concluded.
        let _copies = wreck.agreeing_superblocks();
        let allocation = self.ask("allocation", |_| wreck.allocation());
        let end = allocation.free.as_slice().last().map_or(0, Extent::end);
        assert!(end <= wreck.identity().size.min(wreck.volume().size()), "free up to byte {end}");
        for number in (0..24).chain([u64::from(u32::MAX), u64::MAX, u64::MAX - 1, 1 << 40]).map(InodeNumber) {
            let inode = self.ask("inode", |_| wreck.inode(number).ok());
            assert!(inode.is_none_or(|inode| inode.number == number && inode.links > 0));
            let older = self.ask("older", |_| wreck.older(number));
            assert!(older.is_none_or(|inode| inode.number == number && inode.links > 0));
        }
    }

    fn inodes(&mut self, wreck: &dyn Wreck) {
        let found = self.scan(wreck, 0);
        let middle = found.get(found.len() / 2).map_or(u64::MAX, |inode| inode.number.0);
        let rest = self.scan(wreck, middle);
        assert!(found.iter().filter(|inode| inode.number.0 >= middle).eq(&rest), "a scan from inode {middle} finds others");
        self.seen.inodes += found.len();
        let root = self.ask("root", |_| wreck.inode(wreck.root()).ok());
        // Those with the most to show, and whatever comes first.
        let mut largest: Vec<&Inode> = found.iter().collect();
        largest.sort_by_key(|inode| Reverse(inode.sectors));
        for inode in root.iter().chain(largest.into_iter().take(MAX_INODES)).chain(found.iter().take(MAX_INODES)) {
            self.content(wreck, inode);
            self.names(wreck, inode);
            self.rest(wreck, inode);
        }
    }

    /// All inodes from a number on.
    fn scan(&mut self, wreck: &dyn Wreck, from: u64) -> Vec<Inode> {
        let (mut found, mut next) = (Vec::new(), from);
        let scanned = self.ask("scan", |_| {
            wreck.scan(from, &mut |scanned| {
                let numbers = match &scanned {
                    Scanned::Inode(found) => found.inode.number.0..found.inode.number.0.saturating_add(1),
                    Scanned::Lost { inodes, .. } => inodes.clone(),
                };
                assert!(numbers.start >= next && numbers.start < numbers.end, "{numbers:?} after {next}");
                next = numbers.end;
                if let Scanned::Inode(inode) = scanned {
                    assert!(inode.inode.links > 0 && inode.inode.mode <= 0o7777, "{inode:?}");
                    found.push(inode.inode);
                }
                ControlFlow::Continue(())
            })
        });
        self.seen.errors += usize::from(scanned.is_err());
        found
    }

    fn content(&mut self, wreck: &dyn Wreck, file: &Inode) {
        for start in [0, file.size / 2, file.size.saturating_sub(READ_BYTES as u64 / 2), u64::MAX - PIECE_BYTES] {
            let asked = Extent::new(start, PIECE_BYTES);
            let Ok(segments) = self.ask("map", |_| wreck.map(file, asked)) else { continue };
            let wanted = asked.intersect(&Extent::new(0, file.size));
            assert!(segments.len() as u64 <= wanted.length / SMALLEST_BLOCK_BYTES + 2, "{} segments for {wanted}", segments.len());
            let mut at = wanted.offset;
            for segment in &segments {
                assert!(segment.extent.offset == at && !segment.extent.is_empty(), "{} does not begin at {at}", segment.extent);
                at = segment.extent.end();
                if let Source::Disk(place) = segment.source {
                    let end = place.saturating_add(segment.extent.length);
                    assert!(end <= wreck.volume().size(), "byte {end} is none of the volume");
                    self.seen.segments += 1;
                }
            }
            let covers = at == wanted.end() || wanted.is_empty() || segments.is_empty() && file.kind != FileKind::Regular;
            assert!(covers, "the map of {wanted} ends at {at}");
            let _filled = self.ask("read", |_| wreck.read(file, start, &mut [0; READ_BYTES]).ok());
        }
    }

    fn names(&mut self, wreck: &dyn Wreck, directory: &Inode) {
        let mut entries = Vec::new();
        self.ask("names", |_| {
            wreck.names(directory, &mut |entry| {
                entries.push(entry);
                if entries.len() < MAX_ENTRIES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
        });
        assert!(entries.is_empty() || directory.is_directory(), "{:?} has names", directory.kind);
        assert!(entries.len() <= MAX_ENTRIES, "names were shown to one who had seen enough");
        for entry in &entries {
            match entry {
                FoundEntry::Name(name) => self.name(name),
                FoundEntry::Parent(_) => {}
                FoundEntry::Lost(_) => self.seen.errors += 1,
            }
        }
    }

    fn name(&mut self, name: &FoundName) {
        assert!(is_plain_name(&name.name), "the name {:?}", name.name);
        self.seen.names += 1;
    }

    fn rest(&mut self, wreck: &dyn Wreck, inode: &Inode) {
        let _key = self.ask("key", |_| wreck.directory_key(inode));
        let older = self.ask("older", |_| wreck.older(inode.number));
        assert!(older.is_none_or(|older| older.number == inode.number && older.links > 0));
        let target = self.ask("link", |_| wreck.link_target(inode).ok());
        self.seen.links += usize::from(target.is_some());
        let attributes = self.ask("xattrs", |_| wreck.xattrs(inode).ok());
        self.seen.attributes += attributes.map_or(0, |attributes| attributes.len());
    }

    fn strays(&mut self, wreck: &dyn Wreck) {
        let half = wreck.volume().size() / 2;
        for within in [Extent::new(0, half), Extent::between(half, u64::MAX), Extent::new(u64::MAX - 5, 5)] {
            let mut next = within.offset;
            let mut names = Vec::new();
            let shown = self.ask("strays", |_| {
                wreck.strays(within, &mut |stray| {
                    assert!(stray.at >= next && stray.at < within.end(), "a block at {} after {next} in {within}", stray.at);
                    next = stray.at + 1;
                    names.extend(stray.names);
                    ControlFlow::Continue(())
                })
            });
            self.seen.errors += usize::from(shown.is_err());
            names.iter().for_each(|name| self.name(name));
        }
        let mut names = Vec::new();
        self.ask("older strays", |_| {
            wreck.older_strays(&mut |stray| {
                names.extend(stray.names);
                ControlFlow::Continue(())
            });
        });
        names.iter().for_each(|name| self.name(name));
    }
}
