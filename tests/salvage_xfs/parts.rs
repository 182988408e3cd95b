//! Where the parts of an intact XFS lie: forks of inodes, headers and roots of groups, the log. Only what damage must know to hit them.

use std::collections::BTreeMap;

use icecore::base::extent::Extent;
use icecore::base::io::ReadAt;
use icecore::filesystem::{FileKind, Inode, InodeNumber, Xfs};
use icecore::testkit::damage::Anatomy;

/// How the volume is cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) block_bytes: u64,
    pub(crate) sector_bytes: u64,
    pub(crate) group_blocks: u64,
    pub(crate) groups: u64,
    group_block_log: u8,
    is_version_5: bool,
    log: (u64, u64),
}

/// What lies in the forks of one inode.
#[derive(Debug, Clone, Default)]
pub(crate) struct Forks {
    pub(crate) content: Vec<Extent>,
    pub(crate) nodes: Vec<Extent>,
}

pub(crate) fn bytes(source: &dyn ReadAt, at: u64, length: u64) -> Vec<u8> {
    let mut out = vec![0; length as usize];
    source.read_at(at, &mut out).unwrap();
    out
}

fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Cut {
    pub(crate) fn of(source: &dyn ReadAt) -> Self {
        let head = bytes(source, 0, 512);
        Self {
            block_bytes: number(&head, 4, 4),
            sector_bytes: number(&head, 102, 2),
            group_blocks: number(&head, 84, 4),
            groups: number(&head, 88, 4),
            group_block_log: head[124],
            is_version_5: head[101] & 15 == 5,
            log: (number(&head, 48, 8), number(&head, 96, 4)),
        }
    }

    fn byte(&self, block: u64) -> u64 {
        ((block >> self.group_block_log) * self.group_blocks + (block & ((1 << self.group_block_log) - 1))) * self.block_bytes
    }

    pub(crate) fn group_byte(&self, group: u64) -> u64 {
        group * self.group_blocks * self.block_bytes
    }

    /// The headers of free space, of inodes and of the free list.
    pub(crate) fn headers(&self, group: u64) -> Extent {
        Extent::new(self.group_byte(group) + self.sector_bytes, 3 * self.sector_bytes)
    }

    pub(crate) fn superblocks(&self) -> Vec<Extent> {
        (0..self.groups).map(|group| Extent::new(self.group_byte(group), self.sector_bytes)).collect()
    }

    /// The roots of the trees of free space, and of inodes.
    fn roots(&self, source: &dyn ReadAt, group: u64) -> Vec<Extent> {
        let start = self.group_byte(group);
        let (space, inodes) = (bytes(source, start + self.sector_bytes, 512), bytes(source, start + 2 * self.sector_bytes, 512));
        let blocks = [number(&space, 16, 4), number(&space, 20, 4), number(&inodes, 20, 4)];
        blocks.into_iter().map(|block| Extent::new(start + block * self.block_bytes, self.block_bytes)).collect()
    }

    fn runs(&self, bytes: &[u8], count: u64, out: &mut Vec<Extent>) {
        for run in bytes.chunks_exact(16).take(count as usize) {
            let (high, low) = (number(run, 0, 8), number(run, 8, 8));
            if high >> 63 == 0 {
                let block = (high & 0x1ff) << 43 | low >> 21;
                out.push(Extent::new(self.byte(block), (low & 0x1f_ffff) * self.block_bytes));
            }
        }
    }

    fn node(&self, source: &dyn ReadAt, block: u64, forks: &mut Forks) {
        let place = Extent::new(self.byte(block), self.block_bytes);
        forks.nodes.push(place);
        let node = bytes(source, place.offset, place.length);
        let header = if self.is_version_5 { 72 } else { 24 };
        let (level, count) = (number(&node, 4, 2), number(&node, 6, 2));
        if level == 0 {
            return self.runs(&node[header..], count, &mut forks.content);
        }
        let room = (node.len() - header) / 16;
        (0..count as usize).for_each(|child| self.node(source, number(&node, header + 8 * (room + child), 8), forks));
    }

    /// What the data fork of an inode leads to.
    pub(crate) fn forks(&self, source: &dyn ReadAt, place: Extent) -> Forks {
        let raw = bytes(source, place.offset, place.length);
        let core = if self.is_version_5 { 176 } else { 100 };
        let room = if raw[82] == 0 { raw.len() - core } else { usize::from(raw[82]) * 8 };
        let fork = &raw[core..core + room];
        let is_wide = self.is_version_5 && number(&raw, 120, 8) & 0x10 != 0;
        let runs = if is_wide { number(&raw, 24, 8) } else { number(&raw, 76, 4) };
        let mut forks = Forks::default();
        match raw[5] {
            2 => self.runs(fork, runs, &mut forks.content),
            3 => {
                let children = (room - 4) / 16;
                for child in 0..number(fork, 2, 2) as usize {
                    self.node(source, number(fork, 4 + 8 * (children + child), 8), &mut forks);
                }
            }
            _ => {}
        }
        forks
    }
}

/// Learns where everything lies.
pub(crate) fn anatomy(source: &dyn ReadAt, intact: &Xfs) -> Anatomy {
    let cut = Cut::of(source);
    let nodes = |_: &Inode, place: Extent| cut.forks(source, place).nodes;
    let mut anatomy = Anatomy::of(intact, &nodes).unwrap();
    for body in anatomy.bodies.iter_mut().filter(|body| body.inode.kind != FileKind::Regular) {
        body.content = cut.forks(source, body.place).content;
    }
    anatomy.superblock = vec![Extent::new(0, cut.sector_bytes)];
    anatomy.descriptors = (0..cut.groups).map(|group| cut.headers(group)).collect();
    anatomy.accounts = (0..cut.groups).flat_map(|group| cut.roots(source, group)).collect();
    anatomy.journal = vec![Extent::new(cut.byte(cut.log.0), cut.log.1 * cut.block_bytes)];
    anatomy
}

/// Bodies by the number of their inode.
pub(crate) fn by_number(anatomy: &Anatomy) -> BTreeMap<InodeNumber, usize> {
    anatomy.bodies.iter().enumerate().map(|(index, body)| (body.inode.number, index)).collect()
}
