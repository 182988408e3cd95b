//! Trees within an allocation group: sorted records in leaves, and nodes of keys and children above them.

use super::disk::Disk;
use super::seal::GROUP_TREE;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;

pub(super) mod around;

/// More levels than any tree of 2^31 blocks needs.
const MOST_LEVELS: u32 = 9;
const HEADER_BYTES_4: usize = 16;
const HEADER_BYTES_5: usize = 56;
const CHILD_BYTES: usize = 4;

/// What a tree is made of. Keys and records of most begin with the number that sorts them.
#[derive(Debug)]
pub(super) struct Tree {
    magic_4: &'static [u8],
    magic_5: &'static [u8],
    key_bytes: usize,
    record_bytes: usize,
    /// Where the number stands that sorts items before the first one does.
    major: Option<usize>,
}

/// Free runs: first block, blocks.
pub(super) const FREE_SPACE: Tree = Tree { magic_4: b"ABTB", magic_5: b"AB3B", key_bytes: 8, record_bytes: 8, major: None };
/// The same, the shortest run first.
pub(super) const FREE_BY_LENGTH: Tree = Tree { magic_4: b"ABTC", magic_5: b"AB3C", major: Some(4), ..FREE_SPACE };
/// Inode chunks: first inode, holes and counts, which are free.
pub(super) const INODES: Tree = Tree { magic_4: b"IABT", magic_5: b"IAB3", key_bytes: 4, record_bytes: 16, major: None };

/// Where a tree begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Root {
    pub(super) group: u32,
    pub(super) block: u32,
    pub(super) levels: u32,
}

/// A node or a leaf that was checked.
#[derive(Debug)]
struct Node {
    bytes: Vec<u8>,
    at: u64,
    group: u32,
    count: usize,
    header: usize,
    /// Bytes of a key in a node, of a record in a leaf.
    item_bytes: usize,
    /// Where the children of a node stand.
    children: usize,
}

impl Tree {
    /// Shows every record in order.
    pub(super) fn each<F>(&self, disk: &Disk, root: Root, visit: &mut F) -> Result<(), FilesystemError>
    where
        F: FnMut(&Fields<'_>) -> Result<(), FilesystemError>,
    {
        let mut previous = None;
        self.below(disk, root, &mut |first, record: &Fields<'_>| {
            if previous.is_some_and(|previous: u64| previous >= first) {
                return Err(record.corrupt("its records are out of order"));
            }
            previous = Some(first);
            visit(record)
        })
    }

    /// Ends: levels fall by one with every step, and no leaf is seen twice, for its records would then be out of order.
    fn below<F>(&self, disk: &Disk, root: Root, visit: &mut F) -> Result<(), FilesystemError>
    where
        F: FnMut(u64, &Fields<'_>) -> Result<(), FilesystemError>,
    {
        let node = self.node(disk, root)?;
        for index in 0..node.count {
            match root.levels {
                1 => visit(node.rank(index, self.major)?, &node.item(index)?)?,
                _ => self.below(disk, node.child(index, root)?, visit)?,
            }
        }
        Ok(())
    }

    /// The last record that begins at or before `target`.
    pub(super) fn at_or_before(&self, disk: &Disk, root: Root, target: u32) -> Result<Option<Vec<u8>>, FilesystemError> {
        let mut root = root;
        loop {
            let node = self.node(disk, root)?;
            let Some(index) = node.at_or_before(target)? else { return Ok(None) };
            if root.levels == 1 {
                return Ok(Some(node.item(index)?.bytes().to_vec()));
            }
            root = node.child(index, root)?;
        }
    }

    /// Reads and checks the node that a tree, or a part of one, begins with.
    fn node(&self, disk: &Disk, root: Root) -> Result<Node, FilesystemError> {
        let object = Object::Group(root.group);
        let wrong = |what: String| FilesystemError::corrupt(object, disk.geometry().group_byte(root.group), what);
        if !(1..=MOST_LEVELS).contains(&root.levels) {
            return Err(wrong(format!("a tree of {} levels", root.levels)));
        }
        let at = disk.geometry().in_group(root.group, root.block, 1);
        let at = at.ok_or_else(|| wrong(format!("a tree leads to its block {}, which cannot be", root.block)))?;
        let mut bytes = disk.block(object, at)?;
        disk.mend(object, at, &GROUP_TREE, &mut bytes);
        self.check(disk, &Fields::new(&bytes, object, at), at, root)?;
        let (crc, leaf, length) = (disk.geometry().crc, root.levels == 1, bytes.len());
        let header = if crc { HEADER_BYTES_5 } else { HEADER_BYTES_4 };
        let item_bytes = if leaf { self.record_bytes } else { self.key_bytes };
        let most = length.saturating_sub(header) / if leaf { item_bytes } else { item_bytes + CHILD_BYTES };
        let count = usize::from(Fields::new(&bytes, object, at).be16(6)?);
        if count > most {
            return Err(FilesystemError::corrupt(object, at, format!("{count} records where {most} have room")));
        }
        Ok(Node { bytes, at, group: root.group, count, header, item_bytes, children: header + most * item_bytes })
    }

    fn check(&self, disk: &Disk, fields: &Fields<'_>, at: u64, root: Root) -> Result<(), FilesystemError> {
        let magic = if disk.geometry().crc { self.magic_5 } else { self.magic_4 };
        if fields.slice(0, 4)? != magic {
            return Err(fields.corrupt(format!("no {} node", String::from_utf8_lossy(magic))));
        }
        GROUP_TREE.check(fields, disk.geometry(), at, root.group.into())?;
        let level = u32::from(fields.be16(4)?);
        if level + 1 != root.levels {
            return Err(fields.corrupt(format!("a node of level {level} where level {} belongs", root.levels - 1)));
        }
        Ok(())
    }
}

impl Node {
    fn fields(&self) -> Fields<'_> {
        Fields::new(&self.bytes, Object::Group(self.group), self.at)
    }

    fn item(&self, index: usize) -> Result<Fields<'_>, FilesystemError> {
        let bytes = self.fields().slice(self.header + index * self.item_bytes, self.item_bytes)?;
        Ok(Fields::new(bytes, Object::Group(self.group), self.at))
    }

    /// The number that sorts an item.
    fn first(&self, index: usize) -> Result<u32, FilesystemError> {
        self.item(index)?.be32(0)
    }

    /// What sorts it.
    fn rank(&self, index: usize, major: Option<usize>) -> Result<u64, FilesystemError> {
        let item = self.item(index)?;
        let major = major.map_or(Ok(0), |offset| item.be32(offset))?;
        Ok(u64::from(major) << 32 | u64::from(item.be32(0)?))
    }

    fn child(&self, index: usize, root: Root) -> Result<Root, FilesystemError> {
        let block = self.fields().be32(self.children + index * CHILD_BYTES)?;
        Ok(Root { group: root.group, block, levels: root.levels - 1 })
    }

    fn at_or_before(&self, target: u32) -> Result<Option<usize>, FilesystemError> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            if self.first(middle)? <= target {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low.checked_sub(1))
    }
}
