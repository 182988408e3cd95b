//! What an intact volume holds, and where: by our strict reader, and a plain one for what that one does not tell.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use icecore::base::extent::Extent;
use icecore::base::io::ReadAt;
use icecore::filesystem::{Ext, FileKind, Filesystem, Inode, Source};
use icecore::testkit::damage::Anatomy;
use icecore::testkit::image::FileSource;

const EXTENT_MAGIC: u64 = 0xF30A;

/// An intact volume.
#[derive(Debug)]
pub(crate) struct Intact {
    /// Every superblock and every copy of one, with the descriptors behind it.
    pub(crate) copies: Vec<Extent>,
    pub(crate) ext: Ext,
    pub(crate) anatomy: Anatomy,
    /// The names in each directory block: where the block lies, of which directory it is, and what it names.
    pub(crate) blocks: Vec<Block>,
    /// The names of each directory.
    pub(crate) names: BTreeMap<u64, BTreeMap<Vec<u8>, u64>>,
}

#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) place: Extent,
    pub(crate) directory: Inode,
    pub(crate) names: BTreeMap<Vec<u8>, u64>,
}

/// Little-endian numbers anywhere in an image.
struct Reader {
    source: FileSource,
    block_bytes: u64,
}

impl Reader {
    fn bytes(&self, at: u64, length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        self.source.read_at(at, &mut out).unwrap();
        out
    }

    fn number(&self, at: u64, length: usize) -> u64 {
        self.bytes(at, length).iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// Blocks that hold the map of the inode at `place`.
    fn nodes(&self, inode: &Inode, place: Extent) -> Vec<Extent> {
        let mut nodes = Vec::new();
        let flags = self.number(place.offset + 32, 4);
        let mapped = inode.kind == FileKind::Regular || inode.is_directory();
        if flags & 0x8_0000 != 0 {
            self.tree(place.offset + 40, &mut nodes);
        } else if mapped && flags & 0x1000_0000 == 0 {
            (1..=3).for_each(|level| self.pointers(place.offset + 40 + 4 * (11 + level), level, &mut nodes));
        }
        nodes
    }

    fn tree(&self, node: u64, nodes: &mut Vec<Extent>) {
        assert_eq!(self.number(node, 2), EXTENT_MAGIC);
        if self.number(node + 6, 2) == 0 {
            return;
        }
        for entry in 1..=self.number(node + 2, 2) {
            let at = node + 12 * entry;
            let child = (self.number(at + 4, 4) | self.number(at + 8, 2) << 32) * self.block_bytes;
            nodes.push(Extent::new(child, self.block_bytes));
            self.tree(child, nodes);
        }
    }

    fn pointers(&self, at: u64, level: u64, nodes: &mut Vec<Extent>) {
        let block = self.number(at, 4) * self.block_bytes;
        if block == 0 {
            return;
        }
        nodes.push(Extent::new(block, self.block_bytes));
        if level > 1 {
            (0..self.block_bytes / 4).for_each(|slot| self.pointers(block + 4 * slot, level - 1, nodes));
        }
    }

    /// The names in a block, and the entries `.` and `..` too.
    fn names(&self, block: Extent) -> BTreeMap<Vec<u8>, u64> {
        let mut names = BTreeMap::new();
        let mut at = block.offset;
        while at < block.end() {
            let (inode, length, name_bytes) = (self.number(at, 4), self.number(at + 4, 2), self.number(at + 6, 1) as usize);
            if inode != 0 {
                names.insert(self.bytes(at + 8, name_bytes), inode);
            }
            at += length;
        }
        names
    }
}

impl Intact {
    /// Learns everything about an image of less than 4 GiB.
    pub(crate) fn learn(image: &Path) -> Self {
        let ext = Ext::open(Arc::new(FileSource::open(image).unwrap())).unwrap();
        let block_bytes = u64::from(ext.identity().block_bytes);
        let reader = Reader { source: FileSource::open(image).unwrap(), block_bytes };
        let mut anatomy = Anatomy::of(&ext, &|inode, place| reader.nodes(inode, place)).unwrap();
        anatomy.superblock = vec![Extent::new(1024, 1024)];
        let (descriptors, accounts, journal) = groups(&reader);
        (anatomy.descriptors, anatomy.accounts, anatomy.journal) = (descriptors, accounts, journal);
        let blocks = blocks(&ext, &anatomy, &reader);
        let names = names(&ext, &anatomy);
        let copies = copies(&reader);
        Self { copies, ext, anatomy, blocks, names }
    }
}

/// Where descriptors, bitmaps and the journal lie.
fn groups(reader: &Reader) -> (Vec<Extent>, Vec<Extent>, Vec<Extent>) {
    let field = |at: u64, length| reader.number(1024 + at, length);
    let (blocks, first, per_group, per_table) = (field(4, 4), field(20, 4), field(32, 4), field(40, 4));
    let bytes = if field(96, 4) & 0x80 == 0 { 32 } else { field(254, 2) };
    let meta = field(96, 4) & 0x10 != 0;
    let per_block = reader.block_bytes / bytes;
    let is_keeper = |group: u64| group <= 1 || [3, 5, 7].iter().any(|base: &u64| (1..9).any(|power| base.pow(power) == group));
    let (mut descriptors, mut accounts, mut table) = (Vec::new(), Vec::new(), 0);
    for group in 0..(blocks - first).div_ceil(per_group) {
        let index = group / per_block;
        let block = match meta {
            true => first + index * per_block * per_group + u64::from(is_keeper(index * per_block)),
            false => 1024 / reader.block_bytes + 1 + index,
        };
        let place = Extent::new(block * reader.block_bytes, reader.block_bytes);
        let at = place.offset + group % per_block * bytes;
        accounts.extend([0, 4].map(|field| Extent::new(reader.number(at + field, 4) * reader.block_bytes, reader.block_bytes)));
        table = if group == 0 { reader.number(at + 8, 4) * reader.block_bytes } else { table };
        if !descriptors.contains(&place) {
            descriptors.push(place);
        }
    }
    assert!(per_table > 8);
    (descriptors, accounts, journal(reader, table + 7 * field(88, 2)))
}

/// Every superblock, with the descriptors that follow it or stand where it would.
fn copies(reader: &Reader) -> Vec<Extent> {
    let field = |at: u64, length| reader.number(1024 + at, length);
    let (blocks, first, per_group) = (field(4, 4), field(20, 4), field(32, 4));
    let bytes = if field(96, 4) & 0x80 == 0 { 32 } else { field(254, 2) };
    let groups = (blocks - first).div_ceil(per_group);
    let length = (1 + (groups * bytes).div_ceil(reader.block_bytes)) * reader.block_bytes;
    let mut copies = vec![Extent::new(1024, length.max(2048))];
    for at in (1..groups).map(|group| (first + group * per_group) * reader.block_bytes) {
        let has_superblock = reader.number(at + 56, 2) == 0xEF53;
        if has_superblock {
            copies.push(Extent::new(at, length));
        } else if field(96, 4) & 0x10 != 0 {
            copies.push(Extent::new(at, reader.block_bytes));
        }
    }
    copies
}

fn journal(reader: &Reader, inode: u64) -> Vec<Extent> {
    let has_tree = reader.number(inode + 32, 4) & 0x8_0000 != 0 && reader.number(inode + 40 + 6, 2) == 0;
    let extents = if has_tree { reader.number(inode + 40 + 2, 2) } else { 0 };
    let extent = |entry: u64| {
        let at = inode + 40 + 12 * entry;
        Extent::new(reader.number(at + 8, 4) * reader.block_bytes, reader.number(at + 4, 2) * reader.block_bytes)
    };
    let first = Extent::new(reader.number(inode + 40, 4) * reader.block_bytes, reader.block_bytes);
    match has_tree {
        true => (1..=extents).map(extent).collect(),
        // Of a map of pointers the first block is enough: the journal's superblock.
        false => Some(first).filter(|block| block.offset > 0).into_iter().collect(),
    }
}

fn names(ext: &Ext, anatomy: &Anatomy) -> BTreeMap<u64, BTreeMap<Vec<u8>, u64>> {
    let mut names: BTreeMap<u64, BTreeMap<Vec<u8>, u64>> = BTreeMap::new();
    for body in anatomy.bodies.iter().filter(|body| body.inode.is_directory()) {
        let found = names.entry(body.inode.number.0).or_default();
        ext.list(&body.inode, &mut |entry| {
            found.insert(entry.name, entry.inode.0);
            ControlFlow::Continue(())
        })
        .unwrap();
    }
    names
}

fn blocks(ext: &Ext, anatomy: &Anatomy, reader: &Reader) -> Vec<Block> {
    let mut blocks = Vec::new();
    for body in anatomy.bodies.iter().filter(|body| body.inode.is_directory()) {
        let segments = ext.map(&body.inode, Extent::new(0, body.inode.size)).unwrap();
        for segment in segments {
            let Source::Disk(at) = segment.source else { continue };
            for place in Extent::new(at, segment.extent.length).cut(reader.block_bytes) {
                blocks.push(Block { place, directory: body.inode.clone(), names: reader.names(place) });
            }
        }
    }
    blocks
}
