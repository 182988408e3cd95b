//! Changes of an inode: its core as a whole, and the forks that changed.

use super::cancel::Buffer;
use super::core::{CORE_BYTES_3, LogCore};
use super::fork::{self, Room};
use super::item::Item;
use super::put::{put, seal};
use super::ring::BLOCK_BYTES;
use super::state::State;
use super::transaction::Moment;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;

/// A data fork that holds bytes, or extents.
const DATA_COPY: u32 = 0x002 | 0x004;
/// A data fork that is the root of a block map.
const DATA_ROOT: u32 = 0x008;
const DATA: u32 = DATA_COPY | DATA_ROOT;
/// A device's number.
const DEVICE: u32 = 0x010;
/// The same three for the attribute fork.
const ATTRIBUTE_COPY: u32 = 0x040 | 0x080;
const ATTRIBUTE_ROOT: u32 = 0x100;
const ATTRIBUTES: u32 = ATTRIBUTE_COPY | ATTRIBUTE_ROOT;
/// The nodes of the block map get a new owner, for two files exchanged their content.
const OWNER: u32 = 0x200 | 0x400;

/// The format, and the one without padding that machines of 32 bits once wrote.
const FORMAT_BYTES: usize = 56;
const FORMAT_BYTES_PACKED: usize = 52;

const MAGIC: &[u8] = b"IN";
const CHECKSUM: usize = 100;
/// Times of writing are counted up to here, and then from zero.
const MOST_FLUSHES: u16 = 0xffff;

/// What a log item says of its inode.
#[derive(Debug)]
pub(super) struct Format {
    regions: u16,
    fields: u32,
    /// Which inode.
    pub(super) inode: u64,
    device: u32,
    buffer: Buffer,
    offset: u64,
}

impl Format {
    /// Reads the first region of an item, of a transaction that began at `byte`.
    pub(super) fn read(region: &[u8], byte: u64) -> Result<Self, FilesystemError> {
        let fields = Fields::new(region, Object::Journal, byte);
        let padding = match region.len() {
            FORMAT_BYTES_PACKED => 0,
            FORMAT_BYTES.. => FORMAT_BYTES - FORMAT_BYTES_PACKED,
            length => return Err(fields.corrupt(format!("an inode in the log whose format has {length} bytes"))),
        };
        Ok(Self {
            regions: fields.le16(2)?,
            fields: fields.le32(4)?,
            inode: fields.le64(12 + padding)?,
            device: fields.le32(20 + padding)?,
            buffer: Buffer { block: fields.le64(36 + padding)?, blocks: fields.le32(44 + padding)?.into() },
            offset: fields.le32(48 + padding)?.into(),
        })
    }

    /// True when the item has the content of the data fork, or the number of a device.
    pub(super) fn has_data(&self) -> bool {
        self.fields & DEVICE != 0 || self.fields & DATA != 0 && self.regions > 2
    }

    /// True when it has that of the attribute fork.
    pub(super) fn has_attributes(&self) -> bool {
        self.fields & ATTRIBUTES != 0 && self.regions > 2
    }

    /// Where the inode lies.
    fn place(&self, inode_bytes: u16, byte: u64) -> Result<u64, FilesystemError> {
        let inode_bytes = u64::from(inode_bytes).max(1);
        let inside = self.offset + inode_bytes <= self.buffer.blocks * BLOCK_BYTES && self.offset.is_multiple_of(inode_bytes);
        let place = self.buffer.block.checked_mul(BLOCK_BYTES).and_then(|start| start.checked_add(self.offset));
        place.filter(|_| inside).ok_or_else(|| {
            let what = format!("inode {} in the log at {} in block {}", self.inode, self.offset, self.buffer.block);
            FilesystemError::corrupt(Object::Journal, byte, what)
        })
    }
}

/// What became of an inode's change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was applied.
    Applied,
    /// It was applied, and the nodes of this inode's block map still name another owner: two files exchanged their content, which
    /// defragmentation does. The kernel goes through the nodes; here the inode is named as uncertain.
    OwnerChanges(u64),
    /// Its chunk is freed further on, or what lies there is newer.
    Passed,
}

/// Applies the change of an inode.
pub(super) fn replay(item: &Item, moment: Moment, state: &mut State) -> Result<Outcome, FilesystemError> {
    let format = Format::read(item.format(), moment.byte)?;
    if state.cancelled.contains(format.buffer) {
        return Ok(Outcome::Passed);
    }
    let place = format.place(state.facts.inode_bytes, moment.byte)?;
    let mut inode = state.target.read(place, state.facts.inode_bytes.into())?;
    if !inode.starts_with(MAGIC) {
        let what = format!("inode {} in the log belongs where no inode lies", format.inode);
        return Err(FilesystemError::corrupt(Object::Journal, moment.byte, what));
    }
    let core = LogCore::read(region(item, 1, moment)?)?;
    let newer = is_newer(&Fields::new(&inode, Object::Inode(format.inode), place), &core, moment, state.facts.crc)?;
    if !newer {
        put_into(&mut inode, item, moment, state.facts.crc)?;
        state.target.write(place, &inode)?;
    }
    Ok(match (format.fields & OWNER, newer) {
        (0, true) => Outcome::Passed,
        (0, false) => Outcome::Applied,
        _ => Outcome::OwnerChanges(format.inode),
    })
}

/// Puts what an item says in place of an inode.
pub(super) fn put_into(inode: &mut [u8], item: &Item, moment: Moment, crc: bool) -> Result<(), FilesystemError> {
    let format = Format::read(item.format(), moment.byte)?;
    let core = LogCore::read(region(item, 1, moment)?)?;
    core.put_into(inode, moment.lsn)?;
    put_forks(inode, item, &format, &core, (moment, crc))?;
    if core.core_bytes() == CORE_BYTES_3 { seal(inode, CHECKSUM) } else { Ok(()) }
}

fn region(item: &Item, index: usize, moment: Moment) -> Result<Fields<'_>, FilesystemError> {
    let missing = || FilesystemError::corrupt(Object::Journal, moment.byte, "an inode in the log with too few regions");
    Ok(Fields::new(item.region(index).ok_or_else(missing)?, Object::Journal, moment.byte))
}

/// True when what lies on disk was written after this change. Equal age says nothing: several transactions can have it.
fn is_newer(disk: &Fields<'_>, core: &LogCore<'_>, moment: Moment, crc: bool) -> Result<bool, FilesystemError> {
    if crc {
        let lsn = if disk.u8(4)? >= 3 { disk.be64(112)? } else { 0 };
        return Ok(lsn != u64::MAX && lsn > moment.lsn);
    }
    let (there, logged) = (disk.be16(30)?, core.flush_count()?);
    let wrapped = there == MOST_FLUSHES && logged < MOST_FLUSHES / 2;
    Ok(logged < there && !wrapped)
}

fn put_forks(
    inode: &mut [u8],
    item: &Item,
    format: &Format,
    core: &LogCore<'_>,
    (moment, crc): (Moment, bool),
) -> Result<(), FilesystemError> {
    let (data, attributes) = rooms(inode, core.core_bytes());
    if format.fields & DEVICE != 0 {
        put(inode, data.offset, &format.device.to_be_bytes())?;
    }
    // With two regions, none is a fork.
    if format.regions <= 2 {
        return Ok(());
    }
    match format.fields & DATA {
        0 => {}
        DATA_ROOT => fork::put_root(inode, data, &region(item, 2, moment)?, crc)?,
        _ => fork::copy(inode, data, &region(item, 2, moment)?)?,
    }
    let index = if format.fields & DATA == 0 { 2 } else { 3 };
    match format.fields & ATTRIBUTES {
        0 => Ok(()),
        ATTRIBUTE_ROOT => fork::put_root(inode, attributes, &region(item, index, moment)?, crc),
        _ => fork::copy(inode, attributes, &region(item, index, moment)?),
    }
}

/// Where the forks lie: the core says where the second begins, in units of 8 bytes; 0 for none.
fn rooms(inode: &[u8], core_bytes: usize) -> (Room, Room) {
    let space = inode.len().saturating_sub(core_bytes);
    let split = usize::from(inode.get(82).copied().unwrap_or(0)) * 8;
    let data = if split == 0 { space } else { split.min(space) };
    let attributes = if split == 0 { 0 } else { space.saturating_sub(split) };
    (Room { offset: core_bytes, length: data }, Room { offset: core_bytes + data, length: attributes })
}
