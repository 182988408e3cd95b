//! How a volume is cut, concluded from what its structures say when no superblock is left.
//!
//! ```text
//!   header of group g at byte b          groups are (b - its sector) / g long
//!   inode n at byte b, if groups take s bits:  n = g << s | slot;  (b - slot * length) / g
//!   node of group g at byte b            b lies in group g
//! ```
//! Each of these proposes or bears out a length of groups. The one that most bear out is taken, if it is more than half of them.

use super::testimony::{Header, Testimony, Witness};
use super::votes::Votes;
use crate::base::io::ReadAt;
use crate::filesystem::xfs::log::LogPlace;

/// What mkfs chooses of its own accord.
const USUAL_BLOCK_BYTES: u64 = 4096;
const USUAL_SECTOR_BYTES: u64 = 512;
const USUAL_INODE_BYTES: [u64; 2] = [256, 512];
const USUAL_GROUPS: u64 = 4;
/// mkfs leaves no group that is shorter.
const SHORTEST_GROUP_BYTES: u64 = 16 << 20;
/// Bits of an inode number within its group.
const SLOT_BITS: [u32; 2] = [6, 32];
/// Lengths of groups that are compared.
const MOST_PROPOSALS: usize = 64;
/// Inodes that are asked about a length.
const MOST_ASKED: usize = 2048;

/// What was concluded.
#[derive(Debug, Clone)]
pub(super) struct Conclusion {
    /// Version 5.
    pub(super) crc: bool,
    pub(super) sector_bytes: u64,
    pub(super) block_bytes: u64,
    pub(super) inode_bytes: u64,
    pub(super) directory_bytes: u64,
    pub(super) group_bytes: u64,
    pub(super) blocks: u64,
    pub(super) root: Option<u64>,
    /// Whether entries of directories say kinds.
    pub(super) file_type: bool,
    pub(super) read_only_features: u32,
    pub(super) metadata_uuid: [u8; 16],
    /// Where the log lies, and the filesystem that it names.
    pub(super) log: Option<(LogPlace, [u8; 16])>,
    /// How many structures bear it out, and how many were asked.
    pub(super) borne_out: (usize, usize),
}

impl Conclusion {
    /// Blocks in every group but the last.
    pub(super) fn group_blocks(&self) -> u64 {
        self.group_bytes / self.block_bytes
    }

    /// Bits of a block's number within its group.
    pub(super) fn group_block_log(&self) -> u32 {
        self.group_blocks().next_power_of_two().ilog2()
    }

    /// What is said of it.
    pub(super) fn in_words(&self) -> String {
        let Self { group_bytes, block_bytes, inode_bytes, borne_out: (borne_out, asked), .. } = self;
        let root = if self.root.is_some() { "" } else { ", but not which directory is the root" };
        let log = if self.log.is_some() { "" } else { " No log was found." };
        format!(
            "all copies are lost: groups of {group_bytes} bytes, blocks of {block_bytes} and inodes of {inode_bytes} are concluded from \
             {borne_out} of {asked} structures that say where they belong{root}.{log}"
        )
    }
}

/// Concludes what it can.
pub(super) fn conclude(testimony: &Testimony, source: &dyn ReadAt) -> Option<Conclusion> {
    let metadata_uuid = testimony.uuids.winner();
    let crc = metadata_uuid.is_some();
    let case = Case {
        testimony,
        sector_bytes: testimony
            .sector_bytes
            .winner()
            .or_else(|| sector_by_distance(&testimony.headers))
            .unwrap_or(USUAL_SECTOR_BYTES),
        inode_bytes: testimony.inode_bytes.winner().unwrap_or(USUAL_INODE_BYTES[usize::from(crc)]),
    };
    let (group_bytes, borne_out) = case.group_bytes(source.size())?;
    let block_bytes = testimony.block_bytes.winner().or_else(|| case.block_by_headers(group_bytes)).unwrap_or(USUAL_BLOCK_BYTES);
    Some(Conclusion {
        crc,
        sector_bytes: case.sector_bytes,
        block_bytes,
        inode_bytes: case.inode_bytes,
        directory_bytes: testimony.directory_bytes.winner().unwrap_or(USUAL_BLOCK_BYTES).max(block_bytes),
        group_bytes,
        blocks: case.blocks(group_bytes, block_bytes, source.size())?,
        root: testimony.roots.winner(),
        file_type: crc || testimony.kinds.winner().unwrap_or(true),
        read_only_features: testimony.read_only_features,
        metadata_uuid: metadata_uuid.unwrap_or_default(),
        log: testimony.logs.best(source),
        borne_out,
    })
}

/// The two headers of a group stand in sectors that follow each other.
fn sector_by_distance(headers: &[Header]) -> Option<u64> {
    let mut distances = Votes::default();
    for (one, next) in headers.iter().zip(headers.iter().skip(1)).filter(|(one, next)| one.group == next.group) {
        distances.add(next.at - one.at);
    }
    distances.winner().filter(|bytes| bytes.is_power_of_two() && (512..=32 << 10).contains(bytes))
}

struct Case<'a> {
    testimony: &'a Testimony,
    sector_bytes: u64,
    inode_bytes: u64,
}

impl Case<'_> {
    /// The length of groups, how many structures bear it out, and how many were asked.
    fn group_bytes(&self, size: u64) -> Option<(u64, (usize, usize))> {
        let mut proposals = self.proposals().ranked();
        proposals.truncate(MOST_PROPOSALS);
        // Where groups are as long as numbers count, or all that is left lies in the first, any length fits: then what mkfs chooses of
        // its own accord is likely, and after that a longer group rules out less than a shorter one.
        proposals.sort_unstable();
        proposals.push(size.div_ceil(USUAL_GROUPS).next_multiple_of(USUAL_BLOCK_BYTES));
        proposals.reverse();
        let asked = self.testimony.headers.len() + self.testimony.nodes.len() + self.asked_inodes().count();
        let mut best: Option<(u64, usize)> = None;
        for bytes in proposals {
            let borne_out = self.borne_out(bytes);
            if best.is_none_or(|(_, most)| borne_out > most) {
                best = Some((bytes, borne_out));
            }
        }
        best.filter(|(_, borne_out)| 2 * borne_out > asked).map(|(bytes, borne_out)| (bytes, (borne_out, asked)))
    }

    fn proposals(&self) -> Votes<u64> {
        let mut proposals = Votes::default();
        for header in &self.testimony.headers {
            let start = header.at.checked_sub(header.sector * self.sector_bytes);
            match (start, u64::from(header.group)) {
                (Some(0), 0) => self
                    .testimony
                    .block_bytes
                    .winner()
                    .into_iter()
                    .for_each(|block| proposals.add(block * u64::from(header.blocks))),
                (Some(start), group @ 1..) if start.is_multiple_of(group) => proposals.add(start / group),
                _ => {}
            }
        }
        for inode in self.asked_inodes() {
            (SLOT_BITS[0]..=SLOT_BITS[1]).filter_map(|bits| self.by_inode(inode, bits)).for_each(|bytes| proposals.add(bytes));
        }
        proposals
    }

    /// The length of groups that takes so many bits, by one inode that does not lie in the first of them.
    fn by_inode(&self, inode: &Witness, bits: u32) -> Option<u64> {
        let (group, slot) = (inode.number >> bits, inode.number & ((1 << bits) - 1));
        let start = inode.at.checked_sub(slot.checked_mul(self.inode_bytes)?).filter(|_| group > 0)?;
        let bytes = start / group;
        (start.is_multiple_of(group) && bytes >= SHORTEST_GROUP_BYTES && self.slot_bits(bytes) == Some(bits)).then_some(bytes)
    }

    /// How many bits of an inode's number say where it lies in its group. The length of blocks does not matter to it.
    fn slot_bits(&self, group_bytes: u64) -> Option<u32> {
        group_bytes.checked_next_power_of_two()?.checked_ilog2()?.checked_sub(self.inode_bytes.checked_ilog2()?)
    }

    fn asked_inodes(&self) -> impl Iterator<Item = &Witness> {
        let every = self.testimony.inodes.len().div_ceil(MOST_ASKED).max(1);
        self.testimony.inodes.iter().step_by(every)
    }

    fn borne_out(&self, group_bytes: u64) -> usize {
        let Some(bits) = self.slot_bits(group_bytes).filter(|bits| *bits < 63) else { return 0 };
        let start = |group: u64| group.saturating_mul(group_bytes);
        let headers = self.testimony.headers.iter();
        let headers = headers.filter(|header| header.at == start(header.group.into()) + header.sector * self.sector_bytes);
        let nodes = self.testimony.nodes.iter().filter(|node| node.at / group_bytes == node.number);
        let place =
            |number: u64| start(number >> bits).saturating_add((number & ((1 << bits) - 1)).saturating_mul(self.inode_bytes));
        let inodes = self.asked_inodes().filter(|inode| inode.at == place(inode.number));
        headers.count() + nodes.count() + inodes.count()
    }

    /// Headers say how many blocks their groups have, and all but the last have as many.
    fn block_by_headers(&self, group_bytes: u64) -> Option<u64> {
        let mut votes = Votes::default();
        for blocks in self.testimony.headers.iter().map(|header| u64::from(header.blocks)).filter(|blocks| *blocks > 0) {
            if group_bytes.is_multiple_of(blocks) && (group_bytes / blocks).is_power_of_two() {
                votes.add(group_bytes / blocks);
            }
        }
        votes.winner()
    }

    /// How many blocks there are: as many as the last header says if it is that of the last group, and otherwise what there is room for.
    fn blocks(&self, group_bytes: u64, block_bytes: u64, size: u64) -> Option<u64> {
        let in_group = group_bytes.checked_div(block_bytes).filter(|_| group_bytes.is_multiple_of(block_bytes))?;
        let in_place = |header: &&Header| {
            header.at == u64::from(header.group) * group_bytes + header.sector * self.sector_bytes
                && u64::from(header.blocks) <= in_group
        };
        let headers: Vec<&Header> = self.testimony.headers.iter().filter(in_place).collect();
        let last = headers.iter().max_by_key(|header| header.group);
        let by_header = last.map_or(0, |header| u64::from(header.group) * in_group + u64::from(header.blocks));
        // Of two headers each: where none is missing, a group behind them would have some, too.
        let are_all = |last: &&Header| headers.len() as u64 == 2 * (u64::from(last.group) + 1);
        let is_end = last.is_some_and(|header| u64::from(header.blocks) < in_group || are_all(header));
        let rest = size % group_bytes;
        let by_size = if rest < SHORTEST_GROUP_BYTES && size > group_bytes { size - rest } else { size } / block_bytes;
        Some(if is_end { by_header } else { by_header.max(by_size) })
    }
}
