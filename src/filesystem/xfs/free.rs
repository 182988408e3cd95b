//! Which bytes are provably free: in the tree of each group, as it lies on disk and as replay leaves it.

use std::error::Error;
use std::sync::Arc;

use super::Xfs;
use super::disk::Disk;
use super::group;
use super::tree::FREE_SPACE;
use super::wreck::Salvage;
use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::ReadAt;
use crate::filesystem::allocation::{Allocation, Doubt};
use crate::filesystem::cache::Cached;
use crate::filesystem::error::{FilesystemError, Object};

/// Groups that may be in doubt before the whole volume is.
const MOST_DOUBTS: usize = 1024;
/// For the second view: the first one has a cache already.
const CACHE_BYTES: u64 = 1 << 20;

/// What is free in both views. Any doubt about a group takes all of it out.
pub(super) fn allocation(xfs: &Xfs) -> Allocation {
    let size = xfs.volume.size();
    if let Some(reason) = general_doubt(xfs) {
        return Allocation::doubtful(size, reason);
    }
    let (geometry, raw) = (xfs.disk.geometry(), raw(xfs));
    let mut free = Vec::new();
    let mut doubts = Vec::new();
    for group in (0..geometry.groups).take_while(|group| geometry.group_byte(*group) < size) {
        match of_group(&xfs.disk, raw.as_ref(), group) {
            Ok(set) => free.extend_from_slice(set.as_slice()),
            Err(error) => doubts.push(doubt(xfs, group, &error)),
        }
        if doubts.len() > MOST_DOUBTS {
            return Allocation::doubtful(size, format!("more than {MOST_DOUBTS} groups are in doubt"));
        }
    }
    let free: ExtentSet = free.into_iter().map(|extent: Extent| extent.intersect(&Extent::new(0, size))).collect();
    Allocation { free: free.difference(&log_bytes(xfs)), doubts }
}

/// A reason not to believe any tree of the volume.
fn general_doubt(xfs: &Xfs) -> Option<String> {
    let features = &xfs.superblock.features;
    let unknown = features.unknown_read_only;
    let stale = xfs.view.stale().map(str::to_owned);
    stale
        .or_else(|| xfs.salvage.as_ref().and_then(Salvage::doubt))
        .or_else(|| features.needs_repair.then(|| "the superblock asks for xfs_repair (needsrepair)".to_owned()))
        .or_else(|| (unknown != 0).then(|| format!("unknown read-only compatible features {unknown:#x}")))
}

/// The volume as it lies on disk, where replay changed anything at all.
fn raw(xfs: &Xfs) -> Option<Disk> {
    if xfs.overlay().count() == 0 {
        return None;
    }
    let cached = Cached::new(Arc::clone(xfs.volume.source()), CACHE_BYTES);
    Some(Disk::new(Arc::new(cached), xfs.disk.geometry().clone()))
}

fn of_group(replayed: &Disk, raw: Option<&Disk>, group: u32) -> Result<ExtentSet, FilesystemError> {
    let free = in_view(replayed, group)?;
    match raw {
        Some(raw) => Ok(free.intersection(&in_view(raw, group)?)),
        None => Ok(free),
    }
}

/// The free runs of a group in one view, which must add up to what its header says.
fn in_view(disk: &Disk, group: u32) -> Result<ExtentSet, FilesystemError> {
    let header = group::free_space(disk, group)?;
    let geometry = disk.geometry();
    let (mut runs, mut blocks, mut next) = (Vec::new(), 0, 0);
    FREE_SPACE.each(disk, header.root, &mut |record| {
        let (first, count) = (record.be32(0)?, record.be32(4)?);
        let byte = geometry.in_group(group, first, count).filter(|_| count > 0 && first >= next);
        let byte = byte.ok_or_else(|| record.corrupt(format!("{count} free blocks from {first}, which cannot be")))?;
        runs.push(Extent::new(byte, u64::from(count) << geometry.block_log));
        blocks += u64::from(count);
        next = first + count;
        Ok(())
    })?;
    if blocks == header.blocks {
        return Ok(runs.into_iter().collect());
    }
    let what = format!("its tree has {blocks} free blocks, its header {}", header.blocks);
    Err(FilesystemError::corrupt(Object::Group(group), geometry.group_byte(group), what))
}

fn doubt(xfs: &Xfs, group: u32, error: &FilesystemError) -> Doubt {
    let geometry = xfs.disk.geometry();
    let length = u64::from(geometry.blocks_of(group)) << geometry.block_log;
    let reason = error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    Doubt { extent: Extent::new(geometry.group_byte(group), length), reason }
}

/// The log, which is in use to its last byte whatever a tree says.
fn log_bytes(xfs: &Xfs) -> ExtentSet {
    xfs.superblock.log.as_ref().map_or_else(ExtentSet::new, |log| Extent::new(log.offset, log.bytes).into())
}
