//! A scan of all inode tables: what is in use, and every gap.

use std::ops::{ControlFlow, Range};

use super::super::groups::INODES_UNINITIALISED;
use super::super::record::Record;
use super::super::{Ext, flags};
use super::bitmap::InodeBitmap;
use super::descriptors::{Decided, Origin};
use crate::base::extent::Extent;
use crate::base::io::IoError;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::sweep::pieces;
use crate::filesystem::wreck::{FoundInode, Proof, Scanned};

type Visit<'a> = &'a mut dyn FnMut(Scanned) -> ControlFlow<()>;

impl Ext {
    /// Shows what [`Wreck::scan`](crate::filesystem::wreck::Wreck::scan) promises.
    pub(super) fn scan_tables(&self, from: u64, visit: Visit<'_>) -> Result<(), FilesystemError> {
        let superblock = &self.volume.superblock;
        let first = u32::try_from(from.max(1) - 1).unwrap_or(u32::MAX);
        let mut scan = Scan { ext: self, visit, lost: None, left_bytes: self.volume.bytes().size() };
        if first >= superblock.inodes {
            return Ok(());
        }
        let mut fresh: Vec<u64> = self.fast.touched().filter(|number| self.fast.inode(*number).is_some()).collect();
        fresh.sort_unstable();
        let mut start = first % superblock.inodes_per_group;
        let groups = first / superblock.inodes_per_group..superblock.inodes / superblock.inodes_per_group;
        let there = groups.start..self.groups_with_descriptors(groups.end).max(groups.start);
        for group in there.clone() {
            if scan.group(group, start, &fresh)?.is_break() {
                return Ok(());
            }
            start = 0;
        }
        let rest = u64::from(there.end) * u64::from(superblock.inodes_per_group) + u64::from(start) + 1;
        let error =
            FilesystemError::corrupt(Object::Group(there.end), self.volume.bytes().size(), "the image ends before its descriptor");
        let _stopped = scan.lose(rest..u64::from(superblock.inodes) + 1, error).is_break() || scan.tell_losses().is_break();
        Ok(())
    }

    /// How many groups have a descriptor inside of the image: descriptors ascend with their groups.
    fn groups_with_descriptors(&self, groups: u32) -> u32 {
        let is_inside = |group: u32| self.volume.superblock.descriptor_place(u64::from(group)) < self.volume.bytes().size();
        let (mut inside, mut after) = (0, groups);
        while inside < after {
            let middle = inside + (after - inside) / 2;
            if is_inside(middle) { inside = middle + 1 } else { after = middle }
        }
        inside
    }
}

struct Scan<'a> {
    ext: &'a Ext,
    visit: Visit<'a>,
    /// What was lost last: neighbours are told together.
    lost: Option<(Range<u64>, FilesystemError)>,
    /// Tables that do not overlap are not longer than the volume, all together.
    left_bytes: u64,
}

impl Scan<'_> {
    /// Scans the table of a group from an index on.
    fn group(&mut self, group: u32, start: u32, fresh: &[u64]) -> Result<ControlFlow<()>, FilesystemError> {
        let superblock = &self.ext.volume.superblock;
        let first = u64::from(group) * u64::from(superblock.inodes_per_group) + 1;
        let all = first + u64::from(start)..first + u64::from(superblock.inodes_per_group);
        let decided = match self.ext.volume.decided(group) {
            Ok(decided) => decided,
            Err(error) if super::is_stop(&error) => return Err(error),
            Err(error) => return Ok(self.lose(all, error)),
        };
        let end = first + u64::from(self.written(&decided, group, fresh));
        let bitmap = InodeBitmap::read(&self.ext.volume, group, &decided);
        self.table(&decided, first, all.start..end.max(all.start), bitmap.as_ref())
    }

    /// How many inodes at the beginning of the table were ever written.
    fn written(&self, decided: &Decided, group: u32, fresh: &[u64]) -> u32 {
        let superblock = &self.ext.volume.superblock;
        let all = superblock.inodes_per_group;
        if decided.origin != Origin::First || !superblock.has_descriptor_checksums() {
            return all;
        }
        let is_blank = decided.descriptor.flags & INODES_UNINITIALISED != 0;
        let written = if is_blank { 0 } else { all.saturating_sub(decided.descriptor.unused_inodes) };
        let first = u64::from(group) * u64::from(all) + 1;
        // Fast commits put inodes behind the others before the descriptor hears of it.
        let after = fresh.partition_point(|number| *number < first + u64::from(all));
        let last = fresh.get(..after).and_then(<[u64]>::last).filter(|number| **number >= first);
        last.map_or(written, |last| written.max((last - first) as u32 + 1))
    }

    fn table(
        &mut self,
        decided: &Decided,
        first: u64,
        numbers: Range<u64>,
        bitmap: Option<&InodeBitmap>,
    ) -> Result<ControlFlow<()>, FilesystemError> {
        let ext = self.ext;
        let inode_bytes = u64::from(ext.volume.superblock.inode_bytes);
        let start = ext.volume.place_of(decided.descriptor.inode_table);
        let place = |number: u64| start.saturating_add((number - first) * inode_bytes);
        let whole = Extent::between(place(numbers.start), place(numbers.end));
        let there = whole.intersect(&Extent::new(0, ext.volume.bytes().size()));
        let there = Extent::new(whole.offset, there.length - there.length % inode_bytes);
        if self.left_bytes < there.length {
            let what = "the tables of all groups together are longer than the volume: some lie where others do";
            return Ok(self.lose(numbers.clone(), FilesystemError::corrupt(Object::Inode(numbers.start), whole.offset, what)));
        }
        self.left_bytes -= there.length;
        let number_at = |at: u64| first + (at - start) / inode_bytes;
        let scanned = pieces(&**ext.volume.bytes(), there, &mut |piece, bytes| match bytes {
            Ok(bytes) => self.inodes(number_at(piece.offset), piece.offset, bytes, first, bitmap),
            Err(source) => {
                let error = FilesystemError::Io { object: Object::Inode(number_at(piece.offset)), source };
                self.lose(number_at(piece.offset)..first + (piece.end() - start).div_ceil(inode_bytes), error)
            }
        });
        let stopped = |source: IoError| FilesystemError::Io { object: Object::Inode(first), source };
        if scanned.map_err(stopped)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        let beyond = format!("it lies beyond the end of the image at byte {}", ext.volume.bytes().size());
        let error = FilesystemError::corrupt(Object::Inode(number_at(there.end())), there.end(), beyond);
        Ok(self.lose(number_at(there.end())..numbers.end, error))
    }

    /// The inodes in a piece of a table.
    fn inodes(&mut self, number: u64, at: u64, bytes: &[u8], first: u64, bitmap: Option<&InodeBitmap>) -> ControlFlow<()> {
        let inode_bytes = usize::from(self.ext.volume.superblock.inode_bytes);
        for ((number, at), bytes) in (number..).zip((at..).step_by(inode_bytes)).zip(bytes.chunks_exact(inode_bytes)) {
            let in_use = bitmap.and_then(|bitmap| bitmap.is_used((number - first) as u32));
            match self.ext.look_at(number, at, bytes, in_use) {
                Ok(Some(found)) => {
                    self.tell_losses()?;
                    (self.visit)(Scanned::Inode(found))?;
                }
                Ok(None) => {}
                Err(error) => self.lose(number..number + 1, error)?,
            }
        }
        ControlFlow::Continue(())
    }

    fn lose(&mut self, numbers: Range<u64>, error: FilesystemError) -> ControlFlow<()> {
        if numbers.is_empty() {
            return ControlFlow::Continue(());
        }
        if let Some((known, _)) = self.lost.as_mut().filter(|(known, _)| known.end == numbers.start) {
            known.end = numbers.end;
            return ControlFlow::Continue(());
        }
        self.tell_losses()?;
        self.lost = Some((numbers, error));
        ControlFlow::Continue(())
    }

    fn tell_losses(&mut self) -> ControlFlow<()> {
        match self.lost.take() {
            Some((inodes, error)) => (self.visit)(Scanned::Lost { inodes, error }),
            None => ControlFlow::Continue(()),
        }
    }
}

impl Ext {
    /// What stands in one place of a table: an inode that a directory may name, nothing of the kind, or what cannot be read.
    fn look_at(&self, number: u64, at: u64, bytes: &[u8], in_use: Option<bool>) -> Result<Option<FoundInode>, FilesystemError> {
        let superblock = &self.volume.superblock;
        let Some(short) = u32::try_from(number).ok().filter(|number| !superblock.is_hidden(*number)) else { return Ok(None) };
        let fresh = self.fast.inode(number).map(|_| self.raw_inode(short)).transpose()?;
        let mut bytes = fresh.clone().unwrap_or_else(|| bytes.to_vec());
        if fresh.is_none() && bytes.iter().any(|byte| *byte != 0) {
            self.volume.mend_inode(short, at, &mut bytes);
        }
        let record = Record::new(short, &bytes, at)?;
        if record.is_blank() {
            return if in_use == Some(true) { Err(record.fields.corrupt("it is blank, but counted as used")) } else { Ok(None) };
        }
        if fresh.is_none()
            && let Err(error) = self.verify(&record)
        {
            // What nobody counts as used may be anything.
            return if in_use == Some(false) { Ok(None) } else { Err(error) };
        }
        match self.decode(&record) {
            Ok(inode) => {
                let checked = superblock.has_inode_checksums();
                let proof = if checked { Proof::Checksum } else { Proof::Plausible };
                Ok(Some(FoundInode { inode, proof, in_use }))
            }
            Err(_) if record.links()? == 0 || record.has_flag(flags::EA_INODE)? => Ok(None),
            Err(error) => Err(error),
        }
    }
}
