//! What structures that know themselves say of the volume they are in, when no superblock is left to say it.
//!
//! In version 5, the one length over which a structure's checksum is right tells how long sectors, blocks, inodes and directory blocks
//! are; what each says of its own place tells how the volume is cut. In version 4, only the headers of groups know their place.

use super::votes::Votes;
use crate::filesystem::error::Object;
use crate::filesystem::fields::Fields;
use crate::filesystem::xfs::log::Sightings;
use crate::filesystem::xfs::seal::checksum;

/// Witnesses that are remembered of each kind, and inodes in one stretch of 2^20 bytes: those of many places tell more.
const MOST_WITNESSES: usize = 1 << 15;
const MOST_INODES_IN_A_STRETCH: usize = 32;
const STRETCH_LOG: u32 = 20;
/// Powers of two that lengths can be.
const SECTORS: [u32; 2] = [9, 15];
const BLOCKS: [u32; 2] = [9, 16];
const INODES: [u32; 2] = [9, 11];
const SHORTEST_INODES: [usize; 3] = [256, 512, 1024];
/// Places are counted in these.
const PLACE_UNIT_BYTES: u64 = 512;
const DIRECTORY_MODE: u8 = 0x40;
const FORMAT_LOCAL: u8 = 1;
const KIND_OF_DIRECTORY: u8 = 2;

/// A header of a group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) at: u64,
    /// The sector of the group in which it stands.
    pub(super) sector: u64,
    pub(super) group: u32,
    pub(super) blocks: u32,
}

/// An inode, or the node of a tree of a group: what it is called, and where it lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Witness {
    pub(super) at: u64,
    pub(super) number: u64,
}

/// Everything that was heard.
#[derive(Debug, Default)]
pub(super) struct Testimony {
    pub(super) logs: Sightings,
    pub(super) headers: Vec<Header>,
    pub(super) inodes: Vec<Witness>,
    pub(super) nodes: Vec<Witness>,
    pub(super) uuids: Votes<[u8; 16]>,
    pub(super) sector_bytes: Votes<u64>,
    pub(super) block_bytes: Votes<u64>,
    pub(super) inode_bytes: Votes<u64>,
    pub(super) directory_bytes: Votes<u64>,
    /// Directories that call themselves their parent.
    pub(super) roots: Votes<u64>,
    /// Whether entries of directories in version 4 say kinds.
    pub(super) kinds: Votes<bool>,
    /// Bits of `sb_features_ro_compat`, by the trees that were seen.
    pub(super) read_only_features: u32,
    in_stretch: (u64, usize),
}

impl Testimony {
    /// Takes what begins at byte `at`. `bytes` go on behind it, for 64 KiB if the volume does.
    pub(super) fn hear(&mut self, at: u64, bytes: &[u8]) {
        let Some(magic) = bytes.first_chunk::<4>() else { return };
        let fields = Fields::new(bytes, Object::Superblock, at);
        let _told = match magic {
            [0xfe, 0xed, 0xba, 0xbe] => bytes.get(..512).map(|block| self.logs.hear(at, block)),
            b"XAGF" => self.header(&fields, at, 1, [216, 64]),
            b"XAGI" => self.header(&fields, at, 2, [312, 296]),
            b"AB3B" | b"AB3C" | b"IAB3" => self.node(&fields, at, 0),
            b"FIB3" => self.node(&fields, at, 1),
            b"RMB3" => self.node(&fields, at, 2),
            b"R3FC" => self.node(&fields, at, 4),
            b"BMA3" => self.map_node(&fields, at),
            b"XDB3" | b"XDD3" => self.directory(&fields, at),
            b"XD2B" | b"XD2D" => self.plain_directory(&fields),
            _ if bytes.starts_with(b"IN") => self.inode(&fields, at),
            _ => None,
        };
    }

    fn header(&mut self, fields: &Fields<'_>, at: u64, sector: u64, [sum, uuid]: [usize; 2]) -> Option<()> {
        if let Some(sector_bytes) = sealed_length(fields, sum, SECTORS) {
            self.sector_bytes.add(sector_bytes);
            self.uuids.add(fields.array(uuid).ok()?);
        }
        let is_one = fields.be32(4).ok()? == 1 && self.headers.len() < MOST_WITNESSES;
        let header = Header { at, sector, group: fields.be32(8).ok()?, blocks: fields.be32(12).ok()? };
        is_one.then(|| self.headers.push(header))
    }

    fn node(&mut self, fields: &Fields<'_>, at: u64, feature: u32) -> Option<()> {
        let block_bytes = sealed_length(fields, 52, BLOCKS).filter(|_| is_in_place(fields, 16, at))?;
        self.block_bytes.add(block_bytes);
        self.uuids.add(fields.array(32).ok()?);
        self.read_only_features |= feature;
        let number = fields.be32(48).ok()?.into();
        (self.nodes.len() < MOST_WITNESSES).then(|| self.nodes.push(Witness { at, number }))
    }

    fn map_node(&mut self, fields: &Fields<'_>, at: u64) -> Option<()> {
        let block_bytes = sealed_length(fields, 64, BLOCKS).filter(|_| is_in_place(fields, 24, at))?;
        self.block_bytes.add(block_bytes);
        self.uuids.add(fields.array(40).ok()?);
        Some(())
    }

    fn directory(&mut self, fields: &Fields<'_>, at: u64) -> Option<()> {
        let bytes = sealed_length(fields, 4, BLOCKS).filter(|_| is_in_place(fields, 8, at))?;
        self.directory_bytes.add(bytes);
        self.uuids.add(fields.array(24).ok()?);
        self.first_entries(fields, 64)
    }

    fn plain_directory(&mut self, fields: &Fields<'_>) -> Option<()> {
        self.first_entries(fields, 16)?;
        self.kinds.add(fields.u8(16 + 10).ok()? == KIND_OF_DIRECTORY);
        Some(())
    }

    /// The first block of a directory begins with itself and its parent.
    fn first_entries(&mut self, fields: &Fields<'_>, start: usize) -> Option<()> {
        let is_first = fields.slice(start + 8, 2).ok()? == b"\x01." && fields.slice(start + 24, 3).ok()? == b"\x02..";
        let itself = fields.be64(start).ok().filter(|_| is_first)?;
        if itself == fields.be64(start + 16).ok()? {
            self.roots.add(itself);
        }
        Some(())
    }

    fn inode(&mut self, fields: &Fields<'_>, at: u64) -> Option<()> {
        match fields.u8(4).ok()? {
            3 => self.sealed_inode(fields, at),
            1 | 2 => self.plain_inode(fields),
            _ => None,
        }
    }

    fn sealed_inode(&mut self, fields: &Fields<'_>, at: u64) -> Option<()> {
        if self.in_stretch.0 != at >> STRETCH_LOG {
            self.in_stretch = (at >> STRETCH_LOG, 0);
        }
        let (number, is_directory) = (fields.be64(152).ok()?, fields.u8(2).ok()? >> 4 == DIRECTORY_MODE >> 4);
        let is_wanted = self.in_stretch.1 < MOST_INODES_IN_A_STRETCH && self.inodes.len() < MOST_WITNESSES;
        let parent = if is_directory { local_parent(fields) } else { None };
        if !is_wanted && parent != Some(number) {
            return None;
        }
        let inode_bytes = sealed_length(fields, 100, INODES)?;
        self.inode_bytes.add(inode_bytes);
        self.uuids.add(fields.array(160).ok()?);
        if parent == Some(number) {
            self.roots.add(number);
        }
        self.in_stretch.1 += 1;
        is_wanted.then(|| self.inodes.push(Witness { at, number }))
    }

    /// Inodes of version 4 stand side by side, and know nothing of their place.
    fn plain_inode(&mut self, fields: &Fields<'_>) -> Option<()> {
        let follows = |bytes: &&usize| fields.slice(**bytes, 2).is_ok_and(|magic| magic == b"IN");
        let distance = SHORTEST_INODES.iter().find(follows)?;
        self.inode_bytes.add(*distance as u64);
        Some(())
    }
}

/// The parent of a directory that fits its inode of version 3.
fn local_parent(fields: &Fields<'_>) -> Option<u64> {
    let is_wide = fields.u8(177).ok()? > 0;
    let parent = if is_wide { fields.be64(178).ok()? } else { fields.be32(178).ok()?.into() };
    (fields.u8(5).ok()? == FORMAT_LOCAL).then_some(parent)
}

/// The length over which the checksum at `offset` is right.
fn sealed_length(fields: &Fields<'_>, offset: usize, [least, most]: [u32; 2]) -> Option<u64> {
    (least..=most).map(|log| 1_usize << log).find_map(|length| {
        let whole = Fields::new(fields.slice(0, length).ok()?, fields.object(), 0);
        checksum(&whole, offset).is_ok().then_some(length as u64)
    })
}

fn is_in_place(fields: &Fields<'_>, offset: usize, at: u64) -> bool {
    fields.be64(offset).is_ok_and(|place| place == at / PLACE_UNIT_BYTES)
}
