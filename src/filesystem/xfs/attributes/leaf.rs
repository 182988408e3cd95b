//! Attributes in blocks: nodes lead to the first of a chain of leaves, and entries of a leaf to names and values.

use std::collections::BTreeSet;

use super::Found;
use crate::filesystem::error::FilesystemError;
use crate::filesystem::fields::Fields;
use crate::filesystem::xfs::fork::Fork;
use crate::filesystem::xfs::remote;
use crate::filesystem::xfs::seal::ATTRIBUTES;

/// Leaves of one inode: 64 MiB of the smallest names would not fill as many.
const MOST_LEAVES: usize = 1 << 16;
/// Levels of nodes above the leaves.
const MOST_LEVELS: u16 = 5;
const ENTRY_BYTES: usize = 8;
/// The value stands beside the name.
const LOCAL: u8 = 0x01;

/// Where things stand in the blocks of a version.
#[derive(Debug)]
struct Layout {
    leaf_magic: u16,
    node_magic: u16,
    /// Of a leaf: entries, of a node: children, with the level behind it.
    count: usize,
    entries: usize,
    children: usize,
}

const LAYOUT_4: Layout = Layout { leaf_magic: 0xfbee, node_magic: 0xfebe, count: 12, entries: 32, children: 16 };
const LAYOUT_5: Layout = Layout { leaf_magic: 0x3bee, node_magic: 0x3ebe, count: 56, entries: 80, children: 64 };

/// A block that was checked.
struct Block {
    at: u64,
    bytes: Vec<u8>,
    magic: u16,
}

/// Adds the attributes of a fork that is kept in blocks.
pub(super) fn read(fork: &Fork<'_>, found: &mut Found) -> Result<(), FilesystemError> {
    if fork.is_empty() {
        return Ok(());
    }
    let layout = if fork.geometry().crc { &LAYOUT_5 } else { &LAYOUT_4 };
    let mut seen = BTreeSet::new();
    let mut number = first_leaf(fork, layout)?;
    loop {
        if !seen.insert(number) || seen.len() > MOST_LEAVES {
            return Err(fork.corrupt(format!("its chain of leaves comes back to block {number}, or never ends")));
        }
        let block = block(fork, layout, number)?;
        let fields = Fields::new(&block.bytes, fork.object(), block.at);
        if block.magic != layout.leaf_magic {
            return Err(fields.corrupt("no leaf of attributes"));
        }
        leaf(fork, layout, &fields, found)?;
        number = fields.be32(0)?.into();
        if number == 0 {
            return Ok(());
        }
    }
}

/// Follows the first child of every node. Ends: levels fall by one.
fn first_leaf(fork: &Fork<'_>, layout: &Layout) -> Result<u64, FilesystemError> {
    let (mut number, mut above) = (0, None);
    loop {
        let block = block(fork, layout, number)?;
        if block.magic == layout.leaf_magic {
            return Ok(number);
        }
        let fields = Fields::new(&block.bytes, fork.object(), block.at);
        let (count, level) = (fields.be16(layout.count)?, fields.be16(layout.count + 2)?);
        let falls = above.map_or(level <= MOST_LEVELS, |above: u16| level.checked_add(1) == Some(above));
        if !falls || level == 0 || count == 0 {
            return Err(fields.corrupt(format!("a node of level {level} with {count} children")));
        }
        above = Some(level);
        number = fields.be32(layout.children + 4)?.into();
    }
}

fn block(fork: &Fork<'_>, layout: &Layout, number: u64) -> Result<Block, FilesystemError> {
    let (at, mut bytes) = fork.block(number)?;
    fork.mend(at, &ATTRIBUTES, &mut bytes);
    let fields = Fields::new(&bytes, fork.object(), at);
    let magic = fields.be16(8)?;
    if magic != layout.leaf_magic && magic != layout.node_magic {
        return Err(fields.corrupt("neither a node nor a leaf of attributes"));
    }
    ATTRIBUTES.check(&fields, fork.geometry(), at, fork.inode())?;
    Ok(Block { at, bytes, magic })
}

fn leaf(fork: &Fork<'_>, layout: &Layout, fields: &Fields<'_>, found: &mut Found) -> Result<(), FilesystemError> {
    for index in 0..usize::from(fields.be16(layout.count)?) {
        let entry = layout.entries + index * ENTRY_BYTES;
        let (at, flags) = (usize::from(fields.be16(entry + 4)?), fields.u8(entry + 6)?);
        if !Found::shows(flags) {
            continue;
        }
        if flags & LOCAL != 0 {
            let (value_bytes, name_bytes) = (usize::from(fields.be16(at)?), usize::from(fields.u8(at + 2)?));
            let name = fields.slice(at + 3, name_bytes)?;
            found.add(fork, flags, name, fields.slice(at + 3 + name_bytes, value_bytes)?)?;
        } else {
            let name = fields.slice(at + 9, fields.u8(at + 8)?.into())?;
            found.add(fork, flags, name, &value(fork, fields, at)?)?;
        }
    }
    Ok(())
}

/// The value of an attribute that has blocks of its own.
fn value(fork: &Fork<'_>, fields: &Fields<'_>, at: usize) -> Result<Vec<u8>, FilesystemError> {
    /// No value is longer.
    const LONGEST_BYTES: usize = 64 << 10;
    let (first, length) = (u64::from(fields.be32(at)?), fields.be32(at + 4)? as usize);
    if length > LONGEST_BYTES {
        return Err(fields.corrupt(format!("a value of {length} bytes")));
    }
    let mut value = Vec::new();
    let mut number = first;
    while value.len() < length {
        let (at, bytes) = fork.block(number)?;
        remote::append(fork, b"XARM", (at, &bytes), length, &mut value)?;
        number += 1;
    }
    Ok(value)
}
