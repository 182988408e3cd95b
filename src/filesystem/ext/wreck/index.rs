//! The index of a large directory, as a witness: which names belong into which of its blocks.
//!
//! ```text
//!   block 0   `.`  `..`  │ root: hash ► block, ascending          up to two levels of nodes between
//!   node      empty entry │ hash ► block                          a leaf has the names from its hash to the next one
//! ```
//! Without checksums, a name of which a bit was flipped looks like any other. Its hash, though, is as good as random, and seldom leads
//! to the block that the name stands in.

use std::collections::HashMap;

use super::super::Ext;
use super::super::name_hash::NameHash;
use super::super::record::Record;
use crate::base::extent::Extent;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::face::Source;
use crate::filesystem::fields::Fields;
use crate::filesystem::inode::Inode;
use crate::filesystem::wreck::FoundName;

/// Behind the entries `.` and `..`: the kind of hash, the length of all that, and how many levels of nodes follow.
const HASH_NUMBER: usize = 28;
const INFO_LENGTH: usize = 29;
const LEVELS: usize = 30;
const INFO: usize = 24;
/// Behind the empty entry of a node.
const NODE: usize = 8;
const MOST_LEVELS: u8 = 3;
/// Leaves that are known of, at some 40 bytes each.
const MOST_LEAVES: usize = 1 << 18;
/// Of so many names in a block, one may be in the wrong place. If more are, the index is wrong.
const NAMES_FOR_ONE: usize = 4;

/// The hashes of the names in a leaf.
#[derive(Debug, Clone, Copy)]
struct Hashes {
    first: u32,
    /// Where the next leaf begins; none for the last.
    next: Option<u32>,
}

impl Hashes {
    /// Names with one hash can fill more than a block: the next one then begins with the same hash, and an odd number says so.
    fn hold(&self, hash: u32) -> bool {
        let before_next = self.next.is_none_or(|next| hash < next || next & 1 == 1 && hash == next & !1);
        self.first & !1 <= hash && before_next
    }
}

/// Which hashes each block of a directory has.
#[derive(Debug)]
pub(super) struct DirectoryIndex {
    hash: NameHash,
    leaves: HashMap<u64, Hashes>,
}

impl DirectoryIndex {
    /// Reads the index, as far as it makes sense. `None` for a directory without one.
    pub(super) fn read(ext: &Ext, directory: &Inode, record: &Record<'_>) -> Option<Self> {
        let superblock = &ext.volume.superblock;
        if !record.is_indexed(superblock).ok()? || directory.encrypted {
            return None;
        }
        let mut reader = Reader::new(ext, directory);
        let root = reader.block(0).ok()?;
        let fields = reader.fields(&root);
        let hash = NameHash::numbered(fields.u8(HASH_NUMBER).ok()?, superblock)?;
        let levels = fields.u8(LEVELS).ok().filter(|levels| *levels < MOST_LEVELS)?;
        let at = INFO + usize::from(fields.u8(INFO_LENGTH).ok()?);
        reader.collect(&root, at, levels, Hashes { first: 0, next: None });
        Some(Self { hash, leaves: reader.leaves })
    }

    /// Takes from the names of a block those that do not belong into it.
    pub(super) fn take_misplaced(&self, block: u64, names: &mut Vec<FoundName>) -> Vec<FoundName> {
        let Some(hashes) = self.leaves.get(&block) else { return Vec::new() };
        let is_misplaced = |name: &FoundName| !hashes.hold(self.hash.of(&name.name));
        let count = names.iter().filter(|name| is_misplaced(name)).count();
        if count * NAMES_FOR_ONE > names.len() {
            return Vec::new();
        }
        names.extract_if(.., |name| is_misplaced(name)).collect()
    }
}

/// Goes through the nodes of one directory.
struct Reader<'a> {
    ext: &'a Ext,
    directory: &'a Inode,
    object: Object,
    /// Blocks that the directory has.
    blocks: u64,
    /// Nodes that may still be read: no more than there are blocks, or some are met twice.
    nodes_left: u64,
    leaves: HashMap<u64, Hashes>,
}

impl<'a> Reader<'a> {
    fn new(ext: &'a Ext, directory: &'a Inode) -> Self {
        let blocks = directory.size.div_ceil(ext.volume.block_bytes());
        let object = Object::Directory(directory.number.0);
        Self { ext, directory, object, blocks, nodes_left: blocks, leaves: HashMap::new() }
    }

    fn block(&mut self, logical: u64) -> Result<Vec<u8>, FilesystemError> {
        let volume = &self.ext.volume;
        let lost = |what: &str| FilesystemError::corrupt(self.object, 0, format!("block {logical} of its index {what}"));
        self.nodes_left = self.nodes_left.checked_sub(1).ok_or_else(|| lost("is one too many"))?;
        let place = Extent::new(volume.place_of(logical), volume.block_bytes());
        match self.ext.segments(self.directory, place)?.first().map(|segment| &segment.source) {
            Some(Source::Disk(at)) => volume.block(self.object, at / volume.block_bytes()),
            _ => Err(lost("is missing")),
        }
    }

    fn fields<'b>(&self, bytes: &'b [u8]) -> Fields<'b> {
        Fields::new(bytes, self.object, 0)
    }

    /// Adds the leaves below a node, whose table begins at byte `at`.
    fn collect(&mut self, node: &[u8], at: usize, levels: u8, within: Hashes) {
        let Some(entries) = self.entries(node, at, within) else { return };
        for (index, (first, block)) in entries.iter().enumerate() {
            if self.leaves.len() >= MOST_LEAVES {
                return;
            }
            let next = entries.get(index + 1).map(|(hash, _)| *hash).or(within.next);
            let hashes = Hashes { first: *first, next };
            if levels == 0 {
                self.leaves.insert(*block, hashes);
            } else if let Ok(below) = self.block(*block) {
                self.collect(&below, NODE, levels - 1, hashes);
            }
        }
    }

    /// The first hash and the block of each child, if all of them make sense.
    fn entries(&self, node: &[u8], at: usize, within: Hashes) -> Option<Vec<(u32, u64)>> {
        let fields = self.fields(node);
        let count = usize::from(fields.le16(at + 2).ok()?);
        let mut entries = vec![(within.first, u64::from(fields.le32(at + 4).ok()?))];
        for index in 1..count {
            let place = at + index * 8;
            entries.push((fields.le32(place).ok()?, u64::from(fields.le32(place + 4).ok()?)));
        }
        let ascend = entries.is_sorted_by(|one, two| one.0 < two.0);
        let exist = entries.iter().all(|(_, block)| (1..self.blocks).contains(block));
        (ascend && exist && count > 0).then_some(entries)
    }
}
