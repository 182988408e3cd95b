//! Every inode of a volume: chunk by chunk where the tree of a group tells where they are, and by their looks where it does not.
//!
//! ```text
//!   group ─► inode tree ─► record: a chunk of 64, and which of them are in use ─► read, and shown with what the tree says
//!                       ─► gap: all blocks in it are searched for inodes that know their own place ─► free space tree: free or not?
//! ```

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};

use super::free_blocks::FreeBlocks;
use super::plausible;
use super::spot::{Look, Losses, MAGIC, Spot, is_metadata};
use crate::base::extent::Extent;
use crate::base::io::{IoError, ReadAt};
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::inode::Inode;
use crate::filesystem::sweep::{fill, overlapping};
use crate::filesystem::wreck::{FoundInode, Proof, Scanned};
use crate::filesystem::xfs::Xfs;
use crate::filesystem::xfs::group;
use crate::filesystem::xfs::inode_core::Core;
use crate::filesystem::xfs::inode_tree::{CHUNK_INODES, Chunk};
use crate::filesystem::xfs::seal::INODE;
use crate::filesystem::xfs::tree::INODES;
use crate::filesystem::xfs::tree::around::Part;

/// Receives what is found; whoever breaks has seen enough.
type Visit<'a> = dyn FnMut(Scanned) -> ControlFlow<()> + 'a;

/// Shows every inode from number `from` on. Those in `hidden` belong to the filesystem itself. Fails only when somebody wants the work to
/// end.
pub(super) fn show(xfs: &Xfs, hidden: &BTreeSet<u64>, from: u64, visit: &mut Visit<'_>) -> Result<(), FilesystemError> {
    let geometry = xfs.disk.geometry();
    for group in geometry.group_of(from)..geometry.groups {
        if geometry.group_byte(group) >= xfs.volume.size() {
            let rest = geometry.inode_number(group, 0).max(from)..geometry.inode_number(geometry.groups, 0);
            let _last = if rest.is_empty() { ControlFlow::Continue(()) } else { visit(beyond_the_end(xfs, rest)) };
            return Ok(());
        }
        let first = from.saturating_sub(geometry.inode_number(group, 0));
        let mut scan = GroupScan { xfs, hidden, group, first, past: 0, free: None, stopped: None, visit };
        let flow = scan.run();
        if let Some(source) = scan.stopped {
            return Err(FilesystemError::Io { object: Object::Group(group), source });
        }
        if flow.is_break() {
            break;
        }
    }
    Ok(())
}

fn beyond_the_end(xfs: &Xfs, inodes: Range<u64>) -> Scanned {
    let (first, size) = (inodes.start, xfs.volume.size());
    let reason = format!("it and all behind it lie beyond the end of the source at byte {size}");
    Scanned::Lost { inodes, error: FilesystemError::Lost { object: Object::Inode(first), reason } }
}

/// The inodes of one group.
struct GroupScan<'a, 'b> {
    xfs: &'a Xfs,
    hidden: &'a BTreeSet<u64>,
    group: u32,
    /// The first inode that is asked for, by its number within the group.
    first: u64,
    /// The first inode behind the chunks that were shown.
    past: u64,
    /// What is free, once that was asked.
    free: Option<Option<FreeBlocks>>,
    /// Somebody wants the work to end.
    stopped: Option<IoError>,
    visit: &'a mut Visit<'b>,
}

impl GroupScan<'_, '_> {
    fn run(&mut self) -> ControlFlow<()> {
        let (disk, end) = (&self.xfs.disk, self.xfs.disk.geometry().inodes_of(self.group));
        let Ok(root) = group::inodes(disk, self.group) else { return self.search(0..end) };
        INODES.each_around(disk, root, end, &mut |part| match part {
            Part::Record(record) => match Chunk::parse(&record, disk.geometry().sparse_inodes) {
                Ok(chunk) => self.chunk(&chunk),
                Err(_short) => ControlFlow::Continue(()),
            },
            Part::Lost(inodes) => self.search(inodes),
        })
    }

    /// Shows the inodes of a chunk that the tree knows, with what the tree says of each.
    fn chunk(&mut self, chunk: &Chunk) -> ControlFlow<()> {
        let (first, end) = (u64::from(chunk.first), u64::from(chunk.first) + u64::from(CHUNK_INODES));
        if first < self.past || end <= self.first {
            return ControlFlow::Continue(());
        }
        self.past = end;
        let geometry = self.xfs.disk.geometry();
        let inode_bytes = u64::from(geometry.inode_bytes);
        let whole = Extent::new(geometry.group_byte(self.group) + first * inode_bytes, u64::from(CHUNK_INODES) * inode_bytes);
        let mut bytes = vec![0; usize::try_from(whole.length).unwrap_or(0)];
        let unreadable = match fill(&*self.xfs.volume, whole, &mut bytes) {
            Ok(unreadable) => unreadable,
            Err(error) => return self.stop(error),
        };
        let mut losses = Losses::default();
        for (in_group, raw) in (chunk.first..).zip(bytes.chunks_exact(usize::from(geometry.inode_bytes))) {
            if u64::from(in_group) < self.first || !chunk.holds(in_group) {
                continue;
            }
            let Some(spot) = self.spot(in_group) else { continue };
            let found = if spot.is_within(&unreadable) { Err(spot.unreadable()) } else { self.look(&spot, raw) };
            match (found, chunk.uses(in_group)) {
                (Ok(Look::Inode(inode)), is_used) => {
                    losses.show(self.visit)?;
                    self.show(inode, Some(is_used))?;
                }
                (Ok(Look::Free), true) => losses.add(spot.number, spot.not_free(), self.visit)?,
                (Err(error), true) => losses.add(spot.number, error, self.visit)?,
                (Ok(Look::Waiting), _) | (_, false) => {}
            }
        }
        losses.show(self.visit)
    }

    /// Shows whatever looks like an inode, of these of the group.
    fn search(&mut self, inodes: Range<u64>) -> ControlFlow<()> {
        let geometry = self.xfs.disk.geometry();
        let inodes =
            inodes.start.max(self.first).max(u64::from(geometry.first_block()) << geometry.inodes_per_block_log)..inodes.end;
        if inodes.is_empty() {
            return ControlFlow::Continue(());
        }
        self.learn_free();
        let inode_bytes = u64::from(geometry.inode_bytes);
        let start = geometry.group_byte(self.group);
        let within = Extent::between(start + inodes.start * inode_bytes, start + inodes.end * inode_bytes);
        let xfs = self.xfs;
        let swept =
            overlapping(&*xfs.volume, within.align_outward(geometry.block_bytes().into()), 0, &mut |piece, bytes, unreadable| {
                for (index, block) in (0..).zip(bytes.chunks_exact(geometry.block_bytes() as usize)) {
                    let first = ((piece.offset - start) / inode_bytes) + (index << geometry.inodes_per_block_log);
                    let place = Extent::new(start + first * inode_bytes, geometry.block_bytes().into());
                    if unreadable.iter().any(|gap| !gap.intersect(&place).is_empty()) {
                        let lost = first.max(inodes.start)..(first + (1 << geometry.inodes_per_block_log)).min(inodes.end);
                        self.lose(lost)?;
                    } else {
                        self.block(first, block, &inodes)?;
                    }
                }
                ControlFlow::Continue(())
            });
        swept.unwrap_or_else(|error| self.stop(error))?;
        let end = xfs.volume.size().saturating_sub(start) / inode_bytes;
        self.lose(end.max(inodes.start)..inodes.end)
    }

    fn stop(&mut self, error: IoError) -> ControlFlow<()> {
        self.stopped = Some(error);
        ControlFlow::Break(())
    }

    /// Shows inodes that cannot be read.
    fn lose(&mut self, inodes: Range<u64>) -> ControlFlow<()> {
        if inodes.is_empty() {
            return ControlFlow::Continue(());
        }
        let start = self.xfs.disk.geometry().inode_number(self.group, 0);
        let inodes = start + inodes.start..start + inodes.end;
        let reason = "the source cannot be read where it and those behind it would lie".to_owned();
        (self.visit)(Scanned::Lost { error: FilesystemError::Lost { object: Object::Inode(inodes.start), reason }, inodes })
    }

    /// Shows what looks like an inode in one block, of those that are asked for.
    fn block(&mut self, first: u64, block: &[u8], asked: &Range<u64>) -> ControlFlow<()> {
        let geometry = self.xfs.disk.geometry();
        let slots = || block.chunks_exact(usize::from(geometry.inode_bytes));
        // Inodes that do not know their number are believed where most of a block looks like inodes: they are written by the block.
        let inodes = slots().filter(|raw| raw.starts_with(MAGIC)).count();
        if inodes == 0 || !geometry.crc && 2 * inodes < slots().count() {
            return ControlFlow::Continue(());
        }
        let is_free = self.is_free(first);
        let mut losses = Losses::default();
        for (in_group, raw) in (first..).zip(slots()).filter(|(in_group, _)| asked.contains(in_group)) {
            let Some(spot) = u32::try_from(in_group).ok().and_then(|in_group| self.spot(in_group)) else { continue };
            if !spot.is_claimed_by(raw, geometry) {
                continue;
            }
            match self.look(&spot, raw) {
                Ok(Look::Inode(inode)) => {
                    losses.show(self.visit)?;
                    self.show(inode, is_free.then_some(false))?;
                }
                Err(error) if !is_free => losses.add(spot.number, error, self.visit)?,
                Ok(_) | Err(_) => {}
            }
        }
        losses.show(self.visit)
    }

    /// Where an inode lies that is the filesystem's user's.
    fn spot(&self, in_group: u32) -> Option<Spot> {
        let geometry = self.xfs.disk.geometry();
        let number = geometry.inode_number(self.group, in_group);
        let byte = geometry.inode(number)?.byte;
        (!self.hidden.contains(&number)).then_some(Spot { number, extent: Extent::new(byte, geometry.inode_bytes.into()) })
    }

    fn look(&self, spot: &Spot, raw: &[u8]) -> Result<Look, FilesystemError> {
        let geometry = self.xfs.disk.geometry();
        let mut raw = raw.to_vec();
        self.xfs.disk.mend(Object::Inode(spot.number), spot.extent.offset, &INODE, &mut raw);
        let core = Core::parse(geometry, spot.number, spot.extent.offset, raw)?;
        if core.is_free() {
            return Ok(Look::Free);
        }
        match core.into_inode()? {
            None => Ok(Look::Waiting),
            Some(inode) if is_metadata(&inode, self.xfs.superblock.features.metadata_directory) => Ok(Look::Waiting),
            Some(inode) => plausible::check(&inode, geometry).map(|()| Look::Inode(inode)),
        }
    }

    fn show(&mut self, inode: Inode, in_use: Option<bool>) -> ControlFlow<()> {
        let proof = if self.xfs.disk.geometry().crc { Proof::Checksum } else { Proof::Plausible };
        (self.visit)(Scanned::Inode(FoundInode { inode, proof, in_use }))
    }

    fn learn_free(&mut self) {
        if self.free.is_none() {
            self.free = Some(FreeBlocks::of(&self.xfs.disk, self.group));
        }
    }

    /// True when the block of these inodes is known to be free.
    fn is_free(&self, first: u64) -> bool {
        let block = u32::try_from(first >> self.xfs.disk.geometry().inodes_per_block_log).unwrap_or(u32::MAX);
        self.free.as_ref().and_then(Option::as_ref).is_some_and(|free| free.contains(block))
    }
}
